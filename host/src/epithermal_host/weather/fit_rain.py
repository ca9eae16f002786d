"""Fit occurrence and amounts of rain to the monthly means of a station."""

from __future__ import annotations

import math

import numpy as np

from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.weather.generator import DRIZZLE_MM, Monthly, at, day_of_year, spell_factor

DAYS_NEEDED = 10  # wet and dry days of a calendar month; with fewer, use the effect of the year
ROUNDS = 6
LOW, HIGH = 0.001, 0.99  # probabilities
YEAR = np.arange(1.0, 366.0)  # days of a year
MONTH = (np.arange(365).astype("datetime64[D]")).astype("datetime64[M]").astype(np.int64) % 12


class Months:
    """Days by month, and nodes of the generator's interpolation that preserve monthly means."""

    def __init__(self, day: Integers, wet: Mask) -> None:
        self.season = day_of_year(day)
        self.wet = wet
        self.reach = 0.0
        self.month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
        self._weights = np.array([self._mean_of(np.eye(12)[i]) for i in range(12)]).T

    def _mean_of(self, nodes: Array) -> Array:
        values = at(tuple(nodes.tolist()), self.season)
        return np.array([values[self.month == k].mean() for k in range(12)])

    def nodes(self, means: Array, low: float = -np.inf, high: float = np.inf) -> Monthly:
        """Solve for the twelve values whose interpolation has these monthly means."""
        values = np.clip(np.linalg.solve(self._weights, means), low, high)
        return tuple(float(v) for v in values)

    def mean(self, x: Array, days: Mask | None = None) -> Array:
        """Compute monthly means; use the mean of the year where a month has too few days."""
        chosen = np.ones(x.size, dtype=np.bool_) if days is None else days
        year = float(x[chosen].mean())
        return np.array([self._or(x[chosen & (self.month == k)], year) for k in range(12)])

    @staticmethod
    def _or(x: Array, instead: float) -> float:
        return float(x.mean()) if x.size >= DAYS_NEEDED else instead

    def share(self, days: Mask) -> Array:
        """Compute the fraction of True days by month."""
        return np.array([days[self.month == k].mean() for k in range(12)])

    def effect(self, x: Array, wet: Array) -> Array:
        """Regress x on wetness by month; use the mean slope where a month has too few days."""
        slopes = [self._slope(x, wet, self.month == k) if self.enough(k) else np.nan
                  for k in range(12)]  # fmt: skip
        by_month = np.array(slopes)
        year = float(np.nanmean(by_month)) if np.isfinite(by_month).any() else 0.0
        return np.where(np.isfinite(by_month), by_month, year)

    @staticmethod
    def _slope(x: Array, wet: Array, days: Mask) -> float:
        return float(np.polyfit(wet[days], x[days], 1)[0])

    def enough(self, k: int) -> bool:
        """Check whether a month has enough wet and dry days to compare them."""
        wet = int(self.wet[self.month == k].sum())
        return min(wet, int((self.month == k).sum()) - wet) >= DAYS_NEEDED

    def at(self, nodes: Monthly) -> Array:
        """Interpolate daily values from nodes as the generator does."""
        return at(nodes, self.season)


def fit_rain(months: Months, rain_mm: Array) -> dict[str, Monthly | float]:
    """Fit occurrence by a Markov chain, and gamma amounts that increase with wet neighbours.

    Parameters
    ----------
    months :
        The station's days; `wet` by its gauge.
    rain_mm : (days,) [mm]

    Returns
    -------
    dict
        Fields of Climate: wet_after_dry, wet_after_wet, rain_wet_day_mm, rain_shape,
        rain_neighbour_rise.

    Notes
    -----
    The first estimate uses the observed moments. But the generator also draws amounts below
    DRIZZLE_MM, which turn a wet day into a dry one. As the expectations of chain and amounts are
    known, both are adjusted by month until the expected fraction of wet days and the expected rain
    equal the observed ones.
    """
    wet = months.wet
    before = np.concatenate([wet[:1], wet[:-1]])
    scaled = rain_mm / months.mean(rain_mm, wet)[months.month]
    slope, one = np.polyfit(spell_factor(1.0, wet)[wet] - 1.0, scaled[wet], 1)
    rise = float(np.clip(slope / one, -0.9, 0.9))
    factor = spell_factor(rise, wet)
    amount = months.mean(rain_mm, wet) / months.mean(factor, wet)
    y = (rain_mm / (amount[months.month] * factor))[wet]
    shape = float(np.clip(y.mean() ** 2 / y.var(), 0.3, 5.0))
    occurs = wet.astype(np.float64)
    dry_p = np.array(months.nodes(months.mean(occurs, ~before), LOW, HIGH))
    wet_p = np.array(months.nodes(months.mean(occurs, before), LOW, HIGH))
    mean = np.array(months.nodes(amount, DRIZZLE_MM))
    share, total = months.mean(occurs), months.mean(rain_mm)
    chance = wet_p
    for _ in range(ROUNDS):
        expected_share, expected_rain, recorded = expectation(dry_p, chance, mean, shape, rise)
        chance = np.clip(wet_p / recorded, LOW, HIGH)  # as the next wet day must be recorded too
        dry_p = np.clip(dry_p * share / np.maximum(expected_share, 1e-6), LOW, HIGH)
        mean = np.maximum(mean * total / np.maximum(expected_rain, 1e-6), DRIZZLE_MM)
    return {
        "wet_after_dry": tuple(dry_p.tolist()),
        "wet_after_wet": tuple(chance.tolist()),
        "rain_wet_day_mm": tuple(mean.tolist()),
        "rain_shape": shape,
        "rain_neighbour_rise": rise,
    }


def expectation(
    after_dry: Array, after_wet: Array, mean_mm: Array, shape: float, rise: float
) -> tuple[Array, Array, Array]:
    """Compute the long-term mean of the generator's rain.

    Parameters
    ----------
    after_dry, after_wet : (12,) [-]
        Probabilities of a wet day.
    mean_mm : (12,) [mm]
        Amount of a wet day with one wet neighbour.
    shape, rise : [-]
        Shape of the gamma distribution; relative increase with each further wet neighbour.

    Returns
    -------
    tuple of (12,)
        By month: fraction of days with recorded rain (not below DRIZZLE_MM), daily rain [mm], and
        fraction of the chain's wet days with recorded rain.
    """
    dry_p, wet_p, mean = (at(tuple(v.tolist()), YEAR) for v in (after_dry, after_wet, mean_mm))
    wet = np.empty(365)
    p = 0.5
    for i in range(-365, 365):  # the first year removes the effect of the start
        p = p * wet_p[i] + (1.0 - p) * dry_p[i]
        wet[i] = p
    both = np.roll(wet, 1) * wet_p  # this day and the one before
    beside = (both + np.roll(both, -1)) / wet  # expected wet neighbours of a wet day
    rain = mean * (1.0 + rise * (beside - 1.0))
    recorded = 1.0 - _below(DRIZZLE_MM / rain, shape)
    by_month = [k == MONTH for k in range(12)]
    share = np.array([(wet * recorded)[m].mean() for m in by_month])
    return (
        share,
        np.array([(wet * rain)[m].mean() for m in by_month]),
        share / np.array([wet[m].mean() for m in by_month]),
    )


def _below(x: Array, shape: float) -> Array:
    """Compute the gamma distribution of mean 1 at a small x, from the first terms of its series."""
    z = shape * x
    series = 1.0 / shape - z / (shape + 1.0) + z * z / (2.0 * (shape + 2.0))
    return np.clip(z**shape * series / math.gamma(shape), 0.0, 0.9)
