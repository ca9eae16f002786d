"""Define the grid of a soil column and the profile: theta(t, z) and the fluxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from epithermal_host.arrays import Array, Integers

NEWTON_STEPS, NEAR_ROOT = 8, 1e-10  # of the growth of a grid's spacing


NODES_MOST = 1001  # of a column that a solver accepts, HYDRUS-1D or ours


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
        Relative root density, any scale; all 0: no roots.
    """

    z_cm: Array
    material: Integers
    root: Array

    def __post_init__(self) -> None:
        z = self.z_cm
        if z.ndim != 1 or z.size < 3 or z[0] != 0.0 or not np.all(np.diff(z) > 0.0):
            raise ValueError("z_cm must hold at least 3 depths that begin at 0 and increase")
        if self.material.shape != z.shape or self.root.shape != z.shape:
            raise ValueError("material and root must have one value per node")
        if self.material.min() < 0 or not (np.all(self.root >= 0.0) and np.all(self.root < np.inf)):
            raise ValueError("material and root must not be negative")


def graded_grid(
    depth_cm: float,
    nodes: int,
    top_dz_cm: float,
    layer_bottoms_cm: Sequence[float] = (),
    root: ArrayLike | None = None,
) -> Grid:
    """Create a grid whose spacing grows geometrically from the surface down.

    Parameters
    ----------
    depth_cm : [cm]
        Depth of the last node.
    nodes : [-]
        Number of nodes, at least 3.
    top_dz_cm : [cm]
        Spacing at the surface, at most depth_cm / (nodes - 1).
    layer_bottoms_cm : [cm]
        Depths at which the index of the material increases by one; a node on such a depth belongs
        to the layer below.
    root : (nz) [-]
        Relative root density; default: no roots.
    """
    gaps = nodes - 1
    if nodes < 3 or not 0.0 < top_dz_cm <= depth_cm / gaps * (1.0 + 1e-12):
        raise ValueError("need nodes >= 3 and 0 < top_dz_cm <= depth_cm / (nodes - 1)")
    growth = _growth(depth_cm, gaps, top_dz_cm)
    z = np.concatenate(([0.0], np.cumsum(growth ** np.arange(gaps))))
    z *= depth_cm / z[-1]
    material = np.searchsorted(np.asarray(layer_bottoms_cm, dtype=np.float64), z, side="right")
    density = np.zeros(nodes) if root is None else np.asarray(root, dtype=np.float64)
    return Grid(z, material.astype(np.int64), density)


def _growth(depth_cm: float, gaps: int, top_dz_cm: float) -> float:
    """Compute the largest growth with which `gaps` geometric spacings fit into a depth.

    By bisection, as the sum of the series has no inverse. Newton's root only replaces its sums
    where their comparison is certain, which halves the time and changes no bit.
    """
    power = np.arange(gaps)

    def too_long(q: float) -> bool:
        return bool(top_dz_cm * float(np.sum(q**power)) > depth_cm)

    low, high = 1.0, (depth_cm / top_dz_cm) ** (1.0 / (gaps - 1))
    root = high
    for _ in range(NEWTON_STEPS):  # from above: the sum is convex
        terms = root**power
        excess = float(terms.sum()) - depth_cm / top_dz_cm
        root -= excess * root / float((power * terms).sum())
    certain = not too_long(root - NEAR_ROOT) and too_long(root + NEAR_ROOT)
    near = NEAR_ROOT if certain else np.inf
    for _ in range(80):
        q = 0.5 * (low + high)
        last = q in (low, high)  # neighbouring numbers
        long = q > root if abs(q - root) > near else too_long(q)
        low, high = (low, q) if long else (q, high)
        if last:
            break
    return low


def root_density(z_cm: ArrayLike, root_depth_cm: float, shape: float = 0.0) -> Array:
    """Compute the relative root density at depth z, zero below the rooting depth.

    Parameters
    ----------
    z_cm : (nz) [cm]
        Depths.
    root_depth_cm : [cm]
        Rooting depth.
    shape : [-]
        0: linear decrease to zero at the rooting depth; above 0: exp(-shape z / depth).
    """
    r = np.asarray(z_cm, dtype=np.float64) / max(root_depth_cm, 1e-9)
    profile = np.exp(-shape * r) if shape > 0.0 else 1.0 - r
    return np.where(r < 1.0, np.maximum(profile, 0.0), 0.0)


@dataclass(frozen=True, slots=True)
class Profile:
    """Solution of a column: states at `time_d`, and fluxes cumulated since the start.

    All arrays have nt + 1 rows; row 0 is the initial state. Fluxes are positive in the direction
    of their name: infiltration and evaporation through the surface, transpiration by roots, runoff
    from the surface, drainage out of the bottom; rain = infiltration + runoff.
    """

    time_d: Array  # (nt + 1) [d]
    z_cm: Array  # (nz) [cm]
    theta: Array  # (nt + 1, nz) [m3 m-3]
    h_cm: Array  # (nt + 1, nz) [cm]
    infiltration_cm: Array  # (nt + 1) [cm], as the following six
    evaporation_cm: Array
    transpiration_cm: Array
    runoff_cm: Array
    drainage_cm: Array
    storage_cm: Array  # water in the column
    balance_error_cm: Array  # gain of storage minus net inflow, since the start
    steps: int  # number of time steps
    forced_steps: int  # steps accepted at the smallest length without convergence
    iterations: int  # linear solves, at least two per step
    cpu_s: float  # processor time spent in the kernel


def mean_theta(
    z_cm: ArrayLike, theta: ArrayLike, top_cm: float = 0.0, bottom_cm: float = 30.0
) -> Array:
    """Compute the mean water content of a depth interval by the trapezoid rule.

    Parameters
    ----------
    z_cm : (nz) [cm]
        Depth of the nodes.
    theta : (..., nz) [m3 m-3]
        Water content at the nodes, linear between them.
    top_cm, bottom_cm : [cm]
        The interval, inside the column.

    Returns
    -------
    (...) [m3 m-3]
    """
    z = np.asarray(z_cm, dtype=np.float64)
    if not z[0] <= top_cm < bottom_cm <= z[-1] + 1e-9:
        raise ValueError(f"no mean over {top_cm}-{bottom_cm} cm: the column is {z[-1]} cm deep")
    # not @: BLAS sums in another order with another number of rows or threads
    weights = _mean_weights(z, top_cm, bottom_cm)
    return np.asarray(np.einsum("...z,z->...", np.asarray(theta, dtype=np.float64), weights))


def _mean_weights(z: Array, top: float, bottom: float) -> Array:
    """Compute the weight of each node in the mean; their sum is 1."""
    edges = np.unique(np.concatenate(([top, bottom], z[(z > top) & (z < bottom)])))
    width = np.diff(edges)
    weight_edge = 0.5 * (np.append(width, 0.0) + np.insert(width, 0, 0.0)) / (bottom - top)
    left = np.clip(np.searchsorted(z, edges, side="right") - 1, 0, z.size - 2)
    share = (edges - z[left]) / (z[left + 1] - z[left])
    weights = np.zeros_like(z)
    np.add.at(weights, left, weight_edge * (1.0 - share))
    np.add.at(weights, left + 1, weight_edge * share)
    return weights
