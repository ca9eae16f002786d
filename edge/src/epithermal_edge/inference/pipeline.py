"""Raw record in, corrected record and features out: the recurrence of station and training.

`step` is pure: the state is a value that goes in and comes out. The same lines take a live record,
thousands of records of a replay, and training's thousands of sites abreast.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.block import (
    Array,
    Block,
    Corrected,
    Mask,
    block_of,
)
from epithermal_edge.inference.features import (
    HOURS,
    Bin,
    Count,
    Integers,
    Sums,
    Window,
    Windows,
    add_to_bins,
    empty_bins,
    no_sums,
    no_windows,
    sum_bins,
    windows,
)
from epithermal_edge.inference.hold import Held, Last, hold_humidity, hold_incoming, smooth_muons
from epithermal_edge.physics.corrections import (
    biomass_at,
    biomass_factor,
    incoming_factor,
    pressure_factor,
)
from epithermal_edge.physics.cosmic import THETA_MAX
from epithermal_edge.physics.response import response_humidity_factor, response_rate
from epithermal_edge.records import NAN, CorrectedRecord, Quality, RawRecord, product
from epithermal_edge.site import Site
from epithermal_edge.times import HOUR_S

RESTART_H = 240  # hours without a count after which the network's state is void
IMPROBABLE_ZERO = 20.0  # expected counts above which a zero is a fault: e^-20 = 2e-9

UNUSED = Quality.COUNT_RANGE | Quality.COUNT_STUCK
"""Flags of quality control that keep a count out of the stream."""


@dataclass(frozen=True, slots=True)
class PipelineState:
    """Everything the stream remembers of the past, apart from the network's own state."""

    last_end_s: float  # end of the newest record; -inf before the first
    hour: int  # the open bin ends at hour * 3600 s
    open_bin: Array  # (len(Bin), n)
    ring: Array  # (24, len(Bin), n) closed bins, oldest first
    held: Array  # (phases, 2, n) last inversion and sigma of each phase; NaN: none
    dark_h: Array  # (n,) closed hours since the last count; inf before the first
    humidity_g_m3: Array  # (n,) last known
    humidity_age_s: Array  # (n,)
    incoming: Array  # (n,) last known
    incoming_age_s: Array  # (n,)


def start(n: int = 1, phases: int = HOURS) -> PipelineState:
    """Return the state before the first record of n sites.

    Parameters
    ----------
    n :
        Sites abreast.
    phases :
        Windows a day: 24 end at every full hour, 1 ends at 0 h UTC.

    Raises
    ------
    ValueError
        The phases do not divide a day into full hours.
    """
    if phases < 1 or HOURS % phases:
        raise ValueError(f"phases must divide {HOURS}, not {phases}")
    return PipelineState(
        last_end_s=-math.inf,
        hour=0,
        open_bin=empty_bins(1, n)[0],
        ring=empty_bins(HOURS, n),
        held=np.full((phases, 2, n), np.nan),
        dark_h=np.full(n, np.inf),
        humidity_g_m3=np.full(n, np.nan),
        humidity_age_s=np.full(n, np.inf),
        incoming=np.full(n, np.nan),
        incoming_age_s=np.full(n, np.inf),
    )


@dataclass(frozen=True, eq=False)
class Correction:
    """What takes the atmosphere out of a block, before it joins the stream."""

    records: Block
    factors: dict[str, Array]  # in the order of FACTORS; (T, n), or (n,) if no record changes it
    missing: Mask  # (T, n) no count
    zero: Mask  # (T, n) a zero that no soil explains
    late: Mask  # (T,) ends no later than a record before it: not part of the stream
    air: Held  # absolute humidity
    monitor: Held  # count rate of the neutron monitor, or of the detector's muons
    odd: Mask  # (T, n) a muon rate too far from the usual; (1, 1) without muons

    @functools.cached_property
    def corrected(self) -> Corrected:
        """The corrected records; the stream itself does not need them."""
        return _describe(self)

    @property
    def shared_error(self) -> Array:
        """Relative error of each count that the age of the monitor's value brings, (T, n)."""
        error = np.zeros(self.missing.shape)
        error[:, self.monitor.gaps] = self.monitor.error
        return error


def step(
    site: Site, state: PipelineState, record: RawRecord
) -> tuple[PipelineState, CorrectedRecord, tuple[Window, ...]]:
    """Correct one record and add it to the stream: `step_block` of a block of one."""
    records = block_of([record], len(state.dark_h))
    state, corrected, closed = step_block(site, state, records)
    return state, record_of(record.end_s, corrected, 0), closed.each()


def step_block(
    site: Site, state: PipelineState, records: Block
) -> tuple[PipelineState, Corrected, Windows]:
    """Correct a block and add it to the stream: `correct`, then `add_records`."""
    return add_records(site, state, records, correct(site, state, records))


def record_of(end_s: float, corrected: Corrected, row: int) -> CorrectedRecord:
    """Return one record of a corrected block."""
    values = {name: column[row] for name, column in corrected.values.items()}
    return CorrectedRecord(end_s=end_s, quality=corrected.quality[row], **values)


def sum_block(site: Site, state: PipelineState, records: Block) -> tuple[PipelineState, Sums]:
    """Correct a block and sum the windows that it closes; `close` computes their features.

    The windows of several blocks may be closed together.
    """
    return _sum_records(state, records, correct(site, state, records), None)


def close(site: Site, state: PipelineState, sums: Sums) -> tuple[PipelineState, Windows]:
    """Compute the features of windows, in the order in which they were summed."""
    if not len(sums.hour):
        return state, no_windows(sums.dark.shape[1])
    closed, held = windows(site, sums, state.held)
    return replace(state, held=held), closed


def add_records(
    site: Site,
    state: PipelineState,
    records: Block,
    correction: Correction,
    flags: Integers | None = None,
) -> tuple[PipelineState, Corrected, Windows]:
    """Add a corrected block to the stream; return the windows that it closes.

    Parameters
    ----------
    site :
        Floats, or arrays (n,).
    state :
        As `start` or the block before returned it.
    records :
        Those that do not end after all before them are flagged LATE and change nothing.
    correction :
        Of this block, made with this state.
    flags : (T, n)
        What quality control found; the count is not used where one of `UNUSED` is set.

    Returns
    -------
    PipelineState, Corrected, Windows
        One window for each hour that a record closed, in order. A record belongs to the hour in
        which it ends; one that ends on the full hour closes it. Where all are late, the state is
        the one given.
    """
    unused = None if flags is None else (flags & int(UNUSED)) != 0
    corrected = _flagged(correction, flags, unused)
    after, sums = _sum_records(state, records, correction, unused)
    after, closed = close(site, after, sums)
    return after, corrected, closed


def _flagged(correction: Correction, flags: Integers | None, unused: Mask | None) -> Corrected:
    """Add the flags of quality control and of late records; take counts out that are not used."""
    values, quality = correction.corrected.values, correction.corrected.quality
    if flags is not None:
        quality = quality | flags
    if unused is not None and unused.any():
        names = ("n_corr_cph", "n_corr_sigma_cph")
        values = values | {name: np.where(unused, np.nan, values[name]) for name in names}
    if correction.late.any():
        quality = quality | np.where(correction.late, int(Quality.LATE), 0)[:, np.newaxis]
    return Corrected(values, quality)


def _sum_records(
    state: PipelineState, records: Block, correction: Correction, unused: Mask | None
) -> tuple[PipelineState, Sums]:
    """Add records to the bins of their hours, and sum the windows that they close."""
    n = len(state.dark_h)
    rows = np.flatnonzero(~correction.late)
    if not rows.size:
        return state, no_sums(n)
    stream = records.take(rows)
    count = _count(correction, unused).take(rows)
    hours = _hours(state, stream.end_s)
    end = len(hours.closed)
    bins = np.empty((HOURS + end + 1, len(Bin), n))
    bins[:HOURS], bins[HOURS] = state.ring, state.open_bin
    bins[HOURS + 1 : HOURS + 1 + hours.at[0]] = empty_bins(1, n)
    add_to_bins(bins, HOURS + hours.at, stream, count, _span_s(state, stream))
    sums, dark_h = _close(state, bins, hours, rows)
    after = PipelineState(
        last_end_s=float(stream.end_s[-1]),
        hour=hours.open,
        open_bin=bins[HOURS + end].copy(),
        ring=bins[end : end + HOURS].copy(),
        held=state.held,
        dark_h=dark_h,
        humidity_g_m3=correction.air.newest,
        humidity_age_s=correction.air.newest_age_s,
        incoming=correction.monitor.newest,
        incoming_age_s=correction.monitor.newest_age_s,
    )
    return after, sums


def _count(correction: Correction, unused: Mask | None) -> Count:
    """Decide which counts join the stream, and by which factor."""
    factor = product(correction.factors.values())
    fields = correction.records.fields
    with np.errstate(divide="ignore", invalid="ignore"):
        n_corr_cph = fields["counts"] / (fields["duration_s"] / HOUR_S)
        n_corr_cph *= factor
    usable = np.isfinite(n_corr_cph)
    usable &= ~(correction.missing | correction.zero)
    if unused is not None:
        usable &= ~unused
    return Count(usable, factor, correction.monitor.gaps, correction.monitor.error)


def _span_s(state: PipelineState, records: Block) -> Array:
    """Return the time that a record's rain, ET0 and temperature stand for, (T, n) [s]."""
    before_s = np.concatenate(([state.last_end_s], records.end_s[:-1]))
    since_s = np.fmin(records.end_s - before_s, HOUR_S)[:, np.newaxis]  # of the first: an hour
    duration_s = records.fields["duration_s"]
    return np.where(np.isfinite(duration_s) & (duration_s > 0.0), duration_s, since_s)


@dataclass(frozen=True, slots=True, eq=False)
class _Hours:
    """The hours that R records close, and where each record belongs among them."""

    first: int  # the open hour before
    closed: Integers  # (K,)
    closed_by: NDArray[np.intp]  # (K,) row of the record
    at: NDArray[np.intp]  # (R,) index of each record's hour in `closed`; K: it is still open
    open: int  # the open hour after


def _hours(state: PipelineState, end_s: Array) -> _Hours:
    """List the hours that records (R,) close: the open one and every empty hour after it."""
    hour = np.ceil(end_s / HOUR_S).astype(np.int64)
    full = end_s == hour * HOUR_S  # closes its own hour too
    first = state.hour if math.isfinite(state.last_end_s) else int(hour[0])
    opened = np.concatenate(([first], (hour + full)[:-1]))
    # Each phase has met its restart by then, and all that would follow are equal empty windows.
    passed = np.minimum(hour - opened, RESTART_H + 2 * HOURS)
    count = passed + full
    begin = np.cumsum(count) - count
    by = np.repeat(np.arange(len(hour)), count)
    offset = np.arange(len(by)) - begin[by]
    closed = np.where(offset < passed[by], opened[by] + offset, hour[by])
    return _Hours(first, closed, by, begin + passed, int(hour[-1] + full[-1]))


def _close(
    state: PipelineState, bins: Array, hours: _Hours, rows: NDArray[np.intp]
) -> tuple[Sums, Array]:
    """Sum the windows of closed hours, and return the hours since the last count.

    Parameters
    ----------
    bins : (24 + K + 1, len(Bin), n)
        The ring before, the closed hours and the open one.
    rows : (R,)
        Of the records in their block.
    """
    end, n = len(hours.closed), len(state.dark_h)
    newest = hours.first - 1 - state.dark_h  # hour of the last count
    if not end:
        return no_sums(n), hours.open - 1 - newest
    closing = np.flatnonzero(hours.closed % (HOURS // state.held.shape[0]) == 0)
    counted = bins[HOURS : HOURS + end, Bin.LIVE_S] > 0.0
    hour = np.where(counted, hours.closed[:, np.newaxis], -np.inf)
    parts = np.concatenate(([0], closing[closing < end - 1] + 1))  # each up to a closing hour
    last = np.maximum.reduceat(hour, parts, axis=0)
    last[0] = np.maximum(last[0], newest)
    last = np.maximum.accumulate(last, axis=0)
    dark_h = hours.open - 1 - last[-1]
    if not closing.size:
        return no_sums(n), dark_h
    closed = hours.closed[closing]
    dark = closed[:, np.newaxis] - last[: len(closing)] > RESTART_H
    sums = Sums(closed, sum_bins(bins, closing + 1), dark, rows[hours.closed_by[closing]])
    return sums, dark_h


def correct(site: Site, state: PipelineState, records: Block) -> Correction:
    """Correct a block for the atmosphere; missing air and monitor values are held."""
    fields = records.fields
    newest_s = np.maximum.accumulate(np.concatenate(([state.last_end_s], records.end_s)))[:-1]
    late = records.end_s <= newest_s
    elapsed_s = np.where(np.isfinite(newest_s), np.fmax(records.end_s - newest_s, 0.0), 0.0)
    missing, zero = _without_counts(site, fields["counts"], fields["duration_s"])
    air_before = Last(state.humidity_g_m3, state.humidity_age_s)
    air = hold_humidity(site, air_before, records, late, elapsed_s)
    incoming, odd = fields["incoming"], np.zeros((1, 1), dtype=np.bool_)
    before = Last(state.incoming, state.incoming_age_s)
    if site.muons is not None:
        incoming, odd = smooth_muons(site, site.muons, before, records, late, elapsed_s)
    monitor = hold_incoming(site, before, incoming, late, elapsed_s)
    biomass_kg_m2 = biomass_at(site, records.end_s, fields.get("biomass_kg_m2", NAN))
    by_name = factors(site, fields["pressure_hpa"], air.value, monitor.value, biomass_kg_m2)
    return Correction(records, by_name, missing, zero, late, air, monitor, odd)


def _describe(correction: Correction) -> Corrected:
    """Compute the corrected records of a block and their flags, without quality control."""
    fields, missing, zero = correction.records.fields, correction.missing, correction.zero
    counts, duration_s = fields["counts"], fields["duration_s"]
    by_name = {
        name: value if value.shape == counts.shape else np.full(counts.shape, value)
        for name, value in correction.factors.items()
    }
    hours = np.where(missing, np.nan, duration_s) / HOUR_S
    n_raw_cph = counts / hours
    factor = product(by_name.values())
    n_corr_cph = np.where(zero, np.nan, n_raw_cph * factor)
    poisson = np.sqrt(np.where(counts < 0.0, np.nan, counts)) / hours * factor
    shared_cph = n_corr_cph * correction.shared_error
    values = {
        "duration_s": duration_s,
        "counts": counts,
        "n_raw_cph": n_raw_cph,
        "n_corr_cph": n_corr_cph,
        "n_corr_sigma_cph": np.sqrt(poisson * poisson + shared_cph**2),
        **by_name,
        "abs_humidity_g_m3": correction.air.value,
    }
    quality = np.where(missing, int(Quality.MISSING), 0)
    quality |= np.where(zero, int(Quality.ZERO_COUNTS), 0)
    quality |= np.where(np.isnan(fields["pressure_hpa"]), int(Quality.PRESSURE_MISSING), 0)
    for held, old, lost in (
        (correction.air, Quality.HUMIDITY_HELD, Quality.HUMIDITY_MISSING),
        (correction.monitor, Quality.INCOMING_HELD, Quality.INCOMING_MISSING),
    ):
        flag = np.where(held.lost, int(lost), int(old))
        quality[:, held.gaps] |= np.where(held.known[:, held.gaps], 0, flag)
    quality |= np.where(correction.odd, int(Quality.INCOMING_JUMP), 0)
    return Corrected(values, quality)


def _without_counts(site: Site, counts: Array, duration_s: Array) -> tuple[Mask, Mask]:
    """Find records without a count, and those whose zero no soil explains."""
    missing = ~(np.isfinite(counts) & (duration_s > 0.0))
    zero = ~missing & (counts == 0.0)
    if zero.any():
        wet = response_rate(np.full(counts.shape[1], THETA_MAX), site)
        zero &= wet * duration_s / HOUR_S > IMPROBABLE_ZERO
    return missing, zero


def factors(
    site: Site, pressure_hpa: Array, humidity_g_m3: Array, incoming: Array, biomass_kg_m2: Array
) -> dict[str, Array]:
    """Compute every correction factor, by name and in the order of `records.FACTORS`.

    Parameters
    ----------
    site :
        Floats, or arrays that broadcast against the others.
    pressure_hpa, humidity_g_m3 : (...) [hPa], [g m-3]
        Air pressure and absolute humidity; NaN gives NaN.
    incoming : (...)
        Neutron monitor, in the unit of the site's reference; NaN: unknown, its factor is 1.
    biomass_kg_m2 : (...) [kg m-2 = mm]
        As `biomass_at` returns it.

    Returns
    -------
    dict of (...) [1]
        That of the plants has the shape of biomass and site.
    """
    f_i = incoming_factor(incoming, site.incoming_ref, site.incoming_form, site.incoming_scale)
    return {
        "f_p": pressure_factor(pressure_hpa, site.beta_per_hpa, site.pressure_ref_hpa),
        "f_h": response_humidity_factor(humidity_g_m3, site),
        "f_i": np.where(np.isnan(incoming), 1.0, f_i),
        "f_v": biomass_factor(biomass_kg_m2, site.biomass_slope_per_mm),
    }
