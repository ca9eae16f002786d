"""Store each record, the state after it and its messages on disk, in one transaction.

A power cut leaves either all rows of a record or none. The state is a cache: if it does not fit the
model, or a byte of it has changed, it is computed again from the raw records. A full journal drops
rows by class (`pruning.CLASSES`), but never an obs/theta message that waits for the broker.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from epithermal_edge.inference.engine import EngineState
from epithermal_edge.inference.snapshot import Part, StateLostError, binding, from_parts, to_parts
from epithermal_edge.journal import pruning, recovery, set_aside, unestimated
from epithermal_edge.journal.metadata import Metadata
from epithermal_edge.journal.outbox import Outbox, Outgoing
from epithermal_edge.journal.queries import Queries
from epithermal_edge.journal.rows import (
    PAYLOADS,
    estimate_columns,
    payload_row,
    record_columns,
    record_row,
)
from epithermal_edge.journal.sqlite import (
    PAGE_BYTES,
    DamagedError,
    Database,
    FullError,
    JournalError,
    Mark,
    journal_error,
)
from epithermal_edge.journal.unestimated import Unestimated
from epithermal_edge.messages.message import Message
from epithermal_edge.messages.topics import OBS_THETA
from epithermal_edge.records import RawRecord

__all__ = ["FILE", "DamagedError", "Journal", "JournalError", "Outgoing"]

FILE = "journal.sqlite3"
MARK = "journal.mark"
WHOLE = "whole"  # part of the state with the number of its record

log = logging.getLogger(__name__)


class Journal(Queries):
    """The database of a station, to be used by one thread.

    A damaged file is renamed and replaced by a new one with all rows that can be read.

    Parameters
    ----------
    folder :
        Folder of the file; created if it does not exist.
    max_mb :
        Cap of the database file [MB]; above nine tenths of it the oldest raw records are dropped.
    on_progress :
        Called repeatedly while a damaged file is read.
    suspect :
        Reason to treat an existing file as damaged, although it passes the checks.

    Raises
    ------
    JournalError
        The folder or the file cannot be used, or the file has another schema version.
    """

    def __init__(
        self,
        folder: Path,
        max_mb: float = 512.0,
        on_progress: Callable[[], object] = lambda: None,
        suspect: str | None = None,
    ) -> None:
        self.path = folder / FILE
        self._mark = Mark(folder / MARK)
        self._max_pages = int(max_mb * 1e6 / PAGE_BYTES)
        self._written: EngineState | None = None
        self._sums: dict[str, int] = {}  # checksum of each part of the state
        self.state_seq = 0  # number of the record after which the stored state is valid
        self.last_error: str | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            recovery.finish_swap(self.path)
        except OSError as error:
            raise journal_error(self.path, error) from error
        try:
            if suspect is not None:
                raise DamagedError(f"{self.path}: {suspect}")
            self._open()
        except DamagedError as damage:
            recovery.salvage(self.path, str(damage), on_progress, bad_sectors=suspect is not None)
            self._open()

    @property
    def has_notes(self) -> bool:
        """Whether `post_notes` may have notes to post."""
        return self._metadata.has_notes

    def _open(self) -> None:
        self._db = Database(self.path, self._max_pages)
        try:
            self._metadata = Metadata(self._db)
            self._metadata.prepare()
            self._outbox = Outbox(self._db, self._metadata)
            self._db.check()
            self.epoch = self._metadata.get("epoch")
            self.base = int(self._metadata.get("base"))  # records of earlier epochs
            self._check_mark()
        except JournalError:
            self._db.close()
            raise

    def _check_mark(self) -> None:
        """Start a new epoch if the newest commits are missing, so that no number is used twice."""
        epoch, marked = self._mark.read()
        last = self.last_seq()
        if epoch != self.epoch or marked <= last:
            return
        text = f"the last {marked - last} records were lost on the disk; numbering starts again"
        log.error("%s: %s", self.path, text)
        epoch = secrets.token_hex(4)

        def write() -> None:
            self._metadata.put(epoch=epoch, base=str(last))
            self._metadata.add_note("journal_salvaged", text)

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
        fingerprint: str,
        messages: Sequence[Message],
        accepted: Sequence[int] = (),
        lost: int = 0,
        estimate: Sequence[object] = (),
        values: Mapping[str, str | None] | None = None,
        is_stored: bool = False,
    ) -> None:
        """Store a record with its results, state and messages in one transaction.

        Parameters
        ----------
        seq :
            Number of the record: `last_seq()` + 1.
        state :
            State after the record; only the parts changed since the last commit are written.
        fingerprint :
            Fingerprint of the engine.
        messages :
            Messages to publish.
        accepted :
            Ids of outgoing messages that the broker has acknowledged; they are deleted.
        lost :
            Number of earlier records that were dropped from memory while the disk rejected writes.
        estimate :
            Row of the results, from `rows.estimate_row`; empty: none.
        values :
            Values to store or delete, as for `put_values`.
        is_stored :
            Whether `store_raw` has stored the record itself.

        Raises
        ------
        JournalError
            Nothing was written.
        """
        sums: dict[str, int] = {}

        def write() -> None:
            if is_stored:
                self._metadata.update({unestimated.key_of(seq): None})
                self._db.execute("DELETE FROM estimate WHERE seq = ?", (seq,))
            else:
                self._db.insert("record", record_columns(), record_row(seq, record))
            if estimate:
                self._db.insert("estimate", estimate_columns(), estimate)
            rows = [payload_row(seq, m.payload) for m in messages if m.kind == OBS_THETA]
            self._db.execute_many(f"INSERT OR REPLACE INTO {PAYLOADS} VALUES (?, ?, ?)", rows)
            sums.update(self._write_state(seq, state, fingerprint))
            self._outbox.post(messages)
            self._outbox.delete(accepted)
            self._metadata.update(values or {})
            if lost:
                self._metadata.count_dropped("memory", lost)

        self._transaction(write)
        self._written, self._sums, self.state_seq = state, sums, seq
        if not is_stored:
            self._finish_record(seq)

    def _finish_record(self, seq: int) -> None:
        """Write the mark of a committed record, and prune from time to time."""
        self._mark.write(self.epoch, seq)
        if seq % pruning.PRUNE_ROWS == 0:
            pruning.prune(self._db, self._metadata)

    def store_raw(
        self,
        seq: int,
        record: RawRecord,
        mark: Unestimated,
        messages: Sequence[Message],
        accepted: Sequence[int],
        lost: int,
        values: Mapping[str, str | None],
    ) -> None:
        """Store a record whose estimate follows by `commit`; the other parameters are as there.

        Raises
        ------
        JournalError
            Nothing was written.
        """

        def write() -> None:
            self._db.insert("record", record_columns(), record_row(seq, record))
            self._outbox.post(messages)
            self._outbox.delete(accepted)
            self._metadata.update({**values, **unestimated.values_of(seq, mark)})
            if lost:
                self._metadata.count_dropped("memory", lost)

        self._transaction(write)
        self._finish_record(seq)

    def store_state(
        self, state: EngineState, fingerprint: str, messages: Sequence[Message] = ()
    ) -> None:
        """Replace the stored state as a whole, and post messages, in one transaction.

        The state is that after the newest record.
        """
        self._written, self._sums = None, {}
        seq = self.last_seq()
        sums: dict[str, int] = {}

        def write() -> None:
            sums.update(self._write_state(seq, state, fingerprint))
            self._outbox.post(messages)

        self._transaction(write)
        self._written, self._sums, self.state_seq = state, sums, seq

    def forget_unestimated(self, seq: int) -> None:
        """Publish no estimate of a stored record."""
        self._transaction(lambda: self._metadata.update({unestimated.key_of(seq): None}))

    def set_aside(
        self,
        seqs: Sequence[int],
        limit_s: float,
        restamped: Sequence[tuple[RawRecord, Unestimated]] = (),
        messages: Sequence[Message] = (),
    ) -> None:
        """Set records aside and delete the state, in one transaction.

        Records that were late only because of these get their estimates published again.

        Parameters
        ----------
        seqs :
            Numbers of the records.
        limit_s :
            The true time, or later [s, Unix time].
        restamped :
            Records to store anew, as by `store_raw`.
        messages :
            Messages to publish.
        """
        first = self.last_seq() + 1

        def write() -> None:
            set_aside.move(self._db, self._metadata, seqs, limit_s)
            for s in set_aside.read_late(self._db, self._metadata):
                if s.record is not None and s.id:
                    before_s = self.end_before(s.record.end_s)
                    again = unestimated.values_again(s.seq, s.id, s.time_q, before_s)
                    self._metadata.update(dict(again))
            for seq, (record, mark) in enumerate(restamped, first):
                self._db.insert("record", record_columns(), record_row(seq, record))
                self._metadata.update(dict(unestimated.values_of(seq, mark)))
            self._outbox.post(messages)

        self._transaction(write)
        self._written, self._sums, self.state_seq = None, {}, 0
        self._mark.write(self.epoch, self.last_seq())

    def restore_set_aside(self) -> int:
        """Restore the records that were set aside and delete the state; return their number."""
        counts: list[int] = []
        self._transaction(lambda: counts.append(set_aside.restore(self._db)))
        return counts[-1]

    def put_values(
        self, values: Mapping[str, str | None], messages: Sequence[Message] = ()
    ) -> None:
        """Store values, delete keys whose value is None, and post messages, in one transaction."""

        def write() -> None:
            self._metadata.update(values)
            self._outbox.post(messages)

        self._transaction(write)

    def post(self, messages: Sequence[Message]) -> None:
        """Add outgoing messages that do not belong to a record."""
        self._transaction(lambda: self._outbox.post(messages))

    def delete_outgoing(self, accepted: Sequence[int]) -> None:
        """Delete outgoing messages that the broker has acknowledged, by id."""
        if accepted:
            self._transaction(lambda: self._outbox.delete(accepted))

    def post_notes(self, message: Callable[[str, str], Message]) -> None:
        """Move the notes (drops, salvage) into the outbox, each as `message(kind, text)`."""

        def write() -> None:
            notes = self._metadata.notes()
            if notes:
                self._outbox.post([message(kind, text) for kind, text in notes])
                self._metadata.clear_notes()

        self._metadata.has_notes = False
        try:
            self._transaction(write)
        except JournalError:
            self._metadata.has_notes = True
            raise

    def _transaction(self, write: Callable[[], object]) -> None:
        """Write in one transaction; if the file is full, drop rows of lower classes and retry."""
        shrunk = False
        try:
            while True:
                try:
                    self._db.transaction(write)
                    break
                except FullError:
                    if self._db.is_near_cap() and pruning.free_space(self._db, self._metadata):
                        continue
                    if shrunk or not self._db.empty_wal():
                        raise
                    shrunk = True
        except JournalError as error:
            self.last_error = str(error)
            raise
        self.last_error = None

    def count_waiting(self) -> int:
        """Return the number of messages that the broker has not acknowledged."""
        return self._outbox.count()

    def next_outgoing(self, after: int, limit: int, newest: bool) -> list[Outgoing]:
        """Return the next messages in order; messages damaged on the disk are dropped and counted.

        Parameters
        ----------
        after :
            Id; only messages with higher ids are returned.
        limit :
            Largest number of messages read.
        newest :
            True: only messages of `newest_only` topics; False: only the others.
        """
        sound, damaged = self._outbox.next(after, limit, newest)
        if damaged:
            self._transaction(lambda: self._outbox.drop(damaged))
        return sound

    def load_state(self, fingerprint: str, like: EngineState) -> EngineState:
        """Load the state that was committed last; `state_seq` is the number of its record.

        That is the last record, unless records follow whose estimates are not published yet.

        Parameters
        ----------
        fingerprint :
            Fingerprint of the engine that will use it.
        like :
            A state of the right shapes.

        Raises
        ------
        StateLostError
            No state is stored, or it does not fit; the text gives the reason.
        """
        rows = self._db.rows("SELECT part, layout, made_for, crc32, CAST(data AS BLOB) FROM state")
        parts = {row[0]: Part(*row[1:]) for row in rows}
        state = from_parts(parts, fingerprint, like)
        whole = parts.pop(WHOLE, None)
        sums = {name: part.crc32 for name, part in parts.items()}
        seq = self.last_seq()
        if whole is not None and whole.layout.isdecimal():
            first = unestimated.first_unestimated(self._db)
            is_behind = first < unestimated.BEYOND and int(whole.layout) < first
            seq = int(whole.layout) if is_behind else seq
        if whole is None or (whole.layout, whole.crc32) != binding(seq, sums):
            raise StateLostError("state: does not belong to the last record")
        self._written, self._sums, self.state_seq = state, sums, seq
        return state

    def _write_state(self, seq: int, state: EngineState, fingerprint: str) -> Mapping[str, int]:
        """Write the changed parts inside a transaction; return the checksums of all parts."""
        parts = to_parts(state, fingerprint, self._written)
        sums = self._sums | {name: part.crc32 for name, part in parts.items()}
        rows = [(name, p.layout, fingerprint, p.crc32, p.data) for name, p in parts.items()]
        layout, crc32 = binding(seq, sums)
        rows.append((WHOLE, layout, fingerprint, crc32, b""))
        if self._written is None:
            self._db.execute("DELETE FROM state")
        self._db.execute_many("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?)", rows)
        return sums

    def health(self) -> dict[str, object]:
        """Return size, number of waiting messages and counts of dropped rows, for health.json.

        Raises
        ------
        JournalError
            The file cannot be read.
        """
        count = self._db.rows("SELECT coalesce(max(seq) - min(seq) + 1, 0) FROM record")[0][0]
        files = [self.path, self.path.with_name(FILE + "-wal")]
        return {
            "records": count,
            "waiting": self.count_waiting(),
            "oldest_waiting": self._outbox.oldest(),
            "bytes": sum(file.stat().st_size for file in files if file.exists()),
            "max_bytes": self._db.max_pages * PAGE_BYTES,
            "dropped": self._metadata.dropped(),
            "set_aside": set_aside.count(self._db),
            "salvaged": self._metadata.get("salvaged", "") or None,
            "writable": self.last_error is None,
            "last_error": self.last_error,
        }

    def add_note(self, kind: str, text: str) -> None:
        """Store a note, to be published once as an event."""
        self._transaction(lambda: self._metadata.add_note(kind, text))
