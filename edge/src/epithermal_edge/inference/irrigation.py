"""Derive from theta what a grower asks: plant-available water, depletion, days until irrigation.

Of 0-30 cm, against field capacity and wilting point of the site's soil; docs/water.md has the
formulas and what is assumed. Pure: what is remembered is a value, as in `engine`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from itertools import combinations
from operator import or_

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
DOUBTS = (
    (Quality.SNOW, "there is snow on the ground"),
    (Quality.NO_MODEL, "there is no estimate"),
    (Quality.GAP, "the detector counted for less than 12 of the last 24 hours"),
    (Quality.CLIPPED, "the count is outside of the range that soil can cause"),
    (Quality.WARM_UP, "the network has not yet seen enough days"),
)
"""Flags under which no water for plants is derived, and the reason that the advice gives."""

UNSURE = reduce(or_, (flag for flag, _ in DOUBTS))

SEN_RANK = {5: 2, 6: 3, 7: 5, 8: 7}
"""Rank of the slope, from either end, that bounds the 90 % interval of n days (Kendall)."""


@dataclass(frozen=True, slots=True)
class WaterState:
    """The last days of each phase, the oldest first."""

    storage_mm: NDArray[np.float64]  # (phases, DAYS + 1); NaN: unknown or unsure
    rain_mm: NDArray[np.float64]  # (phases, DAYS + 1) of these 24 h; NaN: unknown
    theta_30_60: NDArray[np.float64]  # (phases, DAYS + 1); NaN as storage_mm
    et0_mm: NDArray[np.float64]  # (phases, DAYS + 1) of these 24 h; NaN: unknown


SERIES = len(fields(WaterState))


@dataclass(frozen=True, slots=True)
class Range:
    """A value and its 5-95 % interval."""

    value: float
    p05: float
    p95: float


NOTHING = Range(NAN, NAN, NAN)


def start(phases: int) -> WaterState:
    """Return the state before the first window."""
    return WaterState(*(np.full((phases, DAYS + 1), np.nan) for _ in range(SERIES)))


def sure_water(estimates: Sequence[Estimate]) -> tuple[Array, Array]:
    """Return storage [mm] and theta_30_60 of windows, (K,) each; NaN where in doubt."""
    doubt = int(UNSURE)
    rows = [
        (NAN, NAN) if int(e.quality) & doubt else (e.storage_mm, e.theta_30_60) for e in estimates
    ]
    storage_mm, theta_30_60 = np.array(rows).reshape(-1, 2).T
    return storage_mm, theta_30_60


def remember(
    state: WaterState,
    phase: NDArray[np.int64],
    storage_mm: Array,
    rain_mm: Array,
    theta_30_60: Array,
    et0_mm: Array,
) -> tuple[WaterState, WaterState]:
    """Add windows of 24 h to the state.

    Parameters
    ----------
    phase, storage_mm, rain_mm, theta_30_60, et0_mm : (K,) [-], [mm], [mm], [m3 m-3], [mm]
        Of the windows, in order; NaN: unknown.

    Returns
    -------
    WaterState, WaterState
        The state after them; and as it was in each window's phase once that was added, with K
        instead of phases.
    """
    if not len(phase):
        return state, WaterState(*(np.empty((0, DAYS + 1)) for _ in range(SERIES)))
    new = (storage_mm, rain_mm, theta_30_60, et0_mm)
    old = tuple(getattr(state, f.name) for f in fields(state))
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
    return margin_of(_thetas(estimate), soil.theta_threshold, STORAGE_MM)


def margin_of(thetas: tuple[float, float, float], theta_threshold: float, depth_mm: float) -> Range:
    """Compute the water of a depth above a threshold [mm] from theta and its interval."""
    return Range(*((theta - theta_threshold) * depth_mm for theta in thetas))


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
    storage_mm = state.storage_mm[phase]
    return sen_slope(storage_mm, state.rain_mm[phase], storage_mm, full_mm)


def sen_slope(storage_mm: Array, rain_mm: Array, top_mm: Array, full_mm: float) -> Range | None:
    """Estimate the rate of loss of a storage over the recent days without rain or irrigation.

    Parameters
    ----------
    storage_mm, rain_mm, top_mm : (DAYS + 1,) [mm]
        The oldest first; top_mm of 0-30 cm shows a rise.
    full_mm :
        Storage above which the soil drains.
    """
    days: list[tuple[int, float]] = []
    later_mm = NAN
    newest_first = (row[::-1].tolist() for row in (storage_mm, rain_mm, top_mm))
    for ago, (storage, rain, top) in enumerate(zip(*newest_first, strict=True)):
        if rain >= RAIN_MM or storage > full_mm:
            break
        if math.isnan(storage):
            if ago == 0:
                break
            continue
        if later_mm - top > RISE_MM:
            break
        later_mm = top
        days.append((ago, storage))
    if len(days) < LEAST:
        return None
    losses = sorted((s - s_later) / (ago - later)
                    for (later, s_later), (ago, s) in combinations(days, 2))  # fmt: skip
    rank = SEN_RANK[len(days)]
    n = len(losses)
    middle = 0.5 * (losses[(n - 1) // 2] + losses[n // 2])
    rate = Range(middle, losses[rank - 1], losses[-rank])
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
