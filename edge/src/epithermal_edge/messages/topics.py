"""List every MQTT topic of a station, one row each: delivery, storage and expiry.

A new topic needs a row here, a schema in docs/mqtt and the code that publishes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from epithermal_edge.times import HOUR_S

LIVE_INTERVALS = 2.5  # how long a record is live, in intervals


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and how its messages are delivered, stored and dropped."""

    pattern: str  # with {prefix}, {station} and {homeassistant}; + is a verb or a kind
    word: str  # name in the outbox's column `kind`; stored in journals, so it never changes
    schema: str  # docs/mqtt/<schema>.schema.json
    qos: int = 1
    retain: bool = False
    stored: bool = False  # stored in the journal's outbox until it is delivered
    newest_only: bool = False  # replaces waiting messages of its topic and is sent first
    drop_order: int | None = None  # when the journal is full, 1 is dropped first; None: never
    life_s: float | None = None  # time from its instant to its expiry ...
    life_intervals: float | None = None  # ... or the same in intervals between records
    published: bool = True  # False: the station receives it

    def fill(self, word: str = "+", **names: str) -> str:
        """Return the pattern with the names and the verb or kind filled in."""
        topic = self.pattern.format(**names)
        return topic.removesuffix("+") + word if topic.endswith("+") else topic

    def expires_s(self, instant_s: float, interval_s: float) -> float | None:
        """Return the Unix time at which a message expires [s]; None: never.

        Parameters
        ----------
        instant_s : [s, Unix time]
            Time of the message's content.
        interval_s : [s]
            Interval between two records.
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
    """Return the topic of a stored word; a new one for a word that a later version has stored.

    Messages in a journal that a later version has written are still delivered.
    """
    for topic in STORED:
        if topic.word == word:
            return topic
    return Topic("", word, "", retain=retain, stored=True)
