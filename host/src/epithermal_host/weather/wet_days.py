"""What a wet day does to the days beside it: shared by the generator and the fit."""

from __future__ import annotations

import numpy as np

from epithermal_host.arrays import Array, Mask


def spell_factor(rise: float, wet: Mask) -> Array:
    """Factor of an amount by the wet days beside it: rain is heavier inside a wet spell.

    Parameters
    ----------
    rise : [-]
        Relative rise with each wet neighbour; the factor of a day with one is 1.
    wet : (days,)

    Returns
    -------
    (days,) [-]

    References
    ----------
    Katz (1977), amounts that depend on the state of the neighbouring days (chain-dependent).
    """
    neighbours = np.zeros(wet.size)
    neighbours[1:] += wet[:-1]
    neighbours[:-1] += wet[1:]
    return np.asarray(1.0 + rise * (neighbours - 1.0))


def wetness(reach: float, wet: Mask) -> Array:
    """Wet days spread over two days before and after, as a depression passes; the mean is kept.

    Parameters
    ----------
    reach : [-]
        Weight of a neighbour over that of the day itself, 0 (the day alone) to 1.
    wet : (days,)

    Returns
    -------
    (days,) [-]
        Between 0 and 1.
    """
    weight = reach ** np.abs(np.arange(-2, 3)) if reach > 0.0 else np.array([0.0, 0, 1, 0, 0])
    padded = np.pad(wet.astype(np.float64), 2, mode="edge")
    return np.asarray(np.convolve(padded, weight / weight.sum(), mode="valid"))
