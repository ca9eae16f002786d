"""Read the tables of a site into arrays, refuse impossible values, and average over days."""

from __future__ import annotations

import csv
import datetime
import gzip
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from epithermal_edge.config.toml_keys import describe_unknown
from epithermal_edge.errors import ConfigError, SourceError
from epithermal_edge.inference.qc_limits import DEFAULT
from epithermal_edge.records import NAN
from epithermal_edge.times import DAY_S, HOUR_S
from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.field.site_toml import TimeColumn
from epithermal_host.weather.text_table import EMPTY, FIELDS

COVERED = 0.75  # smallest share of a day's usual number of readings


RANGE = re.compile(r"(\d[^\s-]*)\s*(?:-|\u2013|to)\s*(\d[^\s-]*)")  # 0-5, with a dash, 0 to 5
CODES = (-99.0, -999.0, -9999.0, -7999.0)  # of archives and loggers: no value


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity of a table; a value outside of its limits is refused with the remedy."""

    unit: str
    low: float = -math.inf
    high: float = math.inf
    if_low: str = ""  # likely remedy
    if_high: str = ""
    codes: tuple[float, ...] = CODES  # that stand for no value
    ranges: bool = False  # a cell like 0-5 is read as its middle


ANY = Quantity("")
THETA = Quantity("m3/m3", 0.0, 1.0, "negative water", "in percent?", (*CODES, 99.99))
WATER_G_G = Quantity("g/g", 0.0, math.inf, "negative water", "in percent?")
DENSITY = Quantity("g/cm3", 0.05, 2.2, "in another unit? g/cm3 is wanted", "in kg/m3?")
MOST_WATER_G_G = 3.0  # without the sample's own density; peat with its own may hold more
DEPTH = Quantity("cm", 0.0, 300.0, "a depth is positive downwards", "in mm?", ranges=True)
DISTANCE = Quantity("m", 0.0, 1000.0, "a distance is positive", "in cm?")
SOIL_TEMPERATURE = Quantity(
    "degC", -60.0, 80.0, "in another unit?", "in K or degF?", (*CODES, 99.99)
)


def rain_amount(interval_h: float) -> Quantity:
    """Return the limits of an amount of rain [mm]: the station's rate and the wettest day known."""
    high = min(DEFAULT.rain_max_mm_h * max(interval_h, 0.25), FIELDS["rain_mm"][1])
    return Quantity("mm", 0.0, high, "negative rain", "in mm?", (*CODES, 99.99))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Columns of a file as text, in time order."""

    source: TimeColumn
    time_s: Array  # (n,) Unix time [s, UTC]; NaN without a time column
    lines: Integers  # (n,) line of each row in the file, from 1
    cells: dict[str, list[str]]  # by column


def daily_mean(time_s: Array, value: Array, day_end_s: Array) -> Array:
    """Average a series over the 24 h before each end, (T,); NaN if over a quarter is missing."""
    first = day_end_s[0] - DAY_S
    row = np.ceil((time_s - first) / DAY_S).astype(np.int64) - 1
    place = {round((end - first) / DAY_S) - 1: i for i, end in enumerate(day_end_s.tolist())}
    index = np.array([place.get(r, -1) for r in row.tolist()], dtype=np.int64)
    usable = (index >= 0) & np.isfinite(value)
    total = np.bincount(index[usable], value[usable], day_end_s.size)
    number = np.bincount(index[usable], minlength=day_end_s.size)
    step_s = float(np.median(np.diff(time_s))) if time_s.size > 1 else DAY_S
    enough = number >= max(COVERED * DAY_S / max(step_s, 1.0), 1.0)
    return np.where(enough, total / np.maximum(number, 1), np.nan)


def nanmean_rows(values: Array) -> Array:
    """Average each row over the columns that have a value, (n,); NaN if none has."""
    known = np.isfinite(values)
    number = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def read_table(
    time: TimeColumn, names: Sequence[str], quantity: Quantity = ANY
) -> tuple[Array, Array]:
    """Read columns of one quantity in time order: (n,) [s, UTC] and (n, k); NaN: missing.

    Raises
    ------
    ConfigError
        The file has no such column, a time cannot be parsed, or a cell is neither empty nor a
        possible value of the quantity.
    SourceError
        The file cannot be read.
    """
    table = read_cells(time, names)
    columns = [numbers(table, name, quantity) for name in names]
    return table.time_s, np.stack(columns, axis=1)


def read_cells(time: TimeColumn, names: Sequence[str]) -> Table:
    """Read columns as text, in time order; times are NaN without a time column.

    Raises
    ------
    ConfigError
        The file has no such column, or a time cannot be parsed.
    SourceError
        The file cannot be read.
    """
    rows = _rows(time)
    header = list(time.header) or [cell.strip() for cell in next(rows, (0, []))[1]]
    columns = []
    for name in (*((time.name,) if time.name else ()), *names):
        if name not in header:
            raise ConfigError(describe_unknown(f"{time.path}: column {name!r}", name, header))
        columns.append(header.index(name))
    stamps: list[float] = []
    lines: list[int] = []
    cells: list[list[str]] = []
    for line, row in rows:
        if len(row) <= columns[0] or not row[columns[0]].strip():
            continue
        texts = [row[i].strip() if i < len(row) else "" for i in columns]
        try:
            stamps.append(_unix_time(texts[0], time) if time.name else NAN)
        except ValueError as fault:
            raise ConfigError(f"{time.path}:{line}: {time.name}: {fault}") from fault
        lines.append(line)
        cells.append(texts[1:] if time.name else texts)
    time_s = np.array(stamps)
    order = np.argsort(time_s, kind="stable")
    by_column = {name: [cells[i][k] for i in order] for k, name in enumerate(names)}
    return Table(time, time_s[order], np.array(lines, dtype=np.int64)[order], by_column)


def numbers(table: Table, column: str, quantity: Quantity = ANY) -> Array:
    """Convert a column to numbers, (n,); NaN: empty, a code for no value, or `column` is "".

    Raises
    ------
    ConfigError
        A cell is neither empty nor a number, or is impossible for the quantity.
    """
    if not column:
        return np.full(table.time_s.size, np.nan)
    cells = table.cells[column]
    parse, decimal = _middle if quantity.ranges else _number, table.source.decimal
    values = np.array([parse(cell, decimal) for cell in cells])
    words = EMPTY.union(code.strip().lower() for code in table.source.missing)
    empty = np.array([cell.lower() in words for cell in cells], dtype=bool)
    codes = (*quantity.codes, *(_number(code, decimal) for code in table.source.missing))
    empty |= np.isin(values, codes)
    values[empty] = np.nan
    other = "," if decimal == "." else "."
    remedy = f'correct or empty it, or decimal = "{other}"?'
    refuse(table, column, ~empty & ~np.isfinite(values), f"is not a number; {remedy}")
    unit = f" {quantity.unit}".rstrip()
    low, high = f"{quantity.low:g}{unit}", f"{quantity.high:g}{unit}"
    refuse(table, column, values < quantity.low, f"is below {low}; {quantity.if_low}")
    refuse(table, column, values > quantity.high, f"is above {high}; {quantity.if_high}")
    return values


def refuse(table: Table, column: str, wrong: Mask, reason: str) -> None:
    """Raise ConfigError if any row is wrong, with line and cell of the first and their number."""
    rows = np.flatnonzero(wrong)
    if not rows.size:
        return
    first = rows[np.argmin(table.lines[rows])]
    more = f" ({rows.size} cells of this column)" if rows.size > 1 else ""
    cell = table.cells[column][first]
    raise ConfigError(
        f"{table.source.path}:{table.lines[first]}: {column}: {cell!r} {reason}{more}"
    )


def _rows(time: TimeColumn) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is no comment, with the number of its line."""
    path = time.path
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            blanks = time.delimiter == " "
            lines = (" ".join(line.split()) for line in file) if blanks else file
            rows = csv.reader(lines, delimiter=time.delimiter)
            for row in rows:
                if not (row and row[0].startswith("#")):
                    yield rows.line_num, row
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as fault:
        raise SourceError(f"{path}: cannot be read: {fault}") from fault


def _unix_time(text: str, time: TimeColumn) -> float:
    if time.format:
        stamp = datetime.datetime.strptime(text, time.format)
    else:
        stamp = datetime.datetime.fromisoformat(text)
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=datetime.UTC)
        return stamp.timestamp() - time.utc_offset_h * HOUR_S
    return stamp.timestamp()


def _number(cell: str, decimal: str) -> float:
    """Parse a number with a decimal mark; NaN: none, or it has the other mark."""
    if decimal == ",":
        cell = cell.translate({ord(","): ".", ord("."): ","})
    try:
        return float(cell)
    except ValueError:
        return NAN


def _middle(cell: str, decimal: str) -> float:
    """Parse a number or a range of two."""
    value, ends = _number(cell, decimal), RANGE.fullmatch(cell)
    if ends is None or math.isfinite(value):  # 1e-1 is a number
        return value
    return 0.5 * (_number(ends[1], decimal) + _number(ends[2], decimal))
