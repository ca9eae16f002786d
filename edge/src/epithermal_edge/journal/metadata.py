"""Store the journal's own data: values with checksums, counts of dropped rows, notes to publish."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping

from epithermal_edge.journal.checksum import CHANNELS, checksum
from epithermal_edge.journal.rows import (
    CREATE,
    CREATE_PAYLOADS,
    CREATE_SET_ASIDE,
    RAW,
    RESULTS,
    SCHEMA,
    SET_ASIDE,
)
from epithermal_edge.journal.sqlite import DamagedError, Database, JournalError

DROPPED, REPORTED = "dropped", "dropped_told"
_KIND = re.compile("[a-z_]{1,40}")

log = logging.getLogger(__name__)


class Metadata:
    """Tables about and note of a journal; call methods that write inside a transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.has_notes = True  # a journal just opened may hold notes

    def prepare(self) -> None:
        """Create the tables of a new file; reject a file of another schema version.

        Raises
        ------
        DamagedError
            The stored schema number has changed on the disk.
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
            raise DamagedError(f"{path}: schema {version}, but created with {SCHEMA}")
        if version != SCHEMA:
            raise JournalError(
                f"{path}: schema {version}, this software reads {SCHEMA};"
                " update epithermal-edge or set another state_dir"
            )
        self._db.rows(CREATE_PAYLOADS)
        self._db.rows(CREATE_SET_ASIDE)
        self._drop_foreign()
        record = dict.fromkeys(RAW, "REAL") | CHANNELS
        results = dict.fromkeys(RESULTS, "REAL")
        for table, names in (("record", record), (SET_ASIDE, record), ("estimate", results)):
            columns = {row[1] for row in self._db.rows(f"PRAGMA table_info({table})")}
            for name, kind in names.items():
                if name not in columns:  # the file was written by an older version
                    self._db.rows(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")

    def _drop_foreign(self) -> None:
        """Drop triggers and views: a journal has none, and a trigger could delete its rows."""
        sql = "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')"
        foreign = self._db.rows(sql)

        def write() -> None:
            for kind, name in foreign:
                quoted = str(name).replace('"', '""')
                self._db.execute(f'DROP {kind} "{quoted}"')
            self.add_note("journal_salvaged", text)

        if foreign:
            names = ", ".join(f"{kind} {name}" for kind, name in foreign)
            text = f"dropped what is not part of a journal: {names}"
            log.error("%s: %s", self._db.path, text)
            self._db.transaction(write)

    def _create(self) -> None:
        for statement in CREATE.split(";\n"):
            self._db.execute(statement)
        self.put(epoch=secrets.token_hex(4), schema=str(SCHEMA), base="0")
        self._db.execute(f"PRAGMA user_version = {SCHEMA}")

    def get(self, key: str, default: str | None = None) -> str:
        """Return the value of a key.

        Raises
        ------
        DamagedError
            The key is missing and there is no default, or the value fails its checksum.
        """
        rows = self._db.rows("SELECT value, crc32 FROM about WHERE key = ?", (key,))
        if not rows and default is not None:
            return default
        if not rows or rows[0][1] != checksum(key, rows[0][0]):
            raise DamagedError(f"{self._db.path}: {key} fails its checksum")
        return str(rows[0][0])

    def put(self, **values: str) -> None:
        """Write values."""
        rows = [(key, value, checksum(key, value)) for key, value in values.items()]
        self._db.execute_many("INSERT OR REPLACE INTO about VALUES (?, ?, ?)", rows)

    def update(self, values: Mapping[str, str | None]) -> None:
        """Write values, delete those that are None."""
        self.put(**{key: value for key, value in values.items() if value is not None})
        gone = [(key,) for key, value in values.items() if value is None]
        self._db.execute_many("DELETE FROM about WHERE key = ?", gone)

    def with_prefix(self, prefix: str) -> dict[str, str]:
        """Return all values whose key has this prefix, without those that are damaged."""
        sql = "SELECT key, value, crc32 FROM about WHERE key >= ? AND key < ?"
        rows = self._db.rows(sql, (prefix, prefix + "\U0010ffff"))
        return {key: value for key, value, crc32 in rows if crc32 == checksum(key, value)}

    def add_note(self, kind: str, text: str) -> None:
        """Store a note, to be published once as an event."""
        self._db.execute("INSERT INTO note (kind, text) VALUES (?, ?)", (kind, text))
        self.has_notes = True

    def notes(self) -> list[tuple[str, str]]:
        """Return kind and text of each unpublished note, without those that are damaged."""
        rows = self._db.rows("SELECT kind, text FROM note ORDER BY id")
        reported = json.loads(self.get(REPORTED, "{}"))
        drops = {name: (n - reported.get(name, 0), n) for name, n in self.dropped().items()}
        return [(str(kind), str(text)) for kind, text in rows if _KIND.fullmatch(str(kind))] + [
            ("spool_drop", f"{new} of class {name} dropped, {total} in all")
            for name, (new, total) in drops.items()
            if new
        ]

    def clear_notes(self) -> None:
        """Delete the notes and mark the counts of dropped rows as reported."""
        self._db.execute("DELETE FROM note")
        self.put(**{REPORTED: self.get(DROPPED, "{}")})

    def count_dropped(self, name: str, number: int) -> None:
        """Add to the count of dropped rows of a class; `notes` reports it."""
        dropped = self.dropped()
        dropped[name] = dropped.get(name, 0) + number
        self.put(**{DROPPED: json.dumps(dropped)})
        self.has_notes = True
        log.warning("%d of class %s dropped, %d in all", number, name, dropped[name])

    def dropped(self) -> dict[str, int]:
        """Return the number of rows of each class that were ever dropped."""
        counts: dict[str, int] = json.loads(self.get(DROPPED, "{}"))
        return counts
