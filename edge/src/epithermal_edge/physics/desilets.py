"""Convert between counts and water content by the N0 function of Desilets et al. (2010)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

A_0, A_1, A_2 = 0.0808, 0.372, 0.115  # Desilets, Zreda & Ferre (2010), eq. A1


def bound_water(lattice_water_g_g: ArrayLike, organic_water_g_g: ArrayLike) -> Array:
    """Sum the water bound in minerals and in organic matter, (...) [g g-1]."""
    lattice = np.asarray(lattice_water_g_g, dtype=np.float64)
    return np.asarray(lattice + np.asarray(organic_water_g_g, dtype=np.float64))


def desilets_theta(
    n_cph: ArrayLike,
    n0_cph: ArrayLike,
    bulk_density_g_cm3: ArrayLike,
    lattice_water_g_g: ArrayLike = 0.0,
    organic_water_g_g: ArrayLike = 0.0,
) -> Array:
    """Compute water content from a corrected count rate by the N0 function.

    Parameters
    ----------
    n_cph : (...) [counts h-1]
        Corrected rate, the correction for humidity included.
    n0_cph : (...) [counts h-1]
        Rate over dry soil, from a calibration.
    bulk_density_g_cm3 : (...) [g cm-3]
    lattice_water_g_g, organic_water_g_g : (...) [g g-1]
        Hydrogen that is not soil water.

    Returns
    -------
    (...) [m3 m-3]
        NaN at and below 0.372 N0, a rate that no water content gives. Not clipped: an
        impossible water content shows that N0 is wrong.

    References
    ----------
    Desilets, Zreda & Ferre (2010), eq. A1, with the other hydrogen as in Hawdon et al. (2014),
    eq. 7; the same as Koehli et al. (2021), eq. 12.
    """
    excess = np.asarray(n_cph, dtype=np.float64) / np.asarray(n0_cph, dtype=np.float64) - A_1
    bound = bound_water(lattice_water_g_g, organic_water_g_g)
    theta_g = A_0 / np.where(excess > 0.0, excess, np.nan) - A_2 - bound
    return np.asarray(theta_g * np.asarray(bulk_density_g_cm3, dtype=np.float64))


def desilets_rate(
    theta: ArrayLike,
    n0_cph: ArrayLike,
    bulk_density_g_cm3: ArrayLike,
    lattice_water_g_g: ArrayLike = 0.0,
    organic_water_g_g: ArrayLike = 0.0,
) -> Array:
    """Compute the corrected count rate over a soil by the N0 function, inverse of `desilets_theta`.

    Parameters
    ----------
    theta : (...) [m3 m-3]
    n0_cph, bulk_density_g_cm3, lattice_water_g_g, organic_water_g_g :
        As in `desilets_theta`.

    Returns
    -------
    (...) [counts h-1]

    References
    ----------
    As `desilets_theta`.
    """
    theta_g = np.asarray(theta, dtype=np.float64) / np.asarray(bulk_density_g_cm3, dtype=np.float64)
    water = theta_g + bound_water(lattice_water_g_g, organic_water_g_g)
    return np.asarray(np.asarray(n0_cph, dtype=np.float64) * (A_0 / (water + A_2) + A_1))


def desilets_sigma(
    n_cph: ArrayLike, n_sigma_cph: ArrayLike, n0_cph: ArrayLike, bulk_density_g_cm3: ArrayLike
) -> Array:
    """Compute the standard error of `desilets_theta` from counting statistics, to third order.

    Parameters
    ----------
    n_cph, n_sigma_cph : (...) [counts h-1]
        Corrected rate and its standard error.
    n0_cph, bulk_density_g_cm3 :
        As in `desilets_theta`.

    Returns
    -------
    (...) [m3 m-3]
        0.4 to 12 % above the first order between 0.02 and 0.6 m3 m-3. NaN as `desilets_theta`.

    References
    ----------
    Jakobi et al. (2020), eq. 10.
    """
    n_0 = np.asarray(n0_cph, dtype=np.float64)
    sigma = np.asarray(n_sigma_cph, dtype=np.float64)
    d = np.asarray(n_cph, dtype=np.float64) - A_1 * n_0
    d = np.where(d > 0.0, d, np.nan)
    third = np.sqrt(d**4 + 8.0 * sigma**2 * d**2 + 15.0 * sigma**4)
    bd = np.asarray(bulk_density_g_cm3, dtype=np.float64)
    return np.asarray(sigma * A_0 * n_0 / d**4 * third * bd)
