"""Grid and Profile: the nodes of a column, and theta(t, z) with its fluxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from epithermal_host.arrays import Array, Integers


@dataclass(frozen=True, slots=True)
class Grid:
    """Nodes of a soil column, the first at the surface.

    Parameters
    ----------
    z_cm : (nz) [cm]
        Depth of the nodes, 0 and increasing.
    material : (nz) [-]
        Index of the soil at each node.
    root : (nz) [-]
        Relative root density, any scale; zeros: no roots.
    """

    z_cm: Array
    material: Integers
    root: Array

    def __post_init__(self) -> None:
        z = self.z_cm
        if z.ndim != 1 or z.size < 3 or z[0] != 0.0 or not np.all(np.diff(z) > 0.0):
            raise ValueError("z_cm must hold at least 3 depths that begin at 0 and increase")
        if self.material.shape != z.shape or self.root.shape != z.shape:
            raise ValueError("material and root must have one value a node")
        if self.material.min() < 0 or not (np.all(self.root >= 0.0) and np.all(self.root < np.inf)):
            raise ValueError("material and root must not be negative")


def graded_grid(
    depth_cm: float,
    nodes: int,
    top_dz_cm: float,
    layer_bottoms_cm: Sequence[float] = (),
    root: ArrayLike | None = None,
) -> Grid:
    """Grid whose spacing grows geometrically from the surface down.

    Parameters
    ----------
    depth_cm : [cm]
        Depth of the last node.
    nodes : [-]
        Number of nodes, at least 3.
    top_dz_cm : [cm]
        Spacing at the surface, at most depth_cm / (nodes - 1).
    layer_bottoms_cm : [cm]
        Depths at which the material's index goes up by one; a node on the border is below it.
    root : (nz) [-]
        Relative root density; none without it.
    """
    gaps = nodes - 1
    if nodes < 3 or not 0.0 < top_dz_cm <= depth_cm / gaps * (1.0 + 1e-12):
        raise ValueError("need nodes >= 3 and 0 < top_dz_cm <= depth_cm / (nodes - 1)")
    low, high = 1.0, (depth_cm / top_dz_cm) ** (1.0 / (gaps - 1))
    for _ in range(80):  # bisection: the sum of a geometric series has no inverse
        q = 0.5 * (low + high)
        too_long = top_dz_cm * float(np.sum(q ** np.arange(gaps))) > depth_cm
        low, high = (low, q) if too_long else (q, high)
    z = np.concatenate(([0.0], np.cumsum(low ** np.arange(gaps))))
    z *= depth_cm / z[-1]
    material = np.searchsorted(np.asarray(layer_bottoms_cm, dtype=np.float64), z, side="right")
    density = np.zeros(nodes) if root is None else np.asarray(root, dtype=np.float64)
    return Grid(z, material.astype(np.int64), density)


def root_density(z_cm: ArrayLike, root_depth_cm: float, shape: float = 0.0) -> Array:
    """Relative root density at depth z, zero below the rooting depth.

    Parameters
    ----------
    z_cm : (nz) [cm]
        Depths.
    root_depth_cm : [cm]
        Rooting depth.
    shape : [-]
        0: falls linearly to zero at the rooting depth; above 0: exponential, exp(-shape z / depth).
    """
    r = np.asarray(z_cm, dtype=np.float64) / max(root_depth_cm, 1e-9)
    profile = np.exp(-shape * r) if shape > 0.0 else 1.0 - r
    return np.where(r < 1.0, np.maximum(profile, 0.0), 0.0)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a column did: states at `time_d`, and fluxes cumulated since its first moment.

    All arrays have nt + 1 rows; row 0 is the initial state. Fluxes are positive as named:
    infiltration and evaporation through the surface, transpiration by roots, runoff off the
    surface, drainage out of the bottom; rain = infiltration + runoff.
    """

    time_d: Array  # (nt + 1) [d]
    z_cm: Array  # (nz) [cm]
    theta: Array  # (nt + 1, nz) [m3 m-3]
    h_cm: Array  # (nt + 1, nz) [cm]
    infiltration_cm: Array  # (nt + 1) [cm], as the next ones
    evaporation_cm: Array
    transpiration_cm: Array
    runoff_cm: Array
    drainage_cm: Array
    storage_cm: Array  # water in the column
    balance_error_cm: Array  # storage gained minus net inflow, since the start
    steps: int  # time steps taken
    forced_steps: int  # of them, accepted at the smallest step without convergence
    iterations: int  # linear solves, two or more a step
    cpu_s: float  # processor time spent in the kernel


def mean_theta(
    z_cm: ArrayLike, theta: ArrayLike, top_cm: float = 0.0, bottom_cm: float = 30.0
) -> Array:
    """Mean water content of a depth interval, by the trapezoid rule between nodes.

    Parameters
    ----------
    z_cm : (nz) [cm]
        Depth of the nodes.
    theta : (..., nz) [m3 m-3]
        Water content at the nodes; linear between them.
    top_cm, bottom_cm : [cm]
        The interval, inside the column.

    Returns
    -------
    (...) [m3 m-3]
    """
    z = np.asarray(z_cm, dtype=np.float64)
    if not z[0] <= top_cm < bottom_cm <= z[-1] + 1e-9:
        raise ValueError(f"no mean over {top_cm}-{bottom_cm} cm in a column of {z[-1]} cm")
    return np.asarray(theta, dtype=np.float64) @ _mean_weights(z, top_cm, bottom_cm)


def _mean_weights(z: Array, top: float, bottom: float) -> Array:
    """Weight of each node's value in the mean; their sum is 1."""
    edges = np.unique(np.concatenate(([top, bottom], z[(z > top) & (z < bottom)])))
    width = np.diff(edges)
    weight_edge = 0.5 * (np.append(width, 0.0) + np.insert(width, 0, 0.0)) / (bottom - top)
    left = np.clip(np.searchsorted(z, edges, side="right") - 1, 0, z.size - 2)
    share = (edges - z[left]) / (z[left + 1] - z[left])
    weights = np.zeros_like(z)
    np.add.at(weights, left, weight_edge * (1.0 - share))
    np.add.at(weights, left + 1, weight_edge * share)
    return weights
