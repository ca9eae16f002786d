"""Raw record in, corrected record and features out: the recurrence of station and training.

`step` is pure: the state is a value that goes in and comes out. The station has one site; training
steps thousands abreast with the same lines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.features import (
    HOURS,
    Window,
    add_to_bin,
    empty_bin,
    phase_of,
    window,
)
from epithermal_edge.physics.atmosphere import absolute_humidity
from epithermal_edge.physics.corrections import (
    biomass_factor,
    humidity_factor,
    incoming_factor,
    pressure_factor,
)
from epithermal_edge.physics.cosmic import THETA_MAX, cosmic_rate
from epithermal_edge.records import CorrectedRecord, Quality, RawRecord, product
from epithermal_edge.site import Site
from epithermal_edge.times import HOUR_S

Array = NDArray[np.float64]

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
        open_bin=empty_bin(n),
        ring=np.stack([empty_bin(n)] * HOURS),
        held=np.full((phases, 2, n), np.nan),
        dark_h=np.full(n, np.inf),
        humidity_g_m3=np.full(n, np.nan),
        humidity_age_s=np.full(n, np.inf),
        incoming=np.full(n, np.nan),
        incoming_age_s=np.full(n, np.inf),
    )


@dataclass(frozen=True, slots=True)
class Correction:
    """A record with the atmosphere taken out, before it joins the stream."""

    state: PipelineState  # with what is now known of air and monitor
    corrected: CorrectedRecord
    shared_error: Array  # (n,) relative error that the monitor's age brings


def step(
    site: Site, state: PipelineState, record: RawRecord
) -> tuple[PipelineState, CorrectedRecord, tuple[Window, ...]]:
    """Correct one record and add it to the stream: `correct`, then `add_record`."""
    return add_record(site, state, record, correct(site, state, record))


def add_record(
    site: Site,
    state: PipelineState,
    record: RawRecord,
    correction: Correction,
    flags: NDArray[np.int64] | None = None,
) -> tuple[PipelineState, CorrectedRecord, tuple[Window, ...]]:
    """Add a corrected record to the stream; return the windows that it closes.

    Parameters
    ----------
    site :
        Floats, or arrays (n,).
    state :
        As `start` or the step before returned it.
    record :
        Its numbers are floats, or arrays (n,). One that does not end after the last one is
        flagged LATE, and leaves the state as it was.
    correction :
        Of this record, made with this state.
    flags : (n,)
        What quality control found; the count is not used where one of `UNUSED` is set.

    Returns
    -------
    PipelineState, CorrectedRecord, tuple of Window
        One window for each hour that the record closed, in order. A record belongs to the hour in
        which it ends; one that ends on the full hour closes it.
    """
    held, corrected = correction.state, correction.corrected
    if flags is not None:
        unused = (flags & int(UNUSED)) != 0
        corrected = replace(
            corrected,
            quality=corrected.quality | flags,
            n_corr_cph=np.where(unused, np.nan, corrected.n_corr_cph),
            n_corr_sigma_cph=np.where(unused, np.nan, corrected.n_corr_sigma_cph),
        )
    if record.end_s <= state.last_end_s:
        late = corrected.quality | int(Quality.LATE)
        return state, replace(corrected, quality=late), ()
    hour = math.ceil(record.end_s / HOUR_S)
    first = math.isinf(state.last_end_s)
    since_s = HOUR_S if first else min(record.end_s - state.last_end_s, HOUR_S)
    state = replace(held, hour=hour if first else held.hour)
    state, windows = _close_hours(site, state, hour)
    live = np.where(np.isfinite(corrected.duration_s), corrected.duration_s, 0.0)
    span_s = np.where(live > 0.0, live, since_s)
    state = replace(
        state,
        last_end_s=record.end_s,
        open_bin=add_to_bin(state.open_bin, record, corrected, correction.shared_error, span_s),
    )
    if record.end_s == hour * HOUR_S:
        state, last = _close_hours(site, state, hour + 1)
        windows += last
    return state, corrected, windows


def _close_hours(
    site: Site, state: PipelineState, until: int
) -> tuple[PipelineState, tuple[Window, ...]]:
    """Close the open bin and every empty hour after it, so that `until` is the open one."""
    phases = state.held.shape[0]
    every = HOURS // phases
    # Each phase has met its restart by then, and all that would follow are equal empty windows.
    stop = min(until, state.hour + RESTART_H + 2 * HOURS)
    windows: list[Window] = []
    ring, held, dark_h, open_bin = state.ring, state.held, state.dark_h, state.open_bin
    for hour in range(state.hour, stop):
        dark_h = np.where(open_bin[0] > 0.0, 0.0, dark_h + 1.0)
        ring = np.concatenate((ring[1:], open_bin[np.newaxis]))
        open_bin = empty_bin(ring.shape[2])
        if hour % every == 0:
            phase = phase_of(hour, phases)
            made, kept = window(site, ring, hour, held[phase], dark_h > RESTART_H)
            held = np.concatenate((held[:phase], kept[np.newaxis], held[phase + 1 :]))
            windows.append(made)
    dark_h = dark_h + max(until - max(stop, state.hour), 0)
    after = replace(state, hour=until, ring=ring, held=held, dark_h=dark_h, open_bin=open_bin)
    return after, tuple(windows)


def correct(site: Site, state: PipelineState, record: RawRecord) -> Correction:
    """Correct a record for the atmosphere; missing air and monitor values are held."""
    n = state.open_bin.shape[1]

    def sites(value: object) -> Array:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)))

    counts, duration_s = sites(record.counts), sites(record.duration_s)
    quality = np.zeros(n, dtype=np.int64)

    missing = ~(np.isfinite(counts) & (duration_s > 0.0))
    quality |= np.where(missing, int(Quality.MISSING), 0)
    zero = ~missing & (counts == 0.0)
    if zero.any():
        least = cosmic_rate(np.full(n, THETA_MAX), site) * duration_s / HOUR_S
        zero &= least > IMPROBABLE_ZERO
        quality |= np.where(zero, int(Quality.ZERO_COUNTS), 0)

    pressure_hpa = sites(record.pressure_hpa)
    quality |= np.where(np.isnan(pressure_hpa), int(Quality.PRESSURE_MISSING), 0)
    state, humidity = _hold_humidity(site, state, record, quality)
    state, incoming, shared_error = _hold_incoming(site, state, record, quality)

    by_name = factors(site, pressure_hpa, humidity, incoming)
    by_name = {name: sites(value) for name, value in by_name.items()}
    hours = np.where(missing, np.nan, duration_s) / HOUR_S
    n_raw_cph = counts / hours
    factor = product(by_name.values())
    n_corr_cph = np.where(zero, np.nan, n_raw_cph * factor)
    poisson = np.sqrt(counts) / hours * factor
    corrected = CorrectedRecord(
        end_s=record.end_s,
        duration_s=duration_s,
        counts=counts,
        n_raw_cph=n_raw_cph,
        n_corr_cph=n_corr_cph,
        n_corr_sigma_cph=np.sqrt(poisson * poisson + (n_corr_cph * shared_error) ** 2),
        abs_humidity_g_m3=humidity,
        quality=quality,
        **by_name,
    )
    return Correction(state, corrected, shared_error)


def factors(
    site: Site, pressure_hpa: Array, humidity_g_m3: Array, incoming: Array
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

    Returns
    -------
    dict of (...) [1]
        That of the plants has the shape of the site.
    """
    f_i = incoming_factor(incoming, site.incoming_ref, site.incoming_form, site.incoming_scale)
    return {
        "f_p": pressure_factor(pressure_hpa, site.beta_per_hpa, site.pressure_ref_hpa),
        "f_h": humidity_factor(humidity_g_m3, site.humidity_ref_g_m3),
        "f_i": np.where(np.isnan(incoming), 1.0, f_i),
        "f_v": biomass_factor(site.biomass_kg_m2, site.biomass_slope_per_mm),
    }


def _elapsed_s(state: PipelineState, record: RawRecord) -> float:
    """Time since the last record [s]; 0 at the first and for a late one."""
    return max(record.end_s - state.last_end_s, 0.0) if math.isfinite(state.last_end_s) else 0.0


def _hold_humidity(
    site: Site, state: PipelineState, record: RawRecord, quality: NDArray[np.int64]
) -> tuple[PipelineState, Array]:
    """Return the absolute humidity (n,) [g m-3], held for a day; flags go into `quality`."""
    n = len(quality)
    now = np.broadcast_to(
        absolute_humidity(record.temperature_c, record.relative_humidity_pct), (n,)
    )
    known = np.isfinite(now)
    value = np.where(known, now, state.humidity_g_m3)
    age_s = np.where(known, 0.0, state.humidity_age_s + _elapsed_s(state, record))
    lost = age_s > HUMIDITY_HOLD_S
    quality |= np.where(
        known, 0, np.where(lost, int(Quality.HUMIDITY_MISSING), int(Quality.HUMIDITY_HELD))
    )
    state = replace(state, humidity_g_m3=value, humidity_age_s=age_s)
    return state, np.where(lost, site.humidity_ref_g_m3, value)


def _hold_incoming(
    site: Site, state: PipelineState, record: RawRecord, quality: NDArray[np.int64]
) -> tuple[PipelineState, Array, Array]:
    """Return the monitor's value (n,), held if missing, and the relative error of its age.

    A value is held for ever, since a step back to none would be a step in theta; after
    INCOMING_HOLD_S it is flagged as none would be.
    """
    n = len(quality)
    if site.incoming_form == "none":
        return state, np.full(n, np.nan), np.zeros(n)
    now = np.broadcast_to(np.asarray(record.incoming, dtype=np.float64), (n,))
    known = np.isfinite(now) & (now > 0.0)
    value = np.where(known, now, state.incoming)
    age_s = np.where(known, 0.0, state.incoming_age_s + _elapsed_s(state, record))
    lost = np.isnan(value) | (age_s > INCOMING_HOLD_S)
    quality |= np.where(
        known, 0, np.where(lost, int(Quality.INCOMING_MISSING), int(Quality.INCOMING_HELD))
    )
    error = np.fmin(INCOMING_SIGMA_PER_SQRT_D * np.sqrt(age_s / 86400.0), INCOMING_SIGMA_MAX)
    return replace(state, incoming=value, incoming_age_s=age_s), value, error
