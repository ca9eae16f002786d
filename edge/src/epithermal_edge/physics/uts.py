"""Convert between counts and water content by the universal transport solution (UTS).

The UTS includes the effect of air humidity.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
UtsParameters = Literal[
    "Mar21_mcnp_drf", "Mar21_uranos_drf", "Mar21_mcnp_ewin", "Mar21_uranos_ewin"
]

# p0 to p7 of Koehli et al. (2021), by neutron code and by detector response function (drf) or
# energy window (ewin). p8 is 0 in all four sets and omitted here.
UTS_PARAMETERS: dict[UtsParameters, tuple[float, ...]] = {
    "Mar21_mcnp_drf": (1.094, 0.028, 0.254, 3.537, 0.139, -0.0014, -0.0088, 0.000115),
    "Mar21_uranos_drf": (1.024, 0.0226, 0.207, 1.625, 0.235, -0.0029, -0.0093, 7.4e-5),
    "Mar21_mcnp_ewin": (1.265, 0.0259, 0.135, 1.237, 0.063, -0.00021, -0.0117, 0.00012),
    "Mar21_uranos_ewin": (1.223, 0.0185, 0.142, 2.568, 0.155, -0.00047, -0.0119, 9.2e-5),
}
UTS_BULK_DENSITY_G_CM3 = 1.43  # of the soil in the simulations of the fit
UTS_WATER_MAX = 3.0  # upper limit of the inversion, bound water included
BISECTIONS, NEWTON_STEPS = 8, 5  # of `uts_water`


def uts_rate(
    theta: ArrayLike,
    abs_humidity_g_m3: ArrayLike,
    n_d_cph: ArrayLike,
    additional_water_g_g: ArrayLike = 0.0,
    bulk_density_g_cm3: ArrayLike = UTS_BULK_DENSITY_G_CM3,
    parameters: UtsParameters = "Mar21_mcnp_drf",
) -> Array:
    """Compute the count rate over a soil under humid air.

    Parameters
    ----------
    theta : (...) [m3 m-3]
    abs_humidity_g_m3 : (...) [g m-3]
    n_d_cph : (...) [counts h-1]
        The detector's scale N_D, from a calibration.
    additional_water_g_g : (...) [g g-1]
        Hydrogen that is not soil water.
    bulk_density_g_cm3 : (...) [g cm-3]
    parameters :
        Name of the published set.

    Returns
    -------
    (...) [counts h-1]
        Corrected for pressure, intensity and plants, NOT for humidity (f_h = 1).

    References
    ----------
    Koehli et al. (2021), doi:10.3389/frwa.2020.544847, eq. 15; bulk density: its appendix.
    """
    bd = np.asarray(bulk_density_g_cm3, dtype=np.float64)
    water_g_g = np.asarray(theta, dtype=np.float64) / bd
    water_g_g = water_g_g + np.asarray(additional_water_g_g, dtype=np.float64)
    intensity = _intensity(UTS_BULK_DENSITY_G_CM3 * water_g_g, abs_humidity_g_m3, parameters)
    return np.asarray(np.asarray(n_d_cph, dtype=np.float64) * intensity)


def uts_theta(
    n_cph: ArrayLike,
    abs_humidity_g_m3: ArrayLike,
    n_d_cph: ArrayLike,
    additional_water_g_g: ArrayLike = 0.0,
    bulk_density_g_cm3: ArrayLike = UTS_BULK_DENSITY_G_CM3,
    parameters: UtsParameters = "Mar21_mcnp_drf",
) -> Array:
    """Compute the water content from a count rate under humid air, the inverse of `uts_rate`.

    Parameters
    ----------
    n_cph : (...) [counts h-1]
        Corrected for pressure, intensity and plants, NOT for humidity (f_h = 1).
    abs_humidity_g_m3, n_d_cph, additional_water_g_g, bulk_density_g_cm3, parameters :
        As in `uts_rate`.

    Returns
    -------
    (...) [m3 m-3]
        NaN for NaN, and for a rate outside of the range of 0 to 3 m3 m-3 of all water. Negative
        where the rate corresponds to less water than the additional water.

    References
    ----------
    As `uts_rate`; solved by bisection.
    """
    i = np.asarray(n_cph, dtype=np.float64) / np.asarray(n_d_cph, dtype=np.float64)
    rho_v = np.asarray(abs_humidity_g_m3, dtype=np.float64)
    low = np.zeros_like(i + rho_v)
    high = np.full_like(low, UTS_WATER_MAX)
    possible = (i <= _intensity(low, rho_v, parameters)) & (
        i >= _intensity(high, rho_v, parameters)
    )
    for _ in range(52):
        water = 0.5 * (low + high)
        too_dry = i < _intensity(water, rho_v, parameters)
        low, high = np.where(too_dry, water, low), np.where(too_dry, high, water)
    water_g_g = np.where(possible, 0.5 * (low + high), np.nan) / UTS_BULK_DENSITY_G_CM3
    theta_g = water_g_g - np.asarray(additional_water_g_g, dtype=np.float64)
    return np.asarray(theta_g * np.asarray(bulk_density_g_cm3, dtype=np.float64))


def uts_intensity(
    water: ArrayLike, abs_humidity_g_m3: ArrayLike, parameters: UtsParameters
) -> tuple[Array, Array]:
    """Compute N / N_D over a soil and its derivative by water.

    Parameters
    ----------
    water : (...) [m3 m-3 at 1.43 g cm-3]
        All hydrogen, as water.
    abs_humidity_g_m3 : (...) [g m-3]
    parameters :
        Name of the published set.

    Returns
    -------
    (...) [1], (...) [per m3 m-3]

    References
    ----------
    As `uts_rate`.
    """
    p_0, p_1, p_2, p_3, p_4, p_5, p_6, p_7 = UTS_PARAMETERS[parameters]
    w = np.asarray(water, dtype=np.float64)
    h = np.asarray(abs_humidity_g_m3, dtype=np.float64)
    moist, dry = p_0 + p_6 * h + p_7 * h**2, np.exp(-p_3 * w) * (p_4 + p_5 * h)
    slope = (p_2 - 1.0) * p_1 / (w + p_1) ** 2 * moist - p_3 * dry
    return np.asarray(_intensity(w, h, parameters)), np.asarray(slope)


def uts_water(
    intensity: ArrayLike,
    least: ArrayLike,
    most: ArrayLike,
    abs_humidity_g_m3: ArrayLike,
    parameters: UtsParameters,
) -> Array:
    """Compute all water of a soil from N / N_D between two bounds.

    Parameters
    ----------
    intensity : (...) [1]
    least, most : (...) [m3 m-3 at 1.43 g cm-3]
        Bounds of the answer.
    abs_humidity_g_m3, parameters :
        As in `uts_intensity`.

    Returns
    -------
    (...) [m3 m-3 at 1.43 g cm-3]
        NaN for NaN. Its error is below 1e-12 within the bounds, and it stays within them.

    References
    ----------
    As `uts_rate`; bisection, then Newton's method from the dry side, where a convex curve is
    approached without overshooting.
    """
    i = np.asarray(intensity, dtype=np.float64)
    h = np.asarray(abs_humidity_g_m3, dtype=np.float64)
    low, high = np.broadcast_arrays(least, most, i + h)[:2]
    low, high = low.astype(np.float64), high.astype(np.float64)
    driest, wettest = low, high
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        too_dry = i < _intensity(middle, h, parameters)
        low, high = np.where(too_dry, middle, low), np.where(too_dry, high, middle)
    for _ in range(NEWTON_STEPS):
        got, slope = uts_intensity(low, h, parameters)
        low = np.clip(low + (i - got) / slope, driest, wettest)
    return np.asarray(low)


def _intensity(water: Array, abs_humidity_g_m3: ArrayLike, parameters: UtsParameters) -> Array:
    """Compute N / N_D over `water` (...) [m3 m-3 at the fit's bulk density, all hydrogen]."""
    p_0, p_1, p_2, p_3, p_4, p_5, p_6, p_7 = UTS_PARAMETERS[parameters]
    h = np.asarray(abs_humidity_g_m3, dtype=np.float64)
    moderated = (p_1 + p_2 * water) / (water + p_1) * (p_0 + p_6 * h + p_7 * h**2)
    return np.asarray(moderated + np.exp(-p_3 * water) * (p_4 + p_5 * h))
