"""Tabulate a soil for the Richards solver: theta(u), K(u) as monotone cubic pieces."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from epithermal_host.arrays import Array
from epithermal_host.soil import richards_kernel as kernel
from epithermal_host.soil.hydraulics import SoilHydraulics

STORATIVITY = 1e-7  # increase of theta per u above saturation: keeps a saturated column solvable


def unknown(h_cm: Array, hs_cm: Array | float) -> Array:
    """Compute the solver's unknown u from the pressure head."""
    x = (h_cm - hs_cm) / kernel.H0_CM
    u = np.where(x < 0.0, -np.log1p(np.maximum(-x, 0.0)), x)
    return np.maximum(u, -kernel.U_RANGE)


@functools.cache
def decay() -> Array:
    """Compute h0 exp(-u), the slope of h, at the centre of each cell [cm]."""
    middle = (np.arange(kernel.CELLS + 1) + 0.5) / kernel.PER_U
    return np.asarray(kernel.H0_CM * np.exp(kernel.U_RANGE - middle))


@functools.lru_cache(maxsize=256)
def soil_table(soil: SoilHydraulics) -> Array:
    """Tabulate cubic pieces of theta(u) and K(u) / 2; (cells + 1, 8), the last row saturated.

    Coefficients of powers of u minus the left end of its cell. Half of K, because a flux uses the
    mean of two nodes.
    """
    table = np.zeros((kernel.CELLS + 1, 8))
    table[:, :4] = _pieces(soil, soil.theta)
    table[:, 4:] = 0.5 * _pieces(soil, soil.k)
    table[-1, 1] = STORATIVITY
    return table


def _pieces(soil: SoilHydraulics, function: Callable[[ArrayLike], Array]) -> Array:
    """Approximate a function of h by a cubic in each cell of u; constant where saturated."""

    def of_u(u: Array) -> Array:
        h = -soil.air_entry_cm - kernel.H0_CM * np.expm1(-np.minimum(u, 0.0))
        return np.asarray(function(h))

    u = -kernel.U_RANGE + np.arange(kernel.CELLS + 1) / kernel.PER_U
    eps = 1e-5
    below, value, above = of_u(np.stack((u - eps, u, u + eps)))
    slope = (value - below) / eps
    slope[:-1] = (above[:-1] - below[:-1]) / (2.0 * eps)
    pieces = _cubic(value, slope / kernel.PER_U) * kernel.PER_U ** np.arange(4.0)
    return np.vstack((pieces, [value[-1], 0.0, 0.0, 0.0]))


def _cubic(value: Array, slope: Array) -> Array:
    """Compute Hermite pieces on unit cells, with slopes limited to keep them monotone.

    References
    ----------
    Fritsch and Carlson (1980): slopes within three times the rise on either side.
    """
    rise = np.diff(value)
    most = 3.0 * np.minimum(np.append(rise, np.inf), np.insert(rise, 0, np.inf))
    d = np.minimum(slope, most)
    return np.stack((value[:-1], d[:-1], 3.0 * rise - 2.0 * d[:-1] - d[1:],
                     d[:-1] + d[1:] - 2.0 * rise), axis=1)  # fmt: skip
