"""Pass records through engine and journal, in the order in which they were read.

While the disk fails, records wait in memory; those that do not fit are counted, and the count is
stored with the next record that is committed.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.config.station_toml import Config
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference.engine import Engine, EngineState
from epithermal_edge.inference.snapshot import StateLostError
from epithermal_edge.journal.journal import Journal, JournalError
from epithermal_edge.journal.rows import estimate_row
from epithermal_edge.messages import observation, station
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
    """Counts of records since the start."""

    records: int = 0
    duplicates: int = 0
    late: int = 0
    failed: int = 0
    lost: int = 0  # dropped from memory while the disk failed


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """A stamped record with the values and events to store with it; or only these."""

    stamped: Stamped | None
    values: Mapping[str, str | None] = field(default_factory=dict)
    events: tuple[Message, ...] = ()


class Intake:
    """Journal and state of the engine; used by one thread.

    Parameters
    ----------
    ancillary :
        Adds weather and neutron monitor to each stamped record.
    report_progress :
        Called repeatedly during long work.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        clock: Clock,
        ancillary: AncillaryData,
        report_progress: Callable[[], object],
    ) -> None:
        self._config, self._clock, self._report_progress = config, clock, report_progress
        self._ancillary = ancillary
        self._set_engine(engine)
        self._waiting: deque[Read] = deque()
        self._pending: deque[PendingWrite] = deque()
        self._timekeeper: Timekeeper | None = None
        self._lost_unreported = 0  # lost records not yet counted in the journal
        self._seq = 0
        self.state: EngineState | None = None
        self.journal: Journal | None = None
        self.counts = Counts()

    def open(self, suspect: str | None = None) -> tuple[Journal, Identity]:
        """Open the journal and restore the state, unless the state in memory is newer.

        Parameters
        ----------
        suspect :
            Why the file must be treated as damaged; None: it need not be.

        Raises
        ------
        JournalError
            It cannot be opened; see `passing`.
        """
        config = self._config
        journal = Journal(config.state_dir, config.journal_max_mb, self._report_progress, suspect)
        try:
            self._identity = Identity(
                config.id,
                journal.epoch,
                config.mqtt.prefix if config.mqtt else "crns/v1",
                config.source.interval_s,
            )
            self._seq = journal.last_seq()
            if self.state is None or journal.newest_end_s() > self.state.pipeline.last_end_s:
                self.state = self._restore_state(journal)
            else:
                journal.store_state(self.state, self._fingerprint)
        except JournalError:
            journal.close()
            raise
        self.journal = journal
        self._start_timekeeper(journal, self.state)
        self._ancillary.continue_after(self.state.pipeline.last_end_s)
        log.info("station %s, epoch %s, record %d", config.id, journal.epoch, self._seq)
        return journal, self._identity

    def _start_timekeeper(self, journal: Journal, state: EngineState) -> None:
        stored, source = journal.get_values(PREFIX), self._config.source
        if self._timekeeper is None:
            rules = Rules(source.interval_s, source.clock_tolerance_s, source.stamps)
            self._timekeeper = Timekeeper(rules, self._clock, stored, state.pipeline.last_end_s)
        else:
            self._timekeeper.rebase(stored)

    def newest_s(self) -> float:
        """Return the end of the newest committed record [s, UTC]; -inf: none."""
        return self.state.pipeline.last_end_s if self.state else -math.inf

    @property
    def engine(self) -> Engine:
        """The engine in use."""
        return self._engine

    @property
    def identity(self) -> Identity:
        """The station's identity in messages; available once the journal is open."""
        return self._identity

    def switch(self, engine: Engine, state: EngineState) -> None:
        """Use another model from now on.

        Parameters
        ----------
        state :
            State of that model after the newest record.

        Raises
        ------
        JournalError
            The state is not stored yet; it is stored with the next record.
        """
        self._set_engine(engine)
        self.state = state
        if self.journal is not None:
            self.journal.store_state(state, self._fingerprint)

    def _set_engine(self, engine: Engine) -> None:
        self._engine = engine
        self._model = f"{engine.bundle.name} {engine.bundle.version}"
        self._fingerprint = engine.fingerprint()

    def now_s(self) -> float:
        """Return the best estimate of the current time [s, UTC]."""
        return self._timekeeper.now_s() if self._timekeeper else self._clock.wall()

    def close(self) -> None:
        """Close the journal; records in memory stay there."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None

    def _restore_state(self, journal: Journal) -> EngineState:
        """Return the committed state, or compute it from the raw records if it is lost."""
        cold = engines.start(self._engine)
        try:
            return journal.load_state(self._fingerprint, cold)
        except StateLostError as lost:
            if self._seq == 0:
                return cold
            state = engines.rebuild(self._engine, self._reporting_progress(journal.records()))
            text = f"{lost}; recomputed from the raw records"
            log.warning("%s", text)
            journal.store_state(state, self._fingerprint, (self._event("state_rebuilt", text),))
            return state

    def _reporting_progress(self, records: Iterator[RawRecord]) -> Iterator[RawRecord]:
        for record in records:
            self._report_progress()
            yield record

    def _event(self, kind: str, text: str) -> Message:
        return station.event(self._identity, kind, self.now_s(), text)

    def add(self, read: Read) -> None:
        """Queue a record that was read; drop the oldest if there are more than WAITING."""
        self._waiting.append(read)
        if self.waiting() > WAITING:
            self._waiting.popleft()
            self._lost_unreported += 1
            self.counts.lost += 1

    def waiting(self) -> int:
        """Return the number of records in memory."""
        return len(self._waiting) + len(self._pending)

    def process_next(self, accepted: Sequence[int]) -> bool:
        """Stamp the first waiting record, then commit the first pending write.

        Parameters
        ----------
        accepted :
            Ids of acknowledged messages, deleted in the same transaction.

        Returns
        -------
        bool
            Whether the ids were deleted.

        Raises
        ------
        JournalError
            Nothing was committed; the record still waits.
        """
        journal, timekeeper = self.journal, self._timekeeper
        assert journal is not None and timekeeper is not None
        if not self._pending:
            read = self._waiting[0]
            if journal.has_record(read.record):
                self.counts.duplicates += 1
            else:
                self._enqueue(timekeeper, timekeeper.stamp_record(read.record, read.boottime_s))
            self._waiting.popleft()
        if not self._pending:
            return False
        pending = self._pending[0]
        is_committed = pending.stamped is not None and self._commit(journal, pending, accepted)
        if not is_committed and (pending.values or pending.events):
            journal.put_values(pending.values, pending.events)
        timekeeper.mark_stored(pending.values)
        self._pending.popleft()
        return is_committed

    def check_clock(self) -> None:
        """Read the clock when no record arrives; held records may be stamped now."""
        if self._timekeeper is not None and not self.waiting():
            self._enqueue(self._timekeeper, self._timekeeper.update_clock())

    def _enqueue(self, timekeeper: Timekeeper, verdict: Verdict) -> None:
        """Queue the records of a verdict with the clock state and events to store."""
        values: dict[str, str | None] = {}
        if verdict.stamped or verdict.events or verdict.state.held != timekeeper.state.held:
            values = timekeeper.changes(verdict.state)
        timekeeper.apply(verdict)
        events = tuple(self._event(kind, text) for kind, text in verdict.events)
        completed = [
            replace(stamped, record=self._ancillary.complete(stamped.record))
            for stamped in verdict.stamped
        ]
        self._pending.extend(PendingWrite(stamped) for stamped in completed[:-1])
        if values or events or completed:
            self._pending.append(PendingWrite(completed[-1] if completed else None, values, events))

    def _commit(self, journal: Journal, pending: PendingWrite, accepted: Sequence[int]) -> bool:
        """Estimate and commit one record; return whether it was committed."""
        stamped, state, seq = pending.stamped, self.state, self._seq + 1
        assert stamped is not None and state is not None
        record = stamped.record
        if record.end_s <= state.pipeline.last_end_s and journal.has_end(record.end_s):
            self.counts.duplicates += 1
            return False
        before_s = journal.end_before(record.end_s)
        try:
            new, outcome = engines.advance(self._engine, state, record)
            messages = self._messages(seq - journal.base, outcome, stamped.time_q, before_s)
            row = estimate_row(seq, outcome, self._model)
        except Exception:
            log.exception("cannot use record %r", record)
            self.counts.failed += 1
            return False
        messages = (*pending.events, *messages)
        lost, values = self._lost_unreported, pending.values
        journal.commit(seq, record, new, self._fingerprint, messages, accepted, lost, row, values)
        self._seq, self.state, self._lost_unreported = seq, new, 0
        self.counts.records += 1
        self.counts.late += bool(outcome.estimate.quality & Quality.LATE)
        log.debug("record %d, theta %.4f", seq - journal.base, outcome.estimate.theta)
        return True

    def _messages(
        self, number: int, outcome: engines.Outcome, time_q: str, before_s: float
    ) -> tuple[Message, ...]:
        """Return the messages to publish for one record."""
        record, bundle = outcome.record, self._engine.bundle
        payload = observation.obs_theta(
            *(self._identity, number, record, outcome.corrected, outcome.estimate, bundle),
            time_q,
            before_s,
            self._engine.soil_water,
        )
        messages = observation.obs_messages(self._identity, payload, record.end_s, self.now_s())
        if self._config.mqtt is not None and self._config.mqtt.raw:
            messages += (observation.raw_message(self._identity, number, record, time_q),)
        return messages

    def post_notes(self) -> None:
        """Post the journal's notes (drops, salvage) as events.

        Raises
        ------
        JournalError
            They are not posted yet.
        """
        assert self.journal is not None
        if self.journal.has_notes:
            self.journal.post_notes(self._event)

    def clock_health(self) -> dict[str, object]:
        """Return the state of the clocks for health.json."""
        return self._timekeeper.health() if self._timekeeper else {}

    def health(self) -> dict[str, object]:
        """Return the counts since the start and the newest estimate for health.json."""
        newest = engines.newest(self._engine, self.state) if self.state else engines.NOTHING
        soil = self._engine.soil_water
        return {
            **asdict(self.counts),
            "waiting": self.waiting(),
            "last_end": utc(self.newest_s()),
            "window_end": utc(newest.window_end_s),
            "theta": None if newest.theta != newest.theta else round(newest.theta, 6),
            "water": None if soil is None else observation.water_payload(soil, newest),
            "flags": observation.quality_flags(newest.quality),
            "model": self._model,
        }
