"""Run the station: reader thread -> engine and journal -> sender, until it is stopped.

One thread owns the journal, the engine and the sender; it never waits for a failing disk or a
missing broker. The reader and the connection only put events into its queue. Only what the journal
has committed counts as received: after a power cut the station continues from there.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable

from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.config.station_toml import Config
from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.engine import Engine
from epithermal_edge.journal.journal import Journal, JournalError
from epithermal_edge.journal.recovery import RETRY_S, DiskErrors
from epithermal_edge.journal.sqlite import DamagedError, lock_folder
from epithermal_edge.messages import station
from epithermal_edge.messages.message import Identity
from epithermal_edge.mqtt.connection import Acknowledged, Disconnected
from epithermal_edge.mqtt.inbox import LinkEvent
from epithermal_edge.mqtt.sender import Sender
from epithermal_edge.rollout.loading import start_engine
from epithermal_edge.station import health_file, troubles
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.intake import Counts, Intake
from epithermal_edge.station.model_switch import ModelSwitch
from epithermal_edge.station.reader import Read, Reader
from epithermal_edge.station.systemd import Notifier
from epithermal_edge.station.uplink import build_sender, restart_commands
from epithermal_edge.times import UtcStamps, utc

TICK_S = 0.25  # the longest wait for an event
CATCH_UP_S = 0.05  # time for stored records between two events
STOP_S = 2.0  # how long a clean stop waits for reader and broker
DELETE_BATCH = 64  # acknowledged messages that are deleted together

log = logging.getLogger(__name__)


class Station:
    """A running station: everything between the logger's port and the broker.

    Parameters
    ----------
    config :
        Must have source.url.
    until_idle_s :
        Stop after this time [s] without a record and without a delivery; None: run until `stop`.

    Raises
    ------
    ConfigError
        source.url is missing.
    BundleError
        The bundle cannot be used by this station.
    JournalError
        The journal cannot be opened, and waiting will not help.
    """

    def __init__(
        self, config: Config, until_idle_s: float | None = None, clock: Clock | None = None
    ) -> None:
        if config.source.url is None:
            raise ConfigError(f"{config.path}: source.url: missing; run needs the logger's port")
        self._clock = clock or Clock()
        self._until_idle_s = until_idle_s
        self._config = config
        self._notifier = Notifier()
        self._engine = start_engine(config)
        self._lock = lock_folder(config.state_dir)
        self._ancillary = AncillaryData(config, wall=self._clock.wall)
        self._intake = Intake(
            config, self._engine, self._clock, self._ancillary, self._extend_timeout
        )
        self._model_switch = ModelSwitch(config, self._intake, self._use_engine)
        self._events: queue.SimpleQueue[Read | LinkEvent | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self.restart_requested = False  # the caller of `run` should start a new process
        self._sender: Sender | None = None
        self._senders = 0
        self._retry_at = self._send_retry_at = 0.0  # next attempt after a disk error [s, monotonic]
        self._disk = DiskErrors()
        self._file = health_file.HealthFile(config.state_dir)
        self._heartbeats = dict.fromkeys(("engine", "sender"), time.monotonic())
        self._active_at = self._clock.monotonic()
        self._started = self._clock.monotonic()
        self._stamps = UtcStamps(self._clock.wall, self._clock.monotonic)
        try:
            self._attempt(self._open_journal)
        except JournalError:
            self._unlock()
            raise
        self._reader = Reader(
            config.source,
            self._events.put,
            self._stopping,
            self._clock.boottime,
            self._intake.newest_s,
        )
        self._watched: list[threading.Thread] = [self._reader, *self._ancillary.threads()]

    def watch(self, thread: threading.Thread) -> None:
        """Register a thread; if it ends before the station, the watchdog restarts the station."""
        self._watched.append(thread)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def counts(self) -> Counts:
        """Counts of records since the start."""
        return self._intake.counts

    def _extend_timeout(self) -> None:
        """Extend systemd's time-outs during long work at the start."""
        self._notifier.extend_timeout(time.monotonic())

    def _open_journal(self, suspect: str | None = None) -> None:
        journal, identity = self._intake.open(suspect)
        self._sender = self._build_sender(journal, identity)

    def _build_sender(self, journal: Journal, identity: Identity) -> Sender | None:
        self._senders += 1
        number = self._senders

        def put(event: LinkEvent) -> None:
            if number == self._senders:  # else the event belongs to a journal that was replaced
                self._events.put(event)

        bundle, wall = self._engine.bundle, self._intake.now_s
        own = restart_commands(self._config, self.restart)
        return build_sender(self._config, identity, bundle, journal, put, wall, own)

    def _use_engine(self, engine: Engine) -> None:
        """Use another model from now on and publish its meta message."""
        self._engine = engine
        if self._sender:
            self._sender.update_meta(
                station.meta(self._config, self._intake.identity, engine.bundle)
            )

    def stop(self) -> None:
        """Request a clean stop, from any thread or a signal handler."""
        self._stopping.set()
        self._events.put(None)

    def restart(self) -> None:
        """Request a clean stop and a new start by the caller of `run`."""
        self.restart_requested = True
        self.stop()

    def run(self) -> Counts:
        """Read, estimate and publish until `stop` or, with until_idle_s, until idle."""
        self._ancillary.start()
        self._reader.start()
        self._notifier.notify_ready()
        try:
            while not self._stopping.is_set():
                self._run_once(TICK_S)
                if self._is_idle():
                    self.stop()
            self._notifier.notify_stopping()
            self._reader.join(STOP_S)
            while not self._events.empty() or self._has_work():
                self._run_once(0.0)
            self._disconnect_cleanly()
        finally:
            self._stopping.set()
            self._ancillary.stop()
            self._intake.close()
            self._unlock()
        if self._intake.waiting():
            log.error("%d records were not committed and are lost", self._intake.waiting())
        return self.counts

    def _has_work(self) -> bool:
        """Check whether a record waits and the disk may be used again."""
        return self._intake.waiting() > 0 and self._clock.monotonic() >= self._retry_at

    def _run_once(self, wait_s: float) -> None:
        """Handle at most one event, then advance engine, model switch, sender and reports."""
        try:
            is_behind = self._intake.is_behind and self._clock.monotonic() >= self._retry_at
            has_work = self._has_work() or self._model_switch.is_behind or is_behind
            event = self._events.get(timeout=0.0 if has_work else wait_s)
        except queue.Empty:
            event = None
        now = self._clock.monotonic()
        if isinstance(event, Read):
            self._active_at = now
            self._intake.add(event)
            self._reader.release_slot()
        elif event is not None and self._sender:
            self._sender.handle(event, now)
            if isinstance(event, Acknowledged):
                self._active_at = now
        if now >= self._retry_at and not self._attempt(lambda: self._store(event is None)):
            self._retry_at = self._clock.monotonic() + RETRY_S
        self._catch_up(now)
        if not self._has_work() and not self._stopping.is_set():
            self._attempt(lambda: self._model_switch.poll(now))
            if self._model_switch.is_behind:
                self._active_at = now
        self._heartbeats["engine"] = time.monotonic()
        if now >= self._send_retry_at and not self._attempt(self._send):
            self._send_retry_at = self._clock.monotonic() + RETRY_S
        self._heartbeats["sender"] = time.monotonic()
        self._ancillary.poll(time.monotonic())
        self._notifier.feed_watchdog(
            time.monotonic(),
            {**self._heartbeats, "reader": self._reader.heartbeat},
            () if self._stopping.is_set() else self._watched,
        )
        self._report_health(now)

    def _catch_up(self, now: float) -> None:
        """Pass stored records through the engine: few while new ones wait, so that none is lost."""
        if not self._intake.is_behind or self._stopping.is_set() or now < self._retry_at:
            return
        self._active_at = now
        until = now if self._has_work() else self._clock.monotonic() + CATCH_UP_S
        if not self._attempt(lambda: self._intake.catch_up(until)):
            self._retry_at = self._clock.monotonic() + RETRY_S

    def _attempt(self, act: Callable[[], object]) -> bool:
        """Call a function that needs the disk; return False if it must be retried."""
        try:
            act()
            return True
        except DamagedError as damage:
            self._replace_journal(damage)
        except JournalError as error:
            if not error.passing:
                raise
            lasting = self._disk.record_error(error, self._clock.monotonic())
            if lasting is not None:
                self._replace_journal(lasting, True)
        return False

    def _replace_journal(self, damage: DamagedError, is_sure: bool = False) -> None:
        """Set the journal aside and continue with a new one and the state in memory."""
        is_repeated = self._disk.record_damage(damage, self._clock.monotonic())
        if self._sender:
            self._sender.disconnect()
        self._sender, self._senders = None, self._senders + 1
        while not self._events.empty():  # acknowledgements of ids that are no longer valid
            event = self._events.get()
            if isinstance(event, Read):
                self._intake.add(event)
                self._reader.release_slot()
        self._intake.close()
        self._model_switch.reset()
        suspect = str(damage) if is_sure or is_repeated else None
        self._attempt(lambda: self._open_journal(suspect))

    def _send(self) -> None:
        if self._sender and not self._stopping.is_set():
            self._sender.poll(self._clock.monotonic(), self._intake.now_s())

    def _store(self, is_idle: bool) -> None:
        """Store one record, delete acknowledged messages and post the journal's notes."""
        if self._intake.journal is None:
            self._open_journal()
        if is_idle:
            self._intake.check_clock()
        if self._intake.waiting():
            accepted = self._sender.take_accepted() if self._sender else []
            self._return_unless_deleted(accepted, lambda: self._intake.process_next(accepted))
            self._active_at = self._clock.monotonic()
            self._disk.clear_errors()
        elif self._sender and (len(self._sender.accepted) >= DELETE_BATCH or is_idle):
            self._delete_accepted(self._sender)
        self._intake.post_notes()

    def _return_unless_deleted(self, accepted: list[int], write: Callable[[], bool]) -> None:
        """Call `write`; return the ids to the sender if it did not delete them."""
        deleted = False
        try:
            deleted = write()
        finally:
            if not deleted and self._sender:
                self._sender.accepted = accepted

    def _delete_accepted(self, sender: Sender) -> None:
        accepted, journal = sender.take_accepted(), self._intake.journal

        def write() -> bool:
            if journal is not None:
                journal.delete_outgoing(accepted)
            return journal is not None

        self._return_unless_deleted(accepted, write)

    def _is_idle(self) -> bool:
        progress = max(self._active_at, self._reader.last_read)
        return (
            self._until_idle_s is not None
            and self._clock.monotonic() - progress > self._until_idle_s
        )

    def _disconnect_cleanly(self) -> None:
        """Wait up to STOP_S for acknowledgements, then disconnect from the broker."""
        if self._sender is None:
            return
        self._sender.publish_stopped()
        until = self._clock.monotonic() + STOP_S
        while self._sender and self._sender.has_in_flight() and self._clock.monotonic() < until:
            self._run_once(TICK_S)
        if self._sender:
            sender = self._sender
            self._attempt(lambda: self._delete_accepted(sender))
            connected = sender.health()["connected"]
            sender.disconnect()
            if connected:
                self._await_disconnect()

    def _await_disconnect(self) -> None:
        """Wait until the connection is closed; otherwise the broker publishes the last will."""
        until = time.monotonic() + STOP_S
        while (left_s := until - time.monotonic()) > 0.0:
            try:
                if isinstance(self._events.get(timeout=left_s), Disconnected):
                    return
            except queue.Empty:
                return

    def health(self) -> dict[str, object]:
        """Return the state of every part; docs/station.md describes the keys."""
        journal: dict[str, object] = {"writable": False, "last_error": "not open"}
        if self._intake.journal is not None:
            try:
                journal = self._intake.journal.health()
            except JournalError as error:
                journal = {"writable": False, "last_error": str(error)}
        return {
            "v": 1,
            "pid": os.getpid(),
            "station": self._config.id,
            "started": self._stamps.format(self._started),
            "updated": utc(self._clock.wall()),
            "reader": self._reader.health(),
            "engine": self._intake.health(),
            "sender": self._sender.health() if self._sender else None,
            "journal": journal,
            "clock": self._intake.clock_health(),
            "surroundings": self._ancillary.health(),
            "rollout": self._model_switch.health(),
        }

    def _report_health(self, now: float) -> None:
        """Write health.json, systemd's status line and the health topic, when they are due."""
        if not self._file.is_due(now):
            return
        health_now = self.health()
        self._file.write(now, health_now)
        self._notifier.notify_status(health_file.status_line(health_now))
        if self._sender:
            self._sender.station_trouble = self._find_trouble(health_now)
            self._sender.publish_health(health_now)

    def _find_trouble(self, health_now: dict[str, object]) -> str | None:
        """Return the first problem of the values' sources as text, for MQTT's `trouble`."""
        config = self._config
        keys = troubles.StatusKeys(config.id, config.state_dir, config.source.interval_s, True)
        journal = {"last_end": utc(self._intake.newest_s())}
        found = troubles.find_troubles(health_now, journal, keys, self._clock.wall())
        return next((str(t) for t in found if t.what in troubles.ANCILLARY), None)

    def summary(self) -> str:
        """Return the counts since the start as key=value."""
        c, reader = self.counts, self._reader
        sent = self._sender.delivery.sent if self._sender else 0
        return (
            f"records={c.records} duplicates={c.duplicates} late={c.late} failed={c.failed}"
            f" lost={c.lost} damaged={reader.damaged} opened={reader.opened} delivered={sent}"
            f" flagged={reader.flagged}"
        )
