"""Read the daily series of a station from the file of a weather service."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import ConfigError
from epithermal_edge.physics.atmosphere import extraterrestrial_radiation, mean_pressure
from epithermal_host.arrays import Array, Integers
from epithermal_host.weather import dialects
from epithermal_host.weather.et0 import fao56_et0, hargreaves, wind_at_2m
from epithermal_host.weather.text_table import FIELDS, Layout, Table, read_rows

Et0Source = Literal["auto", "given", "fao56", "hargreaves"]

FAULTS_SHOWN = 20
MJ_PER_MM = 2.45  # latent heat of a millimetre of water, FAO-56 [MJ m-2]


@dataclass(frozen=True, slots=True)
class DailyWeather:
    """Gapless daily weather of a station; each array is (days,), all NaN where not given."""

    source: str  # file and format
    date: NDArray[np.datetime64]  # [D], consecutive
    rain_mm: Array  # rain and snow
    t_min_c: Array
    t_max_c: Array
    t_mean_c: Array
    et0_mm: Array
    et0_from: str  # source: the file, FAO-56 or Hargreaves; "" without ET0
    pressure_hpa: Array  # at the station
    relative_humidity_pct: Array
    radiation_mj_m2: Array
    wind_2m_m_s: Array
    latitude_deg: float
    altitude_m: float

    @property
    def day(self) -> Integers:
        """Days since 1970-01-01, as in the generator."""
        return self.date.astype("datetime64[D]").astype(np.int64)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options to read a file, where it does not contain them."""

    latitude_deg: float | None = None  # overrides the file's
    altitude_m: float | None = None
    station: str | None = None  # to read in a file with several
    columns: Mapping[str, str] = field(default_factory=dict)  # field = column [* factor]
    first: str | None = None  # first day to read, ISO date
    last: str | None = None  # last day to read
    without: tuple[str, ...] = ()  # fields to exclude
    et0: Et0Source = "auto"  # given, else FAO-56, else Hargreaves


LAYOUTS: dict[str, Callable[[list[str], Mapping[str, str]], Layout]] = {
    "knmi": dialects.knmi,
    "kmi": dialects.kmi,
    "openmeteo": dialects.open_meteo,
    "csv": dialects.plain_csv,
}


def read(path: Path, form: str, options: ReadOptions | None = None) -> DailyWeather:
    """Read a station's daily file; reject any fault, fill no gap.

    Parameters
    ----------
    path :
        The file, as text.
    form :
        knmi, kmi (also rmi), openmeteo or csv.
    options :
        Location, columns, period, station and source of ET0.

    Raises
    ------
    ConfigError
        Each fault with file, line, field and remedy: missing and repeated days, empty cells,
        negative rain, impossible values; at most 20 are listed, the others counted.
    """
    opts = options or ReadOptions()
    form = {"rmi": "kmi"}.get(form, form)
    if form not in LAYOUTS:
        raise ConfigError(f"format {form!r} is unknown: use one of {', '.join(LAYOUTS)}")
    unknown = sorted(({*opts.columns, *opts.without} - {"date"}) - set(FIELDS))
    if unknown:
        raise ConfigError(f"no such field: {', '.join(unknown)}; use {', '.join(FIELDS)}")
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror or fault}") from None
    try:
        layout = LAYOUTS[form](lines, opts.columns)
    except ConfigError as fault:
        raise ConfigError(*(f"{path}: {text}" for text in fault.faults)) from None
    table = read_rows(
        lines, layout, opts.station, _day(opts.first, "first"), _day(opts.last, "last")
    )
    reject([f"{path}:{line}: {text}" for line, text in sorted(_faults(table, opts.without))])
    return _assemble(f"{path.name} ({form})", str(path), layout, table, opts)


def reject(faults: list[str]) -> None:
    """Raise ConfigError if there are faults; list at most 20 of them.

    Raises
    ------
    ConfigError
        The first 20 faults and the number of the others.
    """
    if len(faults) > FAULTS_SHOWN:
        more = len(faults) - FAULTS_SHOWN
        faults = [*faults[:FAULTS_SHOWN], f"and {more} more faults in the same file"]
    if faults:
        raise ConfigError(*faults)


def _day(text: str | None, name: str) -> datetime.date | None:
    if text is None:
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{name} = {text!r}: not a date; write it like 2001-12-31") from None


def _faults(table: Table, without: tuple[str, ...]) -> list[tuple[int, str]]:
    """List all faults of the rows as (line, text)."""
    if not table.dates and not table.faults:
        return [(1, "no day of data in the file or in the requested period")]
    faults = list(table.faults)
    faults += _calendar_faults(table)
    for name, values in table.values.items():
        if name not in without:
            faults += _value_faults(table, name, values)
    return faults + _order_faults(table, without)


def _calendar_faults(table: Table) -> list[tuple[int, str]]:
    """List missing and repeated days, in any order of the file."""
    faults = []
    order = sorted(range(len(table.dates)), key=lambda i: (table.dates[i], table.lines[i]))
    for i, j in itertools.pairwise(order):
        before, after = table.dates[i], table.dates[j]
        gap = (after - before).days - 1
        if gap < 0:
            text = f"date {after}: the day is also in line {table.lines[i]}; keep one of them"
            faults.append((table.lines[j], text))
        elif gap > 0:
            text = (
                f"date {after}: {gap} day{'s' if gap > 1 else ''} missing after {before}; fill the "
                "gap from a neighbouring station, or read a period without gaps (--first, --last)"
            )
            faults.append((table.lines[j], text))
    return faults


def _value_faults(table: Table, name: str, values: Array) -> list[tuple[int, str]]:
    """List empty cells and impossible values; a column without any value counts as absent."""
    empty = np.isnan(values)
    if empty.all():
        return []
    column = table.columns[name]
    low, high = FIELDS[name]
    faults = []
    for i in np.flatnonzero((values < low) | (values > high)).tolist():
        why = "negative rain" if name == "rain_mm" and values[i] < low else "impossible"
        text = f"{name} = {values[i]:g} (column {column}): {why}; possible: {low:g} to {high:g}"
        faults.append((table.lines[i], f"{text}; correct the record or check the column's unit"))
    begins = np.flatnonzero(empty & ~np.concatenate([[False], empty[:-1]])).tolist()
    for i in begins:
        run = int(np.argmin(np.concatenate([empty[i:], [False]])))
        text = f"{name} (column {column}): empty on {table.dates[i]}"
        text += f" and the {run - 1} records after it" if run > 1 else ""
        remedy = "fill it or read another period (--first, --last)"
        remedy += "" if name == "rain_mm" else f", or exclude the field (--without {name})"
        faults.append((table.lines[i], f"{text}; {remedy}"))
    return faults


def _order_faults(table: Table, without: tuple[str, ...]) -> list[tuple[int, str]]:
    """List days with a minimum temperature above the maximum, or a mean outside of them."""
    if {"t_min_c", "t_max_c"} & set(without):
        return []
    low, high = table.values.get("t_min_c"), table.values.get("t_max_c")
    if low is None or high is None:
        return []
    faults = [
        (table.lines[i], f"t_min_c = {low[i]:g} is above t_max_c = {high[i]:g}; correct the record")
        for i in np.flatnonzero(low > high).tolist()
    ]
    mean = table.values.get("t_mean_c")
    if mean is None or "t_mean_c" in without:
        return faults
    outside = (mean < low - 0.5) | (mean > high + 0.5)  # 0.5: extremes of another 24 h
    between = "is not between t_min_c and t_max_c; correct the record or use --without t_mean_c"
    return faults + [
        (table.lines[i], f"t_mean_c = {mean[i]:g} {between}")
        for i in np.flatnonzero(outside & (low <= high)).tolist()
    ]


def _assemble(
    source: str, path: str, layout: Layout, table: Table, opts: ReadOptions
) -> DailyWeather:
    """Sort valid rows by time; add pressure at the station, wind at 2 m and ET0."""
    latitude = layout.latitude_deg if opts.latitude_deg is None else opts.latitude_deg
    altitude = layout.altitude_m if opts.altitude_m is None else opts.altitude_m
    place = (("latitude", latitude, 90.0), ("altitude", altitude, 6000.0))
    bad = [name for name, value, top in place if not (value is not None and abs(value) <= top)]
    if bad or latitude is None or altitude is None:
        flags = " ".join(f"--{name}" for name in bad)
        reject([f"{path}: no valid {' and '.join(bad)} of the station; give it with {flags}"])
        raise AssertionError
    order = np.argsort(np.array(table.dates, dtype="datetime64[D]"))
    date = np.array(table.dates, dtype="datetime64[D]")[order]
    nothing = np.full(date.size, np.nan)
    value = {
        name: nothing if name in opts.without else table.values.get(name, nothing)[order]
        for name in FIELDS
    }
    if np.isnan(value["rain_mm"]).all():
        reject([f"{path}: no column of rain_mm; name it in the column map"])
    if np.isnan(value["t_mean_c"]).all():
        value["t_mean_c"] = 0.5 * (value["t_min_c"] + value["t_max_c"])
    if np.isnan(value["pressure_hpa"]).all():
        share = float(mean_pressure(altitude) / mean_pressure(0.0))
        value["pressure_hpa"] = value["pressure_msl_hpa"] * share
    if np.isnan(value["wind_2m_m_s"]).all():
        value["wind_2m_m_s"] = wind_at_2m(value["wind_10m_m_s"], 10.0)
    _check_radiation(path, date, table, order, value["radiation_mj_m2"], latitude)
    et0_mm, et0_from = _et0(path, layout, opts.et0, date, value, latitude, altitude)
    plain = {k: value[k] for k in FIELDS if k not in ("pressure_msl_hpa", "wind_10m_m_s", "et0_mm")}
    return DailyWeather(
        source=source,
        date=date,
        et0_mm=et0_mm,
        et0_from=et0_from,
        latitude_deg=latitude,
        altitude_m=altitude,
        **plain,
    )


def _check_radiation(
    path: str,
    date: NDArray[np.datetime64],
    table: Table,
    order: Integers,
    radiation: Array,
    latitude: float,
) -> None:
    """Reject radiation above that at the top of the atmosphere, usually due to a wrong unit."""
    top = extraterrestrial_radiation(latitude, _season(date)) * MJ_PER_MM
    faults = []
    for i in np.flatnonzero(radiation > top + 1.0).tolist():  # 1: measurement error in winter
        text = f"radiation_mj_m2 = {radiation[i]:.3g}: above the {top[i]:.3g} at the top of the"
        text += " atmosphere; check the column's unit and the latitude"
        faults.append(f"{path}:{table.lines[order[i]]}: {text}")
    reject(faults)


def _season(date: NDArray[np.datetime64]) -> Array:
    days = date.astype("datetime64[D]") - date.astype("datetime64[Y]").astype("datetime64[D]")
    return np.asarray(days.astype(np.float64) + 1.0)


def _et0(
    path: str,
    layout: Layout,
    wish: Et0Source,
    date: NDArray[np.datetime64],
    value: dict[str, Array],
    latitude: float,
    altitude: float,
) -> tuple[Array, str]:
    """Select or compute ET0 and name its source; NaN if the file has neither it nor its inputs."""
    needs = {
        "given": ("et0_mm",),
        "fao56": ("t_min_c", "t_max_c", "radiation_mj_m2", "wind_2m_m_s", "relative_humidity_pct"),
        "hargreaves": ("t_min_c", "t_max_c"),
    }
    have = [k for k, names in needs.items() if not any(np.isnan(value[n]).any() for n in names)]
    if wish != "auto" and wish not in have:
        reject([f"{path}: ET0 by {wish} needs {', '.join(needs[wish])}; use --et0 auto"])
    way = wish if wish != "auto" else next(iter(have), "")
    if way == "given":
        return value["et0_mm"], f"given: {layout.et0_name}"
    t = (value["t_mean_c"], value["t_min_c"], value["t_max_c"])
    if way == "fao56":
        air = (value["radiation_mj_m2"], value["wind_2m_m_s"], value["relative_humidity_pct"])
        return fao56_et0(date, *t, *air, latitude, altitude), "FAO-56 Penman-Monteith (pyet)"
    if way == "hargreaves":
        return hargreaves(date, *t, latitude), "Hargreaves (FAO-56, eq. 52)"
    return value["et0_mm"], ""
