"""Start each connection: publish status, meta, discovery and answers; subscribe to topics.

Nothing here outlives a lost connection: the next connection starts with all of it again.
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

TROUBLE_EACH_S = 10.0  # shortest time between two reports of trouble
ANNOUNCE_EACH_S = 10.0  # shortest time between two announcements to Home Assistant

log = logging.getLogger(__name__)


class Presence:
    """Queue of messages that are sent before the outbox.

    Parameters
    ----------
    meta :
        Payload of the meta topic.
    discovery :
        Discovery message for Home Assistant; None: no discovery.
    """

    def __init__(self, identity: Identity, meta: bytes, discovery: Message | None) -> None:
        self._identity, self._meta, self._discovery = identity, meta, discovery
        self._reported: str | None = None  # trouble in the last status
        self._reported_at = self._announced_at = -math.inf
        self._status, self._is_overwritten = b"", False
        self.waiting: deque[Message] = deque()
        self.in_flight: dict[int, str] = {}  # topics by packet

    def set_meta(self, meta: bytes) -> None:
        """Replace the payload of the meta topic."""
        self._meta = meta

    def clear(self) -> None:
        """Forget all messages of a lost connection."""
        self.waiting.clear()
        self.in_flight.clear()

    def drop_all_but_answers(self) -> None:
        """Drop all waiting messages except answers to commands, before a stop."""
        self.waiting = deque(message for message in self.waiting if message.kind == ANSWER)

    def queue_status(self, state: str, session: str, trouble: str | None, now: float) -> None:
        """Queue the status of a connection."""
        self._reported, self._reported_at = trouble, now
        body = station.status(self._identity, state, session, trouble)
        self._status, self._is_overwritten = body, False
        self.waiting.append(self._identity.message(STATUS, body))

    def handle_status(self, payload: bytes) -> None:
        """Handle a status at the broker: one of another client must not stay.

        What arrives before our own is acknowledged is replaced by it.
        """
        topic = self._identity.topic(STATUS)
        is_pending = topic in (*self.in_flight.values(), *(m.topic for m in self.waiting))
        self._is_overwritten = not is_pending and payload != self._status

    def queue_trouble(self, session: str, trouble: str | None, now: float) -> None:
        """Queue the status again if the trouble has changed, or if another client replaced it."""
        is_due = trouble != self._reported or self._is_overwritten
        if is_due and now - self._reported_at >= TROUBLE_EACH_S:
            self.queue_status("online", session, trouble, now)

    def queue_announcement(self) -> None:
        """Queue meta and discovery."""
        self.waiting.append(self._identity.message(META, self._meta))
        if self._discovery is not None:
            self.waiting.append(self._discovery)

    def handle_birth(self, payload: bytes, now: float) -> None:
        """Announce again after a birth message: Home Assistant forgets devices at a restart."""
        born = payload == homeassistant.ONLINE and now - self._announced_at >= ANNOUNCE_EACH_S
        if born and self._discovery is not None:
            self._announced_at = now
            self.waiting.append(self._discovery)

    def send(
        self, publish: Callable[[Message, int | None], int | None], room: int, wall_s: float
    ) -> None:
        """Send waiting messages while fewer than `room` are in flight."""
        while self.waiting and len(self.in_flight) < room:
            message = self.waiting.popleft()
            expires_s = message.expires_s
            mid = publish(message, None if expires_s is None else int(expires_s - wall_s))
            if mid is None:
                return
            self.in_flight[mid] = message.topic


class Subscriptions:
    """Subscriptions, renewed at each connection.

    Parameters
    ----------
    birth :
        Topic of Home Assistant's birth message; None: not subscribed.
    takes_commands, reads_back :
        Whether to subscribe to `cmd/` and to the station's own messages.
    """

    def __init__(
        self, identity: Identity, birth: str | None, takes_commands: bool, reads_back: bool
    ) -> None:
        self._status = identity.topic(STATUS)
        self._optional = {self._status, birth}
        own = [identity.topic(topic).rpartition("/")[0] + "/#" for topic in STORED]
        self._own = list(dict.fromkeys(own)) if reads_back else []
        commands = [identity.topic(COMMAND)] if takes_commands else []
        births = [birth] if birth is not None else []
        self._names = [self._status, *commands, *births, *self._own]
        self._pending: dict[int, str] = {}  # by packet
        self._suspended: dict[str, float] = {}  # until when [s, monotonic]
        self.forbidden: set[str] = set()

    def suspend(self, name: str, until: float) -> None:
        """Leave out a topic at connections before `until` [s, monotonic], if it is optional.

        A retained message would otherwise end each connection.
        """
        if name in self._optional:
            self._suspended[name] = until

    def subscribe(self, link: Link, now: float) -> None:
        """Subscribe to all topics at the start of a connection [s, monotonic]."""
        self.forbidden.clear()
        for name in self._names:
            if now < self._suspended.get(name, -math.inf):
                continue
            mid = link.subscribe(name, retained=name == self._status)
            if mid is not None:
                self._pending[mid] = name

    def handle_answer(self, event: Subscribed) -> None:
        """Handle the broker's answer to one subscription."""
        name = self._pending.pop(event.mid, None)
        if name is not None and event.failed:
            log.error("the broker forbids subscribing to %s", name)
            if name not in self._optional:
                self.forbidden.add(name)

    def reset(self) -> None:
        """Forget the pending subscriptions of a lost connection."""
        self._pending.clear()

    @property
    def is_pending(self) -> bool:
        """Whether the broker has not yet answered all subscriptions."""
        return bool(self._pending)

    @property
    def can_read_back(self) -> bool:
        """Whether all topics to read back are subscribed."""
        return not self.forbidden.union(self._pending.values()).intersection(self._own)
