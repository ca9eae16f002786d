"""A series by months, and the twelve values that make a season of it."""

from __future__ import annotations

import numpy as np

from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.weather.generator import Monthly, at, day_of_year

DAYS_NEEDED = 10  # wet (and dry) ones of a month, below which the year's effect stands in


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
