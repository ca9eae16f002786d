"""Look up the counts of a neutron monitor by time."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable

from epithermal_edge.loggers.monitor_text import is_plausible
from epithermal_edge.loggers.values import LIMITS
from epithermal_edge.records import NAN

MAX_COUNTS = 2048  # 12 weeks of hours


class CountSeries:
    """Counts of a neutron monitor, ordered by time.

    Parameters
    ----------
    reference :
        Reference count of the site, in the monitor's unit; NaN: counts are not checked against it.
    """

    def __init__(self, reference: float = NAN) -> None:
        self._times: list[float] = []
        self._counts: list[float] = []
        self._reference = reference
        self.rejected = 0  # implausible counts

    def add(self, pairs: Iterable[tuple[float, float]]) -> int:
        """Add counts with their Unix times [s], in any order; replace a count of the same time.

        Returns
        -------
        int
            Number of new times.
        """
        new = 0
        for time_s, count in pairs:
            if not self._is_plausible(count):
                self.rejected += 1
                continue
            i = bisect.bisect_left(self._times, time_s)
            if i < len(self._times) and self._times[i] == time_s:
                self._counts[i] = count
                continue
            self._times.insert(i, time_s)
            self._counts.insert(i, count)
            new += 1
        del self._times[:-MAX_COUNTS], self._counts[:-MAX_COUNTS]
        return new

    def _is_plausible(self, count: float) -> bool:
        if math.isfinite(self._reference):
            return is_plausible(count, self._reference)
        low, high = LIMITS["incoming"]
        return low <= count <= high

    def at(self, time_s: float, max_age_s: float) -> float:
        """Return the newest count up to a time [s]; NaN if it is older than `max_age_s`."""
        i = bisect.bisect_right(self._times, time_s)
        if i == 0 or time_s - self._times[i - 1] > max_age_s:
            return NAN
        return self._counts[i - 1]

    def newest_s(self) -> float:
        """Return the Unix time of the newest count [s]; -inf before the first."""
        return self._times[-1] if self._times else -math.inf
