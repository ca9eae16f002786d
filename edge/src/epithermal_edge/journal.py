"""The station's memory on disk: record, state and outgoing messages, in one transaction.

A power cut leaves either all of a record's traces or none. The state is a cache: when it does not
fit the model, or a byte of it has changed, it is computed again from the raw records.
"""

from __future__ import annotations

import math
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from epithermal_edge.engine import EngineState
from epithermal_edge.errors import EpithermalError
from epithermal_edge.messages import Message
from epithermal_edge.records import RawRecord
from epithermal_edge.snapshot import Part, from_parts, to_parts

FILE = "journal.sqlite3"
SCHEMA = 1  # in user_version
PAGE_BYTES = 4096
PRUNE_AT = 0.9  # of the cap: the oldest raw records make room
PRUNE_ROWS = 1000
RAW = tuple(f.name for f in fields(RawRecord))

CREATE = f"""
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE record (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  {", ".join(f"{name} REAL" for name in RAW)}
);
CREATE UNIQUE INDEX record_end_s ON record (end_s);
CREATE TABLE state (
  part TEXT PRIMARY KEY, layout TEXT NOT NULL, made_for TEXT NOT NULL,
  crc32 INTEGER NOT NULL, data BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, topic TEXT NOT NULL,
  payload BLOB NOT NULL, retain INTEGER NOT NULL, expires_s REAL
);
CREATE INDEX outbox_state ON outbox (id) WHERE kind = 'state';
PRAGMA user_version = {SCHEMA};
"""


class JournalError(EpithermalError):
    """The journal cannot be opened or written."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that waits for the broker, and its place in the queue."""

    id: int
    message: Message


class Journal:
    """The one database of a station; for one thread.

    Parameters
    ----------
    folder :
        Made when it is not there.
    max_mb :
        Cap of the database file [MB]; at nine tenths of it the oldest raw records go.

    Raises
    ------
    JournalError
        The folder or the file cannot be used, or is of a later version of the software.
    """

    def __init__(self, folder: Path, max_mb: float = 512.0) -> None:
        self.path = folder / FILE
        self._written: EngineState | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, isolation_level=None)
            self._open(int(max_mb * 1e6 / PAGE_BYTES))
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise JournalError(f"{self.path}: {reason}; check [station] state_dir") from error
        self.epoch = self._about("epoch")

    def _open(self, max_pages: int) -> None:
        self._db.text_factory = lambda data: data.decode(errors="replace")  # damage is met later
        self._db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"PRAGMA max_page_count = {max_pages}")
        self._max_pages = max_pages
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            epoch = secrets.token_hex(4)
            self._db.executescript(
                f"BEGIN IMMEDIATE;{CREATE}INSERT INTO about VALUES ('epoch', '{epoch}');COMMIT;"
            )
        elif version != SCHEMA:
            raise JournalError(
                f"{self.path}: schema {version}, this software reads {SCHEMA};"
                " update epithermal-edge or name another state_dir"
            )

    def _about(self, key: str) -> str:
        rows = self._rows("SELECT value FROM about WHERE key = ?", (key,))
        return str(rows[0][0])

    def close(self) -> None:
        """Close the file; what was committed is on disk."""
        self._db.close()

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from error

    def last_seq(self) -> int:
        """Number of the last record ever taken, 0 before the first."""
        rows = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'record'")
        return int(rows[0][0]) if rows else 0

    def kept(self, prefix: str) -> dict[str, str]:
        """What was kept under keys that begin so."""
        sql = "SELECT key, value FROM about WHERE substr(key, 1, ?) = ?"
        rows = self._rows(sql, (len(prefix), prefix))
        return {str(key): str(value) for key, value in rows}

    def keep(self, values: Mapping[str, str | None], messages: Sequence[Message] = ()) -> None:
        """Write values, delete those that are None, and post messages, in one transaction."""

        def write() -> None:
            self._keep(values)
            self._post(messages)

        self._transaction(write)

    def _keep(self, values: Mapping[str, str | None]) -> None:
        put = [(key, value) for key, value in values.items() if value is not None]
        gone = [(key,) for key, value in values.items() if value is None]
        self._db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", put)
        self._db.executemany("DELETE FROM about WHERE key = ?", gone)

    def has(self, record: RawRecord) -> bool:
        """Whether this very record was taken: the same end, counting time and counts."""
        told = (float(record.duration_s), float(record.counts))
        values = [None if math.isnan(value) else value for value in told]
        sql = "SELECT 1 FROM record WHERE end_s = ? AND duration_s IS ? AND counts IS ?"
        return bool(self._rows(sql, (record.end_s, *values)))

    def end_before(self, end_s: float) -> float:
        """End of the record before one that ends so; -inf where there is none."""
        rows = self._rows("SELECT max(end_s) FROM record WHERE end_s < ?", (end_s,))
        return -math.inf if rows[0][0] is None else float(rows[0][0])

    def knows(self, end_s: float) -> bool:
        """Whether a record with this end was taken."""
        return bool(self._rows("SELECT 1 FROM record WHERE end_s = ?", (end_s,)))

    def records(self) -> Iterator[RawRecord]:
        """The raw records that are kept, in the order of their taking."""
        for row in self._db.execute(f"SELECT {', '.join(RAW)} FROM record ORDER BY seq"):
            yield RawRecord(*(math.nan if value is None else value for value in row))

    def commit(
        self,
        seq: int,
        record: RawRecord,
        state: EngineState,
        made_for: str,
        messages: Sequence[Message],
        accepted: Sequence[int] = (),
        keep: Mapping[str, str | None] | None = None,
    ) -> None:
        """Everything that one record brought, in one transaction.

        Parameters
        ----------
        seq :
            One more than `last_seq()`.
        state :
            After the record; only what changed since the last commit is written.
        made_for :
            Fingerprint of the engine.
        accepted :
            Ids of outgoing messages that the broker has.
        keep :
            As for the method `keep`.

        Raises
        ------
        JournalError
            Nothing was written.
        """

        def write() -> None:
            values = [getattr(record, name) for name in RAW]
            marks = ", ".join("?" * (1 + len(RAW)))
            row = (seq, *(None if math.isnan(float(v)) else float(v) for v in values))
            self._db.execute(f"INSERT INTO record VALUES ({marks})", row)
            self._write_state(state, made_for)
            self._post(messages)
            self._forget(accepted)
            self._keep(keep or {})

        self._transaction(write)
        self._written = state
        if seq % PRUNE_ROWS == 0:
            self._prune()

    def store(self, state: EngineState, made_for: str, messages: Sequence[Message] = ()) -> None:
        """A whole state that was computed again, with what there is to say about it."""
        self._written = None

        def write() -> None:
            self._write_state(state, made_for)
            self._post(messages)

        self._transaction(write)
        self._written = state

    def forget(self, accepted: Sequence[int]) -> None:
        """Delete outgoing messages that the broker has."""
        if accepted:
            self._transaction(lambda: self._forget(accepted))

    def _transaction(self, write: Callable[[], object]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            write()
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise JournalError(f"{self.path}: {error}") from error

    def _forget(self, accepted: Sequence[int]) -> None:
        self._db.executemany("DELETE FROM outbox WHERE id = ?", [(i,) for i in accepted])

    def _post(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.kind == "state":
                self._db.execute("DELETE FROM outbox WHERE topic = ?", (message.topic,))
            self._db.execute(
                "INSERT INTO outbox (kind, topic, payload, retain, expires_s)"
                " VALUES (?, ?, ?, ?, ?)",
                (message.kind, message.topic, message.payload, message.retain, message.expires_s),
            )

    def _prune(self) -> None:
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        if pages - free > PRUNE_AT * self._max_pages:
            first = self._db.execute("SELECT min(seq) FROM record").fetchone()[0]
            self._transaction(
                lambda: self._db.execute(
                    "DELETE FROM record WHERE seq < ?", (first + 2 * PRUNE_ROWS,)
                )
            )

    def waiting(self) -> int:
        """Messages that the broker does not have yet."""
        return int(self._rows("SELECT count(*) FROM outbox")[0][0])

    def outgoing(self, after: int, limit: int, state: bool) -> list[Outgoing]:
        """The next messages in order.

        Parameters
        ----------
        after :
            Id of the last one that is under way.
        state :
            Only the newest values, or only the others.
        """
        which = "kind = 'state'" if state else "kind <> 'state'"
        rows = self._rows(
            "SELECT id, topic, payload, kind, retain, expires_s FROM outbox"
            f" WHERE id > ? AND {which} ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [Outgoing(i, Message(t, p, k, bool(r), e)) for i, t, p, k, r, e in rows]

    def load_state(self, made_for: str, like: EngineState) -> EngineState:
        """The state that was committed last.

        Parameters
        ----------
        made_for :
            Fingerprint of the engine that will use it.
        like :
            A state of the right shapes.

        Raises
        ------
        StateLostError
            There is none, or it does not fit; the text says why.
        """
        rows = self._rows("SELECT part, layout, made_for, crc32, CAST(data AS BLOB) FROM state")
        state = from_parts({row[0]: Part(*row[1:]) for row in rows}, made_for, like)
        self._written = state
        return state

    def _write_state(self, state: EngineState, made_for: str) -> None:
        for name, part in to_parts(state, made_for, self._written).items():
            self._db.execute(
                "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?)",
                (name, part.layout, made_for, part.crc32, part.data),
            )
