"""Convert counts under snow to snow water equivalent, by COSMIC and by Desilets (2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from epithermal_edge.physics.cosmic import L2_G_CM2, L4_G_CM2, CosmicSoil, cosmic_soil
from epithermal_edge.physics.desilets import desilets_rate
from epithermal_edge.physics.response import response_rate
from epithermal_edge.site import Site

Array = NDArray[np.float64]

QUARTZ_G_CM3 = 2.65  # density of the solids, from which the pore space follows
DEEP_CM = 4.8  # attenuation length of counts in snow water, Desilets (2017)
DEEP_WATER = 0.24  # counts over deep water, as a fraction of N0, Desilets (2017)
ANGLE_DEG = 0.5  # step of COSMIC's sum over angles
NEWTON_STEPS = 3  # to 1e-6 mm
SWE_MAX_MM = 400.0  # here COSMIC's counts are within 0.1 % of those over deep water

_COSINE = np.cos(np.deg2rad(np.arange(0.0, 90.0, ANGLE_DEG)))


def pore_space(bulk_density_g_cm3: ArrayLike) -> Array:
    """Compute the pore space of a mineral soil: more water than this is not in the soil.

    Parameters
    ----------
    bulk_density_g_cm3 : (...) [g cm-3]

    Returns
    -------
    (...) [m3 m-3]

    References
    ----------
    Danielson & Sutherland (1986), Methods of Soil Analysis 1, ch. 18: particle density 2.65 g cm-3.
    """
    return np.asarray(1.0 - np.asarray(bulk_density_g_cm3, dtype=np.float64) / QUARTZ_G_CM3)


def snow_share(swe_mm: ArrayLike, theta: ArrayLike, site: Site) -> Array:
    """Compute the counts over a uniform soil under snow, relative to those without snow.

    Parameters
    ----------
    swe_mm : (m) [mm]
        Snow water equivalent.
    theta : (m) [m3 m-3]
        Water content of the soil below.
    site :
        One site; its scale and response do not matter.

    Returns
    -------
    (m) [1]
        1 without snow; towards the counts over deep water under much.

    Raises
    ------
    ValueError
        As `cosmic_rate`.

    References
    ----------
    Shuttleworth et al. (2013), doi:10.5194/hess-17-3205-2013, eq. 1 to 6: a layer of water above
    a uniform half-space, integrated over depth (docs/equations.md), with the 0.5 degree left
    rectangle rule of the published code.
    """
    s_cm = 0.1 * np.asarray(swe_mm, dtype=np.float64)
    return _share_and_slope(s_cm, np.asarray(theta, dtype=np.float64), cosmic_soil(site))[0]


def snow_water_mm(rate_cph: ArrayLike, theta: ArrayLike, site: Site) -> Array:
    """Compute the snow water equivalent that explains a count rate, by COSMIC's surface water.

    Parameters
    ----------
    rate_cph : (m) [counts h-1]
        Corrected rate.
    theta : (m) [m3 m-3]
        Water content of the soil below.
    site :
        One site; the rate without snow is that of its response.

    Returns
    -------
    (m) [mm]
        0 for a rate as without snow or higher; NaN where it is that under SWE_MAX_MM or lower, of
        which the counts say no more, and for NaN.

    Raises
    ------
    ValueError
        As `response_rate`.

    References
    ----------
    Inverse of `snow_share` by Newton's method on its logarithm above deep water.
    """
    theta = np.asarray(theta, dtype=np.float64)
    share = np.asarray(rate_cph, dtype=np.float64) / response_rate(theta, site)
    soil = cosmic_soil(site)
    deepest = _share_and_slope(np.full_like(theta, np.inf), theta, soil)[0]
    least = _share_and_slope(np.full_like(theta, 0.1 * SWE_MAX_MM), theta, soil)[0]
    share = np.where(share > least, np.fmin(share, 1.0), np.nan)
    wanted = np.log((share - deepest) / (1.0 - deepest))
    s_cm = -wanted * DEEP_CM
    for _ in range(NEWTON_STEPS):
        now, slope = _share_and_slope(s_cm, theta, soil)
        excess = now - deepest
        s_cm = s_cm - (np.log(excess / (1.0 - deepest)) - wanted) * excess / slope
        s_cm = np.clip(s_cm, 0.0, 0.1 * SWE_MAX_MM)
    return np.asarray(10.0 * s_cm)


def desilets_snow_water_mm(rate_cph: ArrayLike, theta: ArrayLike, site: Site) -> Array:
    """Compute the snow water equivalent from a count rate by the function of Desilets (2017).

    Parameters
    ----------
    rate_cph, theta, site :
        As in `snow_water_mm`. N0 is that with which the N0 function gives the site's rate without
        snow.

    Returns
    -------
    (m) [mm]
        0 for a rate as without snow or higher; NaN at and below the rate over deep water. Above
        3 attenuation lengths, 144 mm, beyond what the source regards as practical.

    Raises
    ------
    ValueError
        As `response_rate`.

    References
    ----------
    Desilets (2017), Hydroinnova Technical Document 17-01, doi:10.5281/zenodo.439105:
    SWE = -4.8 cm ln((N - N_wat) / (N_theta - N_wat)), N_wat = 0.24 N0.
    """
    theta = np.asarray(theta, dtype=np.float64)
    bare = response_rate(theta, site)
    soil = (site.bulk_density_g_cm3, site.lattice_water_g_g, site.organic_water_g_g)
    deep = DEEP_WATER * bare / desilets_rate(theta, 1.0, *soil)
    excess = (np.asarray(rate_cph, dtype=np.float64) - deep) / (bare - deep)
    s_cm = -DEEP_CM * np.log(np.where(excess > 0.0, excess, np.nan))
    return np.asarray(10.0 * np.fmax(s_cm, 0.0) + 0.0 * s_cm)


def _share_and_slope(s_cm: Array, theta: Array, soil: CosmicSoil) -> tuple[Array, Array]:
    """Compute the share of the counts under snow water (m) [cm], and its derivative [cm-1]."""
    w = (theta + soil.bound)[..., np.newaxis]
    a, b = soil.a_dry + w / L2_G_CM2, soil.b_dry + w / L4_G_CM2
    s = s_cm[..., np.newaxis]
    decay = 1.0 / L2_G_CM2 + 1.0 / (L4_G_CM2 * _COSINE)  # in snow, on each angle's way [cm-1]
    through = np.exp(-decay * s)
    from_soil = (soil.dry_source + w) * _COSINE / (a * _COSINE + b)
    bare = from_soil.sum(axis=-1)
    total = (from_soil * through + (1.0 - through) / decay).sum(axis=-1)
    slope = (through * (1.0 - decay * from_soil)).sum(axis=-1)
    return total / bare, slope / bare
