"""Build the discovery message of Home Assistant: one device and its entities.

Home Assistant stamps a value when it arrives, so the entities read only `state/theta`, which holds
the newest live record.

References
----------
Home Assistant, MQTT integration: "MQTT discovery", "Device discovery payload", "MQTT sensor".
"""

from __future__ import annotations

import math
from typing import Any

from epithermal_edge import __version__
from epithermal_edge.messages.message import Identity, Message, encode
from epithermal_edge.messages.topics import DISCOVERY, LIVE_INTERVALS, STATE_THETA, STATUS

ONLINE = b"online"  # payload of Home Assistant's birth message


def _value(path: str, factor: float = 1.0, digits: int | None = None, parent: str = "") -> str:
    """Return the template of a value; null becomes unknown, also if its `parent` is null."""
    value = f"value_json.{path}"
    if digits is not None:
        value = f"({value} * {factor:g}) | round({digits})"
    elif not parent:
        return f"{{{{ {value} }}}}"
    return f"{{{{ {value} if value_json.{parent or path} is not none else none }}}}"


# label, key, unit, device class, template, decimals, whether a diagnostic. Key and unique id never
# change. Water content has no device class: `moisture` accepts only %.
ENTITIES: tuple[tuple[str, str, str | None, str | None, str, int | None, bool], ...] = (
    ("Soil water 0-30 cm", "theta", "m³/m³", None, _value("theta.value"), 3, False),
    ("Soil moisture 0-30 cm", "moisture", "%", "moisture", _value("theta.value", 100, 1), 1, False),
    ("Soil water standard error", "theta_sigma", "m³/m³", None, _value("theta.sigma"), 3, True),
    ("Soil water 0-30 cm, classical", "theta_classical", "m³/m³", None,
     _value("theta_classical.value"), 3, True),
    ("Soil water storage 0-30 cm", "storage", "mm", None, _value("storage_mm"), 1, False),
    ("Plant-available water 0-30 cm", "available", "mm", None,
     _value("water.available_mm.value"), 1, False),
    ("Water depletion 0-30 cm", "depletion", "%", None,
     _value("water.depletion.value", 100, 1), 0, False),
    ("Days until irrigation", "days", "d", None,
     _value("water.days_to_threshold.value", parent="water.days_to_threshold"), 1, False),
    ("Snow water equivalent", "snow", "mm", None, _value("snow.swe_mm.value", parent="snow"), 0,
     False),
    ("Snow water equivalent, 5 %", "snow_p05", "mm", None,
     _value("snow.swe_mm.p05", parent="snow"), 0, True),
    ("Snow water equivalent, 95 %", "snow_p95", "mm", None,
     _value("snow.swe_mm.p95", parent="snow"), 0, True),
    ("Irrigate", "irrigate", None, None,
     "{{ ('ON' if value_json.irrigate else 'OFF') if value_json.irrigate is not none else none }}",
     None, False),
    ("Irrigation advice", "advice", None, None, _value("advice"), None, False),
    ("Water depletion of the root zone", "root_depletion", "%", None,
     _value("root_zone.depletion.value", 100, 1), 0, False),
    ("Days until irrigation of the root zone", "root_days", "d", None,
     _value("root_zone.days_to_threshold.value", parent="root_zone.days_to_threshold"), 1, False),
    ("Neutrons, corrected", "n_corr", "counts/h", None, _value("n.corr_cph"), 0, True),
    ("Air pressure", "pressure", "hPa", "atmospheric_pressure",
     _value("met.pressure_hpa"), 1, True),
    ("Air temperature", "temperature", "°C", "temperature", _value("met.temperature_c"), 1, True),
    ("Relative humidity", "humidity", "%", "humidity",
     _value("met.relative_humidity_pct"), 0, True),
    ("Quality flag", "q", None, None, _value("q"), None, True),
)  # fmt: skip

WATER = (  # keys of entities that need a described soil
    *("available", "depletion", "days"),
    *("irrigate", "advice", "root_depletion", "root_days"),
)
SNOW = ("snow", "snow_p05", "snow_p95")  # of those that need snow to be looked for
BINARY = ("irrigate",)  # keys of entities that are on or off


def discovery(
    identity: Identity,
    prefix: str,
    name: str,
    moisture: bool,
    water: bool = False,
    snow: bool = True,
) -> Message:
    """Return the retained message that announces the device and its entities.

    Parameters
    ----------
    prefix :
        Discovery prefix of Home Assistant, by default `homeassistant`.
    name :
        Name of the site; empty: the station's id.
    moisture :
        Whether to add theta in %.
    water :
        Whether the soil is described, so that plant-available water is published.
    snow :
        Whether snow is looked for.
    """
    device = f"crns_{identity.station}"
    expire_s = math.ceil(LIVE_INTERVALS * identity.interval_s)
    components: dict[str, dict[str, Any]] = {}
    for label, key, unit, device_class, template, decimals, diagnostic in ENTITIES:
        if (key == "moisture" and not moisture) or (key in WATER and not water):
            continue
        if key in SNOW and not snow:
            continue
        entity: dict[str, Any] = {
            "platform": "binary_sensor" if key in BINARY else "sensor",
            "unique_id": f"{device}_{key}",
            "name": label,
            "value_template": template,
            "expire_after": expire_s,
        }
        if unit is not None:
            entity |= {"unit_of_measurement": unit, "state_class": "measurement"}
        if decimals is not None:
            entity["suggested_display_precision"] = decimals
        if device_class is not None:
            entity["device_class"] = device_class
        if diagnostic:
            entity["entity_category"] = "diagnostic"
        components[key] = entity
    online = "{{ 'online' if value_json.state == 'online' else 'offline' }}"
    payload = {
        "device": {
            "identifiers": [device],
            "name": name or identity.station,
            "manufacturer": "epithermal",
            "model": "cosmic-ray neutron station",
            "sw_version": __version__,
        },
        "origin": {"name": "epithermal-edge", "sw_version": __version__},
        "state_topic": identity.topic(STATE_THETA),
        "qos": 1,
        "availability": [{"topic": identity.topic(STATUS), "value_template": online}],
        "components": components,
    }
    topic = DISCOVERY.fill(homeassistant=prefix, station=identity.station)
    return Message(topic, encode(payload), DISCOVERY)
