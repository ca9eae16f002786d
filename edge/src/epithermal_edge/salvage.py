"""A damaged journal is set aside, what is readable of it goes into a new one.

The new file is complete before a name changes, so that a power cut at any moment leaves either
the damaged journal or the new one.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from epithermal_edge.database import JournalError, fault, sync_folder
from epithermal_edge.rows import (
    CREATE,
    OUTBOX,
    RAW,
    SCHEMA,
    checksum,
    estimate_columns,
    is_estimate_whole,
    message_of,
    message_row,
    record_columns,
    record_of,
    record_row,
)

KEPT_ASIDE = 2  # older ones are deleted: a bad card must not fill itself
FAR = 1 << 40  # no key is so large
REPAIR_BYTES = 1 << 26  # a header is repaired in a copy no larger than this
HEADER = (  # bytes of a database header that never differ, https://www.sqlite.org/fileformat2.html
    (0, b"SQLite format 3\0\x10\x00\x02\x02\x00\x40\x20\x20"),
    (44, b"\0\0\0\x04"),
    (56, b"\0\0\0\x01"),
)

log = logging.getLogger(__name__)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def finish(path: Path) -> None:
    """Complete an exchange of files that a power cut stopped, and sweep up half a salvage."""
    for ending in (".tmp", ".repair"):
        for part in ("", "-wal", "-shm", "-journal"):
            _beside(path, ending + part).unlink(missing_ok=True)
    new = _beside(path, ".new")
    if not new.exists():
        return
    aside = f".damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    for ending in ("-wal", ""):  # the WAL first: it must never be met by the new file
        old = _beside(path, ending)
        if old.exists():
            old.rename(_beside(path, aside + ending))
    _beside(path, "-shm").unlink(missing_ok=True)
    new.rename(path)
    sync_folder(path.parent)
    stamps = sorted({p.name.removesuffix("-wal") for p in path.parent.glob(path.name + ".dam*")})
    for name in stamps[:-KEPT_ASIDE]:
        for part in ("", "-wal"):
            path.with_name(name + part).unlink(missing_ok=True)


def rescue(path: Path, reason: str, beat: Callable[[], object]) -> None:
    """Put a new journal in the damaged one's place.

    Parameters
    ----------
    reason :
        Why it is taken for damaged; told.
    beat :
        Called again and again: there is progress.

    Raises
    ------
    JournalError
        The disk has no room for it, or cannot be written.
    """
    finish(path)
    fresh = _beside(path, ".tmp")
    new = None
    try:
        new = sqlite3.connect(fresh, isolation_level=None)
        new.executescript(f"PRAGMA page_size = 4096; PRAGMA synchronous = FULL; BEGIN;{CREATE}")
        counts = _copy(path, new, beat)
        kept = ", ".join(f"{number} {name}" for name, number in counts.items())
        text = f"{reason}; the journal is set aside, kept are {kept}"
        log.error("%s", text)
        new.execute("INSERT INTO note (kind, text) VALUES ('journal_salvaged', ?)", (text,))
        new.execute(f"PRAGMA user_version = {SCHEMA}")
        new.execute("COMMIT")
        new.close()
        fresh.rename(_beside(path, ".new"))
        sync_folder(path.parent)
        finish(path)
    except (OSError, sqlite3.Error) as error:
        found = fault(path, error)
        raise JournalError(f"{found}; it is damaged and waits for its rescue", True) from error
    finally:
        if new is not None:
            new.close()


def _copy(path: Path, new: sqlite3.Connection, beat: Callable[[], object]) -> dict[str, int]:
    """What can be read, into a new database; how much it was."""
    about = {"epoch": secrets.token_hex(4), "schema": str(SCHEMA), "base": "0"}
    about["salvaged"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    counts = {"records": 0, "messages": 0, "parts of the state": 0}
    old = _connect(path)
    if old is not None:
        counts["records"] = last = 0
        marks = ", ".join("?" * (2 + len(RAW)))
        for row in _readable(old, _known(old), "record", "seq"):
            beat()
            record = record_of(row)
            if record is not None:
                sql = f"INSERT OR IGNORE INTO record VALUES ({marks})"
                counts["records"] += new.execute(sql, record_row(row[0], record)).rowcount
                last = row[0]
        about["base"] = str(max(last, _highest(old)))
        new.execute("DELETE FROM sqlite_sequence")
        new.execute("INSERT INTO sqlite_sequence VALUES ('record', ?)", (int(about["base"]),))
        _copy_estimates(old, new, beat)
        counts["messages"] = _copy_messages(old, new, beat)
        counts["parts of the state"] = _copy_small(old, new, about)
        old.close()
    rows = [(key, value, checksum(key, value)) for key, value in about.items()]
    new.executemany("INSERT OR REPLACE INTO about VALUES (?, ?, ?)", rows)
    return counts


def _known(old: sqlite3.Connection) -> str:
    """Columns of a record; one that the file is too old for is NULL."""
    there = {row[1] for row in old.execute("PRAGMA table_info(record)").fetchall()}
    names = record_columns().split(", ")
    return ", ".join(name if name in there else f"NULL AS {name}" for name in names)


def _copy_estimates(
    old: sqlite3.Connection, new: sqlite3.Connection, beat: Callable[[], object]
) -> None:
    """What was told of the records that are kept; a table that the file is too old for is empty."""
    columns = estimate_columns()
    marks = ", ".join("?" * len(columns.split(", ")))
    sql = f"INSERT OR IGNORE INTO estimate ({columns}) VALUES ({marks})"
    for row in _readable(old, columns, "estimate", "seq"):
        beat()
        if is_estimate_whole(row):
            new.execute(sql, row)


def _copy_messages(
    old: sqlite3.Connection, new: sqlite3.Connection, beat: Callable[[], object]
) -> int:
    count = 0
    columns = ", ".join(("id", *OUTBOX, "crc32"))
    insert = f"INSERT INTO outbox ({', '.join((*OUTBOX, 'crc32'))}) VALUES (?, ?, ?, ?, ?, ?)"
    for row in _readable(old, columns, "outbox", "id"):
        beat()
        message = message_of(row[1:])
        if message is None:
            continue
        if message.kind == "state":
            new.execute("DELETE FROM outbox WHERE topic = ?", (message.topic,))
        new.execute(insert, message_row(message))
        count += 1
    return count


def _copy_small(old: sqlite3.Connection, new: sqlite3.Connection, about: dict[str, str]) -> int:
    """State and counters; what does not agree with its checksum is met when it is loaded."""
    count = 0
    try:
        for row in old.execute("SELECT * FROM state").fetchall():
            new.execute("INSERT OR IGNORE INTO state VALUES (?, ?, ?, ?, ?)", row)
            count += 1
    except sqlite3.Error as error:
        log.warning("state: %s", error)
    try:
        for key, value, crc32 in old.execute("SELECT key, value, crc32 FROM about").fetchall():
            if key not in about and crc32 == checksum(key, value):
                about[key] = value
        for kind, text in old.execute("SELECT kind, text FROM note").fetchall():
            new.execute("INSERT INTO note (kind, text) VALUES (?, ?)", (kind, text))
    except sqlite3.Error as error:
        log.warning("about: %s", error)
    return count


def _highest(old: sqlite3.Connection) -> int:
    """Number of the last record as the counter says, 0 where it says nothing that can be."""
    try:
        rows = old.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchall()
        return int(rows[0][0]) if rows and 0 <= int(rows[0][0]) < FAR else 0
    except (sqlite3.Error, TypeError, ValueError):
        return 0


def _connect(path: Path) -> sqlite3.Connection | None:
    """The damaged file, with its header repaired in a copy where that is what is wrong."""
    for name in (path, _beside(path, ".repair")):
        if name != path and not _repair(path, name):
            return None
        old = sqlite3.connect(name, isolation_level=None, timeout=1.0)
        old.text_factory = lambda data: data.decode(errors="replace")
        try:
            old.execute("SELECT count(*) FROM sqlite_master").fetchall()
            return old
        except sqlite3.Error as error:
            log.warning("%s: %s", name, error)
            old.close()
    return None


def _repair(path: Path, copy: Path) -> bool:
    """A copy with the constant bytes of the header put right."""
    if path.stat().st_size > REPAIR_BYTES:
        return False
    for ending in ("", "-wal"):
        source = _beside(path, ending)
        if source.exists():
            shutil.copyfile(source, _beside(copy, ending))
    with copy.open("r+b") as file:
        for at, content in HEADER:
            file.seek(at)
            file.write(content)
    return True


def _readable(
    old: sqlite3.Connection, columns: str, table: str, key: str
) -> Iterator[tuple[Any, ...]]:
    """Rows by rising key; where a page cannot be read, on from the next that can."""
    sql = f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key}"
    at = 0
    while True:
        try:
            for row in old.execute(sql, (at,)):
                if not isinstance(row[0], int) or not at < row[0] < FAR:
                    raise sqlite3.DatabaseError(f"{table}: keys out of order after {at}")
                at = row[0]
                yield row
            return
        except sqlite3.Error as error:
            log.warning("%s after %d: %s", table, at, error)
        ahead = _next_readable(old, f"{sql} LIMIT 1", at)
        if ahead is None:
            return
        at = ahead


def _next_readable(old: sqlite3.Connection, sql: str, at: int) -> int | None:
    """The smallest key after which there is a row that can be read, or the end."""

    def is_broken(key: int) -> bool:
        try:
            rows = old.execute(sql, (key,)).fetchall()
        except sqlite3.Error:
            return True
        return bool(rows) and not (isinstance(rows[0][0], int) and key < rows[0][0] < FAR)

    step = 1
    while is_broken(at + step):
        step *= 2
        if step > FAR:
            return None
    low, high = at + step // 2, at + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_broken(middle) else (low, middle)
    return high
