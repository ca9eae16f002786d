"""Recover from disk errors: retry, rename a damaged journal, copy its readable rows to a new one.

The new file is complete before any file is renamed, so a power cut at any moment leaves either
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

from epithermal_edge.journal.checksum import checksum
from epithermal_edge.journal.outbox import COLUMNS
from epithermal_edge.journal.rows import (
    CREATE,
    PAYLOADS,
    SCHEMA,
    SET_ASIDE,
    estimate_columns,
    is_estimate_whole,
    message_of,
    message_row,
    payload_of,
    record_columns,
    record_of,
    record_row,
)
from epithermal_edge.journal.sqlite import (
    FAULTS,
    IOERR,
    DamagedError,
    JournalError,
    UnreadableError,
    journal_error,
    sync_folder,
)

RETRY_S = 2.0  # pause before the next attempt after a disk error
LOG_EVERY = 150  # disk errors: the first and every 150th are logged
UNREADABLE_S = 3600.0  # read errors for so long mean bad sectors
DAMAGES, DAMAGES_S = 3, 600.0  # more damaged files within this time mean a failed disk
DAMAGED_FILES = 2  # the newest stay, older ones are deleted, or a bad card would fill up
FAR = 1 << 40  # above any key
REPAIR_BYTES = 1 << 26  # largest file that is copied to repair its header
HEADER = (  # constant bytes of a database header, https://www.sqlite.org/fileformat2.html
    (0, b"SQLite format 3\0\x10\x00\x02\x02\x00\x40\x20\x20"),
    (44, b"\0\0\0\x04"),
    (56, b"\0\0\0\x01"),
)

log = logging.getLogger(__name__)


class DiskErrors:
    """Recent errors of a disk; all times are monotonic [s]."""

    def __init__(self) -> None:
        self._errors = 0
        self._unreadable = (0.0, -UNREADABLE_S)  # first and last read error of a series
        self._damages: list[float] = []  # times of damaged files

    def record_error(self, error: JournalError, now: float) -> DamagedError | None:
        """Record a disk error; return the damage once read errors have lasted too long."""
        if self._errors % LOG_EVERY == 0:
            log.error("%s; retrying every %.0f s", error, RETRY_S)
        self._errors += 1
        if not isinstance(error, UnreadableError):
            return None
        first, last = self._unreadable
        self._unreadable = (first if now - last < UNREADABLE_S / 6.0 else now, now)
        if now - self._unreadable[0] <= UNREADABLE_S:
            return None
        return DamagedError(f"{error}; for {UNREADABLE_S:.0f} s")

    def clear_errors(self) -> None:
        """Reset the count of errors after a successful write."""
        if self._errors:
            log.info("the disk accepts writes again")
        self._errors = 0

    def record_damage(self, damage: DamagedError, now: float) -> bool:
        """Record a damaged file; return whether it is not the first one within DAMAGES_S.

        Raises
        ------
        JournalError
            There were too many damaged files: the disk has failed.
        """
        log.error("%s", damage)
        self._damages = [at for at in self._damages if now - at < DAMAGES_S] + [now]
        if len(self._damages) > DAMAGES:
            raise JournalError(
                f"{damage}; {len(self._damages)} times in {DAMAGES_S:.0f} s: replace the disk"
            ) from damage
        return len(self._damages) > 1


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def finish_swap(path: Path) -> None:
    """Complete a swap of files that a power cut interrupted; delete a partial salvage."""
    for ending in (".tmp", ".repair"):
        for part in ("", "-wal", "-shm", "-journal"):
            _beside(path, ending + part).unlink(missing_ok=True)
    new = _beside(path, ".new")
    if not new.exists():
        return
    aside = f".damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    for ending in ("-wal", ""):  # the WAL first: SQLite must never apply it to the new file
        damaged = _beside(path, ending)
        if damaged.exists():
            damaged.rename(_beside(path, aside + ending))
    _beside(path, "-shm").unlink(missing_ok=True)
    new.rename(path)
    sync_folder(path.parent)
    stamps = sorted({p.name.removesuffix("-wal") for p in path.parent.glob(path.name + ".dam*")})
    for name in stamps[:-DAMAGED_FILES]:
        for part in ("", "-wal"):
            path.with_name(name + part).unlink(missing_ok=True)


def salvage(
    path: Path, reason: str, on_progress: Callable[[], object], bad_sectors: bool = False
) -> None:
    """Replace a damaged journal by a new one with all rows that can be read.

    Parameters
    ----------
    reason :
        Why the file is treated as damaged; goes into the event.
    on_progress :
        Called after each row.
    bad_sectors :
        Skip what the disk cannot read; otherwise a read error is raised as temporary.

    Raises
    ------
    JournalError
        The disk is full, or cannot be read or written.
    """
    finish_swap(path)
    fresh = _beside(path, ".tmp")
    new = None
    try:
        new = sqlite3.connect(fresh, isolation_level=None)
        new.executescript(f"PRAGMA page_size = 4096; PRAGMA synchronous = FULL; BEGIN;{CREATE}")
        counts = _copy(DamagedFile(path, bad_sectors), new, on_progress)
        recovered = ", ".join(f"{number} {name}" for name, number in counts.items())
        text = f"{reason}; the journal was replaced, recovered: {recovered}"
        log.error("%s", text)
        new.execute("INSERT INTO note (kind, text) VALUES ('journal_salvaged', ?)", (text,))
        new.execute(f"PRAGMA user_version = {SCHEMA}")
        new.execute("COMMIT")
        new.close()
        fresh.rename(_beside(path, ".new"))
        sync_folder(path.parent)
        finish_swap(path)
    except (OSError, *FAULTS) as error:
        cause = journal_error(path, error)
        raise JournalError(f"{cause}; the journal is damaged and not yet salvaged", True) from error
    finally:
        if new is not None:
            new.close()


class DamagedFile:
    """A damaged journal, of which only some pages can be read."""

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
        """Return all rows of a small table; none if it cannot be read."""
        if self._db is None:
            return []
        try:
            return self._db.execute(sql).fetchall()
        except FAULTS as error:
            self._raise_temporary(error)
            log.warning("%s: %s", sql, error)
            return []

    def _raise_temporary(self, error: Exception) -> None:
        """Raise an I/O error that may be temporary; ignore any other."""
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF == IOERR and not self._bad_sectors:
            raise error

    def readable_rows(self, columns: str, table: str, key: str) -> Iterator[tuple[Any, ...]]:
        """Yield rows by rising key; skip pages that cannot be read."""
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
                self._raise_temporary(error)
                log.warning("%s after %d: %s", table, at, error)
            at = self._next_readable(f"{sql} LIMIT 1", at)

    def _next_readable(self, sql: str, at: int) -> int | None:
        """Return the smallest key after `at` from which rows can be read; None if there is none."""
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
            self._raise_temporary(error)
            return True
        return bool(rows) and not (isinstance(rows[0][0], int) and key < rows[0][0] < FAR)


def _repair(path: Path, copy: Path) -> bool:
    """Copy a file and restore the constant bytes of its header; return False if it is too large."""
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


def _copy(
    damaged: DamagedFile, new: sqlite3.Connection, on_progress: Callable[[], object]
) -> dict[str, int]:
    """Copy all readable rows into a new database and return their numbers."""
    try:
        records, last = _copy_records(damaged, new, on_progress)
        _copy_intact(damaged, new, SET_ASIDE, on_progress)
        _copy_estimates(damaged, new, on_progress)
        _copy_payloads(damaged, new, on_progress)
        messages = _copy_messages(damaged, new, on_progress)
        parts = _copy_small(damaged, new, last)
    finally:
        damaged.close()
    return {"records": records, "messages": messages, "parts of the state": parts}


def _copy_records(
    damaged: DamagedFile, new: sqlite3.Connection, on_progress: Callable[[], object]
) -> tuple[int, int]:
    """Copy the records; return their count and the highest number ever used."""
    counter = damaged.rows("SELECT seq FROM sqlite_sequence WHERE name = 'record'")
    last = counter[0][0] if counter and isinstance(counter[0][0], int) else 0
    count, highest = _copy_intact(damaged, new, "record", on_progress)
    last = max(highest, last if 0 <= last < FAR else 0)
    new.execute("DELETE FROM sqlite_sequence WHERE name = 'record'")
    new.execute("INSERT INTO sqlite_sequence VALUES ('record', ?)", (last,))
    return count, last


def _copy_intact(
    damaged: DamagedFile, new: sqlite3.Connection, table: str, on_progress: Callable[[], object]
) -> tuple[int, int]:
    """Copy the intact rows of `record` or `set_aside`; return their count and highest number."""
    names = record_columns().split(", ")
    present = {row[1] for row in damaged.rows(f"PRAGMA table_info({table})")}
    if not present:
        return 0, 0  # the file was written by an older version
    columns = ", ".join(name if name in present else f"NULL AS {name}" for name in names)
    marks = ", ".join("?" * len(names))
    sql = f"INSERT OR IGNORE INTO {table} ({record_columns()}) VALUES ({marks})"
    count = highest = 0
    for row in damaged.readable_rows(columns, table, "seq"):
        on_progress()
        record = record_of(row)
        if record is not None:
            count += new.execute(sql, record_row(row[0], record)).rowcount
            highest = max(highest, row[0])
    return count, highest


def _copy_estimates(
    damaged: DamagedFile, new: sqlite3.Connection, on_progress: Callable[[], object]
) -> None:
    """Copy the estimates."""
    columns = estimate_columns()
    marks = ", ".join("?" * len(columns.split(", ")))
    sql = f"INSERT OR IGNORE INTO estimate ({columns}) VALUES ({marks})"
    for row in damaged.readable_rows(columns, "estimate", "seq"):
        on_progress()
        if is_estimate_whole(row):
            new.execute(sql, row)


def _copy_payloads(
    damaged: DamagedFile, new: sqlite3.Connection, on_progress: Callable[[], object]
) -> None:
    """Copy the payloads for `republish`."""
    for row in damaged.readable_rows("seq, payload, crc32", PAYLOADS, "seq"):
        on_progress()
        if payload_of(row) is not None:
            new.execute(f"INSERT OR IGNORE INTO {PAYLOADS} VALUES (?, ?, ?)", row)


def _copy_messages(
    damaged: DamagedFile, new: sqlite3.Connection, on_progress: Callable[[], object]
) -> int:
    """Copy the outbox; return the number of messages."""
    count = 0
    insert = f"INSERT INTO outbox ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
    for row in damaged.readable_rows(f"id, {COLUMNS}", "outbox", "id"):
        on_progress()
        message = message_of(row[1:])
        if message is None:
            continue
        if message.kind.newest_only:
            new.execute("DELETE FROM outbox WHERE topic = ?", (message.topic,))
        new.execute(insert, message_row(message))
        count += 1
    return count


def _copy_small(damaged: DamagedFile, new: sqlite3.Connection, last: int) -> int:
    """Copy state, counters and notes; a state that does not fit is rejected by `load_state`."""
    parts = damaged.rows("SELECT part, layout, made_for, crc32, data FROM state")
    new.executemany("INSERT OR IGNORE INTO state VALUES (?, ?, ?, ?, ?)", parts)
    intact = [
        row
        for row in damaged.rows("SELECT key, value, crc32 FROM about")
        if row[2] == checksum(row[0], row[1])
    ]
    about = {key: value for key, value, _ in intact} | {
        "epoch": secrets.token_hex(4),
        "schema": str(SCHEMA),
        "base": str(last),
        "salvaged": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    rows = [(key, value, checksum(key, value)) for key, value in about.items()]
    new.executemany("INSERT OR REPLACE INTO about VALUES (?, ?, ?)", rows)
    notes = damaged.rows("SELECT kind, text FROM note")
    new.executemany("INSERT OR IGNORE INTO note (kind, text) VALUES (?, ?)", notes)
    return len(parts)
