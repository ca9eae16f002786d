"""Read the stored records that have to pass the engine before the next new one."""

from __future__ import annotations

from collections import deque
from itertools import islice

from epithermal_edge.journal.journal import Journal
from epithermal_edge.records import RawRecord

BATCH = 200  # records read at once


class CatchUp:
    """Position in the stored records while the state is computed again.

    Parameters
    ----------
    at :
        Number of the record after which the present state is valid; 0: before the first.
    text :
        Why the state is rebuilt, for the event; empty: no event is due.
    """

    def __init__(self, journal: Journal, at: int, text: str = "") -> None:
        self._journal, self._at, self.text = journal, at, text
        self._read: deque[tuple[int, RawRecord | None]] = deque()
        self._done, self._total, self._damaged = 0, journal.count_after(at), 0

    def peek(self) -> tuple[int, RawRecord | None] | None:
        """Return number and content of the next record; None after the last one.

        The content is None where it is damaged on the disk.
        """
        if not self._read:
            self._read.extend(self._journal.next_records(self._at, BATCH))
        return self._read[0] if self._read else None

    def raw(self, most: int) -> list[tuple[int, RawRecord | None]]:
        """Return the next records, `most` at most, whose estimates are not to be published."""
        if self.peek() is None:
            return []
        before = self._journal.first_unestimated()
        return [entry for entry in islice(self._read, most) if entry[0] < before]

    def take(self, seq: int) -> None:
        """Continue after this record."""
        _, record = self._read.popleft()
        self._at, self._done = seq, self._done + 1
        self._damaged += record is None

    def events(self) -> list[tuple[str, str]]:
        """Return kind and text of the events to publish with the first estimate or at the end."""
        damaged = f"{self._damaged} raw records are damaged on the disk and were skipped"
        out = [("journal_salvaged", damaged)] if self._damaged else []
        return [*out, ("state_rebuilt", self.text)] if self.text else out

    def clear_events(self) -> None:
        """Publish these events no more."""
        self.text, self._damaged = "", 0

    def progress(self) -> dict[str, int]:
        """Return the number of records done, and of all, for health.json."""
        return {"done": self._done, "of": self._total}

    def count_new(self) -> None:
        """Count a record that was stored since the beginning."""
        self._total += 1
