"""How far a network's head is moved towards a site's probes, and whether it may be.

Added to the answer of 0-30 cm is w (h - h_site), with h the released network's state, h_site its
mean over the days fitted on:

    w = argmin  mean (p' - w h')^2 + k mean_sim (w (h_sim - h_site))^2

p' and h' are what the probes lack in the answer and the state, each season's mean taken out: probes
are one profile, their timing and spread are used, their level is not. The second term is the
rehearsal: what w changes over the simulated population. k is the least change that does it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Array, Integers
from epithermal_host.retraining.rehearsal import Rehearsal

STRENGTHS = (30.0, 10.0, 3.0)  # k, the least change first
NEARLY = 1.05  # a smaller change is taken where it is as good but for so much
PARTS = 4  # blocks of a single season
LEAST_DAYS = 90  # with probes and counts
LEAST_SEASON_DAYS = 60  # a year with fewer is no season
MONTH_DAYS = 10  # a month with fewer has not been seen
GAIN_MAX = 0.90  # of the released network's error on blocks that were not fitted on
WORSE_MAX = 1.10  # in any of the blocks
RISE_MAX = 1.05  # of the RMSE over the simulated population
RIDGE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class SiteDays:
    """Usable days of a site, for each set of inputs that its station may have."""

    h: Array  # (I, n, H) states
    lack: Array  # (I, n) probes minus the released network's answer [m3 m-3]
    year: Integers  # (n,)
    month: Integers  # (n,) 1 to 12

    def seasons(self) -> list[Integers]:
        """Days of each year that has enough of them."""
        found = [np.flatnonzero(self.year == y) for y in np.unique(self.year)]
        return [rows for rows in found if rows.size >= LEAST_SEASON_DAYS]

    def blocks(self) -> list[Integers]:
        """Blocks of time to leave out: the seasons, or the quarters of what there is."""
        seasons = self.seasons()
        if len(seasons) > 1 and sum(s.size for s in seasons) == self.year.size:
            return seasons
        return np.array_split(np.arange(self.year.size), PARTS)

    def last(self) -> tuple[Integers, Integers]:
        """Days before the last third (of several seasons: before the last), and those in it."""
        blocks, rows = self.blocks(), np.arange(self.year.size)
        begin = blocks[-1][0] if len(self.seasons()) > 1 else 2 * rows.size // 3
        return rows[:begin], rows[begin:]


@dataclass(frozen=True, slots=True)
class Trial:
    """One strength, on blocks that were not fitted on."""

    strength: float
    ubrmse: float  # over all blocks [m3 m-3]
    blocks: tuple[float, ...]  # each [m3 m-3]
    rise: float  # RMSE over the simulated population, relative to the released network's


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What came of it."""

    w: Array | None  # (H,) [m3 m-3]; None: declined
    b: float  # [m3 m-3]; w h + b is added
    strength: float  # NaN: declined
    released: Trial  # the released network on the same blocks
    trials: tuple[Trial, ...]
    last_released: float  # ubRMSE of the last third or season, fitted on what is before [m3 m-3]
    last_retrained: float  # NaN: declined before
    reasons: tuple[str, ...]  # why it was declined; none: accepted


def too_few(days: SiteDays, season: tuple[int, int]) -> list[str]:
    """Why the days cannot carry a retraining; none where they can.

    Parameters
    ----------
    season :
        First and last month in which estimates are judged, of the site file.
    """
    n, faults = days.year.size, []
    if n < LEAST_DAYS:
        faults.append(f"{n} days with probes and counts in season, at least {LEAST_DAYS} needed")
    first, last = season
    length = (last - first) % 12 + 1
    wanted = [(first - 1 + i) % 12 + 1 for i in range(length)]
    unseen = [m for m in wanted if np.sum(days.month == m) < MONTH_DAYS]
    if unseen:
        names = ", ".join(str(m) for m in unseen)
        faults.append(
            f"months of the season hardly seen (under {MONTH_DAYS} days): {names}; what is learnt"
            " in a part of the season is wrong in the rest of it"
        )
    return faults


def change(
    days: SiteDays, rows: Integers, rehearsal: Rehearsal, strength: float
) -> tuple[Array, float]:
    """w (H,) and b by which w h + b is added to the answer [m3 m-3], fitted on some days."""
    states, lacks = [], []
    for year in np.unique(days.year[rows]):
        own = rows[days.year[rows] == year]
        states.append(days.h[:, own] - days.h[:, own].mean(axis=1, keepdims=True))
        lacks.append(days.lack[:, own] - days.lack[:, own].mean(axis=1, keepdims=True))
    h = np.concatenate(states, axis=1).reshape(-1, days.h.shape[-1])
    lack = np.concatenate(lacks, axis=1).ravel()
    centre = days.h[:, rows].mean(axis=(0, 1))
    held = rehearsal.penalty.spread(centre) + RIDGE * np.eye(h.shape[1])
    w = np.linalg.solve(h.T @ h / lack.size + strength * held, h.T @ lack / lack.size)
    return w, -float(w @ centre)


def decide(days: SiteDays, rehearsal: Rehearsal) -> Decision:
    """The strength that stands on blocks of time which were not fitted on; or none."""
    every = np.arange(days.year.size)
    zero = np.zeros(days.h.shape[-1])
    released = _trial(days, rehearsal, None)
    trials = tuple(_trial(days, rehearsal, k) for k in STRENGTHS)
    fit, late = days.last()
    before = _ubrmse(days, late, zero)
    sound = [t for t in trials if not _faults(t, released)]
    if not sound:
        reasons = tuple(f"strength {t.strength:g}: {_faults(t, released)[0]}" for t in trials)
        return Decision(None, 0.0, np.nan, released, trials, before, np.nan, reasons)
    best = min(t.ubrmse for t in sound)
    strength = next(t.strength for t in sound if t.ubrmse <= NEARLY * best)
    after = _ubrmse(days, late, change(days, fit, rehearsal, strength)[0])
    if after > before:
        reasons = (f"worse on the last part of the time, fitted on what is before: ubRMSE "
                   f"{after:.4f}, released {before:.4f} m3/m3",)  # fmt: skip
        return Decision(None, 0.0, np.nan, released, trials, before, after, reasons)
    w, b = change(days, every, rehearsal, strength)
    return Decision(w, b, strength, released, trials, before, after, ())


def _trial(days: SiteDays, rehearsal: Rehearsal, strength: float | None) -> Trial:
    """Each block judged by what the other blocks teach; None: the released network."""
    every = np.arange(days.year.size)
    w, b, errors, sizes = np.zeros(days.h.shape[-1]), 0.0, [], []
    for rows in days.blocks():
        if strength is not None:
            w, _ = change(days, np.setdiff1d(every, rows), rehearsal, strength)
        errors.append(_ubrmse(days, rows, w))
        sizes.append(rows.size)
    rise = 1.0
    if strength is not None:
        w, b = change(days, every, rehearsal, strength)
        rise = rehearsal.judge.rmse(w, b) / rehearsal.judge.rmse(np.zeros(w.size), 0.0)
    total = float(np.sqrt(np.average(np.square(errors), weights=sizes)))
    return Trial(strength or 0.0, total, tuple(errors), rise)


def _ubrmse(days: SiteDays, rows: Integers, w: Array) -> float:
    """Of the answer on some days, each set of inputs and each year with its own mean [m3 m-3]."""
    error = days.h[:, rows] @ w - days.lack[:, rows]
    squares = 0.0
    for year in np.unique(days.year[rows]):
        own = error[:, days.year[rows] == year]
        squares += float(np.sum((own - own.mean(axis=1, keepdims=True)) ** 2))
    return float(np.sqrt(squares / error.size))


def _faults(trial: Trial, released: Trial) -> list[str]:
    faults = []
    if trial.ubrmse > GAIN_MAX * released.ubrmse:
        faults.append(
            f"on blocks that it was not fitted on ubRMSE {trial.ubrmse:.4f} m3/m3, released "
            f"{released.ubrmse:.4f}: less than {1 - GAIN_MAX:.0%} gained"
        )
    pairs = list(zip(trial.blocks, released.blocks, strict=True))
    worse = [f"{a:.4f} from {b:.4f}" for a, b in pairs if a > WORSE_MAX * b]
    if worse:
        faults.append(f"worse on a block that it was not fitted on: {', '.join(worse)} m3/m3")
    if trial.rise > RISE_MAX:
        faults.append(f"forgets: RMSE over the simulated population rises by {trial.rise - 1:.1%}")
    return faults
