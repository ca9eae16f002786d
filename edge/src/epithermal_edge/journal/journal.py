"""The station's memory on disk: record, state and outgoing messages, in one transaction.

A power cut leaves either all of a record's traces or none. The state is a cache: when it does not
fit the model, or a byte of it has changed, it is computed again from the raw records. When there
is no more room, rows go by class (`room.CLASSES`); what is to be told of theta never does.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from epithermal_edge.inference.engine import EngineState
from epithermal_edge.inference.snapshot import Part, StateLostError, binding, from_parts, to_parts
from epithermal_edge.journal import pruning as room
from epithermal_edge.journal import recovery
from epithermal_edge.journal.metadata import About
from epithermal_edge.journal.outbox import Outbox, Outgoing
from epithermal_edge.journal.rows import (
    estimate_columns,
    record_columns,
    record_of,
    record_row,
    told_of,
    told_row,
)
from epithermal_edge.journal.sqlite import (
    PAGE_BYTES,
    DamagedError,
    Database,
    FullError,
    JournalError,
    Mark,
    fault,
)
from epithermal_edge.messages.message import Message
from epithermal_edge.messages.topics import OBS_THETA
from epithermal_edge.records import RawRecord

__all__ = ["FILE", "DamagedError", "Journal", "JournalError", "Outgoing"]

FILE = "journal.sqlite3"
MARK = "journal.mark"
BATCH = 500  # records read at once
TOLD = (  # payloads that can be published again
    "FROM told JOIN record USING (seq)"
    " WHERE told.seq > ? AND told.seq <= ? AND end_s > ? AND end_s <= ?"
)
WHOLE = "whole"  # part of the state that says which record it belongs to

log = logging.getLogger(__name__)


class Journal:
    """The one database of a station; for one thread.

    A damaged file is set aside and replaced by one with what is readable of it.

    Parameters
    ----------
    folder :
        Made when it is not there.
    max_mb :
        Cap of the database file [MB]; at nine tenths of it the oldest raw records go.
    beat :
        Called again and again while a damaged file is read.
    suspect :
        Why the file that is there must be taken for damaged, though it looks sound.

    Raises
    ------
    JournalError
        The folder or the file cannot be used, or is of a later version of the software.
    """

    def __init__(
        self,
        folder: Path,
        max_mb: float = 512.0,
        beat: Callable[[], object] = lambda: None,
        suspect: str | None = None,
    ) -> None:
        self.path = folder / FILE
        self._mark = Mark(folder / MARK)
        self._max_pages = int(max_mb * 1e6 / PAGE_BYTES)
        self._written: EngineState | None = None
        self._sums: dict[str, int] = {}  # checksum of each part of the state
        self.last_error: str | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            recovery.finish(self.path)
        except OSError as error:
            raise fault(self.path, error) from error
        try:
            if suspect is not None:
                raise DamagedError(f"{self.path}: {suspect}")
            self._open()
        except DamagedError as damage:
            recovery.rescue(self.path, str(damage), beat, bad_sectors=suspect is not None)
            self._open()

    @property
    def has_notes(self) -> bool:
        """Whether `tell` has something to tell."""
        return self._about.has_notes

    def _open(self) -> None:
        self._db = Database(self.path, self._max_pages)
        try:
            self._about = About(self._db)
            self._about.prepare()
            self._outbox = Outbox(self._db, self._about)
            self._db.check()
            self.epoch = self._about.get("epoch")
            self.base = int(self._about.get("base"))  # records of earlier epochs
            self._heed_mark()
        except JournalError:
            self._db.close()
            raise

    def _heed_mark(self) -> None:
        """Where the newest commits are gone, their numbers are not given again."""
        epoch, told = self._mark.read()
        last = self.last_seq()
        if epoch != self.epoch or told <= last:
            return
        text = f"the last {told - last} records were lost on the disk; the numbers begin again"
        log.error("%s: %s", self.path, text)
        epoch = secrets.token_hex(4)

        def write() -> None:
            self._about.put(epoch=epoch, base=str(last))
            self._about.note("journal_salvaged", text)

        self._db.transaction(write)
        self.epoch, self.base = epoch, last

    def close(self) -> None:
        """Close the file; what was committed is on disk."""
        self._db.close()

    def commit(
        self,
        seq: int,
        record: RawRecord,
        state: EngineState,
        made_for: str,
        messages: Sequence[Message],
        accepted: Sequence[int] = (),
        lost: int = 0,
        estimate: Sequence[object] = (),
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
        lost :
            Records before this one that found no room in memory while the disk refused.
        estimate :
            What was told of it, as `rows.estimate_row` gives it.
        keep :
            As for the method `keep`.

        Raises
        ------
        JournalError
            Nothing was written.
        """
        sums: dict[str, int] = {}

        def write() -> None:
            self._db.insert("record", record_columns(), record_row(seq, record))
            if estimate:
                self._db.insert("estimate", estimate_columns(), estimate)
            told = [
                told_row(seq, message.payload) for message in messages if message.kind == OBS_THETA
            ]
            self._db.many("INSERT OR REPLACE INTO told VALUES (?, ?, ?)", told)
            sums.update(self._write_state(seq, state, made_for))
            self._outbox.post(messages)
            self._outbox.forget(accepted)
            self._about.keep(keep or {})
            if lost:
                self._about.count("memory", lost)

        self._transaction(write)
        self._written, self._sums = state, sums
        self._mark.write(self.epoch, seq)
        if seq % room.PRUNE_ROWS == 0:
            room.prune(self._db, self._about)

    def store(self, state: EngineState, made_for: str, messages: Sequence[Message] = ()) -> None:
        """A whole state that was computed again, with what there is to say about it."""
        self._written, self._sums = None, {}
        seq = self.last_seq()
        sums: dict[str, int] = {}

        def write() -> None:
            self._db.cursor("DELETE FROM state")
            sums.update(self._write_state(seq, state, made_for))
            self._outbox.post(messages)

        self._transaction(write)
        self._written, self._sums = state, sums

    def keep(self, values: Mapping[str, str | None], messages: Sequence[Message] = ()) -> None:
        """Write values, delete those that are None, and post messages, in one transaction."""

        def write() -> None:
            self._about.keep(values)
            self._outbox.post(messages)

        self._transaction(write)

    def post(self, messages: Sequence[Message]) -> None:
        """Add outgoing messages that belong to no record."""
        self._transaction(lambda: self._outbox.post(messages))

    def forget(self, accepted: Sequence[int]) -> None:
        """Delete outgoing messages that the broker has."""
        if accepted:
            self._transaction(lambda: self._outbox.forget(accepted))

    def tell(self, message: Callable[[str, str], Message]) -> None:
        """Put what happened to the journal into the outbox, each thing once; `message` makes one
        of a kind and a text.
        """

        def write() -> None:
            notes = self._about.notes()
            if notes:
                self._outbox.post([message(kind, text) for kind, text in notes])
                self._about.strike()

        self._about.has_notes = False
        try:
            self._transaction(write)
        except JournalError:
            self._about.has_notes = True
            raise

    def _transaction(self, write: Callable[[], object]) -> None:
        """One transaction; where there is no room for it, rows of less worth make some."""
        shrunk = False
        try:
            while True:
                try:
                    self._db.transaction(write)
                    break
                except FullError:
                    if self._db.is_near_cap() and room.make(self._db, self._about):
                        continue
                    if shrunk or not self._db.shrink():
                        raise
                    shrunk = True
        except JournalError as error:
            self.last_error = str(error)
            raise
        self.last_error = None

    def waiting(self) -> int:
        """Messages that the broker does not have yet."""
        return self._outbox.waiting()

    def outgoing(self, after: int, limit: int, newest: bool) -> list[Outgoing]:
        """The next messages in order; one that is damaged on the disk is dropped and told.

        Parameters
        ----------
        after :
            Id of the last one that is under way.
        newest :
            Only the newest values, or only the others.
        """
        sound, damaged = self._outbox.next(after, limit, newest)
        if damaged:
            self._transaction(lambda: self._outbox.drop(damaged))
        return sound

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
        rows = self._db.rows("SELECT part, layout, made_for, crc32, CAST(data AS BLOB) FROM state")
        parts = {row[0]: Part(*row[1:]) for row in rows}
        state = from_parts(parts, made_for, like)
        whole = parts.pop(WHOLE, None)
        sums = {name: part.crc32 for name, part in parts.items()}
        if whole is None or (whole.layout, whole.crc32) != binding(self.last_seq(), sums):
            raise StateLostError("state: is not that of the last record")
        self._written, self._sums = state, sums
        return state

    def _write_state(self, seq: int, state: EngineState, made_for: str) -> Mapping[str, int]:
        """Inside a transaction: the parts that changed; checksums of all."""
        parts = to_parts(state, made_for, self._written)
        sums = self._sums | {name: part.crc32 for name, part in parts.items()}
        rows = [(name, p.layout, made_for, p.crc32, p.data) for name, p in parts.items()]
        layout, crc32 = binding(seq, sums)
        rows.append((WHOLE, layout, made_for, crc32, b""))
        self._db.many("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?)", rows)
        return sums

    def health(self) -> dict[str, object]:
        """How full it is, what waits, what was dropped.

        Raises
        ------
        JournalError
            It cannot be read.
        """
        kept = self._db.rows("SELECT coalesce(max(seq) - min(seq) + 1, 0) FROM record")[0][0]
        files = [self.path, self.path.with_name(FILE + "-wal")]
        return {
            "records": kept,
            "waiting": self.waiting(),
            "oldest_waiting": self._outbox.oldest(),
            "bytes": sum(file.stat().st_size for file in files if file.exists()),
            "max_bytes": self._db.max_pages * PAGE_BYTES,
            "dropped": self._about.dropped(),
            "salvaged": self._about.get("salvaged", "") or None,
            "writable": self.last_error is None,
            "last_error": self.last_error,
        }

    def last_seq(self) -> int:
        """Number of the last record ever taken, 0 before the first."""
        rows = self._db.rows(
            "SELECT max((SELECT coalesce(max(seq), 0) FROM record),"
            " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'record'), 0))"
        )
        return int(rows[0][0])

    def has(self, record: RawRecord) -> bool:
        """Whether this very record was taken: the same end, counting time and counts."""
        told = (float(record.duration_s), float(record.counts))
        values = [None if math.isnan(value) else value for value in told]
        sql = "SELECT 1 FROM record WHERE end_s = ? AND duration_s IS ? AND counts IS ?"
        return bool(self._db.rows(sql, (record.end_s, *values)))

    def knows(self, end_s: float) -> bool:
        """Whether a record with this end was taken; one older than the oldest kept counts so."""
        if end_s <= float(self._about.get(room.PRUNED_TO, "-inf")):
            return True
        return bool(self._db.rows("SELECT 1 FROM record WHERE end_s = ?", (end_s,)))

    def end_before(self, end_s: float) -> float:
        """End of the record before one that ends so [s, Unix time]; -inf where there is none."""
        rows = self._db.rows("SELECT max(end_s) FROM record WHERE end_s < ?", (end_s,))
        return -math.inf if rows[0][0] is None else float(rows[0][0])

    def newest_end_s(self) -> float:
        """The latest end of a record [s, Unix time]; -inf where there is none."""
        return self.end_before(math.inf)

    def records(self) -> Iterator[RawRecord]:
        """The raw records that are kept, in the order of their taking; damaged rows are told."""
        sql = f"SELECT {record_columns()} FROM record WHERE seq > ? ORDER BY seq LIMIT ?"
        at, damaged = -1, 0
        while rows := self._db.rows(sql, (at, BATCH)):
            for row in rows:
                record = record_of(row)
                damaged += record is None
                if record is not None:
                    yield record
            at = rows[-1][0]
        if damaged:
            text = f"{damaged} raw records are damaged on the disk and were not used"
            self._db.transaction(lambda: self._about.note("journal_salvaged", text))

    def count_told(self, after: int, last: int, from_s: float, to_s: float) -> int:
        """How many records `told` would give."""
        return int(self._db.rows(f"SELECT count(*) {TOLD}", (after, last, from_s, to_s))[0][0])

    def told(
        self, after: int, last: int, from_s: float, to_s: float, limit: int
    ) -> list[tuple[int, bytes | None]]:
        """Number and payload of obs/theta of records; None where that is damaged on the disk.

        Parameters
        ----------
        after, last :
            Numbers of records in the journal: later than the one, up to the other.
        from_s, to_s : [s, Unix time]
            Bounds of the records' ends; from_s is outside, to_s inside.
        """
        sql = f"SELECT told.seq, payload, told.crc32 {TOLD} ORDER BY told.seq LIMIT ?"
        return [
            (row[0], told_of(row)) for row in self._db.rows(sql, (after, last, from_s, to_s, limit))
        ]

    def kept(self, prefix: str) -> dict[str, str]:
        """What was kept under keys that begin so; what is damaged is as if it had never been."""
        return self._about.under(prefix)
