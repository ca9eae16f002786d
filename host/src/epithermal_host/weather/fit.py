"""Fit a climate to the daily series of a station."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.physics.atmosphere import (
    hargreaves_et0,
    mean_pressure,
    saturation_vapour_pressure,
)
from epithermal_host.arrays import Array
from epithermal_host.weather.compare import (
    Series,
    generated_series,
    lag_1,
    observed_series,
    without_season,
)
from epithermal_host.weather.fit_rain import Months, fit_rain
from epithermal_host.weather.generator import DRIZZLE_MM, Climate, Monthly, wetness
from epithermal_host.weather.station_series import DailyWeather, complete_days

YEARS_NEEDED = 3
ET0_LEAST_MM = 0.05  # services round to 0.1 mm, and the logarithm of 0 does not exist
SIGMA_ET0_MOST = 0.8
TUNE_ROUNDS, TUNE_YEARS, TUNE_SEED = 4, 40, 2026
UNMEASURED: dict[str, float] = {  # not in a weather file: centre of the campaigns' prior
    "incoming_mean": 150.0,
    "incoming_sigma": 0.02,
    "incoming_memory": 0.985,
    "forbush_per_year": 1.5,
    "forbush_depth": 0.04,
    "snow_below_c": 0.5,
    "melt_mm_per_c_d": 3.0,
}


def fit(weather: DailyWeather) -> Climate:
    """Fit the climate whose generated weather has the statistics of a station.

    Parameters
    ----------
    weather :
        At least three years with rain and the extremes of temperature. Only days on which no given
        quantity is missing are used; the days beside a gap count as neighbours. Quantities that
        are not given are replaced: ET0 by Hargreaves' estimate; humidity by the minimum temperature
        as dew point (FAO-56, eq. 48); pressure by the standard atmosphere with a typical scatter.

    Raises
    ------
    ConfigError
        The series is too short, or has no temperature or no rain.

    Notes
    -----
    Moments by month determine twelve values of each parameter, whose interpolation preserves the
    monthly means. Memories and annual ET0, which depend on several parameters, are then tuned on
    generated weather.
    """
    weather = complete_days(weather)
    _check(weather)
    months = Months(weather.day, weather.rain_mm >= DRIZZLE_MM)
    months.reach = _reach(months, weather)
    t_mean = 0.5 * (weather.t_min_c + weather.t_max_c)
    air, humidity_noise = _humidity(months, weather)
    evaporation, et0_noise = _evaporation(months, weather)
    rho = float(np.corrcoef(et0_noise, humidity_noise)[0, 1]) if et0_noise.any() else 0.0
    values: dict[str, Any] = {
        "latitude_deg": weather.latitude_deg,
        "altitude_m": weather.altitude_m,
        **fit_rain(months, weather.rain_mm),
        **_centred(months, t_mean, "t_mean_c", "t_wet_shift_c", "t_sigma_c"),
        "t_memory": 0.7,
        **_range(months, weather.t_max_c - weather.t_min_c),
        "t_range_memory": 0.3,
        **evaporation,
        "et0_memory": 0.2,
        **_pressure(months, weather),
        "pressure_memory": 0.75,
        **air,
        "humidity_memory": 0.5,
        "et0_humidity_correlation": rho,
        "wet_reach": months.reach,
        **UNMEASURED,
    }
    return _tune(Climate(**values), observed_series(weather))


def _check(weather: DailyWeather) -> None:
    faults = []
    years = weather.date.size / 365.25
    if years < YEARS_NEEDED:
        faults.append(f"{years:.1f} years are too few; {YEARS_NEEDED} are required, 20 recommended")
    if np.isnan(weather.t_min_c).any() or np.isnan(weather.t_max_c).any():
        faults.append("no t_min_c and t_max_c, from which the generator computes ET0 and snow")
    if not (weather.rain_mm >= DRIZZLE_MM).any():
        faults.append("no day with rain")
    if faults:
        raise ConfigError(*(f"{weather.source}: a climate cannot be fitted: {f}" for f in faults))


def _reach(months: Months, weather: DailyWeather) -> float:
    """Estimate the reach of a wet day's effect over its neighbours from pressure or temperature."""
    x = weather.pressure_hpa
    if np.isnan(x).any():
        x = 0.5 * (weather.t_min_c + weather.t_max_c)
    x = x - months.mean(x)[months.month]

    def left(reach: float) -> float:
        wet = wetness(reach, months.wet)
        wet = wet - months.mean(wet)[months.month]
        return float(np.mean((x - months.effect(x, wet)[months.month] * wet) ** 2))

    return min((k / 10.0 for k in range(10)), key=left)


def _centred(months: Months, x: Array, mean: str, effect: str, sigma: str) -> dict[str, Monthly]:
    """Fit a mean, the effect of wet days relative to their mean fraction, and the residual sd."""
    wet = wetness(months.reach, months.wet)
    shift = months.nodes(months.effect(x, wet))
    left = x - months.at(shift) * (wet - months.wet.mean())
    middle = months.nodes(months.mean(left))
    left = left - months.at(middle)
    spread = months.nodes(np.sqrt(months.mean(left**2)), low=1e-3)
    return {mean: middle, effect: shift, sigma: spread}


def _range(months: Months, x: Array) -> dict[str, Any]:
    """Fit the daily temperature range on dry and wet days, and its spread."""
    dry, wet = months.mean(x, ~months.wet), months.mean(x, months.wet)
    span = months.nodes(dry, 0.5)
    share = months.nodes(np.clip(wet / dry, 0.2, 1.5))
    noise = x / (months.at(span) * np.where(months.wet, months.at(share), 1.0))
    variation = months.mean((noise - 1.0) ** 2)  # squared coefficient of variation
    return {
        "t_range_c": span,
        "t_range_wet": share,
        "t_range_sigma": months.nodes(np.sqrt(np.log1p(variation)), 0.02, 0.9),
    }


def _evaporation(months: Months, weather: DailyWeather) -> tuple[dict[str, Any], Array]:
    """Fit the ratio of ET0 to Hargreaves' estimate on dry and wet days.

    Returns fields of Climate and the standardized residuals, 0 without measured ET0.
    """
    t_min, t_max = weather.t_min_c, weather.t_max_c
    guess = hargreaves_et0(0.5 * (t_min + t_max), t_min, t_max, weather.latitude_deg, months.season)
    if np.isnan(weather.et0_mm).any() or np.allclose(weather.et0_mm, guess, atol=0.05):
        return {"et0_sigma": 0.0}, np.zeros(guess.size)
    ratio = {
        wet: months.mean(weather.et0_mm, months.wet == wet) / months.mean(guess, months.wet == wet)
        for wet in (False, True)
    }
    factor, share = months.nodes(ratio[False], 0.05), months.nodes(ratio[True] / ratio[False], 0.05)
    guess = guess * months.at(factor) * np.where(months.wet, months.at(share), 1.0)
    noise = np.log(np.maximum(weather.et0_mm, ET0_LEAST_MM) / np.maximum(guess, ET0_LEAST_MM))
    noise = noise - months.mean(noise)[months.month]
    sigma = months.nodes(np.sqrt(months.mean(noise**2)), 0.01, SIGMA_ET0_MOST)
    fields = {"et0_factor": factor, "et0_wet": share, "et0_sigma": sigma}
    return fields, noise / months.at(sigma)


def _pressure(months: Months, weather: DailyWeather) -> dict[str, Any]:
    """Fit pressure and its drop on wet days; use typical values where it is not measured."""
    if np.isnan(weather.pressure_hpa).any():
        return {
            "pressure_hpa": float(mean_pressure(weather.altitude_m)),
            "pressure_wet_drop_hpa": 4.5,
            "pressure_sigma_hpa": 6.5,
        }
    names = ("pressure_hpa", "pressure_wet_drop_hpa", "pressure_sigma_hpa")
    fields = _centred(months, weather.pressure_hpa, *names)
    fields["pressure_wet_drop_hpa"] = tuple(-v for v in fields["pressure_wet_drop_hpa"])
    return dict(fields)


def _humidity(months: Months, weather: DailyWeather) -> tuple[dict[str, Any], Array]:
    """Fit relative humidity of dry days, its rise on wet days and its spread.

    Returns fields of Climate and the standardized residuals.
    """
    x = weather.relative_humidity_pct
    if np.isnan(x).any():  # FAO-56, eq. 48: the minimum temperature is the dew point
        dew = saturation_vapour_pressure(weather.t_min_c)
        middle = 0.5 * (weather.t_min_c + weather.t_max_c)
        x = np.minimum(100.0 * dew / saturation_vapour_pressure(middle), 100.0)
    rise = months.nodes(months.effect(x, months.wet.astype(np.float64)))
    dry = months.nodes(months.mean(x - months.at(rise) * months.wet), 5.0, 100.0)
    left = x - months.at(rise) * months.wet - months.at(dry)
    sigma = months.nodes(np.sqrt(months.mean(left**2)), 0.1)
    fields = {"humidity_pct": dry, "humidity_wet_rise_pct": rise, "humidity_sigma_pct": sigma}
    return fields, left / months.at(sigma)


def _tune(climate: Climate, observed: Series) -> Climate:
    """Adjust memories and annual ET0 until generated weather has those of the station.

    Each round generates TUNE_YEARS with the same seed, adds to each memory the difference of the
    autocorrelations (without the season) and multiplies ET0 by the ratio of the means.
    """
    memories = {
        "t_memory": "t_mean_c",
        "t_range_memory": "t_range_c",
        "et0_memory": "et0_mm",
        "pressure_memory": "pressure_hpa",
        "humidity_memory": "relative_humidity_pct",
    }

    def lag(series: Series, name: str) -> float:
        return lag_1(without_season(getattr(series, name), series.day))

    for _ in range(TUNE_ROUNDS):
        generated = generated_series(climate, TUNE_YEARS, seed=TUNE_SEED)
        changed: dict[str, Any] = {}
        for name, quantity in memories.items():
            step = lag(observed, quantity) - lag(generated, quantity)
            if np.isfinite(step):
                changed[name] = float(np.clip(getattr(climate, name) + step, 0.0, 0.98))
        ratio = float(observed.et0_mm.mean() / generated.et0_mm.mean())
        if np.isfinite(ratio) and isinstance(climate.et0_factor, tuple):
            changed["et0_factor"] = tuple(ratio * v for v in climate.et0_factor)
        climate = dataclasses.replace(climate, **changed)
    return climate
