"""What a weather sensor said over MQTT, as the value that belongs to a record's interval.

A value that is not known is NaN, never an older one in its place; docs/station.md has the rules.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise

from epithermal_edge.config.weather_tables import Gauge
from epithermal_edge.records import NAN

KEPT_S = 90000.0  # messages older than this are forgotten: a day and the longest interval's rest
KEPT = 4096  # messages of one gauge, whatever its pace: one each 22 s for a day


class Heard:
    """The messages of one gauge; for one thread at a time.

    Parameters
    ----------
    gauge :
        Its [weather.*] table.
    """

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge
        self.messages: deque[tuple[float, float]] = deque(maxlen=KEPT)  # time [s], value; by time
        self.told: tuple[float, float] | None = None  # of a counter: what a record had last
        self.late = 0  # messages that were older than one before

    def take(self, time_s: float, value: float) -> None:
        """A message.

        Parameters
        ----------
        time_s : [s]
            Unix time that it speaks of.
        value :
            In the field's unit.
        """
        if self.messages and time_s < self.messages[-1][0]:
            self.late += 1  # its interval may be over: the sum of that one would be told too small
            return
        self.messages.append((time_s, value))
        while self.messages[0][0] < time_s - KEPT_S:
            self.messages.popleft()

    def forget(self) -> None:
        """The clock was set back: what was heard has no time any more."""
        self.messages.clear()
        self.told = None

    def newest_s(self) -> float:
        """Unix time of the newest message; -inf before the first."""
        return self.messages[-1][0] if self.messages else -math.inf

    def value(self, start_s: float, end_s: float, breaks: list[tuple[float, float]]) -> float:
        """What belongs to an interval (start, end]; NaN: not known.

        Parameters
        ----------
        start_s, end_s : [s]
            Unix time. For a counter, intervals must be asked for in order, each once.
        breaks :
            From when to when the link was down: messages may have been missed.
        """
        within = [(t, x) for t, x in self.messages if start_s < t <= end_s]
        before = next(((t, x) for t, x in reversed(self.messages) if t <= start_s), None)
        if self.gauge.kind == "total":
            return self._risen(end_s, within, before)
        if self.gauge.kind == "level":
            return self._mean(end_s, within, before)
        broken = any(b > start_s and a < end_s for a, b in breaks)
        times = [before[0], *(t for t, _ in within), end_s] if before else []
        if broken or not times or self._silent(times):
            return NAN
        return math.fsum(x for _, x in within)

    def _silent(self, times: list[float]) -> bool:
        return any(b - a > self.gauge.max_age_s for a, b in pairwise(times))

    def _mean(
        self, end_s: float, within: list[tuple[float, float]], before: tuple[float, float] | None
    ) -> float:
        """Mean over the interval, or the one value before it, where the newest is young enough."""
        known = within or ([before] if before else [])
        if not known or end_s - known[-1][0] > self.gauge.max_age_s:
            return NAN
        return math.fsum(x for _, x in known) / len(known)

    def _risen(
        self, end_s: float, within: list[tuple[float, float]], before: tuple[float, float] | None
    ) -> float:
        """What a counter rose since a record told it last; a link that was down loses none."""
        known = within or ([before] if before else [])
        if not known or end_s - known[-1][0] > self.gauge.max_age_s:
            return NAN
        told, self.told = self.told, known[-1]
        if told is None or end_s - told[0] > KEPT_S:
            return NAN
        steps = [told[1], *(x for t, x in within if t > told[0])]
        falls = any(b < a for a, b in pairwise(steps))
        return NAN if falls else steps[-1] - steps[0]  # it was set back: by how much, who knows
