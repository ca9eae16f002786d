"""Compute the footprint of the sensor: weights by distance and depth, depth D86, radius.

The weights average soil samples as the sensor does; D86 is the depth that an estimate refers to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

PRESSURE_SEA_LEVEL_HPA = 1013.25
NEAR_M = 1.0  # limits between the three ranges of W(r)
FAR_M = 50.0
RANGE_M = 600.0  # largest distance of the fit of W(r)
TYPICAL_DISTANCE_M = 30.0  # half of the neutrons come from within (50 m if dry, 15 m if wet)


def rescaled_distance_m(
    distance_m: ArrayLike,
    pressure_hpa: ArrayLike,
    theta: ArrayLike = 0.1,
    vegetation_height_m: ArrayLike = 0.0,
) -> Array:
    """Rescale a distance to sea level and bare soil, for use in `distance_weight`.

    Parameters
    ----------
    distance_m : (...) [m]
        Distance from the sensor.
    pressure_hpa : (...) [hPa]
        Mean at the site; neutrons travel further in thin air.
    theta : (...) [m3 m-3]
        Has an effect under vegetation only.
    vegetation_height_m : (...) [m]

    Returns
    -------
    (...) [m]

    References
    ----------
    Schroen et al. (2017), doi:10.5194/hess-21-5009-2017, eq. A1, with F_p and F_veg of its
    appendix A.
    """
    r = np.asarray(distance_m, dtype=np.float64)
    p = np.asarray(pressure_hpa, dtype=np.float64)
    y = np.asarray(theta, dtype=np.float64)
    h_veg = np.asarray(vegetation_height_m, dtype=np.float64)
    f_p = 0.4922 / (0.86 - np.exp(-p / PRESSURE_SEA_LEVEL_HPA))
    f_veg = 1.0 - 0.17 * (1.0 - np.exp(-0.41 * h_veg)) * (1.0 + np.exp(-9.25 * y))
    return np.asarray(r / f_p / f_veg)


def distance_weight(distance_m: ArrayLike, theta: ArrayLike, abs_humidity_g_m3: ArrayLike) -> Array:
    """Compute the weight W(r) of a soil profile by its distance from the sensor.

    W(r) is the intensity from the whole ring at r: its integral over r is the count rate.

    Parameters
    ----------
    distance_m : (...) [m]
        `rescaled_distance_m`, 0 to 600.
    theta : (...) [m3 m-3]
        Mean over the footprint, 0.02 to 0.5.
    abs_humidity_g_m3 : (...) [g m-3]

    Returns
    -------
    (...) [arbitrary unit]

    References
    ----------
    Schroen et al. (2017), appendix A and table A1, after Koehli et al. (2015). r = 50 m belongs
    to the middle range.
    """
    r = np.asarray(distance_m, dtype=np.float64)
    a_0, a_1, a_2, a_3 = _middle_range(theta, abs_humidity_g_m3)
    b_0, b_1, b_2, b_3 = _far_range(theta, abs_humidity_g_m3)
    middle = a_0 * np.exp(-a_1 * r) + a_2 * np.exp(-a_3 * r)
    far = b_0 * np.exp(-b_1 * r) + b_2 * np.exp(-b_3 * r)
    near = middle * (1.0 - np.exp(-3.7 * r))
    return np.asarray(np.where(r <= NEAR_M, near, np.where(r <= FAR_M, middle, far)))


def distance_weight_simple(distance_m: ArrayLike) -> Array:
    """Compute the weight W(r) of a soil profile where water content and humidity are unknown.

    Parameters
    ----------
    distance_m : (...) [m]
        `rescaled_distance_m`.

    Returns
    -------
    (...) [arbitrary unit, not that of `distance_weight`]

    References
    ----------
    Schroen et al. (2017), appendix B.
    """
    r = np.asarray(distance_m, dtype=np.float64)
    return np.asarray((30.0 * np.exp(-0.625 * r) + np.exp(-0.01 * r)) * (1.0 - np.exp(-3.7 * r)))


def d86_cm(
    theta: ArrayLike,
    bulk_density_g_cm3: ArrayLike,
    distance_m: ArrayLike = TYPICAL_DISTANCE_M,
    lattice_water_g_g: ArrayLike = 0.0,
) -> Array:
    """Compute the depth D86 that 86 % of the counted neutrons come from.

    Parameters
    ----------
    theta : (...) [m3 m-3]
        Soil water.
    bulk_density_g_cm3 : (...) [g cm-3]
    distance_m : (...) [m]
        `rescaled_distance_m`; the depth decreases with it.
    lattice_water_g_g : (...) [g g-1]
        All hydrogen that is not soil water: the paper's theta includes it (eq. 2).

    Returns
    -------
    (...) [cm]

    References
    ----------
    Schroen et al. (2017), appendix A, after Koehli et al. (2015).
    """
    bd = np.asarray(bulk_density_g_cm3, dtype=np.float64)
    y = np.asarray(theta, dtype=np.float64) + np.asarray(lattice_water_g_g, dtype=np.float64) * bd
    r = np.asarray(distance_m, dtype=np.float64)
    reach = 0.14249 * (0.96655 + np.exp(-0.01 * r)) * (20.0 + y) / (0.0429 + y)
    return np.asarray((8.321 + reach) / bd)


def franz_depth_cm(
    theta: ArrayLike, bulk_density_g_cm3: ArrayLike, lattice_water_g_g: ArrayLike
) -> Array:
    """Compute the effective depth by the older formula of Franz, to compare with older records.

    Parameters
    ----------
    theta : (...) [m3 m-3]
    bulk_density_g_cm3 : (...) [g cm-3]
    lattice_water_g_g : (...) [g g-1]

    Returns
    -------
    (...) [cm]

    References
    ----------
    Franz et al. (2012), doi:10.1029/2012WR011871.
    """
    bd = np.asarray(bulk_density_g_cm3, dtype=np.float64)
    y = np.asarray(theta, dtype=np.float64) + np.asarray(lattice_water_g_g, dtype=np.float64) * bd
    return np.asarray(5.8 / (y + 0.0829))


def depth_weight(z_cm: ArrayLike, d86_cm: ArrayLike) -> Array:
    """Compute the weight W(d) of a soil sample by its depth.

    Parameters
    ----------
    z_cm : (...) [cm]
        Depth of the sample's middle.
    d86_cm : (...) [cm]
        D86 of the sample's profile.

    Returns
    -------
    (...) [-]
        1 at the surface.

    References
    ----------
    Schroen et al. (2017), appendix A.
    """
    z = np.asarray(z_cm, dtype=np.float64)
    return np.asarray(np.exp(-2.0 * z / np.asarray(d86_cm, dtype=np.float64)))


def layer_weights(bottom_cm: ArrayLike, d86_cm: ArrayLike) -> Array:
    """Compute the weights of layers, which add up to 1.

    Parameters
    ----------
    bottom_cm : (layers,) [cm]
        Lower ends; the first layer begins at the surface, the last has no end.
    d86_cm : (...) [cm]
        D86 of each profile.

    Returns
    -------
    (..., layers) [-]

    References
    ----------
    Schroen et al. (2017), appendix A: W(d) of `depth_weight`, integrated over each layer.
    """
    bottom = np.asarray(bottom_cm, dtype=np.float64)
    top = np.concatenate(([0.0], bottom[:-1]))
    above = np.exp(-2.0 * top / np.asarray(d86_cm, dtype=np.float64)[..., np.newaxis])
    below = np.concatenate((above[..., 1:], np.zeros_like(above[..., :1])), axis=-1)
    return np.asarray(above - below)


def footprint_radius_m(
    theta: ArrayLike, abs_humidity_g_m3: ArrayLike, fraction: float = 1.0 - np.exp(-2.0)
) -> Array:
    """Compute the radius at sea level that a fraction of the counted neutrons comes from.

    Parameters
    ----------
    theta : (...) [m3 m-3]
        0.02 to 0.5.
    abs_humidity_g_m3 : (...) [g m-3]
    fraction : [-]
        0 to 1; the usual footprint is 86 %, two e-folds.

    Returns
    -------
    (...) [m]

    References
    ----------
    Koehli et al. (2015), doi:10.1002/2015WR017169, by definition: the integral of W(r) from 0
    to 600 m, here in closed form. Their table, from simulations, is up to 3.5 % larger.
    """
    middle = _middle_range(theta, abs_humidity_g_m3)
    far = _far_range(theta, abs_humidity_g_m3)

    def within(r: Array) -> Array:
        near = np.minimum(r, NEAR_M)
        centre = np.clip(r, NEAR_M, FAR_M)
        return np.asarray(
            _integral(middle, 0.0, near, 0.0)
            - _integral(middle, 0.0, near, 3.7)
            + _integral(middle, NEAR_M, centre, 0.0)
            + _integral(far, FAR_M, np.maximum(r, FAR_M), 0.0)
        )

    low = np.zeros_like(middle[0])
    high = np.full_like(low, RANGE_M)
    wanted = fraction * within(high)
    for _ in range(40):  # bisections: 1e-9 m
        r = 0.5 * (low + high)
        beyond = within(r) < wanted
        low, high = np.where(beyond, r, low), np.where(beyond, high, r)
    return np.asarray(0.5 * (low + high))


def _integral(
    range_of_w: tuple[Array, Array, Array, Array], start: float, end: Array, damping_per_m: float
) -> Array:
    """Integrate exp(-damping r) times one range of W(r), from start to end (...) [m]."""
    c_0, c_1, c_2, c_3 = range_of_w
    k_1, k_3 = c_1 + damping_per_m, c_3 + damping_per_m
    return np.asarray(
        c_0 / k_1 * (np.exp(-k_1 * start) - np.exp(-k_1 * end))
        + c_2 / k_3 * (np.exp(-k_3 * start) - np.exp(-k_3 * end))
    )


def _middle_range(
    theta: ArrayLike, abs_humidity_g_m3: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """Compute A0 to A3 of W(r) up to 50 m: Schroen et al. (2017), table A1."""
    x = np.asarray(abs_humidity_g_m3, dtype=np.float64)
    y = np.asarray(theta, dtype=np.float64)
    a_0 = 8735.0 * (1.0 + 0.00978 * x) * np.exp(-22.689 * y)
    a_0 = a_0 + 11720.0 * (1.0 + 0.003632 * x) - 9306.0 * y
    a_1 = (6.851e-5 * x - 0.027925) * np.exp(-6.6577 * y / (1.0 + 12.2755 * y)) + 0.028544
    a_1 = a_1 * (1.0 + 0.002455 * x)
    a_2 = 247970.0 * (1.0 + 0.00191 * x) * np.exp(-23.289 * y) + 374655.0 - 258552.0 * y
    a_3 = 0.054818 * np.exp(-21.032 * y) + 0.6373 - 0.0791 * y + 5.425e-4 * x
    return a_0, a_1, a_2, a_3


def _far_range(theta: ArrayLike, abs_humidity_g_m3: ArrayLike) -> tuple[Array, Array, Array, Array]:
    """Compute B0 to B3 of W(r) beyond 50 m: Schroen et al. (2017), table A1."""
    x = np.asarray(abs_humidity_g_m3, dtype=np.float64)
    y = np.asarray(theta, dtype=np.float64)
    b_0 = (39006.0 - 15002337.0 / (2009.24 * y + x - 0.13)) * (0.01181 - y) * np.exp(-3.146 * y)
    b_0 = b_0 - 16.7417 * x * y + 3727.0
    b_1 = 6.031e-5 * (x + 98.5) + 0.0013826 * y
    b_2 = 11747.0 * (1.0 - 0.00475 * x) * np.exp(-55.033 * y * (1.0 - 0.00604 * x))
    b_2 = (b_2 + 4521.0 - 3347.4 * y) * (2.0 + 0.01998 * x)
    b_3 = (8.81e-5 * x - 0.01543) * np.exp(-13.29 * y / (1.0 + 0.0405 * x + 26.74 * y))
    b_3 = (b_3 + 0.01807) * (2.0 + 0.0011 * x)
    return b_0, b_1, b_2, b_3
