"""Hold the last known humidity and incoming intensity, for many sites and records at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.block import Array, Block, Mask, carry
from epithermal_edge.physics.atmosphere import absolute_humidity
from epithermal_edge.physics.corrections import muon_rate
from epithermal_edge.site import Muons, Site
from epithermal_edge.times import HOUR_S

HUMIDITY_HOLD_S = 86400.0  # the last known humidity of the air serves so long
INCOMING_SIGMA_PER_SQRT_D = 0.005  # relative wander of the cosmic rays since the last value
INCOMING_SIGMA_MAX = 0.03  # the same where none is known at all
INCOMING_HOLD_S = 36 * 86400.0  # by then the error has grown to it: the held value is as if none
MUON_RANGE = 0.10  # of the reference: solar cycle and Forbush decreases change muons by less
MUON_JUMP = 0.06  # of the recent mean: the largest Forbush decreases of muons within a day
MUON_SIGMA = 4.0  # standard errors of a record's muon count that come on top of both


@dataclass(frozen=True, slots=True, eq=False)
class Last:
    """The last known value of n sites and its age."""

    value: Array  # (n,)
    age_s: Array  # (n,)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A measured value, the last known one where it is missing."""

    value: Array  # (T, n)
    known: Mask  # (T, n) measured
    gaps: NDArray[np.intp]  # (m,) sites that miss a value
    lost: Mask  # (T, m) too old where it is missing
    error: Array  # (T, m) relative, because of its age
    newest: Array  # (n,) after the block
    newest_age_s: Array  # (n,)


def hold_humidity(site: Site, last: Last, records: Block, late: Mask, elapsed_s: Array) -> Held:
    """Return the absolute humidity [g m-3], held for a day."""
    fields = records.fields
    now = absolute_humidity(fields["temperature_c"], fields["relative_humidity_pct"])
    known = np.isfinite(now)
    held, age_s = _hold(last, known, now, late, elapsed_s)
    if not held.gaps.size:
        return held
    lost = age_s > HUMIDITY_HOLD_S
    usual = np.broadcast_to(site.humidity_ref_g_m3, now.shape[1:])[held.gaps]
    held.value[:, held.gaps] = np.where(lost, usual, held.value[:, held.gaps])
    return replace(held, lost=lost)


def hold_incoming(site: Site, last: Last, now: Array, late: Mask, elapsed_s: Array) -> Held:
    """Return the monitor's value, held if missing, and the relative error of its age.

    A value is held for ever, since a step back to none would be a step in theta; after
    INCOMING_HOLD_S it is flagged as none would be.
    """
    if site.incoming_form == "none":
        none, no_gaps = np.full(now.shape, np.nan), np.empty(0, dtype=np.intp)
        nowhere = np.empty((len(now), 0), dtype=np.bool_)
        known = np.ones(now.shape, dtype=np.bool_)
        return Held(none, known, no_gaps, nowhere, np.empty(nowhere.shape), last.value,
                     last.age_s)  # fmt: skip
    known = np.isfinite(now) & (now > 0.0)
    held, age_s = _hold(last, known, now, late, elapsed_s)
    if not held.gaps.size:
        return held
    lost = np.isnan(held.value[:, held.gaps]) | (age_s > INCOMING_HOLD_S)
    error = INCOMING_SIGMA_PER_SQRT_D * np.sqrt(age_s / 86400.0)
    return replace(held, lost=lost, error=np.fmin(error, INCOMING_SIGMA_MAX))


def smooth_muons(
    site: Site,
    muons: Muons,
    last: Last,
    records: Block,
    late: Mask,
    elapsed_s: Array,
) -> tuple[Array, Mask]:
    """Smooth the rate of the muon channel, which takes the place of a neutron monitor's counts.

    A rate far from the reference or from the recent mean is not used. After INCOMING_HOLD_S
    without a usable one the mean begins anew.

    Returns
    -------
    (T, n) [h-1], (T, n)
        The mean, NaN where no muons were used; where these were odd.
    """
    fields = records.fields
    counts = fields.get("muon_counts", np.full(late.shape + last.value.shape, np.nan))
    air = fields["pressure_hpa"], fields["temperature_c"]
    rate = muon_rate(counts, fields["duration_s"], *air, site.pressure_ref_hpa, muons)
    known = np.isfinite(rate)
    gain = -np.expm1(-fields["duration_s"] / (muons.smoothing_h * HOUR_S))
    noise = MUON_SIGMA / np.sqrt(np.where(known, counts, np.nan))
    odd = known & (np.abs(rate / site.incoming_ref - 1.0) > MUON_RANGE + noise)
    smoothed = np.full(rate.shape, np.nan)
    mean, age_s = last.value, last.age_s
    for row, is_late in enumerate(late.tolist()):
        age_s = age_s + elapsed_s[row]
        first = np.isnan(mean) | (age_s > INCOMING_HOLD_S)
        jump = ~first & (np.abs(rate[row] / mean - 1.0) > MUON_JUMP + noise[row])
        odd[row] |= known[row] & jump
        used = known[row] & ~odd[row]
        now = np.where(first, rate[row], mean + gain[row] * (rate[row] - mean))
        smoothed[row] = np.where(used, now, np.nan)
        if not is_late:
            mean, age_s = np.where(used, now, mean), np.where(used, 0.0, age_s)
    return smoothed, odd


def _hold(last: Last, known: Mask, now: Array, late: Mask, elapsed_s: Array) -> tuple[Held, Array]:
    """Hold the last known value where it is not known now, (T, n).

    Returns
    -------
    Held, (T, m) [s]
        Without `lost` and `error`; the ages of the values at the sites that miss one.
    """
    gaps = np.flatnonzero(~known.all(axis=0))
    rows = np.flatnonzero(~late)
    newest = now[rows[-1]].copy() if rows.size else last.value
    newest_age_s = np.zeros(len(last.value)) if rows.size else last.age_s
    age_s = np.zeros((len(now), gaps.size))
    if gaps.size:
        some, there = now[:, gaps], known[:, gaps]
        kept = carry(last.value[gaps], there & ~late[:, np.newaxis], some)
        now = now.copy()
        now[:, gaps] = np.where(there, some, kept[:-1])
        age_s = _ages(last.age_s[gaps], there, late, elapsed_s)
        if rows.size:
            newest[gaps], newest_age_s[gaps] = kept[-1], age_s[rows[-1]]
    never = np.zeros(age_s.shape, dtype=np.bool_)
    return Held(now, known, gaps, never, np.zeros(age_s.shape), newest, newest_age_s), age_s


def _ages(first_age_s: Array, known: Mask, late: Mask, elapsed_s: Array) -> Array:
    """Sum the time since a value was known, (T, m) [s]; 0 where it is known."""
    age_s = np.zeros(known.shape)
    if late.any():
        newest_s = first_age_s
        for row, step_s in enumerate(elapsed_s.tolist()):
            age_s[row] = np.where(known[row], 0.0, newest_s + step_s)
            newest_s = newest_s if late[row] else age_s[row]
        return age_s
    never = ~known.any(axis=0)
    if never.any():
        steps_s = np.concatenate(
            (first_age_s[never][np.newaxis], np.repeat(elapsed_s[:, np.newaxis], never.sum(), 1))
        )
        age_s[:, never] = np.add.accumulate(steps_s)[1:]
    for column in np.flatnonzero(~never).tolist():
        edge = np.concatenate(([True], known[:, column], [True]))
        for begin, end in np.flatnonzero(edge[1:] != edge[:-1]).reshape(-1, 2).tolist():
            before_s = first_age_s[column] if begin == 0 else 0.0
            steps_s = np.concatenate(([before_s], elapsed_s[begin:end]))
            age_s[begin:end, column] = np.add.accumulate(steps_s)[1:]
    return age_s
