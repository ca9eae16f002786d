"""Records through engine and journal, in the order in which they were read.

While the disk refuses, they wait in memory; what finds no room there is counted and told with the
next record that is committed.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from epithermal_edge.ancillary.merge import Surroundings
from epithermal_edge.config.station_toml import Config
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference.engine import Engine, EngineState
from epithermal_edge.inference.snapshot import StateLostError
from epithermal_edge.journal.journal import Journal, JournalError
from epithermal_edge.journal.rows import estimate_row
from epithermal_edge.messages import observation as messages
from epithermal_edge.messages import station
from epithermal_edge.messages.message import Identity, Message
from epithermal_edge.records import Quality, RawRecord
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.reader import Read
from epithermal_edge.station.stamps import Rules, Stamped, Verdict
from epithermal_edge.station.timekeeper import PREFIX, Timekeeper
from epithermal_edge.times import utc

WAITING = 20_000  # records in memory at most: two weeks of minutes, 10 MB

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What was met since the start."""

    records: int = 0
    duplicates: int = 0
    late: int = 0
    failed: int = 0
    lost: int = 0  # no room in memory while the disk refused


@dataclass(frozen=True, slots=True)
class Settled:
    """A record whose end is settled, and what is kept and told with it; or these alone."""

    stamped: Stamped | None
    keep: Mapping[str, str | None] = field(default_factory=dict)
    events: tuple[Message, ...] = ()


class Intake:
    """Owns journal and state; for one thread.

    Parameters
    ----------
    surroundings :
        Complete each record when it is settled when that was counted.
    beat :
        Called again and again in long work: there is progress.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        clock: Clock,
        surroundings: Surroundings,
        beat: Callable[[], object],
    ) -> None:
        self._config, self._clock, self._beat = config, clock, beat
        self._surroundings = surroundings
        self._use(engine)
        self._waiting: deque[Read] = deque()
        self._settled: deque[Settled] = deque()
        self._time: Timekeeper | None = None
        self._untold = 0  # lost and not yet in the journal
        self._seq = 0
        self.state: EngineState | None = None
        self.journal: Journal | None = None
        self.counts = Counts()

    def open(self, suspect: str | None = None) -> tuple[Journal, Identity]:
        """Open the journal and recall the state, or keep the one in memory where it is newer.

        Parameters
        ----------
        suspect :
            Why the file must be taken for damaged.

        Raises
        ------
        JournalError
            It cannot be opened; see `passing`.
        """
        config = self._config
        journal = Journal(config.state_dir, config.journal_max_mb, self._beat, suspect)
        try:
            self._identity = Identity(
                config.id,
                journal.epoch,
                config.mqtt.prefix if config.mqtt else "crns/v1",
                config.source.interval_s,
            )
            self._seq = journal.last_seq()
            if self.state is None or journal.newest_end_s() > self.state.pipeline.last_end_s:
                self.state = self._recall(journal)
            else:
                journal.store(self.state, self._made_for)
        except JournalError:
            journal.close()
            raise
        self.journal = journal
        self._keep_time(journal, self.state)
        self._surroundings.go_on_from(self.state.pipeline.last_end_s)
        log.info("station %s, epoch %s, record %d", config.id, journal.epoch, self._seq)
        return journal, self._identity

    def _keep_time(self, journal: Journal, state: EngineState) -> None:
        kept, source = journal.kept(PREFIX), self._config.source
        if self._time is None:
            rules = Rules(source.interval_s, source.clock_tolerance_s, source.stamps)
            self._time = Timekeeper(rules, self._clock, kept, state.pipeline.last_end_s)
        else:
            self._time.rebase(kept)

    def newest_s(self) -> float:
        """End of the newest record that was taken in [s, UTC]; -inf: none."""
        return self.state.pipeline.last_end_s if self.state else -math.inf

    @property
    def engine(self) -> Engine:
        """That records go through."""
        return self._engine

    @property
    def identity(self) -> Identity:
        """What messages repeat; there is one once the journal is open."""
        return self._identity

    def switch(self, engine: Engine, state: EngineState) -> None:
        """Go on with another model, whose state is that after the newest record.

        Raises
        ------
        JournalError
            It goes on, and its state is written with the next record.
        """
        self._use(engine)
        self.state = state
        if self.journal is not None:
            self.journal.store(state, self._made_for)

    def _use(self, engine: Engine) -> None:
        self._engine = engine
        self._model = f"{engine.bundle.name} {engine.bundle.version}"
        self._made_for = engine.fingerprint()

    def now_s(self) -> float:
        """The best that is known of the time [s, UTC]."""
        return self._time.now_s() if self._time else self._clock.wall()

    def close(self) -> None:
        """Close the journal; what waits in memory goes on to wait."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None

    def _recall(self, journal: Journal) -> EngineState:
        """The state as it was committed, or computed again from the raw records."""
        cold = engines.start(self._engine)
        try:
            return journal.load_state(self._made_for, cold)
        except StateLostError as lost:
            if self._seq == 0:
                return cold
            state = engines.rebuild(self._engine, self._beating(journal.records()))
            text = f"{lost}; computed again from the raw records"
            log.warning("%s", text)
            journal.store(state, self._made_for, (self._event("state_rebuilt", text),))
            return state

    def _beating(self, records: Iterator[RawRecord]) -> Iterator[RawRecord]:
        for record in records:
            self._beat()
            yield record

    def _event(self, kind: str, text: str) -> Message:
        return station.event(self._identity, kind, self.now_s(), text)

    def add(self, read: Read) -> None:
        """Take a record that was read; the oldest goes when there are too many."""
        self._waiting.append(read)
        if self.waiting() > WAITING:
            self._waiting.popleft()
            self._untold += 1
            self.counts.lost += 1

    def waiting(self) -> int:
        """Records in memory."""
        return len(self._waiting) + len(self._settled)

    def work(self, accepted: Sequence[int]) -> bool:
        """Settle when the first record that waits was counted, or commit it.

        Parameters
        ----------
        accepted :
            Ids of messages that the broker has, to be deleted with it.

        Returns
        -------
        bool
            Whether they were deleted.

        Raises
        ------
        JournalError
            It was not committed, and waits on.
        """
        journal, timekeeper = self.journal, self._time
        assert journal is not None and timekeeper is not None
        if not self._settled:
            read = self._waiting[0]
            if journal.has(read.record):
                self.counts.duplicates += 1
            else:
                self._settle(timekeeper, timekeeper.judge(read.record, read.boottime_s))
            self._waiting.popleft()
        if not self._settled:
            return False
        settled = self._settled[0]
        done = settled.stamped is not None and self._commit(journal, settled, accepted)
        if not done and (settled.keep or settled.events):
            journal.keep(settled.keep, settled.events)
        timekeeper.kept(settled.keep)
        self._settled.popleft()
        return done

    def look_at_the_clock(self) -> None:
        """Take notice of it when no record comes; what was held may be stamped now."""
        if self._time is not None and not self.waiting():
            self._settle(self._time, self._time.settle())

    def _settle(self, timekeeper: Timekeeper, verdict: Verdict) -> None:
        """Line up the records that are stamped now, with what is to be kept of the others."""
        keep: dict[str, str | None] = {}
        if verdict.stamped or verdict.events or verdict.state.held != timekeeper.state.held:
            keep = timekeeper.to_keep(verdict.state)
        timekeeper.adopt(verdict)
        events = tuple(self._event(kind, text) for kind, text in verdict.events)
        whole = [
            replace(stamped, record=self._surroundings.complete(stamped.record))
            for stamped in verdict.stamped
        ]
        self._settled.extend(Settled(stamped) for stamped in whole[:-1])
        if keep or events or whole:
            self._settled.append(Settled(whole[-1] if whole else None, keep, events))

    def _commit(self, journal: Journal, settled: Settled, accepted: Sequence[int]) -> bool:
        """One record through engine and journal; whether there was anything to write."""
        stamped, state, seq = settled.stamped, self.state, self._seq + 1
        assert stamped is not None and state is not None
        record = stamped.record
        if record.end_s <= state.pipeline.last_end_s and journal.knows(record.end_s):
            self.counts.duplicates += 1
            return False
        before_s = journal.end_before(record.end_s)
        try:
            new, outcome = engines.advance(self._engine, state, record)
            told = self._messages(seq - journal.base, outcome, stamped.time_q, before_s)
            kept = estimate_row(seq, outcome, self._model)
        except Exception:
            log.exception("record %r cannot be used", record)
            self.counts.failed += 1
            return False
        told = (*settled.events, *told)
        lost, keep = self._untold, settled.keep
        journal.commit(seq, record, new, self._made_for, told, accepted, lost, kept, keep)
        self._seq, self.state, self._untold = seq, new, 0
        self.counts.records += 1
        self.counts.late += bool(outcome.estimate.quality & Quality.LATE)
        log.debug("record %d, theta %.4f", seq - journal.base, outcome.estimate.theta)
        return True

    def _messages(
        self, number: int, outcome: engines.Outcome, time_q: str, before_s: float
    ) -> tuple[Message, ...]:
        """What a record gives to tell."""
        record, bundle = outcome.record, self._engine.bundle
        payload = messages.obs_theta(
            *(self._identity, number, record, outcome.corrected, outcome.estimate, bundle),
            time_q,
            before_s,
            self._engine.soil_water,
        )
        told = messages.obs_messages(self._identity, payload, record.end_s, self.now_s())
        if self._config.mqtt is not None and self._config.mqtt.raw:
            told += (messages.raw_message(self._identity, number, record, time_q),)
        return told

    def tell(self) -> None:
        """Have the broker told what happened to the journal.

        Raises
        ------
        JournalError
            Not yet.
        """
        assert self.journal is not None
        if self.journal.has_notes:
            self.journal.tell(self._event)

    def clock_health(self) -> dict[str, object]:
        """How far the time can be trusted."""
        return self._time.health() if self._time else {}

    def health(self) -> dict[str, object]:
        """Counts since the start and the newest estimate."""
        newest = engines.newest(self._engine, self.state) if self.state else engines.NOTHING
        soil = self._engine.soil_water
        return {
            **asdict(self.counts),
            "waiting": self.waiting(),
            "last_end": utc(self.newest_s()),
            "window_end": utc(newest.window_end_s),
            "theta": None if newest.theta != newest.theta else round(newest.theta, 6),
            "water": None if soil is None else messages.water_told(soil, newest),
            "flags": messages.quality_flags(newest.quality),
            "model": self._model,
        }
