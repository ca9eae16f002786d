"""Parse the text of a cell: numbers, ranges, words for no value."""

from __future__ import annotations

import math
import re

from epithermal_edge.records import NAN

EMPTY = frozenset({"", "nan", "na", "n/a", "null", "none", "-", "#n/a"})
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
