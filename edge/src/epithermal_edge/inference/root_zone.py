"""Advise over the crop's own root zone: its water at every depth, its threshold, a sentence.

The network estimates 0-10, 10-30 and 30-60 cm. What lies below is assumed to be as wet as 30-60 cm,
with an error that grows with depth; docs/water.md has the formulas and how they fare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from epithermal_edge.inference import irrigation
from epithermal_edge.inference.irrigation import (
    DAYS,
    DOUBTS,
    NOTHING,
    UNSURE,
    Z_95,
    Array,
    Range,
    WaterState,
    days_left,
    margin_of,
)
from epithermal_edge.physics.plant_water import RootZone, adjusted_threshold
from epithermal_edge.records import NAN, Estimate

TOP_CM = 30.0  # bottom of the layer of theta
MM_PER_CM = 10.0  # depth of water in a centimetre of soil at a water content of 1
SIGMA_30_60 = 2.6  # error of 30-60 cm over that of 0-30 cm: 0.0412 / 0.0158, models/*/CARD.md
SIGMA_PER_CM = 0.02  # added for each cm below 60, where nothing is measured
LEAST_ET0_DAYS = 3  # of the last DAYS with a known ET0, that a mean needs
DAY_OF_MONTH_1 = (0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335)  # of a leap year, from 0
HALF_DAY_S = 43_200.0

FIELDS = (
    *("root_depth_cm", "root_depletion", "root_threshold", "etc_mm_d", "root_rate_mm_d"),
    *("root_days_to_threshold", "root_days_p05", "root_days_p95", "irrigate"),
)
"""Fields of Estimate that `describe` computes; a stored state does not have them."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a grower should do."""

    irrigate: bool | None  # None: unknown
    text: str  # one sentence


UNDESCRIBED = Advice(None, "No advice: the soil is not described.")


def describe(root: RootZone, state: WaterState, phase: int, estimate: Estimate) -> Estimate:
    """Add the figures of 0-30 cm, of the root zone and the advice to the estimate of a window.

    Parameters
    ----------
    state :
        With the window in it.
    """
    estimate = irrigation.describe(root.soil, state, phase, estimate)
    day = day_of_year(estimate.window_end_s)
    depth_cm = root.depth_cm[day]
    etc_mm_d = root.crop_coefficient[day] * mean_et0_mm_d(state, phase)
    estimate = replace(
        estimate,
        root_depth_cm=depth_cm,
        etc_mm_d=etc_mm_d,
        root_threshold=adjusted_threshold(root.soil.threshold, etc_mm_d)
        if root.adjusts
        else root.soil.threshold,
    )
    rate = loss_mm_d(root, state, phase, depth_cm)
    days = NOTHING if rate is None else days_left(margin_mm(root, estimate), rate)
    passed = passes_threshold(root, estimate)
    return replace(
        estimate,
        root_depletion=depletion(root, estimate).value,
        root_rate_mm_d=NAN if rate is None else rate.value,
        root_days_to_threshold=days.value,
        root_days_p05=days.p05,
        root_days_p95=days.p95,
        irrigate=NAN if passed is None else float(passed),
    )


def mean_water(estimate: Estimate, depth_cm: float) -> tuple[float, float]:
    """Average the layers over the root zone.

    The errors of the layers are taken as fully correlated, so that they add: that of 30-60 cm is
    SIGMA_30_60 times that of 0-30 cm, and grows by SIGMA_PER_CM with each centimetre below.

    Returns
    -------
    theta, sigma : [m3 m-3]
        Mean water content and its standard error; NaN without an estimate.
    """
    sigma = estimate.theta_sigma
    if depth_cm <= TOP_CM:
        below = max(depth_cm - 10.0, 0.0)
        upper = min(depth_cm, 10.0)
        total = upper * estimate.theta_0_10 + below * estimate.theta_10_30
        return (estimate.theta if depth_cm == TOP_CM else total / depth_cm), sigma
    under = depth_cm - TOP_CM
    deep = max(depth_cm - 60.0, 0.0)
    theta = (TOP_CM * estimate.theta + under * estimate.theta_30_60) / depth_cm
    ratio = TOP_CM + under * SIGMA_30_60 + 0.5 * SIGMA_PER_CM * deep * deep
    return theta, sigma * ratio / depth_cm


def available_mm(root: RootZone, estimate: Estimate) -> Range:
    """Compute the plant-available water of the root zone [mm] with its 5-95 % interval."""
    scale = estimate.root_depth_cm / TOP_CM
    return Range(*(scale * root.soil.available_mm(theta) for theta in _thetas(estimate)))


def capacity_mm(root: RootZone, estimate: Estimate) -> float:
    """Compute the total available water of the root zone [mm]; FAO-56 (1998), eq. 82."""
    return estimate.root_depth_cm / TOP_CM * root.soil.capacity_mm


def depletion(root: RootZone, estimate: Estimate) -> Range:
    """Compute the depleted fraction of the root zone's water [1] with its 5-95 % interval."""
    value, low, high = (root.soil.depletion(theta) for theta in _thetas(estimate))
    return Range(value, high, low)  # the wetter, the less is used


def margin_mm(root: RootZone, estimate: Estimate) -> Range:
    """Compute the water left above the threshold of the root zone [mm]; negative below it."""
    depth_mm = MM_PER_CM * estimate.root_depth_cm
    return margin_of(_thetas(estimate), _theta_threshold(root, estimate), depth_mm)


def passes_threshold(root: RootZone, estimate: Estimate) -> bool | None:
    """Return whether the depletion exceeds the threshold with the wanted probability.

    None where the estimate is in doubt. The error of theta is normal.
    """
    theta, sigma = mean_water(estimate, estimate.root_depth_cm)
    if int(estimate.quality) & int(UNSURE) or not (math.isfinite(theta) and math.isfinite(sigma)):
        return None
    below = _theta_threshold(root, estimate) - theta
    if sigma == 0.0:
        return below >= 0.0
    return 0.5 * math.erfc(-below / (sigma * math.sqrt(2.0))) >= root.confidence


def advise(root: RootZone | None, estimate: Estimate) -> Advice:
    """Explain in one sentence whether to irrigate.

    Parameters
    ----------
    estimate :
        After `describe`; with the flags of its record.
    """
    if root is None:
        return UNDESCRIBED
    quality = int(estimate.quality)
    for flag, reason in DOUBTS:
        if quality & int(flag):
            return Advice(None, f"No advice: {reason}.")
    if math.isnan(estimate.irrigate):
        return Advice(None, "No advice: the water of the root zone is unknown.")
    irrigate = estimate.irrigate > 0.0
    used = (
        f"the root zone 0-{estimate.root_depth_cm:.0f} cm has used"
        f" {100 * estimate.root_depletion:.0f} % of its water,"
        f" limit {100 * estimate.root_threshold:.0f} %"
    )
    days = estimate.root_days_to_threshold
    if irrigate or math.isnan(days):
        return Advice(irrigate, f"{'Irrigate' if irrigate else 'Do not irrigate'}: {used}.")
    plural = "" if round(days) == 1 else "s"
    return Advice(False, f"Do not irrigate: {used}, in about {days:.0f} day{plural}.")


def loss_mm_d(root: RootZone, state: WaterState, phase: int, depth_cm: float) -> Range | None:
    """Estimate how fast the root zone has dried, over the dry days of `irrigation.loss_mm_d`.

    Roots above 30 cm: the loss of 0-30 cm.
    """
    top_mm = state.storage_mm[phase]
    if depth_cm <= TOP_CM:
        return irrigation.loss_mm_d(state, phase, root.soil.field_capacity * 10.0 * TOP_CM)
    zone_mm: Array = top_mm + MM_PER_CM * (depth_cm - TOP_CM) * state.theta_30_60[phase]
    full_mm = root.soil.field_capacity * MM_PER_CM * depth_cm
    return irrigation.sen_slope(zone_mm, state.rain_mm[phase], top_mm, full_mm)


def mean_et0_mm_d(state: WaterState, phase: int) -> float:
    """Compute the mean ET0 of the last DAYS windows [mm d-1]; NaN with too few known ones."""
    recent = state.et0_mm[phase, -DAYS:]
    known = recent[np.isfinite(recent)]
    return float(known.mean()) if len(known) >= LEAST_ET0_DAYS else NAN


def day_of_year(window_end_s: float) -> int:
    """Return the day of a leap year, from 0, in the middle of a window of 24 h."""
    if math.isnan(window_end_s):
        return 0
    middle = datetime.fromtimestamp(window_end_s - HALF_DAY_S, UTC)
    return DAY_OF_MONTH_1[middle.month - 1] + middle.day - 1


def _theta_threshold(root: RootZone, estimate: Estimate) -> float:
    """Return the water content at the threshold [m3 m-3]; FAO-56, eq. 83."""
    soil = root.soil
    return soil.field_capacity - estimate.root_threshold * (
        soil.field_capacity - soil.wilting_point
    )


def _thetas(estimate: Estimate) -> tuple[float, float, float]:
    """Return the mean of the root zone and the ends of its 5-95 % interval."""
    theta, sigma = mean_water(estimate, estimate.root_depth_cm)
    return theta, theta - Z_95 * sigma, theta + Z_95 * sigma
