"""Check the quality of each record: every doubt is a flag, and no value is corrected.

`sieve` looks at one record alone and takes away what cannot be; `step` looks at it beside what came
before, a value that goes in and comes out. Floats, or arrays with one value a site. The thresholds
are [quality] of station.toml; docs/station.md has the flags in a table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.qc_limits import Limits
from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.records import CorrectedRecord, Floats, Quality, RawRecord
from epithermal_edge.site import Site
from epithermal_edge.times import DAY_S, HOUR_S

Array = NDArray[np.float64]
Flags = NDArray[np.int64]

STALE_S = 6 * HOUR_S  # after a longer silence nothing is compared with the value before
MEAN_S = 6 * HOUR_S  # memory of the recent mean that a count is compared with
ENOUGH_S = 3 * HOUR_S  # of counting, before a count is compared with its mean
MONTH_S = 30 * DAY_S  # memory of the tubes' share as it used to be; DAY_S: as it is now
SHARE_DAYS = 3.0  # of counting before the tubes are compared
SATURATED_PCT = 99.0  # at which the air's humidity may well stand still
CHANCE = 1e-9  # probability under which a repeated count is no chance
WINDOW_S = 25 * HOUR_S  # a day's window ends up to 1 h before the record that publishes it
DOUBTS = (
    Quality.PRESSURE_JUMP
    | Quality.PRESSURE_STUCK
    | Quality.AIR_STUCK
    | Quality.INCOMING_STUCK
    | Quality.COUNT_SPIKE
    | Quality.TUBE_RATIO
)
"""Flags of a doubtful count that is used all the same."""
WATCHED = ("pressure_hpa", "temperature_c", "relative_humidity_pct", "incoming")


@dataclass(frozen=True, slots=True)
class QualityState:
    """State of the checks; a value, never changed in place."""

    last_end_s: float  # end of the newest record; -inf before the first
    last_duration_s: Array  # (n,) counting time of the newest record that counted [s]
    value: Array  # (len(WATCHED), n) last known
    seen_s: Array  # (len(WATCHED), n) when it was known last [s, Unix time]
    since_s: Array  # (len(WATCHED), n) since when it is unchanged [s, Unix time]
    count: Array  # (n,) newest
    repeats: Array  # (n,) records before it with the same count
    mean_cph: Array  # (n,) recent corrected rate
    mean_live_s: Array  # (n,) counting time that it is the mean of, faded
    doubted_s: Array  # (n,) end of the newest record with one of DOUBTS [s, Unix time]
    tubes: Array  # (4, n) first and all counts of a day, of a month; faded


def start(n: int = 1) -> QualityState:
    """Return the state before the first record of n sites."""
    several = (len(WATCHED), n)
    return QualityState(
        last_end_s=-math.inf,
        last_duration_s=np.zeros(n),
        value=np.full(several, np.nan),
        seen_s=np.full(several, -np.inf),
        since_s=np.full(several, np.inf),
        count=np.full(n, np.nan),
        repeats=np.zeros(n),
        mean_cph=np.full(n, np.nan),
        mean_live_s=np.zeros(n),
        doubted_s=np.full(n, -np.inf),
        tubes=np.zeros((4, n)),
    )


def drop_impossible(limits: Limits, record: RawRecord) -> tuple[RawRecord, Flags]:
    """Replace impossible weather values by NaN and flag them.

    Parameters
    ----------
    record :
        Its numbers are floats, or arrays (n,).

    Returns
    -------
    RawRecord, (n,)
        The record for the corrections, and flags.
    """
    flags = np.zeros(np.broadcast(*_numbers(record)).shape or (1,), dtype=np.int64)
    hours = np.fmax(_fill(record.duration_s, HOUR_S), 60.0) / HOUR_S
    kept: dict[str, Any] = {}
    for name, low, high, flag in (
        ("pressure_hpa", limits.pressure_min_hpa, limits.pressure_max_hpa, Quality.PRESSURE_RANGE),
        ("temperature_c", limits.temperature_min_c, limits.temperature_max_c, Quality.AIR_RANGE),
        ("relative_humidity_pct", 0.0, 105.0, Quality.AIR_RANGE),
        ("rain_mm", 0.0, limits.rain_max_mm_h * np.fmax(hours, 0.25), Quality.RAIN_RANGE),
    ):
        value = np.asarray(getattr(record, name), dtype=np.float64)
        bad = (value < low) | (value > high)
        if bad.any():
            flags |= np.where(bad, int(flag), 0)
            kept[name] = np.where(bad, np.nan, value)
    return (replace(record, **kept) if kept else record), flags


def step(
    limits: Limits,
    site: Site,
    state: QualityState,
    record: RawRecord,
    corrected: CorrectedRecord,
) -> tuple[QualityState, Flags]:
    """Check a record by itself and against the preceding ones.

    Parameters
    ----------
    record :
        As `sieve` left it. One that does not end after the last one is judged by itself alone
        and leaves the state as it was.
    corrected :
        The same with the atmosphere taken out.

    Returns
    -------
    QualityState, (n,)
        Flags of `Quality`.
    """
    n = state.count.shape[0]
    flags = _health(limits, record, n) | _count_range(limits, site, corrected)
    if record.end_s <= state.last_end_s:
        return state, flags
    counted = np.isfinite(corrected.counts) & (corrected.duration_s > 0.0)
    short = counted & (corrected.duration_s < limits.short_share * state.last_duration_s)
    flags |= _flag(short, Quality.SHORT)
    state, weather = _weather(limits, state, record)
    state, stuck = _repeats(state, corrected.counts, counted)
    unused = (flags & int(Quality.COUNT_RANGE)) != 0
    usable = np.where(unused | stuck, np.nan, corrected.n_corr_cph)
    state, spike = _spike(limits, state, corrected, usable, record.end_s)
    state, ratio = _tubes(limits, state, record)
    flags |= weather | _flag(stuck, Quality.COUNT_STUCK)
    flags |= _flag(spike, Quality.COUNT_SPIKE) | _flag(ratio, Quality.TUBE_RATIO)
    doubtful = record.end_s - state.doubted_s < WINDOW_S
    doubted = (flags & int(DOUBTS)) != 0
    state = replace(
        state,
        last_end_s=record.end_s,
        last_duration_s=np.where(counted, corrected.duration_s, state.last_duration_s),
        doubted_s=np.where(doubted, record.end_s, state.doubted_s),
    )
    return state, flags | _flag(doubtful, Quality.DOUBTFUL)


def _numbers(record: RawRecord) -> tuple[Floats, ...]:
    return record.duration_s, record.counts, record.pressure_hpa, record.rain_mm


def _fill(value: Floats, instead: float) -> Array:
    x = np.asarray(value, dtype=np.float64)
    return np.where(np.isfinite(x), x, instead)


def _sites(value: Floats, n: int) -> Array:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (n,))


def _flag(where: NDArray[np.bool_], flag: Quality) -> Flags:
    return np.where(where, int(flag), 0)


def _health(limits: Limits, record: RawRecord, n: int) -> Flags:
    low = _sites(record.battery_v, n) < limits.battery_min_v
    humid = _sites(record.housing_humidity_pct, n) > limits.housing_humidity_max_pct
    return _flag(low, Quality.LOW_BATTERY) | _flag(humid, Quality.HOUSING_HUMID)


def _count_range(limits: Limits, site: Site, corrected: CorrectedRecord) -> Flags:
    """Flag a rate above that of bare dry soil by more than counting statistics allow.

    Anscombe (1948), Biometrika 35, 246, eq. 1: 2 sqrt(x + 3/8) of a Poisson number is nearly
    normal with standard deviation 1.
    """
    n = corrected.counts.shape[0]
    most_cph = limits.count_max_ratio * cosmic_rate(np.zeros(n), site)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = most_cph * corrected.counts / corrected.n_corr_cph
        z = 2.0 * (np.sqrt(corrected.counts + 0.375) - np.sqrt(expected + 0.375))
    return _flag(z > limits.spike_sigma, Quality.COUNT_RANGE)


def _weather(limits: Limits, state: QualityState, record: RawRecord) -> tuple[QualityState, Flags]:
    """Flag jumps and constant values of air and neutron monitor."""
    n = state.count.shape[0]
    now = np.stack([_sites(getattr(record, name), n) for name in WATCHED])
    known = np.isfinite(now)
    with np.errstate(invalid="ignore"):
        away_s = record.end_s - state.seen_s
        most = np.fmax(away_s / HOUR_S, 1.0)
        change = np.abs(now - state.value)
    limit = (
        limits.pressure_jump_hpa,
        limits.temperature_jump_c,
        limits.humidity_jump_pct,
        math.inf,
    )
    jump = known & (away_s <= STALE_S) & (change > np.array(limit)[:, None] * most)
    same = known & (change == 0.0)
    since_s = np.where(known & ~same, record.end_s, state.since_s)
    stuck_h = (
        limits.pressure_stuck_h,
        limits.air_stuck_h,
        limits.air_stuck_h,
        limits.incoming_stuck_h,
    )
    stuck = same & (record.end_s - since_s > np.array(stuck_h)[:, None] * HOUR_S)
    stuck[2] &= now[2] < SATURATED_PCT
    flags = _flag(jump[0], Quality.PRESSURE_JUMP) | _flag(stuck[0], Quality.PRESSURE_STUCK)
    flags |= _flag(jump[1] | jump[2], Quality.AIR_JUMP)
    flags |= _flag(stuck[1] | stuck[2], Quality.AIR_STUCK)
    flags |= _flag(stuck[3], Quality.INCOMING_STUCK)
    state = replace(
        state,
        value=np.where(known, now, state.value),
        seen_s=np.where(known, record.end_s, state.seen_s),
        since_s=since_s,
    )
    return state, flags


def _repeats(
    state: QualityState, counts: Array, counted: NDArray[np.bool_]
) -> tuple[QualityState, NDArray[np.bool_]]:
    """Check whether a count repeats more often in a row than chance allows.

    No number of a Poisson distribution is likelier than 1/sqrt(2 pi m), m that number, by
    Stirling's formula.
    """
    same = counted & (counts == state.count)
    repeats = np.where(same, state.repeats + 1.0, np.where(counted, 0.0, state.repeats))
    likely = 1.0 / np.sqrt(2.0 * np.pi * np.fmax(counts, 1.0))
    stuck = same & (counts > 0.0) & (repeats * np.log(likely) < math.log(CHANCE))
    state = replace(state, repeats=repeats, count=np.where(counted, counts, state.count))
    return state, stuck


def _spike(
    limits: Limits, state: QualityState, corrected: CorrectedRecord, usable: Array, end_s: float
) -> tuple[QualityState, NDArray[np.bool_]]:
    """Check whether a count deviates from the recent mean by more than soil and chance allow.

    A heavy rain on dry ground takes a third of the counts at most, and drying or melt brings less
    within hours; what is beyond is judged by Poisson statistics with Anscombe's transform (see
    `_count_range`), the error of the mean included.
    """
    good = np.isfinite(usable) & (usable > 0.0)
    since_s = max(end_s - state.last_end_s, 0.0) if math.isfinite(state.last_end_s) else 0.0
    live_s = np.where(good, corrected.duration_s, 0.0)
    before_s = state.mean_live_s * math.exp(-since_s / MEAN_S)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_counts = corrected.counts / usable  # expected counts of a rate
        error = np.sqrt(1.0 + live_s / before_s)
        root = 2.0 * np.sqrt(corrected.counts + 0.375)
        high = 2.0 * np.sqrt(state.mean_cph * (1.0 + limits.spike_rise) * to_counts + 0.375)
        low = 2.0 * np.sqrt(state.mean_cph * (1.0 - limits.spike_fall) * to_counts + 0.375)
        far = np.fmax(root - high, low - root) > limits.spike_sigma * error
        spike = good & (before_s >= ENOUGH_S) & far
        # A mean that a spike drags along would flag what follows: it moves as far as allowed.
        highest = state.mean_cph * (1.0 + limits.spike_rise)
        lowest = state.mean_cph * (1.0 - limits.spike_fall)
        rate = np.where(spike, np.clip(usable, lowest, highest), usable)
        total_s = before_s + live_s
        old = np.where(before_s > 0.0, state.mean_cph * before_s, 0.0)
        mean = np.where(good, (old + rate * live_s) / total_s, state.mean_cph)
    return replace(state, mean_cph=mean, mean_live_s=total_s), spike


def _tubes(
    limits: Limits, state: QualityState, record: RawRecord
) -> tuple[QualityState, NDArray[np.bool_]]:
    """Check whether the first tube's share of a day's counts deviates from that of a month.

    The share of one tube in the counts of several is binomial, whatever soil and weather do.
    """
    n = state.count.shape[0]
    first, counts = _sites(record.first_tube_counts, n), _sites(record.counts, n)
    known = np.isfinite(first) & np.isfinite(counts) & (counts > 0.0)
    if not known.any():
        return state, np.zeros(n, dtype=np.bool_)
    since_s = max(record.end_s - state.last_end_s, 0.0) if math.isfinite(state.last_end_s) else 0.0
    fade = np.exp(-since_s / np.array([DAY_S, DAY_S, MONTH_S, MONTH_S]))[:, None]
    add = np.where(known, np.stack([first, counts, first, counts]), 0.0)
    tubes = state.tubes * fade + add
    with np.errstate(divide="ignore", invalid="ignore"):
        now, usual = tubes[0] / tubes[1], tubes[2] / tubes[3]
        sigma = np.sqrt(usual * (1.0 - usual) * (1.0 / tubes[1] + 1.0 / tubes[3]))
        beyond = np.abs(now - usual) - limits.tube_change * usual
        long_enough = tubes[3] > SHARE_DAYS * tubes[1]
        odd = known & long_enough & (beyond > limits.tube_sigma * sigma)
    return replace(state, tubes=tubes), odd
