"""Read the cells of a spreadsheet as text, with the optional package openpyxl."""

from __future__ import annotations

import contextlib
import datetime
import zipfile
from pathlib import Path
from xml.etree.ElementTree import ParseError

from epithermal_edge.config.toml_keys import describe_unknown
from epithermal_edge.errors import ConfigError, SourceError


def read_sheet(path: Path, sheet: str) -> list[list[str]]:
    """Read the rows of a sheet, of equal length; of a formula, the value stored with it.

    Parameters
    ----------
    path :
        An .xlsx file.
    sheet :
        Name of the sheet; empty: the first.

    Raises
    ------
    ConfigError
        openpyxl is not installed, or there is no such sheet.
    SourceError
        The file cannot be read.
    """
    try:
        import openpyxl
    except ImportError as fault:
        remedy = "pip install 'epithermal-host[xlsx]', or save the sheet as CSV"
        raise ConfigError(f"{path}: a spreadsheet needs the package openpyxl; {remedy}") from fault
    try:
        with contextlib.closing(
            openpyxl.load_workbook(path, read_only=True, data_only=True)
        ) as book:
            names = book.sheetnames
            if sheet and sheet not in names:
                raise ConfigError(describe_unknown(f"{path}: sheet {sheet!r}", sheet, names))
            rows = book[sheet or names[0]].iter_rows(values_only=True)
            out = [[_text(value) for value in row] for row in rows]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, ParseError) as fault:
        raise SourceError(f"{path}: cannot be read as a spreadsheet: {fault}") from fault
    width = max(map(len, out), default=0)
    return [row + [""] * (width - len(row)) for row in out]


def _text(value: object) -> str:
    """Return the text of a cell; a date without a time of day is a date."""
    if value is None:
        return ""
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat(*((" ",) if isinstance(value, datetime.datetime) else ()))
    return str(value).strip()
