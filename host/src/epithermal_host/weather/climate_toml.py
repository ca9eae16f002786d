"""Write and read a fitted climate as a TOML file."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from epithermal_edge.errors import ConfigError
from epithermal_host.compute.files import write_atomic
from epithermal_host.tables.quantities import MONITOR_COUNTS, WEATHER, Quantity
from epithermal_host.weather.generator import DRIZZLE_MM, Climate, Monthly
from epithermal_host.weather.station_series import DailyWeather

SHAPES: dict[str, tuple[tuple[type, ...], str]] = {  # by the annotation in Climate
    "float": ((float,), "a number"),
    "Monthly": ((tuple,), "twelve numbers, January first"),
    "Seasonal": ((float, tuple), "a number, or twelve, January first"),
}

CORRECT = "correct it, or create the file again with `weather fit`"
_PROBABILITY = Quantity("", 0.0, 1.0, CORRECT, "in percent?")
_MEMORY = Quantity("", -0.99, 0.9999)  # at 1 an autoregressive series has no mean
_SPREAD_C = Quantity("K", 0.0, 30.0)
_LOG_SPREAD = Quantity("", 0.0, 3.0)
_RATIO = Quantity("", 0.0, math.inf)
LIMITS: dict[str, Quantity] = {  # of each parameter of Climate
    "latitude_deg": Quantity("degrees", -90.0, 90.0),
    "altitude_m": Quantity("m", -450.0, 6000.0, "", "in feet?"),
    "wet_after_dry": _PROBABILITY,
    "wet_after_wet": _PROBABILITY,
    "rain_wet_day_mm": Quantity("mm", DRIZZLE_MM, 500.0, "in m or inches?", "a month's rain?"),
    "rain_shape": Quantity("", 0.05, 50.0),
    "t_mean_c": Quantity("degC", -80.0, 50.0, "", "in K or degF?"),
    "t_range_c": Quantity("K", 0.0, 40.0, "", "in degF?"),
    "t_range_wet": _RATIO,
    "t_wet_shift_c": Quantity("K", -30.0, 30.0),
    "t_sigma_c": _SPREAD_C,
    "t_memory": _MEMORY,
    "t_range_sigma": _LOG_SPREAD,
    "t_range_memory": _MEMORY,
    "et0_sigma": _LOG_SPREAD,
    "et0_memory": _MEMORY,
    "pressure_hpa": WEATHER["pressure_hpa"],
    "pressure_wet_drop_hpa": Quantity("hPa", -50.0, 50.0, "", "in Pa?"),
    "pressure_sigma_hpa": Quantity("hPa", 0.0, 50.0, "", "in Pa?"),
    "pressure_memory": _MEMORY,
    "humidity_pct": Quantity("%", 1.0, 100.0, "a fraction?", "not in percent?"),
    "humidity_wet_rise_pct": Quantity("%", -100.0, 100.0),
    "humidity_sigma_pct": Quantity("%", 0.0, 60.0),
    "humidity_memory": _MEMORY,
    "incoming_mean": Quantity("", 1.0, MONITOR_COUNTS.high),
    "incoming_sigma": Quantity("", 0.0, 0.5, "", "in percent?"),
    "incoming_memory": _MEMORY,
    "forbush_per_year": Quantity("", 0.0, 100.0),
    "forbush_depth": Quantity("", 0.0, 0.5, "", "in percent?"),
    "snow_below_c": Quantity("degC", -20.0, 20.0, "", "in K or degF?"),
    "melt_mm_per_c_d": Quantity("mm/(degC d)", 0.0, 30.0, "", "in another unit?"),
    "rain_neighbour_rise": Quantity("", -0.99, 10.0),
    "et0_factor": _RATIO,
    "et0_wet": _RATIO,
    "et0_humidity_correlation": Quantity("", -1.0, 1.0, "", "in percent?"),
    "wet_reach": Quantity("", 0.0, 1.0),
    "spell_sigma": _LOG_SPREAD,
    "spell_memory": Quantity("", 0.0, 0.9999),
}


def write_climate(
    path: Path,
    climate: Climate,
    weather: DailyWeather,
    read: Mapping[str, Any] | None = None,
) -> None:
    """Write a climate as TOML, with the source of its fit and the options to read that again."""
    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(climate).items()
    }
    source: dict[str, Any] = {
        "file": weather.source,
        "first": str(weather.date[0]),
        "last": str(weather.date[-1]),
        "et0": weather.et0_from,
    }
    if read is not None:
        source["read"] = read
    text = tomli_w.dumps({"source": source, "climate": plain})
    write_atomic(path, text.encode("utf-8"))


def read_climate(path: Path) -> Climate:
    """Read a climate from its TOML file.

    Raises
    ------
    ConfigError
        The file is missing or not TOML, a key is missing or unknown, a value has a wrong shape or
        is outside its limits.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror or fault}") from None
    except (ValueError, RecursionError) as fault:
        raise ConfigError(f"{path}: invalid TOML: {fault}") from None
    given = table.get("climate")
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: no section [climate]; create the file with `weather fit`")
    values: dict[str, Any] = {}
    fields = {f.name: f for f in dataclasses.fields(Climate)}
    unknown = sorted(set(given) - set(fields))
    faults = [f"{path}: [climate] {name}: no such key; remove it" for name in unknown]
    for name, spec in fields.items():
        if name not in given:
            if spec.default is dataclasses.MISSING:
                faults.append(
                    f"{path}: [climate] {name} is missing; create the file again with `weather fit`"
                )
            continue
        value = _number_or_twelve(given[name])
        if value is not None and isinstance(value, SHAPES[str(spec.type)][0]):
            values[name] = value
            if outside := _limit_fault(name, value):
                faults.append(f"{path}: [climate] {name} {outside}")
        else:
            faults.append(f"{path}: [climate] {name} must be {SHAPES[str(spec.type)][1]}")
    if faults:
        raise ConfigError(*faults)
    return Climate(**values)


def _limit_fault(name: str, value: float | Monthly) -> str:
    """Describe the first value outside the limits of a parameter, with the remedy; empty: none."""
    limits = LIMITS[name]
    unit = f" {limits.unit}".rstrip()
    for number in value if isinstance(value, tuple) else (value,):
        if number < limits.low:
            return f"= {number:g} is below {limits.low:g}{unit}; {limits.if_low or CORRECT}"
        if number > limits.high:
            return f"= {number:g} is above {limits.high:g}{unit}; {limits.if_high or CORRECT}"
    return ""


def _number_or_twelve(value: Any) -> float | Monthly | None:
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) not in (1, 12) or isinstance(value, list) != (len(numbers) == 12):
        return None
    if not all(type(v) in (int, float) and abs(v) < 1e300 for v in numbers):  # also not NaN
        return None
    return tuple(float(v) for v in numbers) if isinstance(value, list) else float(value)
