"""Write and read a fitted climate as a TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from epithermal_edge.errors import ConfigError
from epithermal_host.compute.files import write_atomic
from epithermal_host.weather.generator import Climate, Monthly
from epithermal_host.weather.station_series import DailyWeather

SHAPES: dict[str, tuple[tuple[type, ...], str]] = {  # by the annotation in Climate
    "float": ((float,), "a number"),
    "Monthly": ((tuple,), "twelve numbers, January first"),
    "Seasonal": ((float, tuple), "a number, or twelve, January first"),
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
        The file is missing or not TOML, a key is missing or unknown, a value has a wrong shape.
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
        if isinstance(value, SHAPES[str(spec.type)][0]):
            values[name] = value
        else:
            faults.append(f"{path}: [climate] {name} must be {SHAPES[str(spec.type)][1]}")
    if faults:
        raise ConfigError(*faults)
    return Climate(**values)


def _number_or_twelve(value: Any) -> float | Monthly | None:
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) not in (1, 12) or isinstance(value, list) != (len(numbers) == 12):
        return None
    if not all(isinstance(v, int | float) and np.isfinite(v) for v in numbers):
        return None
    return tuple(float(v) for v in numbers) if isinstance(value, list) else float(value)
