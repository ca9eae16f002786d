"""Define what every message has: topic, payload, the station's identity, the payloads' version."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

V = 1  # version of every payload; a field may be added without a new one
LIVE_PERIODS = 2.5  # how long a dashboard shows a value


@dataclass(frozen=True, slots=True)
class Message:
    """A payload on its way to the broker."""

    topic: str
    payload: bytes
    kind: str  # "obs", "raw", "event": every one, in order; "state": only the newest
    retain: bool = False
    expires_s: float | None = None  # Unix time after which nobody wants it


@dataclass(frozen=True, slots=True)
class Identity:
    """What every message of a station repeats."""

    station: str
    epoch: str  # random, one for each journal
    prefix: str
    interval_s: float

    def topic(self, name: str) -> str:
        """Full topic of this station."""
        return f"{self.prefix}/{self.station}/{name}"


def encode(payload: dict[str, Any]) -> bytes:
    """JSON without blanks.

    Raises
    ------
    ValueError
        A number is not finite.
    """
    return json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()


def rounded(value: Any, digits: int) -> float | None:
    """Rounded; None where it is not finite."""
    number = float(value)
    return round(number, digits) if math.isfinite(number) else None
