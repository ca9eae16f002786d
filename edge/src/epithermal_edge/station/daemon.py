"""The daemon: reader thread -> engine and journal -> sender, until it is told to stop.

One thread owns the journal, the engine and the sender, and never waits for a disk that refuses or
a broker that is away. The reader and the connection only put into its queue. What is not committed
was never taken: after a power cut the journal tells where to go on.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable

from epithermal_edge.ancillary.merge import Surroundings
from epithermal_edge.config.station_toml import Config
from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.engine import Engine
from epithermal_edge.journal.journal import Journal, JournalError
from epithermal_edge.journal.recovery import RETRY_S, DiskTrouble
from epithermal_edge.journal.sqlite import DamagedError, lock
from epithermal_edge.messages import station
from epithermal_edge.messages.message import Identity
from epithermal_edge.mqtt.connection import Acknowledged, Down
from epithermal_edge.mqtt.inbox import LinkEvent
from epithermal_edge.mqtt.sender import Sender
from epithermal_edge.rollout.loading import start_engine
from epithermal_edge.station import health_file as health
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.intake import Counts, Intake
from epithermal_edge.station.model_switch import Succession
from epithermal_edge.station.reader import Read, Reader
from epithermal_edge.station.systemd import Service
from epithermal_edge.station.uplink import make_sender, restart_commands
from epithermal_edge.times import utc

TICK_S = 0.25  # the longest wait for an event
GOODBYE_S = 2.0  # how long a clean stop waits for the broker
FLUSH = 64  # accepted messages that are deleted together

log = logging.getLogger(__name__)


class Station:
    """Everything between the port and the broker.

    Parameters
    ----------
    config :
        With a source url.
    until_idle_s :
        Stop when nothing was read and nothing delivered for so long [s]; None: run for ever.

    Raises
    ------
    ConfigError
        There is no port to read.
    BundleError
        The model cannot be used here.
    JournalError
        The journal cannot be opened, and that will not pass by itself.
    """

    def __init__(
        self, config: Config, until_idle_s: float | None = None, clock: Clock | None = None
    ) -> None:
        if config.source.url is None:
            raise ConfigError(f"{config.path}: source.url: missing; run needs the logger's port")
        self._clock = clock or Clock()
        self._until_idle_s = until_idle_s
        self._config = config
        self._service = Service()
        self._engine = start_engine(config)
        self._lock = lock(config.state_dir)
        self._surroundings = Surroundings(config, wall=self._clock.wall)
        self._intake = Intake(config, self._engine, self._clock, self._surroundings, self._beat)
        self._succession = Succession(config, self._intake, self._adopt)
        self._events: queue.SimpleQueue[Read | LinkEvent | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self.restarts = False  # it was asked to begin again
        self._sender: Sender | None = None
        self._senders = 0
        self._again = self._send_again = 0.0  # when the disk is asked again [s, monotonic]
        self._disk = DiskTrouble()
        self._file = health.HealthFile(config.state_dir)
        self._beats = dict.fromkeys(("engine", "sender"), time.monotonic())
        self._progress = self._clock.monotonic()
        self._started_s = self._clock.wall()
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

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def counts(self) -> Counts:
        """What was met since the start."""
        return self._intake.counts

    def _beat(self) -> None:
        """Long work at the start goes on."""
        self._service.extend(time.monotonic())

    def _open_journal(self, suspect: str | None = None) -> None:
        journal, identity = self._intake.open(suspect)
        self._sender = self._make_sender(journal, identity)

    def _make_sender(self, journal: Journal, identity: Identity) -> Sender | None:
        self._senders += 1
        mine = self._senders

        def put(event: LinkEvent) -> None:
            if mine == self._senders:  # else of a journal that was set aside
                self._events.put(event)

        bundle, wall = self._engine.bundle, self._intake.now_s
        own = restart_commands(self._config, self.restart)
        return make_sender(self._config, identity, bundle, journal, put, wall, own)

    def _adopt(self, engine: Engine) -> None:
        """Another model is used from now on: tell it."""
        self._engine = engine
        if self._sender:
            self._sender.tell_meta(station.meta(self._config, self._intake.identity, engine.bundle))

    def stop(self) -> None:
        """Ask for a clean stop, from any thread or a signal handler."""
        self._stopping.set()
        self._events.put(None)

    def restart(self) -> None:
        """Ask for a clean stop, and for a new start by whoever called `run`."""
        self.restarts = True
        self.stop()

    def run(self) -> Counts:
        """Read, estimate and send until `stop` or, with until_idle_s, until nothing happens."""
        self._surroundings.start()
        self._reader.start()
        self._service.ready()
        try:
            while not self._stopping.is_set():
                self._turn(TICK_S)
                if self._is_idle():
                    self.stop()
            self._service.stopping()
            self._reader.join(GOODBYE_S)
            while not self._events.empty() or self._has_work():
                self._turn(0.0)
            self._say_goodbye()
        finally:
            self._stopping.set()
            self._surroundings.stop()
            self._intake.close()
            self._unlock()
        if self._intake.waiting():
            log.error("%d records were not committed and are lost", self._intake.waiting())
        return self.counts

    def _has_work(self) -> bool:
        """Whether a record waits and the disk did not refuse just now."""
        return self._intake.waiting() > 0 and self._clock.monotonic() >= self._again

    def _turn(self, wait_s: float) -> None:
        """Handle one event, or nothing, and let engine and sender go on."""
        try:
            is_busy = self._has_work() or self._succession.is_behind
            event = self._events.get(timeout=0.0 if is_busy else wait_s)
        except queue.Empty:
            event = None
        now = self._clock.monotonic()
        if isinstance(event, Read):
            self._progress = now
            self._intake.add(event)
            self._reader.taken()
        elif event is not None and self._sender:
            self._sender.handle(event, now)
            if isinstance(event, Acknowledged):
                self._progress = now
        if now >= self._again and not self._attempt(lambda: self._write(event is None)):
            self._again = self._clock.monotonic() + RETRY_S
        if not self._has_work() and not self._stopping.is_set():
            self._attempt(lambda: self._succession.work(now))
            if self._succession.is_behind:
                self._progress = now
        self._beats["engine"] = time.monotonic()
        if now >= self._send_again and not self._attempt(self._send):
            self._send_again = self._clock.monotonic() + RETRY_S
        self._beats["sender"] = time.monotonic()
        self._service.feed(time.monotonic(), {**self._beats, "reader": self._reader.beat})
        self._report(now)

    def _attempt(self, act: Callable[[], object]) -> bool:
        """Do what needs the disk; False where it refuses, and it is to be tried again."""
        try:
            act()
            return True
        except DamagedError as damage:
            self._meet_damage(damage)
        except JournalError as error:
            if not error.passing:
                raise
            lasting = self._disk.refused(error, self._clock.monotonic())
            if lasting is not None:
                self._meet_damage(lasting, True)
        return False

    def _meet_damage(self, damage: DamagedError, is_sure: bool = False) -> None:
        """Set the file aside and go on with a new one; the state in memory is kept."""
        is_again = self._disk.damaged(damage, self._clock.monotonic())
        if self._sender:
            self._sender.disconnect()
        self._sender, self._senders = None, self._senders + 1
        while not self._events.empty():  # acknowledgements of ids that are void now
            event = self._events.get()
            if isinstance(event, Read):
                self._intake.add(event)
                self._reader.taken()
        self._intake.close()
        self._succession.forget()
        suspect = str(damage) if is_sure or is_again else None
        self._attempt(lambda: self._open_journal(suspect))

    def _send(self) -> None:
        if self._sender and not self._stopping.is_set():
            self._sender.pump(self._clock.monotonic(), self._intake.now_s())

    def _write(self, quiet: bool) -> None:
        """One record, what the broker has taken, what there is to tell."""
        if self._intake.journal is None:
            self._open_journal()
        if quiet:
            self._intake.look_at_the_clock()
        if self._intake.waiting():
            accepted = self._sender.take_accepted() if self._sender else []
            self._keeping(accepted, lambda: self._intake.work(accepted))
            self._progress = self._clock.monotonic()
            self._disk.well()
        elif self._sender and (len(self._sender.accepted) >= FLUSH or quiet):
            self._forget(self._sender)
        self._intake.tell()

    def _keeping(self, accepted: list[int], write: Callable[[], bool]) -> None:
        """Write; the ids go back to the sender when they were not deleted with it."""
        deleted = False
        try:
            deleted = write()
        finally:
            if not deleted and self._sender:
                self._sender.accepted = accepted

    def _forget(self, sender: Sender) -> None:
        accepted, journal = sender.take_accepted(), self._intake.journal

        def write() -> bool:
            if journal is not None:
                journal.forget(accepted)
            return journal is not None

        self._keeping(accepted, write)

    def _is_idle(self) -> bool:
        progress = max(self._progress, self._reader.last_read)
        return (
            self._until_idle_s is not None
            and self._clock.monotonic() - progress > self._until_idle_s
        )

    def _say_goodbye(self) -> None:
        """Wait a moment for acknowledgements, then part from the broker in order."""
        if self._sender is None:
            return
        self._sender.say_goodbye()
        until = self._clock.monotonic() + GOODBYE_S
        while self._sender and self._sender.has_in_flight() and self._clock.monotonic() < until:
            self._turn(TICK_S)
        if self._sender:
            sender = self._sender
            self._attempt(lambda: self._forget(sender))
            connected = sender.health()["connected"]
            sender.disconnect()
            if connected:
                self._await_parting()

    def _await_parting(self) -> None:
        """Until the connection's thread has said goodbye: else the last will goes out."""
        until = time.monotonic() + GOODBYE_S
        while (left_s := until - time.monotonic()) > 0.0:
            try:
                if isinstance(self._events.get(timeout=left_s), Down):
                    return
            except queue.Empty:
                return

    def health(self) -> dict[str, object]:
        """How every part is; docs/station.md describes it."""
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
            "started": utc(self._started_s),
            "updated": utc(self._clock.wall()),
            "reader": self._reader.health(),
            "engine": self._intake.health(),
            "sender": self._sender.health() if self._sender else None,
            "journal": journal,
            "clock": self._intake.clock_health(),
            "surroundings": self._surroundings.health(),
            "rollout": self._succession.health(),
        }

    def _report(self, now: float) -> None:
        """health.json, systemd's status line and the broker's health topic, when it is time."""
        if not self._file.is_due(now):
            return
        found = self.health()
        self._file.write(now, found)
        self._service.status(health.line(found))
        if self._sender:
            self._sender.publish_health(found)

    def summary(self) -> str:
        """Counts since the start, as key=value."""
        c, reader = self.counts, self._reader
        sent = self._sender.delivery.sent if self._sender else 0
        return (
            f"records={c.records} duplicates={c.duplicates} late={c.late} failed={c.failed}"
            f" lost={c.lost} damaged={reader.damaged} opened={reader.opened} delivered={sent}"
        )
