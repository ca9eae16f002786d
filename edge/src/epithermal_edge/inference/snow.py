"""Detect snow by the counts and the air, hold theta meanwhile, estimate the snow's water.

A layer after the estimate: features, network and their states do not know of it. Pure: what is
remembered is a value, as in `engine`. docs/snow.md has the rules and what is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.features import HOURS, Windows
from epithermal_edge.inference.irrigation import Z_95
from epithermal_edge.physics.cosmic import THETA_MAX
from epithermal_edge.physics.plant_water import STORAGE_MM
from epithermal_edge.physics.response import response_rate
from epithermal_edge.physics.snow_water import (
    SWE_MAX_MM,
    desilets_snow_water_mm,
    pore_space,
    snow_share,
    snow_water_mm,
)
from epithermal_edge.records import NAN, Estimate, Quality
from epithermal_edge.site import Site
from epithermal_edge.times import DAY_S, HOUR_S

Array = NDArray[np.float64]

BEGIN_H = 12.0  # hours of windows with evidence after which snow is flagged
CLEAR_H = 24.0  # hours of windows within the pore space after which the flag ends
WARM_C = 10.0  # 24 h mean that melts 30 to 60 mm of snow a day (degree-day factor 3 to 6 mm)
WARM_H = 120.0  # hours of windows at WARM_C after which the flag ends
GROWTH_PER_SQRT_D = 0.01  # error of the held theta [m3 m-3 d-0.5]; at most
GROWTH_MAX = 0.1  # the spread of soil water over a year [m3 m-3]
FORM_SIGMA = 0.03  # of the counts under deep snow relative to those before: what the scatter of
# COSMIC's alpha (8 %) and L3 (16 %, correlated by -0.7) among calibrated COSMOS sites makes of them
EVERY_H, ROWS = 6, 6  # hours between the candidates of the held theta, and their number


@dataclass(frozen=True, slots=True)
class SnowRule:
    """What a site regards as cold air."""

    air_temperature_c: float = 1.0  # 24 h mean below which precipitation remains as snow [degC]


DEFAULT = SnowRule()


@dataclass(frozen=True, slots=True, eq=False)
class SnowState:
    """What is remembered of the last windows; a value, never changed in place."""

    evidence_h: float  # without interruption, before the flag [h]
    clear_h: float  # without interruption, under the flag [h]
    warm_h: float  # the same [h]
    cold_since_s: float  # end of the first window of the present cold spell; NaN: not cold
    since_s: float  # end of the first window with evidence; NaN: no flag
    before: Array  # (ROWS, 6) end [s], theta, sigma, three layers: candidates, the oldest first
    held: Array  # (6,) the same of the value that is held

    @property
    def is_started(self) -> bool:
        """Whether a window has left anything here."""
        numbers = (self.evidence_h, self.cold_since_s, self.since_s, self.before[-1, 0])
        return any(math.isfinite(number) and number > 0.0 for number in numbers)


def start() -> SnowState:
    """Return the state before the first window."""
    rows = np.full((ROWS + 1, 6), np.nan)
    return SnowState(0.0, 0.0, 0.0, NAN, NAN, rows[1:], rows[0])


def hold(
    rule: SnowRule | None,
    site: Site,
    state: SnowState,
    windows: Windows,
    estimates: Sequence[Estimate],
    phases: int,
) -> tuple[SnowState, Sequence[Estimate]]:
    """Hold the estimates of windows under snow.

    Parameters
    ----------
    rule :
        None: snow is not looked for.
    windows, estimates :
        K windows of one site, and the estimate of each.
    phases :
        Windows of a day.

    Returns
    -------
    SnowState, sequence of Estimate
        The estimates as given, and under snow the held ones with the snow's water.
    """
    if rule is None or not len(estimates):
        return state, estimates
    saturated_cph = float(response_rate(pore_space(site.bulk_density_g_cm3), site))
    step_h, out = HOURS / phases, []
    columns = (windows.rate_cph, windows.rate_sigma_cph, windows.temperature_c)
    rows = zip(*(column[:, 0].tolist() for column in columns), estimates, strict=True)
    for rate_cph, rate_sigma_cph, air_c, estimate in rows:
        counting = rate_sigma_cph / rate_cph if rate_cph > 0.0 else math.inf
        error = math.hypot(counting, float(site.cosmic_n_sigma))
        seen = _Seen(estimate.window_end_s, rate_cph / saturated_cph, error, air_c)
        state = _advance(rule, state, seen, estimate, step_h)
        if math.isfinite(state.since_s):
            estimate = _held(site, state, seen, saturated_cph, estimate)
        out.append(estimate)
    return state, out


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a window tells of snow."""

    end_s: float
    ratio: float  # counts over those of a soil whose pores are full of water; NaN: no counts
    error: float  # relative, of the counts and of N
    air_c: float  # 24 h mean; NaN: unknown

    def is_evidence(self, rule: SnowRule) -> bool:
        """Return whether there is more water than the pores hold, by one error, in cold air.

        The ratio of a bare to a moderated tube, where it is known, is to be asked here.
        """
        return self.ratio * (1.0 + self.error) < 1.0 and self.air_c <= rule.air_temperature_c


def _advance(
    rule: SnowRule, state: SnowState, seen: _Seen, estimate: Estimate, step_h: float
) -> SnowState:
    """Add a window to the state."""
    if math.isfinite(state.since_s):
        return _continued(state, seen, step_h)
    cold = seen.air_c <= rule.air_temperature_c  # False where it is unknown
    cold_since_s = state.cold_since_s
    if not cold:
        cold_since_s = NAN
    elif math.isnan(cold_since_s):
        cold_since_s = seen.end_s
    evidence_h = state.evidence_h
    if math.isfinite(seen.ratio):
        evidence_h = evidence_h + step_h if seen.is_evidence(rule) else 0.0
    elif not cold:
        evidence_h = 0.0
    state = replace(
        state,
        evidence_h=evidence_h,
        cold_since_s=cold_since_s,
        before=_candidates(
            state.before, estimate, not cold, evidence_h > 0.0 or math.isnan(seen.ratio)
        ),
    )
    if evidence_h < BEGIN_H:
        return state
    since_s = seen.end_s - (evidence_h - step_h) * HOUR_S
    return replace(state, evidence_h=0.0, since_s=since_s, held=_last_before(state))


def _continued(state: SnowState, seen: _Seen, step_h: float) -> SnowState:
    """Add a window to the state under snow; the flag ends as clear or warm hours add up."""
    clear_h, warm_h = state.clear_h, state.warm_h
    if math.isfinite(seen.ratio):
        clear_h = clear_h + step_h if seen.ratio >= 1.0 else 0.0
    if math.isfinite(seen.air_c):
        warm_h = warm_h + step_h if seen.air_c >= WARM_C else 0.0
    if clear_h < CLEAR_H and warm_h < WARM_H:
        return replace(state, clear_h=clear_h, warm_h=warm_h)
    ended = start()
    return replace(ended, before=state.before)


def _candidates(before: Array, estimate: Estimate, mild: bool, unusable: bool) -> Array:
    """Add an estimate to the candidates of the held theta: of mild windows, or the first one."""
    regular = round(estimate.window_end_s / HOUR_S) % EVERY_H == 0
    wanted = (mild and regular) or bool(np.isnan(before[-1, 0]))
    if unusable or not wanted or math.isnan(estimate.theta):
        return before
    return np.concatenate((before[1:], [_row(estimate)]))


def _row(estimate: Estimate) -> Array:
    layers = (estimate.theta_0_10, estimate.theta_10_30, estimate.theta_30_60)
    return np.array((estimate.window_end_s, estimate.theta, estimate.theta_sigma, *layers))


def _last_before(state: SnowState) -> Array:
    """Return the newest candidate a day before the cold spell, else the oldest one, else NaN.

    In cold air what falls remains as snow, also while the counts do not yet show it.
    """
    known = state.before[np.isfinite(state.before[:, 0])]
    if not len(known):
        return np.full(6, np.nan)
    early = known[known[:, 0] <= state.cold_since_s - DAY_S]
    row: Array = early[-1] if len(early) else known[0]
    return row


def _held(
    site: Site, state: SnowState, seen: _Seen, saturated_cph: float, estimate: Estimate
) -> Estimate:
    """Replace an estimate by the held theta, with the snow's water."""
    end_s, theta, sigma, *layers = state.held.tolist()
    growth = GROWTH_PER_SQRT_D * math.sqrt(max(seen.end_s - end_s, 0.0) / DAY_S)
    sigma = math.hypot(sigma, min(growth, GROWTH_MAX)) if math.isfinite(theta) else NAN
    swe_mm, p05, p95, desilets_mm = _snow_water(site, theta, sigma, seen, saturated_cph)
    quality = (estimate.quality & ~Quality.CLIPPED) | Quality.SNOW
    return replace(
        estimate,
        theta=theta,
        theta_sigma=sigma,
        theta_0_10=layers[0],
        theta_10_30=layers[1],
        theta_30_60=layers[2],
        d86_cm=NAN,
        storage_mm=theta * STORAGE_MM,
        quality=quality,
        swe_mm=swe_mm,
        swe_p05_mm=p05,
        swe_p95_mm=p95,
        swe_desilets_mm=desilets_mm,
        snow_since_s=state.since_s,
        snow_count_ratio=seen.ratio,
        snow_air_c=seen.air_c,
    )


def _snow_water(
    site: Site, theta: float, sigma: float, seen: _Seen, saturated_cph: float
) -> tuple[float, float, float, float]:
    """Compute the snow water equivalent, its 5 and 95 % quantiles and Desilets' value [mm].

    The errors of counts, N, form and held theta add by their squares as errors of the counts, in
    which the water is far from linear; the difference of the two forms is added to the result.
    """
    if not (math.isfinite(theta) and math.isfinite(seen.ratio)):
        return NAN, NAN, NAN, NAN
    one, rate_cph = np.array([theta]), np.array([seen.ratio * saturated_cph])
    swe_mm = float(snow_water_mm(rate_cph, one, site)[0])
    desilets_mm = float(desilets_snow_water_mm(rate_cph, one, site)[0])
    ends = np.array((min(theta + Z_95 * sigma, THETA_MAX), max(theta - Z_95 * sigma, 0.0)))
    above = np.full(2, SWE_MAX_MM if math.isnan(swe_mm) else swe_mm)
    wet, dry = (snow_share(above, ends, site) * response_rate(ends, site)).tolist()
    error = math.hypot(Z_95 * seen.error, Z_95 * FORM_SIGMA, 0.5 * math.log(dry / wet))
    deep = float((snow_share(np.array([SWE_MAX_MM]), one, site) * response_rate(one, site))[0])
    more, less = (1.0 + error) * max(float(rate_cph[0]), deep), (1.0 - error) * float(rate_cph[0])
    p05, p95 = snow_water_mm(np.array((more, less)), np.full(2, theta), site).tolist()
    if math.isnan(swe_mm):  # as over deep water: at least what its error leaves
        return NAN, p05, NAN, desilets_mm
    apart = 0.0 if math.isnan(desilets_mm) else desilets_mm - swe_mm
    low, high = math.hypot(swe_mm - p05, min(apart, 0.0)), math.hypot(p95 - swe_mm, max(apart, 0.0))
    return swe_mm, max(swe_mm - low, 0.0), swe_mm + high, desilets_mm
