// State of the stations: no page and no network access.
"use strict";

const HOUR = 3600e3; // [ms]
const LIVE_PERIODS = 2.5; // as docs/mqtt.md: older is not live

const numberOr = (value, other = null) => (Number.isFinite(value) ? value : other);

/** Value and interval of an object {value, p05, p95}; null if there is no value. */
function range(estimate) {
  if (!estimate || !Number.isFinite(estimate.value)) return null;
  return { value: estimate.value, p05: numberOr(estimate.p05, estimate.value), p95: numberOr(estimate.p95, estimate.value) };
}

/** A point of the chart; its key is its end, so that late, duplicate and revised messages are handled. */
function pointOf(payload) {
  const end = Date.parse(payload.end);
  if (!Number.isFinite(end)) return null;
  const theta = range(payload.theta);
  return {
    end,
    rev: numberOr(payload.rev, 0),
    theta: theta && theta.value,
    p05: theta && theta.p05,
    p95: theta && theta.p95,
    classical: numberOr(payload.theta_classical?.value),
  };
}

class Station {
  constructor(id) {
    this.id = id;
    this.status = this.meta = this.live = null;
    this.points = new Map(); // by end
  }

  get name() {
    const name = this.meta?.site?.name;
    return typeof name === "string" && name ? name : this.id;
  }

  get interval() {
    return numberOr(this.meta?.source?.interval_s, 3600) * 1e3;
  }

  get isOnline() {
    return this.status?.state === "online";
  }

  /** The newest live message, or null: an old value is never shown as a current one. */
  current(now) {
    if (!this.live || !this.isOnline) return null;
    return now - Date.parse(this.live.end) < LIVE_PERIODS * this.interval ? this.live : null;
  }

  /** Reason why there is no current value; "" if there is one. */
  why(now) {
    if (!this.status) return "nothing received yet";
    if (this.status.state === "lost") return "unavailable: the connection is lost";
    if (this.status.state === "stopped") return "unavailable: the station was stopped";
    if (!this.current(now)) return "unavailable: no recent value";
    return "";
  }

  add(payload, oldest) {
    const point = pointOf(payload);
    if (!point || point.end < oldest) return;
    const known = this.points.get(point.end);
    if (!known || known.rev <= point.rev) this.points.set(point.end, point);
  }

  /** Points in order of time. */
  series(oldest) {
    for (const end of this.points.keys()) if (end < oldest) this.points.delete(end);
    return [...this.points.values()].sort((a, b) => a.end - b.end);
  }
}

class Store {
  constructor(prefix, days) {
    this.prefix = prefix;
    this.days = days;
    this.stations = new Map();
  }

  oldest(now) {
    return now - this.days * 24 * HOUR;
  }

  of(id) {
    if (!this.stations.has(id)) this.stations.set(id, new Station(id));
    return this.stations.get(id);
  }

  /** Processes a message; false if it is not from a station. */
  handle(topic, text, now) {
    if (!topic.startsWith(`${this.prefix}/`)) return false;
    const [id, ...rest] = topic.slice(this.prefix.length + 1).split("/");
    if (!/^[a-z0-9-]{3,32}$/.test(id)) return false;
    let payload;
    try {
      payload = JSON.parse(text);
    } catch {
      return false;
    }
    if (payload === null || typeof payload !== "object" || payload.v !== 1) return false;
    const station = this.of(id);
    const name = rest.join("/");
    if (name === "status") station.status = payload;
    else if (name === "meta") station.meta = payload;
    else if (name === "obs/theta") station.add(payload, this.oldest(now));
    else if (name === "state/theta") {
      if (!station.live || payload.end >= station.live.end) station.live = payload;
      station.add(payload, this.oldest(now));
    } else return false;
    return true;
  }

  /** Stations by need for irrigation, then by name; unavailable ones last. */
  sorted(now) {
    const need = (s) => {
      const water = s.current(now)?.water;
      return water ? water.depletion.value - water.threshold : s.current(now) ? -2 : -3;
    };
    return [...this.stations.values()].sort(
      (a, b) => need(b) - need(a) || a.name.localeCompare(b.name)
    );
  }

  /** The history as text, for the next visit: MQTT has none. */
  save(now) {
    const saved = {};
    for (const station of this.stations.values())
      saved[station.id] = station.series(this.oldest(now)).map((p) => [
        p.end, p.rev, p.theta, p.p05, p.p95, p.classical,
      ]);
    return JSON.stringify(saved);
  }

  load(text, now) {
    for (const [id, rows] of Object.entries(JSON.parse(text ?? "{}")))
      for (const [end, rev, theta, p05, p95, classical] of rows)
        if (end >= this.oldest(now))
          this.of(id).points.set(end, { end, rev, theta, p05, p95, classical });
  }
}
