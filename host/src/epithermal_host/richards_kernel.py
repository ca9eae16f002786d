"""One time step's inner loops of the Richards solver: soil functions, rows, elimination.

Unknown per node: u with h = h_s + h0 (1 - exp(-u)) for u < 0 and h = h_s + h0 u for u >= 0, so
logarithmic where dry and linear where saturated. theta(u), K(u) are cubic pieces from a table.
Flux q is positive downwards. Names: docs/equations-columns.md, "Soil water flow".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from epithermal_host.compiled import compiled

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

H0_CM = 2.0  # scale between the logarithmic and the linear part of u
U_RANGE = 16.0  # the table begins at u = -16, h = -2e7 cm
CELLS = 256  # of the table, all equal in u
PER_U = CELLS / U_RANGE
GAMMA = 1.0 - 1.0 / math.sqrt(2.0)  # SDIRK2, L-stable: Alexander (1977), eq. 10

ITERATIONS = 12
THETA_LINEAR = 1e-3  # Newton's last step may differ by this from the soil's curve
DU_ACCEPT, DU_CLIP = 1.0, 1.5  # of unsaturated nodes
RETURNS = 4  # of the surface to flux within a stage, then a smaller step

# rows of the workspace, one value a node
U, U_N, DU, TH_N, TH_STAR, TH_LIN, TH, DTH, H, DH, SINK, DSINK = range(12)
LOW, DIAG, UP, NET, Y, CU = range(12, 18)  # Newton's matrix, net flux, eliminated rows
ROWS = 18
# rows of the grid's numbers
W, PER_DZ, HS = range(3)
# the surface: what holds in a stage
FLUX, POND, DRY, HEAD = range(4)
# the bottom
FREE_DRAINAGE, BOTTOM_HEAD, NO_FLUX = range(3)
# fluxes of a stage and sums of a run
TOP, RUNOFF, UPTAKE, BOTTOM = range(4)


class Problem(NamedTuple):
    """A column as the kernels see it."""

    work: Array  # (ROWS, nz)
    grid: Array  # (3, nz): width [cm], 1 / spacing [cm-1], h_s [cm]
    offset: Integers  # (nz) first row of the node's material in the table
    table: Array  # (materials * (CELLS + 1), 8)
    decay: Array  # (CELLS + 1) exp(-u) in the middle of each cell
    feddes: Array  # P0, POpt, P2H, P2L, P3, r2H, r2L, omega_c
    limits: Array  # u of the surface: ponding, driest, given; u of the bottom
    seep: Array  # (3) mean K of the two lowest nodes and its derivatives in their u
    bottom: int


@compiled
def evaluate(p: Problem) -> int:
    """Take Newton's step DU, then soil functions and fluxes at the new u, in one pass.

    Leaves the linear theta, exactly conservative, and the rows of the next iteration less their
    storage terms and boundary fluxes. Returns how many nodes are not yet good enough.
    """
    u, du, lin, hs, per_dz = p.work[U], p.work[DU], p.work[TH_LIN], p.grid[HS], p.grid[PER_DZ]
    th, dth, hh, dhh = p.work[TH], p.work[DTH], p.work[H], p.work[DH]
    low, diag, up, net = p.work[LOW], p.work[DIAG], p.work[UP], p.work[NET]
    k_0 = dk_0 = h_0 = dh_0 = q_0 = below_0 = 0.0
    mean = dk_1 = 0.0
    bad = 0
    for i in range(u.size):
        old, step = u[i], du[i]
        linear = th[i] + dth[i] * step
        limit = DU_CLIP if old < 0.0 else 1e300
        new = max(old + max(min(step, limit), -limit), -U_RANGE if old < 0.0 else -DU_CLIP)
        x = (new + U_RANGE) * PER_U
        c = min(int(x), CELLS)
        f = x - c
        r = p.offset[i] + c
        a, b, d = p.table[r, 1], p.table[r, 2], p.table[r, 3]
        theta = p.table[r, 0] + f * (a + f * (b + f * d))
        dtheta = PER_U * (a + f * (2.0 * b + f * (3.0 * d)))
        a, b, d = p.table[r, 5], p.table[r, 6], p.table[r, 7]
        k = p.table[r, 4] + f * (a + f * (b + f * d))
        dk = PER_U * (a + f * (2.0 * b + f * (3.0 * d)))
        if new < 0.0:
            g = (f - 0.5) / PER_U  # exp(-g) for |g| < 1/32: error under 4e-8
            dh = H0_CM * p.decay[c] * (1.0 - g * (1.0 - g * (0.5 - g * (1.0 / 6.0))))
            h = hs[i] + H0_CM - dh
        else:
            dh = H0_CM
            h = hs[i] + H0_CM * new
        far = old < 0.0 and abs(step) >= DU_ACCEPT
        if not abs(theta - linear) <= THETA_LINEAR or far or abs(new - old - step) > 1e-9:
            bad += 1
        u[i], th[i], dth[i], hh[i], dhh[i], lin[i] = new, theta, dtheta, h, dh, linear
        if i > 0:
            per = per_dz[i - 1]
            gradient = (h_0 - h) * per + 1.0
            mean = 0.5 * (k_0 + k)
            conductance = mean * per
            above = 0.5 * dk_0 * gradient + conductance * dh_0
            below = 0.5 * dk * gradient - conductance * dh
            q = mean * gradient
            diag[i - 1] = above - below_0
            net[i - 1] = q_0 - q
            up[i - 1] = below
            low[i] = -above
            q_0, below_0 = q, below
        dk_1, k_0, dk_0, h_0, dh_0 = dk_0, k, dk, h, dh
    last = u.size - 1
    diag[last], net[last] = -below_0, q_0
    if p.bottom == FREE_DRAINAGE:
        p.seep[0], p.seep[1], p.seep[2] = mean, 0.5 * dk_1, 0.5 * dk_0
        low[last] += p.seep[1]
        diag[last] += p.seep[2]
        net[last] -= mean
    return bad


@compiled
def sink(p: Problem, beta: Array, t_pot: float) -> None:
    """Root uptake of each node [cm d-1] and its derivative in u: Feddes et al. (1978)."""
    p0, p1, p3, omega_c = p.feddes[0], p.feddes[1], p.feddes[4], p.feddes[7]
    rate_high, rate_low = p.feddes[5], p.feddes[6]
    share = 1.0 if t_pot < rate_low else 0.0
    if rate_low <= t_pot < rate_high:
        share = (rate_high - t_pot) / (rate_high - rate_low)
    p2 = p.feddes[2] + share * (p.feddes[3] - p.feddes[2])
    h, dh, s, ds = p.work[H], p.work[DH], p.work[SINK], p.work[DSINK]
    omega = 0.0
    for i in range(h.size):
        a = da = 0.0
        if p3 < h[i] < p2:
            da = 1.0 / (p2 - p3)
            a = (h[i] - p3) * da
        elif p2 <= h[i] <= p1:
            a = 1.0
        elif p1 < h[i] < p0:
            da = -1.0 / (p0 - p1)
            a = (h[i] - p0) * da
        s[i] = beta[i] * t_pot * a
        ds[i] = beta[i] * t_pot * da * dh[i]
        omega += beta[i] * a
    scale = 1.0 / max(omega, omega_c, 1e-12)  # compensation: Jarvis (1989)
    if scale != 1.0:
        for i in range(h.size):
            s[i] *= scale
            ds[i] *= scale


@compiled
def row(p: Problem, i: int, rate: float) -> tuple[float, float]:
    """Diagonal and right side of a node, storage included; rate = 1 / (gamma dt)."""
    storage = p.grid[W, i] * rate
    diag = storage * p.work[DTH, i] + p.work[DIAG, i] + p.work[DSINK, i]
    rhs = storage * (p.work[TH_STAR, i] - p.work[TH, i]) + p.work[NET, i] - p.work[SINK, i]
    return diag, rhs


@compiled
def eliminate(
    p: Problem, rate: float, d_top: float, r_top: float, d_low: float, r_low: float
) -> None:
    """Solve for DU from both ends at once, which halves the latency; first and last row given."""
    low, up, y, cu, x = p.work[LOW], p.work[UP], p.work[Y], p.work[CU], p.work[DU]
    last = x.size - 1
    m = x.size // 2
    j = last
    a, b = 1.0 / d_top, 1.0 / d_low
    y_a, y_b = r_top * a, r_low * b
    y[0], y[j], cu[0], cu[j] = y_a, y_b, up[0] * a, low[j] * b
    for i in range(1, m):
        diag, rhs = row(p, i, rate)
        a = 1.0 / (diag - (low[i] * up[i - 1]) * a)
        y_a = (rhs - low[i] * y_a) * a
        y[i], cu[i] = y_a, up[i] * a
        j = last - i
        if j > m:
            diag, rhs = row(p, j, rate)
            b = 1.0 / (diag - (up[j] * low[j + 1]) * b)
            y_b = (rhs - up[j] * y_b) * b
            y[j], cu[j] = y_b, low[j] * b
    diag, rhs = row(p, m, rate)
    x_a = (rhs - low[m] * y[m - 1] - up[m] * y[m + 1]) / (
        diag - low[m] * cu[m - 1] - up[m] * cu[m + 1]
    )
    x_b = x_a
    x[m] = x_a
    for i in range(1, m + 1):
        x_a = y[m - i] - cu[m - i] * x_a
        x[m - i] = x_a
        if m + i <= last:
            x_b = y[m + i] - cu[m + i] * x_b
            x[m + i] = x_b
