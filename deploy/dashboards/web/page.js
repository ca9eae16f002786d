// The page: connects, maintains the store, and redraws. Text is inserted as text only.
"use strict";

const STORAGE_KEY = "epithermal-points";
const SEARCH_FROM = 8; // stations
const $ = (id) => document.getElementById(id);
const store = new Store(CONFIG.prefix, CONFIG.days);
let chosen = decodeURIComponent(location.hash.slice(1));
let isDue = false;
let canSave = true;

function element(name, attributes = {}, ...content) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  created.append(...content);
  return created;
}

const fixed = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "-");
const percent = (value) => (Number.isFinite(value) ? `${Math.round(100 * value)} %` : "-");

function showLink(text, isBad = false) {
  $("link").textContent = text;
  $("link").classList.toggle("bad", isBad);
}

/** Days until irrigation in words, from the payload's `water`. */
function daysText(water) {
  if (water.depletion.value >= water.threshold) return "irrigate now";
  if (water.depletion.value === null) return "unknown";
  const days = range(water.days_to_threshold);
  if (!days) return water.rate_mm_d === null ? "not drying" : "not within 60 d";
  return `in ${fixed(days.value, 0)} d`;
}

function figure(name, value, more, id) {
  return [
    element("dt", {}, name),
    element("dd", { id }, value, more ? element("small", {}, more) : ""),
  ];
}

function figures(live) {
  const list = element("dl", { class: "figures" });
  const put = (...row) => list.append(element("div", {}, ...figure(...row)));
  const theta = range(live.theta);
  const between = theta ? `m³/m³, 90 %: ${fixed(theta.p05, 3)} to ${fixed(theta.p95, 3)}` : "no estimate";
  put("Water content", theta ? fixed(theta.value, 3) : "-", between, "theta");
  put("Classical inversion", fixed(live.theta_classical?.value, 3), "m³/m³", "classical");
  const water = live.water;
  if (water) {
    const days = range(water.days_to_threshold);
    put("Depletion of plant-available water", percent(water.depletion.value),
      `${percent(water.depletion.p05)} to ${percent(water.depletion.p95)}; irrigate at ${percent(water.threshold)}`,
      "depletion");
    put("Plant-available water", `${fixed(water.available_mm.value, 0)} mm`,
      `of ${fixed(water.capacity_mm, 0)} mm`, "available");
    put("Irrigation", daysText(water),
      days && days.value > 0 ? `${fixed(days.p05, 0)} to ${fixed(days.p95, 0)} d at ${fixed(water.rate_mm_d, 1)} mm/d` : "",
      "days");
  } else put("Storage", `${fixed(live.storage_mm, 0)} mm`, "soil not described: plant-available water unknown", "storage");
  const snow = live.snow?.swe_mm;
  if (snow) put("Snow", `${fixed(snow.value, 0)} mm`, `of water, 90 %: ${fixed(snow.p05, 0)} to ${fixed(snow.p95, 0)} mm`, "snow");
  return list;
}

const QUALITY = { 1: "good", 3: "suspect", 4: "failed", 9: "no estimate" };

function drawDetail(now) {
  const station = store.stations.get(chosen);
  const detail = $("detail");
  if (!station) {
    detail.replaceChildren(element("p", {}, store.stations.size ? "Select a station." : "No station received yet."));
    return;
  }
  const live = station.current(now);
  const why = station.why(now);
  const card = element("article", { class: why ? "unavailable" : "" });
  card.append(element("h2", {}, station.name));
  if (live) {
    const flags = live.flags?.length ? ` (${live.flags.join(", ")})` : "";
    const at = new Date(live.end).toLocaleString();
    card.append(
      element("p", { class: live.q === 1 ? "state good" : "state", id: "state" }, `${at}, quality ${QUALITY[live.q] ?? "unknown"}${flags}`),
      figures(live)
    );
  } else {
    const points = station.series(store.oldest(now));
    const last = points.length ? `; last record ${new Date(points[points.length - 1].end).toLocaleString()}` : "";
    card.append(element("p", { class: "state", id: "state" }, why + last));
  }
  if (station.status?.trouble) card.append(element("p", {}, `Trouble: ${station.status.trouble}`));
  const width = Math.max(300, Math.min(860, detail.clientWidth - 34));
  card.append(
    drawChart(station.series(store.oldest(now)), {
      from: store.oldest(now), to: now, interval: station.interval, meta: station.meta,
      width, height: Math.round(Math.max(200, width * 0.42)),
    })
  );
  detail.replaceChildren(card);
}

function row(station, now) {
  const live = station.current(now);
  const water = live?.water;
  const isDry = Boolean(water && water.depletion.value >= water.threshold);
  const button = element("button", { type: "button", "data-station": station.id,
    "aria-current": String(station.id === chosen), class: isDry ? "irrigate" : "" });
  button.append(
    element("span", {}, station.name),
    element("span", { class: "value" }, live ? fixed(live.theta?.value, 3) : "-"),
    element("small", {}, live ? (water ? `${percent(water.depletion.value)} used, ${daysText(water)}` : "") : station.why(now))
  );
  button.onclick = () => {
    chosen = station.id;
    location.hash = encodeURIComponent(chosen);
    draw();
  };
  return button;
}

function draw() {
  const now = Date.now();
  const all = store.sorted(now);
  if (!store.stations.has(chosen) && all.length === 1) chosen = all[0].id;
  const sought = $("search").value.toLowerCase();
  $("search").hidden = all.length < SEARCH_FROM;
  const shown = all.filter((s) => `${s.name} ${s.id}`.toLowerCase().includes(sought));
  const focused = document.activeElement?.dataset?.station;
  $("list").replaceChildren(...shown.map((station) => row(station, now)));
  if (focused) $("list").querySelector(`[data-station="${focused}"]`)?.focus();
  drawDetail(now);
}

/** Draws once for many messages, and saves the history. */
function scheduleDraw() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    draw();
    try {
      if (canSave) localStorage.setItem(STORAGE_KEY, store.save(Date.now()));
    } catch {
      canSave = false;
      showLink("connected; this browser has no space to store the history");
    }
  }, 250);
}

function connect(user, password) {
  const client = mqtt.connect(CONFIG.broker, {
    protocolVersion: 5, username: user, password, reconnectPeriod: 2000, clean: true,
    timerVariant: "native", // its worker would be a script from another origin
  });
  client.on("connect", () => {
    showLink("connected");
    $("login").hidden = true;
    const names = ["status", "meta", "state/theta", "obs/theta"];
    client.subscribe(names.map((name) => `${CONFIG.prefix}/+/${name}`), { qos: 1 });
  });
  client.on("message", (topic, body) => {
    if (store.handle(topic, body.toString(), Date.now())) scheduleDraw();
  });
  client.on("close", () => showLink("not connected to the broker: values may be outdated", true));
  client.on("error", (error) => {
    if (error.code !== 0x86 && error.code !== 0x87) return; // bad user name or password; not authorized
    client.end(true);
    showLink("the broker requires user and password", true);
    $("login").hidden = false;
  });
}

$("login").onsubmit = (event) => {
  event.preventDefault();
  connect($("user").value, $("password").value);
};
$("search").oninput = draw;
addEventListener("hashchange", () => {
  chosen = decodeURIComponent(location.hash.slice(1));
  draw();
});
addEventListener("resize", scheduleDraw);
setInterval(draw, 30e3); // values expire without a message

try {
  store.load(localStorage.getItem(STORAGE_KEY), Date.now());
} catch {
  localStorage.removeItem(STORAGE_KEY); // of another version of this page
}
draw();
if (typeof mqtt === "undefined") showLink("mqtt.min.js is missing next to this page: see README.md", true);
else connect(CONFIG.user, CONFIG.password);
