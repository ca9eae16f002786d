"""Begin each connection anew: publish status, meta, discovery and answers; subscribe to topics.

Nothing here outlives a lost connection: the next one begins with all of it again.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable

from epithermal_edge.messages import homeassistant, station
from epithermal_edge.messages.message import Identity, Message
from epithermal_edge.messages.topics import ANSWER, COMMAND, META, STATUS, STORED
from epithermal_edge.mqtt.connection import Link, Subscribed

TROUBLE_EACH_S = 10.0  # trouble is told no more often
ANNOUNCE_EACH_S = 10.0  # to Home Assistant

log = logging.getLogger(__name__)


class Presence:
    """A queue that goes before the outbox.

    Parameters
    ----------
    meta :
        Payload of the meta topic.
    discovery :
        What Home Assistant is told, None: nothing.
    """

    def __init__(self, identity: Identity, meta: bytes, discovery: Message | None) -> None:
        self._identity, self._meta, self._discovery = identity, meta, discovery
        self._told: str | None = None  # trouble in the status
        self._told_at = self._announced_at = -math.inf
        self.waiting: deque[Message] = deque()
        self.in_flight: dict[int, str] = {}  # topics by packet

    def change_meta(self, meta: bytes) -> None:
        """What is constant has changed."""
        self._meta = meta

    def clear(self) -> None:
        """The connection is lost."""
        self.waiting.clear()
        self.in_flight.clear()

    def keep_answers(self) -> None:
        """The end: of what waits only answers to commands are still to be told."""
        self.waiting = deque(message for message in self.waiting if message.kind == ANSWER)

    def greet(self, state: str, session: str, trouble: str | None, now: float) -> None:
        """The status of a connection."""
        self._told, self._told_at = trouble, now
        body = station.status(self._identity, state, session, trouble)
        self.waiting.append(self._identity.message(STATUS, body))

    def tell_trouble(self, session: str, trouble: str | None, now: float) -> None:
        """The status again, when it is another than was told."""
        if trouble != self._told and now - self._told_at >= TROUBLE_EACH_S:
            self.greet("online", session, trouble, now)

    def announce(self) -> None:
        """What is constant."""
        self.waiting.append(self._identity.message(META, self._meta))
        if self._discovery is not None:
            self.waiting.append(self._discovery)

    def meet(self, payload: bytes, now: float) -> None:
        """Home Assistant's birth or death; it forgets what was not announced again."""
        born = payload == homeassistant.ONLINE and now - self._announced_at >= ANNOUNCE_EACH_S
        if born and self._discovery is not None:
            self._announced_at = now
            self.waiting.append(self._discovery)

    def send(
        self, publish: Callable[[Message, int | None], int | None], room: int, wall_s: float
    ) -> None:
        """Send as much as there is room for."""
        while self.waiting and len(self.in_flight) < room:
            message = self.waiting.popleft()
            expires_s = message.expires_s
            mid = publish(message, None if expires_s is None else int(expires_s - wall_s))
            if mid is None:
                return
            self.in_flight[mid] = message.topic


class Subscriptions:
    """Subscriptions of one connection after another.

    Parameters
    ----------
    birth :
        Topic of Home Assistant's birth; None: of no interest.
    takes_commands, reads_back :
        Whether `cmd/` and its own messages are listened to.
    """

    def __init__(
        self, identity: Identity, birth: str | None, takes_commands: bool, reads_back: bool
    ) -> None:
        self._status = identity.topic(STATUS)
        self._can_do_without = {self._status, birth}
        own = [identity.topic(topic).rpartition("/")[0] + "/#" for topic in STORED]
        self._own = list(dict.fromkeys(own)) if reads_back else []
        commands = [identity.topic(COMMAND)] if takes_commands else []
        births = [birth] if birth is not None else []
        self._names = [self._status, *commands, *births, *self._own]
        self._asked: dict[int, str] = {}  # by packet
        self.forbidden: set[str] = set()

    def ask(self, link: Link) -> None:
        """Subscribe to all, at the begin of a connection."""
        self.forbidden.clear()
        for name in self._names:
            mid = link.subscribe(name, retained=name == self._status)
            if mid is not None:
                self._asked[mid] = name

    def answered(self, event: Subscribed) -> None:
        """The broker's answer to one subscription."""
        name = self._asked.pop(event.mid, None)
        if name is not None and event.failed:
            log.error("the broker forbids to subscribe to %s", name)
            if name not in self._can_do_without:
                self.forbidden.add(name)

    def reset(self) -> None:
        """The connection is gone."""
        self._asked.clear()

    @property
    def is_asking(self) -> bool:
        """Whether an answer is due."""
        return bool(self._asked)

    @property
    def hears_itself(self) -> bool:
        """Whether all that is to be read back will come."""
        return not self.forbidden.union(self._asked.values()).intersection(self._own)
