"""Run the inner loops of the Richards solver: soil functions, matrix rows, elimination.

Unknown per node: u with h = h_s + h0 (1 - exp(-u)) for u < 0 and h = h_s + h0 u for u >= 0, which
is logarithmic where dry and linear where saturated. theta(u) and K(u) are piecewise cubic tables.
Flux q is positive downwards. Names: docs/equations-columns.md, "Soil water flow".
"""

from __future__ import annotations

import math

from epithermal_host.arrays import Array
from epithermal_host.compute.numba_cache import compiled_in_place

H0_CM = 2.0  # scale between the logarithmic and the linear part of u
U_RANGE = 16.0  # the table begins at u = -16, h = -2e7 cm
CELLS = 256  # of the table, equal in u
PER_U = CELLS / U_RANGE
GAMMA = 1.0 - 1.0 / math.sqrt(2.0)  # SDIRK2, L-stable: Alexander (1977), eq. 10

ITERATIONS = 12
THETA_LINEAR = 1e-3  # largest distance of Newton's last step from the retention curve
THETA_SATURATED = 1e-4  # same where saturated, as such a node cannot release an excess;
THETA_ENTRY = 3e-5  # smaller with air entry, where K(h) is not steep
DU_ACCEPT, DU_CLIP = 1.0, 1.5  # of unsaturated nodes
U_CROSSED = -0.3  # where a step out of saturation stops, so that Newton meets C > 0
RETURNS = 4  # of the surface to FLUX within a stage; beyond, the time step is reduced

# Fields of a node, one row of the workspace (nz, FIELDS): adjacent in memory, because a pass over
# the nodes uses nearly all of them and has few registers for pointers.
U, DU, TH_LIN, TH, DTH, H, DH, OFFSET, HS, PER_DZ = range(10)  # PER_DZ: to the next node
LOW, DIAG, UP, NET, Y, CU = range(10, 16)  # Newton's matrix, net flux, eliminated rows
W, TH_STAR, SINK, DSINK, TH_N, U_N = range(16, 22)
DU_OLD, DU_MOST = 22, 23  # previous and largest allowed step of a node whose steps change sign
FIELDS = 24
# parameters of the column (PARAMETERS)
P0, P_OPT, P2_HIGH, P2_LOW, P3, RATE_HIGH, RATE_LOW, OMEGA_C = range(8)  # Feddes
U_POND, U_DRY, U_GIVEN, U_BOTTOM = range(8, 12)  # heads at the boundaries, as u
K_LOW, DK_LAST_BUT_ONE, DK_LAST = range(12, 15)  # free drainage and its derivatives
BOTTOM_KIND = 15
U_MIN = 16  # lowest u that any sink can cause: a node passes it by rounding only
PARAMETERS = 17
# condition at the surface in a stage
FLUX, POND, DRY, HEAD = range(4)
# the bottom
FREE_DRAINAGE, BOTTOM_HEAD, NO_FLUX = range(3)
# fluxes of a stage and sums of a run
TOP, RUNOFF, UPTAKE, BOTTOM = range(4)


@compiled_in_place
def limited(old: float, step: float, u_min: float) -> tuple[float, bool]:
    """Limit a large step or one across saturation; return the new u and whether to iterate on."""
    if old < 0.0:
        new = max(old + max(min(step, DU_CLIP), -DU_CLIP), u_min)
        return new, abs(step) >= DU_ACCEPT or new != old + step
    new = max(old + step, U_CROSSED)
    return new, new != old + step


@compiled_in_place
def evaluate(work: Array, table: Array, decay: Array, p: Array, active: int) -> int:
    """Apply Newton's step DU to the `active` upper nodes; compute soil functions and fluxes there.

    Stores the linear theta, exactly conservative, and the rows of the next iteration without their
    storage terms and boundary fluxes. Returns the lowest node that has not converged, or -1.
    Deliberately long: split in three functions it is half as fast, inlined or not.
    """
    nz = work.shape[0]
    end = nz if active + 2 >= nz else active + 2  # the first row below changes as well
    u_min = p[U_MIN]
    k_0 = dk_0 = dk_1 = h_0 = dh_0 = q_0 = below_0 = mean = 0.0
    bad = -1
    for i in range(end):
        new = work[i, U]
        close, linear = 1.0, work[i, TH]
        if i < active:
            step, old = work[i, DU], new
            linear += work[i, DTH] * step
            work[i, TH_LIN] = linear
            new += step
            close = THETA_LINEAR
            if not (old < 0.0 and u_min < new < 0.0 and abs(step) < DU_ACCEPT):
                new, far = limited(old, step, u_min)
                if new >= 0.0:
                    close = THETA_ENTRY if work[i, HS] < 0.0 else THETA_SATURATED
                close = -1.0 if far else close
            work[i, U] = new
        x = new + U_RANGE
        c = min(int(x * PER_U), CELLS)
        g = x - c * (1.0 / PER_U)
        r = int(work[i, OFFSET]) + c
        # value and slope by Horner's scheme
        y, z = table[r, 2] + g * table[r, 3], table[r, 6] + g * table[r, 7]
        a, b = table[r, 1] + g * y, table[r, 5] + g * z
        theta, k = table[r, 0] + g * a, table[r, 4] + g * b
        work[i, TH] = theta
        work[i, DTH] = a + g * (y + g * table[r, 3])
        dk = b + g * (z + g * table[r, 7])
        dh = H0_CM
        h = work[i, HS] + H0_CM * new
        if new < 0.0:
            g -= 0.5 / PER_U  # exp(-g) for |g| < 1/32: error under 4e-8
            dh = decay[c] * (1.0 - g * (1.0 - g * (0.5 - g * (1.0 / 6.0))))
            h = work[i, HS] + H0_CM - dh
        work[i, H] = h
        work[i, DH] = dh
        # A node at u_min that still lacks water carries the deficit: no iteration can fill it.
        if not abs(theta - linear) <= close and not (new <= u_min and linear <= theta):
            bad = i
        if i > 0:
            per = work[i - 1, PER_DZ]
            gradient = (h_0 - h) * per + 1.0
            mean = k_0 + k
            conductance = mean * per
            above = dk_0 * gradient + conductance * dh_0
            below = dk * gradient - conductance * dh
            q = mean * gradient
            work[i - 1, DIAG] = above - below_0
            work[i - 1, NET] = q_0 - q
            work[i - 1, UP] = below
            work[i, LOW] = -above
            q_0, below_0 = q, below
        dk_1, k_0, dk_0, h_0, dh_0 = dk_0, k, dk, h, dh
    if end == nz:
        work[nz - 1, DIAG] = -below_0
        work[nz - 1, NET] = q_0
        if p[BOTTOM_KIND] == FREE_DRAINAGE:
            p[K_LOW], p[DK_LAST_BUT_ONE], p[DK_LAST] = mean, dk_1, dk_0
            work[nz - 1, LOW] += dk_1
            work[nz - 1, DIAG] += dk_0
            work[nz - 1, NET] -= mean
    return bad


@compiled_in_place
def sink(work: Array, p: Array, beta: Array, t_pot: float) -> None:
    """Compute root uptake of each node [cm d-1] and its derivative in u: Feddes et al. (1978)."""
    share = 1.0 if t_pot < p[RATE_LOW] else 0.0
    if p[RATE_LOW] <= t_pot < p[RATE_HIGH]:
        share = (p[RATE_HIGH] - t_pot) / (p[RATE_HIGH] - p[RATE_LOW])
    p2 = p[P2_HIGH] + share * (p[P2_LOW] - p[P2_HIGH])
    omega = 0.0
    for i in range(beta.size):
        h = work[i, H]
        a = da = 0.0
        if p[P3] < h < p2:
            da = 1.0 / (p2 - p[P3])
            a = (h - p[P3]) * da
        elif p2 <= h <= p[P_OPT]:
            a = 1.0
        elif p[P_OPT] < h < p[P0]:
            da = -1.0 / (p[P0] - p[P_OPT])
            a = (h - p[P0]) * da
        work[i, SINK] = beta[i] * t_pot * a
        work[i, DSINK] = beta[i] * t_pot * da * work[i, DH]
        omega += beta[i] * a
    scale = 1.0 / max(omega, p[OMEGA_C], 1e-12)  # compensation: Jarvis (1989)
    if scale != 1.0:
        for i in range(beta.size):
            work[i, SINK] *= scale
            work[i, DSINK] *= scale


@compiled_in_place
def row(work: Array, i: int, rate: float) -> tuple[float, float]:
    """Compute diagonal and right-hand side of a node with storage; rate = 1 / (gamma dt)."""
    storage = work[i, W] * rate
    diag = storage * work[i, DTH] + work[i, DIAG] + work[i, DSINK]
    rhs = storage * (work[i, TH_STAR] - work[i, TH]) + work[i, NET] - work[i, SINK]
    return diag, rhs


@compiled_in_place
def eliminate(
    work: Array, rate: float, d_top: float, r_top: float, d_low: float, r_low: float, count: int
) -> None:
    """Solve the `count` upper rows for DU from both ends at once, which halves the latency.

    Diagonal and right-hand side of the first and the last row are arguments: they contain the
    boundary conditions.
    """
    last = count - 1
    m = count // 2
    a, b = 1.0 / d_top, 1.0 / d_low
    y_a, y_b = r_top * a, r_low * b
    work[0, Y], work[0, CU] = y_a, work[0, UP] * a
    work[last, Y], work[last, CU] = y_b, work[last, LOW] * b
    for i in range(1, m):
        diag, rhs = row(work, i, rate)
        a = 1.0 / (diag - (work[i, LOW] * work[i - 1, UP]) * a)
        y_a = (rhs - work[i, LOW] * y_a) * a
        work[i, Y], work[i, CU] = y_a, work[i, UP] * a
        j = last - i
        if j > m:
            diag, rhs = row(work, j, rate)
            b = 1.0 / (diag - (work[j, UP] * work[j + 1, LOW]) * b)
            y_b = (rhs - work[j, UP] * y_b) * b
            work[j, Y], work[j, CU] = y_b, work[j, LOW] * b
    diag, rhs = row(work, m, rate)
    x_a = (rhs - work[m, LOW] * work[m - 1, Y] - work[m, UP] * work[m + 1, Y]) / (
        diag - work[m, LOW] * work[m - 1, CU] - work[m, UP] * work[m + 1, CU]
    )
    x_b = x_a
    work[m, DU] = x_a
    for i in range(1, m + 1):
        x_a = work[m - i, Y] - work[m - i, CU] * x_a
        work[m - i, DU] = x_a
        if m + i <= last:
            x_b = work[m + i, Y] - work[m + i, CU] * x_b
            work[m + i, DU] = x_b
