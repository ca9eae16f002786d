"""Define units of time in seconds and format instants in UTC."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

HOUR_S = 3600.0
DAY_S = 86400.0
YEAR_D = 366  # days of a leap year: values of each day of the year
STEP_S = 1.0  # larger changes of the clock are steps, smaller ones are drift


def instant(time_s: float) -> datetime | None:
    """Return a Unix time [s] as a date in UTC; None if it is not finite or outside years 1 to 9999.

    Never raises: a time may come from another device, a damaged file or a clock that is wrong.
    """
    try:
        return datetime.fromtimestamp(time_s, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def utc(time_s: float) -> str | None:
    """Format a Unix time as ISO 8601 with Z, with milliseconds where needed; None as `instant`."""
    moment = instant(round(time_s, 3)) if math.isfinite(time_s) else None
    if moment is None:
        return None
    spec = "seconds" if moment.microsecond == 0 else "milliseconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


class UtcStamps:
    """Formats monotonic times in UTC, so that stamps follow a clock that is set later.

    Parameters
    ----------
    wall, monotonic :
        Return the Unix time and the time of a clock that nobody sets [s].
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._monotonic, self._offset_s = wall, monotonic, math.nan

    def format(self, at: float) -> str | None:
        """Format a monotonic time [s] in whole seconds; the same text until the clock is set."""
        offset_s = self._wall() - self._monotonic()
        if not abs(offset_s - self._offset_s) <= STEP_S:
            self._offset_s = offset_s
        return utc(round(at + self._offset_s))
