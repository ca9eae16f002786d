"""Choose the stored records that lie ahead of the true time: which to set aside or stamp again.

A record whose stamp a synchronised clock has confirmed is never chosen: then one of the two clocks
was wrong, and nothing tells which. The functions are pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from epithermal_edge.journal.set_aside import Stored
from epithermal_edge.journal.unestimated import Unestimated
from epithermal_edge.records import RawRecord
from epithermal_edge.station.stamps import (
    BACK_STAMPED,
    JITTER_S,
    PACE,
    UNCHECKED,
    UNSYNCED,
    Ahead,
)
from epithermal_edge.times import utc

CHOSEN_MAX = 10_000  # records chosen at once


@dataclass(frozen=True, slots=True)
class Choice:
    """Records to set aside, and their copies with true stamps."""

    seqs: tuple[int, ...] = ()
    restamped: tuple[tuple[RawRecord, Unestimated], ...] = ()
    text: str = ""  # of the event

    @property
    def is_complete(self) -> bool:
        """Whether no more records have to be chosen."""
        return len(self.seqs) < CHOSEN_MAX


def choose(
    ahead: Ahead,
    stored: Iterable[Stored],
    end_before: Callable[[float], float],
    mark: Unestimated,
) -> Choice:
    """Choose the first CHOSEN_MAX records to set aside.

    Parameters
    ----------
    stored :
        The records that end after `ahead.limit_s`.
    end_before :
        Return the latest end of a stored record before a time [s, Unix time].
    mark :
        That of the next new record.
    """
    doubtful = (s for s in stored if s.record is None or s.time_q in (UNCHECKED, UNSYNCED))
    chosen = list(itertools.islice(doubtful, CHOSEN_MAX))
    if not chosen:
        return Choice()
    restamped = _restamp(ahead, chosen, end_before, mark)
    return Choice(tuple(s.seq for s in chosen), restamped, _describe(chosen, restamped))


def _restamp(
    ahead: Ahead,
    chosen: Sequence[Stored],
    end_before: Callable[[float], float],
    following: Unestimated,
) -> tuple[tuple[RawRecord, Unestimated], ...]:
    """Compute the true stamps of the records that were stamped by their arrival in this boot."""
    out: list[tuple[RawRecord, Unestimated]] = []
    newest_s = -math.inf
    for record in (s.record for s in chosen if s.time_q == UNSYNCED):
        if record is None or not record.end_s >= ahead.boot_s:
            continue
        end_s = round(record.end_s + ahead.shift_s, 3)
        before_s = max(end_before(end_s), newest_s)
        if end_before(math.nextafter(end_s, math.inf)) == end_s or end_s <= newest_s:
            continue  # a record with this end exists
        late_s = PACE * float(record.duration_s) + JITTER_S
        sound = not end_s - float(record.duration_s) < before_s - late_s
        mark = replace(
            following,
            number=following.number + len(out),
            time_q=BACK_STAMPED if sound else UNSYNCED,
            before_s=before_s,
        )
        out.append((replace(record, end_s=end_s), mark))
        newest_s = end_s
    return tuple(out)


def _describe(chosen: Sequence[Stored], restamped: Sequence[object]) -> str:
    ends = [s.record.end_s for s in chosen if s.record is not None]
    ids = [s.id for s in chosen if s.id]
    return "".join(
        (
            f"{len(chosen)} records with stamps ahead of UTC were set aside",
            f": they end {utc(min(ends))} to {utc(max(ends))}" if ends else "",
            f"; delete the messages {ids[0]} to {ids[-1]} that end then" if ids else "",
            f"; {len(restamped)} are published again with the true time" if restamped else "",
        )
    )
