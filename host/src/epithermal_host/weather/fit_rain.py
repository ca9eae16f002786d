"""Fit rain's occurrence and amounts so that a station's monthly means are met."""

from __future__ import annotations

import math

import numpy as np

from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.weather.generator import DRIZZLE_MM, Monthly, at, day_of_year, spell_factor

DAYS_NEEDED = 10  # wet (and dry) ones of a month, below which the year's effect stands in
ROUNDS = 6
LOW, HIGH = 0.001, 0.99  # probabilities
YEAR = np.arange(1.0, 366.0)  # days of a year
MONTH = (np.arange(365).astype("datetime64[D]")).astype("datetime64[M]").astype(np.int64) % 12


class Months:
    """Days by month, and nodes of the generator's interpolation that keep the months' means."""

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


def fit_rain(months: Months, rain_mm: Array) -> dict[str, Monthly | float]:
    """Occurrence by a chain, gamma amounts that rise with the wet neighbours.

    Parameters
    ----------
    months :
        The station's days; `wet` is what its gauge told.
    rain_mm : (days,) [mm]

    Returns
    -------
    dict
        The fields of Climate: wet_after_dry, wet_after_wet, rain_wet_day_mm, rain_shape,
        rain_neighbour_rise.

    Notes
    -----
    First the observed moments; but the generator draws amounts below DRIZZLE_MM, which make a day
    dry. The chain's and the amounts' expectation is known, so both are moved, by month, until the
    shares of wet days and the rain that are expected are those observed.
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
        expected_share, expected_rain, kept = expectation(dry_p, chance, mean, shape, rise)
        chance = np.clip(wet_p / kept, LOW, HIGH)  # that the wet day after is kept, too
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
    """What the generator's rain amounts to in the mean of many years.

    Parameters
    ----------
    after_dry, after_wet : (12,) [-]
        Probabilities of a wet day.
    mean_mm : (12,) [mm]
        Amount of a wet day with one wet neighbour.
    shape, rise : [-]
        Of the gamma distribution; with each further wet neighbour.

    Returns
    -------
    tuple of (12,)
        By month: share of days with rain that is told, rain of a day [mm], and the share of the
        chain's wet days on which rain is told (is not below DRIZZLE_MM).
    """
    dry_p, wet_p, mean = (at(tuple(v.tolist()), YEAR) for v in (after_dry, after_wet, mean_mm))
    wet = np.empty(365)
    p = 0.5
    for i in range(-365, 365):  # the first year forgets the start
        p = p * wet_p[i] + (1.0 - p) * dry_p[i]
        wet[i] = p
    both = np.roll(wet, 1) * wet_p  # this day and the one before
    beside = (both + np.roll(both, -1)) / wet  # expected wet neighbours of a wet day
    rain = mean * (1.0 + rise * (beside - 1.0))
    kept = 1.0 - _below(DRIZZLE_MM / rain, shape)
    by_month = [k == MONTH for k in range(12)]
    share = np.array([(wet * kept)[m].mean() for m in by_month])
    return (
        share,
        np.array([(wet * rain)[m].mean() for m in by_month]),
        share / np.array([wet[m].mean() for m in by_month]),
    )


def _below(x: Array, shape: float) -> Array:
    """Share of a gamma distribution of mean 1 below a small x: the first terms of its series."""
    z = shape * x
    series = 1.0 / shape - z / (shape + 1.0) + z * z / (2.0 * (shape + 2.0))
    return np.clip(z**shape * series / math.gamma(shape), 0.0, 0.9)
