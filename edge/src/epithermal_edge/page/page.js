/* Show the events of the station (now.json) and its last 30 days (history.json). */
"use strict";

const RETRY_MS = 10000;  // after the station has rejected a connection
const MISSING = "unknown", STALE = "out of date";
const $ = (id) => document.getElementById(id);
let current = null, past = null, stream = null;
let clockOffset = 0;  // the station's clock minus that of this device, ms

const valueAt = (path, from) => path.split(".").reduce((o, key) => (o == null ? null : o[key]), from);
const format = (value, digits) => (value == null ? MISSING : value.toFixed(digits));

function localTime(text, withDay = true) {
  const day = withDay ? { day: "numeric", month: "short" } : {};
  return new Date(text).toLocaleString(undefined, { ...day, hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
}

const age = (text) => Date.now() + clockOffset - new Date(text);

function formatAge(text) {
  const minutes = Math.round(age(text) / 60000);
  if (minutes < 90) return `${Math.max(minutes, 0)} min ago`;
  return minutes < 2880 ? `${Math.round(minutes / 60)} h ago` : `${Math.round(minutes / 1440)} days ago`;
}

function fillList(node, texts) {
  node.replaceChildren(...texts.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

function addFactors() {
  for (const [name, of] of Object.entries(current.factors)) {
    const path = `latest.factors.${name}`;
    if (document.querySelector(`[data-show="${path}"]`)) continue;
    const term = document.createElement("dt"), cell = document.createElement("dd");
    const value = document.createElement("span");
    term.textContent = `Factor for ${of}`;
    Object.assign(value.dataset, { show: path, digits: "4" });
    cell.append(value);
    $("corrections").append(term, cell);
  }
}

function showValues() {
  for (const node of document.querySelectorAll("[data-show]")) {
    const value = valueAt(node.dataset.show, current);
    const digits = node.dataset.digits;
    const scaled = typeof value === "number" ? value * (node.dataset.factor || 1) : value;
    node.textContent = typeof value === "number" && digits ? scaled.toFixed(digits) : value ?? MISSING;
  }
  for (const node of document.querySelectorAll("[data-time]")) {
    const text = valueAt(node.dataset.time, current);
    node.textContent = text ? localTime(text) : MISSING;
    if (text) node.dateTime = text;
  }
}

function showStation() {
  const { status, latest, name } = current;
  $("name").textContent = name;
  document.title = `Soil water, ${name}`;
  $("state").textContent = { well: "OK", degraded: "Problem", down: "Down" }[status.state];
  $("state").className = `state ${status.state === "well" ? "well" : "bad"}`;
  $("troubles").hidden = !status.troubles.length;
  fillList($("troubles").querySelector("ul"), status.troubles.map((t) => `${t.what}: ${t.why}. Remedy: ${t.remedy}.`));
  fillList($("doubts"), latest ? latest.doubts : ["No record yet."]);
  const sender = valueAt("health.sender", status), clock = valueAt("health.clock", status);
  $("broker").textContent = !sender ? ", no broker" : sender.connected ? ", broker connected" : ", broker not connected";
  $("clock").textContent = !clock ? MISSING : clock.synchronised ? "synchronised" : `not synchronised, ${clock.held} records wait`;
}

function showWater() {
  const water = valueAt("latest.water", current), snow = valueAt("latest.snow", current);
  $("snow").hidden = !snow;
  $("water").hidden = $("irrigation").hidden = !water;
  $("undescribed").hidden = current.water !== null;
  const root = valueAt("latest.root_zone", current), irrigate = valueAt("latest.irrigate", current);
  $("root-zone").hidden = !root;
  $("irrigate").textContent = irrigate === true ? "Irrigate" : irrigate === false ? "Do not irrigate" : MISSING;
  $("from-texture").hidden = !root || root.source !== "texture";
  if (!water) return;
  const { days_to_threshold: days, rate_mm_d: rate, depletion, threshold } = water;
  const reached = depletion.value !== null && depletion.value >= threshold;
  const count = days ? format(days.value, 0) : null;
  $("days").textContent = reached ? "now" : days ? `${count} ${count === "1" ? "day" : "days"}` : MISSING;
  if (reached) {
    $("advice").textContent = "The threshold is reached.";
  } else if (days) {
    const late = days.p95 >= 60 ? "60 or more" : format(days.p95, 0);
    $("advice").textContent = `90 % interval ${format(days.p05, 0)} to ${late} days, at the recent loss of ${format(rate, 1)} mm per day, without rain`;
  } else if (snow) {
    $("advice").textContent = "Unknown under snow.";
  } else {
    $("advice").textContent = rate ? "More than 60 days at the recent loss." : "The soil has not been drying for at least 4 days.";
  }
  $("bar").setAttribute("aria-label", `Plant-available water: ${format(water.available_mm.value, 0)} of ${format(water.capacity_mm, 0)} mm; irrigate below ${format(water.capacity_mm * (1 - threshold), 0)} mm`);
  drawBar($("bar"), water, current.water);
}

function limits() {
  const water = current && current.water;
  if (!water) return [];
  const { field_capacity: high, wilting_point: low, threshold } = water;
  return [
    { name: "field capacity", theta: high },
    { name: "irrigate", theta: high - threshold * (high - low) },
    { name: "wilting point", theta: low },
  ];
}

function showHistory() {
  if (!past || !past.end.length) {
    $("summary").textContent = "No data of the last 30 days yet.";
    return;
  }
  const cursor = $("cursor"), newest = past.end.length - 1;
  const atNewest = cursor.disabled || Number(cursor.value) === Number(cursor.max);
  cursor.disabled = false;
  cursor.max = newest;
  if (atNewest) cursor.value = newest;
  $("bounds-key").hidden = !limits().length;
  const most = Math.max(...past.rain_mm);
  $("rain-key").hidden = !(most > 0);
  $("most-rain").textContent = format(most, 1);
  const thetas = past.theta.filter((v) => v !== null);
  $("summary").textContent = thetas.length
    ? `Water content between ${format(Math.min(...thetas), 3)} and ${format(Math.max(...thetas), 3)} m³/m³; newest ${format(thetas[thetas.length - 1], 3)}.`
    : "The water content is unknown.";
  showReading();
  showTable();
}

function showReading() {
  const i = Number($("cursor").value);
  const rain = past.rain_mm[i] === null ? "" : `, rain ${format(past.rain_mm[i], 1)} mm`;
  const text = `${localTime(past.end[i] * 1000)}: ${format(past.theta[i], 3)} m³/m³ (${format(past.p05[i], 3)} to ${format(past.p95[i], 3)}), classical ${format(past.theta_classical[i], 3)}${rain}`;
  $("reading").textContent = text;
  $("cursor").setAttribute("aria-valuetext", text);
  drawChart($("chart"), past, limits(), i);
}

function showTable() {
  const days = new Map();
  past.end.forEach((end, i) => {
    const day = new Date((end - 1) * 1000).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
    const row = days.get(day) || { rain: null };
    const rain = past.rain_mm[i];
    days.set(day, { last: i, rain: rain === null ? row.rain : (row.rain || 0) + rain });
  });
  const rows = [...days].reverse().map(([day, { last: i, rain }]) => [
    day, format(past.theta[i], 3), `${format(past.p05[i], 3)} to ${format(past.p95[i], 3)}`,
    format(past.theta_classical[i], 3), format(rain, 1),
  ]);
  $("table").querySelector("tbody").replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    cells.forEach((text, k) => {
      const cell = document.createElement(k ? "td" : "th");
      if (!k) cell.scope = "row";
      cell.textContent = text;
      row.append(cell);
    });
    return row;
  }));
}

function showAge() {
  const end = valueAt("latest.end", current);
  const isStale = Boolean(end) && age(end) > current.stale_after_s * 1000;
  $("age").textContent = end ? `newest record ${formatAge(end)}${isStale ? `, ${STALE}` : ""}` : "no record yet";
  $("age").classList.toggle("stale", isStale);
  $("cards").classList.toggle("stale", isStale);
  $("stale").hidden = !isStale;
  if (end) $("verdict").textContent = isStale ? STALE : current.latest.verdict;
}

async function fetchHistory() {
  try {
    const answer = await fetch("history.json");
    past = answer.ok ? await answer.json() : null;
  } catch {
    return;  // the event stream reports the lost connection
  }
  showHistory();
}

function show(event) {
  const before = valueAt("latest.window_end", current);
  current = JSON.parse(event.data);
  clockOffset = new Date(current.time) - Date.now();
  addFactors();
  showValues();
  showStation();
  showWater();
  showAge();
  if (past === null || before !== valueAt("latest.window_end", current)) fetchHistory();
}

function connect() {
  stream = new EventSource("events");
  stream.addEventListener("open", () => { $("link").textContent = "Live: updates automatically."; });
  stream.addEventListener("now", show);
  stream.addEventListener("error", () => {
    $("link").textContent = "No connection to the station; reconnecting. The values may be out of date.";
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  });
}

$("cursor").addEventListener("input", showReading);
$("chart").addEventListener("pointermove", (event) => {
  if (!past || !past.end.length) return;
  const box = $("chart").getBoundingClientRect();
  const share = (event.clientX - box.left - SPACE.left) / (box.width - SPACE.left - SPACE.right);
  const time = past.from + share * (past.to - past.from);
  const distances = past.end.map((end) => Math.abs(end - time));
  $("cursor").value = distances.indexOf(Math.min(...distances));
  showReading();
});
new ResizeObserver(() => {
  if (past && past.end.length) showReading();
  if (valueAt("latest.water", current)) drawBar($("bar"), current.latest.water, current.water);
}).observe(document.body);
setInterval(showAge, 30000);
connect();
