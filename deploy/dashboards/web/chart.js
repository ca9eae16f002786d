// History of one station as SVG: theta with its interval, and the soil's characteristic values.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Steps of 1, 2 or 5 times a power of ten, about `count` of them. */
function niceStep(span, count) {
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((m) => m * power >= raw);
}

/** Splits points into runs without gaps. */
function runs(points, longest) {
  const result = [];
  let last = null;
  for (const point of points) {
    if (point.theta === null) {
      last = null;
      continue;
    }
    if (last === null || point.end - last > longest) result.push([]);
    result[result.length - 1].push(point);
    last = point.end;
  }
  return result;
}

/** Values of the soil to mark: field capacity, threshold, wilting point. */
function marksOf(meta) {
  const water = meta?.water;
  if (!water) return [];
  const { field_capacity: wet, wilting_point: dry, threshold } = water;
  return [
    ["field capacity", wet],
    ["irrigate", wet - threshold * (wet - dry)],
    ["wilting point", dry],
  ];
}

function drawChart(points, { from, to, interval, meta, width, height }) {
  const box = { left: 44, right: width - 8, top: 10, bottom: height - 24 };
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const marks = marksOf(meta);
  const known = points.filter((p) => p.theta !== null);
  const heights = [...known.flatMap((p) => [p.p05, p.p95]), ...marks.map(([, y]) => y)];
  const low = Math.min(0.1, ...heights);
  const high = Math.max(0.3, ...heights) + 0.01;
  const x = (t) => box.left + ((t - from) / (to - from)) * (box.right - box.left);
  const y = (v) => box.bottom - ((v - low) / (high - low)) * (box.bottom - box.top);
  grid(root, box, { from, to, low, high, x, y });
  for (const [name, value] of marks) {
    const at = y(value);
    root.append(
      svg("line", { class: "mark", x1: box.left, x2: box.right, y1: at, y2: at }),
      svg("text", { class: "marktext", x: box.right - 4, y: at - 3, "text-anchor": "end" }, name)
    );
  }
  for (const run of runs(points, LIVE_PERIODS * interval)) {
    const upper = run.map((p) => `${x(p.end).toFixed(1)},${y(p.p95).toFixed(1)}`);
    const lower = run.map((p) => `${x(p.end).toFixed(1)},${y(p.p05).toFixed(1)}`).reverse();
    const middle = run.map((p) => `${x(p.end).toFixed(1)},${y(p.theta).toFixed(1)}`);
    root.append(svg("polygon", { class: "band", points: [...upper, ...lower].join(" ") }));
    root.append(svg("polyline", { class: "theta", points: middle.join(" ") }));
    const end = run[run.length - 1];
    root.append(svg("circle", { class: "dot", cx: x(end.end), cy: y(end.theta), r: 2.5 }));
  }
  root.setAttribute("aria-label", summary(known));
  return root;
}

function grid(root, box, { from, to, low, high, x, y }) {
  const step = niceStep(high - low, 4);
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    const at = y(value);
    root.append(
      svg("line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at }),
      svg("text", { x: box.left - 6, y: at + 4, "text-anchor": "end" }, value.toFixed(2))
    );
  }
  const day = new Date(from);
  day.setHours(24, 0, 0, 0);
  const each = Math.ceil((to - from) / (24 * HOUR) / Math.max(2, (box.right - box.left) / 70));
  for (let i = 0; day.getTime() <= to; day.setDate(day.getDate() + 1), i++) {
    if (i % each) continue;
    const name = day.toLocaleDateString(undefined, { day: "numeric", month: "short" });
    const at = x(day.getTime());
    root.append(svg("line", { class: "grid", x1: at, x2: at, y1: box.top, y2: box.bottom }));
    if (at < box.right - 16)
      root.append(svg("text", { x: at, y: box.bottom + 16, "text-anchor": "middle" }, name));
  }
}

/** Text for screen readers in place of the picture. */
function summary(known) {
  if (!known.length) return "Soil water: nothing received yet";
  const values = known.map((p) => p.theta);
  const [first, last] = [known[0], known[known.length - 1]];
  return (
    `Soil water from ${new Date(first.end).toLocaleString()} to ${new Date(last.end).toLocaleString()}: ` +
    `first ${first.theta.toFixed(3)}, last ${last.theta.toFixed(3)}, between ` +
    `${Math.min(...values).toFixed(3)} and ${Math.max(...values).toFixed(3)} cubic metres per cubic metre`
  );
}
