"""Compute daily reference evapotranspiration from the measurements of a station."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from epithermal_edge.physics.atmosphere import hargreaves_et0
from epithermal_host.arrays import Array


def wind_at_2m(wind_m_s: ArrayLike, height_m: float) -> Array:
    """Convert wind speed over grass to a height of 2 m.

    Parameters
    ----------
    wind_m_s : (...) [m s-1]
    height_m : [m]
        Height of the anemometer, above 0.1.

    Returns
    -------
    (...) [m s-1]

    References
    ----------
    Allen et al. (1998), FAO-56, eq. 47.
    """
    u_z = np.asarray(wind_m_s, dtype=np.float64)
    return np.asarray(u_z * 4.87 / np.log(67.8 * height_m - 5.42))


def fao56_et0(
    date: NDArray[np.datetime64],
    t_mean_c: Array,
    t_min_c: Array,
    t_max_c: Array,
    radiation_mj_m2: Array,
    wind_2m_m_s: Array,
    relative_humidity_pct: Array,
    latitude_deg: float,
    altitude_m: float,
    humidity_extremes_pct: tuple[Array, Array] | None = None,
) -> Array:
    """Compute reference evapotranspiration of grass from radiation, wind, humidity, temperature.

    Parameters
    ----------
    date : (days,) [D]
    t_mean_c, t_min_c, t_max_c : (days,) [degC]
    radiation_mj_m2 : (days,) [MJ m-2]
        Daily sum of global radiation.
    wind_2m_m_s : (days,) [m s-1]
    relative_humidity_pct : (days,) [%]
        Daily mean.
    latitude_deg, altitude_m :
        Location of the station.
    humidity_extremes_pct : (days,), (days,) [%]
        Daily minimum and maximum; where both are known, they are used in place of the mean.

    Returns
    -------
    (days,) [mm d-1]
        Never negative.

    References
    ----------
    Allen et al. (1998), FAO-56, eq. 6, with eq. 17 for extremes of the humidity and eq. 19 for its
    mean, as pyet computes it: Vremec, Collenteur & Birk (2024).
    """
    import pandas as pd  # slow to import and used here only
    import pyet

    index = pd.DatetimeIndex(date.astype("datetime64[ns]"))

    def series(values: Array) -> pd.Series[float]:
        return pd.Series(values, index=index)

    def penman(**humidity: Array) -> Array:
        et0 = pyet.pm_fao56(
            series(t_mean_c),
            series(wind_2m_m_s),
            rs=series(radiation_mj_m2),
            tmax=series(t_max_c),
            tmin=series(t_min_c),
            elevation=altitude_m,
            lat=float(np.radians(latitude_deg)),
            **{name: series(values) for name, values in humidity.items()},
        )
        return np.asarray(et0.to_numpy(), dtype=np.float64)

    by_mean = penman(rh=relative_humidity_pct)
    if humidity_extremes_pct is None or np.isnan(np.add(*humidity_extremes_pct)).all():
        return by_mean
    low, high = humidity_extremes_pct
    return np.where(np.isnan(low + high), by_mean, penman(rhmin=low, rhmax=high))


def hargreaves(
    date: NDArray[np.datetime64],
    t_mean_c: Array,
    t_min_c: Array,
    t_max_c: Array,
    latitude_deg: float,
) -> Array:
    """Estimate reference evapotranspiration from temperature alone.

    Parameters
    ----------
    date : (days,) [D]
    t_mean_c, t_min_c, t_max_c : (days,) [degC]
    latitude_deg : [degree]

    Returns
    -------
    (days,) [mm d-1]

    References
    ----------
    Allen et al. (1998), FAO-56, eq. 52.
    """
    days = date.astype("datetime64[D]") - date.astype("datetime64[Y]").astype("datetime64[D]")
    return hargreaves_et0(t_mean_c, t_min_c, t_max_c, latitude_deg, days.astype(np.float64) + 1.0)
