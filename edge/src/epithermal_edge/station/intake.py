"""Pass records through engine and journal, in the order in which they were read.

While the disk fails, records wait in memory; those that do not fit are counted, and the count is
stored with the next record that is committed. While the state is rebuilt, records are stored raw;
their estimates follow in order, as if they had arrived afterwards.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.config.station_toml import Config
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import root_zone
from epithermal_edge.inference.engine import Engine, EngineState
from epithermal_edge.inference.snapshot import StateLostError
from epithermal_edge.journal.journal import Journal, JournalError
from epithermal_edge.journal.rows import estimate_row
from epithermal_edge.journal.unestimated import Unestimated
from epithermal_edge.messages import observation, station
from epithermal_edge.messages.message import Identity, Message
from epithermal_edge.records import Quality, RawRecord
from epithermal_edge.station import ahead as aheads
from epithermal_edge.station.catch_up import CatchUp
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.reader import Read
from epithermal_edge.station.stamps import Rules, Stamped, Verdict
from epithermal_edge.station.timekeeper import PREFIX, Timekeeper
from epithermal_edge.times import utc

CATCH_UP = 64  # records passed at once while the state is rebuilt: some 20 ms
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


@dataclass(frozen=True, slots=True)
class Advanced:
    """Result of one record, to be committed."""

    state: EngineState
    outcome: engines.Outcome
    row: tuple[object, ...] = ()
    messages: tuple[Message, ...] = ()


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
        self._newest_s = -math.inf  # end of the newest stored record
        self._late_in_row = 0
        self._catch_up: CatchUp | None = None  # None: the state is that of the newest record
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
            newest_s = journal.newest_end_s()
            if self.state is None or self.is_behind or newest_s > self.state.pipeline.last_end_s:
                self._restore_state(journal)
            else:
                journal.store_state(self.state, self._fingerprint)
        except JournalError:
            journal.close()
            raise
        self.journal = journal
        self._newest_s = newest_s
        if self.state is not None and not self.is_behind:
            self._newest_s = self.state.pipeline.last_end_s
        self._start_timekeeper(journal)
        self._ancillary.continue_after(self._newest_s)
        log.info("station %s, epoch %s, record %d", config.id, journal.epoch, self._seq)
        return journal, self._identity

    def _start_timekeeper(self, journal: Journal) -> None:
        stored, source = journal.get_values(PREFIX), self._config.source
        if self._timekeeper is None:
            rules = Rules(source.interval_s, source.clock_tolerance_s, source.stamps)
            self._timekeeper = Timekeeper(rules, self._clock, stored, self._newest_s)
        else:
            self._timekeeper.rebase(stored)

    def newest_s(self) -> float:
        """Return the end of the newest committed record [s, UTC]; -inf: none."""
        return self._newest_s

    @property
    def is_behind(self) -> bool:
        """True while stored records have to pass the engine before a new one can."""
        return self._catch_up is not None

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

    def _restore_state(self, journal: Journal) -> None:
        """Load the committed state, or begin to compute it from the raw records if it is lost."""
        self.state, self._catch_up = engines.start(self._engine), None
        try:
            self.state = journal.load_state(self._fingerprint, self.state)
            if journal.state_seq < self._seq:
                self._catch_up = CatchUp(journal, journal.state_seq)
        except StateLostError as lost:
            if self._seq > 0:
                self._begin_rebuild(journal, str(lost))

    def _begin_rebuild(self, journal: Journal, why: str) -> None:
        """Restart the state before the first record; `catch_up` computes it in small steps."""
        text = f"{why}; recomputed from the raw records"
        log.warning("%s", text)
        self.state = engines.start(self._engine)
        self._catch_up = CatchUp(journal, 0, text)

    def catch_up(self, until: float) -> None:
        """Pass stored records through the engine until a time [s, monotonic], one at least.

        Raises
        ------
        JournalError
            The next call tries again.
        """
        while (ahead := self._catch_up) is not None and self.journal is not None:
            most = CATCH_UP if self._clock.monotonic() < until else 1
            if raw := ahead.raw(most):
                self._pass_raw(raw)
                for seq, _ in raw:
                    ahead.take(seq)
            else:
                self._advance_stored(self.journal, ahead)
            if self._clock.monotonic() >= until:
                return

    def _pass_raw(self, raw: Sequence[tuple[int, RawRecord | None]]) -> None:
        """Pass records through the engine whose estimates are not to be published."""
        assert self.state is not None
        records = [record for _, record in raw if record is not None]
        try:
            if records:
                self.state = engines.advance_many(self._engine, self.state, records)[0]
            return
        except Exception:
            log.exception("cannot use one of %d records: each is tried alone", len(records))
        for seq, record in raw:
            new = self._advance(seq, record, None)
            self.state = self.state if new is None else new.state

    def _advance_stored(self, journal: Journal, ahead: CatchUp) -> None:
        """Publish the estimate of the next record; after the last one store the state."""
        events = tuple(self._event(kind, text) for kind, text in ahead.events())
        assert self.state is not None
        following = ahead.peek()
        if following is None:
            journal.store_state(self.state, self._fingerprint, events)
            self._catch_up = None
            return
        seq, record = following
        mark = journal.unestimated(seq)
        new = self._advance(seq, record, mark)
        if mark is not None and (new is None or mark.is_settled(new.outcome)):
            journal.forget_unestimated(seq)
        elif mark is not None and new is not None:
            messages = (*events, *new.messages)
            journal.commit(
                *(seq, new.outcome.record, new.state, self._fingerprint, messages),
                estimate=new.row,
                is_stored=True,
            )
            ahead.clear_events()
            self._count_late(new.outcome)
        self.state = self.state if new is None else new.state
        ahead.take(seq)

    def _advance(
        self, seq: int, record: RawRecord | None, mark: Unestimated | None
    ) -> Advanced | None:
        """Pass a record through the engine; None if it is damaged, or fails because of an error.

        Parameters
        ----------
        mark :
            None: nothing is to be published.
        """
        assert self.state is not None
        if record is None:
            return None
        try:
            state, outcome = engines.advance(self._engine, self.state, record)
            if mark is None:
                return Advanced(state, outcome)
            row = estimate_row(seq, outcome, self._model)
            return Advanced(state, outcome, row, self._messages(mark, outcome))
        except Exception:
            log.exception("cannot use record %r", record)
            self.counts.failed += 1
            return None

    def _count_late(self, outcome: engines.Outcome) -> None:
        is_late = bool(outcome.estimate.quality & Quality.LATE)
        self.counts.late += is_late
        self._late_in_row = self._late_in_row + 1 if is_late else 0

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
            self._set_aside_ahead(journal, timekeeper)
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
        if self._timekeeper is not None and self.journal is not None and not self.waiting():
            self._set_aside_ahead(self.journal, self._timekeeper)
            self._enqueue(self._timekeeper, self._timekeeper.update_clock())

    def _set_aside_ahead(self, journal: Journal, timekeeper: Timekeeper) -> None:
        """Set records aside that lie far ahead of UTC, now that it is known."""
        ahead = timekeeper.find_ahead()
        if ahead is None:
            return
        mark = Unestimated(self._identity.epoch, self._seq + 1 - journal.base, "", -math.inf)
        stored = journal.stored_after(ahead.limit_s)
        choice = aheads.choose(ahead, stored, journal.end_before, mark)
        if choice.seqs:
            log.warning("%s", choice.text)
            event = self._event("clock_step", choice.text)
            journal.set_aside(choice.seqs, ahead.limit_s, choice.restamped, (event,))
            self.counts.records += len(choice.restamped)
        newest_s = journal.newest_end_s()
        if choice.seqs or newest_s < timekeeper.state.last_end_s:
            self._seq, self._newest_s = journal.last_seq(), newest_s
            self._begin_rebuild(journal, "records ahead of UTC were set aside")
            self._ancillary.restart_after(newest_s)
        if choice.is_complete:
            timekeeper.drop_newest(newest_s)

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
        stamped, seq = pending.stamped, self._seq + 1
        assert stamped is not None
        record = stamped.record
        if record.end_s <= self._newest_s and journal.has_end(record.end_s):
            self.counts.duplicates += 1
            return False
        before_s, epoch = journal.end_before(record.end_s), self._identity.epoch
        mark = Unestimated(epoch, seq - journal.base, stamped.time_q, before_s)
        lost, values = self._lost_unreported, pending.values
        if self._catch_up is not None:
            journal.store_raw(seq, record, mark, pending.events, accepted, lost, values)
            self._catch_up.count_new()
        else:
            new = self._advance(seq, record, mark)
            if new is None:
                return False
            messages, row = (*pending.events, *new.messages), new.row
            journal.commit(
                *(seq, record, new.state, self._fingerprint, messages, accepted, lost, row, values)
            )
            self.state = new.state
            self._count_late(new.outcome)
            log.debug("record %d, theta %.4f", mark.number, new.outcome.estimate.theta)
        self._seq, self._lost_unreported = seq, 0
        self._newest_s = max(self._newest_s, record.end_s)
        self.counts.records += 1
        return True

    def _messages(self, mark: Unestimated, outcome: engines.Outcome) -> tuple[Message, ...]:
        """Return the messages to publish for one record."""
        record, bundle = outcome.record, self._engine.bundle
        identity = replace(self._identity, epoch=mark.epoch)
        payload = observation.obs_theta(
            *(identity, mark.number, record, outcome.corrected, outcome.estimate, bundle),
            mark.time_q,
            mark.before_s,
            self._engine.soil_water,
            self._engine.root_zone,
        )
        payload["rev"] = mark.rev
        messages = observation.obs_messages(identity, payload, record.end_s, self.now_s())
        if self._config.mqtt is not None and self._config.mqtt.raw and mark.rev == 0:
            messages += (observation.raw_message(identity, mark.number, record, mark.time_q),)
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
        newest = engines.NOTHING
        if self.state is not None and not self.is_behind:
            newest = engines.newest(self._engine, self.state)
        soil, root = self._engine.soil_water, self._engine.root_zone
        advice = root_zone.advise(root, newest)
        return {
            **asdict(self.counts),
            "late_in_row": self._late_in_row,
            "rebuilding": self._catch_up.progress() if self._catch_up is not None else None,
            "waiting": self.waiting(),
            "last_end": utc(self.newest_s()),
            "window_end": utc(newest.window_end_s),
            "theta": None if newest.theta != newest.theta else round(newest.theta, 6),
            "water": None if soil is None else observation.water_payload(soil, newest),
            "root_zone": None if root is None else observation.root_zone_payload(root, newest),
            "advice": {"irrigate": advice.irrigate, "text": advice.text},
            "flags": observation.quality_flags(newest.quality),
            "model": self._model,
        }
