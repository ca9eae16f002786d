"""What a journal knows of itself: values with a checksum, counts of drops, notes to be told."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping

from epithermal_edge.journal.rows import CREATE, RAW, SAID, SCHEMA, checksum
from epithermal_edge.journal.rows import TOLD as TOLD_TABLE
from epithermal_edge.journal.sqlite import DamagedError, Database, JournalError

DROPPED, TOLD = "dropped", "dropped_told"
_KIND = re.compile("[a-z_]{1,40}")

log = logging.getLogger(__name__)


class About:
    """Tables about and note of a journal; what writes belongs inside a transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.has_notes = True  # until `notes` says otherwise

    def prepare(self) -> None:
        """Make the tables of a new file; refuse one that this software does not read.

        Raises
        ------
        DamagedError
            The number of the schema is not what was written.
        JournalError
            The file is of another version of the software.
        """
        path = self._db.path
        version = self._db.rows("PRAGMA user_version")[0][0]
        tables = {row[0] for row in self._db.rows("SELECT name FROM sqlite_master")}
        if version == 0 and not tables:
            self._db.transaction(self._create)
            return
        if "note" in tables and self.get("schema") == str(SCHEMA) != str(version):
            raise DamagedError(f"{path}: schema {version}, though made with {SCHEMA}")
        if version != SCHEMA:
            raise JournalError(
                f"{path}: schema {version}, this software reads {SCHEMA};"
                " update epithermal-edge or name another state_dir"
            )
        self._db.rows(TOLD_TABLE)
        for table, names in (("record", RAW), ("estimate", SAID)):
            columns = {row[1] for row in self._db.rows(f"PRAGMA table_info({table})")}
            for name in names:
                if name not in columns:  # the software is later than the file
                    self._db.rows(f"ALTER TABLE {table} ADD COLUMN {name} REAL")

    def _create(self) -> None:
        for statement in CREATE.split(";\n"):
            self._db.cursor(statement)
        self.put(epoch=secrets.token_hex(4), schema=str(SCHEMA), base="0")
        self._db.cursor(f"PRAGMA user_version = {SCHEMA}")

    def get(self, key: str, default: str | None = None) -> str:
        """A value.

        Raises
        ------
        DamagedError
            It is not there and has no default, or is not what was written.
        """
        rows = self._db.rows("SELECT value, crc32 FROM about WHERE key = ?", (key,))
        if not rows and default is not None:
            return default
        if not rows or rows[0][1] != checksum(key, rows[0][0]):
            raise DamagedError(f"{self._db.path}: {key} is not what was written")
        return str(rows[0][0])

    def put(self, **values: str) -> None:
        """Write values."""
        rows = [(key, value, checksum(key, value)) for key, value in values.items()]
        self._db.many("INSERT OR REPLACE INTO about VALUES (?, ?, ?)", rows)

    def keep(self, values: Mapping[str, str | None]) -> None:
        """Write values, delete those that are None."""
        self.put(**{key: value for key, value in values.items() if value is not None})
        gone = [(key,) for key, value in values.items() if value is None]
        self._db.many("DELETE FROM about WHERE key = ?", gone)

    def under(self, prefix: str) -> dict[str, str]:
        """All values whose key begins so; what is damaged is left out."""
        sql = "SELECT key, value, crc32 FROM about WHERE substr(key, 1, ?) = ?"
        rows = self._db.rows(sql, (len(prefix), prefix))
        return {key: value for key, value, crc32 in rows if crc32 == checksum(key, value)}

    def note(self, kind: str, text: str) -> None:
        """Something to be told, once, when there is somebody to tell it."""
        self._db.cursor("INSERT INTO note (kind, text) VALUES (?, ?)", (kind, text))
        self.has_notes = True

    def notes(self) -> list[tuple[str, str]]:
        """Kind and text of what is not told yet, a damaged note left out."""
        rows = self._db.rows("SELECT kind, text FROM note ORDER BY id")
        told = json.loads(self.get(TOLD, "{}"))
        drops = {name: (n - told.get(name, 0), n) for name, n in self.dropped().items()}
        return [(str(kind), str(text)) for kind, text in rows if _KIND.fullmatch(str(kind))] + [
            ("spool_drop", f"{new} of class {name} dropped, {total} in all")
            for name, (new, total) in drops.items()
            if new
        ]

    def strike(self) -> None:
        """All notes were told."""
        self._db.cursor("DELETE FROM note")
        self.put(**{TOLD: self.get(DROPPED, "{}")})

    def count(self, name: str, number: int) -> None:
        """Rows of a class are dropped: count them, and have it told."""
        dropped = self.dropped()
        dropped[name] = dropped.get(name, 0) + number
        self.put(**{DROPPED: json.dumps(dropped)})
        self.has_notes = True
        log.warning("%d of class %s dropped, %d in all", number, name, dropped[name])

    def dropped(self) -> dict[str, int]:
        """How many rows of each class were ever dropped."""
        found: dict[str, int] = json.loads(self.get(DROPPED, "{}"))
        return found
