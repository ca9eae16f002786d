"""Parse a text table of daily values by its layout; report faults with their line."""

from __future__ import annotations

import csv
import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from epithermal_host.arrays import Array
from epithermal_host.tables.cells import EMPTY
from epithermal_host.tables.quantities import WEATHER

FIELDS: dict[str, tuple[float, float]] = {  # quantities of a file and their physical limits
    name: (quantity.low, quantity.high) for name, quantity in WEATHER.items()
}


@dataclass(frozen=True, slots=True)
class Column:
    """One quantity of a file: field = factor * cell + offset."""

    index: int
    name: str  # in the file
    factor: float = 1.0
    offset: float = 0.0
    trace: float | None = None  # value that marks an amount below the resolution: read as 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Position of the daily values in a file."""

    begin: int  # index of the first line with data
    delimiter: str
    date: int  # index of the cell with the date
    columns: Mapping[str, Column]  # by field
    station: int | None = None  # index of the cell with the station
    latitude_deg: float | None = None
    altitude_m: float | None = None
    et0_name: str = ""  # method of the file's ET0
    ends_blank: bool = False  # a blank line ends the table


@dataclass(slots=True)
class Table:
    """Rows in the order of the file; lines are numbered from 1."""

    dates: list[datetime.date] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    values: dict[str, Array] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)  # name in the file, by field
    faults: list[tuple[int, str]] = field(default_factory=list)


def read_rows(
    lines: list[str],
    layout: Layout,
    station: str | None,
    first: datetime.date | None,
    last: datetime.date | None,
) -> Table:
    """Parse the cells as numbers; record each invalid date or number with its line.

    Parameters
    ----------
    lines :
        All lines of the file.
    layout :
        Layout by the dialect.
    station :
        Station to read; None for a file with a single one.
    first, last :
        Period to read; None: open.
    """
    table = Table(columns={name: column.name for name, column in layout.columns.items()})
    rows: list[list[float]] = []
    stations: set[str] = set()
    for number, line in enumerate(lines[layout.begin :], layout.begin + 1):
        if not line.strip() or line.lstrip().startswith("#"):
            if layout.ends_blank and rows and not line.strip():
                break
            continue
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=layout.delimiter))]
        name = _cell(cells, layout.station) if layout.station is not None else ""
        if station is not None and layout.station is not None and name != station:
            continue
        date = parse_date(_cell(cells, layout.date))
        if date is None:
            text = f"date = {_cell(cells, layout.date)!r}: not a date; write it like 2001-12-31"
            table.faults.append((number, text))
            continue
        if (first is not None and date < first) or (last is not None and date > last):
            continue
        stations.add(name)
        table.dates.append(date)
        table.lines.append(number)
        rows.append([_number(cells, c, f, number, table) for f, c in layout.columns.items()])
    if len(stations) > 1:
        names = ", ".join(sorted(stations)[:6])
        table.faults = [(layout.begin, f"several stations ({names}); choose with --station")]
        rows, table.dates, table.lines = [], [], []
    data = np.array(rows, dtype=np.float64).reshape(len(rows), len(layout.columns))
    table.values = {name: data[:, i] for i, name in enumerate(layout.columns)}
    return table


def parse_date(text: str) -> datetime.date | None:
    """Parse an ISO date or its eight digits, optionally followed by a time; else return None."""
    match = re.fullmatch(r"(\d{4})-?(\d{2})-?(\d{2})([T ].*|Z)?", text)
    if match is None:
        return None
    try:
        return datetime.date(*(int(part) for part in match.groups()[:3]))
    except ValueError:
        return None


def _cell(cells: list[str], index: int) -> str:
    return cells[index] if index < len(cells) else ""


def _number(cells: list[str], column: Column, name: str, line: int, table: Table) -> float:
    text = _cell(cells, column.index)
    if text.lower() in EMPTY:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        remedy = "write it with a decimal point, or leave it empty if unknown"
        table.faults.append(
            (line, f"{name} = {text!r} (column {column.name}): not a number; {remedy}")
        )
        return math.nan
    if column.trace is not None and value == column.trace:
        return 0.0
    return value * column.factor + column.offset
