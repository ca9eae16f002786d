"""When a record was counted: the logger's stamp, if clocks that nobody sets do not contradict it.

Records are ordered by their arrival: the number of the machine's start and CLOCK_BOOTTIME. The
wall clock counts only while it is synchronised. A stamp that cannot be is held until the next
record confirms or belies it; where the logger's clock is wrong, the station's stands in, and where
there is none yet, records wait and are stamped back. Pure: `judge(rules, state, ...) -> Verdict`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from epithermal_edge.records import NAN, RawRecord

LOGGER = "logger"  # its own stamp, and the synchronised clock agrees
UNCHECKED = "logger_unchecked"  # its own stamp, and there was no clock to check it by
SYNCED = "synced"  # the station's synchronised clock at the record's arrival
BACK_STAMPED = "back_stamped"  # the same, given when the clock was synchronised later
UNSYNCED = "unsynced"  # by boot time alone: not to be trusted
SOUND = (LOGGER, SYNCED, BACK_STAMPED)

STEP_S = 2.0  # a smaller change of the system's clock is slewing, or a leap second
LEAP_S = 6 * 3600.0  # unchecked stamps may leave out so much between two records
PACE = 0.25  # relative error of the pace of records that come as they are counted
JITTER_S = 0.5
HELD_MAX = 10_000  # records that wait for a clock


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says."""

    interval_s: float
    tolerance_s: float = 600.0  # the logger's clock may be wrong by this
    whose: str = "logger"  # stamps the records: else "station", or "unchecked": the logger always


@dataclass(frozen=True, slots=True)
class Arrival:
    """When something was heard, by the station's clocks."""

    boot: int  # starts of the machine since the journal began
    boottime_s: float  # since that start
    utc_s: float = NAN  # by the wall clock; NaN while it is not synchronised


@dataclass(frozen=True, slots=True)
class Held:
    """A record that is not stamped yet."""

    record: RawRecord  # with the logger's stamp
    boot: int
    boottime_s: float
    doubted: bool = False  # the next record tells what its stamp is worth; else the clock will
    number: int = 0  # running


@dataclass(frozen=True, slots=True)
class Stamps:
    """What is remembered of stamps and arrivals."""

    boot: int = 0
    offset_s: float = NAN  # UTC minus boot time in this boot
    reckoned: bool = False  # the offset is that of the stamps so far, not of a true clock
    other_s: float = NAN  # offset of the wall clock since it left that one, though synchronised
    last_end_s: float = -math.inf  # of the newest record in the stream
    last_boot: int = -1
    last_boottime_s: float = NAN  # of its arrival
    lag_s: float = NAN  # the logger's clock minus UTC where it is known to be wrong
    steps: int = 0  # of the logger's clock and the system's
    refused: int = 0
    numbers: int = 0  # of records ever held
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class Stamped:
    """A record whose end is settled."""

    record: RawRecord
    time_q: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do: remember the state, take the records in order, tell the events."""

    state: Stamps
    stamped: tuple[Stamped, ...] = ()
    events: tuple[tuple[str, str], ...] = ()  # kind and text


def settle(rules: Rules, state: Stamps, now: Arrival) -> Verdict:
    """Take notice of a new boot and of the wall clock; stamp back what waited for it.

    A wall clock that steps though it is synchronised is a broken time server's, or was before:
    the logger's stamps tell which.
    """
    done = Verdict(state)
    if now.boot != state.boot:
        fresh = replace(state, boot=now.boot, offset_s=NAN, reckoned=False, lag_s=NAN, other_s=NAN)
        done = Verdict(fresh)
    if math.isnan(now.utc_s):
        return done
    state, offset_s = done.state, now.utc_s - now.boottime_s
    if math.isnan(state.offset_s) or state.reckoned:
        state = replace(state, offset_s=offset_s, reckoned=False, other_s=NAN)
        ahead_s = state.last_end_s - now.utc_s
        if ahead_s > rules.tolerance_s and rules.whose == "logger":
            text = f"the stamps so far are {ahead_s:.0f} s ahead: records are late until then"
            done = _told(done, "clock_step", text, step=True)
        return _stamp_back(replace(done, state=replace(state, steps=done.state.steps)))
    step_s = offset_s - (state.offset_s if math.isnan(state.other_s) else state.other_s)
    if abs(step_s) > STEP_S:
        text = f"the synchronised system clock went {step_s:+.0f} s"
        done = _told(done, "clock_step", text, step=True)
    if abs(offset_s - state.offset_s) > STEP_S and rules.whose != "station":
        return replace(done, state=replace(done.state, other_s=offset_s))
    return replace(done, state=replace(done.state, offset_s=offset_s, other_s=NAN))


def judge(rules: Rules, state: Stamps, record: RawRecord, now: Arrival) -> Verdict:
    """Settle a record's end, or hold it.

    Parameters
    ----------
    record :
        With the logger's stamp; not one that is in the stream already.
    now :
        When it was heard.
    """
    done = settle(rules, state, now)
    heard = Held(record, now.boot, now.boottime_s)
    if rules.whose == "station":
        return _by_station(done, heard)
    if rules.whose == "unchecked":
        return _take(done, heard, record.end_s, UNCHECKED)
    if math.isnan(done.state.offset_s):
        return _unchecked(rules, done, heard)
    return _checked(rules, done, heard)


def _checked(rules: Rules, done: Verdict, heard: Held) -> Verdict:
    """The time is known: a stamp agrees with it, is from a backlog, or is wrong."""
    done = _choose(rules, done, heard)
    state = done.state
    lag_s = _lag(state, heard)
    if abs(lag_s) <= rules.tolerance_s:
        if not math.isnan(state.lag_s):
            done = _told(done, "clock_step", "the logger's clock is right again")
        done = _resolve(rules, done)
        done = replace(done, state=replace(done.state, lag_s=NAN))
        sure = not state.reckoned and math.isnan(state.other_s)
        return _take(done, heard, heard.record.end_s, LOGGER if sure else UNCHECKED)
    known = abs(lag_s - state.lag_s) <= rules.tolerance_s  # False while no lag is known
    doubt = _doubt(state)
    if doubt is not None and _is_paced(doubt, heard):
        if not known:
            text = f"the logger's clock is {lag_s:+.0f} s off; the station's clock stamps"
            done = _told(done, "clock_step", text, step=True)
        done = replace(done, state=replace(done.state, lag_s=lag_s))
        return _by_station(_release(done), heard)
    if known and doubt is None and _has_counted_since(state, heard):
        return _by_station(done, heard)
    done = _resolve(rules, done)
    if state.last_end_s < heard.record.end_s and lag_s < 0.0:
        # from a backlog, or on its way for long: a clock that is behind looks the same
        return _take(done, heard, heard.record.end_s, UNCHECKED)
    return _hold(done, replace(heard, doubted=True))


def _choose(rules: Rules, done: Verdict, heard: Held) -> Verdict:
    """Between the wall clock before and after its step: the one that the logger agrees with."""
    state = done.state
    if math.isnan(state.other_s):
        return done
    stepped = replace(state, offset_s=state.other_s, other_s=NAN)
    before, after = (abs(_lag(s, heard)) <= rules.tolerance_s for s in (state, stepped))
    return done if before and not after else replace(done, state=stepped)


def _unchecked(rules: Rules, done: Verdict, heard: Held) -> Verdict:
    """There is no true time in this boot so far: stamps are held against those before."""
    state, end_s = done.state, heard.record.end_s
    doubt = _doubt(state)
    leap_s = max(LEAP_S, 3.0 * rules.interval_s)
    same_boot = state.last_boot == heard.boot
    away_s = heard.boottime_s - state.last_boottime_s if same_boot else 0.0
    if doubt is None and state.held and _is_paced(state.held[-1], heard):
        return _hold(done, heard)  # one more that waits for a clock
    behind = doubt is not None and doubt.record.end_s <= state.last_end_s
    if doubt is not None and behind and _is_paced(doubt, heard):
        return _reckon(done, doubt, heard, same_boot)
    if end_s > state.last_end_s:
        if end_s - state.last_end_s <= away_s + leap_s:
            return _take(_resolve(rules, done), heard, end_s, UNCHECKED)
        if doubt is not None and 0.0 < end_s - doubt.record.end_s <= leap_s:
            if same_boot and _is_paced(doubt, heard):
                return _reckon(done, doubt, heard, same_boot)
            done = _take(_dropped(done), doubt, doubt.record.end_s, UNCHECKED)
            return _take(done, heard, end_s, UNCHECKED)
    return _hold(_resolve(rules, done), replace(heard, doubted=True))


def _reckon(done: Verdict, doubt: Held, heard: Held, same_boot: bool) -> Verdict:
    """The logger's clock stepped and no true clock is there: boot time goes on, or both wait."""
    state = done.state
    text = f"the logger's stamps went from {_iso(state.last_end_s)} to {_iso(doubt.record.end_s)}"
    done = _told(done, "clock_step", text, step=True)
    if same_boot:
        offset_s = state.last_end_s - state.last_boottime_s
        lag_s = heard.record.end_s - (heard.boottime_s + offset_s)
        state = replace(done.state, offset_s=offset_s, reckoned=True, lag_s=lag_s)
        return _by_station(_release(replace(done, state=state)), heard)
    return _hold(_hold(_dropped(done), replace(doubt, doubted=False)), heard)


def _is_paced(before: Held, heard: Held) -> bool:
    """Whether as much time went by from arrival to arrival as from stamp to stamp."""
    told_s = heard.record.end_s - before.record.end_s
    gone_s = heard.boottime_s - before.boottime_s
    same_boot = before.boot == heard.boot
    return same_boot and told_s > 0.0 and abs(told_s - gone_s) <= PACE * told_s + JITTER_S


def _has_counted_since(state: Stamps, heard: Held) -> bool:
    """Whether a record can have been counted since the last one came."""
    length_s = float(heard.record.duration_s)
    gone_s = heard.boottime_s - state.last_boottime_s
    return state.last_boot != heard.boot or not gone_s < (1.0 - PACE) * length_s


def _lag(state: Stamps, heard: Held) -> float:
    return heard.record.end_s - (heard.boottime_s + state.offset_s)


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")


def _doubt(state: Stamps) -> Held | None:
    return next((held for held in state.held if held.doubted), None)


def _dropped(done: Verdict) -> Verdict:
    """Without the doubted record."""
    held = tuple(held for held in done.state.held if not held.doubted)
    return replace(done, state=replace(done.state, held=held))


def _hold(done: Verdict, held: Held) -> Verdict:
    number = done.state.numbers + 1
    there = done.state.held
    if len(there) >= HELD_MAX:
        there = there[1:]
        done = _told(done, "spool_drop", f"more than {HELD_MAX} records wait for the clock")
    held = replace(held, number=number)
    return replace(done, state=replace(done.state, numbers=number, held=(*there, held)))


def _told(done: Verdict, kind: str, text: str, step: bool = False) -> Verdict:
    state = replace(done.state, steps=done.state.steps + step)
    return replace(done, state=state, events=(*done.events, (kind, text)))


def _resolve(rules: Rules, done: Verdict) -> Verdict:
    """The record in doubt is not confirmed: a stamp ahead of all was false, one behind is late."""
    doubt = _doubt(done.state)
    if doubt is None:
        return done
    done = _dropped(done)
    end_s, state = doubt.record.end_s, done.state
    if end_s <= state.last_end_s:
        return _take(done, doubt, end_s, UNCHECKED)
    known = not math.isnan(state.offset_s) and doubt.boot == state.boot
    if known and _lag(state, doubt) <= rules.tolerance_s:
        return _take(done, doubt, end_s, UNCHECKED)
    text = f"a record stamped {_iso(end_s)} was refused: the next one did not bear it out"
    done = _told(done, "stamp_refused", text)
    return replace(done, state=replace(done.state, refused=done.state.refused + 1))


def _release(done: Verdict) -> Verdict:
    """The record in doubt, by the station's clock."""
    doubt = _doubt(done.state)
    return done if doubt is None else _by_station(_dropped(done), doubt)


def _by_station(done: Verdict, heard: Held, time_q: str = SYNCED) -> Verdict:
    """Stamped by its arrival, or waiting until that means a time."""
    state = done.state
    if math.isnan(state.offset_s) or heard.boot != state.boot:
        return _hold(done, heard)
    end_s = round(heard.boottime_s + state.offset_s, 3)
    begin_s = end_s - float(heard.record.duration_s)
    # a record that came faster than it was counted ended at a time that nobody knows
    late_s = PACE * float(heard.record.duration_s) + JITTER_S
    doubtful = state.reckoned or begin_s < state.last_end_s - late_s
    return _take(done, heard, end_s, UNSYNCED if doubtful else time_q)


def _take(done: Verdict, heard: Held, end_s: float, time_q: str) -> Verdict:
    stamped = Stamped(replace(heard.record, end_s=end_s), time_q)
    state = done.state
    if end_s > state.last_end_s:
        state = replace(
            state, last_end_s=end_s, last_boot=heard.boot, last_boottime_s=heard.boottime_s
        )
    return replace(done, state=state, stamped=(*done.stamped, stamped))


def _stamp_back(done: Verdict) -> Verdict:
    """What waited, now that UTC is known in this boot.

    Of a boot that was never synchronised nobody knows how long the machine was off after it; the
    shortest time is taken, none, and the stamps are marked.
    """
    state = done.state
    waiting = [held for held in state.held if not held.doubted]
    if not waiting:
        return done
    doubted = tuple(held for held in state.held if held.doubted)
    done = replace(done, state=replace(state, held=doubted))
    offsets = {state.boot: state.offset_s}
    begin_s = state.offset_s
    for held in reversed(waiting):
        if held.boot not in offsets:
            begin_s -= held.boottime_s
            offsets[held.boot] = begin_s
    for held in waiting:
        if held.boot == state.boot:
            done = _by_station(done, held, BACK_STAMPED)
        else:
            end_s = round(held.boottime_s + offsets[held.boot], 3)
            done = _take(done, held, end_s, UNSYNCED)
    return done
