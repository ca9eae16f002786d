"""Field mean of soil samples as the counts weigh them, with its standard error."""

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

LEAST_DISTANCE_M = 0.5  # W(r) vanishes at the detector's foot, a sample there does not
CONVERGED = 1e-6  # [m3 m-3]
ROUNDS_MAX = 50
LEAST_SIGMA = 1e-5  # [m3 m-3] less is no scatter but a copied value
WEIGHED_THETA = (0.02, 0.5)  # W(r) was fitted to these [m3 m-3]
TOP_CM = np.arange(0.25, 30.0, 0.5)  # middles of slices of 0-30 cm


@dataclass(frozen=True, slots=True)
class FieldMean:
    """Mean of one campaign."""

    day: str
    samples: int
    profiles: int
    plain: float  # mean of all samples [m3 m-3]
    theta: float  # weighted by depth and distance, as the counts are [m3 m-3]
    sigma: float  # its standard error [m3 m-3]
    theta_0_30: float  # weighted by distance alone: mean of 0-30 cm [m3 m-3]
    within: float  # the part of sigma that scatter within the profiles explains [m3 m-3]
    between: float  # standard error by the scatter of the profiles; NaN: fewer than two [m3 m-3]
    assumed: bool  # sigma is the usual one: the samples do not tell
    d86_cm: float
    rounds: int


def field_mean(
    campaign: Campaign,
    bulk_density_g_cm3: float,
    bound_water_g_g: float,
    pressure_hpa: float,
    abs_humidity_g_m3: float,
    *,
    local: bool = False,
) -> FieldMean:
    """Mean of the samples by depth and distance; weights follow the mean until it stands.

    Parameters
    ----------
    campaign :
        Samples of one day. Without depths a profile is its plain mean, without distances all
        profiles weigh the same.
    bulk_density_g_cm3, bound_water_g_g :
        Of the site; the weights' water content includes bound water (Schroen et al., eq. 2).
    pressure_hpa, abs_humidity_g_m3 :
        Means of that day.
    local :
        W(r) at each profile's own water content, as neptoon 1.12 has it, in place of the field's,
        as crnpy 0.8 has it. A wet profile then weighs less.

    References
    ----------
    Schroen et al. (2017), doi:10.5194/hess-21-5009-2017, section 2.3: a profile's mean by W(d),
    the field's by W(r), both anew with the mean that came out.
    """
    theta, profile = campaign.theta, campaign.profile
    mean, rounds = float(theta.mean()), 0
    while True:
        rounds += 1
        y = mean + bulk_density_g_cm3 * bound_water_g_g
        r = rescaled_distance_m(np.maximum(campaign.distance_m, LEAST_DISTANCE_M), pressure_hpa, y)
        v = _within_profiles(campaign, y, bulk_density_g_cm3, r)
        means = np.asarray(np.bincount(profile, v * theta), dtype=np.float64)
        own = means + (y - mean) if local else np.full(means.size, y)
        w = _between_profiles(campaign, own, abs_humidity_g_m3, r)
        last, mean = mean, float(w @ means)
        if abs(mean - last) < CONVERGED or rounds == ROUNDS_MAX:
            break
    within, between = _within_error(campaign, v, w), _between_error(means, w)
    known = [e for e in (between, within) if e > LEAST_SIGMA]  # NaN: not
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
    """Weights of the samples (n,); those of a profile add up to 1."""
    d86 = d86_cm(y, bulk_density_g_cm3, np.where(np.isfinite(r), r, TYPICAL_DISTANCE_M))
    told = np.isfinite(campaign.depth_cm)
    v = np.where(told, depth_weight(np.where(told, campaign.depth_cm, 0.0), d86), 1.0)
    return np.asarray(v / np.bincount(campaign.profile, v)[campaign.profile])


def _between_profiles(campaign: Campaign, y: Array, humidity: float, r: Array) -> Array:
    """Weights of the profiles, they add up to 1; those without a distance weigh as the mean one."""
    y = np.clip(y, *WEIGHED_THETA)
    first = np.unique(campaign.profile, return_index=True)[1]
    told = np.isfinite(r[first])
    w = np.ones(first.size)
    if told.any():
        w = distance_weight(np.where(told, r[first], 1.0), y, humidity)
        w = np.where(told, w, w[told].mean())
    return np.asarray(w / w.sum())


def _between_error(means: Array, w: Array) -> float:
    """Standard error of the weighted mean by the scatter of the profiles' means; NaN: one.

    References
    ----------
    Variance of the ratio estimator, Cochran (1977), chapter 6, for a large field.
    """
    n = means.size
    if n < 2:
        return math.nan
    return math.sqrt(n / (n - 1.0) * float(np.sum((w * (means - w @ means)) ** 2)))


def _within_error(campaign: Campaign, v: Array, w: Array) -> float:
    """Standard error by what is left when the means of profiles and of depths are taken out."""
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
    """Mean of 0-30 cm: each profile's samples joined by lines over depth, profiles by distance."""
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
