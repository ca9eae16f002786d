"""Read the daily series of a station from the file of a weather service."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import ConfigError, SourceError
from epithermal_edge.physics.atmosphere import extraterrestrial_radiation, mean_pressure
from epithermal_host.arrays import Array, Integers
from epithermal_host.tables.description import TableFile, is_spreadsheet
from epithermal_host.tables.quantities import WEATHER, is_too_dry
from epithermal_host.tables.rows import read_lines
from epithermal_host.weather import dialects
from epithermal_host.weather.et0 import fao56_et0, hargreaves, wind_at_2m
from epithermal_host.weather.text_table import Layout, Table, read_rows

log = logging.getLogger(__name__)

Et0Source = Literal["auto", "given", "fao56", "hargreaves"]

FAULTS_SHOWN = 20
MISSING_SHARE = 0.1  # of the days; more of a quantity are refused
ONLY_READ = ("pressure_msl_hpa", "wind_10m_m_s", "et0_mm", "rh_min_pct", "rh_max_pct")
COMPLETE = ("rain_mm", "t_min_c", "t_max_c", "et0_mm", "pressure_hpa", "relative_humidity_pct")
TEMPERATURES = ("t_min_c", "t_max_c", "t_mean_c")
FAHRENHEIT_MOST = 140.0  # degF, 60 degC
FEW_SHARE = 0.01  # of impossible values that are damaged records and not another unit
MJ_PER_MM = 2.45  # latent heat of a millimetre of water, FAO-56 [MJ m-2]


@dataclass(frozen=True, slots=True)
class DailyWeather:
    """Daily weather of a station; each array is (days,), NaN on days without a value.

    A quantity that is not given is NaN on all days.
    """

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
    columns: Mapping[str, str] = field(default_factory=dict)  # field = column [* factor] [+ offset]
    first: str | None = None  # first day to read, ISO date
    last: str | None = None  # last day to read
    without: tuple[str, ...] = ()  # fields to exclude
    et0: Et0Source = "auto"  # given, else FAO-56, else Hargreaves
    # of format csv, as in TableFile
    delimiter: str = ""  # empty: guessed
    decimal: str = "."
    header: tuple[str, ...] = ()
    skip: int = 0
    date_format: str = ""
    missing: tuple[str, ...] = ()  # cells that stand for no value, besides the usual codes


LAYOUTS: dict[str, Callable[[TableFile, list[str], Mapping[str, str]], Layout]] = {
    "knmi": dialects.knmi,
    "kmi": dialects.kmi,
    "openmeteo": dialects.open_meteo,
    "csv": dialects.plain_csv,
}


def read(path: Path, form: str, options: ReadOptions | None = None) -> DailyWeather:
    """Read a station's daily file; reject any fault, count missing days, fill no gap.

    Parameters
    ----------
    path :
        The file: text, plain or .gz; in format csv also a spreadsheet.
    form :
        knmi, kmi (also rmi), openmeteo or csv.
    options :
        Location, columns, period, station, source of ET0, and how a csv is written.

    Raises
    ------
    ConfigError
        Each fault with file, line, field and remedy: repeated days, negative rain, impossible
        values, days or values that are missing on more than a tenth of the days; at most 20 are
        listed, the others counted.

    Notes
    -----
    Where fewer days or values are missing, they are NaN, and a note in the log counts them.
    """
    opts = options or ReadOptions()
    form = {"rmi": "kmi"}.get(form, form)
    if form not in LAYOUTS:
        raise ConfigError(f"format {form!r} is unknown: use one of {', '.join(LAYOUTS)}")
    unknown = sorted(({*opts.columns, *opts.without} - {"date"}) - set(WEATHER))
    if unknown:
        raise ConfigError(f"no such field: {', '.join(unknown)}; use {', '.join(WEATHER)}")
    first, last = _day(opts.first, "first"), _day(opts.last, "last")
    try:
        sheet = form == "csv" and is_spreadsheet(path)
        lines = [] if sheet else read_lines(path)
        layout = LAYOUTS[form](_table_file(path, form, opts), lines, opts.columns)
        table = read_rows(layout, opts.station, first, last, opts.without)
    except SourceError as fault:
        raise ConfigError(str(fault)) from None
    except ConfigError as fault:
        own = (text if text.startswith(str(path)) else f"{path}: {text}" for text in fault.faults)
        raise ConfigError(*own) from None
    reject([f"{path}:{line}: {text}" for line, text in sorted(_faults(table))])
    _note_missing(str(path), table)
    return _assemble(f"{path.name} ({form})", str(path), layout, table, opts)


def _table_file(path: Path, form: str, opts: ReadOptions) -> TableFile:
    """Describe how a csv is written; refuse such options for the formats of services."""
    how = {name: getattr(opts, name) for name in ("delimiter", "decimal", "header", "skip")}
    defaults = {f.name: f.default for f in dataclasses.fields(ReadOptions)}
    own = [*how, "date_format", "missing"]
    set_ = [name for name in own if getattr(opts, name) != defaults[name]]
    if set_ and form != "csv":
        raise ConfigError(f"{', '.join(set_)}: only of format csv; {form} is written in one way")
    if opts.decimal == opts.delimiter:
        raise ConfigError("decimal and delimiter are both a comma; correct one")
    return TableFile(path, time_format=opts.date_format, missing=opts.missing, **how)


def complete_days(weather: DailyWeather) -> DailyWeather:
    """Select the days on which no given quantity of a climate is missing."""
    given = (getattr(weather, name) for name in COMPLETE)
    known = [~np.isnan(x) for x in given if not np.isnan(x).all()]
    days = np.all(known, axis=0) if known else np.zeros(weather.date.size, dtype=np.bool_)
    if days.all():
        return weather
    arrays = {
        f.name: getattr(weather, f.name)[days]
        for f in dataclasses.fields(weather)
        if isinstance(getattr(weather, f.name), np.ndarray)
    }
    return dataclasses.replace(weather, **arrays)


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


def _faults(table: Table) -> list[tuple[int, str]]:
    """List all faults of the rows as (line, text)."""
    if not table.dates:
        return [(1, "no day of data in the file or in the requested period")]
    faults = _calendar_faults(table)
    for name, values in table.values.items():
        faults += _value_faults(table, name, values)
    return faults + _rain_faults(table) + _order_faults(table)


def _note_missing(path: str, table: Table) -> None:
    """Log how many days, and how many values of each quantity, are missing."""
    span = (max(table.dates) - min(table.dates)).days + 1
    if absent := span - len(table.dates):
        log.warning("note: %s: %d of %d days are missing", path, absent, span)
    for name, values in table.values.items():
        empty = np.isnan(values)
        if empty.any():
            shares = f"{int(empty.sum())} of {empty.size} days"
            first = min(d for d, e in zip(table.dates, empty.tolist(), strict=True) if e)
            log.warning("note: %s: %s (column %s) is missing on %s, the first %s",
                        path, name, table.columns[name], shares, first)  # fmt: skip


def _calendar_faults(table: Table) -> list[tuple[int, str]]:
    """List repeated days, and missing ones if they are many, in any order of the file."""
    faults = []
    span = (max(table.dates) - min(table.dates)).days + 1
    many = span - len(set(table.dates)) > MISSING_SHARE * span
    order = sorted(range(len(table.dates)), key=lambda i: (table.dates[i], table.lines[i]))
    for i, j in itertools.pairwise(order):
        before, after = table.dates[i], table.dates[j]
        gap = (after - before).days - 1
        if gap < 0:
            text = f"date {after}: the day is also in line {table.lines[i]}; keep one of them"
            faults.append((table.lines[j], text))
        elif gap > 0 and many:
            text = (
                f"date {after}: {gap} day{'s' if gap > 1 else ''} missing after {before}; fill the "
                "gap from a neighbouring station, or read a period without gaps (--first, --last)"
            )
            faults.append((table.lines[j], text))
    return faults


def _value_faults(table: Table, name: str, values: Array) -> list[tuple[int, str]]:
    """List impossible values, and empty cells if they are many; all empty: an absent column."""
    empty = np.isnan(values)
    if empty.all():
        return []
    column = table.columns[name]
    low, high = WEATHER[name].low, WEATHER[name].high
    faults = []
    wrong = np.flatnonzero((values < low) | (values > high)).tolist()
    remedy = _unit_remedy(name, column, values, len(wrong)) if wrong else ""
    for i in wrong:
        why = "negative rain" if name == "rain_mm" and values[i] < low else "impossible"
        text = f"{name} = {values[i]:g} (column {column}): {why}; possible: {low:g} to {high:g}"
        faults.append((table.lines[i], f"{text}; {remedy}"))
    if np.mean(empty) <= MISSING_SHARE:
        return faults
    begins = np.flatnonzero(empty & ~np.concatenate([[False], empty[:-1]])).tolist()
    for i in begins:
        run = int(np.argmin(np.concatenate([empty[i:], [False]])))
        text = f"{name} (column {column}): empty on {table.dates[i]}"
        text += f" and the {run - 1} records after it" if run > 1 else ""
        remedy = "fill it or read another period (--first, --last)"
        remedy += "" if name == "rain_mm" else f", or exclude the field (--without {name})"
        faults.append((table.lines[i], f"{text}; {remedy}"))
    return faults


def _unit_remedy(name: str, column: str, values: Array, wrong: int) -> str:
    """Suggest the unit of a column with impossible values, or the correction of a few."""
    middle, quantity = float(np.nanmedian(values)), WEATHER[name]
    if name in TEMPERATURES and middle > 200.0:
        return f"in K? {name}={column}-273.15"
    if name in TEMPERATURES and wrong > FEW_SHARE * values.size:
        if np.nanmax(values) <= FAHRENHEIT_MOST:
            return f"in degF? {name}={column}*5/9-160/9"
        return f"in tenths of a degree? {name}={column}*0.1"
    if not quantity.low <= middle <= quantity.high:
        likely = quantity.if_low if middle < quantity.low else quantity.if_high
        return f"{likely} convert the column, as in {name}={column}*FACTOR"
    return "correct the record or check the column's unit"


def _rain_faults(table: Table) -> list[tuple[int, str]]:
    """List rain whose amount in a year is usually in another unit."""
    rain = table.values.get("rain_mm", np.empty(0))
    known = rain[np.isfinite(rain)]
    total_mm = float(known.sum())
    if not is_too_dry(total_mm, known.size):
        return []
    column = table.columns["rain_mm"]
    text = f"rain_mm (column {column}): {total_mm:.3g} mm in {known.size} days; in m or inches?"
    return [(table.lines[0], f"{text} rain_mm={column}*1000 or {column}*25.4")]


def _order_faults(table: Table) -> list[tuple[int, str]]:
    """List days with a minimum temperature above the maximum, or a mean outside of them."""
    low, high = table.values.get("t_min_c"), table.values.get("t_max_c")
    faults = _humidity_order(table)
    if low is None or high is None:
        return faults
    faults += [
        (table.lines[i], f"t_min_c = {low[i]:g} is above t_max_c = {high[i]:g}; correct the record")
        for i in np.flatnonzero(low > high).tolist()
    ]
    mean = table.values.get("t_mean_c")
    if mean is None:
        return faults
    outside = (mean < low - 0.5) | (mean > high + 0.5)  # 0.5: extremes of another 24 h
    between = "is not between t_min_c and t_max_c; correct the record or use --without t_mean_c"
    return faults + [
        (table.lines[i], f"t_mean_c = {mean[i]:g} {between}")
        for i in np.flatnonzero(outside & (low <= high)).tolist()
    ]


def _humidity_order(table: Table) -> list[tuple[int, str]]:
    """List days with a minimum humidity above the maximum."""
    low, high = table.values.get("rh_min_pct"), table.values.get("rh_max_pct")
    if low is None or high is None:
        return []
    wrong = np.flatnonzero(low > high).tolist()
    text = "rh_min_pct = {:g} is above rh_max_pct = {:g}; correct the record"
    return [(table.lines[i], text.format(low[i], high[i])) for i in wrong]


def _assemble(
    source: str, path: str, layout: Layout, table: Table, opts: ReadOptions
) -> DailyWeather:
    """Place valid rows on consecutive days; add pressure at the station, wind at 2 m and ET0."""
    latitude = layout.latitude_deg if opts.latitude_deg is None else opts.latitude_deg
    altitude = layout.altitude_m if opts.altitude_m is None else opts.altitude_m
    place = (("latitude", latitude, 90.0), ("altitude", altitude, 6000.0))
    bad = [name for name, value, top in place if not (value is not None and abs(value) <= top)]
    if bad or latitude is None or altitude is None:
        flags = " ".join(f"--{name}" for name in bad)
        reject([f"{path}: no valid {' and '.join(bad)} of the station; give it with {flags}"])
        raise AssertionError
    date, value, lines = _by_day(table)
    if np.isnan(value["rain_mm"]).all():
        reject([f"{path}: no column of rain_mm; name it in the column map"])
    between = 0.5 * (value["rh_min_pct"] + value["rh_max_pct"])  # FAO-56, eq. 19
    if np.isnan(value["relative_humidity_pct"]).all():
        value["relative_humidity_pct"] = between
    middle = 0.5 * (value["t_min_c"] + value["t_max_c"])
    value["t_mean_c"] = np.where(np.isnan(value["t_mean_c"]), middle, value["t_mean_c"])
    if np.isnan(value["pressure_hpa"]).all():
        share = float(mean_pressure(altitude) / mean_pressure(0.0))
        value["pressure_hpa"] = value["pressure_msl_hpa"] * share
    if np.isnan(value["wind_2m_m_s"]).all():
        value["wind_2m_m_s"] = wind_at_2m(value["wind_10m_m_s"], 10.0)
    _check_radiation(path, date, lines, value["radiation_mj_m2"], latitude)
    et0_mm, et0_from = _et0(path, layout, opts.et0, date, value, latitude, altitude)
    plain = {k: value[k] for k in WEATHER if k not in ONLY_READ}
    return DailyWeather(
        source=source,
        date=date,
        et0_mm=et0_mm,
        et0_from=et0_from,
        latitude_deg=latitude,
        altitude_m=altitude,
        **plain,
    )


def _by_day(table: Table) -> tuple[NDArray[np.datetime64], dict[str, Array], Integers]:
    """Return consecutive days, the values of all fields and the lines; NaN and 0: no row."""
    dates = np.array(table.dates, dtype="datetime64[D]")
    begin = dates.min()
    row = (dates - begin).astype(np.int64)
    days = int(row.max()) + 1
    value = {name: np.full(days, np.nan) for name in WEATHER}
    for name, cells in table.values.items():
        value[name][row] = cells
    lines = np.zeros(days, dtype=np.int64)
    lines[row] = table.lines
    return begin + np.arange(days), value, lines


def _check_radiation(
    path: str,
    date: NDArray[np.datetime64],
    lines: Integers,
    radiation: Array,
    latitude: float,
) -> None:
    """Reject radiation above that at the top of the atmosphere, usually due to a wrong unit."""
    top = extraterrestrial_radiation(latitude, _season(date)) * MJ_PER_MM
    faults = []
    for i in np.flatnonzero(radiation > top + 1.0).tolist():  # 1: measurement error in winter
        text = f"radiation_mj_m2 = {radiation[i]:.3g}: above the {top[i]:.3g} at the top of the"
        text += " atmosphere; check the column's unit and the latitude"
        faults.append(f"{path}:{lines[i]}: {text}")
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
    have = [k for k, names in needs.items() if not any(np.isnan(value[n]).all() for n in names)]
    if wish != "auto" and wish not in have:
        reject([f"{path}: ET0 by {wish} needs {', '.join(needs[wish])}; use --et0 auto"])
    way = wish if wish != "auto" else next(iter(have), "")
    if way == "given":
        return value["et0_mm"], f"given: {layout.et0_name}"
    t = (value["t_mean_c"], value["t_min_c"], value["t_max_c"])
    if way == "fao56":
        air = (value["radiation_mj_m2"], value["wind_2m_m_s"], value["relative_humidity_pct"])
        extremes = (value["rh_min_pct"], value["rh_max_pct"])
        et0_mm = fao56_et0(date, *t, *air, latitude, altitude, extremes)
        return et0_mm, "FAO-56 Penman-Monteith (pyet)"
    if way == "hargreaves":
        return hargreaves(date, *t, latitude), "Hargreaves (FAO-56, eq. 52)"
    return value["et0_mm"], ""
