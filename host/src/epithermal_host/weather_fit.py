"""Climate fitted to a station's daily series."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.air import hargreaves_et0, mean_pressure, saturation_vapour_pressure
from epithermal_edge.errors import ConfigError
from epithermal_host.weather import DRIZZLE_MM, Climate, Monthly, at, day_of_year
from epithermal_host.weather_compare import (
    Series,
    generated_series,
    lag_1,
    observed_series,
    without_season,
)
from epithermal_host.weather_files import DailyWeather
from epithermal_host.wet_days import spell_factor, wetness

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

YEARS_NEEDED = 3
DAYS_NEEDED = 10  # wet (and dry) ones of a month, below which the year's effect stands in
ET0_LEAST_MM = 0.05  # services round to 0.1 mm; a winter's 0 has no logarithm
SIGMA_ET0_MOST = 0.8
TUNE_ROUNDS, TUNE_YEARS, TUNE_SEED = 5, 60, 2026
UNTOLD: dict[str, float] = {  # what a weather file does not tell: middle of the campaigns' prior
    "incoming_mean": 150.0,
    "incoming_sigma": 0.02,
    "incoming_memory": 0.985,
    "forbush_per_year": 1.5,
    "forbush_depth": 0.04,
    "snow_below_c": 0.5,
    "melt_mm_per_c_d": 3.0,
}


def fit(weather: DailyWeather) -> Climate:
    """The climate whose generated weather is like a station's.

    Parameters
    ----------
    weather :
        At least three years with rain and the extremes of temperature. Without ET0, Hargreaves'
        estimate stands; without humidity, the minimum temperature is taken as dew point (FAO-56,
        eq. 48); without pressure, the standard atmosphere with a usual scatter.

    Raises
    ------
    ConfigError
        Too short, no temperature, no rain.

    Notes
    -----
    Moments by month, for twelve values between which the generator interpolates so that the
    months' means are kept; what drizzle below DRIZZLE_MM takes away is put on again. What is no
    moment of one term, the memories and the totals, is then tuned on generated weather.
    """
    _check(weather)
    months = _Months(weather.day, weather.rain_mm >= DRIZZLE_MM)
    months.reach = _reach(months, weather)
    t_mean = 0.5 * (weather.t_min_c + weather.t_max_c)
    air, humidity_noise = _humidity(months, weather)
    evaporation, et0_noise = _evaporation(months, weather)
    rho = float(np.corrcoef(et0_noise, humidity_noise)[0, 1]) if et0_noise.any() else 0.0
    values: dict[str, Any] = {
        "latitude_deg": weather.latitude_deg,
        "altitude_m": weather.altitude_m,
        **_rain(months, weather.rain_mm),
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
        **UNTOLD,
    }
    return _tune(Climate(**values), observed_series(weather))


def _check(weather: DailyWeather) -> None:
    faults = []
    years = weather.date.size / 365.25
    if years < YEARS_NEEDED:
        faults.append(f"{years:.1f} years are too few, {YEARS_NEEDED} are needed, 20 are good")
    if np.isnan(weather.t_min_c).any() or np.isnan(weather.t_max_c).any():
        faults.append("no t_min_c and t_max_c: the generator makes ET0 and snow of them")
    if not (weather.rain_mm >= DRIZZLE_MM).any():
        faults.append("no day with rain")
    if faults:
        raise ConfigError(*(f"{weather.source}: a climate cannot be fitted: {f}" for f in faults))


class _Months:
    """Days by month, and nodes of the generator's interpolation that keep the months' means."""

    def __init__(self, day: NDArray[np.int64], wet: Mask) -> None:
        self.season = day_of_year(day)
        self.wet = wet
        self.reach = 0.0
        self.month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
        self._weights = np.array([self._mean_of(np.eye(12)[i]) for i in range(12)]).T

    def _mean_of(self, nodes: Array) -> Array:
        values = at(tuple(nodes.tolist()), self.season)
        return np.array([values[self.month == k].mean() for k in range(12)])

    def nodes(self, means: Array, low: float = -np.inf, high: float = np.inf) -> Monthly:
        """Twelve values whose interpolation has these monthly means."""
        found = np.clip(np.linalg.solve(self._weights, means), low, high)
        return tuple(float(v) for v in found)

    def mean(self, x: Array, days: Mask | None = None) -> Array:
        """Monthly means; of the year where a month has too few days."""
        chosen = np.ones(x.size, dtype=np.bool_) if days is None else days
        year = float(x[chosen].mean())
        return np.array([self._or(x[chosen & (self.month == k)], year) for k in range(12)])

    @staticmethod
    def _or(x: Array, instead: float) -> float:
        return float(x.mean()) if x.size >= DAYS_NEEDED else instead

    def share(self, days: Mask) -> Array:
        """Share of such days by month."""
        return np.array([days[self.month == k].mean() for k in range(12)])

    def effect(self, x: Array, wet: Array) -> Array:
        """Slope of x over wetness, by month; of the year where a month has too few days."""
        slopes = [self._slope(x, wet, self.month == k) if self.enough(k) else np.nan
                  for k in range(12)]  # fmt: skip
        found = np.array(slopes)
        year = float(np.nanmean(found)) if np.isfinite(found).any() else 0.0
        return np.where(np.isfinite(found), found, year)

    @staticmethod
    def _slope(x: Array, wet: Array, days: Mask) -> float:
        return float(np.polyfit(wet[days], x[days], 1)[0])

    def enough(self, k: int) -> bool:
        """Whether a month has enough wet and dry days to tell them apart."""
        wet = int(self.wet[self.month == k].sum())
        return min(wet, int((self.month == k).sum()) - wet) >= DAYS_NEEDED

    def at(self, nodes: Monthly) -> Array:
        """The daily values that the generator makes of them."""
        return at(nodes, self.season)


def _reach(months: _Months, weather: DailyWeather) -> float:
    """How far wet days reach over their neighbours: what explains pressure best."""
    x = weather.pressure_hpa
    if np.isnan(x).any():
        x = 0.5 * (weather.t_min_c + weather.t_max_c)
    x = x - months.mean(x)[months.month]

    def left(reach: float) -> float:
        wet = wetness(reach, months.wet)
        wet = wet - months.mean(wet)[months.month]
        return float(np.mean((x - months.effect(x, wet)[months.month] * wet) ** 2))

    return min((k / 10.0 for k in range(10)), key=left)


def _centred(months: _Months, x: Array, mean: str, effect: str, sigma: str) -> dict[str, Monthly]:
    """Mean, wet days' effect about the mean share of wet days, and the spread left over."""
    wet = wetness(months.reach, months.wet)
    shift = months.nodes(months.effect(x, wet))
    left = x - months.at(shift) * (wet - months.wet.mean())
    middle = months.nodes(months.mean(left))
    left = left - months.at(middle)
    spread = months.nodes(np.sqrt(months.mean(left**2)), low=1e-3)
    return {mean: middle, effect: shift, sigma: spread}


def _rain(months: _Months, rain: Array) -> dict[str, Any]:
    """Occurrence, amounts by wet neighbours, and the part that falls below DRIZZLE_MM."""
    wet = months.wet
    before = np.concatenate([wet[:1], wet[:-1]])
    neighbours = spell_factor(1.0, wet)  # 0, 1 or 2
    scaled = rain / months.mean(rain, wet)[months.month]
    slope, one = np.polyfit(neighbours[wet] - 1.0, scaled[wet], 1)
    rise = float(np.clip(slope / one, -0.9, 0.9))
    factor = spell_factor(rise, wet)
    amount = months.mean(rain, wet) / months.mean(factor, wet)
    y = (rain / (amount[months.month] * factor))[wet]
    shape = float(np.clip(y.mean() ** 2 / y.var(), 0.3, 5.0))
    kept = float(np.mean(np.random.default_rng(1).gamma(shape, amount.mean() / shape, 200_000)
                         >= DRIZZLE_MM))  # fmt: skip
    after_dry = months.mean(wet.astype(np.float64), ~before)
    after_wet = months.mean(wet.astype(np.float64), before) / kept
    share = months.share(wet) / kept
    # a chain that is a little wetter, so that what is left of it after drizzle has the same share
    after_dry = np.where(share < 1.0, share * (1.0 - after_wet) / (1.0 - share), after_dry)
    return {
        "wet_after_dry": months.nodes(after_dry, 0.001, 0.99),
        "wet_after_wet": months.nodes(after_wet, 0.001, 0.99),
        "rain_wet_day_mm": months.nodes(amount * kept, 0.05),
        "rain_shape": shape,
        "rain_neighbour_rise": rise,
    }


def _range(months: _Months, x: Array) -> dict[str, Any]:
    """Daily range of temperature on dry and wet days, and its spread."""
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


def _evaporation(months: _Months, weather: DailyWeather) -> tuple[dict[str, Any], Array]:
    """ET0 over Hargreaves' estimate on dry and wet days; and the noise left over, 0 if none."""
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
    found = {"et0_factor": factor, "et0_wet": share, "et0_sigma": sigma}
    return found, noise / months.at(sigma)


def _pressure(months: _Months, weather: DailyWeather) -> dict[str, Any]:
    """Pressure, lower on wet days; a usual scatter where it is not measured."""
    if np.isnan(weather.pressure_hpa).any():
        return {
            "pressure_hpa": float(mean_pressure(weather.altitude_m)),
            "pressure_wet_drop_hpa": 4.5,
            "pressure_sigma_hpa": 6.5,
        }
    names = ("pressure_hpa", "pressure_wet_drop_hpa", "pressure_sigma_hpa")
    found = _centred(months, weather.pressure_hpa, *names)
    found["pressure_wet_drop_hpa"] = tuple(-v for v in found["pressure_wet_drop_hpa"])
    return dict(found)


def _humidity(months: _Months, weather: DailyWeather) -> tuple[dict[str, Any], Array]:
    """Relative humidity of dry days, its rise on wet ones, its spread; and the noise left over."""
    x = weather.relative_humidity_pct
    if np.isnan(x).any():  # FAO-56, eq. 48: the night's minimum is the dew point
        dew = saturation_vapour_pressure(weather.t_min_c)
        middle = 0.5 * (weather.t_min_c + weather.t_max_c)
        x = np.minimum(100.0 * dew / saturation_vapour_pressure(middle), 100.0)
    rise = months.nodes(months.effect(x, months.wet.astype(np.float64)))
    dry = months.nodes(months.mean(x - months.at(rise) * months.wet), 5.0, 100.0)
    left = x - months.at(rise) * months.wet - months.at(dry)
    sigma = months.nodes(np.sqrt(months.mean(left**2)), 0.1)
    found = {"humidity_pct": dry, "humidity_wet_rise_pct": rise, "humidity_sigma_pct": sigma}
    return found, left / months.at(sigma)


def _tune(climate: Climate, observed: Series) -> Climate:
    """Memories and annual totals, until generated weather has those of the station.

    Each round generates TUNE_YEARS with the same seed and moves a memory by the difference of the
    autocorrelations (without the season), and a total by its ratio.
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
        for name, quantity in (("rain_wet_day_mm", "rain_mm"), ("et0_factor", "et0_mm")):
            ratio = float(getattr(observed, quantity).mean() / getattr(generated, quantity).mean())
            nodes = getattr(climate, name)
            if np.isfinite(ratio) and isinstance(nodes, tuple):
                changed[name] = tuple(ratio * v for v in nodes)
        climate = dataclasses.replace(climate, **changed)
    return climate
