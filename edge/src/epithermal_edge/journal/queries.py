"""Read the records and values of a journal that its one writer holds open."""

from __future__ import annotations

import math
from collections.abc import Iterator

from epithermal_edge.journal import pruning, set_aside, unestimated
from epithermal_edge.journal.checksum import newest_intact_end_s
from epithermal_edge.journal.metadata import Metadata
from epithermal_edge.journal.rows import PAYLOADS, RAW, payload_of, record_columns, record_of
from epithermal_edge.journal.set_aside import Stored
from epithermal_edge.journal.sqlite import Database
from epithermal_edge.journal.unestimated import Unestimated
from epithermal_edge.records import RawRecord

BATCH = 500  # records read by one query
IN_RANGE = (  # stored obs/theta payloads of a range, for `republish`
    f"FROM {PAYLOADS} JOIN record USING (seq)"
    f" WHERE {PAYLOADS}.seq > ? AND {PAYLOADS}.seq <= ? AND end_s > ? AND end_s <= ?"
)


class Queries:
    """The reading half of `journal.Journal`, which opens the file."""

    _db: Database
    _metadata: Metadata

    def last_seq(self) -> int:
        """Return the number of the last record ever stored, 0 before the first."""
        rows = self._db.rows(
            "SELECT max((SELECT coalesce(max(seq), 0) FROM record),"
            " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'record'), 0))"
        )
        return int(rows[0][0])

    def has_record(self, record: RawRecord) -> bool:
        """Return whether a record with the same end, duration and counts is stored."""
        numbers = (float(record.duration_s), float(record.counts))
        values = [None if math.isnan(number) else number for number in numbers]
        sql = "SELECT 1 FROM record WHERE end_s = ? AND duration_s IS ? AND counts IS ?"
        return bool(self._db.rows(sql, (record.end_s, *values)))

    def has_end(self, end_s: float) -> bool:
        """Return whether a record with this end was stored; True for any end that was pruned.

        A row that is damaged on the disk does not count.
        """
        if end_s <= float(self._metadata.get(pruning.PRUNED_TO, "-inf")):
            return True
        rows = self._db.rows(f"SELECT {record_columns()} FROM record WHERE end_s = ?", (end_s,))
        return any(record_of(row) is not None for row in rows)

    def end_before(self, end_s: float) -> float:
        """Return the latest end of an intact record before `end_s` [s, Unix time]; -inf: none."""
        return newest_intact_end_s(self._db.rows, RAW, end_s)[0]

    def newest_end_s(self) -> float:
        """Return the latest end of an intact record [s, Unix time]; -inf if there is none."""
        return self.end_before(math.inf)

    def records(self) -> Iterator[RawRecord]:
        """Yield the raw records in the order in which they were stored, without damaged rows."""
        at = -1
        while rows := self.next_records(at, BATCH):
            yield from (record for _, record in rows if record is not None)
            at = rows[-1][0]

    def next_records(self, after: int, limit: int) -> list[tuple[int, RawRecord | None]]:
        """Return number and content of the next raw records; None for one damaged on the disk."""
        sql = f"SELECT {record_columns()} FROM record WHERE seq > ? ORDER BY seq LIMIT ?"
        return [(row[0], record_of(row)) for row in self._db.rows(sql, (after, limit))]

    def count_after(self, seq: int) -> int:
        """Return the number of stored records with numbers above this one."""
        return int(self._db.rows("SELECT count(*) FROM record WHERE seq > ?", (seq,))[0][0])

    def count_payloads(self, after: int, last: int, from_s: float, to_s: float) -> int:
        """Return the number of records that `payloads` would return without a limit."""
        return int(self._db.rows(f"SELECT count(*) {IN_RANGE}", (after, last, from_s, to_s))[0][0])

    def payloads(
        self, after: int, last: int, from_s: float, to_s: float, limit: int
    ) -> list[tuple[int, bytes | None]]:
        """Return number and obs/theta payload of records; None for a payload damaged on the disk.

        Parameters
        ----------
        after, last :
            Bounds of the record numbers: after < seq <= last.
        from_s, to_s : [s, Unix time]
            Bounds of the records' ends: from_s < end <= to_s.
        limit :
            Largest number of records.
        """
        sql = f"SELECT {PAYLOADS}.seq, payload, {PAYLOADS}.crc32 {IN_RANGE} ORDER BY 1 LIMIT ?"
        return [
            (row[0], payload_of(row))
            for row in self._db.rows(sql, (after, last, from_s, to_s, limit))
        ]

    def get_values(self, prefix: str) -> dict[str, str]:
        """Return the stored values whose key has this prefix, without those that are damaged."""
        return self._metadata.with_prefix(prefix)

    def first_unestimated(self) -> int:
        """Return the number of the first record whose estimate is to be published."""
        return unestimated.first_unestimated(self._db)

    def unestimated(self, seq: int) -> Unestimated | None:
        """Return the mark of a record whose estimate is not published; None: it is published."""
        return unestimated.mark_of(self.get_values(unestimated.key_of(seq)), seq)

    def stored_after(self, after_s: float) -> Iterator[Stored]:
        """Yield the records that end after a time [s, Unix time], by number."""
        return set_aside.read_after(self._db, self._metadata, after_s)
