"""The journal's file: opened so that a commit survives the power, its faults told apart.

A fault may pass (disk full, read-only, an I/O error: try again), or the file is damaged (set it
aside), or somebody must act (a later software's file, a folder that is none).
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
BUSY_S = 1.0  # another process may read, as `status` does
CHECK_S = 4.0  # how long the look at every page may take at start
WAL_PAGES = 250  # when it is emptied: it must not itself be what fills a small disk
NEAR_PAGES = 64  # what one record may need at most

# SQLite's result codes, https://www.sqlite.org/rescode.html
FULL, INTERRUPTED = 13, 9
PASSING = frozenset({3, 5, 6, 7, 8, 10, 13, 14, 15})  # perm busy locked nomem readonly ioerr full
IOERR, SHORT_READ = 10, 522  # a file that is too short is damaged, not the disk
UNREADABLE = frozenset({266, 8458})  # ioerr: read, corrupt file system
PASSING_OS = frozenset(
    {errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENODEV}
)

FAULTS = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises; the latter where damage is in the names that its message tells."""

log = logging.getLogger(__name__)


class JournalError(EpithermalError):
    """The journal cannot be opened or written.

    Parameters
    ----------
    text :
        One line for the user.
    passing :
        Whether it may pass by itself, as a full disk does.
    """

    def __init__(self, text: str, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class FullError(JournalError):
    """No room, on the disk or below the cap; nothing was written."""


class UnreadableError(JournalError):
    """The disk cannot read; it may pass, or be a bad sector."""


class DamagedError(JournalError):
    """The file is not what was written: set it aside and go on with what is readable."""


def fault(path: Path, error: OSError | sqlite3.Error | UnicodeDecodeError) -> JournalError:
    """What an error of the system means."""
    if isinstance(error, OSError):
        text = f"{path}: {error.strerror or error}; check [station] state_dir"
        return JournalError(text, error.errno in PASSING_OS)
    if isinstance(error, UnicodeDecodeError):
        return DamagedError(f"{path}: {error.object.decode(errors='backslashreplace')}")
    code = getattr(error, "sqlite_errorcode", None)
    text = f"{path}: {error}"
    if code is None:  # a closed database, a wrong type: the software's own
        return JournalError(text)
    if code & 0xFF == FULL:
        return FullError(text, passing=True)
    if code in UNREADABLE:
        return UnreadableError(text, passing=True)
    if code & 0xFF in PASSING and code != SHORT_READ:
        return JournalError(f"{text}; check [station] state_dir", passing=True)
    return DamagedError(text)


class Database:
    """One SQLite file in WAL mode with synchronous=FULL; for one thread.

    Parameters
    ----------
    path :
        Made when it is not there.
    max_pages :
        Cap of the file: on a full disk WAL mode cannot even delete.

    Raises
    ------
    JournalError
        The file cannot be used; DamagedError where its content is the reason.
    """

    def __init__(self, path: Path, max_pages: int) -> None:
        self.path = path
        try:
            is_new = not path.exists()
            self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
        except (OSError, *FAULTS) as error:
            raise fault(path, error) from error
        self._db.text_factory = lambda data: data.decode(errors="replace")  # damage is met later
        try:
            self.rows(f"PRAGMA page_size = {PAGE_BYTES}")
            self.rows("PRAGMA journal_mode = WAL")
            self.rows("PRAGMA synchronous = FULL")
            self.rows(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
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
        """All rows of one statement."""
        try:
            return self._db.execute(sql, values).fetchall()
        except FAULTS as error:
            raise fault(self.path, error) from error

    def many(self, sql: str, values: Sequence[Sequence[object]]) -> None:
        """One statement for each group of values; inside `transaction`."""
        self._db.executemany(sql, values)

    def insert(self, table: str, columns: str, row: Sequence[object]) -> None:
        """One row; inside `transaction`."""
        marks = ", ".join("?" * len(row))
        self._db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row)

    def cursor(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """A statement whose faults the caller meets as sqlite3.Error; inside `transaction`."""
        return self._db.execute(sql, values)

    def transaction(self, write: Callable[[], object]) -> None:
        """All that `write` does, or nothing.

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
                raise fault(self.path, error) from error
            raise

    def shrink(self) -> bool:
        """Empty the WAL into the database, which leaves room on a full disk; whether it could."""
        try:
            return bool(self.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0)
        except JournalError as error:
            log.debug("the WAL cannot be emptied: %s", error)
            return False

    def is_near_cap(self) -> bool:
        """Whether the cap, not the disk, is what a record does not fit below."""
        return self.used_pages() + NEAR_PAGES > self.max_pages

    def used_pages(self) -> int:
        """Pages that hold something."""
        pages, free = (
            int(self.rows(f"PRAGMA {name}")[0][0]) for name in ("page_count", "freelist_count")
        )
        return pages - free

    def check(self) -> None:
        """Look at every page, for CHECK_S at most.

        Raises
        ------
        DamagedError
            A page or an index is not as it must be.
        """
        until = time.monotonic() + CHECK_S
        self._db.set_progress_handler(lambda: time.monotonic() > until, 20_000)
        try:
            found = self._db.execute("PRAGMA integrity_check(1)").fetchall()
        except FAULTS as error:
            if getattr(error, "sqlite_errorcode", None) != INTERRUPTED:
                raise fault(self.path, error) from error
            log.info("%s is large: not all of it was checked", self.path)
            return
        finally:
            self._db.set_progress_handler(None, 0)
        if found != [("ok",)]:
            text = str(found[0][0]).splitlines()[-1] if found else "no answer"
            raise DamagedError(f"{self.path}: {text}")


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive the power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_folder(folder: Path) -> int | None:
    """Keep every other station off a folder for as long as this process lives.

    Returns
    -------
    int | None
        The descriptor that holds the lock; None where the disk refuses, for now.

    Raises
    ------
    JournalError
        Another process has it, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        found = fault(folder, error)
        if found.passing:
            return None
        raise found from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        text = f"{folder}: another process has it; stop it, or name another [station] state_dir"
        raise JournalError(text) from error
    return descriptor


class Mark:
    """Number of the last record, beside the database and without waiting for the disk.

    A database can lose its newest commits whole, as with a truncated WAL or a card restored from
    an image, and be sound. Numbers that were told must not be given again: the mark shows it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[str, int]:
        """Epoch and number; "" and 0 where there is none that can be read."""
        try:
            epoch, seq = self._path.read_text("ascii").split()
            return epoch, int(seq)
        except (OSError, ValueError):
            return "", 0

    def write(self, epoch: str, seq: int) -> None:
        """Best effort: a mark that is behind says nothing wrong."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(descriptor, f"{epoch} {seq:019d}\n".encode("ascii"), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.debug("%s: %s", self._path, error)
