"""Merge weather (by MQTT) and neutron monitor counts (MQTT, file, NMDB) into the records.

A field that has a table in station.toml comes only from there; the logger's own column for it is
ignored, so that two instruments are never mixed. docs/station.md has the rules.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from epithermal_edge.ancillary.gauge import GaugeSeries
from epithermal_edge.ancillary.neutron_monitor import CountSeries
from epithermal_edge.ancillary.poller import FILE_EVERY_S, FileTail, Nmdb, Poller
from epithermal_edge.ancillary.subscriber import Subscriber, read_payload
from epithermal_edge.config.station_toml import Config
from epithermal_edge.config.weather_tables import FIELDS, Gauge
from epithermal_edge.errors import FrameError
from epithermal_edge.loggers.values import LIMITS
from epithermal_edge.records import NAN, RawRecord
from epithermal_edge.times import UtcStamps, utc

RAIN_GAP_S = 86400.0  # longest gap whose rain is added to the next record
CONSECUTIVE = 1.5  # intervals between two records without one missing between
AHEAD_S = 300.0  # a message time further in the future is wrong
MAX_BREAKS = 256  # losses of the connection that are stored
INCOMING = "incoming"
JUDGED_COUNTS = 3  # newest counts that tell whether they are of the right monitor

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Topic:
    """A subscribed topic of one table, and what became of its messages."""

    table: str
    topic: str
    max_age_s: float
    refused: int = 0  # messages since the last one that was used
    last_refusal: str | None = None  # of these

    def count(self, refusal: str | None) -> None:
        """Count a message; None: it was used."""
        self.refused, self.last_refusal = (self.refused + 1, refusal) if refusal else (0, None)


class AncillaryData:
    """Weather and incoming intensity of a station; `complete` is for one thread.

    Parameters
    ----------
    config :
        Its weather, incoming and weather_mqtt.
    since_s : [s]
        As for `continue_after`.
    wall :
        Return the Unix time [s]; it stamps messages without a time of their own.
    """

    def __init__(
        self,
        config: Config,
        since_s: float = -math.inf,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._interval_s, self._since_s, self._wall = config.source.interval_s, since_s, wall
        self._lock = threading.Lock()
        self._gauges = {gauge.name: GaugeSeries(gauge) for gauge in config.weather}
        self._incoming = config.incoming
        self._counts = CountSeries(float(config.site.incoming_ref))
        self._reference = float(config.site.incoming_ref)
        self._unlike: float | None = None  # the newest count, if the newest are implausible
        self._newest: list[tuple[float, float]] = []  # counts by which the monitor is judged
        self._n_counts = 0  # since the start
        self._topics = _topics(config)
        self._stamps = UtcStamps(wall)
        self._listening: float | None = None  # since when [s], monotonic
        self._breaks: deque[tuple[float, float]] = deque(maxlen=MAX_BREAKS)
        self._down_since_s = (
            -math.inf
        )  # start of the current loss of the connection; NaN: connected
        self._arrived_s = -math.inf
        self.rejected = 0  # messages without a usable number
        self._last_rejection: str | None = None
        self._poller = self._make_poller(config)
        self._subscriber = self._make_subscriber(config)

    def _make_poller(self, config: Config) -> Poller | None:
        incoming = config.incoming
        if incoming is None or incoming.source == "mqtt":
            return None
        if incoming.file is not None and incoming.source == "file":
            return Poller(
                FileTail(incoming.file, incoming.monitor).poll, self._add_counts, FILE_EVERY_S
            )
        return Poller(Nmdb(incoming, self._wall).poll, self._add_counts, incoming.every_s)

    def _make_subscriber(self, config: Config) -> Subscriber | None:
        topics = [gauge.topic for gauge in config.weather]
        if config.incoming is not None and config.incoming.topic and self._poller is None:
            topics.append(config.incoming.topic)
        if not topics or config.weather_mqtt is None:
            return None
        broker, client_id = (
            config.weather_mqtt,
            f"{config.id}_weather",
        )  # no station has _ in its id
        self._loss_s = 1.5 * broker.keepalive_s  # after this time a dead connection is detected
        return Subscriber(broker, client_id, topics, self.handle_message, self._handle_link)

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of RawRecord with a [weather.*] table."""
        return tuple(self._gauges)

    def start(self) -> None:
        """Start listening; read a file at once, so that the first record has a count."""
        if self._poller is not None:
            if self._incoming is not None and self._incoming.source == "file":
                self._poller.poll_once()
            self._poller.start()
        self.start_listening()

    def start_listening(self) -> None:
        """Subscribe to the topics; `start` does so too."""
        if self._subscriber is not None:
            self._subscriber.start()

    def poll(self, now: float) -> None:
        """Restart a connection whose thread has ended; `now` is of the monotonic clock [s]."""
        if self._subscriber is not None:
            self._subscriber.poll(now)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that run from `start` to `stop`."""
        return [] if self._poller is None else [self._poller]

    def stop(self) -> None:
        """Stop listening."""
        if self._poller is not None:
            self._poller.stop()
        if self._subscriber is not None:
            self._subscriber.stop()

    def continue_after(self, since_s: float) -> None:
        """Set the end of the newest committed record [s, Unix time]; -inf: none."""
        with self._lock:
            self._since_s = max(self._since_s, since_s)

    def restart_after(self, since_s: float) -> None:
        """Set the end of the newest committed record after later ones were set aside."""
        with self._lock:
            self._since_s = since_s

    def complete(self, record: RawRecord) -> RawRecord:
        """Return the record with the ancillary values of its interval; NaN where unknown.

        Parameters
        ----------
        record :
            From the logger, with its final time stamp. A record that does not end after all those
            before it gets no weather.
        """
        if not self._gauges and self._incoming is None:
            return record
        with self._lock:
            since_s, end_s = self._since_s, record.end_s
            is_new = end_s > since_s
            breaks = [*self._breaks]
            if not math.isnan(self._down_since_s):
                breaks.append((self._down_since_s, math.inf))
            values: dict[str, Any] = {
                name: series.interval_value(self._start_s(record, name), end_s, breaks)
                if is_new
                else NAN
                for name, series in self._gauges.items()
            }
            for name, value in values.items():
                low, high = LIMITS[name]
                if not low <= value <= high:
                    values[name] = NAN
            if self._incoming is not None:
                values[INCOMING] = self._counts.at(end_s, self._incoming.max_age_s)
            self._since_s = max(since_s, end_s)
        return replace(record, **values)

    def _start_s(self, record: RawRecord, name: str) -> float:
        """Return the start of a field's interval [s]; rain includes missing records before."""
        live_s = float(record.duration_s)
        own_s = record.end_s - (live_s if live_s > 0.0 else self._interval_s)
        if name not in ("rain_mm", "et0_mm") or math.isinf(self._since_s):
            return own_s
        max_gap_s = RAIN_GAP_S if name == "rain_mm" else CONSECUTIVE * self._interval_s
        if record.end_s - self._since_s <= max_gap_s:
            return self._since_s
        return record.end_s - RAIN_GAP_S if name == "rain_mm" else own_s

    def handle_message(self, topic: str, payload: bytes, retained: bool) -> None:
        """Handle a message from the broker; may be called from any thread."""
        now = self._wall()
        with self._lock:
            if now < self._arrived_s - 1.0:
                self._handle_clock_set_back(now)
            self._arrived_s = now
            for name, series in self._gauges.items():
                if series.gauge.topic == topic:
                    before = self.rejected
                    self._add_gauge_message(series, payload, retained, now)
                    self._count_message(name, before)
            incoming = self._incoming
            if incoming is not None and incoming.topic == topic:
                before = self.rejected
                pair = self._read_message(
                    payload, incoming.field, incoming.time_field, retained, now
                )
                if pair is not None:
                    self._store_counts([pair])
                self._count_message(INCOMING, before)

    def _count_message(self, name: str, rejected_before: int) -> None:
        if name in self._topics:
            refused = self.rejected > rejected_before
            self._topics[name].count(self._last_rejection if refused else None)

    def _add_gauge_message(
        self, series: GaugeSeries, payload: bytes, retained: bool, now: float
    ) -> None:
        gauge: Gauge = series.gauge
        pair = self._read_message(payload, gauge.field, gauge.time_field, retained, now)
        if pair is None:
            return
        value = pair[1] * gauge.scale + gauge.offset
        low, high = LIMITS[gauge.name] if gauge.kind != "total" else LIMITS["number"]
        if low <= value <= high:
            series.add(pair[0], value)
        else:
            self._reject(f"{gauge.topic}: {value:g} is outside of {low:g} to {high:g}")

    def _read_message(
        self, payload: bytes, field: str | None, time_field: str | None, retained: bool, now: float
    ) -> tuple[float, float] | None:
        """Return time [s, Unix time] and value; None if one of them is unusable."""
        try:
            value, time_s = read_payload(payload, field, time_field)
        except FrameError as fault:
            self._reject(str(fault))
            return None
        if time_s is None:
            if retained:
                self._reject("a retained message without a time: its age is unknown")
                return None
            return now, value
        if time_s > now + AHEAD_S:
            self._reject(f"its time is {time_s - now:.0f} s in the future")
            return None
        return time_s, value

    def _reject(self, reason: str) -> None:
        self.rejected += 1
        if self.rejected & (self.rejected - 1) == 0:  # the 1st, 2nd, 4th, ...
            log.warning("rejected weather message %d: %s", self.rejected, reason)
        self._last_rejection = reason

    def _handle_clock_set_back(self, now: float) -> None:
        """Drop all messages after the clock was set back: their times are invalid."""
        log.warning(
            "the clock was set back by %.0f s: weather messages dropped", self._arrived_s - now
        )
        for series in self._gauges.values():
            series.clear()
        self._breaks.clear()
        self._breaks.append((-math.inf, now))
        self._listening = time.monotonic()

    def _handle_link(self, up: bool) -> None:
        now = self._wall()
        with self._lock:
            if not up:
                self._down_since_s = now - self._loss_s
                return
            self._listening = time.monotonic()
            if not math.isnan(self._down_since_s):
                self._breaks.append((self._down_since_s, now))
                self._down_since_s = math.nan

    def _add_counts(self, pairs: list[tuple[float, float]]) -> None:
        with self._lock:
            self._store_counts(pairs)

    def _store_counts(self, pairs: list[tuple[float, float]]) -> None:
        if not pairs:
            return
        self._n_counts += self._counts.add(pairs)
        self._newest = [*self._newest, *sorted(pairs)][-JUDGED_COUNTS:]
        is_unlike = all(math.isnan(self._counts.at(time_s, 0.0)) for time_s, _ in self._newest)
        self._unlike = self._newest[-1][1] if is_unlike else None

    def poll_counts(self) -> None:
        """Read the file or query NMDB once, without starting."""
        if self._poller is not None:
            self._poller.poll_once()

    def health(self) -> dict[str, object]:
        """Return connection, newest values and errors for health.json."""
        with self._lock:
            newest = {name: utc(series.newest_s()) for name, series in self._gauges.items()}
            count_s, implausible = self._counts.newest_s(), self._counts.rejected
            count = self._counts.at(count_s, 0.0)
            ages = {**newest, INCOMING: utc(count_s)}
            topics = [
                {**asdict(topic), "newest": ages[name]} for name, topic in self._topics.items()
            ]
        link = None
        if self._subscriber is not None:
            since = None if self._listening is None else self._stamps.format(self._listening)
            link = {**self._subscriber.health(), "since": since}
        incoming = None
        if self._incoming is not None:
            incoming = {
                "newest": ages[INCOMING],
                "count": count if math.isfinite(count) else None,
                "implausible": implausible,
                **self._incoming_health(),
            }
        return {
            "link": link,
            "newest": newest,
            "refused": self.rejected,
            "last_refusal": self._last_rejection,
            "topics": topics,
            "incoming": incoming,
        }

    def _incoming_health(self) -> dict[str, object]:
        assert self._incoming is not None
        poller, reference = self._poller, self._reference
        return {
            "source": self._incoming.source,
            "max_age_s": self._incoming.max_age_s,
            "counts": self._n_counts,
            "ref": reference if math.isfinite(reference) else None,
            "unlike": self._unlike,
            "failures": 0 if poller is None else poller.failures,
            "last_error": None if poller is None else poller.last_error,
        }


def _topics(config: Config) -> dict[str, Topic]:
    """Return the subscribed topics, by field of RawRecord or `incoming`."""
    tables = {field: f"weather.{name}" for name, field in FIELDS.items()}
    topics = {g.name: Topic(tables[g.name], g.topic, g.max_age_s) for g in config.weather}
    incoming = config.incoming
    if incoming is not None and incoming.source == "mqtt" and incoming.topic:
        topics[INCOMING] = Topic(INCOMING, incoming.topic, incoming.max_age_s)
    return topics
