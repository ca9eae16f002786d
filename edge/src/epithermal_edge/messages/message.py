"""Define what every message has: topic, payload, the station's identity, the payloads' version."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from epithermal_edge.messages.topics import Topic

V = 1  # version of every payload; a field may be added without a new one


@dataclass(frozen=True, slots=True)
class Message:
    """A payload on its way to the broker."""

    topic: str
    payload: bytes
    kind: Topic
    expires_s: float | None = None  # Unix time after which nobody wants it


@dataclass(frozen=True, slots=True)
class Identity:
    """What every message of a station repeats."""

    station: str
    epoch: str  # random, one for each journal
    prefix: str
    interval_s: float

    def topic(self, topic: Topic, word: str = "+") -> str:
        """Return the full topic of this station; `word` is a verb or a kind of event."""
        return topic.fill(word, prefix=self.prefix, station=self.station)

    def message(
        self, topic: Topic, payload: bytes, word: str = "+", instant_s: float | None = None
    ) -> Message:
        """Address a payload.

        Parameters
        ----------
        word :
            As in `topic`.
        instant_s : [s, Unix time]
            What it speaks of, where messages of this topic expire.
        """
        expires_s = None if instant_s is None else topic.expires_s(instant_s, self.interval_s)
        return Message(self.topic(topic, word), payload, topic, expires_s)


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
