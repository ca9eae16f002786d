"""A real station's daily weather in place of the generator's, a window of it for each scenario.

A climate file of `weather fit` tells under [source.read] how its daily file is read. What that
file does not hold (the neutron monitor, mostly) is generated from the climate.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import tomli_w

from epithermal_edge.config.toml_keys import Key, check_tables
from epithermal_edge.errors import ConfigError
from epithermal_host.arrays import Array
from epithermal_host.compute.files import write_atomic
from epithermal_host.weather.climate_toml import read_climate
from epithermal_host.weather.generator import Climate, Weather, snow_store
from epithermal_host.weather.station_series import (
    LAYOUTS,
    DailyWeather,
    Et0Source,
    ReadOptions,
    read,
)

NEEDED = ("rain_mm", "t_min_c", "t_max_c", "et0_mm")
TAKEN = (*NEEDED, "pressure_hpa", "relative_humidity_pct")
READ = (  # [source.read], in the words of `weather fit`
    Key("path", str, "the daily file, relative to this one", True),
    Key("format", str, "its format", True, choices=tuple(LAYOUTS)),
    Key("latitude_deg", float, "degrees north", low=-90, high=90),
    Key("altitude_m", float, "metres above sea level", low=-450, high=6000),
    Key("station", str, "of a file with several"),
    Key("columns", list, "field=column[*factor]", default=()),
    Key("first", str, "days before are left out"),
    Key("last", str, "days after are left out"),
    Key("without", list, "fields not to read", default=()),
    Key("et0", str, "auto, given, fao56 or hargreaves", default="auto"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """A climate, its daily file as read, and where in it a campaign may begin."""

    name: str  # the climate file's, without .toml
    climate: Climate
    daily: DailyWeather
    begins: tuple[int, ...]  # days since 1970-01-01, one a year

    @property
    def content(self) -> str:
        """Identity of the weather that is taken from it."""
        arrays = [self.daily.day, *(getattr(self.daily, name) for name in TAKEN)]
        return hashlib.sha256(
            b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
        ).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Days in a row of a station; each array is (days,), all NaN where it has no such thing."""

    rain_mm: Array
    t_min_c: Array
    t_max_c: Array
    et0_mm: Array
    pressure_hpa: Array
    relative_humidity_pct: Array


def read_station(path: Path, first_day: int, days: int) -> Station:
    """A station from its climate file.

    Parameters
    ----------
    path :
        Made by `weather fit`.
    first_day : [days since 1970-01-01]
        Of the campaign, spin-up included; its calendar day is that of every window.
    days :
        Of the campaign, spin-up included.

    Raises
    ------
    ConfigError
        The climate file or its daily file is wrong, does not have what is needed, or is too short.
    """
    climate = read_climate(path)
    table = _read_table(path)
    daily = read(path.parent / table.pop("path"), table.pop("format"), _options(table))
    lacking = [name for name in NEEDED if np.isnan(getattr(daily, name)).any()]
    if lacking:
        raise ConfigError(f"{path}: its daily file has no {', '.join(lacking)}; take another one")
    begins = _begins(daily, first_day, days)
    if not begins:
        raise ConfigError(
            f"{path}: its daily file, {daily.date[0]} to {daily.date[-1]}, does not hold the "
            f"{days} days of the campaign with its spin-up; simulate fewer years"
        )
    return Station(path.stem, climate, daily, begins)


def window(station: Station, begin_day: int, days: int) -> Window:
    """Days of a station from one of its begins on."""
    first = begin_day - int(station.daily.day[0])
    return Window(*(getattr(station.daily, name)[first : first + days] for name in TAKEN))


def under(seen: Window, generated: Weather, climate: Climate) -> Weather:
    """The weather of a window on the campaign's days; what it lacks stays as generated.

    Snow and melt are our own degree-day rule on the observed rain and temperature. The climate's
    pressure and humidity, where they must stand in, know the generated rain and not the observed.
    """
    air = {
        name: getattr(generated if np.isnan(getattr(seen, name)).any() else seen, name)
        for name in ("pressure_hpa", "relative_humidity_pct")
    }
    snow, water = snow_store(climate, seen.rain_mm, 0.5 * (seen.t_min_c + seen.t_max_c))
    return dataclasses.replace(
        generated,
        precipitation_mm=seen.rain_mm,
        water_mm=water,
        snow_mm=snow,
        t_min_c=seen.t_min_c,
        t_max_c=seen.t_max_c,
        et0_mm=seen.et0_mm,
        **air,
    )


def copy_station(path: Path, folder: Path) -> str:
    """A climate file and its daily file into a folder; the name of the former there."""
    table = tomllib.loads(path.read_text("utf-8"))
    daily = path.parent / table["source"]["read"]["path"]
    name = f"{path.stem}{daily.suffix}" if daily.suffix not in ("", ".toml") else f"{path.stem}.csv"
    content = daily.read_bytes()
    write_atomic(folder / name, content)
    table["source"]["read"]["path"] = name
    write_atomic(folder / path.name, tomli_w.dumps(table).encode("utf-8"))
    return path.name


def read_keys(
    file: Path, form: str, options: ReadOptions, out: Path
) -> dict[str, str | float | list[str]]:
    """The table [source.read] of a climate file `out`: what is needed to read `file` again."""
    columns = [f"{name}={column}" for name, column in options.columns.items()]
    told = {
        "path": os.path.relpath(file.resolve(), out.resolve().parent),
        "format": {"rmi": "kmi"}.get(form, form),
        **{f.name: getattr(options, f.name) for f in dataclasses.fields(options)},
        "columns": columns,
        "without": list(options.without),
    }
    return {name: value for name, value in told.items() if value not in (None, [])}


def _read_table(path: Path) -> dict[str, Any]:
    source = tomllib.loads(path.read_text("utf-8")).get("source", {})
    if not isinstance(source, dict) or "read" not in source:
        raise ConfigError(
            f"{path}: does not tell how its daily file is read, [source.read]; make it anew with"
            " `weather fit`"
        )
    faults: list[str] = []
    values = check_tables({"read": READ}, ("read",), {"read": source["read"]}, faults)
    if faults:
        raise ConfigError(*(f"{path}: source.{fault}" for fault in faults))
    return values["read"]


def _options(table: dict[str, Any]) -> ReadOptions:
    columns = dict(text.split("=", 1) for text in table["columns"] if "=" in text)
    return ReadOptions(
        latitude_deg=table["latitude_deg"],
        altitude_m=table["altitude_m"],
        station=table["station"],
        columns=columns,
        first=table["first"],
        last=table["last"],
        without=tuple(table["without"]),
        et0=cast(Et0Source, table["et0"]),
    )


def _begins(daily: DailyWeather, first_day: int, days: int) -> tuple[int, ...]:
    """The campaign's calendar day in every year after which the file has enough days."""
    wanted = np.datetime64(first_day, "D").astype(datetime.date)
    first, last = int(daily.day[0]), int(daily.day[-1])
    years = range(daily.date[0].astype(object).year, daily.date[-1].astype(object).year + 1)
    day = min(wanted.day, 28) if wanted.month == 2 else wanted.day
    found = (datetime.date(year, wanted.month, day) for year in years)
    numbers = ((date - datetime.date(1970, 1, 1)).days for date in found)
    return tuple(n for n in numbers if first <= n and n + days - 1 <= last)


def choose(
    rng: np.random.Generator, stations: Sequence[Station], share: float
) -> tuple[Station | None, int]:
    """A station and the day that its window begins on; None for generated weather."""
    if not stations or rng.random() >= share:
        return None, 0
    station = stations[int(rng.integers(len(stations)))]
    return station, int(rng.choice(station.begins))
