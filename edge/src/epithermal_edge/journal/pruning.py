"""Room in a full journal: rows go by class, oldest first, and each is counted."""

from __future__ import annotations

import logging

from epithermal_edge.journal.metadata import About
from epithermal_edge.journal.sqlite import Database, JournalError
from epithermal_edge.messages.topics import STORED

PRUNE_AT = 0.9  # of the cap: the oldest raw records make room
PRUNE_ROWS = 1000
SOME_ROWS = 64
PRUNED_TO = "pruned_to_s"

DROPPED_FIRST = sorted((t.drop_order, t.word) for t in STORED if t.drop_order is not None)
CLASSES = {  # what makes room, first to last: table, key, which
    "record": ("record", "seq", "1"),
    **{word: ("outbox", "id", f"kind = '{word}'") for _, word in DROPPED_FIRST},
}

log = logging.getLogger(__name__)


def make(db: Database, about: About) -> bool:
    """Drop some rows of the first class that has any; False where nothing may be dropped."""
    return any(drop(db, about, name) for name in CLASSES)


def prune(db: Database, about: About) -> None:
    """Let the oldest raw records go before there is need; where that fails, nothing is lost."""
    try:
        if db.used_pages() > PRUNE_AT * db.max_pages:
            drop(db, about, "record")
            drop(db, about, "record")
    except JournalError as error:
        log.warning("nothing was pruned: %s", error)


def drop(db: Database, about: About, name: str) -> int:
    """Delete the oldest rows of a class; how many there were.

    Raises
    ------
    JournalError
        The disk refuses even that; nothing was deleted.
    """
    table, key, which = CLASSES[name]
    limit = PRUNE_ROWS if name == "record" else SOME_ROWS
    sql = f"SELECT {key} FROM {table} WHERE {which} ORDER BY {key} LIMIT ?"
    keys = db.rows(sql, (limit,))
    if not keys:
        return 0

    def write() -> None:
        if name == "record":
            newest_s = db.rows("SELECT max(end_s) FROM record WHERE seq <= ?", keys[-1])[0][0]
            about.put(**{PRUNED_TO: repr(max(float(about.get(PRUNED_TO, "-inf")), newest_s))})
        db.many(f"DELETE FROM {table} WHERE {key} = ?", keys)
        if name == "record":
            db.many("DELETE FROM estimate WHERE seq = ?", keys)
            db.many("DELETE FROM told WHERE seq = ?", keys)
        about.count(name, len(keys))

    db.transaction(write)
    return len(keys)
