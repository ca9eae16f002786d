"""The messages that wait for the broker, in the order in which they were written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from epithermal_edge.journal.metadata import About
from epithermal_edge.journal.rows import OUTBOX, message_of, message_row
from epithermal_edge.journal.sqlite import Database
from epithermal_edge.messages.message import Message
from epithermal_edge.messages.topics import STORED

NEWEST_WORDS = ", ".join(f"'{topic.word}'" for topic in STORED if topic.newest_only)
COLUMNS = ", ".join((*OUTBOX, "crc32"))


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that waits for the broker, and its place in the queue."""

    id: int
    message: Message


class Outbox:
    """Table outbox of a journal; `post` and `forget` belong inside a transaction."""

    def __init__(self, db: Database, about: About) -> None:
        self._db, self._about = db, about

    def post(self, messages: Sequence[Message]) -> None:
        """Add messages; of the newest values only the newest stays."""
        sql = f"INSERT INTO outbox ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
        for message in messages:
            if message.kind.newest_only:
                self._db.cursor("DELETE FROM outbox WHERE topic = ?", (message.topic,))
            self._db.cursor(sql, message_row(message))

    def forget(self, ids: Sequence[int]) -> None:
        """Delete messages."""
        self._db.many("DELETE FROM outbox WHERE id = ?", [(i,) for i in ids])

    def waiting(self) -> int:
        """How many there are."""
        return int(self._db.rows("SELECT count(*) FROM outbox")[0][0])

    def next(self, after: int, limit: int, newest: bool) -> tuple[list[Outgoing], list[int]]:
        """The next messages in order, and the ids of those that are damaged on the disk."""
        which = f"kind {'IN' if newest else 'NOT IN'} ({NEWEST_WORDS})"
        sql = f"SELECT id, {COLUMNS} FROM outbox WHERE id > ? AND {which} ORDER BY id LIMIT ?"
        sound: list[Outgoing] = []
        damaged: list[int] = []
        for row in self._db.rows(sql, (after, limit)):
            message = message_of(row[1:])
            if message is None:
                damaged.append(row[0])
            else:
                sound.append(Outgoing(row[0], message))
        return sound, damaged

    def drop(self, damaged: Sequence[int]) -> None:
        """Delete messages that nobody can read, and note it."""
        self.forget(damaged)
        self._about.count("damaged", len(damaged))

    def oldest(self) -> str | None:
        """When the interval of the first message ended, or its event was."""
        sound, _ = self.next(0, 1, newest=False)
        if not sound:
            return None
        payload = json.loads(sound[0].message.payload)
        found = payload.get("end") or payload.get("time")
        return str(found) if found else None
