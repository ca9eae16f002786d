"""Use the daily weather of a real station, with one window of it per scenario.

A climate file of `weather fit` has the options to read its daily file in [source.read]. Quantities
that the file lacks (usually the neutron monitor) are generated from the climate.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import logging
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
from epithermal_host.arrays import Array, Mask
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

log = logging.getLogger(__name__)

NEEDED = ("rain_mm", "t_min_c", "t_max_c", "et0_mm")
USED = (*NEEDED, "pressure_hpa", "relative_humidity_pct")
READ = (  # keys of [source.read], named like the options of `weather fit`
    Key("path", str, "the daily file, relative to this one", True),
    Key("format", str, "its format", True, choices=tuple(LAYOUTS)),
    Key("latitude_deg", float, "degrees north", low=-90, high=90),
    Key("altitude_m", float, "metres above sea level", low=-450, high=6000),
    Key("station", str, "station to read in a file with several"),
    Key("columns", list, "field=column[*factor][+offset]", default=()),
    Key("first", str, "first day to read"),
    Key("last", str, "last day to read"),
    Key("without", list, "fields not to read", default=()),
    Key("et0", str, "auto, given, fao56 or hargreaves", default="auto"),
    Key(
        "delimiter",
        str,
        "between the columns; default: guessed",
        default="",
        pattern=".?",
        blank=True,
    ),
    Key("decimal", str, "decimal mark of the numbers", default=".", choices=(".", ",")),
    Key("header", list, "column names of a file without a header line", default=()),
    Key("skip", int, "lines above the header, or above the first row", default=0, low=0, high=1000),
    Key("date_format", str, "format for strptime; default: ISO 8601", default=""),
    Key("missing", list, "more codes for no value, in quotes", default=()),
)


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """A climate, its daily series and the days on which a campaign's window may begin."""

    name: str  # of the climate file, without .toml
    climate: Climate
    daily: DailyWeather
    begins: tuple[int, ...]  # days since 1970-01-01, at most one per year

    @property
    def content(self) -> str:
        """Hash of the weather that scenarios use."""
        arrays = [self.daily.day, *(getattr(self.daily, name) for name in USED)]
        return hashlib.sha256(
            b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
        ).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Consecutive days of a station; each array is (days,), all NaN where not measured."""

    rain_mm: Array
    t_min_c: Array
    t_max_c: Array
    et0_mm: Array
    pressure_hpa: Array
    relative_humidity_pct: Array


def read_station(path: Path, first_day: int, days: int) -> Station:
    """Read a station from its climate file.

    Parameters
    ----------
    path :
        Climate file of `weather fit`.
    first_day : [days since 1970-01-01]
        First day of the campaign, spin-up included; every window begins on its calendar day.
    days :
        Length of the campaign, spin-up included.

    Raises
    ------
    ConfigError
        The climate file or its daily file is invalid, lacks a required quantity or is too short.
    """
    climate = read_climate(path)
    table = _read_table(path)
    daily = read(path.parent / table.pop("path"), table.pop("format"), _options(table))
    lacking = [name for name in NEEDED if np.isnan(getattr(daily, name)).all()]
    if lacking:
        raise ConfigError(f"{path}: its daily file has no {', '.join(lacking)}; use another file")
    begins = _begins(daily, first_day, days)
    if not begins:
        raise ConfigError(
            f"{path}: its daily file, {daily.date[0]} to {daily.date[-1]}, has no window of the "
            f"{days} days of the campaign with its spin-up{_without_gap(daily)}; simulate fewer "
            "years"
        )
    return Station(path.stem, climate, daily, begins)


def cut_window(station: Station, begin_day: int, days: int) -> Window:
    """Return the days of a station from one of its `begins` on."""
    first = begin_day - int(station.daily.day[0])
    return Window(*(getattr(station.daily, name)[first : first + days] for name in USED))


def apply_window(seen: Window, generated: Weather, climate: Climate) -> Weather:
    """Replace generated weather by that of a window; quantities that it lacks stay generated.

    Snow and melt follow from observed rain and temperature by the degree-day method. Generated
    pressure and humidity, where they are needed, correlate with the generated rain, not with the
    observed.
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
    """Copy a climate file and its daily file into a folder; return the climate file's name."""
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
    """Create the table [source.read] of a climate file `out`: the options to read `file` again."""
    columns = [f"{name}={column}" for name, column in options.columns.items()]
    keys = {
        "path": os.path.relpath(file.resolve(), out.resolve().parent),
        "format": {"rmi": "kmi"}.get(form, form),
        **{f.name: getattr(options, f.name) for f in dataclasses.fields(options)},
        "columns": columns,
        **{name: list(getattr(options, name)) for name in ("without", "header", "missing")},
    }
    usual = {f.name: f.default for f in dataclasses.fields(options) if f.name != "et0"}
    return {
        name: value
        for name, value in keys.items()
        if value != [] and (name not in usual or value != usual[name])
    }


def _read_table(path: Path) -> dict[str, Any]:
    source = tomllib.loads(path.read_text("utf-8")).get("source", {})
    if not isinstance(source, dict) or "read" not in source:
        raise ConfigError(
            f"{path}: no table [source.read] with the options to read its daily file; create the"
            " file again with `weather fit`"
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
        header=tuple(table["header"]),
        missing=tuple(table["missing"]),
        **{key: table[key] for key in ("delimiter", "decimal", "skip", "date_format")},
    )


def _begins(daily: DailyWeather, first_day: int, days: int) -> tuple[int, ...]:
    """List the campaign's calendar day in every year from which the file has enough days."""
    wanted = np.datetime64(first_day, "D").astype(datetime.date)
    first, last = int(daily.day[0]), int(daily.day[-1])
    years = range(daily.date[0].astype(object).year, daily.date[-1].astype(object).year + 1)
    day = min(wanted.day, 28) if wanted.month == 2 else wanted.day
    dates = (datetime.date(year, wanted.month, day) for year in years)
    numbers = ((date - datetime.date(1970, 1, 1)).days for date in dates)
    begins = [n for n in numbers if first <= n and n + days - 1 <= last]
    gap = _gaps(daily)
    whole = tuple(n for n in begins if not gap[n - first : n - first + days].any())
    if 0 < len(whole) < len(begins):
        log.warning("note: %s: %d of %d windows have missing days and are left out",
                    daily.source, len(begins) - len(whole), len(begins))  # fmt: skip
    return whole


def _gaps(daily: DailyWeather) -> Mask:
    """Return whether a needed quantity is missing, (days,)."""
    gaps: Mask = np.isnan([getattr(daily, name) for name in NEEDED]).any(axis=0)
    return gaps


def _without_gap(daily: DailyWeather) -> str:
    gaps = int(_gaps(daily).sum())
    return f" without a gap ({gaps} days have missing values)" if gaps else ""


def choose_station(
    rng: np.random.Generator, stations: Sequence[Station], share: float
) -> tuple[Station | None, int]:
    """Draw a station and the first day of its window; None for generated weather."""
    if not stations or rng.random() >= share:
        return None, 0
    station = stations[int(rng.integers(len(stations)))]
    return station, int(rng.choice(station.begins))
