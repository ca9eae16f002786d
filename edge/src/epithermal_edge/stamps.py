"""Whether a record's time can be: one flipped bit in a year would make all that follow late."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from epithermal_edge.records import RawRecord

JUMP_INTERVALS = 3.0
JUMP_LEAST_S = 3600.0
CLOCK_AGREES_S = 600.0  # beside one interval: a stamp this near to the station's clock is right


@dataclass(frozen=True, slots=True)
class Stamps:
    """What the records before say of the next one's time."""

    interval_s: float
    newest_s: float = -math.inf  # end of the newest record that was passed on
    held: RawRecord | None = None  # jumped ahead; the next record says whether it was right

    def _follows(self, end_s: float, before_s: float) -> bool:
        limit_s = max(JUMP_INTERVALS * self.interval_s, JUMP_LEAST_S)
        return before_s < end_s <= before_s + limit_s

    def _can_be(self, end_s: float, wall_s: float) -> bool:
        if end_s <= self.newest_s or self._follows(end_s, self.newest_s):
            return True  # a late one spoils nothing
        ahead_s = end_s - wall_s
        if abs(ahead_s) <= self.interval_s + CLOCK_AGREES_S:
            return True
        return math.isinf(self.newest_s) and ahead_s < 0.0


def judge(
    stamps: Stamps, record: RawRecord, wall_s: float
) -> tuple[Stamps, list[RawRecord], RawRecord | None]:
    """Take one record in.

    A record that jumps ahead of the one before, and that the station's clock does not bear out, is
    held until the next: if that one follows it, both are right (the logger was off); if not, the
    stamp was damaged.

    Parameters
    ----------
    wall_s : [s]
        Unix time by the station's clock, which may be wrong.

    Returns
    -------
    Stamps, records to pass on, the record whose time was wrong or None
    """
    if not stamps._can_be(record.end_s, wall_s):
        held = stamps.held
        if held is None or not stamps._follows(record.end_s, held.end_s):
            return replace(stamps, held=record), [], held
        return replace(stamps, held=None, newest_s=record.end_s), [held, record], None
    if stamps.held is not None and record.end_s == stamps.newest_s:
        return stamps, [record], None  # the one before, told again: says nothing of the held one
    newest_s = max(stamps.newest_s, record.end_s)
    return replace(stamps, held=None, newest_s=newest_s), [record], stamps.held
