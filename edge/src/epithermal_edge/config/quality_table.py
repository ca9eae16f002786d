"""Describe [quality] of station.toml: keys, ranges, and the thresholds they set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epithermal_edge.config.toml_keys import Key
from epithermal_edge.inference.qc_limits import DEFAULT, Limits
from epithermal_edge.physics.atmosphere import mean_pressure

LOWEST_HPA, HIGHEST_HPA = -90.0, 60.0  # range of weather relative to the altitude's mean pressure


def _key(name: str, meaning: str, low: float, high: float) -> Key:
    return Key(name, float, meaning, default=getattr(DEFAULT, name), low=low, high=high)


KEYS: tuple[Key, ...] = (
    Key("pressure_min_hpa", float, "lowest air pressure, hPa", low=200, high=1100),
    Key("pressure_max_hpa", float, "highest air pressure, hPa", low=200, high=1200),
    _key("temperature_min_c", "coldest air, degC", -95, 20),
    _key("temperature_max_c", "warmest air, degC", 20, 70),
    _key("rain_max_mm_h", "heaviest rain, mm/h", 10, 2000),
    _key("count_max_ratio", "highest count relative to that of bare dry soil", 1, 100),
    _key("pressure_jump_hpa", "largest change of pressure in an hour or a record, hPa", 0.5, 100),
    _key("temperature_jump_c", "the same for the air temperature, degC", 1, 100),
    _key("humidity_jump_pct", "the same for the relative humidity of the air, %", 5, 105),
    _key("pressure_stuck_h", "longest time with constant pressure, h", 1, 1000),
    _key("air_stuck_h", "the same for temperature and humidity of the air, h", 1, 1000),
    _key("incoming_stuck_h", "the same for the neutron monitor, h", 1, 10000),
    _key("spike_sigma", "tolerated deviation of a count, in standard deviations", 3, 100),
    _key("spike_rise", "tolerated rise by drying, relative to the recent mean", 0, 10),
    _key("spike_fall", "tolerated fall by rain, relative to the recent mean", 0, 1),
    _key("tube_sigma", "as spike_sigma, for the first tube's fraction of the counts", 3, 100),
    _key("tube_change", "tolerated relative drift of that fraction in a month", 0, 1),
    _key("short_share", "least counting time relative to the previous one", 0, 1),
    _key("battery_min_v", "lowest supply voltage, V", 0, 60),
    _key("housing_humidity_max_pct", "highest humidity inside the housing, %", 1, 105),
    Key(
        "bare_tube",
        str,
        "channel of the bare tube, whose silence is flagged",
        choices=("thermal_counts", "tube_2_counts"),
    ),
)


def derive_limits(values: Mapping[str, Any], altitude_m: float) -> Limits:
    """Derive the thresholds of a station.

    Parameters
    ----------
    values :
        Checked [quality] with its defaults, or empty. Without its own keys, the pressure range is
        derived from the altitude.
    """
    mean_hpa = float(mean_pressure(altitude_m))
    derived = {
        "pressure_min_hpa": mean_hpa + LOWEST_HPA,
        "pressure_max_hpa": mean_hpa + HIGHEST_HPA,
    }
    return Limits(**{**derived, **{k: v for k, v in values.items() if v is not None}})


def check_ranges(values: Mapping[str, Any]) -> list[str]:
    """List the ranges that are empty."""
    low, high = values.get("pressure_min_hpa"), values.get("pressure_max_hpa")
    if low is None or high is None or low < high:
        return []
    return [f"quality.pressure_min_hpa: {low:g} is not less than pressure_max_hpa = {high:g}"]
