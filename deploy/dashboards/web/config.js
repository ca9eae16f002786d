// Where the page finds the stations. A browser needs the broker's websocket listener; over the
// internet wss:// alone. Whoever gets this file can read a password in it: leave `user` out, and the
// page asks.
const CONFIG = {
  broker: `${location.protocol === "https:" ? "wss" : "ws"}://${location.hostname || "localhost"}:9001`,
  prefix: "crns/v1",
  // user: "dashboard",
  // password: "",
  days: 14, // how much of the past the charts show
};
