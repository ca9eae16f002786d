"""What a journal knows of the records that were taken."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from epithermal_edge.journal import pruning as room
from epithermal_edge.journal.metadata import About
from epithermal_edge.journal.rows import record_columns, record_of, told_of
from epithermal_edge.journal.sqlite import Database
from epithermal_edge.records import RawRecord

BATCH = 500
TOLD = (
    "FROM told JOIN record USING (seq)"
    " WHERE told.seq > ? AND told.seq <= ? AND end_s > ? AND end_s <= ?"
)


class Taken:
    """The reading half of a journal."""

    path: Path
    _db: Database
    _about: About

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
