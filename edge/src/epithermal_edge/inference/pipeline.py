"""Raw record in, corrected record and features out: the recurrence of station and training.

`step` is pure: the state is a value that goes in and comes out. The same lines take a live record,
thousands of records of a replay, and training's thousands of sites abreast.
"""

from __future__ import annotations

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
    carry,
)
from epithermal_edge.inference.features import (
    HOURS,
    Bin,
    Integers,
    Window,
    Windows,
    add_to_bins,
    contributions,
    empty_bins,
    no_windows,
    windows,
)
from epithermal_edge.physics.atmosphere import absolute_humidity
from epithermal_edge.physics.biomass import biomass_at
from epithermal_edge.physics.corrections import (
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
HUMIDITY_HOLD_S = 86400.0  # the last known humidity of the air serves so long
INCOMING_SIGMA_PER_SQRT_D = 0.005  # relative wander of the cosmic rays since the last value
INCOMING_SIGMA_MAX = 0.03  # the same where none is known at all
INCOMING_HOLD_S = 36 * 86400.0  # by then the error has grown to it: the held value is as if none
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


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """A block with the atmosphere taken out, before it joins the stream."""

    corrected: Corrected
    shared_error: Array  # (T, n) relative error that the monitor's age brings
    late: Mask  # (T,) ends no later than a record before it: not part of the stream
    humidity_g_m3: Array  # (n,) these four as in PipelineState, after the block
    humidity_age_s: Array
    incoming: Array
    incoming_age_s: Array


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
    corrected, rows = _flagged(correction, flags), np.flatnonzero(~correction.late)
    n = len(state.dark_h)
    if not rows.size:
        return state, corrected, no_windows(n)
    stream, used = records.take(rows), corrected.take(rows)
    hours = _hours(state, stream.end_s)
    bins = np.concatenate(
        (state.ring, state.open_bin[np.newaxis], empty_bins(len(hours.closed), n))
    )
    span_s = _span_s(state, stream)
    added = contributions(stream, used, correction.shared_error[rows], span_s)
    add_to_bins(bins, HOURS + hours.at, added)
    closed, dark_h, held = _close(site, state, bins, hours, rows)
    end = len(hours.closed)
    after = PipelineState(
        last_end_s=float(stream.end_s[-1]),
        hour=hours.open,
        open_bin=bins[HOURS + end].copy(),
        ring=bins[end : end + HOURS].copy(),
        held=held,
        dark_h=dark_h,
        humidity_g_m3=correction.humidity_g_m3,
        humidity_age_s=correction.humidity_age_s,
        incoming=correction.incoming,
        incoming_age_s=correction.incoming_age_s,
    )
    return after, corrected, closed


def _flagged(correction: Correction, flags: Integers | None) -> Corrected:
    """Add the flags of quality control and of late records; take counts out that are not used."""
    values, quality = correction.corrected.values, correction.corrected.quality
    if flags is not None:
        quality = quality | flags
        unused = (flags & int(UNUSED)) != 0
        if unused.any():
            names = ("n_corr_cph", "n_corr_sigma_cph")
            values = values | {name: np.where(unused, np.nan, values[name]) for name in names}
    if correction.late.any():
        quality = quality | np.where(correction.late, int(Quality.LATE), 0)[:, np.newaxis]
    return Corrected(values, quality)


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
    site: Site, state: PipelineState, bins: Array, hours: _Hours, rows: NDArray[np.intp]
) -> tuple[Windows, Array, Array]:
    """Compute the windows of closed hours, hours since the last count and what phases hold.

    Parameters
    ----------
    bins : (24 + K + 1, len(Bin), n)
        The ring before, the closed hours and the open one.
    rows : (R,)
        Of the records in their block.
    """
    end, n = len(hours.closed), len(state.dark_h)
    counted = bins[HOURS : HOURS + end, Bin.LIVE_S] > 0.0
    hour = np.broadcast_to(hours.closed[:, np.newaxis].astype(np.float64), counted.shape)
    newest = carry(hours.first - 1 - state.dark_h, counted, hour)  # hour of the last count
    dark_h = hours.open - 1 - newest[-1]
    phases = state.held.shape[0]
    closing = np.flatnonzero(hours.closed % (HOURS // phases) == 0)
    if not closing.size:
        return no_windows(n), dark_h, state.held
    made, held = windows(
        site,
        bins,
        closing + 1,
        hours.closed[closing],
        hour[closing] - newest[closing + 1] > RESTART_H,
        state.held,
        rows[hours.closed_by[closing]],
    )
    return made, dark_h, held


def correct(site: Site, state: PipelineState, records: Block) -> Correction:
    """Correct a block for the atmosphere; missing air and monitor values are held."""
    fields = records.fields
    counts, duration_s = fields["counts"], fields["duration_s"]
    newest_s = np.maximum.accumulate(np.concatenate(([state.last_end_s], records.end_s)))[:-1]
    late = records.end_s <= newest_s
    elapsed_s = np.where(np.isfinite(newest_s), np.fmax(records.end_s - newest_s, 0.0), 0.0)

    missing, zero = _without_counts(site, counts, duration_s)
    quality = np.where(missing, int(Quality.MISSING), 0)
    quality |= np.where(zero, int(Quality.ZERO_COUNTS), 0)
    pressure_hpa = fields["pressure_hpa"]
    quality |= np.where(np.isnan(pressure_hpa), int(Quality.PRESSURE_MISSING), 0)
    air = _hold_humidity(site, state, records, late, elapsed_s, quality)
    monitor = _hold_incoming(site, state, records, late, elapsed_s, quality)

    biomass_kg_m2 = biomass_at(site, records.end_s, fields.get("biomass_kg_m2", NAN))
    by_name = {
        name: value if value.shape == counts.shape else np.full(counts.shape, value)
        for name, value in factors(
            site, pressure_hpa, air.value, monitor.value, biomass_kg_m2
        ).items()
    }
    hours = np.where(missing, np.nan, duration_s) / HOUR_S
    n_raw_cph = counts / hours
    factor = product(by_name.values())
    n_corr_cph = np.where(zero, np.nan, n_raw_cph * factor)
    poisson = np.sqrt(np.where(counts < 0.0, np.nan, counts)) / hours * factor
    shared_error = monitor.error
    values = {
        "duration_s": duration_s,
        "counts": counts,
        "n_raw_cph": n_raw_cph,
        "n_corr_cph": n_corr_cph,
        "n_corr_sigma_cph": np.sqrt(poisson * poisson + (n_corr_cph * shared_error) ** 2),
        **by_name,
        "abs_humidity_g_m3": air.value,
    }
    return Correction(
        Corrected(values, quality),
        shared_error,
        late,
        *(air.newest, air.newest_age_s, monitor.newest, monitor.newest_age_s),
    )


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


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A measured value, the last known one where it is missing."""

    value: Array  # (T, n)
    age_s: Array  # (T, n) 0 where it is known
    newest: Array  # (n,) after the block
    newest_age_s: Array  # (n,)
    error: Array  # (T, n) relative, because of its age


def _hold(
    first: Array, first_age_s: Array, known: Mask, now: Array, late: Mask, elapsed_s: Array
) -> _Held:
    """Hold the last known value (n,) of age (n,) where it is not known now, (T, n)."""
    kept = carry(first, known & ~late[:, np.newaxis], now)
    value = np.where(known, now, kept[:-1])
    age_s = np.zeros(now.shape)
    before = np.concatenate(([-1], np.where(late, -1, np.arange(len(late)))))
    before = np.maximum.accumulate(before)  # newest row of the stream before each row
    for row in np.flatnonzero(~known.all(axis=1)).tolist():
        old_s = first_age_s if before[row] < 0 else age_s[before[row]]
        age_s[row] = np.where(known[row], 0.0, old_s + elapsed_s[row])
    newest_age_s = first_age_s if before[-1] < 0 else age_s[before[-1]].copy()
    return _Held(value, age_s, kept[-1].copy(), newest_age_s, np.zeros(now.shape))


def _hold_humidity(
    site: Site,
    state: PipelineState,
    records: Block,
    late: Mask,
    elapsed_s: Array,
    quality: Integers,
) -> _Held:
    """Return the absolute humidity [g m-3], held for a day; flags go into `quality`."""
    fields = records.fields
    now = absolute_humidity(fields["temperature_c"], fields["relative_humidity_pct"])
    known = np.isfinite(now)
    held = _hold(state.humidity_g_m3, state.humidity_age_s, known, now, late, elapsed_s)
    lost = held.age_s > HUMIDITY_HOLD_S
    quality |= np.where(
        known, 0, np.where(lost, int(Quality.HUMIDITY_MISSING), int(Quality.HUMIDITY_HELD))
    )
    return replace(held, value=np.where(lost, site.humidity_ref_g_m3, held.value))


def _hold_incoming(
    site: Site,
    state: PipelineState,
    records: Block,
    late: Mask,
    elapsed_s: Array,
    quality: Integers,
) -> _Held:
    """Return the monitor's value, held if missing, and the relative error of its age.

    A value is held for ever, since a step back to none would be a step in theta; after
    INCOMING_HOLD_S it is flagged as none would be.
    """
    now = records.fields["incoming"]
    if site.incoming_form == "none":
        none, zero = np.full(now.shape, np.nan), np.zeros(now.shape)
        return _Held(none, zero, state.incoming, state.incoming_age_s, zero)
    known = np.isfinite(now) & (now > 0.0)
    held = _hold(state.incoming, state.incoming_age_s, known, now, late, elapsed_s)
    lost = np.isnan(held.value) | (held.age_s > INCOMING_HOLD_S)
    quality |= np.where(
        known, 0, np.where(lost, int(Quality.INCOMING_MISSING), int(Quality.INCOMING_HELD))
    )
    error = INCOMING_SIGMA_PER_SQRT_D * np.sqrt(held.age_s / 86400.0)
    return replace(held, error=np.fmin(error, INCOMING_SIGMA_MAX))
