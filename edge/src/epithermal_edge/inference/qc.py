"""Check the quality of each record: every doubt is a flag, and no value is corrected.

`drop_impossible` looks at each record alone and takes away what cannot be; `check` looks at it
beside what came before, a value that goes in and comes out. Both work on blocks: a live record is
a block of one. The thresholds are [quality] of station.toml; docs/station.md has the flags.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.block import Array, Block, Corrected, Mask, carry
from epithermal_edge.inference.qc_limits import Limits
from epithermal_edge.physics.response import response_driest_rate
from epithermal_edge.records import Quality
from epithermal_edge.site import Site
from epithermal_edge.times import DAY_S, HOUR_S

Flags = NDArray[np.int64]

STALE_S = 6 * HOUR_S  # after a longer silence nothing is compared with the value before
MEAN_S = 6 * HOUR_S  # memory of the recent mean that a count is compared with
ENOUGH_S = 3 * HOUR_S  # of counting, before a count is compared with its mean
MONTH_S = 30 * DAY_S  # memory of the tubes' share as it used to be; DAY_S: as it is now
SHARE_DAYS = 3.0  # of counting before the tubes are compared
SATURATED_PCT = 99.0  # at which the air's humidity may well stand still
BARE_EXPECTED = 100.0  # moderated counts beside which a bare tube counts: a third of them, e^-33
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


def drop_impossible(limits: Limits, records: Block) -> tuple[Block, Flags]:
    """Replace impossible weather values by NaN and flag them.

    Returns
    -------
    Block, (T, n)
        The records for the corrections, and flags.
    """
    fields = records.fields
    duration_s = fields["duration_s"]
    hours = np.fmax(np.where(np.isfinite(duration_s), duration_s, HOUR_S), 60.0) / HOUR_S
    flags = np.zeros(duration_s.shape, dtype=np.int64)
    kept: dict[str, Array] = {}
    for name, low, high, flag in (
        ("pressure_hpa", limits.pressure_min_hpa, limits.pressure_max_hpa, Quality.PRESSURE_RANGE),
        ("temperature_c", limits.temperature_min_c, limits.temperature_max_c, Quality.AIR_RANGE),
        ("relative_humidity_pct", 0.0, 105.0, Quality.AIR_RANGE),
        ("rain_mm", 0.0, limits.rain_max_mm_h * np.fmax(hours, 0.25), Quality.RAIN_RANGE),
    ):
        value = fields[name]
        bad = (value < low) | (value > high)
        if bad.any():
            flags |= _flag(bad, flag)
            kept[name] = np.where(bad, np.nan, value)
    return (Block(records.end_s, fields | kept) if kept else records), flags


def check(
    limits: Limits,
    site: Site,
    state: QualityState,
    records: Block,
    corrected: Corrected,
    late: Mask,
) -> tuple[QualityState, Flags]:
    """Check records by themselves and against the preceding ones.

    Parameters
    ----------
    records :
        As `drop_impossible` left them.
    corrected :
        The same with the atmosphere taken out.
    late : (T,)
        These do not end after all before them: they are judged by themselves alone and leave the
        state as it was.

    Returns
    -------
    QualityState, (T, n)
        Flags of `Quality`.
    """
    flags = _health(limits, records) | _count_range(limits, site, corrected)
    rows = np.flatnonzero(~late)
    if not rows.size:
        return state, flags
    unused = (flags[rows] & int(Quality.COUNT_RANGE)) != 0
    stream = _Stream.of(state, records.take(rows), corrected.take(rows))
    value, seen_s, since_s, found = _weather(limits, state, stream)
    count, repeats, stuck = _repeats(state, stream)
    usable = np.where(unused | stuck, np.nan, stream.n_corr_cph)
    mean_cph, mean_live_s, spike = _spikes(limits, state, stream, usable)
    tubes, ratio = _tubes(limits, state, stream)
    last_duration_s = carry(state.last_duration_s, stream.counted, stream.duration_s)
    short = stream.counted & (stream.duration_s < limits.short_share * last_duration_s[:-1])
    found |= _flag(short, Quality.SHORT) | _flag(stuck, Quality.COUNT_STUCK)
    found |= _flag(spike, Quality.COUNT_SPIKE) | _flag(ratio, Quality.TUBE_RATIO)
    found |= flags[rows]
    doubted = (found & int(DOUBTS)) != 0
    doubted_s = carry(state.doubted_s, doubted, stream.end_s)
    flags[rows] = found | _flag(stream.end_s - doubted_s[:-1] < WINDOW_S, Quality.DOUBTFUL)
    after = QualityState(
        last_end_s=float(stream.end_s[-1, 0]),
        last_duration_s=last_duration_s[-1].copy(),
        value=value,
        seen_s=seen_s,
        since_s=since_s,
        count=count,
        repeats=repeats,
        mean_cph=mean_cph,
        mean_live_s=mean_live_s,
        doubted_s=doubted_s[-1].copy(),
        tubes=tubes,
    )
    return after, flags


@dataclass(frozen=True, slots=True, eq=False)
class _Stream:
    """R records that follow each other, none of them late; arrays (R, n)."""

    fields: dict[str, Array]
    end_s: Array
    elapsed_s: Array  # (R,) since the record before; 0 of the first
    duration_s: Array
    counts: Array
    n_corr_cph: Array
    counted: Mask

    @classmethod
    def of(cls, state: QualityState, records: Block, corrected: Corrected) -> _Stream:
        counts, duration_s = corrected.values["counts"], corrected.values["duration_s"]
        elapsed_s = np.diff(records.end_s, prepend=state.last_end_s)
        return cls(
            fields=records.fields,
            end_s=np.repeat(records.end_s[:, np.newaxis], counts.shape[1], axis=1),
            elapsed_s=np.where(np.isfinite(elapsed_s), elapsed_s, 0.0),
            duration_s=duration_s,
            counts=counts,
            n_corr_cph=corrected.values["n_corr_cph"],
            counted=np.isfinite(counts) & (duration_s > 0.0),
        )


def _flag(where: Mask, flag: Quality) -> Flags:
    return np.where(where, int(flag), 0)


def _health(limits: Limits, records: Block) -> Flags:
    low = records.fields["battery_v"] < limits.battery_min_v
    humid = records.fields["housing_humidity_pct"] > limits.housing_humidity_max_pct
    return (
        _flag(low, Quality.LOW_BATTERY)
        | _flag(humid, Quality.HOUSING_HUMID)
        | _bare(limits, records)
    )


def _bare(limits: Limits, records: Block) -> Flags:
    """Flag a bare tube that is silent while the moderated ones count."""
    counts = records.fields["counts"]
    if not limits.bare_tube:
        return np.zeros(counts.shape, dtype=np.int64)
    bare = records.fields.get(limits.bare_tube, np.zeros(counts.shape))
    return _flag((counts > BARE_EXPECTED) & ~(bare > 0.0), Quality.BARE_SILENT)


def _count_range(limits: Limits, site: Site, corrected: Corrected) -> Flags:
    """Flag a rate above that of bare dry soil by more than counting statistics allow.

    Anscombe (1948), Biometrika 35, 246, eq. 1: 2 sqrt(x + 3/8) of a Poisson number is nearly
    normal with standard deviation 1.
    """
    counts = corrected.values["counts"]
    most_cph = limits.count_max_ratio * response_driest_rate(site)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = most_cph * counts / corrected.values["n_corr_cph"]
        z = 2.0 * (np.sqrt(counts + 0.375) - np.sqrt(expected + 0.375))
    return _flag(z > limits.spike_sigma, Quality.COUNT_RANGE)


def _weather(
    limits: Limits, state: QualityState, stream: _Stream
) -> tuple[Array, Array, Array, Flags]:
    """Flag jumps and constant values of air and neutron monitor; also return their new state."""
    now = np.stack([stream.fields[name] for name in WATCHED], axis=1)
    end_s = np.broadcast_to(stream.end_s[:, np.newaxis], now.shape)
    known = np.isfinite(now)
    value, seen_s = carry(state.value, known, now), carry(state.seen_s, known, end_s)
    with np.errstate(invalid="ignore"):
        away_s = end_s - seen_s[:-1]
        most = np.fmax(away_s / HOUR_S, 1.0)
        change = np.abs(now - value[:-1])
    limit = (
        limits.pressure_jump_hpa,
        limits.temperature_jump_c,
        limits.humidity_jump_pct,
        math.inf,
    )
    jump = known & (away_s <= STALE_S) & (change > np.array(limit)[:, np.newaxis] * most)
    same = known & (change == 0.0)
    since_s = carry(state.since_s, known & ~same, end_s)
    stuck_h = (
        limits.pressure_stuck_h,
        limits.air_stuck_h,
        limits.air_stuck_h,
        limits.incoming_stuck_h,
    )
    stuck = same & (end_s - since_s[1:] > np.array(stuck_h)[:, np.newaxis] * HOUR_S)
    stuck[:, 2] &= now[:, 2] < SATURATED_PCT
    flags = _flag(jump[:, 0], Quality.PRESSURE_JUMP) | _flag(stuck[:, 0], Quality.PRESSURE_STUCK)
    flags |= _flag(jump[:, 1] | jump[:, 2], Quality.AIR_JUMP)
    flags |= _flag(stuck[:, 1] | stuck[:, 2], Quality.AIR_STUCK)
    flags |= _flag(stuck[:, 3], Quality.INCOMING_STUCK)
    return value[-1].copy(), seen_s[-1].copy(), since_s[-1].copy(), flags


def _repeats(state: QualityState, stream: _Stream) -> tuple[Array, Array, Mask]:
    """Check whether a count repeats more often in a row than chance allows.

    No number of a Poisson distribution is likelier than 1/sqrt(2 pi m), m that number, by
    Stirling's formula.

    Returns
    -------
    (n,), (n,), (R, n)
        The newest count, how often it has repeated, and where it is stuck.
    """
    counts, counted = stream.counts, stream.counted
    count = carry(state.count, counted, counts)
    same = counted & (counts == count[:-1])
    total = np.cumsum(same, axis=0, dtype=np.float64)
    repeats = total - carry(-state.repeats, counted & ~same, total)[1:]
    likely = 1.0 / np.sqrt(2.0 * np.pi * np.fmax(counts, 1.0))
    stuck = same & (counts > 0.0) & (repeats * np.log(likely) < math.log(CHANCE))
    return count[-1].copy(), repeats[-1].copy(), stuck


def _spikes(
    limits: Limits, state: QualityState, stream: _Stream, usable: Array
) -> tuple[Array, Array, Mask]:
    """Check whether counts deviate from the recent mean by more than soil and chance allow.

    A heavy rain on dry ground takes a third of the counts at most, and drying or melt brings less
    within hours; what is beyond is judged by Poisson statistics with Anscombe's transform (see
    `_count_range`), the error of the mean included.

    Returns
    -------
    (n,), (n,), (R, n)
        The recent mean, its counting time, and where a count is a spike.
    """
    good = np.isfinite(usable) & (usable > 0.0)
    live_s = np.where(good, stream.duration_s, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_counts = stream.counts / usable  # expected counts of a rate
        root = 2.0 * np.sqrt(stream.counts + 0.375)
    fade = [math.exp(-elapsed_s / MEAN_S) for elapsed_s in stream.elapsed_s.tolist()]
    spike = np.zeros(good.shape, dtype=np.bool_)
    mean_cph, mean_live_s = state.mean_cph.copy(), state.mean_live_s.copy()
    for k in range(good.shape[1]):
        columns = (c[:, k].tolist() for c in (good, usable, live_s, to_counts, root))
        mean, seconds = float(mean_cph[k]), float(mean_live_s[k])
        for row, record in enumerate(zip(fade, *columns, strict=True)):
            mean, seconds, spike[row, k] = _add_to_mean(limits, mean, seconds, *record)
        mean_cph[k], mean_live_s[k] = mean, seconds
    return mean_cph, mean_live_s, spike


def _add_to_mean(
    limits: Limits,
    mean: float,
    mean_live_s: float,
    fade: float,
    good: bool,
    usable: float,
    live_s: float,
    to_counts: float,
    root: float,
) -> tuple[float, float, bool]:
    """Add a count to the recent mean; return the mean, its counting time, whether it is a spike."""
    before_s = mean_live_s * fade
    total_s = before_s + live_s
    if not good:
        return mean, total_s, False
    highest, lowest = mean * (1.0 + limits.spike_rise), mean * (1.0 - limits.spike_fall)
    rate, spike = usable, False
    if before_s >= ENOUGH_S:
        error = math.sqrt(1.0 + live_s / before_s)
        high = 2.0 * math.sqrt(highest * to_counts + 0.375)
        low = 2.0 * math.sqrt(lowest * to_counts + 0.375)
        spike = max(root - high, low - root) > limits.spike_sigma * error
        # A mean that a spike drags along would flag what follows: it moves as far as allowed.
        rate = min(max(usable, lowest), highest) if spike else usable
    old = mean * before_s if before_s > 0.0 else 0.0
    return (old + rate * live_s) / total_s, total_s, spike


def _tubes(limits: Limits, state: QualityState, stream: _Stream) -> tuple[Array, Mask]:
    """Check whether the first tube's share of a day's counts deviates from that of a month.

    The share of one tube in the counts of several is binomial, whatever soil and weather do.

    Returns
    -------
    (4, n), (R, n)
        The state's `tubes`, and where the share is odd.
    """
    first, counts = stream.fields["first_tube_counts"], stream.fields["counts"]
    known = np.isfinite(first) & np.isfinite(counts) & (counts > 0.0)
    if not known.any():
        return state.tubes, np.zeros(known.shape, dtype=np.bool_)
    day, month = (np.exp(-stream.elapsed_s / memory_s) for memory_s in (DAY_S, MONTH_S))
    newest, tubes = state.tubes.copy(), np.full((4, *known.shape), np.nan)
    for row in np.flatnonzero(known.any(axis=1)).tolist():
        fade = np.array([day[row], day[row], month[row], month[row]])[:, np.newaxis]
        add = np.where(known[row], (first[row], counts[row], first[row], counts[row]), 0.0)
        newest = newest * fade + add
        tubes[:, row] = newest
    with np.errstate(divide="ignore", invalid="ignore"):
        now, usual = tubes[0] / tubes[1], tubes[2] / tubes[3]
        sigma = np.sqrt(usual * (1.0 - usual) * (1.0 / tubes[1] + 1.0 / tubes[3]))
        beyond = np.abs(now - usual) - limits.tube_change * usual
        long_enough = tubes[3] > SHARE_DAYS * tubes[1]
        odd = known & long_enough & (beyond > limits.tube_sigma * sigma)
    return newest, odd
