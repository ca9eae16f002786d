"""Compute the pause before the next connection: full jitter, longer with a duplicate client.

References
----------
Brooker (2015), Exponential backoff and jitter, AWS Architecture Blog: "full jitter".
"""

from __future__ import annotations

from collections.abc import Callable

BACKOFF_S, BACKOFF_MAX_S = 1.0, 60.0
TAKEOVER_S = 3600.0  # two takeovers within: another client has the same id
TAKEOVER_PAUSE_S, TAKEOVER_MAX_S = 60.0, 900.0
REMEMBERED = 20  # newest takeovers that are stored


class Backoff:
    """Count of consecutive failures, and times of takeovers.

    Parameters
    ----------
    jitter :
        Draws a random pause between 0 and its argument [s].
    """

    def __init__(self, jitter: Callable[[float], float]) -> None:
        self._jitter = jitter
        self._in_a_row = 0
        self._takeovers: dict[int, float] = {}  # number of a connection to the time [s]
        self.total = 0

    def reset(self) -> None:
        """Reset the count of consecutive failures after a success."""
        self._in_a_row = 0

    def record_takeover(self, link: int, now: float) -> None:
        """Record that another client took over a connection; each connection counts once."""
        self._takeovers.setdefault(link, now)
        while len(self._takeovers) > REMEMBERED:
            del self._takeovers[min(self._takeovers)]

    def is_duplicate(self, now: float) -> bool:
        """Return whether another client has the same id, so that each disconnects the other."""
        return self._recent_takeovers(now) >= 2

    def _recent_takeovers(self, now: float) -> int:
        return sum(now - t < TAKEOVER_S for t in self._takeovers.values())

    def record_failure(self, now: float) -> float:
        """Record a failure and return the pause before the next attempt [s].

        Of two clients with the same id, the one that waits lets the other deliver its backlog, so
        neither may reconnect at once.
        """
        ceiling = min(BACKOFF_S * 2.0 ** min(self._in_a_row, 10), BACKOFF_MAX_S)
        self._in_a_row += 1
        self.total += 1
        if self.is_duplicate(now):
            doublings = min(self._recent_takeovers(now) - 2, 10)
            half = min(TAKEOVER_PAUSE_S * 2.0**doublings, TAKEOVER_MAX_S) / 2.0
            return half + self._jitter(half)
        return self._jitter(ceiling)
