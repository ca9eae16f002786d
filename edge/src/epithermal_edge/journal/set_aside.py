"""Set records aside whose stamps lie ahead of the true time, and restore them.

Such a record would make every right one late. Its row moves from table record to table set_aside;
its estimate and payload stay, and its number is not used again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from epithermal_edge.journal.metadata import Metadata
from epithermal_edge.journal.pruning import PRUNED_TO
from epithermal_edge.journal.rows import (
    PAYLOADS,
    SET_ASIDE,
    payload_of,
    record_columns,
    record_of,
)
from epithermal_edge.journal.sqlite import Database
from epithermal_edge.journal.unestimated import key_of, mark_of
from epithermal_edge.messages.topics import STATE_THETA
from epithermal_edge.records import Quality, RawRecord

BATCH = 500  # records read at once
LATE_MAX = 10_000  # late records whose estimates are published again


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored record with what its message says about it."""

    seq: int
    record: RawRecord | None  # None: damaged on the disk
    time_q: str  # source of its stamp; empty: not known
    id: str  # of its message; empty: not published


def read_after(db: Database, metadata: Metadata, after_s: float) -> Iterator[Stored]:
    """Yield the records that end after a time [s, Unix time], by number."""
    at = -1
    while found := _read(db, metadata, "end_s > ? AND seq > ?", (after_s, at), BATCH):
        yield from found
        at = found[-1].seq


def read_late(db: Database, metadata: Metadata) -> list[Stored]:
    """Read the newest records that were published as late after one that is set aside now."""
    late = (
        f"SELECT seq FROM estimate WHERE seq > (SELECT min(seq) FROM {SET_ASIDE})"
        f" AND quality & {int(Quality.LATE)} ORDER BY seq DESC LIMIT {LATE_MAX}"
    )
    return _read(db, metadata, f"seq IN ({late})", (), LATE_MAX)


def _read(
    db: Database, metadata: Metadata, where: str, values: Sequence[object], limit: int
) -> list[Stored]:
    columns = record_columns()
    sql = (
        f"SELECT {columns}, payload, told_crc32 FROM record LEFT JOIN (SELECT seq, payload,"
        f" crc32 AS told_crc32 FROM {PAYLOADS}) USING (seq) WHERE {where} ORDER BY seq LIMIT ?"
    )
    out = []
    for *row, packed, crc32 in db.rows(sql, (*values, limit)):
        body = None if packed is None else payload_of((row[0], packed, crc32))
        payload = {} if body is None else json.loads(body)
        mark = mark_of(metadata.with_prefix(key_of(row[0])), row[0])
        time_q = payload.get("time_q", "") or ("" if mark is None else mark.time_q)
        out.append(Stored(row[0], record_of(row), time_q, payload.get("id", "")))
    return out


def move(db: Database, metadata: Metadata, seqs: Iterable[int], limit_s: float) -> None:
    """Set records aside and delete the state that contains them; call inside a transaction.

    Parameters
    ----------
    limit_s :
        The true time, or later [s, Unix time].
    """
    columns, keys = record_columns(), [(seq,) for seq in seqs]
    sql = f"INSERT INTO {SET_ASIDE} ({columns}) SELECT {columns} FROM record WHERE seq = ?"
    db.execute_many(sql, keys)
    db.execute_many("DELETE FROM record WHERE seq = ?", keys)
    metadata.update({key_of(seq): None for (seq,) in keys})
    if float(metadata.get(PRUNED_TO, "-inf")) > limit_s:  # else older records were duplicates
        oldest_s = db.execute("SELECT min(end_s) FROM record").fetchone()[0]
        metadata.update({PRUNED_TO: None if oldest_s is None else repr(float(oldest_s))})
    db.execute("DELETE FROM outbox WHERE kind = ?", (STATE_THETA.word,))
    db.execute("DELETE FROM state")


def restore(db: Database) -> int:
    """Restore all records whose end is not in use, and delete the state; return their number.

    Call inside a transaction.
    """
    columns = record_columns()
    free = f"FROM {SET_ASIDE} WHERE end_s NOT IN (SELECT end_s FROM record)"
    count = db.execute(f"INSERT INTO record ({columns}) SELECT {columns} {free}").rowcount
    db.execute(f"DELETE FROM {SET_ASIDE} WHERE seq IN (SELECT seq FROM record)")
    db.execute("DELETE FROM state")
    return int(count)


def count(db: Database) -> int:
    """Return the number of records set aside."""
    return int(db.rows(f"SELECT count(*) FROM {SET_ASIDE}")[0][0])
