"""Hold a real site as values that can be changed: the tables of site.toml and its files.

The files are read where they are and cut to some weeks around the sampling days, for speed.
"""

from __future__ import annotations

import copy
import datetime
import gzip
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
NAMES = ("fuerstensee-fsc001", "flickner-ks", "roaring-fork-c1")
BEFORE, AFTER = datetime.timedelta(days=9), datetime.timedelta(days=6)
TOA5 = '"TOA5"'
DATES = ("%m/%d/%Y", "%d.%m.%Y")


@dataclass
class Sheet:
    """A file as rows of cells; the first `head` rows are titles, names and units."""

    rows: list[list[str]]
    delimiter: str
    names: list[str]
    head: int
    codec: str = "utf-8"
    end: str = "\n"

    def body(self) -> list[list[str]]:
        """Return the rows below the header, to be changed in place."""
        return self.rows[self.head :]

    def text(self) -> bytes:
        """Return the file's content."""
        lines = [self.delimiter.join(row) + self.end for row in self.rows]
        return "".join(lines).encode(self.codec)


@dataclass
class Case:
    """A site: its tables, and its files by the name in the tables."""

    name: str
    tables: dict[str, Any]
    sheets: dict[str, Sheet]
    changed: set[str] = field(default_factory=set)  # names of files

    def copy(self) -> Case:
        """Return a copy whose tables and sheets can be changed."""
        return copy.deepcopy(self)

    def write(self, folder: Path) -> Path:
        """Write site.toml and its files, and return the path of the former."""
        for name, sheet in self.sheets.items():
            (folder / name).write_bytes(sheet.text())
        path = folder / "site.toml"
        path.write_text(as_toml(self.tables), "utf-8")
        return path


def load(name: str) -> Case:
    """Read a site of tests/field with its files, cut around the sampling days.

    Raises
    ------
    FileNotFoundError
        The files are not on this machine.
    """
    tables = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    sampling = tables["sampling"]
    sheets: dict[str, Sheet] = {}
    first = _sheet(_path(sampling["file"]), sampling)
    days = {sampling["day"]} if "day" in sampling else _days(first, sampling["time"])
    spans = [(_date(day) - BEFORE, _date(day) + AFTER) for day in days]
    for table in of_tables(tables):
        for key in ("file", "files"):
            if key in table:
                (original,) = [table[key]] if key == "file" else table[key]
                local = Path(original).name.removesuffix(".gz")
                if local not in sheets:
                    sheets[local] = _cut(_sheet(_path(original), table), spans)
                table[key] = local if key == "file" else [local]
    tables["records"].setdefault("interval_s", 3600)
    return Case(name, tables, sheets)


def of_tables(tables: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every table, each [[probe]] by itself."""
    for value in tables.values():
        yield from value if isinstance(value, list) else [value]


def as_toml(tables: dict[str, Any]) -> str:
    """Format tables of strings, numbers, lists and flat tables."""
    lines: list[str] = []
    for name, value in tables.items():
        for table in value if isinstance(value, list) else [value]:
            lines.append(f"[[{name}]]" if isinstance(value, list) else f"[{name}]")
            lines += [f"{key} = {_value(item)}" for key, item in table.items()]
    return "\n".join(lines) + "\n"


def _value(item: Any) -> str:
    if isinstance(item, dict):
        return "{ " + ", ".join(f'"{k}" = {_value(v)}' for k, v in item.items()) + " }"
    if isinstance(item, list):
        return "[" + ", ".join(_value(v) for v in item) + "]"
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, str):
        return '"' + item.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'
    return repr(item)


def _path(name: str) -> Path:
    return Path(os.path.expandvars(name))


def _sheet(path: Path, table: dict[str, Any]) -> Sheet:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        text = file.read()
    delimiter = table.get("delimiter", ",")
    rows = [line.split(delimiter) for line in text.splitlines() if line]  # quotes stay
    if "header" in table:
        return Sheet(rows, delimiter, list(table["header"]), 0)
    named = next(i for i, row in enumerate(rows) if not row[0].startswith(("#", TOA5)))
    head = named + (3 if rows[0][0] == TOA5 else 1)
    names = [cell.strip(' "') for cell in rows[named]]
    names = list(table["columns"]) if table.get("dialect") == "cosmoz" else names
    return Sheet(rows, delimiter, names, head)


def _cut(sheet: Sheet, spans: list[tuple[datetime.date, datetime.date]]) -> Sheet:
    """Keep the rows with a date in one of the spans; all rows, if no column has dates."""
    dated = next((i for i, c in enumerate(sheet.body()[0]) if _date_or_none(c)), None)
    if dated is None:
        return sheet
    body = [
        row
        for row in sheet.body()
        if (day := _date_or_none(row[dated])) and any(a <= day <= b for a, b in spans)
    ]
    return Sheet(sheet.rows[: sheet.head] + body, sheet.delimiter, sheet.names, sheet.head)


def _days(sheet: Sheet, column: str) -> set[str]:
    at = sheet.names.index(column)
    return {row[at].split()[0] for row in sheet.body()}


def _date(text: str) -> datetime.date:
    day = _date_or_none(text)
    assert day is not None, text
    return day


def _date_or_none(text: str) -> datetime.date | None:
    text = re.split(r"[ T]", text.strip(' "'))[0]
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        pass
    for form in DATES:
        if len(text) not in range(8, 11):
            continue
        try:
            return datetime.datetime.strptime(text, form).date()
        except ValueError:
            continue
    return None
