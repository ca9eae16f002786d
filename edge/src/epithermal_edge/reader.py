"""The reader thread: bytes from the port to records; a port that fails is opened again for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from epithermal_edge import frames, ports
from epithermal_edge.clock import read_boottime
from epithermal_edge.columns import Options
from epithermal_edge.config import Source
from epithermal_edge.errors import FrameError
from epithermal_edge.records import RawRecord

AHEAD = 256  # records that may wait for the engine before the reader stops reading
TOLD, TOLD_EACH = 20, 1000  # the first damaged lines are shown, later only each so many

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Read:
    """A record that waits for the engine."""

    record: RawRecord
    boottime_s: float  # when it was heard


def source_options(source: Source) -> Options:
    """What the configuration says about the logger's lines."""
    return Options(
        columns=source.columns,
        count_columns=source.count_columns,
        interval_s=source.interval_s,
        utc_offset_h=source.utc_offset_h,
        use_inside_air=source.use_inside_air,
        rain_mm_per_tip=source.rain_mm_per_tip,
    )


class Reader(threading.Thread):
    """Reads a port until told to stop.

    Parameters
    ----------
    source :
        With a url.
    put :
        Takes each record; the engine answers with `taken`.
    stopping :
        Set from outside to end the thread.
    boottime : [s]
        Clock by which a record's arrival is told.
    """

    def __init__(
        self,
        source: Source,
        put: Callable[[Read], None],
        stopping: threading.Event,
        boottime: Callable[[], float] = read_boottime,
    ) -> None:
        super().__init__(name="reader", daemon=True)
        self._source, self._put, self._stopping = source, put, stopping
        self._boottime = boottime
        self._room = threading.Semaphore(AHEAD)
        self._context = frames.start(source.dialect, source_options(source))
        self.damaged = 0
        self.opened = 0  # attempts to open the port
        self.last_read = time.monotonic()  # [s], monotonic
        self.beat = time.monotonic()  # when the thread was last seen to go on

    def taken(self) -> None:
        """A record was taken from the queue: there is room for another."""
        self._room.release()

    def health(self) -> dict[str, object]:
        """Counts since the start."""
        return {"opened": self.opened, "damaged": self.damaged}

    def run(self) -> None:
        """The thread's body."""
        buffer, limit = b"", self._context.dialect.line_bytes
        for chunk in ports.reconnecting(self._open, self._stopping):
            self.beat = time.monotonic()
            if not chunk:
                continue
            self.last_read = time.monotonic()
            buffer, lines = frames.split(buffer, chunk, limit)
            for line in lines:
                self._take(line)

    def _open(self) -> Iterator[bytes]:
        self.opened += 1
        url = str(self._source.url)
        chunks = ports.serial_chunks(url, self._source.baud, self._stopping)
        for first in chunks:
            log.info("%s is open", url)
            yield first
            break
        yield from chunks

    def _take(self, line: bytes) -> None:
        try:
            self._context, record = frames.parse(self._context, line)
        except FrameError as fault:
            self.damaged += 1
            if self.damaged <= TOLD or self.damaged % TOLD_EACH == 0:
                log.warning("damaged line %d: %s: %r", self.damaged, fault, line[:80])
            return
        if record is None:
            return
        heard_s = self._boottime()
        while not self._room.acquire(timeout=1.0):
            self.beat = time.monotonic()
            if self._stopping.is_set():
                return
        self._put(Read(record, heard_s))
