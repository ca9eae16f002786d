"""Score an estimate over any choice of soils and days; no other module computes these figures.

docs/decisions/0012-one-scorer.md explains which soils are used for r.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epithermal_edge.times import DAY_S
from epithermal_host.arrays import Z90, Array, Integers, Mask

ENOUGH_DAYS = 30  # soils with fewer days are omitted from the medians of r and KGE
SLOW_D = 31  # width of the running mean that separates slow from fast [d]
STEADY = 1e-9  # standard deviation of a series that varies by rounding only [m3 m-3]


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of one method over the evaluated days of a group."""

    soils: int
    days: int  # evaluated, sum over the soils
    rmse: float  # [m3 m-3]
    ubrmse: float  # after subtracting each soil's bias [m3 m-3]
    bias: float  # estimate minus truth [m3 m-3]
    r: float  # median over the soils whose truth varies on enough days; NaN without such a soil
    kge: float  # median over the same soils
    coverage_90: float  # share of the truth within the 90 % interval; NaN without sigma


@dataclass(frozen=True, slots=True)
class Split:
    """Parts of ubRMSE [m3 m-3]: its square is about the sum of theirs.

    The sum is exact but for twice the covariance of slow and fast part.
    """

    offset: float  # RMS of the years' means, without the mean of all days
    slow: float  # RMS of the running mean within a year, without the year's mean
    fast: float  # RMS of the rest


@dataclass(frozen=True, slots=True)
class SlopeFree:
    """Regression of the truth on an estimate."""

    rmse: float  # of its residuals: error of the pattern alone [m3 m-3]
    slope: float  # truth against estimate; under 1: the estimate's swings are too large


def stats(truth: Array, estimate: Array, judged: Mask, sigma: Array | None = None) -> Stats:
    """Score an estimate.

    Parameters
    ----------
    truth, estimate, sigma : (S, T) [m3 m-3]
        Finite on the days to evaluate.
    judged : (S, T)
        Days to evaluate, at least one.

    References
    ----------
    KGE: Gupta et al. (2009), eq. 9.
    """
    rows = judged.any(axis=1)
    judged = judged[rows]
    t = np.where(judged, truth[rows], 0.0)
    e = np.where(judged, estimate[rows], 0.0)
    n = judged.sum(axis=1)
    mean_t, mean_e = t.sum(axis=1) / n, e.sum(axis=1) / n
    t = np.where(judged, t - mean_t[:, None], 0.0)
    e = np.where(judged, e - mean_e[:, None], 0.0)
    bias = mean_e - mean_t
    own = np.sum((e - t) ** 2)
    r, kge = _agreement(t, e, n, mean_t, mean_e)
    days = int(n.sum())
    coverage = float("nan")
    if sigma is not None:
        error = np.abs(estimate[rows] - truth[rows])[judged]
        coverage = float(np.mean(error <= Z90 * sigma[rows][judged]))
    return Stats(
        soils=int(rows.sum()),
        days=days,
        rmse=float(np.sqrt((own + np.sum(n * bias**2)) / days)),
        ubrmse=float(np.sqrt(own / days)),
        bias=float(np.sum(n * bias) / days),
        r=r,
        kge=kge,
        coverage_90=coverage,
    )


def _agreement(
    t: Array, e: Array, n: Integers, mean_t: Array, mean_e: Array
) -> tuple[float, float]:
    """Compute the medians of r and KGE over the soils; t and e are anomalies, else 0.

    r is undefined for a constant truth; for a constant estimate it is 0, because the estimate does
    not follow the truth.
    """
    s_t, s_e = np.sqrt(np.sum(t * t, axis=1)), np.sqrt(np.sum(e * e, axis=1))
    least = STEADY * np.sqrt(n)
    use = (n >= ENOUGH_DAYS) & (s_t > least)
    if not use.any():
        return float("nan"), float("nan")
    t, e, s_t, s_e, least = t[use], e[use], s_t[use], s_e[use], least[use]
    varies = s_e > least
    r = np.where(varies, np.sum(t * e, axis=1) / np.where(varies, s_t * s_e, 1.0), 0.0)
    beta = mean_e[use] / mean_t[use]
    kge = 1.0 - np.sqrt((r - 1.0) ** 2 + (s_e / s_t - 1.0) ** 2 + (beta - 1.0) ** 2)
    return float(np.median(r)), float(np.median(kge))


def rms(error: Array) -> float:
    """Compute the root mean square of the finite values; NaN without any."""
    error = error[np.isfinite(error)]
    return float(np.sqrt(np.mean(error * error))) if error.size else float("nan")


def split_error(
    error: Array, judged: Mask, day_end_s: Array, year: Integers, slow_d: int = SLOW_D
) -> Split:
    """Split an error into offset between years, slow and fast part.

    Parameters
    ----------
    error : (T,) [m3 m-3]
        Estimate minus truth, finite on the evaluated days.
    judged : (T,)
        Days to evaluate, at least one.
    day_end_s : (T,) [s, UTC]
        Ascending.
    year : (T,)
        Year of each day; the running mean does not pass from one to the next.
    slow_d :
        Width of the running mean, centred, over the evaluated days within it [d].
    """
    own, e = year[judged], error[judged]
    _, which = np.unique(own, return_inverse=True)
    mean = np.bincount(which, e) / np.bincount(which)
    inside = e - mean[which]
    slow = _running_mean(inside, np.round(day_end_s[judged] / DAY_S), own, slow_d)
    return Split(rms(mean[which] - e.mean()), rms(slow), rms(inside - slow))


def slope_free(truth: Array, estimate: Array, judged: Mask) -> SlopeFree:
    """Regress the truth (T,) on the estimate (T,) over the evaluated days (T,) [m3 m-3].

    A constant estimate has slope 0: the residuals are then the truth's own variation.
    """
    t, e = truth[judged] - truth[judged].mean(), estimate[judged] - estimate[judged].mean()
    power = float(e @ e)
    slope = float(t @ e) / power if power > e.size * STEADY**2 else 0.0
    return SlopeFree(rms(t - slope * e), slope)


def _running_mean(value: Array, day: Array, year: Integers, width_d: int) -> Array:
    """Average over the days of the same year within half the width of each day."""
    half = (width_d - 1) // 2
    total = np.concatenate([[0.0], np.cumsum(value)])
    first = np.maximum(np.searchsorted(day, day - half), np.searchsorted(year, year))
    last = np.minimum(
        np.searchsorted(day, day + half, side="right"), np.searchsorted(year, year, side="right")
    )
    return np.asarray((total[last] - total[first]) / (last - first))
