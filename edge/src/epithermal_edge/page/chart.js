/* Draw the chart of the last 30 days and the bar of plant-available water as SVG. */
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const SPACE = { left: 42, right: 8, top: 10, bottom: 24 };

function append(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

/* Return index runs without a gap in time in which every column has a value. */
function runs(time, columns) {
  const steps = time.slice(1).map((t, i) => t - time[i]).sort((a, b) => a - b);
  const gap = 3.5 * (steps[Math.floor(steps.length / 2)] || 3600);
  const out = [];
  let run = [];
  time.forEach((t, i) => {
    const known = columns.every((column) => column[i] !== null);
    if (run.length && (!known || t - time[run[run.length - 1]] > gap)) { out.push(run); run = []; }
    if (known) run.push(i);
  });
  if (run.length) out.push(run);
  return out;
}

/* Return the smallest step of 1, 2 or 5 times a power of ten with at most `most` steps in the span. */
function niceStep(span, most) {
  const power = 10 ** Math.floor(Math.log10(span / most));
  return [1, 2, 5, 10].map((k) => k * power).find((step) => span / step <= most);
}

function scales(data, limits, width, height) {
  const values = [...data.p05, ...data.p95, ...data.theta_classical, ...limits.map((l) => l.theta)];
  const known = values.filter((v) => v !== null);
  let low = known.length ? Math.min(...known) : 0;
  let high = known.length ? Math.max(...known) : 0.5;
  const step = niceStep(Math.max(high - low, 0.02), 6);
  low = Math.floor(low / step) * step;
  high = Math.max(Math.ceil(high / step + 0.3) * step, low + step);  // space for the limits' names
  const plotWidth = width - SPACE.left - SPACE.right;
  const plotHeight = height - SPACE.top - SPACE.bottom;
  return {
    low, high, step,
    x: (t) => SPACE.left + plotWidth * (t - data.from) / (data.to - data.from),
    y: (v) => SPACE.top + plotHeight * (high - v) / (high - low),
  };
}

function drawAxes(svg, data, scale, width, height) {
  for (let k = 0; k <= Math.round((scale.high - scale.low) / scale.step); k++) {
    const value = scale.low + k * scale.step;
    const y = scale.y(value);
    append(svg, "line", { class: "grid", x1: SPACE.left, x2: width - SPACE.right, y1: y, y2: y });
    const label = value.toFixed(scale.step < 0.01 ? 3 : 2);
    append(svg, "text", { x: SPACE.left - 6, y: y + 4, "text-anchor": "end" }, label);
  }
  const day = new Date(data.from * 1000);
  day.setHours(24, 0, 0, 0);
  const each = width < 560 ? 7 : 3;
  for (; day / 1000 < data.to; day.setDate(day.getDate() + each)) {
    const x = scale.x(day / 1000);
    append(svg, "line", { class: "grid", x1: x, x2: x, y1: height - SPACE.bottom, y2: height - SPACE.bottom + 4 });
    if (x > width - 30) continue;
    const label = day.toLocaleDateString(undefined, { day: "numeric", month: "short" });
    append(svg, "text", { x, y: height - 6, "text-anchor": "middle" }, label);
  }
}

function drawRain(svg, data, scale) {
  const most = Math.max(...data.rain_mm.map((v) => v || 0));
  if (!(most > 0)) return;
  const full = (scale.y(scale.low) - scale.y(scale.high)) / 4;
  data.rain_mm.forEach((rain, i) => {
    const length = (rain || 0) / most * full;
    if (!(length > 0)) return;
    append(svg, "rect", { class: "rain-bar", x: scale.x(data.end[i]) - 1.5, y: SPACE.top, width: 3, height: length });
  });
}

function drawLines(svg, data, scale) {
  const at = (column) => (i) => `${scale.x(data.end[i]).toFixed(1)},${scale.y(data[column][i]).toFixed(1)}`;
  for (const run of runs(data.end, [data.p05, data.p95])) {
    const edge = [...run.map(at("p95")), ...[...run].reverse().map(at("p05"))];
    append(svg, "polygon", { class: "band", points: edge.join(" ") });
  }
  for (const [column, name] of [["theta_classical", "dashed"], ["theta", "line"]]) {
    for (const run of runs(data.end, [data[column]])) {
      append(svg, "polyline", { class: name, points: run.map(at(column)).join(" ") });
    }
  }
}

/* Draw history.json; limits: [{name, theta}]; picked: index of the selected time or null. */
function drawChart(svg, data, limits, picked) {
  const width = svg.clientWidth || 640, height = svg.clientHeight || 320;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const scale = scales(data, limits, width, height);
  drawAxes(svg, data, scale, width, height);
  drawRain(svg, data, scale);
  drawLines(svg, data, scale);
  for (const limit of limits) {
    const y = scale.y(limit.theta);
    append(svg, "line", { class: "limit", x1: SPACE.left, x2: width - SPACE.right, y1: y, y2: y });
    append(svg, "text", { class: "limit-name", x: SPACE.left + 6, y: y - 5 }, limit.name);
  }
  if (picked === null || data.end[picked] === undefined) return;
  const x = scale.x(data.end[picked]);
  append(svg, "line", { class: "picked", x1: x, x2: x, y1: SPACE.top, y2: height - SPACE.bottom });
  if (data.theta[picked] !== null) append(svg, "circle", { class: "dot", cx: x, cy: scale.y(data.theta[picked]), r: 4 });
}

/* Draw plant-available water with its 90 % interval and the irrigation threshold. */
function drawBar(svg, water, constants) {
  const width = svg.clientWidth || 240, full = constants.capacity_mm;
  const x = (mm) => 1 + (width - 2) * mm / full;
  svg.setAttribute("viewBox", `0 0 ${width} 28`);
  svg.replaceChildren();
  const { value, p05, p95 } = water.available_mm;
  if (value !== null) {
    append(svg, "rect", { class: "filled", x: 1, y: 6, width: Math.max(x(value) - 1, 0), height: 16, "fill-opacity": 0.55 });
    append(svg, "line", { class: "spread", x1: x(p05), x2: x(p95), y1: 14, y2: 14 });
  }
  append(svg, "rect", { class: "track", x: 1, y: 6, width: width - 2, height: 16 });
  const mark = x(full * (1 - constants.threshold));
  append(svg, "line", { class: "limit", x1: mark, x2: mark, y1: 0, y2: 28 });
}
