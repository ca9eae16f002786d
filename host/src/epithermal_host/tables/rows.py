"""Split a file into rows of cells, with the number of each line."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from epithermal_edge.errors import ConfigError, SourceError
from epithermal_host.tables.description import TableFile, is_spreadsheet
from epithermal_host.tables.spreadsheet import read_sheet

log = logging.getLogger(__name__)

Row = tuple[int, list[str]]
"""Line in the file, from 1, and its cells without surrounding blanks."""

UNIT = re.compile(r"\(.*\)|\[.*\]")  # (mm), [degC], ()
FOREIGN = {".xls", ".xlsb", ".ods", ".numbers", ".pdf", ".doc", ".docx", ".sav", ".mat", ".parquet"}


def read_rows(file: TableFile) -> tuple[list[str], list[Row]]:
    """Read the names of the columns and the rows; lines with # and empty lines are none.

    Raises
    ------
    ConfigError
        The file has no header line, or a row has another number of cells than the header.
    SourceError
        The file cannot be read.
    """
    try:
        rows, is_cut = _rows(file)
    except csv.Error as fault:
        raise SourceError(f"{file.path}: cannot be read: {fault}") from fault
    header = list(file.header)
    if not header and rows:
        header = rows.pop(0)[1]
    while header and not header[-1]:
        header.pop()
    if not header:
        raise ConfigError(f"{file.path}: no line with the names of columns")
    if is_cut and rows and len(rows[-1][1]) < len(header):
        log.warning("note: %s: the last row is incomplete and is left out", file.path)
        rows.pop()
    if rows and _is_units(rows[0][1]):
        log.warning("note: %s:%d: a row of units is left out", file.path, rows[0][0])
        rows.pop(0)
    return header, [row for row in rows if _is_complete(file, row, header)]


def read_lines(path: Path) -> list[str]:
    """Read a text file as lines without their ends; see `read_text`."""
    return [line.rstrip("\r\n") for line in io.StringIO(read_text(path), newline="")]


def split_rows(lines: Iterable[str], file: TableFile) -> Iterator[Row]:
    """Yield each row below the skipped lines that is neither empty nor a comment."""
    part = itertools.islice(lines, file.skip, file.end or None)
    blanks = file.delimiter == " "
    rows = csv.reader((" ".join(line.split()) for line in part) if blanks else part,
                      delimiter=file.delimiter)  # fmt: skip
    for row in rows:
        if row and not row[0].lstrip().startswith("#"):
            yield rows.line_num + file.skip, [cell.strip() for cell in row]


def read_text(path: Path) -> str:
    """Read a text file, also a .gz: UTF-8, UTF-16 by its byte order mark, else Windows-1252.

    Raises
    ------
    ConfigError
        The name is that of another kind of file.
    SourceError
        The file cannot be read.
    """
    if path.suffix.lower() in FOREIGN:
        raise ConfigError(f"{path}: {path.suffix} is not read; save the table as CSV or .xlsx")
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            data = bytes(stream.read())
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        if b"\0" in data:
            raise SourceError(f"{path}: cannot be read: it is not text")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("cp1252", "replace")
    except (OSError, EOFError, UnicodeDecodeError) as fault:
        raise SourceError(f"{path}: cannot be read: {fault}") from fault


def _rows(file: TableFile) -> tuple[list[Row], bool]:
    """Return all rows, and whether the file ends within a line."""
    if is_spreadsheet(file.path):
        return list(_sheet_rows(file)), False
    text = read_text(file.path)
    return list(split_rows(io.StringIO(text, newline=""), file)), not text.endswith(("\n", "\r"))


def _sheet_rows(file: TableFile) -> Iterator[Row]:
    for number, cells in enumerate(read_sheet(file.path, file.sheet), start=1):
        if number > file.skip and any(cells) and not cells[0].startswith("# "):
            yield number, cells


def _is_units(cells: list[str]) -> bool:
    """Return whether all cells are units in brackets, or empty."""
    return any(cells) and all(not cell or UNIT.fullmatch(cell) for cell in cells)


def _is_complete(file: TableFile, row: Row, header: list[str]) -> bool:
    """Return whether a row has cells; refuse one that may be shifted against the header."""
    line, cells = row
    if not any(cells):
        return False
    size = len(cells)
    while size > len(header) and not cells[size - 1]:
        size -= 1
    if size != len(header):
        raise ConfigError(
            f"{file.path}:{line}: {size} cells, but {len(header)} names of columns; "
            f"{_size_remedy(size, header)}"
        )
    return True


def _size_remedy(size: int, header: list[str]) -> str:
    """Suggest why a row has another number of cells than the header."""
    if size < len(header):
        return "another delimiter, or a cell left out? an unknown value is an empty cell"
    if len(header) == 1:
        return f"is {header[0]!r} a title above the names? skip leaves out lines; or a delimiter?"
    return "another delimiter, or a decimal comma?"
