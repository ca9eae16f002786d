"""What comes from the broker, on its way from the connection's thread to the main one.

A flood fills no memory: what is no good command stops here, and only so many messages wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from epithermal_edge.messages.message import Identity
from epithermal_edge.messages.topics import COMMAND
from epithermal_edge.mqtt import connection as link
from epithermal_edge.mqtt.commands import Command, Commands
from epithermal_edge.mqtt.connection import Received

ROOM = 64  # messages that may wait for the main thread


@dataclass(frozen=True, slots=True)
class Ordered:
    """A command that may be good: its signature is still to be checked."""

    link: int
    command: Command


LinkEvent = link.LinkEvent | Ordered


class Inbox:
    """Between connection and queue.

    Parameters
    ----------
    put :
        Into the queue.
    """

    def __init__(
        self, identity: Identity, commands: Commands | None, put: Callable[[LinkEvent], None]
    ) -> None:
        self._commands, self._put = commands, put
        self._orders = identity.topic(COMMAND, "")
        self._room = threading.Semaphore(ROOM)

    def offer(self, event: link.LinkEvent) -> None:
        """Hand over what is worth it; called from the connection's thread."""
        if not isinstance(event, Received):
            self._put(event)
            return
        offered: LinkEvent | None = event
        if self._commands is not None and event.topic.startswith(self._orders):
            command = self._commands.screen(event.topic, event.payload, event.retained)
            offered = Ordered(event.link, command) if command else None
        if offered is None:
            return
        if self._room.acquire(blocking=False):
            self._put(offered)
        elif self._commands is not None:
            self._commands.refuse("busy", event.topic)

    def taken(self, event: LinkEvent) -> None:
        """The main thread has it: there is room for another."""
        if isinstance(event, (Received, Ordered)):
            self._room.release()
