"""Compute the field mean of soil samples with the weights of the counts, and its error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from epithermal_edge.physics.footprint import (
    TYPICAL_DISTANCE_M,
    d86_cm,
    depth_weight,
    distance_weight,
    rescaled_distance_m,
)
from epithermal_host.arrays import Array
from epithermal_host.config.instrument import SAMPLING_SIGMA
from epithermal_host.field.samples import Campaign

LEAST_DISTANCE_M = 0.5  # W(r) is 0 at the detector itself; samples there must still count
CONVERGED = 1e-6  # [m3 m-3]
ROUNDS_MAX = 50
LEAST_SIGMA = 1e-5  # [m3 m-3]; a smaller scatter means copied values
WEIGHED_THETA = (0.02, 0.5)  # range to which W(r) was fitted [m3 m-3]
TOP_CM = np.arange(0.25, 30.0, 0.5)  # middles of slices of 0-30 cm


@dataclass(frozen=True, slots=True)
class FieldMean:
    """Mean of one campaign."""

    day: str
    samples: int
    profiles: int
    plain: float  # mean of all samples [m3 m-3]
    theta: float  # weighted by depth and distance like the counts [m3 m-3]
    sigma: float  # its standard error [m3 m-3]
    theta_0_30: float  # weighted by distance only: mean of 0-30 cm [m3 m-3]
    within: float  # standard error from the scatter within the profiles [m3 m-3]
    between: float  # standard error from the scatter between profiles; NaN: fewer than two [m3 m-3]
    assumed: bool  # sigma is the default, because the samples do not determine it
    d86_cm: float
    rounds: int


def field_mean(
    campaign: Campaign,
    bulk_density_g_cm3: float,
    bound_water_g_g: float,
    pressure_hpa: float,
    abs_humidity_g_m3: float,
    *,
    crop_height_m: float = 0.0,
    local: bool = False,
) -> FieldMean:
    """Average the samples with weights for depth and distance, iterated to convergence.

    Parameters
    ----------
    campaign :
        Samples of one day. Without depths, the mean of a profile is unweighted; without distances,
        all profiles have the same weight.
    bulk_density_g_cm3, bound_water_g_g :
        Of the site; the water content in the weights includes bound water (Schroen et al., eq. 2).
    pressure_hpa, abs_humidity_g_m3 :
        Means of that day.
    crop_height_m : [m]
        Height of the plants on that day; they shorten the footprint.
    local :
        Evaluate W(r) at each profile's own water content, as in neptoon 1.12, instead of the field
        mean, as in crnpy 0.8. Wet profiles then have less weight.

    References
    ----------
    Schroen et al. (2017), doi:10.5194/hess-21-5009-2017, section 2.3: W(d) for the mean of a
    profile, W(r) for the mean of the field, both repeated with the resulting mean.
    """
    theta, profile = campaign.theta, campaign.profile
    mean, rounds = float(theta.mean()), 0
    while True:
        rounds += 1
        y = mean + bulk_density_g_cm3 * bound_water_g_g
        away = np.maximum(campaign.distance_m, LEAST_DISTANCE_M)
        r = rescaled_distance_m(away, pressure_hpa, y, crop_height_m)
        v = _within_profiles(campaign, y, bulk_density_g_cm3, r)
        means = np.asarray(np.bincount(profile, v * theta), dtype=np.float64)
        own = means + (y - mean) if local else np.full(means.size, y)
        w = _between_profiles(campaign, own, abs_humidity_g_m3, r)
        last, mean = mean, float(w @ means)
        if abs(mean - last) < CONVERGED or rounds == ROUNDS_MAX:
            break
    within, between = _within_error(campaign, v, w), _between_error(means, w)
    known = [e for e in (between, within) if e > LEAST_SIGMA]  # excludes NaN
    return FieldMean(
        day=campaign.day,
        samples=theta.size,
        profiles=means.size,
        plain=float(theta.mean()),
        theta=mean,
        sigma=known[0] if known else SAMPLING_SIGMA,
        theta_0_30=_top(campaign, w),
        within=within,
        between=between,
        assumed=not known,
        d86_cm=float(d86_cm(y, bulk_density_g_cm3, TYPICAL_DISTANCE_M)),
        rounds=rounds,
    )


def _within_profiles(campaign: Campaign, y: float, bulk_density_g_cm3: float, r: Array) -> Array:
    """Compute the weights of the samples (n,); those of a profile add up to 1."""
    d86 = d86_cm(y, bulk_density_g_cm3, np.where(np.isfinite(r), r, TYPICAL_DISTANCE_M))
    known = np.isfinite(campaign.depth_cm)
    v = np.where(known, depth_weight(np.where(known, campaign.depth_cm, 0.0), d86), 1.0)
    return np.asarray(v / np.bincount(campaign.profile, v)[campaign.profile])


def _between_profiles(campaign: Campaign, y: Array, humidity: float, r: Array) -> Array:
    """Compute the weights of the profiles, which add up to 1; the mean one without a distance."""
    y = np.clip(y, *WEIGHED_THETA)
    first = np.unique(campaign.profile, return_index=True)[1]
    known = np.isfinite(r[first])
    w = np.ones(first.size)
    if known.any():
        w = distance_weight(np.where(known, r[first], 1.0), y, humidity)
        w = np.where(known, w, w[known].mean())
    return np.asarray(w / w.sum())


def _between_error(means: Array, w: Array) -> float:
    """Estimate the error of the weighted mean from the scatter between profiles; NaN with one.

    References
    ----------
    Variance of the ratio estimator, Cochran (1977), chapter 6, for a large field.
    """
    n = means.size
    if n < 2:
        return math.nan
    return math.sqrt(n / (n - 1.0) * float(np.sum((w * (means - w @ means)) ** 2)))


def _within_error(campaign: Campaign, v: Array, w: Array) -> float:
    """Estimate the error from the residuals after subtracting the means of profiles and depths."""
    profile = campaign.profile
    depth = np.unique(np.nan_to_num(campaign.depth_cm, nan=-1.0), return_inverse=True)[1]
    left, free = campaign.theta.astype(float), campaign.theta.size - len(set(profile)) - max(depth)
    for _ in range(ROUNDS_MAX):  # alternating means solve the two-way fit
        for group in (profile, depth):
            left = left - (np.bincount(group, left) / np.bincount(group))[group]
    if free < 1:
        return math.nan
    variance = float(np.sum(left**2)) / free
    return math.sqrt(variance * float(np.sum((w[profile] * v) ** 2)))


def _top(campaign: Campaign, w: Array) -> float:
    """Average over 0-30 cm: interpolate each profile linearly, weight profiles by distance."""
    total = 0.0
    for i, weight in enumerate(w.tolist()):
        rows = campaign.profile == i
        depth, theta = campaign.depth_cm[rows], campaign.theta[rows]
        if np.isfinite(depth).all():
            levels, level = np.unique(depth, return_inverse=True)
            mean = np.bincount(level, theta) / np.bincount(level)
            total += weight * float(np.interp(TOP_CM, levels, mean).mean())
        else:
            total += weight * float(theta.mean())
    return total
