"""Read records from the logger's port in a thread; reopen the port after every failure."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from epithermal_edge.config.station_toml import Source
from epithermal_edge.errors import FrameError, SourceError
from epithermal_edge.loggers import diagnosis, parser, ports
from epithermal_edge.loggers.columns import Options
from epithermal_edge.records import RawRecord
from epithermal_edge.station.clock import read_boottime
from epithermal_edge.times import UtcStamps, instant

QUEUE_SLOTS = 256  # records that may wait for the engine before the reader pauses
LOGGED_FIRST, LOGGED_EVERY = 20, 1000  # damaged lines, flagged records: the first, then one in
RECENT_LINES = 8  # by which the port is judged
GOOD_IN_A_ROW = 3  # records after which earlier damage is over

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Read:
    """A record that waits for the engine."""

    record: RawRecord
    boottime_s: float  # boot time when it was read


def source_options(source: Source) -> Options:
    """Return the options of the parser from [source] of station.toml."""
    return Options(
        columns=source.columns,
        count_columns=source.count_columns,
        interval_s=source.interval_s,
        utc_offset_h=source.utc_offset_h,
        use_inside_air=source.use_inside_air,
        rain_mm_per_tip=source.rain_mm_per_tip,
    )


def format_query(query: str, since_s: float, utc_offset_h: float) -> bytes:
    """Format the query that makes a logger with a memory send its records since a time.

    Parameters
    ----------
    query :
        `source.query`, with strftime codes for the time.
    since_s : [s]
        Unix time of the last record's end.
    utc_offset_h : [h]
        The logger's clock minus UTC.

    Returns
    -------
    bytes
        Empty if the time has no date, such as that of a damaged journal.
    """
    moment = instant(since_s + utc_offset_h * 3600.0)
    return b"" if moment is None else moment.strftime(query).encode("ascii")


class Reader(threading.Thread):
    """Thread that reads a port until `stopping` is set.

    Parameters
    ----------
    source :
        Must have a url.
    put :
        Called with each record; its receiver calls `release_slot` for each.
    stopping :
        Event that ends the thread.
    boottime : [s]
        Clock for the arrival of records.
    newest_s : [s]
        Return the end of the newest committed record [Unix time]; -inf: none.
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
        self._slots = threading.Semaphore(QUEUE_SLOTS)
        self._context = parser.start(source.dialect, source_options(source))
        self._query_due = False  # records may have been missed
        self._queried_at = -math.inf  # when a query was last sent [s], monotonic
        self.damaged = 0
        self.flagged = 0  # records whose counts are not used, because of the quality column
        self.records = 0
        self.opened = 0  # attempts to open the port
        self.queries = 0  # queries for missed records
        self.is_open: bool | None = None  # None: being opened for the first time
        self.last_error: str | None = None
        self.last_read = time.monotonic()  # [s], monotonic
        self.heartbeat = time.monotonic()  # last progress of the thread [s], monotonic
        self._started_at = time.monotonic()
        self._has_read = False
        self._last_record: float | None = None  # arrival of the newest record [s], monotonic
        self._stamps = UtcStamps()
        self._recent: tuple[bool, ...] = ()  # whether each of the last lines was damaged
        self._last_fault: str | None = None
        self._sample: diagnosis.Sample = (b"", b"")  # bytes since the port was opened
        self._is_first_line = True  # since then: its beginning may be missing
        self._remedy: tuple[diagnosis.Sample, str] | None = None  # of the sample it was found in

    def release_slot(self) -> None:
        """Allow the reader to put one more record into the queue."""
        self._slots.release()

    def health(self) -> dict[str, object]:
        """Return the state of the port for health.json."""
        stamp, last_record, recent = self._stamps.format, self._last_record, self._recent
        is_suspect = any(recent) or (last_record is None and self._has_read)
        return {
            "url": self._source.url,
            "open": self.is_open,
            "opened": self.opened,
            "records": self.records,
            "damaged": self.damaged,
            "flagged": self.flagged,
            "asked": self.queries,
            "started": stamp(self._started_at),
            "last_read": stamp(self.last_read) if self._has_read else None,
            "last_record": None if last_record is None else stamp(last_record),
            "last_error": self.last_error,
            "recent": len(recent),
            "recent_damaged": sum(recent),
            "last_fault": self._last_fault if is_suspect else None,
            "remedy": self._find_remedy() if is_suspect else None,
        }

    def _find_remedy(self) -> str:
        """Return the remedy for what the port sends; computed once for each sample."""
        sample, source, plan = self._sample, self._source, self._context.plan
        if self._remedy is None or self._remedy[0] != sample:
            options, header = source_options(source), plan.header if plan else ()
            remedy = diagnosis.find_remedy(source.dialect, options, source.baud, sample, header)
            self._remedy = sample, remedy
        return self._remedy[1]

    def run(self) -> None:
        """Read chunks, split them into lines and parse these until `stopping` is set."""
        buffer, limit = b"", self._context.dialect.line_bytes
        for chunk in ports.reconnecting(self._open, self._stopping):
            self.heartbeat = time.monotonic()
            if not chunk:
                continue
            self.last_read, self._has_read = time.monotonic(), True
            self._sample = diagnosis.extend_sample(self._sample, chunk)
            buffer, lines = parser.split(buffer, chunk, limit)
            for line in lines:
                self._take(line)

    def _open(self) -> Iterator[bytes]:
        self.opened += 1
        source, url = self._source, str(self._source.url)
        self._query_due, self._queried_at = True, -math.inf
        chunks = ports.serial_chunks(
            url,
            source.baud,
            self._stopping,
            silence_s=source.silence_s,
            next_query=self._next_query,
        )
        try:
            for chunk in chunks:
                if not self.is_open:
                    self.is_open, self._is_first_line = True, True
                    self._sample = b"", b""
                    log.info("%s is open", url)
                yield chunk
        except SourceError as fault:
            self.last_error = str(fault)
            raise
        finally:
            self.is_open = False

    def _next_query(self) -> bytes:
        """Return the query to send now: after opening, and once per interval after damage."""
        now = time.monotonic()
        query, newest_s = self._source.query, self._newest_s()
        due = self._query_due and now - self._queried_at >= self._source.interval_s
        if query is None or not due or math.isinf(newest_s):
            return b""
        self._query_due, self._queried_at = False, now
        text = format_query(query, newest_s, self._source.utc_offset_h)
        if not text:
            log.warning("no query for missed records: the newest ends at %g s, no date", newest_s)
            return text
        self.queries += 1
        log.info("querying the logger for missed records: %r", text)
        return text

    def _take(self, line: bytes) -> None:
        try:
            self._context, record = parser.parse(self._context, line)
        except FrameError as fault:
            self.damaged += 1
            self._query_due = True
            self._last_fault = str(fault)
            if not self._is_first_line:
                self._recent = (*self._recent, True)[-RECENT_LINES:]
            self._is_first_line = False
            if self.damaged <= LOGGED_FIRST or self.damaged % LOGGED_EVERY == 0:
                log.warning("damaged line %d: %s: %r", self.damaged, fault, line[:80])
            return
        self._is_first_line = False
        if record is None:
            return
        if self._context.flagged > self.flagged:
            self.flagged = self._context.flagged
            if self.flagged <= LOGGED_FIRST or self.flagged % LOGGED_EVERY == 0:
                log.warning("%s", parser.describe_flagged(self._context))
        self._last_record = time.monotonic()
        self._recent = (*self._recent, False)[-RECENT_LINES:]
        if not any(self._recent[-GOOD_IN_A_ROW:]) and len(self._recent) >= GOOD_IN_A_ROW:
            self._recent = self._recent[-GOOD_IN_A_ROW:]
        arrived_s = self._boottime()
        while not self._slots.acquire(timeout=1.0):
            self.heartbeat = time.monotonic()
            if self._stopping.is_set():
                return
        self.records += 1
        self._put(Read(record, arrived_s))
