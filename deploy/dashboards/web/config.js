// Address of the stations' broker. A browser needs the broker's websocket listener; over the
// Internet use only wss://. Everyone who can load this file can read a password in it: leave `user`
// out, and the page asks for both.
const CONFIG = {
  broker: `${location.protocol === "https:" ? "wss" : "ws"}://${location.hostname || "localhost"}:9001`,
  prefix: "crns/v1",
  // user: "dashboard",
  // password: "",
  days: 14, // history shown in the charts [days]
};
