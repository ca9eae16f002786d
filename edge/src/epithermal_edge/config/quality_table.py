"""Describe [quality] of station.toml: its keys, their ranges, and the limits they give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epithermal_edge.config.toml_keys import Key
from epithermal_edge.inference.qc_limits import DEFAULT, Limits
from epithermal_edge.physics.atmosphere import mean_pressure

LOWEST_HPA, HIGHEST_HPA = -90.0, 60.0  # weather's pressure beside the altitude's mean


def _key(name: str, meaning: str, low: float, high: float) -> Key:
    return Key(name, float, meaning, default=getattr(DEFAULT, name), low=low, high=high)


KEYS: tuple[Key, ...] = (
    Key("pressure_min_hpa", float, "lowest air pressure, hPa", low=200, high=1100),
    Key("pressure_max_hpa", float, "highest air pressure, hPa", low=200, high=1200),
    _key("temperature_min_c", "coldest air, degC", -95, 20),
    _key("temperature_max_c", "warmest air, degC", 20, 70),
    _key("rain_max_mm_h", "heaviest rain, mm/h", 10, 2000),
    _key("count_max_ratio", "most counts, as a multiple of bare dry soil's", 1, 100),
    _key("pressure_jump_hpa", "most change of pressure in an hour or a record, hPa", 0.5, 100),
    _key("temperature_jump_c", "the same of the air's temperature, degC", 1, 100),
    _key("humidity_jump_pct", "the same of the air's relative humidity, %", 5, 105),
    _key("pressure_stuck_h", "longest time that pressure stands still, h", 1, 1000),
    _key("air_stuck_h", "the same of temperature and humidity of the air, h", 1, 1000),
    _key("incoming_stuck_h", "the same of the neutron monitor, h", 1, 10000),
    _key("spike_sigma", "most standard deviations of a count that are chance", 3, 100),
    _key("spike_rise", "part of the recent mean by which drying may raise a count", 0, 10),
    _key("spike_fall", "part of the recent mean by which rain may lower a count", 0, 1),
    _key("tube_sigma", "as spike_sigma, of the first tube's share of the counts", 3, 100),
    _key("tube_change", "part by which that share may drift in a month", 0, 1),
    _key("short_share", "counting time as part of that before under which it is short", 0, 1),
    _key("battery_min_v", "lowest supply voltage, V", 0, 60),
    _key("housing_humidity_max_pct", "most humidity inside the housing, %", 1, 105),
)


def derive_limits(values: Mapping[str, Any], altitude_m: float) -> Limits:
    """The thresholds of a station.

    Parameters
    ----------
    values :
        Of [quality], defaults filled in, or empty. Pressure's range follows from the altitude
        where it is not given.
    """
    mean_hpa = float(mean_pressure(altitude_m))
    derived = {
        "pressure_min_hpa": mean_hpa + LOWEST_HPA,
        "pressure_max_hpa": mean_hpa + HIGHEST_HPA,
    }
    return Limits(**{**derived, **{k: v for k, v in values.items() if v is not None}})


def faults(values: Mapping[str, Any]) -> list[str]:
    """Ranges that are empty."""
    low, high = values.get("pressure_min_hpa"), values.get("pressure_max_hpa")
    if low is None or high is None or low < high:
        return []
    return [f"quality.pressure_min_hpa: {low:g} is not less than pressure_max_hpa = {high:g}"]
