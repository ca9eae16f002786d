"""Read a table of daily values by its layout; report faults with their line."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_host.arrays import Array
from epithermal_host.tables import table as tables
from epithermal_host.tables.clock import read_dates
from epithermal_host.tables.description import TableFile
from epithermal_host.tables.quantities import WEATHER

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Layout:
    """Position of the daily values in a file."""

    file: TableFile
    dates: tuple[str, ...]  # columns of the date
    columns: Mapping[str, str]  # by field: a column with its conversion, as in `parse_column`
    station: str | None = None  # column of the station
    trace: Mapping[str, float] = field(default_factory=dict)  # by field: value below the resolution
    latitude_deg: float | None = None
    altitude_m: float | None = None
    et0_name: str = ""  # method of the file's ET0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in the order of the file; lines are numbered from 1."""

    dates: list[datetime.date]
    lines: list[int]
    values: dict[str, Array]  # by field; NaN: missing
    columns: dict[str, str]  # name in the file, by field


def read_rows(
    layout: Layout,
    station: str | None,
    first: datetime.date | None,
    last: datetime.date | None,
    without: Collection[str] = (),
) -> Table:
    """Read the daily values of a station; values are converted but not compared with limits.

    Parameters
    ----------
    layout :
        Layout by the dialect.
    station :
        Station to read; None for a file with a single one.
    first, last :
        Period to read; None: open.
    without :
        Fields not to read.

    Raises
    ------
    ConfigError
        A date or a number cannot be parsed, or the file has several stations.
    SourceError
        The file cannot be read.
    """
    columns = {name: text for name, text in layout.columns.items() if name not in without}
    code = () if layout.station is None else (layout.station,)
    found = tables.read_cells(layout.file, [*layout.dates, *code, *columns.values()])
    found = _of_station(found, layout, station)
    found = _with_date(found, layout)
    cells = [list(row) for row in zip(*(found.cells[name] for name in layout.dates), strict=True)]
    file = replace(layout.file, time=layout.dates)
    dates = read_dates(file, cells, found.lines.tolist())
    chosen = [(first is None or first <= d) and (last is None or d <= last) for d in dates]
    found = tables.select_rows(found, np.array(chosen, dtype=np.bool_))
    values, faults = {}, []
    for name, text in columns.items():
        try:
            values[name] = tables.unchecked_numbers(found, text, WEATHER[name])
        except ConfigError as fault:
            faults += [f"{line} ({name})" for line in fault.faults]
    if faults:
        raise ConfigError(*faults)
    for name, trace in layout.trace.items():
        if name in values:
            values[name] = np.where(np.isclose(values[name], trace), 0.0, values[name])
    days = [date for date, ok in zip(dates, chosen, strict=True) if ok]
    names = {name: found.columns[text].name for name, text in columns.items()}
    return Table(days, found.lines.tolist(), values, names)


def _of_station(table: tables.Table, layout: Layout, station: str | None) -> tables.Table:
    """Select the rows of a station; refuse several if none is chosen."""
    if layout.station is None:
        return table
    codes = np.array(table.cells[layout.station], dtype=np.str_)
    if station is not None:
        return tables.select_rows(table, codes == station)
    names = sorted(set(codes.tolist()))
    if len(names) > 1:
        shown = ", ".join(names[:6])
        raise ConfigError(f"{layout.file.path}: several stations ({shown}); choose with --station")
    return table


def _with_date(table: tables.Table, layout: Layout) -> tables.Table:
    """Leave out rows without a date, and log how many."""
    dated = np.array([bool(cell) for cell in table.cells[layout.dates[0]]], dtype=np.bool_)
    if not dated.all():
        log.warning("note: %s: %d of %d rows have no date and are left out",
                    layout.file.path, int((~dated).sum()), dated.size)  # fmt: skip
    return tables.select_rows(table, dated)
