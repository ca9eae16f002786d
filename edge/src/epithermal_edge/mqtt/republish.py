"""Republish stored obs/theta payloads on command, byte for byte.

A range is posted to the outbox in portions, so that a live record waits for few of them and the
journal does not fill. The progress is stored on disk.
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

KEY = "republish"  # key of the progress in the journal
PORTION = 64  # messages posted at once, if the outbox holds fewer
EACH_S = 1.0  # shortest time between two portions
ARGUMENTS = (
    "args must be {first, last}: record numbers, or {from, to}: UTC such as 2026-01-31T00:00:00Z"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Range:
    """Records still to be republished."""

    after: int  # journal numbers: after < seq <= last
    last: int
    from_s: float  # ends of the records [s, Unix time]: from_s < end <= to_s
    to_s: float


class Republisher:
    """Republishes one range at a time."""

    def __init__(self, journal: Journal, identity: Identity) -> None:
        self._journal, self._identity = journal, identity
        self._range = _parse_stored(journal.get_values(KEY).get(KEY))
        self._posted_at = -math.inf

    def start(self, args: dict[str, Any]) -> dict[str, Any]:
        """Execute the command `republish`; return the number of records as `records`.

        Raises
        ------
        EpithermalError
            Another range is under way, the range has no stored payloads, or `args` is no range.
        """
        if self._range is not None:
            left = self._journal.count_payloads(*_bounds(self._range))
            raise EpithermalError(f"another range is under way, {left} records are left: wait")
        wanted = _parse_args(args, self._journal.base)
        count = self._journal.count_payloads(*_bounds(wanted))
        if count == 0:
            raise EpithermalError("no payloads of this range are stored")
        self._journal.put_values({KEY: json.dumps(asdict(wanted))})
        self._range = wanted
        log.info("republishing %d records", count)
        return {"records": count}

    def post_portion(self, now: float) -> None:
        """Post the next portion to the outbox when the outbox is nearly empty.

        Parameters
        ----------
        now :
            Monotonic clock [s].

        Raises
        ------
        JournalError
            The portion was not posted; retry later.
        """
        if self._range is None or now - self._posted_at < EACH_S:
            return
        self._posted_at = now
        if self._journal.count_waiting() >= PORTION:
            return
        rows = self._journal.payloads(*_bounds(self._range), PORTION)
        left = replace(self._range, after=rows[-1][0]) if len(rows) == PORTION else None
        again = [self._identity.message(OBS_THETA, body) for _, body in rows if body is not None]
        self._journal.put_values({KEY: None if left is None else json.dumps(asdict(left))}, again)
        self._range = left


def _bounds(wanted: Range) -> tuple[int, int, float, float]:
    return wanted.after, wanted.last, wanted.from_s, wanted.to_s


def _parse_args(args: dict[str, Any], base: int) -> Range:
    """Parse the arguments of a command.

    Parameters
    ----------
    base :
        Number of records in earlier epochs.
    """
    if args.keys() == {"first", "last"}:
        first, last = args["first"], args["last"]
        if type(first) is int and type(last) is int and 1 <= first <= last < 1 << 53:
            return Range(first - 1 + base, last + base, -math.inf, math.inf)
    elif args.keys() == {"from", "to"}:
        from_s, to_s = _seconds(args["from"]), _seconds(args["to"])
        if from_s < to_s:
            return Range(0, (1 << 53), from_s, to_s)
    raise EpithermalError(ARGUMENTS)


def _seconds(text: object) -> float:
    """Parse a UTC time with Z to Unix time [s]; return NaN if it is invalid."""
    if not isinstance(text, str) or not text.endswith("Z"):
        return math.nan
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return math.nan


def _parse_stored(text: str | None) -> Range | None:
    """Parse the range that was under way at the last stop; return None if there is none."""
    if text is None:
        return None
    try:
        table = json.loads(text)
        numbers, times = (table["after"], table["last"]), (table["from_s"], table["to_s"])
        return Range(*map(int, numbers), *map(float, times))
    except (ValueError, TypeError, LookupError) as damage:
        log.warning("the stored range to republish is damaged: %s", damage)
        return None
