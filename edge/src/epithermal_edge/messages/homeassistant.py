"""What Home Assistant is told of a station: one device, its entities, where their values are.

Home Assistant stamps a value when it arrives, so it reads `state/theta` alone: the newest live one.

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

ONLINE = b"online"  # payload of its birth message


def _of(path: str, factor: float = 1.0, digits: int | None = None, of: str = "") -> str:
    """Template of a value; null stays unknown, also where `of`, the object around it, is null."""
    value = f"value_json.{path}"
    if digits is not None:
        value = f"({value} * {factor:g}) | round({digits})"
    elif not of:
        return f"{{{{ {value} }}}}"
    return f"{{{{ {value} if value_json.{of or path} is not none else none }}}}"


# name of the entity, its key, unit, device class, template, decimals, whether a diagnostic
# Water content has no device class: `moisture` takes % alone.
ENTITIES: tuple[tuple[str, str, str | None, str | None, str, int | None, bool], ...] = (
    ("Soil water 0-30 cm", "theta", "m³/m³", None, _of("theta.value"), 3, False),
    ("Soil moisture 0-30 cm", "moisture", "%", "moisture", _of("theta.value", 100, 1), 1, False),
    ("Soil water standard error", "theta_sigma", "m³/m³", None, _of("theta.sigma"), 3, True),
    ("Soil water 0-30 cm, classical", "theta_classical", "m³/m³", None,
     _of("theta_classical.value"), 3, True),
    ("Soil water storage 0-30 cm", "storage", "mm", None, _of("storage_mm"), 1, False),
    ("Water for plants 0-30 cm", "available", "mm", None,
     _of("water.available_mm.value"), 1, False),
    ("Water used 0-30 cm", "depletion", "%", None, _of("water.depletion.value", 100, 1), 0, False),
    ("Days until irrigation", "days", "d", None,
     _of("water.days_to_threshold.value", of="water.days_to_threshold"), 1, False),
    ("Neutrons, corrected", "n_corr", "counts/h", None, _of("n.corr_cph"), 0, True),
    ("Air pressure", "pressure", "hPa", "atmospheric_pressure", _of("met.pressure_hpa"), 1, True),
    ("Air temperature", "temperature", "°C", "temperature", _of("met.temperature_c"), 1, True),
    ("Relative humidity", "humidity", "%", "humidity", _of("met.relative_humidity_pct"), 0, True),
    ("Quality of soil water", "q", None, None, _of("q"), None, True),
)  # fmt: skip

WATER = ("available", "depletion", "days")  # keys of entities that only a described soil has


def discovery(
    identity: Identity, prefix: str, name: str, moisture: bool, water: bool = False
) -> Message:
    """The device and its entities, retained.

    Parameters
    ----------
    prefix :
        Home Assistant's own, `homeassistant` unless it was changed there.
    name :
        Of the site; empty: the station's id.
    moisture :
        Whether to offer theta in % too.
    water :
        Whether the soil is described, and what plants can take is told.
    """
    device = f"crns_{identity.station}"
    expire_s = math.ceil(LIVE_INTERVALS * identity.interval_s)
    components: dict[str, dict[str, Any]] = {}
    for title, key, unit, device_class, template, decimals, diagnostic in ENTITIES:
        if (key == "moisture" and not moisture) or (key in WATER and not water):
            continue
        entity: dict[str, Any] = {
            "platform": "sensor",
            "unique_id": f"{device}_{key}",
            "name": title,
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
