"""Define the parts of every message: topic, payload, identity of the station, version."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from epithermal_edge.messages.topics import Topic

V = 1  # version of every payload; a field may be added without a new one


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish."""

    topic: str
    payload: bytes
    kind: Topic
    expires_s: float | None = None  # Unix time after which the broker drops it; None: never


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a station, the same in all its messages."""

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
        """Build a message from a payload.

        Parameters
        ----------
        word :
            As in `topic`.
        instant_s : [s, Unix time]
            Time of the content, from which messages of this topic expire.
        """
        expires_s = None if instant_s is None else topic.expires_s(instant_s, self.interval_s)
        return Message(self.topic(topic, word), payload, topic, expires_s)


def encode(payload: dict[str, Any]) -> bytes:
    """Encode a payload as JSON without blanks.

    Raises
    ------
    ValueError
        A number is not finite.
    """
    return json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()


def rounded(value: Any, digits: int) -> float | None:
    """Return the number rounded; None if it is not finite."""
    number = float(value)
    return round(number, digits) if math.isfinite(number) else None
