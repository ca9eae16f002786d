"""What was told once is told again, on command: payloads of the journal, to the letter.

A range goes into the outbox in portions, so that a live record waits for few of them and the
journal does not fill. How far it has got is on disk.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from epithermal_edge.errors import EpithermalError
from epithermal_edge.journal.journal import Journal
from epithermal_edge.messages.message import Identity
from epithermal_edge.messages.topics import OBS_THETA

KEY = "republish"  # under which the journal keeps how far it has got
PORTION = 64  # messages put into the outbox at once, when it holds fewer
EACH_S = 1.0  # at most one portion in so long a time
WAYS = "args must be {first, last}: numbers of records, or {from, to}: UTC as 2026-01-31T00:00:00Z"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Range:
    """Records that are yet to be told again."""

    after: int  # number in the journal
    last: int
    from_s: float  # end of the interval [s, Unix time]: later than this
    to_s: float  # and not later than this


class Republisher:
    """One range at a time."""

    def __init__(self, journal: Journal, identity: Identity) -> None:
        self._journal, self._identity = journal, identity
        self._range = _kept(journal.kept(KEY).get(KEY))
        self._fed_at = -math.inf

    def begin(self, args: dict[str, Any]) -> dict[str, Any]:
        """The verb `republish`: how many records will be told again.

        Raises
        ------
        EpithermalError
            Another range is under way, nothing of this one is kept, or it is not a range.
        """
        if self._range is not None:
            left = self._journal.count_told(*_bounds(self._range))
            raise EpithermalError(f"another range is under way, {left} records are left: wait")
        wanted = _wanted(args, self._journal.base)
        count = self._journal.count_told(*_bounds(wanted))
        if count == 0:
            raise EpithermalError("nothing of this range is kept")
        self._journal.keep({KEY: json.dumps(asdict(wanted))})
        self._range = wanted
        log.info("%d records are told again", count)
        return {"records": count}

    def feed(self, now: float) -> None:
        """Put the next portion into the outbox, when that is nearly empty.

        Parameters
        ----------
        now :
            Monotonic clock [s].

        Raises
        ------
        JournalError
            Not yet.
        """
        if self._range is None or now - self._fed_at < EACH_S:
            return
        self._fed_at = now
        if self._journal.waiting() >= PORTION:
            return
        rows = self._journal.told(*_bounds(self._range), PORTION)
        left = replace(self._range, after=rows[-1][0]) if len(rows) == PORTION else None
        again = [self._identity.message(OBS_THETA, body) for _, body in rows if body is not None]
        self._journal.keep({KEY: None if left is None else json.dumps(asdict(left))}, again)
        self._range = left


def _bounds(wanted: Range) -> tuple[int, int, float, float]:
    return wanted.after, wanted.last, wanted.from_s, wanted.to_s


def _wanted(args: dict[str, Any], base: int) -> Range:
    """The range that a command names.

    Parameters
    ----------
    base :
        Records of earlier epochs.
    """
    if args.keys() == {"first", "last"}:
        first, last = args["first"], args["last"]
        if type(first) is int and type(last) is int and 1 <= first <= last < 1 << 53:
            return Range(first - 1 + base, last + base, -math.inf, math.inf)
    elif args.keys() == {"from", "to"}:
        from_s, to_s = _seconds(args["from"]), _seconds(args["to"])
        if from_s < to_s:
            return Range(0, (1 << 53), from_s, to_s)
    raise EpithermalError(WAYS)


def _seconds(text: object) -> float:
    """Unix time of UTC with Z [s]; NaN where it is none."""
    if not isinstance(text, str) or not text.endswith("Z"):
        return math.nan
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return math.nan


def _kept(text: str | None) -> Range | None:
    """The range that was under way at the last end of the software."""
    if text is None:
        return None
    try:
        found = json.loads(text)
        numbers, times = (found["after"], found["last"]), (found["from_s"], found["to_s"])
        return Range(*map(int, numbers), *map(float, times))
    except (ValueError, TypeError, LookupError) as damage:
        log.warning("what was to be told again is damaged: %s", damage)
        return None
