"""What others measure, merged into the records: weather by MQTT, the monitor by whatever way.

A field that has a table in station.toml comes from there alone; the logger's own column for it is
not looked at, so that two instruments are never mixed. docs/station.md has the rules.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from epithermal_edge.ancillary.gauge import Heard
from epithermal_edge.ancillary.neutron_monitor import Series
from epithermal_edge.ancillary.poller import FILE_EACH_S, FileTail, Nmdb, Poller
from epithermal_edge.ancillary.subscriber import Subscriber, read_payload
from epithermal_edge.config.station_toml import Config
from epithermal_edge.config.weather_tables import Gauge
from epithermal_edge.errors import FrameError
from epithermal_edge.loggers.values import LIMITS
from epithermal_edge.records import NAN, RawRecord
from epithermal_edge.times import utc

RAIN_REACH_S = 86400.0  # rain since the record before, after a gap at most so far back
FOLLOWS_ON = 1.5  # intervals between two records that have none missing between them
AHEAD_S = 300.0  # a time so far in the future is wrong
BREAKS = 256  # losses of the link that are remembered
INCOMING = "incoming"

log = logging.getLogger(__name__)


class Surroundings:
    """Listens while the station runs; `complete` is for one thread.

    Parameters
    ----------
    config :
        Its weather, incoming and listens_to.
    since_s : [s]
        As for `go_on_from`.
    wall :
        Unix time [s]; messages without a time of their own are stamped by it.
    """

    def __init__(
        self,
        config: Config,
        since_s: float = -math.inf,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._interval_s, self._since_s, self._wall = config.source.interval_s, since_s, wall
        self._lock = threading.Lock()
        self._heard = {gauge.name: Heard(gauge) for gauge in config.weather}
        self._incoming = config.incoming
        self._series = Series(float(config.site.incoming_ref))
        self._breaks: deque[tuple[float, float]] = deque(maxlen=BREAKS)
        self._down_s = -math.inf  # since when the link is down; NaN: it is up
        self._arrived_s = -math.inf
        self.refused = 0  # messages without a usable number
        self._last_refusal: str | None = None
        self._poller = self._make_poller(config)
        self._subscriber = self._make_subscriber(config)

    def _make_poller(self, config: Config) -> Poller | None:
        incoming = config.incoming
        if incoming is None or incoming.source == "mqtt":
            return None
        if incoming.file is not None and incoming.source == "file":
            return Poller(FileTail(incoming.file).look, self._take_counts, FILE_EACH_S)
        return Poller(Nmdb(incoming, self._wall).look, self._take_counts, incoming.every_s)

    def _make_subscriber(self, config: Config) -> Subscriber | None:
        topics = [gauge.topic for gauge in config.weather]
        if config.incoming is not None and config.incoming.topic and self._poller is None:
            topics.append(config.incoming.topic)
        if not topics or config.listens_to is None:
            return None
        broker, client_id = config.listens_to, f"{config.id}-weather"
        self._loss_s = 1.5 * broker.keepalive_s  # by then a link that died is known to be dead
        return Subscriber(broker, client_id, topics, self.take_message, self._link)

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of RawRecord that a [weather.*] table promises."""
        return tuple(self._heard)

    def start(self) -> None:
        """Begin to listen. A file is read at once: the first record shall have its count."""
        if self._poller is not None:
            if self._incoming is not None and self._incoming.source == "file":
                self._poller.turn()
            self._poller.start()
        if self._subscriber is not None:
            self._subscriber.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._poller is not None:
            self._poller.stop()
        if self._subscriber is not None:
            self._subscriber.stop()

    def go_on_from(self, since_s: float) -> None:
        """Take note of the newest record that is known [s, Unix time]; -inf: none."""
        with self._lock:
            self._since_s = max(self._since_s, since_s)

    def complete(self, record: RawRecord) -> RawRecord:
        """The record with what is known of its interval; NaN where nothing is.

        Parameters
        ----------
        record :
            As the logger gave it, its end settled. One that does not end after those before gets
            nothing.
        """
        if not self._heard and self._incoming is None:
            return record
        with self._lock:
            since_s, end_s = self._since_s, record.end_s
            new = end_s > since_s
            breaks = [*self._breaks]
            if not math.isnan(self._down_s):
                breaks.append((self._down_s, math.inf))
            values = {
                name: heard.value(self._start_s(record, name), end_s, breaks) if new else NAN
                for name, heard in self._heard.items()
            }
            for name, value in values.items():
                low, high = LIMITS[name]
                if not low <= value <= high:
                    values[name] = NAN
            if self._incoming is not None:
                values[INCOMING] = self._series.at(end_s, self._incoming.max_age_s)
            self._since_s = max(since_s, end_s)
        return replace(record, **values)

    def _start_s(self, record: RawRecord, name: str) -> float:
        """Where the interval of a field begins: rain takes in the records that are missing."""
        live_s = float(record.duration_s)
        own_s = record.end_s - (live_s if live_s > 0.0 else self._interval_s)
        if name not in ("rain_mm", "et0_mm") or math.isinf(self._since_s):
            return own_s
        reach_s = RAIN_REACH_S if name == "rain_mm" else FOLLOWS_ON * self._interval_s
        if record.end_s - self._since_s <= reach_s:
            return self._since_s
        return record.end_s - RAIN_REACH_S if name == "rain_mm" else own_s

    def take_message(self, topic: str, payload: bytes, retained: bool) -> None:
        """A message of the broker, from any thread."""
        now = self._wall()
        with self._lock:
            if now < self._arrived_s - 1.0:
                self._set_back(now)
            self._arrived_s = now
            for heard in self._heard.values():
                if heard.gauge.topic == topic:
                    self._hear(heard, payload, retained, now)
            incoming = self._incoming
            if incoming is not None and incoming.topic == topic:
                pair = self._read(payload, incoming.field, incoming.time_field, retained, now)
                if pair is not None:
                    self._series.take([pair])

    def _hear(self, heard: Heard, payload: bytes, retained: bool, now: float) -> None:
        gauge: Gauge = heard.gauge
        pair = self._read(payload, gauge.field, gauge.time_field, retained, now)
        if pair is None:
            return
        value = pair[1] * gauge.scale + gauge.offset
        low, high = LIMITS[gauge.name] if gauge.kind != "total" else LIMITS["number"]
        if low <= value <= high:
            heard.take(pair[0], value)
        else:
            self._refuse(f"{gauge.topic}: {value:g} is outside of {low:g} to {high:g}")

    def _read(
        self, payload: bytes, field: str | None, time_field: str | None, retained: bool, now: float
    ) -> tuple[float, float] | None:
        """Time and number; None where one of them cannot be used."""
        try:
            value, time_s = read_payload(payload, field, time_field)
        except FrameError as fault:
            self._refuse(str(fault))
            return None
        if time_s is None:
            if retained:
                self._refuse("a retained message without a time: how old it is, nobody knows")
                return None
            return now, value
        if time_s > now + AHEAD_S:
            self._refuse(f"its time is {time_s - now:.0f} s in the future")
            return None
        return time_s, value

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:  # the 1st, 2nd, 4th, ...
            log.warning("weather message %d without use: %s", self.refused, reason)
        self._last_refusal = reason

    def _set_back(self, now: float) -> None:
        """The clock was set back: nothing that was stamped before can be placed in time."""
        log.warning("the clock went back by %.0f s: weather starts anew", self._arrived_s - now)
        for heard in self._heard.values():
            heard.forget()
        self._breaks.clear()
        self._breaks.append((-math.inf, now))

    def _link(self, up: bool) -> None:
        now = self._wall()
        with self._lock:
            if not up:
                self._down_s = now - self._loss_s
            elif not math.isnan(self._down_s):
                self._breaks.append((self._down_s, now))
                self._down_s = math.nan

    def _take_counts(self, pairs: list[tuple[float, float]]) -> None:
        with self._lock:
            self._series.take(pairs)

    def health(self) -> dict[str, object]:
        """What is heard, and when it was last: for an operator."""
        with self._lock:
            newest = {name: utc(heard.newest_s()) for name, heard in self._heard.items()}
            count_s, implausible = self._series.newest_s(), self._series.refused
        link = None if self._subscriber is None else self._subscriber.health()
        poller = self._poller
        incoming = None
        if self._incoming is not None:
            incoming = {
                "source": self._incoming.source,
                "newest": utc(count_s),
                "implausible": implausible,
                "failures": 0 if poller is None else poller.failures,
                "last_error": None if poller is None else poller.last_error,
            }
        return {
            "link": link,
            "newest": newest,
            "refused": self.refused,
            "last_refusal": self._last_refusal,
            "incoming": incoming,
        }
