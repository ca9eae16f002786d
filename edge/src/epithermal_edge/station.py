"""The daemon: reader thread -> engine and journal -> sender, until it is told to stop.

One thread owns the journal, the engine and the sender. The reader and the connection only put
into its queue. What is not committed was never taken: after a power cut the journal tells where
to go on.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass

from epithermal_edge import engine as engines
from epithermal_edge import estimator, messages, runtime
from epithermal_edge.bundle import open_bundle
from epithermal_edge.clock import Clock
from epithermal_edge.config import Config
from epithermal_edge.engine import Engine, EngineState
from epithermal_edge.errors import ConfigError
from epithermal_edge.journal import Journal, JournalError
from epithermal_edge.mqtt import Acknowledged, Down, LinkEvent, Sender, Up
from epithermal_edge.reader import Read, Reader
from epithermal_edge.records import Quality, RawRecord
from epithermal_edge.snapshot import StateLostError
from epithermal_edge.surroundings import Surroundings

TICK_S = 0.25  # the longest wait for an event
GOODBYE_S = 2.0  # how long a clean stop waits for the broker
RETRY_S = 5.0  # before a failed commit is tried again
FLUSH = 64  # accepted messages that are deleted together

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What was met since the start."""

    records: int = 0
    duplicates: int = 0
    late: int = 0
    failed: int = 0


def load_engine(config: Config) -> Engine:
    """The engine, after its bundle has proved itself on the runtime at hand.

    Raises
    ------
    BundleError
        Damaged, not understood, or the golden vectors fail.
    """
    bundle = open_bundle(config.bundle)
    step = runtime.load(bundle.model_path)
    error = estimator.check_golden(bundle, step)
    log.info("bundle %s %s on %s: error %.2g", bundle.name, bundle.version, step.runtime, error)
    return Engine(config.site, bundle, step, tuple(gauge.name for gauge in config.weather))


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
        The journal cannot be opened.
    """

    def __init__(
        self, config: Config, until_idle_s: float | None = None, clock: Clock | None = None
    ) -> None:
        if config.source.url is None:
            raise ConfigError(f"{config.path}: source.url: missing; run needs the logger's port")
        self._clock = clock or Clock()
        self._until_idle_s = until_idle_s
        self._config = config
        self._engine = load_engine(config)
        self._made_for = self._engine.fingerprint()
        self._journal = Journal(config.state_dir, config.journal_max_mb)
        self._identity = messages.Identity(
            config.id,
            self._journal.epoch,
            config.mqtt.prefix if config.mqtt else "crns/v1",
            config.source.interval_s,
        )
        self.counts = Counts()
        self._events: queue.SimpleQueue[Read | LinkEvent | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._sender: Sender | None = None
        if config.mqtt:
            meta = messages.meta(config, self._identity, self._engine.bundle)
            self._sender = Sender(
                config.mqtt, self._identity, meta, self._journal, self._events.put
            )
        self._progress = self._clock.monotonic()
        self._seq = self._journal.last_seq()
        self._state = self._recall()
        self._surroundings = Surroundings(config, self._state.pipeline.last_end_s, self._clock.wall)
        self._reader = Reader(
            config.source,
            self._events.put,
            self._stopping,
            newest_s=lambda: self._state.pipeline.last_end_s,
        )

    def _recall(self) -> EngineState:
        """The state as it was committed, or computed again from the raw records."""
        cold = engines.start(self._engine)
        try:
            return self._journal.load_state(self._made_for, cold)
        except StateLostError as lost:
            if self._seq == 0:
                return cold
            state = engines.rebuild(self._engine, self._journal.records())
            text = f"{lost}; computed again from the raw records"
            log.warning("%s", text)
            wall_s = self._clock.wall()
            told = messages.event(self._identity, "state_rebuilt", wall_s, text)
            self._journal.store(state, self._made_for, (told,))
            return state

    def stop(self) -> None:
        """Ask for a clean stop, from any thread or a signal handler."""
        self._stopping.set()
        self._events.put(None)

    def run(self) -> Counts:
        """Read, estimate and send until `stop` or, with until_idle_s, until nothing happens."""
        log.info(
            "station %s, epoch %s, record %d", self._config.id, self._identity.epoch, self._seq
        )
        self._surroundings.start()
        self._reader.start()
        try:
            while not self._stopping.is_set():
                self._turn(TICK_S)
                if self._is_idle():
                    self.stop()
            self._reader.join(GOODBYE_S)
            while not self._events.empty():
                self._turn(0.0)
            self._say_goodbye()
        finally:
            self._stopping.set()
            self._surroundings.stop()
            self._journal.close()
        return self.counts

    def _turn(self, wait_s: float) -> None:
        """Handle one event, or nothing, and let the sender go on."""
        try:
            event = self._events.get(timeout=wait_s)
        except queue.Empty:
            event = None
        now = self._clock.monotonic()
        if isinstance(event, Read):
            self._progress = now
            self._take(event.record)
            self._reader.taken()
        elif isinstance(event, (Up, Down, Acknowledged)) and self._sender:
            self._sender.handle(event, now)
            if isinstance(event, Acknowledged):
                self._progress = now
        if self._sender:
            if not self._stopping.is_set():
                self._sender.pump(now, self._clock.wall())
            if len(self._sender.accepted) >= FLUSH or (event is None and self._sender.accepted):
                self._forget(self._sender)

    def _is_idle(self) -> bool:
        progress = max(self._progress, self._reader.last_read)
        return (
            self._until_idle_s is not None
            and self._clock.monotonic() - progress > self._until_idle_s
        )

    def _take(self, record: RawRecord) -> None:
        """One record through engine and journal; a commit that fails is tried again."""
        if record.end_s <= self._state.pipeline.last_end_s and self._journal.knows(record.end_s):
            self.counts.duplicates += 1
            return
        record = self._surroundings.complete(record)
        try:
            state, outcome = engines.advance(self._engine, self._state, record)
        except Exception:
            log.exception("record %r cannot be used", record)
            self.counts.failed += 1
            return
        seq, bundle = self._seq + 1, self._engine.bundle
        payload = messages.obs_theta(
            self._identity, seq, record, outcome.corrected, outcome.estimate, bundle
        )
        told = messages.obs_messages(self._identity, payload, record.end_s, self._clock.wall())
        accepted = self._sender.take_accepted() if self._sender else []
        while True:
            try:
                self._journal.commit(seq, record, state, self._made_for, told, accepted)
                break
            except JournalError as error:
                log.error("%s; again in %.0f s", error, RETRY_S)
                if self._stopping.wait(RETRY_S):
                    return
        self._seq, self._state = seq, state
        self.counts.records += 1
        self.counts.late += bool(outcome.estimate.quality & Quality.LATE)
        log.debug("record %d, theta %.4f", seq, outcome.estimate.theta)

    def _forget(self, sender: Sender) -> None:
        accepted = sender.take_accepted()
        try:
            self._journal.forget(accepted)
        except JournalError as error:
            sender.accepted = accepted
            log.error("%s; accepted messages stay for now", error)

    def _say_goodbye(self) -> None:
        """Wait a moment for acknowledgements, then part from the broker in order."""
        if self._sender is None:
            return
        self._sender.say_goodbye()
        until = self._clock.monotonic() + GOODBYE_S
        while self._sender.has_in_flight() and self._clock.monotonic() < until:
            self._turn(TICK_S)
        self._forget(self._sender)
        self._sender.disconnect()

    def summary(self) -> str:
        """Counts since the start, as key=value."""
        c, reader = self.counts, self._reader
        sent = self._sender.count_sent if self._sender else 0
        return (
            f"records={c.records} duplicates={c.duplicates} late={c.late} failed={c.failed}"
            f" damaged={reader.damaged} opened={reader.opened} delivered={sent}"
        )
