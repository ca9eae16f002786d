"""The thread that keeps a neutron monitor's counts fresh, from a file or from NMDB."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from epithermal_edge.ancillary.neutron_monitor import nmdb_query, read_nmdb, read_rows
from epithermal_edge.config.weather_tables import Incoming
from epithermal_edge.errors import SourceError
from epithermal_edge.times import HOUR_S

FILE_EACH_S = 10.0  # a look at the file's size and time
TAIL_BYTES = 1 << 17  # of a file that grows: the end of it, 16 weeks of hours
ANSWER_BYTES = 1 << 20  # NEST answers 3 days of hours in 3 kB
TIMEOUT_S = 30.0
BACK_S = 3 * 86400.0  # how far back NMDB is asked
RETRY_S = 60.0  # first limit of the pause after a failure; it doubles up to `every_s`

log = logging.getLogger(__name__)

Pairs = list[tuple[float, float]]


class FileTail:
    """The end of a file, read when it has changed.

    Parameters
    ----------
    path :
        Lines of time and count; see `read_rows`. A last line without its end is not read yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def look(self) -> Pairs:
        """Counts, or none where nothing has changed.

        Raises
        ------
        SourceError
            The file cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                seen = (status.st_ino, status.st_size, status.st_mtime_ns)
                if seen == self._seen:
                    return []
                start = max(status.st_size - TAIL_BYTES, 0)
                file.seek(start)
                data = file.read(TAIL_BYTES)
        except OSError as fault:
            raise SourceError(f"{self._path}: {fault.strerror}; check incoming.file") from fault
        self._seen = seen
        lines = data[: data.rfind(b"\n") + 1]
        if start:  # within a line
            lines = lines[lines.find(b"\n") + 1 :]
        return read_rows(lines.decode("utf-8", "replace"))


def fetch(address: str, ca_file: Path | None, timeout_s: float = TIMEOUT_S) -> str:
    """What a web server answers; its certificate is verified.

    Raises
    ------
    SourceError
        No answer in time, one that is not 200, or one that is too long.
    """
    import ssl  # these: time and memory that a station without NMDB need not pay
    from http.client import HTTPException
    from urllib.error import URLError
    from urllib.request import HTTPSHandler, Request, build_opener

    request = Request(address, headers={"User-Agent": "epithermal-edge", "Accept": "text/plain"})
    where = address.partition("?")[0]
    until = time.monotonic() + 2.0 * timeout_s
    body = bytearray()
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        opener = build_opener(HTTPSHandler(context=context))
        with opener.open(request, timeout=timeout_s) as answer:
            if not answer.url.startswith("https://"):
                raise SourceError(f"{where}: sends on to {answer.url[:80]}, which is not https")
            while chunk := answer.read1(1 << 16):
                body += chunk
                if len(body) > ANSWER_BYTES:
                    raise SourceError(f"{where}: answers with more than {ANSWER_BYTES} bytes")
                if time.monotonic() > until:
                    raise SourceError(f"{where}: did not end its answer in {2 * timeout_s:g} s")
    except (URLError, HTTPException, OSError) as fault:
        raise SourceError(f"{where}: {fault}; check network and incoming.url") from fault
    return body.decode("utf-8", "replace")


class Nmdb:
    """The last days' hourly counts of a monitor.

    Parameters
    ----------
    incoming :
        With source "nmdb".
    wall :
        Unix time [s].
    """

    def __init__(self, incoming: Incoming, wall: Callable[[], float]) -> None:
        self._incoming, self._wall = incoming, wall

    def look(self) -> Pairs:
        """Hours that are over: time of their start and count.

        Raises
        ------
        SourceError
            No answer, or not one of NEST for this monitor.
        """
        asked, now = self._incoming, self._wall()
        query = nmdb_query(asked.url, asked.monitor, now - BACK_S, now)
        rows = read_nmdb(fetch(query, asked.ca_file), asked.monitor)
        return [(time_s, count) for time_s, count in rows if time_s + HOUR_S <= now]


class Poller(threading.Thread):
    """Looks again and again; after a failure with full jitter, later and later.

    Parameters
    ----------
    look :
        Gives counts, or raises SourceError.
    take :
        Gets them.
    every_s : [s]
        Between two looks; also the longest pause after a failure.
    retry_s : [s]
        The pause's first limit.
    uniform :
        Draws a pause from (0, limit).
    """

    def __init__(
        self,
        look: Callable[[], Pairs],
        take: Callable[[Pairs], None],
        every_s: float,
        retry_s: float = RETRY_S,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        super().__init__(name="incoming", daemon=True)
        self._look, self._take = look, take
        self._every_s, self._retry_s, self._uniform = every_s, retry_s, uniform
        self._stopping = threading.Event()
        self.failures = 0  # since the last success
        self.last_error: str | None = None

    def run(self) -> None:
        """The thread's body."""
        while not self._stopping.wait(self.turn()):
            pass

    def turn(self) -> float:
        """Look once; how long to wait before the next [s]."""
        try:
            self._take(self._look())
        except SourceError as fault:
            self.failures += 1
            self.last_error = str(fault)
            limit_s = min(self._retry_s * 2.0 ** min(self.failures - 1, 20), self._every_s)
            if self.failures & (self.failures - 1) == 0:
                log.warning("failure %d: %s", self.failures, fault)
            return self._uniform(0.0, limit_s)
        self.failures, self.last_error = 0, None
        return self._every_s

    def stop(self) -> None:
        """Ask for the end; a query under way is not waited for."""
        self._stopping.set()
