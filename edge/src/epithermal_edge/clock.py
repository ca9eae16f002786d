"""The two clocks a station reads; tests drive their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the time comes from."""

    monotonic: Callable[[], float] = time.monotonic  # [s], for pauses and time-outs
    wall: Callable[[], float] = time.time  # Unix time [s], only to judge what is live

    def health(self) -> dict[str, object]:
        """What is known of the time."""
        return {}
