"""Decide when a record was counted, from the logger's time stamp and the station's clocks.

Records are ordered by arrival: number of the machine's boot, then CLOCK_BOOTTIME. The wall clock is
used only while it is synchronised. A record with an implausible stamp is held until the next record
confirms or contradicts it. While the logger's clock is wrong, records get the station's time; while
the station has no valid time either, they wait and are stamped once the clock is synchronised.
The functions are pure: `stamp_record(rules, state, ...) -> Verdict`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from epithermal_edge.records import NAN, RawRecord
from epithermal_edge.times import instant

LOGGER = "logger"  # the logger's stamp; the synchronised clock agrees with it
UNCHECKED = "logger_unchecked"  # the logger's stamp; no valid clock to check it against
SYNCED = "synced"  # the station's synchronised clock when the record arrived
BACK_STAMPED = "back_stamped"  # the same, computed after the clock was synchronised
UNSYNCED = "unsynced"  # computed from boot time alone: not reliable
SOUND = (LOGGER, SYNCED, BACK_STAMPED)

STEP_S = 2.0  # a smaller change of the system clock is slewing or a leap second
UNCHECKED_GAP_S = 6 * 3600.0  # longest accepted gap between two unchecked stamps
PACE = 0.25  # relative tolerance between interval of arrivals and interval of stamps
JITTER_S = 0.5
HELD_MAX = 10_000  # records that may wait for a valid clock
AHEAD_S = 86400.0  # stamps farther ahead of UTC are wrong; nearer ones are waited for


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of the time stamps, from [source]."""

    interval_s: float
    tolerance_s: float = 600.0  # accepted error of the logger's clock
    stamp_source: str = "logger"  # or "station", or "unchecked": always the logger, never checked


@dataclass(frozen=True, slots=True)
class Arrival:
    """Arrival time of data, by the station's clocks."""

    boot: int  # number of boots since the journal was created
    boottime_s: float  # since that boot
    utc_s: float = NAN  # wall clock; NaN while it is not synchronised


@dataclass(frozen=True, slots=True)
class Held:
    """A record without a final time stamp."""

    record: RawRecord  # with the logger's stamp
    boot: int
    boottime_s: float
    doubted: bool = False  # waits for the next record to confirm its stamp; else for the clock
    number: int = 0  # serial number


@dataclass(frozen=True, slots=True)
class Stamps:
    """State between records; stored in the journal as JSON, so field names are fixed."""

    boot: int = 0
    offset_s: float = NAN  # UTC minus boot time in this boot
    reckoned: bool = False  # the offset comes from earlier stamps, not from a synchronised clock
    other_s: float = NAN  # offset of the wall clock after it stepped while synchronised
    last_end_s: float = -math.inf  # end of the newest record
    last_boot: int = -1
    last_boottime_s: float = NAN  # when that record arrived
    lag_s: float = NAN  # logger's clock minus UTC; NaN unless it is known to be wrong
    steps: int = 0  # steps of the logger's clock and the system clock
    refused: int = 0  # records rejected for their stamps
    numbers: int = 0  # records held so far
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class Stamped:
    """A record with its final time stamp."""

    record: RawRecord
    time_q: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a step: the state to store, records to commit in order, events to publish."""

    state: Stamps
    stamped: tuple[Stamped, ...] = ()
    events: tuple[tuple[str, str], ...] = ()  # kind and text


@dataclass(frozen=True, slots=True)
class Ahead:
    """The newest stamps lie more than AHEAD_S ahead of a synchronised clock."""

    limit_s: float  # no right stamp lies after this [s, Unix time]
    boot_s: float = math.inf  # begin of this boot in stamps that continued from a wrong one
    shift_s: float = NAN  # true time minus these stamps


def find_ahead(rules: Rules, state: Stamps, now: Arrival) -> Ahead | None:
    """Check whether the newest stamps lie far ahead of the true time.

    None also if the wall clock has just stepped: one of its two times is wrong.
    """
    if math.isnan(now.utc_s) or rules.stamp_source == "unchecked":
        return None
    if not state.last_end_s - now.utc_s > max(AHEAD_S, rules.tolerance_s):
        return None
    limit_s, offset_s = now.utc_s + rules.tolerance_s, now.utc_s - now.boottime_s
    if now.boot != state.boot or math.isnan(state.offset_s):
        return Ahead(limit_s)
    if state.reckoned:
        return Ahead(limit_s, state.offset_s, offset_s - state.offset_s)
    return Ahead(limit_s) if abs(offset_s - state.offset_s) <= STEP_S else None


def drop_newest(state: Stamps, newest_s: float) -> Stamps:
    """Return the state after the newest records were set aside; `newest_s` is the newest left."""
    if state.reckoned:
        state = replace(state, offset_s=NAN, reckoned=False, lag_s=NAN)
    return replace(state, last_end_s=newest_s, last_boot=-1, last_boottime_s=NAN)


def update_clock(rules: Rules, state: Stamps, now: Arrival) -> Verdict:
    """Update the state with the boot and the wall clock; stamp the records that waited for it.

    If the wall clock steps while it is synchronised, the time server is wrong now or was wrong
    before; the logger's stamps decide which.
    """
    verdict = Verdict(state)
    if now.boot != state.boot:
        fresh = replace(state, boot=now.boot, offset_s=NAN, reckoned=False, lag_s=NAN, other_s=NAN)
        verdict = Verdict(fresh)
    if math.isnan(now.utc_s):
        return verdict
    state, offset_s = verdict.state, now.utc_s - now.boottime_s
    if math.isnan(state.offset_s) or state.reckoned:
        state = replace(state, offset_s=offset_s, reckoned=False, other_s=NAN)
        ahead_s = state.last_end_s - now.utc_s
        if ahead_s > rules.tolerance_s and rules.stamp_source == "logger":
            text = f"stamps so far are {ahead_s:.0f} s ahead of UTC"
            text += "; records until then are late" if ahead_s <= AHEAD_S else ""
            verdict = _add_event(verdict, "clock_step", text, step=True)
        return _stamp_waiting(replace(verdict, state=replace(state, steps=verdict.state.steps)))
    step_s = offset_s - (state.offset_s if math.isnan(state.other_s) else state.other_s)
    if abs(step_s) > STEP_S:
        text = f"the synchronised system clock stepped by {step_s:+.0f} s"
        verdict = _add_event(verdict, "clock_step", text, step=True)
    if abs(offset_s - state.offset_s) > STEP_S and rules.stamp_source != "station":
        return replace(verdict, state=replace(verdict.state, other_s=offset_s))
    return replace(verdict, state=replace(verdict.state, offset_s=offset_s, other_s=NAN))


def stamp_record(rules: Rules, state: Stamps, record: RawRecord, now: Arrival) -> Verdict:
    """Stamp a record with its end time, or hold it.

    Parameters
    ----------
    record :
        With the logger's stamp; must not be a duplicate.
    now :
        When it arrived.
    """
    verdict = update_clock(rules, state, now)
    arrived = Held(record, now.boot, now.boottime_s)
    if rules.stamp_source == "station":
        return _stamp_by_arrival(verdict, arrived)
    if rules.stamp_source == "unchecked":
        return _accept(verdict, arrived, record.end_s, UNCHECKED)
    if math.isnan(verdict.state.offset_s):
        return _stamp_without_clock(rules, verdict, arrived)
    return _stamp_with_clock(rules, verdict, arrived)


def _stamp_with_clock(rules: Rules, verdict: Verdict, arrived: Held) -> Verdict:
    """Compare a stamp with the known time: it agrees, comes from a backlog, or is wrong."""
    verdict = _choose_wall_clock(rules, verdict, arrived)
    state = verdict.state
    lag_s = _logger_lag_s(state, arrived)
    if abs(lag_s) <= rules.tolerance_s:
        if not math.isnan(state.lag_s):
            verdict = _add_event(verdict, "clock_step", "the logger's clock is correct again")
        verdict = _resolve_doubted(rules, verdict)
        verdict = replace(verdict, state=replace(verdict.state, lag_s=NAN))
        sure = not state.reckoned and math.isnan(state.other_s)
        return _accept(verdict, arrived, arrived.record.end_s, LOGGER if sure else UNCHECKED)
    known = abs(lag_s - state.lag_s) <= rules.tolerance_s  # False while lag_s is NaN
    doubt = _doubted_record(state)
    if doubt is not None and _intervals_agree(doubt, arrived):
        if not known:
            text = f"the logger's clock is {lag_s:+.0f} s off; the station's clock is used"
            verdict = _add_event(verdict, "clock_step", text, step=True)
        verdict = replace(verdict, state=replace(verdict.state, lag_s=lag_s))
        return _stamp_by_arrival(_release_doubted(verdict), arrived)
    if known and doubt is None and _can_be_new(state, arrived):
        return _stamp_by_arrival(verdict, arrived)
    verdict = _resolve_doubted(rules, verdict)
    if state.last_end_s < arrived.record.end_s and lag_s < 0.0:
        # from a backlog or delayed; a logger clock that is behind looks the same
        return _accept(verdict, arrived, arrived.record.end_s, UNCHECKED)
    return _hold(verdict, replace(arrived, doubted=True))


def _choose_wall_clock(rules: Rules, verdict: Verdict, arrived: Held) -> Verdict:
    """Choose between the wall clock before and after its step: the one that the logger confirms."""
    state = verdict.state
    if math.isnan(state.other_s):
        return verdict
    stepped = replace(state, offset_s=state.other_s, other_s=NAN)
    before, after = (abs(_logger_lag_s(s, arrived)) <= rules.tolerance_s for s in (state, stepped))
    return verdict if before and not after else replace(verdict, state=stepped)


def _stamp_without_clock(rules: Rules, verdict: Verdict, arrived: Held) -> Verdict:
    """Compare a stamp with earlier stamps while this boot has no synchronised clock."""
    state, end_s = verdict.state, arrived.record.end_s
    doubt = _doubted_record(state)
    gap_s = max(UNCHECKED_GAP_S, 3.0 * rules.interval_s)
    same_boot = state.last_boot == arrived.boot
    away_s = arrived.boottime_s - state.last_boottime_s if same_boot else 0.0
    if doubt is None and state.held and _intervals_agree(state.held[-1], arrived):
        return _hold(verdict, arrived)  # waits for a valid clock, as the one before it
    behind = doubt is not None and doubt.record.end_s <= state.last_end_s
    if doubt is not None and behind and _intervals_agree(doubt, arrived):
        return _handle_logger_step(verdict, doubt, arrived, same_boot)
    if end_s > state.last_end_s:
        if end_s - state.last_end_s <= away_s + gap_s:
            return _accept(_resolve_doubted(rules, verdict), arrived, end_s, UNCHECKED)
        if doubt is not None and 0.0 < end_s - doubt.record.end_s <= gap_s:
            if same_boot and _intervals_agree(doubt, arrived):
                return _handle_logger_step(verdict, doubt, arrived, same_boot)
            verdict = _accept(_drop_doubted(verdict), doubt, doubt.record.end_s, UNCHECKED)
            return _accept(verdict, arrived, end_s, UNCHECKED)
    return _hold(_resolve_doubted(rules, verdict), replace(arrived, doubted=True))


def _handle_logger_step(verdict: Verdict, doubt: Held, arrived: Held, same_boot: bool) -> Verdict:
    """Handle a step of the logger's clock without a valid clock: use boot time, or hold both."""
    state = verdict.state
    text = f"the logger's stamps jumped from {_iso(state.last_end_s)} to {_iso(doubt.record.end_s)}"
    verdict = _add_event(verdict, "clock_step", text, step=True)
    if same_boot:
        offset_s = state.last_end_s - state.last_boottime_s
        lag_s = arrived.record.end_s - (arrived.boottime_s + offset_s)
        state = replace(verdict.state, offset_s=offset_s, reckoned=True, lag_s=lag_s)
        return _stamp_by_arrival(_release_doubted(replace(verdict, state=state)), arrived)
    return _hold(_hold(_drop_doubted(verdict), replace(doubt, doubted=False)), arrived)


def _intervals_agree(before: Held, arrived: Held) -> bool:
    """Check whether the interval between arrivals agrees with the interval between stamps."""
    stamped_s = arrived.record.end_s - before.record.end_s
    elapsed_s = arrived.boottime_s - before.boottime_s
    same_boot = before.boot == arrived.boot
    return (
        same_boot and stamped_s > 0.0 and abs(stamped_s - elapsed_s) <= PACE * stamped_s + JITTER_S
    )


def _can_be_new(state: Stamps, arrived: Held) -> bool:
    """Check whether enough time has passed since the last arrival to count a new record."""
    length_s = float(arrived.record.duration_s)
    elapsed_s = arrived.boottime_s - state.last_boottime_s
    return state.last_boot != arrived.boot or not elapsed_s < (1.0 - PACE) * length_s


def _logger_lag_s(state: Stamps, arrived: Held) -> float:
    return arrived.record.end_s - (arrived.boottime_s + state.offset_s)


def _iso(time_s: float) -> str:
    moment = instant(time_s)
    return f"{time_s:g} s" if moment is None else moment.isoformat(timespec="seconds")


def _doubted_record(state: Stamps) -> Held | None:
    return next((held for held in state.held if held.doubted), None)


def _drop_doubted(verdict: Verdict) -> Verdict:
    """Remove the doubted record from those held."""
    held = tuple(held for held in verdict.state.held if not held.doubted)
    return replace(verdict, state=replace(verdict.state, held=held))


def _hold(verdict: Verdict, held: Held) -> Verdict:
    number = verdict.state.numbers + 1
    held_before = verdict.state.held
    if len(held_before) >= HELD_MAX:
        held_before = held_before[1:]
        verdict = _add_event(
            verdict, "spool_drop", f"more than {HELD_MAX} records wait for a valid clock"
        )
    held = replace(held, number=number)
    return replace(verdict, state=replace(verdict.state, numbers=number, held=(*held_before, held)))


def _add_event(verdict: Verdict, kind: str, text: str, step: bool = False) -> Verdict:
    state = replace(verdict.state, steps=verdict.state.steps + step)
    return replace(verdict, state=state, events=(*verdict.events, (kind, text)))


def _resolve_doubted(rules: Rules, verdict: Verdict) -> Verdict:
    """Resolve an unconfirmed record: reject a stamp ahead of the others, accept a late one."""
    doubt = _doubted_record(verdict.state)
    if doubt is None:
        return verdict
    verdict = _drop_doubted(verdict)
    end_s, state = doubt.record.end_s, verdict.state
    if end_s <= state.last_end_s:
        return _accept(verdict, doubt, end_s, UNCHECKED)
    known = not math.isnan(state.offset_s) and doubt.boot == state.boot
    if known and _logger_lag_s(state, doubt) <= rules.tolerance_s:
        return _accept(verdict, doubt, end_s, UNCHECKED)
    text = f"rejected a record stamped {_iso(end_s)}: the next record does not confirm it"
    verdict = _add_event(verdict, "stamp_refused", text)
    return replace(verdict, state=replace(verdict.state, refused=verdict.state.refused + 1))


def _release_doubted(verdict: Verdict) -> Verdict:
    """Stamp the doubted record by the station's clock."""
    doubt = _doubted_record(verdict.state)
    return verdict if doubt is None else _stamp_by_arrival(_drop_doubted(verdict), doubt)


def _stamp_by_arrival(verdict: Verdict, arrived: Held, time_q: str = SYNCED) -> Verdict:
    """Stamp a record by its arrival, or hold it until that can be converted to UTC."""
    state = verdict.state
    if math.isnan(state.offset_s) or arrived.boot != state.boot:
        return _hold(verdict, arrived)
    end_s = round(arrived.boottime_s + state.offset_s, 3)
    begin_s = end_s - float(arrived.record.duration_s)
    # a record that arrived sooner than it can have been counted has an unknown end
    late_s = PACE * float(arrived.record.duration_s) + JITTER_S
    doubtful = state.reckoned or begin_s < state.last_end_s - late_s
    return _accept(verdict, arrived, end_s, UNSYNCED if doubtful else time_q)


def _accept(verdict: Verdict, arrived: Held, end_s: float, time_q: str) -> Verdict:
    stamped = Stamped(replace(arrived.record, end_s=end_s), time_q)
    state = verdict.state
    if end_s > state.last_end_s:
        state = replace(
            state, last_end_s=end_s, last_boot=arrived.boot, last_boottime_s=arrived.boottime_s
        )
    return replace(verdict, state=state, stamped=(*verdict.stamped, stamped))


def _stamp_waiting(verdict: Verdict) -> Verdict:
    """Stamp the records that waited, now that UTC is known in this boot.

    How long the machine was off after a boot that was never synchronised is unknown; zero is
    assumed, and those stamps are marked UNSYNCED.
    """
    state = verdict.state
    waiting = [held for held in state.held if not held.doubted]
    if not waiting:
        return verdict
    doubted = tuple(held for held in state.held if held.doubted)
    verdict = replace(verdict, state=replace(state, held=doubted))
    offsets = {state.boot: state.offset_s}
    begin_s = state.offset_s
    for held in reversed(waiting):
        if held.boot not in offsets:
            begin_s -= held.boottime_s
            offsets[held.boot] = begin_s
    for held in waiting:
        if held.boot == state.boot:
            verdict = _stamp_by_arrival(verdict, held, BACK_STAMPED)
        else:
            end_s = round(held.boottime_s + offsets[held.boot], 3)
            verdict = _accept(verdict, held, end_s, UNSYNCED)
    return verdict
