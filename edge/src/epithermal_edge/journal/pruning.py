"""Free space in a full journal: drop rows by class, oldest first, and count each of them."""

from __future__ import annotations

import logging

from epithermal_edge.journal.metadata import Metadata
from epithermal_edge.journal.rows import PAYLOADS, SET_ASIDE, record_columns, record_of
from epithermal_edge.journal.sqlite import Database, JournalError
from epithermal_edge.journal.unestimated import first_unestimated
from epithermal_edge.messages.topics import STORED

PRUNE_AT = 0.9  # part of the cap above which the oldest raw records are dropped
PRUNE_ROWS = 1000  # raw records dropped at once
SOME_ROWS = 64  # messages dropped at once
PRUNED_TO = "pruned_to_s"

DROPPED_FIRST = sorted((t.drop_order, t.word) for t in STORED if t.drop_order is not None)
CLASSES = {  # in the order of dropping: table, key, condition
    "record": ("record", "seq", "seq < ?"),  # the first that has no estimate yet
    **{word: ("outbox", "id", f"kind = '{word}'") for _, word in DROPPED_FIRST},
}

log = logging.getLogger(__name__)


def free_space(db: Database, metadata: Metadata) -> bool:
    """Drop some rows of the first class that has any; return False if no class has any."""
    return any(drop_oldest(db, metadata, name) for name in CLASSES)


def prune(db: Database, metadata: Metadata) -> None:
    """Drop the oldest raw records before the journal is full; a failure does no harm."""
    try:
        if db.used_pages() > PRUNE_AT * db.max_pages:
            drop_oldest(db, metadata, "record")
            drop_oldest(db, metadata, "record")
    except JournalError as error:
        log.warning("nothing was pruned: %s", error)


def drop_oldest(db: Database, metadata: Metadata, name: str) -> int:
    """Delete the oldest rows of a class and return their number.

    Raises
    ------
    JournalError
        The disk rejects even the deletion; nothing was deleted.
    """
    table, key, which = CLASSES[name]
    limit = PRUNE_ROWS if name == "record" else SOME_ROWS
    sql = f"SELECT {key} FROM {table} WHERE {which} ORDER BY {key} LIMIT ?"
    keys = db.rows(sql, (first_unestimated(db), limit) if name == "record" else (limit,))
    if not keys:
        return 0

    def write() -> None:
        if name == "record":
            ends = f"SELECT {record_columns()} FROM record WHERE seq <= ?"
            intact = filter(None, map(record_of, db.rows(ends, keys[-1])))
            pruned_s = float(metadata.get(PRUNED_TO, "-inf"))
            metadata.put(**{PRUNED_TO: repr(max([pruned_s, *(r.end_s for r in intact)]))})
        db.execute_many(f"DELETE FROM {table} WHERE {key} = ?", keys)
        if name == "record":
            db.execute(f"DELETE FROM {SET_ASIDE} WHERE seq <= ?", keys[-1])
            db.execute_many("DELETE FROM estimate WHERE seq = ?", keys)
            db.execute_many(f"DELETE FROM {PAYLOADS} WHERE seq = ?", keys)
        metadata.count_dropped(name, len(keys))

    db.transaction(write)
    return len(keys)
