"""Derive from theta what a grower asks: plant-available water, depletion, days until irrigation.

Of 0-30 cm, against field capacity and wilting point of the site's soil; docs/water.md has the
formulas and what is assumed. Pure: what is remembered is a value, as in `engine`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.physics.plant_water import STORAGE_MM, SoilWater
from epithermal_edge.records import NAN, Estimate, Quality

Array = NDArray[np.float64]

DAYS = 7  # how far back the recent rate looks
LEAST = 5  # days with a value, the newest included, that a rate needs
RAIN_MM = 1.0  # less in 24 h evaporates from the surface: 0.2 ET0, FAO-56 (1998), ch. 8
RISE_MM = 5.0  # of 0-30 cm in a day: more is not noise but water that came, also without a gauge
HORIZON_D = 60.0  # longest forecast
Z_95 = 1.6449  # quantile of the normal distribution
UNSURE = Quality.WARM_UP | Quality.GAP | Quality.CLIPPED | Quality.NO_MODEL | Quality.SNOW

SEN_RANK = {5: 2, 6: 3, 7: 5, 8: 7}
"""Rank of the slope, from either end, that bounds the 90 % interval of n days (Kendall)."""


@dataclass(frozen=True, slots=True)
class WaterState:
    """The last days of each phase, the oldest first."""

    storage_mm: NDArray[np.float64]  # (phases, DAYS + 1); NaN: unknown or unsure
    rain_mm: NDArray[np.float64]  # (phases, DAYS + 1) of these 24 h; NaN: unknown


@dataclass(frozen=True, slots=True)
class Range:
    """A value and its 5-95 % interval."""

    value: float
    p05: float
    p95: float


NOTHING = Range(NAN, NAN, NAN)


def start(phases: int) -> WaterState:
    """Return the state before the first window."""
    return WaterState(*(np.full((phases, DAYS + 1), np.nan) for _ in range(2)))


def sure_mm(estimates: Sequence[Estimate]) -> Array:
    """Return the storages [mm] of windows (K,); NaN where the estimate is in doubt."""
    doubt = int(UNSURE)
    return np.array([NAN if int(e.quality) & doubt else e.storage_mm for e in estimates])


def remember(
    state: WaterState, phase: NDArray[np.int64], storage_mm: Array, rain_mm: Array
) -> tuple[WaterState, WaterState]:
    """Add windows of 24 h to the state.

    Parameters
    ----------
    phase, storage_mm, rain_mm : (K,) [-], [mm], [mm]
        Of the windows, in order; NaN: unknown.

    Returns
    -------
    WaterState, WaterState
        The state after them; and as it was in each window's phase once that was added, with K
        instead of phases.
    """
    if not len(phase):
        return state, WaterState(*(np.empty((0, DAYS + 1)) for _ in range(2)))
    new, old = (storage_mm, rain_mm), (state.storage_mm, state.rain_mm)
    after = tuple(rows.copy() for rows in old)
    then = tuple(np.empty((len(phase), DAYS + 1)) for _ in old)
    for one in np.unique(phase).tolist():
        at = phase == one
        for values, rows, newest, each in zip(new, old, after, then, strict=True):
            series = np.concatenate((rows[one], values[at]))
            each[at] = series[np.arange(1, len(series) - DAYS)[:, np.newaxis] + np.arange(DAYS + 1)]
            newest[one] = series[-DAYS - 1 :]
    return WaterState(*after), WaterState(*then)


def describe(soil: SoilWater, state: WaterState, phase: int, estimate: Estimate) -> Estimate:
    """Add storage, depletion and days until irrigation to the estimate of a window.

    Parameters
    ----------
    state :
        With the window in it.
    """
    rate = loss_mm_d(state, phase, soil.field_capacity * STORAGE_MM)
    days = NOTHING if rate is None else days_left(margin_mm(soil, estimate), rate)
    return replace(
        estimate,
        available_mm=available_mm(soil, estimate).value,
        depletion=depletion(soil, estimate).value,
        rate_mm_d=NAN if rate is None else rate.value,
        days_to_threshold=days.value,
        days_p05=days.p05,
        days_p95=days.p95,
    )


def available_mm(soil: SoilWater, estimate: Estimate) -> Range:
    """Compute the water above the wilting point [mm], with the interval of theta."""
    return Range(*(soil.available_mm(theta) for theta in _thetas(estimate)))


def depletion(soil: SoilWater, estimate: Estimate) -> Range:
    """Compute the depleted fraction of plant-available water [1], with the interval of theta."""
    value, low, high = (soil.depletion(theta) for theta in _thetas(estimate))
    return Range(value, high, low)  # the wetter, the less is used


def margin_mm(soil: SoilWater, estimate: Estimate) -> Range:
    """Compute the water left above the irrigation threshold [mm]; negative below it."""
    return Range(*((theta - soil.theta_threshold) * STORAGE_MM for theta in _thetas(estimate)))


def _thetas(estimate: Estimate) -> tuple[float, float, float]:
    """Return theta and the ends of its 5-95 % interval; NaN under snow, when none is measured."""
    if estimate.quality & Quality.SNOW:
        return NAN, NAN, NAN
    reach = Z_95 * estimate.theta_sigma
    return estimate.theta, estimate.theta - reach, estimate.theta + reach


def loss_mm_d(state: WaterState, phase: int, full_mm: float) -> Range | None:
    """Estimate how fast 0-30 cm has dried since the last rain, irrigation or drainage.

    Parameters
    ----------
    full_mm :
        Storage at field capacity: above it water drains, which is no measure of what plants take.

    Returns
    -------
    Range | None
        Median of the slopes between all pairs of days [mm d-1] and its 90 % interval, whose lower
        end may be below 0; None where it is wetting or there are too few days.

    References
    ----------
    Theil (1950); Sen (1968), J. Am. Stat. Assoc. 63, 1379-1389.
    """
    days: list[tuple[int, float]] = []
    newest_first = (row[phase, ::-1].tolist() for row in (state.storage_mm, state.rain_mm))
    for ago, (storage, rain) in enumerate(zip(*newest_first, strict=True)):
        if rain >= RAIN_MM or storage > full_mm:
            break
        if math.isnan(storage):
            if ago == 0:
                break
            continue
        if days and days[-1][1] - storage > RISE_MM:
            break
        days.append((ago, storage))
    if len(days) < LEAST:
        return None
    losses = sorted((s - s_later) / (ago - later)
                    for (later, s_later), (ago, s) in combinations(days, 2))  # fmt: skip
    rank = SEN_RANK[len(days)]
    rate = Range(median(losses), losses[rank - 1], losses[-rank])
    return rate if rate.value > 0.0 else None


def days_left(margin: Range, rate: Range) -> Range:
    """Compute the days until a margin [mm] is used up at a rate [mm d-1]; 0 if it is already.

    Returns
    -------
    Range [d]
        NaN beyond HORIZON_D; an upper end there means HORIZON_D or more.

    References
    ----------
    JCGM 100:2008 (GUM), 5.1.3 note 2: each error alone moves the result, the squares add. That of
    theta shifts all days alike and so moves the margin; that of the rate is its own.
    """
    left = margin.value / rate.value
    if not left <= HORIZON_D:
        return NOTHING
    sooner = left - margin.value / rate.p95
    later = margin.value / rate.p05 - left if rate.p05 > 0.0 else math.inf
    below = (margin.value - margin.p05) / rate.value
    above = (margin.p95 - margin.value) / rate.value
    first = left - math.hypot(below, sooner)
    last = left + math.hypot(above, later if left > 0.0 else 0.0)
    return Range(max(left, 0.0), max(first, 0.0), min(max(last, 0.0), HORIZON_D))
