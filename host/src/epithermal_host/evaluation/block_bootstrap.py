"""Compute intervals of the difference between two methods by resampling blocks of days."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Array, Integers

BLOCK_D = 30  # evaluated days in a block: errors of soil water persist for weeks
DRAWS = 2000
SEED = 20_240_901
LEAST_BLOCKS = 3  # with fewer, an interval says nothing
QUANTILES = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference and its 90 % interval [m3 m-3]; NaN: too few days for an interval."""

    value: float
    low: float
    high: float


def ubrmse_difference(
    error: Array, other: Array, block_d: int = BLOCK_D, draws: int = DRAWS, seed: int = SEED
) -> Interval:
    """Compute the ubRMSE of one method minus that of another, with its interval.

    Both methods are resampled by the same blocks, so that what they have in common cancels.

    Parameters
    ----------
    error, other : (n,) [m3 m-3]
        Errors of both methods on the evaluated days, in time order.
    block_d :
        Length of a block in evaluated days.
    draws, seed :
        Number of resampled series, and the seed of their random blocks.

    References
    ----------
    Circular block bootstrap: Politis and Romano (1992), in Exploring the Limits of Bootstrap,
    p. 263; 5 and 95 % of the resampled differences.
    """
    value = float(np.std(error) - np.std(other))
    number = math.ceil(error.size / block_d)
    if error.size < LEAST_BLOCKS * block_d:
        return Interval(value, math.nan, math.nan)
    first = np.random.default_rng(seed).integers(error.size, size=(draws, number))
    difference = _deviation(error, first, block_d) - _deviation(other, first, block_d)
    low, high = np.quantile(difference, QUANTILES)
    return Interval(value, float(low), float(high))


def _deviation(error: Array, first: Integers, block_d: int) -> Array:
    """Compute the standard deviation of each resampled series; first: (draws, blocks)."""
    centred = error - error.mean()
    days = first.shape[1] * block_d
    mean, square = (
        _block_sums(x, block_d)[first].sum(axis=1) / days for x in (centred, centred * centred)
    )
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0.0)))


def _block_sums(value: Array, block_d: int) -> Array:
    """Sum the block that begins at each day, (n,); the series continues with its start."""
    total = np.concatenate([[0.0], np.cumsum(np.concatenate([value, value[: block_d - 1]]))])
    return np.asarray(total[block_d:] - total[:-block_d])
