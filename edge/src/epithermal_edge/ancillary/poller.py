"""Poll a file or NMDB for new counts of a neutron monitor, in a thread."""

from __future__ import annotations

import logging
import os
import random
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from epithermal_edge.config.weather_tables import Incoming
from epithermal_edge.errors import SourceError
from epithermal_edge.loggers.monitor_text import Pairs, head_of, read_monitor
from epithermal_edge.loggers.nmdb import fetch, nmdb_query, read_nmdb
from epithermal_edge.times import HOUR_S

FILE_EVERY_S = 10.0  # between two checks of the file's size and time
TAIL_BYTES = 1 << 17  # the part read of a growing file: its end, 16 weeks of hours
HEAD_BYTES = 1 << 14  # the part read of its begin: NEST's comment has 4 kB
HISTORY_S = 3 * 86400.0  # period that is requested from NMDB
RETRY_S = 60.0  # first limit of the pause after a failure; it doubles up to `every_s`

log = logging.getLogger(__name__)


class FileTail:
    """The end of a file that grows.

    Parameters
    ----------
    path :
        Lines of time and count; see `read_monitor`. An unfinished last line is read later.
    monitor :
        Name of the monitor, in a file of several; empty: the only one.
    """

    def __init__(self, path: Path, monitor: str = "") -> None:
        self._path, self._monitor = path, monitor
        self._last_version: tuple[int, int, int] | None = None

    def poll(self) -> Pairs:
        """Return the counts at the end of the file; empty if it has not changed.

        Raises
        ------
        SourceError
            The file cannot be read, or is of several or other monitors.
        """
        try:
            with open(self._path, "rb", opener=_open_at_once) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise SourceError(f"{self._path}: not a regular file; check incoming.file")
                version = (status.st_ino, status.st_size, status.st_mtime_ns)
                if version == self._last_version:
                    return []
                start = max(status.st_size - TAIL_BYTES, 0)
                head = file.read(HEAD_BYTES) if start else b""
                file.seek(start)
                data = file.read(TAIL_BYTES)
        except OSError as fault:
            raise SourceError(f"{self._path}: {fault.strerror}; check incoming.file") from fault
        lines = data[: data.rfind(b"\n") + 1]
        if start:  # within a line
            lines = lines[lines.find(b"\n") + 1 :]
        text = head_of(head.decode("utf-8-sig", "replace")) + lines.decode("utf-8-sig", "replace")
        try:
            rows = read_monitor(text, self._monitor).rows
        except SourceError as fault:
            raise SourceError(f"{self._path}: {fault}") from fault
        self._last_version = version  # of a file that could be read: a fault is reported again
        return rows


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting; a pipe would otherwise wait for its writer for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


class Nmdb:
    """Source of a monitor's hourly counts of the last days.

    Parameters
    ----------
    incoming :
        [incoming] with source "nmdb".
    wall :
        Return the Unix time [s].
    """

    def __init__(self, incoming: Incoming, wall: Callable[[], float]) -> None:
        self._incoming, self._wall = incoming, wall

    def poll(self) -> Pairs:
        """Fetch the counts of complete hours, with the Unix time [s] of their start.

        Raises
        ------
        SourceError
            No answer, or not NEST's answer for this monitor.
        """
        incoming, now = self._incoming, self._wall()
        query = nmdb_query(incoming.url, incoming.monitor, now - HISTORY_S, now)
        rows = read_nmdb(fetch(query, incoming.ca_file), incoming.monitor)
        return [(time_s, count) for time_s, count in rows if time_s + HOUR_S <= now]


class Poller(threading.Thread):
    """Thread that polls a source; after failures with exponential back-off and full jitter.

    Parameters
    ----------
    poll :
        Return counts, or raise SourceError.
    handle :
        Called with the counts.
    every_s : [s]
        Between two polls; also the longest pause after a failure.
    retry_s : [s]
        First limit of the pause after a failure.
    uniform :
        Draw a pause from (0, limit).
    """

    def __init__(
        self,
        poll: Callable[[], Pairs],
        handle: Callable[[Pairs], None],
        every_s: float,
        retry_s: float = RETRY_S,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        super().__init__(name="incoming", daemon=True)
        self._poll, self._handle = poll, handle
        self._every_s, self._retry_s, self._uniform = every_s, retry_s, uniform
        self._stopping = threading.Event()
        self.failures = 0  # since the last success
        self.last_error: str | None = None

    def run(self) -> None:
        """Poll until `stop`."""
        while not self._stopping.wait(self.poll_once()):
            pass

    def poll_once(self) -> float:
        """Poll once; return the pause before the next poll [s]."""
        try:
            self._handle(self._poll())
        except SourceError as fault:
            self.failures += 1
            self.last_error = str(fault)
            limit_s = min(self._retry_s * 2.0 ** min(self.failures - 1, 20), self._every_s)
            if self.failures & (self.failures - 1) == 0:
                log.warning("failure %d to read the neutron monitor: %s", self.failures, fault)
            return self._uniform(0.0, limit_s)
        self.failures, self.last_error = 0, None
        return self._every_s

    def stop(self) -> None:
        """Request the end; do not wait for a query in progress."""
        self._stopping.set()
