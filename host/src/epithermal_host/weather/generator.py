"""Generate daily weather: rain, temperature, ET0, air, incoming neutrons, snow and melt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from epithermal_edge.physics.atmosphere import hargreaves_et0
from epithermal_host.arrays import Array, Integers, Mask

Monthly = tuple[float, ...]
"""Twelve values, January first, for the middle of each month; linear between them."""
Seasonal = float | Monthly
"""One value for the whole year, or twelve."""

DAYS_PER_YEAR = 365.25
MIDDLE_OF_MONTH = (np.arange(12) + 0.5) * DAYS_PER_YEAR / 12.0  # [d]
FORBUSH_RECOVERY_D = 6.0  # e-folding time after a Forbush decrease, a typical value
FORBUSH_BLOCK_D = 8192  # more than 745 recovery times, after which exp() is 0
RANGE_MAX_C = 24.0  # limit of the daily range, as the lognormal's tail exceeds that of any desert
WET_MOST = 0.95  # upper limit of the probability of a wet day
DRIZZLE_MM = 0.05  # smaller amounts count as no rain: half of a gauge's tip


@dataclass(frozen=True, slots=True)
class Climate:
    """Parameters of the generator for one place, from `fit` or `sample_climate`.

    "Wet" is a day with rain. Noise is first-order autoregressive: `_sigma` is its standard
    deviation, `_memory` its autocorrelation from day to day.

    References
    ----------
    Richardson (1981), eq. 1 to 3 (occurrence) and 7 to 9 (temperature, here with one residual for
    the mean and one for the range); Richardson and Wright (1984), WGEN (gamma amounts).
    """

    latitude_deg: float
    altitude_m: float
    wet_after_dry: Monthly  # probability of a wet day after a dry one
    wet_after_wet: Monthly
    rain_wet_day_mm: Monthly  # mean amount of a wet day (with one wet neighbour)
    rain_shape: Seasonal  # shape of the gamma distribution of amounts
    t_mean_c: Monthly  # mean of the daily minimum and maximum
    t_range_c: Monthly  # maximum minus minimum of a dry day
    t_range_wet: Seasonal  # range of a wet day relative to that of a dry day
    t_wet_shift_c: Seasonal  # mean of wet minus dry days; a single value is reversed in winter
    t_sigma_c: Seasonal
    t_memory: float
    t_range_sigma: Seasonal  # of its logarithm
    t_range_memory: float
    et0_sigma: Seasonal  # of the logarithm of ET0 over Hargreaves' estimate
    et0_memory: float
    pressure_hpa: Seasonal  # mean
    pressure_wet_drop_hpa: Seasonal
    pressure_sigma_hpa: Seasonal
    pressure_memory: float
    humidity_pct: Monthly  # mean relative humidity of a dry day
    humidity_wet_rise_pct: Seasonal
    humidity_sigma_pct: Seasonal
    humidity_memory: float
    incoming_mean: float  # count of the neutron monitor [s-1]
    incoming_sigma: float  # relative, slow
    incoming_memory: float
    forbush_per_year: float
    forbush_depth: float  # mean relative depth of a Forbush decrease
    snow_below_c: float  # precipitation falls as snow on days whose mean is below
    melt_mm_per_c_d: float  # degree-day factor
    rain_neighbour_rise: float = 0.0  # relative rise of an amount with each further wet neighbour
    et0_factor: Seasonal = 1.0  # ratio of mean ET0 of a dry day to Hargreaves' estimate
    et0_wet: Seasonal = 1.0  # ratio of that factor on wet days to that on dry days
    et0_humidity_correlation: float = 0.0  # of the two noises; below 0: dry air, more ET0
    wet_reach: float = 0.0  # of a wet day's effect on temperature and pressure: see `wetness`
    spell_sigma: float = 0.0  # of the log probability of a wet day: causes wet and dry months
    spell_memory: float = 0.97  # its autocorrelation from day to day


@dataclass(frozen=True, slots=True)
class Weather:
    """Daily weather; each array is (days,)."""

    day: Integers  # begins at day * 86400 s, Unix time
    precipitation_mm: Array  # rain and snow, as a heated gauge measures it
    water_mm: Array  # liquid water that reaches the ground: rain and melt
    snow_mm: Array  # water stored in snow at the day's end
    t_min_c: Array
    t_max_c: Array
    et0_mm: Array
    pressure_hpa: Array
    relative_humidity_pct: Array  # at the day's mean temperature
    incoming: Array  # neutron monitor [s-1]


def generate(climate: Climate, rng: np.random.Generator, start_day: int, days: int) -> Weather:
    """Generate the weather of consecutive days.

    Parameters
    ----------
    climate :
        Parameters of the place.
    rng :
        Source of all random numbers.
    start_day :
        First day [days since 1970-01-01].
    days :
        Number of days.
    """
    day = np.arange(start_day, start_day + days, dtype=np.int64)
    season = day_of_year(day)
    wet = _occurrence(climate, rng, season)
    shape = at(climate.rain_shape, season)
    amount = rng.gamma(shape, 1.0 / shape, days) * spell_factor(climate.rain_neighbour_rise, wet)
    rain = np.where(wet, amount * at(climate.rain_wet_day_mm, season), 0.0)
    rain = np.where(rain < DRIZZLE_MM, 0.0, rain)
    memory = np.array(
        [
            climate.t_memory,
            climate.t_range_memory,
            climate.et0_memory,
            climate.pressure_memory,
            climate.humidity_memory,
            climate.incoming_memory,
        ]
    )
    noise = autoregressive(rng.standard_normal((days, memory.size)), memory)
    t_min, t_max = _temperature(climate, wet, season, noise[:, 0], noise[:, 1])
    t_mean = 0.5 * (t_min + t_max)
    humidity = at(climate.humidity_pct, season) + at(climate.humidity_wet_rise_pct, season) * wet
    snow, water = snow_store(climate, rain, t_mean)
    incoming = climate.incoming_mean * (1.0 + climate.incoming_sigma * noise[:, 5])
    return Weather(
        day=day,
        precipitation_mm=rain,
        water_mm=water,
        snow_mm=snow,
        t_min_c=t_min,
        t_max_c=t_max,
        et0_mm=_et0(climate, wet, season, t_min, t_max, noise[:, [2, 4]]),
        pressure_hpa=at(climate.pressure_hpa, season)
        - at(climate.pressure_wet_drop_hpa, season) * (wetness(climate.wet_reach, wet) - wet.mean())
        + at(climate.pressure_sigma_hpa, season) * noise[:, 3],
        relative_humidity_pct=np.clip(
            humidity + at(climate.humidity_sigma_pct, season) * noise[:, 4], 5.0, 100.0
        ),
        incoming=incoming * (1.0 - _forbush(climate, rng, days)),
    )


def day_of_year(day: Integers) -> Array:
    """Compute the day of the year, 1 to 366, from days since 1970-01-01."""
    date = day.astype("datetime64[D]")
    since = (date - date.astype("datetime64[Y]")).astype(np.int64)
    return np.asarray(since + 1, dtype=np.float64)


def at(monthly: Seasonal, season: ArrayLike) -> Array:
    """Interpolate monthly values to days of the year (1 to 366); a single value is constant."""
    if isinstance(monthly, float | int):
        return np.asarray(monthly, dtype=np.float64)
    day = np.asarray(season, dtype=np.float64) - 0.5
    return np.asarray(np.interp(day, MIDDLE_OF_MONTH, np.asarray(monthly), period=DAYS_PER_YEAR))


def autoregressive(innovation: Array, memory: Array) -> Array:
    """Compute first-order autoregressive series of unit variance, (days, k), memories (k,)."""
    from epithermal_host.weather import recurrences  # numba: half a second, for a simulation alone

    return recurrences.autoregressive(np.ascontiguousarray(innovation), memory)


def wet_share(wet_after_dry: Array, wet_after_wet: Array) -> Array:
    """Compute the equilibrium fraction of wet days of a first-order chain."""
    return wet_after_dry / (1.0 + wet_after_dry - wet_after_wet)


def spell_factor(rise: float, wet: Mask) -> Array:
    """Compute the factor of each day's rain amount by its wet neighbours.

    Rain is heavier inside a wet spell.

    Parameters
    ----------
    rise : [-]
        Relative rise with each wet neighbour; the factor is 1 for a day with one.
    wet : (days,)

    Returns
    -------
    (days,) [-]

    References
    ----------
    Katz (1977), amounts that depend on the state of the neighbouring days (chain-dependent).
    """
    neighbours = np.zeros(wet.size)
    neighbours[1:] += wet[:-1]
    neighbours[:-1] += wet[1:]
    return np.asarray(1.0 + rise * (neighbours - 1.0))


def wetness(reach: float, wet: Mask) -> Array:
    """Spread wet days over two days before and after, as a depression passes; preserve the mean.

    Parameters
    ----------
    reach : [-]
        Weight of a neighbour relative to the day itself, 0 (the day alone) to 1.
    wet : (days,)

    Returns
    -------
    (days,) [-]
        Between 0 and 1.
    """
    weight = reach ** np.abs(np.arange(-2, 3)) if reach > 0.0 else np.array([0.0, 0, 1, 0, 0])
    padded = np.pad(wet.astype(np.float64), 2, mode="edge")
    return np.asarray(np.convolve(padded, weight / weight.sum(), mode="valid"))


def _occurrence(climate: Climate, rng: np.random.Generator, season: Array) -> Mask:
    """Draw wet days by a first-order Markov chain whose seasonal probabilities vary slowly.

    References
    ----------
    Wilks and Wilby (1999) review the reason: a chain alone has too little variance between months.

    Notes
    -----
    The factor's mean is 1, but a probability is limited to `WET_MOST` and the fraction of wet days
    is not a linear function of it: up to `spell_sigma` 0.8 the mean rain of a typical place changes
    by less than 5 %; at 1.2 it is 7 %, at 1.7 some 28 % less.
    """
    from epithermal_host.weather import recurrences

    draw = rng.random(season.size)
    after_dry, after_wet = at(climate.wet_after_dry, season), at(climate.wet_after_wet, season)
    if climate.spell_sigma > 0.0:
        slow = autoregressive(
            rng.standard_normal((season.size, 1)), np.array([climate.spell_memory])
        )[:, 0]
        factor = np.exp(climate.spell_sigma * slow - 0.5 * climate.spell_sigma**2)
        after_dry = np.minimum(after_dry * factor, WET_MOST)
        after_wet = np.minimum(after_wet * factor, WET_MOST)
    return recurrences.wet_days(draw, after_dry, after_wet)


def _et0(
    climate: Climate,
    wet: Mask,
    season: Array,
    t_min: Array,
    t_max: Array,
    noise: Array,
) -> Array:
    """Compute ET0: Hargreaves' estimate times a seasonal factor and lognormal noise.

    Columns of `noise`: that of ET0, that of humidity.
    """
    et0 = hargreaves_et0(0.5 * (t_min + t_max), t_min, t_max, climate.latitude_deg, season)
    factor = at(climate.et0_factor, season) * np.where(wet, at(climate.et0_wet, season), 1.0)
    sigma, rho = at(climate.et0_sigma, season), climate.et0_humidity_correlation
    deviate = (
        noise[:, 0] if rho == 0.0 else np.sqrt(1.0 - rho * rho) * noise[:, 0] + rho * noise[:, 1]
    )
    return np.asarray(et0 * factor * np.exp(sigma * deviate - 0.5 * sigma**2))


def _temperature(
    climate: Climate, wet: Mask, season: Array, mean_noise: Array, range_noise: Array
) -> tuple[Array, Array]:
    """Compute daily minimum and maximum, conditioned on wet and dry days."""
    seasonal = at(climate.t_mean_c, season)
    low, high = min(climate.t_mean_c), max(climate.t_mean_c)
    summer = 2.0 * (seasonal - low) / max(high - low, 1e-9) - 1.0  # 1 in summer, -1 in winter
    single = isinstance(climate.t_wet_shift_c, float)
    shift = at(climate.t_wet_shift_c, season) * (summer if single else 1.0)
    mean = seasonal + shift * (wetness(climate.wet_reach, wet) - wet.mean())
    mean = mean + at(climate.t_sigma_c, season) * mean_noise
    span = at(climate.t_range_c, season) * np.where(wet, at(climate.t_range_wet, season), 1.0)
    sigma = at(climate.t_range_sigma, season)
    span = span * np.exp(sigma * range_noise - 0.5 * sigma**2)
    span = np.minimum(span, RANGE_MAX_C)
    return mean - 0.5 * span, mean + 0.5 * span


def snow_store(climate: Climate, precipitation: Array, t_mean: Array) -> tuple[Array, Array]:
    """Compute snow storage and liquid water at the ground [mm] by the degree-day method."""
    from epithermal_host.weather import recurrences

    melt_mm = climate.melt_mm_per_c_d * np.maximum(t_mean, 0.0)
    freezes = t_mean < climate.snow_below_c
    snow, melted = recurrences.snow_and_melt(precipitation, freezes, melt_mm)
    return snow, melted + np.where(freezes, 0.0, precipitation)


def _forbush(climate: Climate, rng: np.random.Generator, days: int) -> Array:
    """Draw the relative loss of incoming neutrons in Forbush decreases: sudden, slow recovery."""
    number = rng.poisson(climate.forbush_per_year * days / DAYS_PER_YEAR)
    begin = rng.integers(0, days, number)
    depth = np.minimum(rng.exponential(climate.forbush_depth, number), 0.25)
    total = np.zeros(days)
    for first in range(0, days, FORBUSH_BLOCK_D):  # in blocks, as a century would fill the memory
        day = np.arange(first, min(first + FORBUSH_BLOCK_D, days))
        near = (begin <= day[-1]) & (begin > first - FORBUSH_BLOCK_D)  # earlier ones are over
        since = day[:, None] - begin[None, near]
        falls = depth[near] * np.exp(-np.maximum(since, 0) / FORBUSH_RECOVERY_D)
        total[day] = np.where(since >= 0, falls, 0.0).sum(axis=1)
    return np.asarray(np.minimum(total, 0.3))
