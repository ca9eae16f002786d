"""Filter and queue the broker's messages from the connection's thread for the main thread.

A flood cannot fill the memory: invalid commands end here, and the queue is bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from epithermal_edge.messages.message import Identity
from epithermal_edge.messages.topics import COMMAND
from epithermal_edge.mqtt import connection
from epithermal_edge.mqtt.commands import Command, Commands
from epithermal_edge.mqtt.connection import Received

QUEUE_SLOTS = 64  # most messages that wait for the main thread


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A command that passed all checks except that of its signature."""

    link: int
    command: Command


LinkEvent = connection.LinkEvent | CommandReceived


class Inbox:
    """Filter between connection and queue.

    Parameters
    ----------
    put :
        Puts an event into the queue.
    """

    def __init__(
        self, identity: Identity, commands: Commands | None, put: Callable[[LinkEvent], None]
    ) -> None:
        self._commands, self._put = commands, put
        self._command_prefix = identity.topic(COMMAND, "")
        self._slots = threading.Semaphore(QUEUE_SLOTS)

    def put(self, event: connection.LinkEvent) -> None:
        """Queue an event unless it is an invalid command; called from the connection's thread."""
        if not isinstance(event, Received):
            self._put(event)
            return
        passed: LinkEvent | None = event
        if self._commands is not None and event.topic.startswith(self._command_prefix):
            command = self._commands.validate(event.topic, event.payload, event.retained)
            passed = CommandReceived(event.link, command) if command else None
        if passed is None:
            return
        if self._slots.acquire(blocking=False):
            self._put(passed)
        elif self._commands is not None:
            self._commands.count_refusal("busy", event.topic)

    def release_slot(self, event: LinkEvent) -> None:
        """Release the queue slot of an event that the main thread has taken out."""
        if isinstance(event, (Received, CommandReceived)):
            self._slots.release()
