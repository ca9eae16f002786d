"""Describe [weather.*] and [incoming] of station.toml: values that other instruments measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epithermal_edge.config.toml_keys import Key
from epithermal_edge.loggers.nmdb import NMDB_URL
from epithermal_edge.loggers.units import CONVERSIONS, Conversion
from epithermal_edge.site import USUAL_MONITOR
from epithermal_edge.times import DAY_S

MONITOR_NAME = r"[A-Z0-9]{2,8}"
TOPIC = r"[^#+\x00]+"  # MQTT allows blanks: names of rooms and gardens are topics

FIELDS = {
    "pressure": "pressure_hpa",
    "temperature": "temperature_c",
    "humidity": "relative_humidity_pct",
    "rain": "rain_mm",
    "et0": "et0_mm",
}
"""Name of a [weather.NAME] table to the field of RawRecord that it supplies."""

UNITS: dict[str, dict[str, Conversion]] = {
    name: CONVERSIONS[field] | ({"tips": (1, 0)} if name == "rain" else {})
    for name, field in FIELDS.items()
}
"""Factor and offset that convert a unit to that of the field; the first unit is the default.

The factor of a tip is `source.rain_mm_per_tip`.
"""

KINDS = ("level", "amount", "total")
INCOMING_SOURCES = ("file", "nmdb", "mqtt")


def _gauge_keys(name: str) -> tuple[Key, ...]:
    units = tuple(UNITS[name])
    sums = name in ("rain", "et0")
    return (
        Key("topic", str, "MQTT topic, without + and #", pattern=TOPIC),
        Key(
            "field",
            str,
            "name in a JSON payload, nested as a.b, an array as a.0.b; without it, a plain number",
        ),
        Key("time_field", str, "field with the time of the value, UTC"),
        Key("unit", str, "unit of the value", default=units[0], choices=units),
        Key(
            "kind",
            str,
            "level: a state; amount: sum since the previous message; total: a counter",
            default="amount" if sums else "level",
            choices=KINDS[1:] if sums else KINDS[:1],
        ),
        Key(
            "max_age_s",
            float,
            "age at which a value becomes unknown, s",
            default=3600.0,
            low=1,
            high=DAY_S,
        ),
    )


TABLES: dict[str, tuple[Key, ...]] = {
    "weather": (
        Key("host", str, "broker for weather and incoming; without it, that of [mqtt]"),
        Key("port", int, "TCP port of that broker", default=1883, low=1, high=65535),
        Key("version", str, "MQTT version", default="5", choices=("5", "3.1.1")),
        Key("user", str, "user name at that broker"),
        Key("password_file", str, "file whose first line is the password"),
        Key("ca_file", str, "CA certificate; enables TLS"),
    ),
    **{f"weather.{name}": _gauge_keys(name) for name in FIELDS},
    "incoming": (
        Key("source", str, "source of the monitor's counts", True, choices=INCOMING_SOURCES),
        Key("file", str, "file: lines of time and count; new lines are appended"),
        Key(
            "monitor",
            str,
            "nmdb: short name of the monitor, JUNG by default; file: the one to read of several",
            pattern=MONITOR_NAME,
        ),
        Key("url", str, "nmdb: address of NEST", default=NMDB_URL, pattern=r"https://\S+"),
        Key("ca_file", str, "nmdb: CA certificate, if not one of the system's"),
        Key("every_s", float, "nmdb: seconds between queries", default=3600, low=600, high=DAY_S),
        Key("topic", str, "mqtt: topic, without + and #", pattern=TOPIC),
        Key("field", str, "mqtt: name in a JSON payload; without it, a plain number"),
        Key("time_field", str, "mqtt: field with the time of the count, UTC"),
        Key(
            "max_age_s",
            float,
            "age up to which a count is current, s",
            default=21600.0,
            low=60,
            high=10 * DAY_S,
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Gauge:
    """A [weather.*] table: value = number in the message * scale + offset, in the field's unit."""

    name: str  # field of RawRecord
    topic: str
    field: str | None
    time_field: str | None
    scale: float
    offset: float
    kind: str
    max_age_s: float


@dataclass(frozen=True, slots=True)
class Incoming:
    """The [incoming] table."""

    source: str
    file: Path | None
    monitor: str  # file: empty for the only one
    url: str
    ca_file: Path | None
    every_s: float
    topic: str | None
    field: str | None
    time_field: str | None
    max_age_s: float


def check(values: dict[str, dict[str, Any]], folder: Path, faults: list[str]) -> None:
    """Check the conditions between keys; append one line to `faults` for each violation."""
    listening = False
    for name in FIELDS:
        table = values.get(f"weather.{name}", {})
        given = {k for k in ("field", "time_field") if table.get(k)}
        if "topic" in table and table["topic"] is None:
            defaults = {key.name: key.default for key in TABLES[f"weather.{name}"]}
            if given or table != defaults:
                faults.append(f"weather.{name}.topic: missing; MQTT topic of the sensor")
            continue
        listening = True
        faults += _time_without_json(f"weather.{name}", table)
        tip = values.get("source", {}).get("rain_mm_per_tip")
        if table.get("unit") == "tips" and not tip:
            faults.append("source.rain_mm_per_tip: missing; weather.rain.unit is tips")
    incoming = values.get("incoming", {})
    source = incoming.get("source")
    needed = {"file": "file", "mqtt": "topic"}.get(source or "")
    if needed and needed in incoming and incoming[needed] is None:
        faults.append(f"incoming.{needed}: missing; incoming.source is {source}")
    if incoming.get("ca_file") and not (folder / incoming["ca_file"]).is_file():
        faults.append(f"incoming.ca_file: no file {folder / incoming['ca_file']}")
    faults += _time_without_json("incoming", incoming)
    if source and values.get("site.incoming", {}).get("form") == "none":
        faults.append(
            "site.incoming.form: is none, but [incoming] is given; set plain or another form"
        )
    if source and values.get("site.incoming", {}).get("source") == "muons":
        faults.append(
            "site.incoming.source: is muons, but [incoming] names a monitor; delete one of them"
        )
    named = values.get("site.incoming", {}).get("monitor")
    if source == "nmdb" and named and incoming.get("monitor", named) not in (named, None):
        faults.append(
            f"site.incoming.monitor: is {named}, but incoming.monitor is {incoming['monitor']}"
        )
    broker = values.get("weather", {})
    for key in ("password_file", "ca_file"):
        if broker.get(key) and not (folder / broker[key]).is_file():
            faults.append(f"weather.{key}: no file {folder / broker[key]}")
    listening = listening or source == "mqtt"
    if listening and "mqtt" not in values and not broker.get("host"):
        faults.append("weather.host: missing; topics need this broker or mqtt.host")


def _time_without_json(name: str, table: dict[str, Any]) -> list[str]:
    if table.get("time_field") and not table.get("field"):
        return [f"{name}.field: missing; a payload with time_field is JSON"]
    return []


def build_gauges(values: dict[str, dict[str, Any]]) -> tuple[Gauge, ...]:
    """Build the gauges that have a topic."""
    gauges = []
    for name, field in FIELDS.items():
        table = values.get(f"weather.{name}", {})
        if not table.get("topic"):
            continue
        scale, offset = UNITS[name][table["unit"]]
        if table["unit"] == "tips":
            scale = values["source"]["rain_mm_per_tip"]
        given = {k: table[k] for k in ("topic", "field", "time_field", "kind", "max_age_s")}
        gauges.append(Gauge(name=field, scale=scale, offset=offset, **given))
    return tuple(gauges)


def name_monitor(values: dict[str, dict[str, Any]]) -> str:
    """Name the neutron monitor whose counts the station gets; without a name, Jungfraujoch's."""
    tables = values.get("site.incoming", {}), values.get("incoming", {})
    return next((table["monitor"] for table in tables if table.get("monitor")), USUAL_MONITOR)


def build_incoming(values: dict[str, dict[str, Any]], folder: Path) -> Incoming | None:
    """Build the neutron monitor's source from [incoming]; None if there is no such table."""
    table = values.get("incoming")
    if table is None:
        return None
    files = {k: folder / table[k] if table[k] else None for k in ("file", "ca_file")}
    monitor = table["monitor"] or (name_monitor(values) if table["source"] == "nmdb" else "")
    return Incoming(**{**table, **files, "monitor": monitor})
