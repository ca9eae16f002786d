"""Score an estimate over any choice of soils and days; nothing else computes these figures.

Which soils count for r, and why: docs/decisions/0012-one-scorer.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Z90, Array, Integers, Mask

ENOUGH_DAYS = 30  # of a soil; one with fewer is left out of the medians of r and KGE
STEADY = 1e-9  # standard deviation of a series that only rounding moves [m3 m-3]


@dataclass(frozen=True, slots=True)
class Stats:
    """One method over the judged days of a group."""

    soils: int
    days: int  # judged, all soils together
    rmse: float  # [m3 m-3]
    ubrmse: float  # each soil's own bias taken out [m3 m-3]
    bias: float  # estimate minus truth [m3 m-3]
    r: float  # median over the soils whose truth varies on enough days; NaN without such a soil
    kge: float  # the same
    coverage_90: float  # part of the truth inside the 90 % interval; NaN without a sigma


def stats(truth: Array, estimate: Array, judged: Mask, sigma: Array | None = None) -> Stats:
    """Score an estimate.

    Parameters
    ----------
    truth, estimate, sigma : (S, T) [m3 m-3]
        Finite where judged.
    judged : (S, T)
        At least one day.

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
    """Take the medians over the soils of r and KGE; t and e are anomalies, 0 where not judged.

    Where the truth is constant, r has no meaning; where only the estimate is, it follows nothing
    of the truth: r is 0.
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
    """Take the root mean square of what is finite; NaN where nothing is."""
    error = error[np.isfinite(error)]
    return float(np.sqrt(np.mean(error * error))) if error.size else float("nan")
