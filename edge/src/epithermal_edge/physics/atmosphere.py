"""Compute humidity, mean pressure and mass of the air, and reference evapotranspiration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

R_VAPOUR = 461.5  # specific gas constant of water vapour [J kg-1 K-1]


class Magnus(NamedTuple):
    """One published set of constants of the Magnus form, saturation over water."""

    e_0: float  # saturation vapour pressure at 0 degC [hPa]
    a: float  # [-]
    b: float  # [degC]


WMO_2018 = Magnus(6.112, 17.62, 243.12)  # WMO-No. 8 (2018), vol. I, annex 4.B
BOLTON_1980 = Magnus(6.112, 17.67, 243.5)  # Bolton (1980), eq. 10
CAMPBELL_NORMAN_1998 = Magnus(6.11, 17.502, 240.97)  # Campbell & Norman (1998), eq. 3.8


def saturation_vapour_pressure(
    temperature_c: ArrayLike, magnus: Magnus = WMO_2018
) -> NDArray[np.float64]:
    """Compute the vapour pressure of air that is saturated over water.

    Parameters
    ----------
    temperature_c : (...) [degC]
        Air temperature, -45 to 60.
    magnus :
        Constants; the other sets serve comparison with programs that use them.

    Returns
    -------
    (...) [hPa]

    References
    ----------
    WMO-No. 8 (2018), vol. I, annex 4.B.
    """
    t = np.asarray(temperature_c, dtype=np.float64)
    return np.asarray(magnus.e_0 * np.exp(magnus.a * t / (magnus.b + t)))


def absolute_humidity(
    temperature_c: ArrayLike, relative_humidity_pct: ArrayLike, magnus: Magnus = WMO_2018
) -> NDArray[np.float64]:
    """Compute absolute humidity from air temperature and relative humidity.

    Parameters
    ----------
    temperature_c : (...) [degC]
        Air temperature, -45 to 60.
    relative_humidity_pct : (...) [%]
        Relative humidity; broadcasts against the temperature.
    magnus :
        Constants of the saturation vapour pressure.

    Returns
    -------
    (...) [g m-3]
        Mass of water vapour in a volume of air; NaN where either input is NaN, so that a dead
        sensor stays visible.

    References
    ----------
    Saturation over water: WMO-No. 8 (2018), vol. I, annex 4.B. The rest: ideal gas.
    """
    t = np.asarray(temperature_c, dtype=np.float64)
    rh = np.asarray(relative_humidity_pct, dtype=np.float64)
    e_sat = saturation_vapour_pressure(t, magnus)  # [hPa]
    return np.asarray(
        1e5 * (e_sat * rh / 100.0) / (R_VAPOUR * (t + 273.15))  # 1e5: hPa->Pa, kg->g
    )


def extraterrestrial_radiation(
    latitude_deg: ArrayLike, day_of_year: ArrayLike
) -> NDArray[np.float64]:
    """Compute the daily solar radiation above the atmosphere, as equivalent evaporation.

    Parameters
    ----------
    latitude_deg : (...) [degree]
        North is positive.
    day_of_year : (...) [d]
        1 to 366.

    Returns
    -------
    (...) [mm d-1]
        0 in the polar night.

    References
    ----------
    Allen, Pereira, Raes & Smith (1998), FAO Irrigation and Drainage Paper 56, eq. 20 to 25.
    """
    phi = np.radians(np.asarray(latitude_deg, dtype=np.float64))
    year = 2.0 * np.pi / 365.0 * np.asarray(day_of_year, dtype=np.float64)
    d_r = 1.0 + 0.033 * np.cos(year)  # eq. 23, inverse relative distance to the sun
    delta = 0.409 * np.sin(year - 1.39)  # eq. 24, solar declination [rad]
    # eq. 25; clipped for polar day and polar night
    omega = np.arccos(np.clip(-np.tan(phi) * np.tan(delta), -1.0, 1.0))
    daily = omega * np.sin(phi) * np.sin(delta) + np.cos(phi) * np.cos(delta) * np.sin(omega)
    r_a = 24.0 * 60.0 / np.pi * 0.0820 * d_r * daily  # eq. 21 [MJ m-2 d-1]
    return np.asarray(0.408 * np.maximum(r_a, 0.0))  # eq. 20


def hargreaves_et0(
    t_mean_c: ArrayLike,
    t_min_c: ArrayLike,
    t_max_c: ArrayLike,
    latitude_deg: ArrayLike,
    day_of_year: ArrayLike,
) -> NDArray[np.float64]:
    """Estimate daily reference evapotranspiration from air temperature alone.

    Parameters
    ----------
    t_mean_c, t_min_c, t_max_c : (...) [degC]
        Mean and extremes of the day's air temperature.
    latitude_deg : (...) [degree]
        North is positive.
    day_of_year : (...) [d]
        1 to 366.

    Returns
    -------
    (...) [mm d-1]
        Never negative; NaN where an input is NaN.

    References
    ----------
    Hargreaves & Samani (1985); Allen et al. (1998), FAO-56, eq. 52.
    """
    t = np.asarray(t_mean_c, dtype=np.float64)
    t_min = np.asarray(t_min_c, dtype=np.float64)
    t_max = np.asarray(t_max_c, dtype=np.float64)
    r_a = extraterrestrial_radiation(latitude_deg, day_of_year)
    daily_range = np.maximum(t_max - t_min, 0.0)
    return np.asarray(np.maximum(0.0023 * (t + 17.8) * np.sqrt(daily_range) * r_a, 0.0))


def mean_pressure(altitude_m: ArrayLike) -> NDArray[np.float64]:
    """Estimate mean air pressure from altitude, by the standard atmosphere.

    Use the site's long-term mean where one is known.

    Parameters
    ----------
    altitude_m : (...) [m]
        Above sea level, under 11 km.

    Returns
    -------
    (...) [hPa]

    References
    ----------
    International Standard Atmosphere, ISO 2533:1975, with the rounded constants in common use.
    """
    z = np.asarray(altitude_m, dtype=np.float64)
    return np.asarray(1013.25 * (1.0 - 2.25577e-5 * z) ** 5.25588)


def atmospheric_depth(latitude_deg: ArrayLike, altitude_m: ArrayLike) -> NDArray[np.float64]:
    """Compute the mean atmospheric depth of a site: the mass of air that shields it.

    Parameters
    ----------
    latitude_deg : (...) [degree]
    altitude_m : (...) [m]
        Above sea level, under 11 km.

    Returns
    -------
    (...) [g cm-2]

    References
    ----------
    As McJannet & Desilets (2023) use it: gravity by the 1967 formula with free-air and Bouguer
    terms, pressure by the barometric formula with that gravity.
    """
    z = np.asarray(altitude_m, dtype=np.float64)
    phi = np.radians(np.asarray(latitude_deg, dtype=np.float64))
    g_0 = 9.780327 * (1.0 + 0.0053024 * np.sin(phi) ** 2 - 0.0000058 * np.sin(2.0 * phi) ** 2)
    g = g_0 - 3.086e-6 * z + 4.193e-10 * 2670.0 * z  # [m s-2]
    lapse = -0.0065  # [K m-1]
    p = 1013.25 * (1.0 + lapse / 288.15 * z) ** (-g * 0.0289644 / (8.31432 * lapse))  # [hPa]
    return np.asarray(10.0 * p / g)  # 10: hPa / (m s-2) -> g cm-2
