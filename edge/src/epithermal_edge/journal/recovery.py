"""Recover from a disk that fails: wait for it, set a damaged journal aside, copy what is readable.

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

from epithermal_edge.journal.outbox import COLUMNS
from epithermal_edge.journal.rows import (
    CREATE,
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
    told_of,
)
from epithermal_edge.journal.sqlite import (
    FAULTS,
    IOERR,
    DamagedError,
    JournalError,
    UnreadableError,
    fault,
    sync_folder,
)

RETRY_S = 2.0  # before a disk that refused is asked again
TELL_EACH = 150  # refusals of the disk: the first and each so many is logged
UNREADABLE_S = 3600.0  # a disk that cannot read for so long has bad sectors
DAMAGES, DAMAGES_S = 3, 600.0  # so many damaged files in so long a time are the disk's end
KEPT_ASIDE = 2  # older ones are deleted: a bad card must not fill itself
FAR = 1 << 40  # no key is so large
REPAIR_BYTES = 1 << 26  # a header is repaired in a copy no larger than this
HEADER = (  # bytes of a database header that never differ, https://www.sqlite.org/fileformat2.html
    (0, b"SQLite format 3\0\x10\x00\x02\x02\x00\x40\x20\x20"),
    (44, b"\0\0\0\x04"),
    (56, b"\0\0\0\x01"),
)

log = logging.getLogger(__name__)


class DiskTrouble:
    """What was met of a disk; all times are monotonic [s]."""

    def __init__(self) -> None:
        self._refusals = 0
        self._unreadable = (0.0, -UNREADABLE_S)  # since when, and when last
        self._damages: list[float] = []  # when a damaged file was met

    def refused(self, error: JournalError, now: float) -> DamagedError | None:
        """A passing refusal; the damage that it is where it lasts for too long."""
        if self._refusals % TELL_EACH == 0:
            log.error("%s; again each %.0f s", error, RETRY_S)
        self._refusals += 1
        if not isinstance(error, UnreadableError):
            return None
        first, last = self._unreadable
        self._unreadable = (first if now - last < UNREADABLE_S / 6.0 else now, now)
        if now - self._unreadable[0] <= UNREADABLE_S:
            return None
        return DamagedError(f"{error}; for {UNREADABLE_S:.0f} s")

    def well(self) -> None:
        """The disk took something."""
        if self._refusals:
            log.info("the disk takes records again")
        self._refusals = 0

    def damaged(self, damage: DamagedError, now: float) -> bool:
        """A file is not what was written; whether it was so before, a short while ago.

        Raises
        ------
        JournalError
            So often that another file would be no better.
        """
        log.error("%s", damage)
        self._damages = [at for at in self._damages if now - at < DAMAGES_S] + [now]
        if len(self._damages) > DAMAGES:
            raise JournalError(f"{damage}; again and again: replace the disk") from damage
        return len(self._damages) > 1


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


def rescue(path: Path, reason: str, beat: Callable[[], object], bad_sectors: bool = False) -> None:
    """Put a new journal in the damaged one's place.

    Parameters
    ----------
    reason :
        Why it is taken for damaged; told.
    beat :
        Called again and again: there is progress.
    bad_sectors :
        Do without what the disk cannot read; else that is taken to pass.

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
        counts = _copy(Old(path, bad_sectors), new, beat)
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
    except (OSError, *FAULTS) as error:
        found = fault(path, error)
        raise JournalError(f"{found}; it is damaged and waits for its rescue", True) from error
    finally:
        if new is not None:
            new.close()


class Old:
    """The damaged file, read where it can be."""

    def __init__(self, path: Path, bad_sectors: bool) -> None:
        self._bad_sectors = bad_sectors
        self._db: sqlite3.Connection | None = None
        for name in (path, _beside(path, ".repair")):
            if name != path and not _repair(path, name):
                return
            self._db = sqlite3.connect(name, isolation_level=None, timeout=1.0)
            self._db.text_factory = lambda data: data.decode(errors="replace")
            if self.rows("SELECT count(*) FROM sqlite_master"):
                return
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small table, none where it cannot be read."""
        if self._db is None:
            return []
        try:
            return self._db.execute(sql).fetchall()
        except FAULTS as error:
            self._skip(error)
            log.warning("%s: %s", sql, error)
            return []

    def _skip(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF == IOERR and not self._bad_sectors:
            raise error

    def readable(self, columns: str, table: str, key: str) -> Iterator[tuple[Any, ...]]:
        """Rows by rising key; where a page cannot be read, on from the next that can."""
        sql = f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key}"
        at: int | None = 0
        while at is not None and self._db is not None:
            try:
                for row in self._db.execute(sql, (at,)):
                    if not isinstance(row[0], int) or not at < row[0] < FAR:
                        raise sqlite3.DatabaseError(f"{table}: keys out of order after {at}")
                    at = row[0]
                    yield row
                return
            except FAULTS as error:
                self._skip(error)
                log.warning("%s after %d: %s", table, at, error)
            at = self._next_readable(f"{sql} LIMIT 1", at)

    def _next_readable(self, sql: str, at: int) -> int | None:
        """The smallest key after which there is a row that can be read, or the end."""
        step = 1
        while self._is_broken(sql, at + step):
            step *= 2
            if step > FAR:
                return None
        low, high = at + step // 2, at + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._is_broken(sql, middle) else (low, middle)
        return high

    def _is_broken(self, sql: str, key: int) -> bool:
        assert self._db is not None
        try:
            rows = self._db.execute(sql, (key,)).fetchall()
        except FAULTS as error:
            self._skip(error)
            return True
        return bool(rows) and not (isinstance(rows[0][0], int) and key < rows[0][0] < FAR)


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


def _copy(old: Old, new: sqlite3.Connection, beat: Callable[[], object]) -> dict[str, int]:
    """What can be read, into a new database; how much it was."""
    try:
        records, last = _copy_records(old, new, beat)
        _copy_estimates(old, new, beat)
        _copy_told(old, new, beat)
        messages = _copy_messages(old, new, beat)
        parts = _copy_small(old, new, last)
    finally:
        old.close()
    return {"records": records, "messages": messages, "parts of the state": parts}


def _copy_records(old: Old, new: sqlite3.Connection, beat: Callable[[], object]) -> tuple[int, int]:
    """How many, and the highest number that was given."""
    there = {row[1] for row in old.rows("PRAGMA table_info(record)")}
    names = record_columns().split(", ")
    columns = ", ".join(name if name in there else f"NULL AS {name}" for name in names)
    marks = ", ".join("?" * (2 + len(RAW)))
    counter = old.rows("SELECT seq FROM sqlite_sequence WHERE name = 'record'")
    last = counter[0][0] if counter and isinstance(counter[0][0], int) else 0
    count, last = 0, last if 0 <= last < FAR else 0
    for row in old.readable(columns, "record", "seq"):
        beat()
        record = record_of(row)
        if record is not None:
            sql = f"INSERT OR IGNORE INTO record ({record_columns()}) VALUES ({marks})"
            count += new.execute(sql, record_row(row[0], record)).rowcount
            last = max(last, row[0])
    new.execute("DELETE FROM sqlite_sequence WHERE name = 'record'")
    new.execute("INSERT INTO sqlite_sequence VALUES ('record', ?)", (last,))
    return count, last


def _copy_estimates(old: Old, new: sqlite3.Connection, beat: Callable[[], object]) -> None:
    """What was told of the records that are kept."""
    columns = estimate_columns()
    marks = ", ".join("?" * len(columns.split(", ")))
    sql = f"INSERT OR IGNORE INTO estimate ({columns}) VALUES ({marks})"
    for row in old.readable(columns, "estimate", "seq"):
        beat()
        if is_estimate_whole(row):
            new.execute(sql, row)


def _copy_told(old: Old, new: sqlite3.Connection, beat: Callable[[], object]) -> None:
    """Payloads to be said again."""
    for row in old.readable("seq, payload, crc32", "told", "seq"):
        beat()
        if told_of(row) is not None:
            new.execute("INSERT OR IGNORE INTO told VALUES (?, ?, ?)", row)


def _copy_messages(old: Old, new: sqlite3.Connection, beat: Callable[[], object]) -> int:
    count = 0
    insert = f"INSERT INTO outbox ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
    for row in old.readable(f"id, {COLUMNS}", "outbox", "id"):
        beat()
        message = message_of(row[1:])
        if message is None:
            continue
        if message.kind.newest_only:
            new.execute("DELETE FROM outbox WHERE topic = ?", (message.topic,))
        new.execute(insert, message_row(message))
        count += 1
    return count


def _copy_small(old: Old, new: sqlite3.Connection, last: int) -> int:
    """State, counters and notes; a state that does not fit is met when it is loaded."""
    parts = old.rows("SELECT part, layout, made_for, crc32, data FROM state")
    new.executemany("INSERT OR IGNORE INTO state VALUES (?, ?, ?, ?, ?)", parts)
    kept = [
        row
        for row in old.rows("SELECT key, value, crc32 FROM about")
        if row[2] == checksum(row[0], row[1])
    ]
    about = {key: value for key, value, _ in kept} | {
        "epoch": secrets.token_hex(4),
        "schema": str(SCHEMA),
        "base": str(last),
        "salvaged": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    rows = [(key, value, checksum(key, value)) for key, value in about.items()]
    new.executemany("INSERT OR REPLACE INTO about VALUES (?, ?, ?)", rows)
    notes = old.rows("SELECT kind, text FROM note")
    new.executemany("INSERT OR IGNORE INTO note (kind, text) VALUES (?, ?)", notes)
    return len(parts)
