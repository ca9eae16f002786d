"""Store the messages that wait for the broker, in the order in which they were written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from epithermal_edge.journal.metadata import Metadata
from epithermal_edge.journal.rows import OUTBOX, message_of, message_row
from epithermal_edge.journal.sqlite import Database
from epithermal_edge.messages.message import Message
from epithermal_edge.messages.topics import STORED

NEWEST_WORDS = ", ".join(f"'{topic.word}'" for topic in STORED if topic.newest_only)
COLUMNS = ", ".join((*OUTBOX, "crc32"))


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that waits for the broker, with its number in the queue."""

    id: int
    message: Message


class Outbox:
    """Table outbox of a journal; call methods that write inside a transaction."""

    def __init__(self, db: Database, metadata: Metadata) -> None:
        self._db, self._metadata = db, metadata

    def post(self, messages: Sequence[Message]) -> None:
        """Add messages; a message of a `newest_only` topic replaces the one before."""
        sql = f"INSERT INTO outbox ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
        for message in messages:
            if message.kind.newest_only:
                self._db.execute("DELETE FROM outbox WHERE topic = ?", (message.topic,))
            self._db.execute(sql, message_row(message))

    def delete(self, ids: Sequence[int]) -> None:
        """Delete messages."""
        self._db.execute_many("DELETE FROM outbox WHERE id = ?", [(i,) for i in ids])

    def count(self) -> int:
        """Return the number of messages."""
        return int(self._db.rows("SELECT count(*) FROM outbox")[0][0])

    def next(self, after: int, limit: int, newest: bool) -> tuple[list[Outgoing], list[int]]:
        """Return the next messages in order, and the ids of messages damaged on the disk."""
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
        """Delete damaged messages and count them as dropped."""
        self.delete(damaged)
        self._metadata.count_dropped("damaged", len(damaged))

    def oldest(self) -> str | None:
        """Return the UTC time of the first message: end of its interval, or time of its event."""
        sound, _ = self.next(0, 1, newest=False)
        if not sound:
            return None
        payload = json.loads(sound[0].message.payload)
        time = payload.get("end") or payload.get("time")
        return str(time) if time else None
