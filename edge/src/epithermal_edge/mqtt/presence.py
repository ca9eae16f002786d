"""What a station says beside its journal: birth, trouble, what is constant, answers to commands.

Nothing of it is kept over a lost connection: the next one begins with all of it again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from epithermal_edge.messages import homeassistant, station
from epithermal_edge.messages.message import Identity, Message
from epithermal_edge.messages.topics import ANSWER, META, STATUS

TROUBLE_EACH_S = 10.0  # trouble is told no more often
ANNOUNCE_EACH_S = 10.0  # to Home Assistant


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
