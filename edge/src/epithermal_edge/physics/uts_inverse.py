"""Convert between intensity and water content by the closed inverse of the UTS.

The newest parameter sets of the universal transport solution: water follows from the normalized
intensity in closed form, and the effect of air humidity is a polynomial of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class InverseUts:
    """One parameter set: 100 theta = a I^-beta + b exp(-decay I); C_h = 1 + h_1 h + h_2 h^2."""

    title: str
    a: float
    beta: float
    b: float
    decay: float
    h_1: float  # [m3 g-1]
    h_2: float  # [m6 g-2]


INVERSE_UTS = {
    "norm_endf8": InverseUts(
        "normalized detector response, ENDF8",
        *(0.021071741439624536, 6.0047849445836441, 110.63023914106635, 4.83947554728445),
        *(0.0053030649523189873, -1.8984192221107595e-05),
    ),
    "gd_endf8": InverseUts(
        "gadolinium response, ENDF8",
        *(0.018904072250240718, 5.5205658355391938, 77.927128230115599, 4.5496079123036992),
        *(0.0060040339550045257, -1.8264201421073139e-05),
    ),
    "ewin_endf8": InverseUts(
        "extended energy window, ENDF8",
        *(0.016178595959104224, 4.9571139563509368, 53.823005092396748, 4.3275639841711619),
        *(0.0059097297075223765, -1.4526578450228231e-05),
    ),
    "norm_endf7": InverseUts(
        "normalized detector response, ENDF7",
        *(0.0248, 6.31, 86.8, 4.516),
        *(6.93e-3, -2.4e-5),
    ),
}
"""Parameter sets of neptoon 1.12.7 (normresponse_endf8, gdresponse_endf8, endf8_extended_ewindow,
drf_endf7)."""

LEAST_INTENSITY = 0.1  # below, the soil would be wetter than water
MOST_INTENSITY = 20.0
LEAST_WATER = 1e-3  # [m3 m-3] drier soil counts as this: the form has no end there
BISECTIONS, NEWTON_STEPS = 10, 4


def inverse_uts_water(intensity: ArrayLike, of: InverseUts) -> tuple[Array, Array]:
    """Compute all water at a normalized intensity, and its derivative.

    Parameters
    ----------
    intensity : (...) [1]
        Rate over I_D, times C_h.
    of :
        The parameter set.

    Returns
    -------
    (...) [m3 m-3 at 1.43 g cm-3], (...) [m3 m-3]

    References
    ----------
    Koehli (2026), doi:10.1016/j.geoderma.2025.117626, as in neptoon 1.12.7.
    """
    i = np.asarray(intensity, dtype=np.float64)
    power = of.a * i ** (-of.beta)
    decayed = of.b * np.exp(-of.decay * i)
    return (power + decayed) / 100.0, (-of.beta * power / i - of.decay * decayed) / 100.0


def inverse_uts_intensity(water: ArrayLike, of: InverseUts) -> Array:
    """Compute the normalized intensity over all water, the inverse of `inverse_uts_water`.

    Parameters
    ----------
    water : (...) [m3 m-3 at 1.43 g cm-3]
        0 gives that of the driest soil in the range of the fit.
    of :
        The parameter set.

    Returns
    -------
    (...) [1]

    References
    ----------
    As `inverse_uts_water`; by bisection and Newton's method on the logarithms, both decreasing.
    """
    wanted = np.log(np.maximum(np.asarray(water, dtype=np.float64), LEAST_WATER))
    low = np.full_like(wanted, np.log(LEAST_INTENSITY))
    high = np.full_like(wanted, np.log(MOST_INTENSITY))
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        too_wet = np.log(inverse_uts_water(np.exp(middle), of)[0]) > wanted
        low, high = np.where(too_wet, middle, low), np.where(too_wet, high, middle)
    log_i = 0.5 * (low + high)
    for _ in range(NEWTON_STEPS):
        i = np.exp(log_i)
        got, slope = inverse_uts_water(i, of)
        log_i = log_i - (np.log(got) - wanted) * got / (slope * i)
    return np.asarray(np.where(np.isnan(wanted), np.nan, np.exp(log_i)))


def inverse_uts_humidity(abs_humidity_g_m3: ArrayLike, of: InverseUts) -> Array:
    """Compute C_h, by which a rate is multiplied to take the effect of humid air out.

    Parameters
    ----------
    abs_humidity_g_m3 : (...) [g m-3]
    of :
        The parameter set.

    Returns
    -------
    (...) [1]

    References
    ----------
    As `inverse_uts_water`.
    """
    h = np.asarray(abs_humidity_g_m3, dtype=np.float64)
    return np.asarray(1.0 + of.h_1 * h + of.h_2 * h**2)
