"""Read CSV files with a time column into arrays, and average series over days."""

from __future__ import annotations

import csv
import datetime
import gzip
from collections.abc import Iterator, Sequence

import numpy as np

from epithermal_edge.config.toml_keys import describe_unknown
from epithermal_edge.errors import ConfigError, SourceError
from epithermal_edge.records import NAN
from epithermal_edge.times import DAY_S, HOUR_S
from epithermal_host.arrays import Array
from epithermal_host.field.site_toml import TimeColumn

COVERED = 0.75  # smallest share of a day's usual number of readings


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


def read_table(time: TimeColumn, names: Sequence[str]) -> tuple[Array, Array]:
    """Read columns of a CSV in time order: (n,) [s, UTC] and (n, k); NaN for other than numbers.

    Raises
    ------
    ConfigError
        The file has no such column, or a time cannot be parsed.
    SourceError
        The file cannot be read.
    """
    time_s, rows = read_cells(time, names)
    cells = [[number(cell) for cell in row] for row in rows]
    return time_s, np.array(cells, dtype=np.float64).reshape(-1, len(names))


def read_cells(time: TimeColumn, names: Sequence[str]) -> tuple[Array, list[list[str]]]:
    """Read columns like `read_table`, with cells as text; times are NaN without a time column.

    Raises
    ------
    ConfigError, SourceError
        As `read_table`.
    """
    rows = _rows(time)
    header = list(time.header) or [cell.strip() for cell in next(rows, [])]
    columns = []
    for name in (*((time.name,) if time.name else ()), *names):
        if name not in header:
            raise ConfigError(describe_unknown(f"{time.path}: column {name!r}", name, header))
        columns.append(header.index(name))
    stamps: list[float] = []
    cells: list[list[str]] = []
    for number, row in enumerate(rows, start=1 if time.header else 2):
        if len(row) <= columns[0] or not row[columns[0]].strip():
            continue
        texts = [row[i].strip() if i < len(row) else "" for i in columns]
        try:
            stamps.append(_unix_time(texts[0], time) if time.name else NAN)
        except ValueError as fault:
            raise ConfigError(f"{time.path}:{number}: {time.name}: {fault}") from fault
        cells.append(texts[1:] if time.name else texts)
    time_s = np.array(stamps)
    order = np.argsort(time_s, kind="stable")
    return time_s[order], [cells[i] for i in order]


def _rows(time: TimeColumn) -> Iterator[list[str]]:
    path = time.path
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=time.delimiter)
            yield from (row for row in rows if not (row and row[0].startswith("#")))
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


def number(cell: str) -> float:
    """Parse a cell as a number; NaN if it is none."""
    try:
        return float(cell)
    except ValueError:
        return NAN
