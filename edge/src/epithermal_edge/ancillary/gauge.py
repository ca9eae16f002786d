"""Compute the value of a weather sensor in a record's interval from its MQTT messages.

An unknown value is NaN and never replaced by an older one; docs/station.md has the rules.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise

from epithermal_edge.config.weather_tables import Gauge
from epithermal_edge.records import NAN

HISTORY_S = 90000.0  # older messages are dropped: a day and an interval
MAX_MESSAGES = 4096  # messages of one gauge: one every 22 s for a day


class GaugeSeries:
    """The messages of one gauge; not thread-safe.

    Parameters
    ----------
    gauge :
        Its [weather.*] table.
    """

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge
        self.messages: deque[tuple[float, float]] = deque(
            maxlen=MAX_MESSAGES
        )  # time [s], value; by time
        self.last_reported: tuple[float, float] | None = (
            None  # last message of a counter that a record used
        )
        self.late = 0  # messages older than the one before

    def add(self, time_s: float, value: float) -> None:
        """Add a message.

        Parameters
        ----------
        time_s : [s]
            Unix time of the value.
        value :
            In the field's unit.
        """
        if self.messages and time_s < self.messages[-1][0]:
            self.late += 1  # its interval may be over already, with a sum that lacks it
            return
        self.messages.append((time_s, value))
        while self.messages[0][0] < time_s - HISTORY_S:
            self.messages.popleft()

    def clear(self) -> None:
        """Drop all messages; after the clock was set back their times are invalid."""
        self.messages.clear()
        self.last_reported = None

    def newest_s(self) -> float:
        """Return the Unix time of the newest message [s]; -inf before the first."""
        return self.messages[-1][0] if self.messages else -math.inf

    def interval_value(
        self, start_s: float, end_s: float, breaks: list[tuple[float, float]]
    ) -> float:
        """Return the value of an interval (start, end] in the field's unit; NaN: unknown.

        Parameters
        ----------
        start_s, end_s : [s]
            Unix time. For a counter, request each interval once, in order.
        breaks :
            Begin and end of each loss of the connection [s]: messages may have been missed.
        """
        within = [(t, x) for t, x in self.messages if start_s < t <= end_s]
        before = next(((t, x) for t, x in reversed(self.messages) if t <= start_s), None)
        if self.gauge.kind == "total":
            return self._counter_rise(end_s, within, before)
        if self.gauge.kind == "level":
            return self._mean_level(end_s, within, before)
        is_interrupted = any(b > start_s and a < end_s for a, b in breaks)
        times = [before[0], *(t for t, _ in within), end_s] if before else []
        if is_interrupted or not times or self._has_gap(times):
            return NAN
        return math.fsum(x for _, x in within)

    def _has_gap(self, times: list[float]) -> bool:
        return any(b - a > self.gauge.max_age_s for a, b in pairwise(times))

    def _mean_level(
        self, end_s: float, within: list[tuple[float, float]], before: tuple[float, float] | None
    ) -> float:
        """Return the mean over the interval, or the value before it; NaN if too old."""
        known = within or ([before] if before else [])
        if not known or end_s - known[-1][0] > self.gauge.max_age_s:
            return NAN
        return math.fsum(x for _, x in known) / len(known)

    def _counter_rise(
        self, end_s: float, within: list[tuple[float, float]], before: tuple[float, float] | None
    ) -> float:
        """Return the rise of a counter since the last record; lost messages do not matter."""
        known = within or ([before] if before else [])
        if not known or end_s - known[-1][0] > self.gauge.max_age_s:
            return NAN
        last_reported, self.last_reported = self.last_reported, known[-1]
        if last_reported is None or end_s - last_reported[0] > HISTORY_S:
            return NAN
        steps = [last_reported[1], *(x for t, x in within if t > last_reported[0])]
        is_reset = any(b < a for a, b in pairwise(steps))
        return NAN if is_reset else steps[-1] - steps[0]
