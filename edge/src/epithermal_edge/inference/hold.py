"""Hold the last known value of a sensor that misses some, for many sites and records at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.block import Array, Mask, carry


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A measured value, the last known one where it is missing."""

    value: Array  # (T, n)
    known: Mask  # (T, n) measured
    gaps: NDArray[np.intp]  # (m,) sites that miss a value
    lost: Mask  # (T, m) too old where it is missing
    error: Array  # (T, m) relative, because of its age
    newest: Array  # (n,) after the block
    newest_age_s: Array  # (n,)


def hold(
    first: Array, first_age_s: Array, known: Mask, now: Array, late: Mask, elapsed_s: Array
) -> tuple[Held, Array]:
    """Hold the last known value (n,) of age (n,) where it is not known now, (T, n).

    Returns
    -------
    Held, (T, m) [s]
        Without `lost` and `error`; the ages of the values at the sites that miss one.
    """
    gaps = np.flatnonzero(~known.all(axis=0))
    rows = np.flatnonzero(~late)
    newest = now[rows[-1]].copy() if rows.size else first
    newest_age_s = np.zeros(len(first)) if rows.size else first_age_s
    age_s = np.zeros((len(now), gaps.size))
    if gaps.size:
        some, there = now[:, gaps], known[:, gaps]
        kept = carry(first[gaps], there & ~late[:, np.newaxis], some)
        now = now.copy()
        now[:, gaps] = np.where(there, some, kept[:-1])
        age_s = _ages(first_age_s[gaps], there, late, elapsed_s)
        if rows.size:
            newest[gaps], newest_age_s[gaps] = kept[-1], age_s[rows[-1]]
    never = np.zeros(age_s.shape, dtype=np.bool_)
    return Held(now, known, gaps, never, np.zeros(age_s.shape), newest, newest_age_s), age_s


def _ages(first_age_s: Array, known: Mask, late: Mask, elapsed_s: Array) -> Array:
    """Sum the time since a value was known, (T, m) [s]; 0 where it is known."""
    age_s = np.zeros(known.shape)
    if late.any():
        newest_s = first_age_s
        for row, step_s in enumerate(elapsed_s.tolist()):
            age_s[row] = np.where(known[row], 0.0, newest_s + step_s)
            newest_s = newest_s if late[row] else age_s[row]
        return age_s
    never = ~known.any(axis=0)
    if never.any():
        steps_s = np.concatenate(
            (first_age_s[never][np.newaxis], np.repeat(elapsed_s[:, np.newaxis], never.sum(), 1))
        )
        age_s[:, never] = np.add.accumulate(steps_s)[1:]
    for column in np.flatnonzero(~never).tolist():
        edge = np.concatenate(([True], known[:, column], [True]))
        for begin, end in np.flatnonzero(edge[1:] != edge[:-1]).reshape(-1, 2).tolist():
            before_s = first_age_s[column] if begin == 0 else 0.0
            steps_s = np.concatenate(([before_s], elapsed_s[begin:end]))
            age_s[begin:end, column] = np.add.accumulate(steps_s)[1:]
    return age_s
