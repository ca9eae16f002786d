"""Open the journal's SQLite file so that commits survive a power cut, and classify its errors.

An error is temporary (disk full, read-only, I/O error: retry), or the file is damaged (replace it),
or the user must act (a file of another version, a path that is not a folder).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from epithermal_edge.errors import EpithermalError

PAGE_BYTES = 4096
BUSY_S = 1.0  # longest wait for another process, such as `status`
CHECK_S = 4.0  # time limit of the integrity check at start
WAL_PAGES = 250  # checkpoint above: a large WAL could fill a small disk
WAL_BYTES = 4 * WAL_PAGES * PAGE_BYTES  # cut to this once a long reader has gone
NEAR_PAGES = 64  # most pages that one record needs

# SQLite's result codes, https://www.sqlite.org/rescode.html
FULL, INTERRUPTED = 13, 9
PASSING = frozenset({3, 5, 6, 7, 8, 10, 13, 14, 15})  # perm busy locked nomem readonly ioerr full
IOERR, SHORT_READ = 10, 522  # a short read means a truncated file, not a disk error
UNREADABLE = frozenset({266, 8458})  # ioerr: read, corrupt file system
PASSING_OS = frozenset(
    {errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENODEV}
)

FAULTS = (sqlite3.Error, UnicodeDecodeError)
"""Exceptions of sqlite3; the latter comes from a message that quotes a damaged name."""

log = logging.getLogger(__name__)


class JournalError(EpithermalError):
    """The journal cannot be opened or written.

    Parameters
    ----------
    text :
        One line for the user.
    passing :
        Whether the error is temporary, such as a full disk.
    """

    def __init__(self, text: str, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class FullError(JournalError):
    """The disk or the journal is full; nothing was written."""


class UnreadableError(JournalError):
    """The disk cannot be read; the cause is temporary, or a bad sector."""


class DamagedError(JournalError):
    """The file has changed on the disk: replace it by a new one with its readable rows."""


def journal_error(path: Path, error: OSError | sqlite3.Error | UnicodeDecodeError) -> JournalError:
    """Return the journal error for an error of the system or of SQLite."""
    if isinstance(error, OSError):
        text = f"{path}: {error.strerror or error}; check [station] state_dir"
        return JournalError(text, error.errno in PASSING_OS)
    if isinstance(error, UnicodeDecodeError):
        return DamagedError(f"{path}: {error.object.decode(errors='backslashreplace')}")
    code = getattr(error, "sqlite_errorcode", None)
    text = f"{path}: {error}"
    if code is None:  # a closed database, a wrong type: an error of this software
        return JournalError(text)
    if code & 0xFF == FULL:
        return FullError(text, passing=True)
    if code in UNREADABLE:
        return UnreadableError(text, passing=True)
    if code & 0xFF in PASSING and code != SHORT_READ:
        return JournalError(f"{text}; check [station] state_dir", passing=True)
    return DamagedError(text)


class Database:
    """A SQLite file in WAL mode with synchronous=FULL, to be used by one thread.

    Parameters
    ----------
    path :
        The file; created if it does not exist.
    max_pages :
        Cap of the file, below the size of the disk: on a full disk WAL mode cannot even delete.

    Raises
    ------
    JournalError
        The file cannot be used; DamagedError if its content is the reason.
    """

    def __init__(self, path: Path, max_pages: int) -> None:
        self.path = path
        try:
            is_new = not path.exists()
            self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
        except (OSError, *FAULTS) as error:
            raise journal_error(path, error) from error
        # checksums detect damaged text later
        self._db.text_factory = lambda data: data.decode(errors="replace")
        try:
            self.rows(f"PRAGMA page_size = {PAGE_BYTES}")
            self.rows("PRAGMA journal_mode = WAL")
            self.rows("PRAGMA synchronous = FULL")
            self.rows(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            self.rows(f"PRAGMA journal_size_limit = {WAL_BYTES}")
            self.max_pages = int(self.rows(f"PRAGMA max_page_count = {max_pages}")[0][0])
            if is_new:
                sync_folder(path.parent)
        except JournalError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file; what was committed is on disk."""
        self._db.close()

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement and return all its rows."""
        try:
            return self._db.execute(sql, values).fetchall()
        except FAULTS as error:
            raise journal_error(self.path, error) from error

    def execute_many(self, sql: str, values: Sequence[Sequence[object]]) -> None:
        """Execute a statement for each tuple of values; call inside `transaction`."""
        self._db.executemany(sql, values)

    def insert(self, table: str, columns: str, row: Sequence[object]) -> None:
        """Insert a row; call inside `transaction`."""
        marks = ", ".join("?" * len(row))
        self._db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row)

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Execute a statement; call inside `transaction`, which converts a sqlite3.Error."""
        return self._db.execute(sql, values)

    def transaction(self, write: Callable[[], object]) -> None:
        """Call `write` in one transaction; roll back if it fails.

        Raises
        ------
        JournalError
            Nothing was written.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            write()
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, FAULTS):
                raise journal_error(self.path, error) from error
            raise

    def empty_wal(self) -> bool:
        """Move the WAL into the database to free space on a full disk; return whether it worked."""
        try:
            return bool(self.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0)
        except JournalError as error:
            log.debug("the WAL cannot be checkpointed: %s", error)
            return False

    def is_near_cap(self) -> bool:
        """Return whether a record may not fit below the cap."""
        return self.used_pages() + NEAR_PAGES > self.max_pages

    def used_pages(self) -> int:
        """Return the number of pages in use."""
        pages, free = (
            int(self.rows(f"PRAGMA {name}")[0][0]) for name in ("page_count", "freelist_count")
        )
        return pages - free

    def check(self) -> None:
        """Check the integrity of every page, for CHECK_S at most.

        Raises
        ------
        DamagedError
            A page or an index is damaged.
        """
        until = time.monotonic() + CHECK_S
        self._db.set_progress_handler(lambda: time.monotonic() > until, 20_000)
        try:
            found = self._db.execute("PRAGMA integrity_check(1)").fetchall()
        except FAULTS as error:
            if getattr(error, "sqlite_errorcode", None) != INTERRUPTED:
                raise journal_error(self.path, error) from error
            log.info("%s is large: only a part of it was checked", self.path)
            return
        finally:
            self._db.set_progress_handler(None, 0)
        if found != [("ok",)]:
            text = str(found[0][0]).splitlines()[-1] if found else "no answer"
            raise DamagedError(f"{self.path}: {text}")


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to disk, so that they survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_folder(folder: Path) -> int | None:
    """Lock a folder against other processes for the lifetime of this one.

    Returns
    -------
    int | None
        Descriptor that holds the lock; None after a temporary disk error.

    Raises
    ------
    JournalError
        Another process holds the lock, or the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        cause = journal_error(folder, error)
        if cause.passing:
            return None
        raise cause from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        text = f"{folder}: in use by another process; stop it, or set another [station] state_dir"
        raise JournalError(text) from error
    return descriptor


class Mark:
    """File beside the database with the number of the last record, written without fsync.

    A database that loses its newest commits, by a truncated WAL or a card restored from an image,
    can still be intact. The mark reveals the loss, so that published numbers are not used again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[str, int]:
        """Return epoch and number; "" and 0 if the file is missing or damaged."""
        try:
            epoch, seq = self._path.read_text("ascii").split()
            return epoch, int(seq)
        except (OSError, ValueError):
            return "", 0

    def write(self, epoch: str, seq: int) -> None:
        """Write the mark if the disk allows it; an old mark does no harm."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(descriptor, f"{epoch} {seq:019d}\n".encode("ascii"), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.debug("%s: %s", self._path, error)
