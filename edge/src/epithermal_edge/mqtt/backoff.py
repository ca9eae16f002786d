"""How long to wait before the next connection: full jitter, and longer when there are two of us.

References
----------
Brooker (2015), Exponential backoff and jitter, AWS Architecture Blog: "full jitter".
"""

from __future__ import annotations

from collections.abc import Callable

BACKOFF_S, BACKOFF_MAX_S = 1.0, 60.0
TAKEN_OVER_S = 3600.0  # twice taken over within: another client has our name
TAKEN_OVER_PAUSE_S, TAKEN_OVER_MAX_S = 60.0, 900.0
KEPT = 20  # takeovers that are remembered


class Backoff:
    """Failures in a row, and takeovers.

    Parameters
    ----------
    jitter :
        Draws a pause between 0 and its argument [s].
    """

    def __init__(self, jitter: Callable[[float], float]) -> None:
        self._jitter = jitter
        self._in_a_row = 0
        self._taken_over: dict[int, float] = {}  # connection to when it was noticed [s]
        self.total = 0

    def well(self) -> None:
        """The broker took something."""
        self._in_a_row = 0

    def taken_over(self, link: int, now: float) -> None:
        """Another client took this connection, by whatever sign; each counts once."""
        self._taken_over.setdefault(link, now)
        while len(self._taken_over) > KEPT:
            del self._taken_over[min(self._taken_over)]

    def is_duplicate(self, now: float) -> bool:
        """Whether another client must have our name: each takes the connection of the other."""
        return self._times(now) >= 2

    def _times(self, now: float) -> int:
        return sum(now - t < TAKEN_OVER_S for t in self._taken_over.values())

    def lost(self, now: float) -> float:
        """Seconds until the next attempt.

        Of two that fight for a name, whoever waits lets the other deliver what it has; so neither
        comes back at once.
        """
        ceiling = min(BACKOFF_S * 2.0 ** min(self._in_a_row, 10), BACKOFF_MAX_S)
        self._in_a_row += 1
        self.total += 1
        if self.is_duplicate(now):
            doublings = min(self._times(now) - 2, 10)
            half = min(TAKEN_OVER_PAUSE_S * 2.0**doublings, TAKEN_OVER_MAX_S) / 2.0
            return half + self._jitter(half)
        return self._jitter(ceiling)
