"""Sample a climate from a broad prior, for places without a station."""

from __future__ import annotations

import numpy as np

from epithermal_edge.physics.atmosphere import hargreaves_et0, mean_pressure
from epithermal_host.arrays import Array
from epithermal_host.weather.generator import DAYS_PER_YEAR, MIDDLE_OF_MONTH, Climate, Monthly


def sample_climate(
    rng: np.random.Generator,
    aridity: tuple[float, float] = (0.2, 1.4),
    southern_share: float = 0.3,
    *,
    mountain_share: float = 0.0,
    regime: tuple[float, float] = (0.0, 0.35),
    spell_sigma_max: float = 0.0,
) -> Climate:
    """Sample a climate: oceanic to continental, humid to semi-arid, latitude 25 to 60 degrees.

    Parameters
    ----------
    rng :
        Source of all random numbers.
    aridity : [-]
        Lowest and highest ratio of mean annual precipitation to ET0; uniform between them.
    southern_share : [-]
        Fraction of places in the southern hemisphere, whose seasons are half a year later.
    mountain_share : [-]
        Fraction of places at 1000 to 3000 m, where snow stores winter precipitation.
    regime : [-]
        Mean and standard deviation of the seasonality of rain: above 0 for wet summers, below 0
        for wet winters.
    spell_sigma_max : [-]
        Upper limit of `Climate.spell_sigma` (wet and dry months), which is uniform from 0.

    Notes
    -----
    The numbers are assumptions of this program that give 25 to 60 degrees, 0 to 2000 m, a seasonal
    amplitude of 5 (oceanic) to 18 degC (continental) and a daily range of 6 (humid) to 16 degC
    (dry).
    """
    latitude = rng.uniform(25.0, 60.0)
    altitude = min(rng.exponential(350.0), 2000.0)
    if mountain_share > 0.0 and rng.random() < mountain_share:
        altitude = rng.uniform(1000.0, 3000.0)
    continental = rng.random()
    p_over_et0 = float(rng.uniform(*aridity))
    dryness = 1.0 - np.log(p_over_et0 / 0.2) / np.log(7.0)  # 1 at 0.2, 0 at 1.4
    month = (np.arange(12) + 0.5) / 12.0
    summer = -np.cos(2.0 * np.pi * (month - 17.0 / 365.0))  # coldest in the middle of January
    if south := rng.random() < southern_share:
        summer = -summer
    mean_c = 20.0 - 0.6 * (latitude - 30.0) - 0.006 * altitude + rng.normal(0.0, 2.0)
    amplitude_c = (5.0 + 13.0 * continental) * min(1.0, 0.4 + latitude / 75.0)
    t_mean = mean_c + amplitude_c * summer
    t_range = (6.5 + 6.0 * dryness + 2.5 * continental) * (1.0 + 0.25 * summer)
    t_range = t_range * rng.uniform(0.85, 1.15)
    signed = -latitude if south else latitude
    et0 = hargreaves_et0(t_mean, t_mean - 0.45 * t_range, t_mean + 0.45 * t_range, signed, _days())
    annual_mm = p_over_et0 * float(np.mean(et0)) * DAYS_PER_YEAR
    rain = _sample_rain(rng, annual_mm, summer, regime)
    humidity = 80.0 - 22.0 * dryness - 8.0 * (1.0 + 0.5 * dryness) * summer
    return Climate(
        latitude_deg=signed,
        altitude_m=altitude,
        wet_after_dry=rain[0],
        wet_after_wet=rain[1],
        rain_wet_day_mm=rain[2],
        t_mean_c=_monthly(t_mean),
        t_range_c=_monthly(t_range),
        pressure_hpa=float(mean_pressure(altitude)),
        humidity_pct=_monthly(humidity),
        **_sample_days(rng, continental),
        **_sample_air(rng),
        **_sample_snow_and_spells(rng, spell_sigma_max),
    )


def _sample_days(rng: np.random.Generator, continental: float) -> dict[str, float]:
    """Sample the day-to-day variability of rain, temperature and ET0."""
    return {
        "rain_shape": rng.uniform(0.6, 0.95),
        "t_range_wet": rng.uniform(0.6, 0.85),
        "t_wet_shift_c": rng.uniform(-2.5, -0.5),
        "t_sigma_c": rng.uniform(2.3, 3.2) + 1.5 * continental,
        "t_memory": rng.uniform(0.65, 0.8),
        "t_range_sigma": rng.uniform(0.2, 0.35),
        "t_range_memory": rng.uniform(0.1, 0.35),
        "et0_sigma": rng.uniform(0.1, 0.25),
        "et0_memory": rng.uniform(0.2, 0.6),
    }


def _sample_air(rng: np.random.Generator) -> dict[str, float]:
    """Sample the variability of pressure, humidity and incoming neutrons."""
    return {
        "pressure_wet_drop_hpa": rng.uniform(2.0, 7.0),
        "pressure_sigma_hpa": rng.uniform(4.0, 9.0),
        "pressure_memory": rng.uniform(0.7, 0.85),
        "humidity_wet_rise_pct": rng.uniform(6.0, 14.0),
        "humidity_sigma_pct": rng.uniform(5.0, 9.0),
        "humidity_memory": rng.uniform(0.4, 0.7),
        "incoming_mean": rng.uniform(100.0, 200.0),
        "incoming_sigma": rng.uniform(0.01, 0.03),
        "incoming_memory": rng.uniform(0.97, 0.995),
        "forbush_per_year": rng.uniform(0.5, 3.0),
        "forbush_depth": rng.uniform(0.02, 0.06),
    }


def _sample_snow_and_spells(rng: np.random.Generator, spell_sigma_max: float) -> dict[str, float]:
    spells = spell_sigma_max > 0.0
    return {
        "snow_below_c": rng.uniform(-0.5, 1.5),
        "melt_mm_per_c_d": rng.uniform(2.0, 5.0),
        "spell_sigma": rng.uniform(0.0, spell_sigma_max) if spells else 0.0,
        "spell_memory": rng.uniform(0.96, 0.99) if spells else 0.97,
    }


def _sample_rain(
    rng: np.random.Generator, annual_mm: float, summer: Array, regime: tuple[float, float]
) -> tuple[Monthly, Monthly, Monthly]:
    """Sample transition probabilities and wet-day amounts for a given annual precipitation."""
    share = np.clip(annual_mm / DAYS_PER_YEAR / rng.uniform(3.5, 9.0), 0.06, 0.6)
    wet = np.clip(share * (1.0 + np.clip(rng.normal(*regime), -0.85, 0.85) * summer), 0.01, 0.85)
    persistence = rng.uniform(0.15, 0.4)  # lag-1 autocorrelation of wet and dry
    after_dry = wet * (1.0 - persistence)
    amount = 1.0 + rng.uniform(0.0, 0.35) * summer  # convective rain is heavier
    amount = amount * annual_mm / (DAYS_PER_YEAR * np.mean(wet * amount))
    return _monthly(after_dry), _monthly(after_dry + persistence), _monthly(amount)


def _days() -> Array:
    """Return the day of the year in the middle of each month."""
    return np.asarray(np.ceil(MIDDLE_OF_MONTH))


def _monthly(values: Array) -> Monthly:
    return tuple(float(v) for v in values)
