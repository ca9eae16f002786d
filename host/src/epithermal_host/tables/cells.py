"""Parse the text of a cell: numbers, ranges, words for no value, times."""

from __future__ import annotations

import datetime
import math
import re

from epithermal_edge.records import NAN
from epithermal_edge.times import HOUR_S
from epithermal_host.tables.description import TableFile

EMPTY = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
RANGE = re.compile(r"(\d[^\s-]*)\s*(?:-|\u2013|to)\s*(\d[^\s-]*)")  # 0-5, with a dash, 0 to 5


def parse_number(cell: str, decimal: str) -> float:
    """Parse a number with a decimal mark; NaN: none, or it has the other mark."""
    if decimal == ",":
        cell = cell.translate({ord(","): ".", ord("."): ","})
    try:
        return float(cell)
    except ValueError:
        return NAN


def parse_middle(cell: str, decimal: str) -> float:
    """Parse a number, or a range of two as its middle; NaN: neither."""
    value, ends = parse_number(cell, decimal), RANGE.fullmatch(cell)
    if ends is None or math.isfinite(value):  # 1e-1 is a number
        return value
    return 0.5 * (parse_number(ends[1], decimal) + parse_number(ends[2], decimal))


def parse_time(text: str, file: TableFile) -> float:
    """Parse a time by the file's description.

    Returns
    -------
    [s, Unix time]

    Raises
    ------
    ValueError
        The text has another form, or is not a time.
    """
    if file.time_format:
        stamp = datetime.datetime.strptime(text, file.time_format)
    else:
        stamp = datetime.datetime.fromisoformat(text)
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=datetime.UTC)
        return stamp.timestamp() - file.utc_offset_h * HOUR_S
    return stamp.timestamp()
