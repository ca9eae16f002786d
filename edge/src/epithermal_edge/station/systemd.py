"""What systemd is told: ready, status, stopping, and that all parts make progress.

The protocol is sd_notify(3): datagrams to the socket named in NOTIFY_SOCKET. Without it, silence.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

FEEDS = 4  # in one time of the watchdog
STALE = 0.5  # of that time: a part that made no progress for so long is blocked

log = logging.getLogger(__name__)


class Service:
    """The station as systemd sees it.

    Parameters
    ----------
    environ :
        NOTIFY_SOCKET, and WATCHDOG_USEC where progress is watched (WATCHDOG_PID: of whom).
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        own = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if own and usec.isdigit() else 0.0
        self._fed = -1e9  # [s], monotonic
        self._status = ""
        self._blocked: tuple[str, ...] = ()

    def ready(self) -> None:
        """The start is over."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        if text != self._status:
            self._status = text
            self._tell(f"STATUS={text}")

    def extend(self, now: float) -> None:
        """A long piece of work at the start goes on: neither it nor the watchdog shall end it."""
        if now - self._fed >= 1.0:
            self._fed = now
            self._tell("EXTEND_TIMEOUT_USEC=60000000\nWATCHDOG=1")

    def feed(self, now: float, progress: Mapping[str, float]) -> None:
        """Feed the watchdog, unless a part is blocked.

        Parameters
        ----------
        now : [s]
            Monotonic clock.
        progress : [s]
            When each part was last seen to go on.
        """
        if self.watchdog_s <= 0.0 or now - self._fed < self.watchdog_s / FEEDS:
            return
        limit_s = STALE * self.watchdog_s
        blocked = tuple(name for name, at in progress.items() if now - at > limit_s)
        if blocked != self._blocked:
            self._blocked = blocked
            log.error("blocked: %s", ", ".join(blocked) or "nothing any more")
        if not blocked:
            self._fed = now
            self._tell("WATCHDOG=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(text.encode(), self._address)
        except OSError as error:
            log.debug("systemd does not hear %s: %s", text, error)
