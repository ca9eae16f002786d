"""What a station listens to at its broker, and whether the broker lets it hear that."""

from __future__ import annotations

import logging

from epithermal_edge.messages.message import Identity
from epithermal_edge.messages.topics import COMMAND, STATUS, STORED
from epithermal_edge.mqtt.connection import Link, Subscribed

log = logging.getLogger(__name__)


class Hearing:
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
