"""List every MQTT topic of a station: one row each, read by whoever publishes, stores or drops it.

A new topic is a row here, a schema in docs/mqtt and whoever publishes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from epithermal_edge.times import HOUR_S

LIVE_INTERVALS = 2.5  # how long a dashboard shows a value


@dataclass(frozen=True, slots=True)
class Topic:
    """A row of the table."""

    pattern: str  # {prefix}, {station} and {homeassistant} are filled in; + is a verb or a kind
    word: str  # its name in the outbox's column `kind`: stored in journals, so never changed
    schema: str  # docs/mqtt/<schema>.schema.json
    qos: int = 1
    retain: bool = False
    stored: bool = False  # waits in the journal's outbox until it is delivered
    newest_only: bool = False  # replaces what waits of the same topic, and overtakes the others
    drop_order: int | None = None  # when the journal is full, 1 goes first; None: never
    life_s: float | None = None  # the broker drops it this long after its instant ...
    life_intervals: float | None = None  # ... or after so many intervals between records
    published: bool = True  # False: the station receives it

    def fill(self, word: str = "+", **names: str) -> str:
        """Return the topic of a message: the pattern with its names and its verb or kind."""
        topic = self.pattern.format(**names)
        return topic.removesuffix("+") + word if topic.endswith("+") else topic

    def expires_s(self, instant_s: float, interval_s: float) -> float | None:
        """Return the Unix time after which nobody wants a message [s]; None: always wanted.

        Parameters
        ----------
        instant_s : [s, Unix time]
            What the message speaks of.
        interval_s : [s]
            Between two records.
        """
        if self.life_intervals is not None:
            return instant_s + self.life_intervals * interval_s
        return None if self.life_s is None else instant_s + self.life_s


STATUS = Topic("{prefix}/{station}/status", "status", "status", retain=True)
META = Topic("{prefix}/{station}/meta", "meta", "meta", retain=True)
OBS_THETA = Topic("{prefix}/{station}/obs/theta", "obs", "obs-theta", stored=True)
OBS_RAW = Topic("{prefix}/{station}/obs/raw", "raw", "obs-raw", stored=True, drop_order=1)
STATE_THETA = Topic(
    "{prefix}/{station}/state/theta", "state", "obs-theta",
    retain=True, stored=True, newest_only=True, drop_order=2, life_intervals=LIVE_INTERVALS,
)  # fmt: skip
HEALTH = Topic("{prefix}/{station}/health", "health", "health", qos=0)
EVENT = Topic("{prefix}/{station}/event/+", "event", "event", stored=True, drop_order=3)
COMMAND = Topic("{prefix}/{station}/cmd/+", "command", "cmd", published=False)
ANSWER = Topic("{prefix}/{station}/res/+", "answer", "res", life_s=HOUR_S)
DISCOVERY = Topic(
    "{homeassistant}/device/crns_{station}/config", "discovery", "discovery", retain=True
)

TOPICS = (
    STATUS, META, OBS_THETA, OBS_RAW, STATE_THETA, HEALTH, EVENT, COMMAND, ANSWER, DISCOVERY,
)  # fmt: skip
STORED = tuple(topic for topic in TOPICS if topic.stored)


def stored_topic(word: str, retain: bool) -> Topic:
    """Return the row of a stored word; one of its own for a word of a later software.

    A journal that a later software has written is delivered, not refused.
    """
    for topic in STORED:
        if topic.word == word:
            return topic
    return Topic("", word, "", retain=retain, stored=True)
