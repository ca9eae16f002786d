"""Describe how a table is written: separators, names of columns, times, codes, conversions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from epithermal_edge.config.toml_keys import describe_unknown
from epithermal_edge.errors import ConfigError

_NUMBER = r"\d*\.?\d+(?:[eE][-+]?\d+)?(?:\s*/\s*\d*\.?\d+)?"  # also a fraction: 5/9
_CONVERTED = re.compile(
    rf"(?P<name>.+?)\s*(?:(?P<by>[*/])\s*(?P<sign>-?)(?P<factor>{_NUMBER}))?"
    rf"\s*(?:(?P<plus>[-+])\s*(?P<offset>{_NUMBER}))?"
)


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file and how its rows are written."""

    path: Path
    time: tuple[str, ...] = ()  # columns of date and time of day, joined by blanks; empty: none
    time_format: str = ""  # for strptime; empty: ISO 8601, or year, month, day, ... in columns
    utc_offset_h: float = 0.0  # clock ahead of UTC
    time_zone: str = ""  # of the clock, with its summer time: Europe/Berlin; empty: utc_offset_h
    delimiter: str = ","  # a blank: any number of blanks and tabs
    header: tuple[str, ...] = ()  # names of the columns of a file without a header line
    skip: int = 0  # lines above the header, or above the first row
    end: int = 0  # lines above the end of the table; 0: the whole file
    missing: tuple[str, ...] = ()  # cells that stand for no value, besides the usual codes
    decimal: str = "."
    sheet: str = ""  # of a spreadsheet; empty: the first


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a file: value = number in the cell * factor + offset."""

    index: int
    name: str  # in the file
    factor: float = 1.0
    offset: float = 0.0


def is_spreadsheet(path: Path) -> bool:
    """Return whether the name of a file is that of a spreadsheet that can be read."""
    return path.suffix.lower() in (".xlsx", ".xlsm")


def parse_column(text: str, header: Sequence[str]) -> Column:
    """Parse a column and its conversion, such as `tp * 1000`, `t2m - 273.15`, `t * 5/9 - 160/9`.

    A text that is the name of a column is that column; so a name may contain these signs.

    Parameters
    ----------
    text :
        `name`, `name * factor`, `name / divisor`, and each with `+ offset` or `- offset`; numbers
        may be fractions.
    header :
        Names of the file's columns.

    Raises
    ------
    ConfigError
        The header has no such column, or has it twice; the conversion gives no finite value.
    """
    if text in header:
        return _named(text, header)
    match = _CONVERTED.fullmatch(text.strip())
    if match is None or match["name"] not in header:
        raise ConfigError(describe_unknown(f"column {text!r}", text, header))
    try:
        factor = _fraction(match["factor"] or "1") * (-1.0 if match["sign"] else 1.0)
        factor = 1.0 / factor if match["by"] == "/" else factor
        offset = _fraction(match["offset"] or "0") * (-1.0 if match["plus"] == "-" else 1.0)
    except ZeroDivisionError:
        factor = 0.0
    if factor == 0.0 or not math.isfinite(factor) or not math.isfinite(offset):
        raise ConfigError(f"column {text!r}: its factor is 0 or no number; correct it")
    name = match["name"]
    return Column(_named(name, header).index, name, factor, offset)


def _named(name: str, header: Sequence[str]) -> Column:
    if list(header).count(name) > 1:
        raise ConfigError(f"column {name!r}: two columns have this name; rename one")
    return Column(list(header).index(name), name)


def _fraction(text: str) -> float:
    above, _, below = text.partition("/")
    return float(above) / float(below or "1")
