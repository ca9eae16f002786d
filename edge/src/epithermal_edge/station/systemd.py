"""Notify systemd that the station is ready, stopping or making progress, and of its status.

The protocol is sd_notify(3): datagrams to the socket named in NOTIFY_SOCKET. Without that variable,
nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterable, Mapping

FEEDS_PER_TIMEOUT = 4  # watchdog notifications per time-out
STALE_SHARE = 0.5  # share of the time-out after which a part without progress counts as blocked

log = logging.getLogger(__name__)


class Notifier:
    """Sender of sd_notify messages.

    Parameters
    ----------
    environ :
        Environment with NOTIFY_SOCKET and, if the watchdog is enabled, WATCHDOG_USEC (only for the
        process WATCHDOG_PID).
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if is_ours and usec.isdigit() else 0.0
        self._fed = -1e9  # [s], monotonic
        self._status = ""
        self._blocked: tuple[str, ...] = ()
        self._ended: tuple[str, ...] = ()

    def notify_ready(self) -> None:
        """Notify that the start is complete."""
        self._notify("READY=1")

    def notify_stopping(self) -> None:
        """Notify that a clean stop has begun."""
        self._notify("STOPPING=1")

    def notify_status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        if text != self._status:
            self._status = text
            self._notify(f"STATUS={text}")

    def extend_timeout(self, now: float) -> None:
        """Extend start time-out and watchdog while long work at the start makes progress."""
        if now - self._fed >= 1.0:
            self._fed = now
            self._notify("EXTEND_TIMEOUT_USEC=60000000\nWATCHDOG=1")

    def feed_watchdog(
        self, now: float, progress: Mapping[str, float], threads: Iterable[threading.Thread] = ()
    ) -> None:
        """Notify the watchdog, unless a part is blocked or a thread has ended.

        Parameters
        ----------
        now : [s]
            Monotonic clock.
        progress : [s]
            Time of the last progress of each part.
        threads :
            Threads that should run.
        """
        ended = tuple(thread.name for thread in threads if not thread.is_alive())
        if ended != self._ended:
            self._ended = ended
            log.error("threads that have ended: %s", ", ".join(ended) or "none")
        if self.watchdog_s <= 0.0 or now - self._fed < self.watchdog_s / FEEDS_PER_TIMEOUT:
            return
        limit_s = STALE_SHARE * self.watchdog_s
        blocked = tuple(name for name, at in progress.items() if now - at > limit_s)
        if blocked != self._blocked:
            self._blocked = blocked
            log.error("blocked: %s", ", ".join(blocked) or "nothing")
        if not blocked and not ended:
            self._fed = now
            self._notify("WATCHDOG=1")

    def _notify(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(text.encode(), self._address)
        except OSError as error:
            log.debug("cannot notify systemd of %s: %s", text, error)
