"""Score an estimate over any choice of soils and days; no other module computes these figures.

docs/decisions/0012-one-scorer.md explains which soils are used for r.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Z90, Array, Integers, Mask

ENOUGH_DAYS = 30  # soils with fewer days are omitted from the medians of r and KGE
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
