"""Read columns of a table into arrays in time order, and refuse impossible values."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.tables.cells import EMPTY, parse_middle, parse_number
from epithermal_host.tables.clock import read_times
from epithermal_host.tables.description import Column, TableFile, parse_column
from epithermal_host.tables.quantities import ANY, Quantity
from epithermal_host.tables.rows import Row, read_rows

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Columns of a file as text, in time order."""

    file: TableFile
    time_s: Array  # (n,) Unix time [s, UTC]; NaN without a time column
    lines: Integers  # (n,) line of each row in the file, from 1
    cells: dict[str, list[str]]  # by column as named in the request
    columns: dict[str, Column]  # the same with their conversions


def read_table(
    file: TableFile, names: Sequence[str], quantity: Quantity = ANY
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
    table = read_cells(file, names)
    if not table.time_s.size:
        raise ConfigError(f"{file.path}: the file has no rows; give a file with values")
    columns = [numbers(table, name, quantity) for name in names]
    return table.time_s, np.stack(columns, axis=1)


def read_cells(file: TableFile, names: Sequence[str]) -> Table:
    """Read columns as text, in time order; times are NaN without a time column.

    Parameters
    ----------
    file :
        The file and how it is written.
    names :
        Columns, each with its conversion if it has one; see `parse_column`.

    Raises
    ------
    ConfigError
        The file has no such column, or a time cannot be parsed.
    SourceError
        The file cannot be read.
    """
    header, rows = read_rows(file)
    try:
        columns = {name: parse_column(name, header) for name in names}
        clock = [parse_column(name, header) for name in file.time]
    except ConfigError as fault:
        raise ConfigError(*(f"{file.path}: {text}" for text in fault.faults)) from fault
    if clock:
        rows = _with_time(file, rows, clock)
        times = [[_cell(row, column) for column in clock] for row in rows]
        time_s = read_times(file, times, [line for line, _ in rows])
    else:
        time_s = np.full(len(rows), np.nan)
    order = np.argsort(time_s, kind="stable")
    rows = [rows[i] for i in order.tolist()]
    cells = {name: [_cell(row, column) for row in rows] for name, column in columns.items()}
    lines = np.array([line for line, _ in rows], dtype=np.int64)
    return Table(file, time_s[order], lines, cells, columns)


def select_rows(table: Table, chosen: Mask) -> Table:
    """Select rows of a table by a mask, (n,)."""
    rows = np.flatnonzero(chosen)
    cells = {name: [column[i] for i in rows.tolist()] for name, column in table.cells.items()}
    return replace(table, time_s=table.time_s[rows], lines=table.lines[rows], cells=cells)


def numbers(table: Table, column: str, quantity: Quantity = ANY) -> Array:
    """Convert a column to numbers, (n,); NaN: empty, a code for no value, or `column` is "".

    Codes are compared before the column's factor and offset, limits after them.

    Raises
    ------
    ConfigError
        A cell is neither empty nor a number, or is impossible for the quantity.
    """
    if not column:
        return np.full(table.time_s.size, np.nan)
    values = unchecked_numbers(table, column, quantity)
    unit = f" {quantity.unit}".rstrip()
    low, high = f"{quantity.low:g}{unit}", f"{quantity.high:g}{unit}"
    refuse(table, column, values < quantity.low, f"is below {low}; {quantity.if_low}")
    refuse(table, column, values > quantity.high, f"is above {high}; {quantity.if_high}")
    return values


def unchecked_numbers(table: Table, column: str, quantity: Quantity) -> Array:
    """Convert a column to numbers without comparing its limits, (n,); NaN: empty or a code.

    Raises
    ------
    ConfigError
        A cell is neither empty nor a number.
    """
    cells, how = table.cells[column], table.columns[column]
    parse, decimal = parse_middle if quantity.ranges else parse_number, table.file.decimal
    values = np.array([parse(cell, decimal) for cell in cells], dtype=np.float64)
    words = EMPTY.union(code.strip().lower() for code in table.file.missing)
    empty = np.array([cell.lower() in words for cell in cells], dtype=bool)
    declared = [parse_number(code, decimal) for code in table.file.missing]
    empty |= np.isin(values, [*_codes(quantity, how), *declared])
    if coded := int(np.sum(empty & np.isfinite(values))):
        log.warning("note: %s: %s: %d of %d cells are codes for no value",
                    table.file.path, column, coded, values.size)  # fmt: skip
    values[empty] = np.nan
    other = "," if decimal == "." else "."
    remedy = f'correct or empty it, or decimal = "{other}"?'
    refuse(table, column, ~empty & ~np.isfinite(values), f"is not a number; {remedy}")
    if (how.factor, how.offset) != (1.0, 0.0):
        values = values * how.factor + how.offset
    return values


def _codes(quantity: Quantity, how: Column) -> list[float]:
    """List the codes of a column; one that its conversion makes possible is a value, no code.

    In tenths of a degree -99 is -9.9 degC.
    """
    converted = (how.factor, how.offset) != (1.0, 0.0) and np.isfinite(quantity.low)
    return [code for code in quantity.codes if not (
        converted and code < 0.0
        and quantity.low <= code * how.factor + how.offset <= quantity.high
    )]  # fmt: skip


def refuse(table: Table, column: str, wrong: Mask, reason: str) -> None:
    """Raise ConfigError if any row is wrong, with line and cell of the first and their number."""
    rows = np.flatnonzero(wrong)
    if not rows.size:
        return
    first = rows[np.argmin(table.lines[rows])]
    more = f" ({rows.size} cells of this column)" if rows.size > 1 else ""
    cell = table.cells[column][first]
    raise ConfigError(f"{table.file.path}:{table.lines[first]}: {column}: {cell!r} {reason}{more}")


def _cell(row: Row, column: Column) -> str:
    return row[1][column.index] if column.index < len(row[1]) else ""


def _with_time(file: TableFile, rows: list[Row], clock: Sequence[Column]) -> list[Row]:
    """Leave out rows without a time, and log how many."""
    timed = [row for row in rows if _cell(row, clock[0])]
    if len(timed) < len(rows):
        number = len(rows) - len(timed)
        log.warning("note: %s: %d of %d rows have no time and are left out",
                    file.path, number, len(rows))  # fmt: skip
    return timed
