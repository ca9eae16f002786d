"""Split a file into rows of cells, with the number of each line."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator

from epithermal_edge.errors import ConfigError, SourceError
from epithermal_host.tables.description import TableFile

Row = tuple[int, list[str]]
"""Line in the file, from 1, and its cells without surrounding blanks."""


def read_rows(file: TableFile) -> tuple[list[str], list[Row]]:
    """Read the names of the columns and the rows; lines with # and empty lines are none.

    Raises
    ------
    ConfigError
        The file has no header line, or a row has another number of cells than the header.
    SourceError
        The file cannot be read.
    """
    rows = split_rows(io.StringIO(_read_text(file), newline=""), file)
    header = list(file.header)
    try:
        if not header:
            header = next(rows, (0, []))[1]
        while header and not header[-1]:
            header.pop()
        if not header:
            raise ConfigError(f"{file.path}: no line with the names of columns")
        return header, [row for row in rows if any(row[1])]
    except csv.Error as fault:
        raise SourceError(f"{file.path}: cannot be read: {fault}") from fault


def split_rows(lines: Iterable[str], file: TableFile) -> Iterator[Row]:
    """Yield each row below the skipped lines that is neither empty nor a comment."""
    below = (line for number, line in enumerate(lines) if number >= file.skip)
    blanks = file.delimiter == " "
    rows = csv.reader((" ".join(line.split()) for line in below) if blanks else below,
                      delimiter=file.delimiter)  # fmt: skip
    for row in rows:
        if row and not row[0].startswith("#"):
            yield rows.line_num + file.skip, [cell.strip() for cell in row]


def _read_text(file: TableFile) -> str:
    opener = gzip.open if file.path.suffix == ".gz" else open
    try:
        with opener(file.path, "rt", encoding="utf-8-sig", newline="") as stream:
            return str(stream.read())
    except (OSError, EOFError, UnicodeDecodeError) as fault:
        raise SourceError(f"{file.path}: cannot be read: {fault}") from fault
