"""Convert between counts and water content of a uniform profile by COSMIC, the station's inversion.

All functions work on arrays (n,), one value per site, by elementwise operations in a fixed number
of steps, so that a single site gives the same bits as many.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from epithermal_edge.physics.desilets import bound_water
from epithermal_edge.site import Site

Array = NDArray[np.float64]


L1_G_CM2 = 162.0  # COSMIC's attenuation length of high-energy neutrons in soil
L2_G_CM2 = 129.1  # and in water
L4_G_CM2 = 3.16  # of fast neutrons in water; L3, in soil, is a parameter of the site
ANGLE_EXCESS = 1.0 / 360.0  # left rectangle rule at 0.5 degree, over the exact angle integral
THETA_MAX = 0.9  # upper limit of `cosmic_theta`
BULK_DENSITY_MIN_G_CM3 = 0.5  # COSMIC's L3 approaches zero below
NEWTON_STEPS = 2


def cosmic_parameters(bulk_density_g_cm3: ArrayLike) -> tuple[Array, Array]:
    """Estimate COSMIC's alpha and L3 from bulk density.

    Use values that were fitted to the site where there are any.

    Parameters
    ----------
    bulk_density_g_cm3 : (...) [g cm-3]
        Of dry soil, at least 0.5.

    Returns
    -------
    alpha : (...) [-]
        Fast neutrons produced by soil, relative to water.
    l3_g_cm2 : (...) [g cm-2]
        Attenuation length of fast neutrons in dry soil.

    Raises
    ------
    ValueError
        A bulk density below 0.5 g cm-3 or NaN: outside of the fit's range.

    References
    ----------
    Shuttleworth et al. (2013), doi:10.5194/hess-17-3205-2013.
    """
    bd = np.asarray(bulk_density_g_cm3, dtype=np.float64)
    if not np.all(bd >= BULK_DENSITY_MIN_G_CM3):
        raise ValueError(
            f"COSMIC: bulk_density_g_cm3 must be at least {BULK_DENSITY_MIN_G_CM3}, "
            f"got {np.min(bd)}; or give alpha and l3_g_cm2 of the site"
        )
    return np.asarray(0.405 - 0.102 * bd), np.asarray(-31.65 + 99.29 * bd)


def cosmic_rate(theta: ArrayLike, site: Site) -> Array:
    """Compute the corrected count rate over a uniform soil.

    Parameters
    ----------
    theta : (n,) [m3 m-3]
    site :
        Its fields are floats or (n,).

    Returns
    -------
    (n,) [counts h-1]

    Raises
    ------
    ValueError
        As `cosmic_parameters`, where alpha or L3 of the site is NaN.

    References
    ----------
    Shuttleworth et al. (2013), doi:10.5194/hess-17-3205-2013, integrated over a uniform
    half-space (docs/equations.md), with the 0.5 degree left rectangle rule of the published code.
    """
    return _rate_and_slope(np.asarray(theta, dtype=np.float64), cosmic_soil(site))[0]


def cosmic_slope(theta: ArrayLike, site: Site) -> Array:
    """Compute the derivative of the corrected count rate with respect to water content.

    Parameters
    ----------
    theta, site :
        As in `cosmic_rate`.

    Returns
    -------
    (n,) [counts h-1 per m3 m-3]
        Negative.

    Raises
    ------
    ValueError
        As `cosmic_rate`.

    References
    ----------
    Derivative of `cosmic_rate`.
    """
    return _rate_and_slope(np.asarray(theta, dtype=np.float64), cosmic_soil(site))[1]


def cosmic_theta(n_cph: ArrayLike, site: Site) -> Array:
    """Compute the water content of a uniform soil from its corrected count rate.

    Parameters
    ----------
    n_cph : (n,) [counts h-1]
        Corrected rate.
    site :
        Its fields are floats or (n,).

    Returns
    -------
    (n,) [m3 m-3]
        Exactly 0 or THETA_MAX for a rate outside of the possible range; NaN for NaN.

    Raises
    ------
    ValueError
        As `cosmic_rate`.

    References
    ----------
    As `cosmic_inversion`.
    """
    return cosmic_inversion(n_cph, site)[0]


def cosmic_inversion(n_cph: ArrayLike, site: Site) -> tuple[Array, Array]:
    """Compute the water content of a uniform soil and the slope of the rate there.

    Parameters
    ----------
    n_cph : (..., n) [counts h-1]
        Corrected rate.
    site :
        Its fields are floats or (n,).

    Returns
    -------
    theta : (..., n) [m3 m-3]
        As `cosmic_theta`; its error is below 1e-12 where L3 follows from a bulk density up to
        2.6 g cm-3, 3e-11 for any L3 up to 400 g cm-2.
    slope : (..., n) [counts h-1 per m3 m-3]
        `cosmic_slope` there, to 1e-6 or (any L3 up to 400 g cm-2) 3e-5 of it.

    Raises
    ------
    ValueError
        As `cosmic_rate`.

    References
    ----------
    Inverse of `cosmic_rate` by Newton's method in a coordinate in which the rate is nearly
    straight (docs/equations.md).
    """
    soil, driest, wettest, scale, pole, shift = _curve(site)
    n = np.asarray(n_cph, dtype=np.float64)
    above = np.clip(n, wettest, driest) - pole
    wanted = scale / above - shift
    theta, straight = wanted, np.ones_like(wanted)
    for _ in range(NEWTON_STEPS):
        rate, slope = _rate_and_slope(theta, soil)
        reached = rate - pole
        straight = -scale / (reached * reached) * slope  # nearly 1
        theta = theta + (wanted - (scale / reached - shift)) / straight
        theta = np.clip(theta, 0.0, THETA_MAX)
    theta = np.where(n <= wettest, THETA_MAX, np.where(n >= driest, 0.0, theta))
    return np.asarray(theta), np.asarray(straight * (above * above) / -scale)


def driest_rate(site: Site) -> Array:
    """Return the corrected count rate over a soil without water.

    Parameters
    ----------
    site :
        Its fields are floats or (n,).

    Returns
    -------
    () or (n,) [counts h-1]

    Raises
    ------
    ValueError
        As `cosmic_rate`.

    References
    ----------
    `cosmic_rate` at theta = 0.
    """
    return _curve(site).driest


class _Curve(NamedTuple):
    """Rates of a site at both ends of theta, and the hyperbola through them.

    theta = scale / (rate - pole) - shift has the slope of the dry end: the first guess of the
    inversion, and the coordinate of its steps. Arrays () or (n,).
    """

    soil: CosmicSoil
    driest: Array
    wettest: Array
    scale: Array
    pole: Array
    shift: Array


def _curve(site: Site) -> _Curve:
    """Compute the curve of a site, or of n sites; that of a single site only once."""
    try:
        hash(site)
    except TypeError:  # arrays
        return _new_curve(site)
    return _known_curve(site)


def _new_curve(site: Site) -> _Curve:
    soil = cosmic_soil(site)
    driest, dry_slope = _rate_and_slope(np.zeros_like(soil.bound), soil)
    wettest = _rate_and_slope(np.full_like(soil.bound, THETA_MAX), soil)[0]
    bend = (driest - wettest) / (-dry_slope * THETA_MAX)
    shift = THETA_MAX * bend / (1.0 - bend)
    scale = -dry_slope * shift * shift
    return _Curve(soil, driest, wettest, scale, driest + dry_slope * shift, shift)


_known_curve = lru_cache(maxsize=16)(_new_curve)


class CosmicSoil(NamedTuple):
    """Hold the parameters of a site that COSMIC's sums use; arrays () or (n,)."""

    n_cph: Array
    dry_source: Array  # alpha times bulk density
    bound: Array  # water in lattice and organic matter [g cm-3]
    a_dry: Array  # bulk density / L1
    b_dry: Array  # bulk density / L3


def cosmic_soil(site: Site) -> CosmicSoil:
    """Return COSMIC's parameters of a site; alpha and L3 from bulk density where unknown.

    Raises
    ------
    ValueError
        As `cosmic_parameters`, where alpha or L3 of the site is NaN.
    """
    bd = np.asarray(site.bulk_density_g_cm3, dtype=np.float64)
    alpha = np.asarray(site.alpha, dtype=np.float64)
    l_3 = np.asarray(site.l3_g_cm2, dtype=np.float64)
    fitted = np.isfinite(alpha) & np.isfinite(l_3)
    alpha_bd, l3_bd = cosmic_parameters(np.where(fitted, 1.0, bd))
    alpha = np.where(np.isfinite(alpha), alpha, alpha_bd)
    l_3 = np.where(np.isfinite(l_3), l_3, l3_bd)
    bound = bound_water(site.lattice_water_g_g, site.organic_water_g_g)
    return CosmicSoil(
        n_cph=np.asarray(site.cosmic_n_cph, dtype=np.float64),
        dry_source=np.asarray(alpha * bd),
        bound=np.asarray(bound * bd),
        a_dry=np.asarray(bd / L1_G_CM2),
        b_dry=np.asarray(bd / l_3),
    )


def _rate_and_slope(theta: Array, soil: CosmicSoil) -> tuple[Array, Array]:
    """Compute the rate (n,) [counts h-1] over a uniform half-space and its derivative by theta."""
    w = theta + soil.bound  # [g cm-3]
    a = soil.a_dry + w / L2_G_CM2  # decay of high-energy neutrons with depth [cm-1]
    b = soil.b_dry + w / L4_G_CM2  # decay of fast neutrons with depth [cm-1]
    # At a = b (a dry soil with L3 > L1) the terms below are 0 / 0; their limits are smooth.
    b = np.where(np.abs(b - a) < 1e-7 * a, a * (1.0 + 1e-7), b)
    half = np.sqrt(np.abs(b - a) / (a + b))
    angle = np.arctan(half)
    if (b < a).any():
        angle = np.where(b > a, angle, np.arctanh(half))
    j = 2.0 * angle / ((a + b) * half)  # integral of 1 / (b + a cos phi), 0 to pi / 2
    g = (1.0 - 2.0 / np.pi * b * j) / a
    g_b = -2.0 / np.pi * (1.0 - a * j) / (b * b - a * a)
    g_a = -(g + b * g_b) / a  # G is homogeneous of degree -1
    excess = ANGLE_EXCESS / (a + b)
    escaped = g + excess
    d_escaped = g_a / L2_G_CM2 + g_b / L4_G_CM2 - excess / (a + b) * (1 / L2_G_CM2 + 1 / L4_G_CM2)
    source = soil.dry_source + w
    rate = soil.n_cph * source * escaped
    return rate, soil.n_cph * (escaped + source * d_escaped)
