"""When a disk that refuses is waited for, when its file is set aside, and when it is given up."""

from __future__ import annotations

import logging

from epithermal_edge.journal.journal import JournalError
from epithermal_edge.journal.sqlite import DamagedError, UnreadableError

RETRY_S = 2.0  # before a disk that refused is asked again
TELL_EACH = 150  # refusals of the disk: the first and each so many is logged
UNREADABLE_S = 3600.0  # a disk that cannot read for so long has bad sectors
DAMAGES, DAMAGES_S = 3, 600.0  # so many damaged files in so long a time are the disk's end

log = logging.getLogger(__name__)


class DiskTrouble:
    """What was met of a disk; all times are monotonic [s]."""

    def __init__(self) -> None:
        self._refusals = 0
        self._unreadable = (0.0, -UNREADABLE_S)  # since when, and when last
        self._damages: list[float] = []  # when a damaged file was met

    def refused(self, error: JournalError, now: float) -> DamagedError | None:
        """A passing refusal; the damage that it is where it lasts for too long."""
        if self._refusals % TELL_EACH == 0:
            log.error("%s; again each %.0f s", error, RETRY_S)
        self._refusals += 1
        if not isinstance(error, UnreadableError):
            return None
        first, last = self._unreadable
        self._unreadable = (first if now - last < UNREADABLE_S / 6.0 else now, now)
        if now - self._unreadable[0] <= UNREADABLE_S:
            return None
        return DamagedError(f"{error}; for {UNREADABLE_S:.0f} s")

    def well(self) -> None:
        """The disk took something."""
        if self._refusals:
            log.info("the disk takes records again")
        self._refusals = 0

    def damaged(self, damage: DamagedError, now: float) -> bool:
        """A file is not what was written; whether it was so before, a short while ago.

        Raises
        ------
        JournalError
            So often that another file would be no better.
        """
        log.error("%s", damage)
        self._damages = [at for at in self._damages if now - at < DAMAGES_S] + [now]
        if len(self._damages) > DAMAGES:
            raise JournalError(f"{damage}; again and again: replace the disk") from damage
        return len(self._damages) > 1
