"""Fit a change of the network's head to a site's probes, and decide whether to accept it.

The change adds w (h - h_site) to the estimate of 0-30 cm, where h is the released network's state
and h_site its mean over the fitted days:

    w = argmin  mean (p' - w h')^2 + k mean_sim (w (h_sim - h_site))^2

p' is the residual (probes minus estimate) and h' the state, both after removing each year's mean:
probes are one profile, so their timing and spread are used but not their level. The second term is
the rehearsal: the change that w makes over the simulated population. `decide` selects the largest
k, hence the smallest change, that is nearly as good as the best one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from epithermal_host.arrays import Array, Integers

if TYPE_CHECKING:  # the rehearsal loads the simulation and numba
    from epithermal_host.retraining.rehearsal import Rehearsal

STRENGTHS = (30.0, 10.0, 3.0)  # k, the smallest change first
NEARLY = 1.05  # the smallest change whose ubRMSE is within this factor of the best is selected
PARTS = 4  # number of blocks of a single season
LEAST_DAYS = 90  # with probes and counts
LEAST_SEASON_DAYS = 60  # a year with fewer does not count as a season
MONTH_DAYS = 10  # a month with fewer does not count as covered
GAIN_MAX = 0.90  # highest ubRMSE over the blocks left out, relative to the released network's
WORSE_MAX = 1.10  # the same in any single block
RISE_MAX = 1.05  # highest RMSE over the simulated population, relative to the released network's
RIDGE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class SiteDays:
    """Usable days of a site, for each set of inputs that its station may have."""

    h: Array  # (I, n, H) states
    residual: Array  # (I, n) probes minus the released network's estimate [m3 m-3]
    year: Integers  # (n,)
    month: Integers  # (n,) 1 to 12

    def seasons(self) -> list[Integers]:
        """List the rows of each year that has at least LEAST_SEASON_DAYS."""
        years = [np.flatnonzero(self.year == y) for y in np.unique(self.year)]
        return [rows for rows in years if rows.size >= LEAST_SEASON_DAYS]

    def blocks(self) -> list[Integers]:
        """Split the days into blocks to leave out: the seasons, or quarters of a single season."""
        seasons = self.seasons()
        if len(seasons) > 1 and sum(s.size for s in seasons) == self.year.size:
            return seasons
        return np.array_split(np.arange(self.year.size), PARTS)

    def split_last(self) -> tuple[Integers, Integers]:
        """Split off the last third of the days; with several seasons, the last season."""
        blocks, rows = self.blocks(), np.arange(self.year.size)
        begin = blocks[-1][0] if len(self.seasons()) > 1 else 2 * rows.size // 3
        return rows[:begin], rows[begin:]


@dataclass(frozen=True, slots=True)
class Trial:
    """Errors of one strength in cross-validation: each block predicted from the others."""

    strength: float
    ubrmse: float  # over all blocks [m3 m-3]
    blocks: tuple[float, ...]  # ubRMSE of each block [m3 m-3]
    rise: float  # RMSE over the simulated population, relative to the released network's


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Decision on a retraining with the figures behind it."""

    w: Array | None  # (H,) [m3 m-3]; None: declined
    b: float  # [m3 m-3]; w h + b is added to the estimate
    strength: float  # NaN: declined
    released: Trial  # the released network on the same blocks
    trials: tuple[Trial, ...]
    last_released: float  # ubRMSE in the last third or season [m3 m-3]
    last_retrained: float  # the same, fitted on the days before; NaN: not reached [m3 m-3]
    reasons: tuple[str, ...]  # for declining; empty: accepted


def check_days(days: SiteDays, season: tuple[int, int]) -> list[str]:
    """Check whether the days suffice for retraining; return the reasons if not.

    Parameters
    ----------
    season :
        First and last month in which estimates are evaluated, from the site file.
    """
    n, faults = days.year.size, []
    if n < LEAST_DAYS:
        faults.append(
            f"{n} days with probes and counts in season, at least {LEAST_DAYS} are needed"
        )
    first, last = season
    length = (last - first) % 12 + 1
    wanted = [(first - 1 + i) % 12 + 1 for i in range(length)]
    unseen = [m for m in wanted if np.sum(days.month == m) < MONTH_DAYS]
    if unseen:
        names = ", ".join(str(m) for m in unseen)
        faults.append(
            f"months of the season with fewer than {MONTH_DAYS} days: {names}; what is learnt in"
            " one part of a season does not hold in the rest"
        )
    return faults


def fit_change(
    days: SiteDays, rows: Integers, rehearsal: Rehearsal, strength: float
) -> tuple[Array, float]:
    """Fit the change to the days in `rows`; return w (H,) and b of w h + b, added to the estimate.

    Both are in m3 m-3. A greater strength gives a smaller change.
    """
    states, residuals = [], []
    for year in np.unique(days.year[rows]):
        own = rows[days.year[rows] == year]
        states.append(days.h[:, own] - days.h[:, own].mean(axis=1, keepdims=True))
        residuals.append(days.residual[:, own] - days.residual[:, own].mean(axis=1, keepdims=True))
    h = np.concatenate(states, axis=1).reshape(-1, days.h.shape[-1])
    residual = np.concatenate(residuals, axis=1).ravel()
    centre = days.h[:, rows].mean(axis=(0, 1))
    penalty = rehearsal.penalty.spread(centre) + RIDGE * np.eye(h.shape[1])
    n = residual.size
    w = np.linalg.solve(h.T @ h / n + strength * penalty, h.T @ residual / n)
    return w, -float(w @ centre)


def decide(days: SiteDays, rehearsal: Rehearsal) -> Decision:
    """Select a strength by cross-validation over blocks of time, or decline with the reasons."""
    every = np.arange(days.year.size)
    zero = np.zeros(days.h.shape[-1])
    released = _cross_validate(days, rehearsal, None)
    trials = tuple(_cross_validate(days, rehearsal, k) for k in STRENGTHS)
    fit, late = days.split_last()
    before = _ubrmse(days, late, zero)
    sound = [t for t in trials if not _faults(t, released)]
    if not sound:
        reasons = tuple(f"strength {t.strength:g}: {_faults(t, released)[0]}" for t in trials)
        return Decision(None, 0.0, np.nan, released, trials, before, np.nan, reasons)
    best = min(t.ubrmse for t in sound)
    strength = next(t.strength for t in sound if t.ubrmse <= NEARLY * best)
    after = _ubrmse(days, late, fit_change(days, fit, rehearsal, strength)[0])
    if after > before:
        reasons = (f"worse in the last part of the time when fitted on the days before: ubRMSE "
                   f"{after:.4f} m3/m3, released {before:.4f}",)  # fmt: skip
        return Decision(None, 0.0, np.nan, released, trials, before, after, reasons)
    w, b = fit_change(days, every, rehearsal, strength)
    return Decision(w, b, strength, released, trials, before, after, ())


def _cross_validate(days: SiteDays, rehearsal: Rehearsal, strength: float | None) -> Trial:
    """Evaluate a fit to all other blocks on each block; None: the released network."""
    every = np.arange(days.year.size)
    w, b, errors, sizes = np.zeros(days.h.shape[-1]), 0.0, [], []
    for rows in days.blocks():
        if strength is not None:
            w, _ = fit_change(days, np.setdiff1d(every, rows), rehearsal, strength)
        errors.append(_ubrmse(days, rows, w))
        sizes.append(rows.size)
    rise = 1.0
    if strength is not None:
        w, b = fit_change(days, every, rehearsal, strength)
        rise = rehearsal.judge.rmse(w, b) / rehearsal.judge.rmse(np.zeros(w.size), 0.0)
    total = float(np.sqrt(np.average(np.square(errors), weights=sizes)))
    return Trial(strength or 0.0, total, tuple(errors), rise)


def _ubrmse(days: SiteDays, rows: Integers, w: Array) -> float:
    """Return the ubRMSE after removing the bias of each set of inputs and year [m3 m-3]."""
    error = days.h[:, rows] @ w - days.residual[:, rows]
    squares = 0.0
    for year in np.unique(days.year[rows]):
        own = error[:, days.year[rows] == year]
        squares += float(np.sum((own - own.mean(axis=1, keepdims=True)) ** 2))
    return float(np.sqrt(squares / error.size))


def _faults(trial: Trial, released: Trial) -> list[str]:
    faults = []
    if trial.ubrmse > GAIN_MAX * released.ubrmse:
        faults.append(
            f"ubRMSE on blocks left out {trial.ubrmse:.4f} m3/m3, released "
            f"{released.ubrmse:.4f}: less than {1 - GAIN_MAX:.0%} gained"
        )
    pairs = list(zip(trial.blocks, released.blocks, strict=True))
    worse = [f"{a:.4f}, released {b:.4f}" for a, b in pairs if a > WORSE_MAX * b]
    if worse:
        faults.append(f"worse on a block left out: {'; '.join(worse)} m3/m3")
    if trial.rise > RISE_MAX:
        faults.append(f"RMSE over the simulated population rises by {trial.rise - 1:.1%}")
    return faults
