"""The reader thread: bytes from the port to records; a port that fails is opened again for ever."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from epithermal_edge.config.station_toml import Source
from epithermal_edge.errors import FrameError, SourceError
from epithermal_edge.loggers import parser as frames
from epithermal_edge.loggers import ports
from epithermal_edge.loggers.columns import Options
from epithermal_edge.records import RawRecord
from epithermal_edge.station.clock import read_boottime
from epithermal_edge.times import utc

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


def question(query: str, since_s: float, utc_offset_h: float) -> bytes:
    """What to send to a logger that keeps its records, so that it sends those it still has.

    Parameters
    ----------
    query :
        `source.query`: strftime's codes stand for the time.
    since_s : [s]
        Unix time of the last record's end.
    utc_offset_h : [h]
        The logger's clock minus UTC.
    """
    moment = datetime.fromtimestamp(since_s + utc_offset_h * 3600.0, UTC)
    return moment.strftime(query).encode("ascii")


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
    newest_s : [s]
        Gives the Unix time of the newest record that was taken in; -inf: none.
    """

    def __init__(
        self,
        source: Source,
        put: Callable[[Read], None],
        stopping: threading.Event,
        boottime: Callable[[], float] = read_boottime,
        newest_s: Callable[[], float] = lambda: -math.inf,
    ) -> None:
        super().__init__(name="reader", daemon=True)
        self._source, self._put, self._stopping = source, put, stopping
        self._boottime, self._newest_s = boottime, newest_s
        self._room = threading.Semaphore(AHEAD)
        self._context = frames.start(source.dialect, source_options(source))
        self._ask = False  # lines may have been missed
        self._asked = -math.inf  # [s], monotonic
        self.damaged = 0
        self.records = 0
        self.opened = 0  # attempts to open the port
        self.asked = 0  # questions for missed records
        self.is_open = False
        self.last_error: str | None = None
        self.last_read = time.monotonic()  # [s], monotonic
        self.beat = time.monotonic()  # when the thread was last seen to go on
        self._last_read_wall: float | None = None

    def taken(self) -> None:
        """A record was taken from the queue: there is room for another."""
        self._room.release()

    def health(self) -> dict[str, object]:
        """What an operator wants to know of the port."""
        heard = self._last_read_wall
        return {
            "url": self._source.url,
            "open": self.is_open,
            "opened": self.opened,
            "records": self.records,
            "damaged": self.damaged,
            "asked": self.asked,
            "last_read": None if heard is None else utc(heard),
            "last_error": self.last_error,
        }

    def run(self) -> None:
        """The thread's body."""
        buffer, limit = b"", self._context.dialect.line_bytes
        for chunk in ports.reconnecting(self._open, self._stopping):
            self.beat = time.monotonic()
            if not chunk:
                continue
            self.last_read, self._last_read_wall = time.monotonic(), time.time()
            buffer, lines = frames.split(buffer, chunk, limit)
            for line in lines:
                self._take(line)

    def _open(self) -> Iterator[bytes]:
        self.opened += 1
        source, url = self._source, str(self._source.url)
        self._ask, self._asked = True, -math.inf
        chunks = ports.serial_chunks(
            url, source.baud, self._stopping, silence_s=source.silence_s, ask=self._question
        )
        try:
            for chunk in chunks:
                if not self.is_open:
                    self.is_open = True
                    log.info("%s is open", url)
                yield chunk
        except SourceError as fault:
            self.last_error = str(fault)
            raise
        finally:
            self.is_open = False

    def _question(self) -> bytes:
        """What to send now: once after opening, and for damaged lines once in an interval."""
        now = time.monotonic()
        query, newest_s = self._source.query, self._newest_s()
        due = self._ask and now - self._asked >= self._source.interval_s
        if query is None or not due or math.isinf(newest_s):
            return b""
        self._ask, self._asked = False, now
        self.asked += 1
        text = question(query, newest_s, self._source.utc_offset_h)
        log.info("asking the logger for what was missed: %r", text)
        return text

    def _take(self, line: bytes) -> None:
        try:
            self._context, record = frames.parse(self._context, line)
        except FrameError as fault:
            self.damaged += 1
            self._ask = True
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
        self.records += 1
        self._put(Read(record, heard_s))
