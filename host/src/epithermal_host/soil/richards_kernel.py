"""Run the inner loops of the Richards solver: soil functions, matrix rows, elimination.

Unknown per node: u with h = h_s + h0 (1 - exp(-u)) for u < 0 and h = h_s + h0 u for u >= 0, which
is logarithmic where dry and linear where saturated. theta(u) and K(u) are piecewise cubic tables.
Flux q is positive downwards. Names: docs/equations-columns.md, "Soil water flow".
"""

from __future__ import annotations

import math

import numpy as np

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

# The workspace is one array of FIELDS fields of STRIDE values: field F of node i is work[F + i].
# Only because these distances are constants can the compiler prove that no field overlaps another
# and compute several nodes with one instruction. STRIDE and the order of the fields matter as well:
# a processor takes addresses that are equal modulo 4096 bytes (512 values) for the same one, and
# delays a load after such a store. So a pass stores in fields before those that it loads.
STRIDE = 1040  # more than NODES_MOST, and 16 modulo 512
FIELDS = 31
DU, Y, CU, DIAG, RHS = range(0, 5 * STRIDE, STRIDE)  # eliminated rows; Newton's matrix
TH, DTH = range(5 * STRIDE, 7 * STRIDE, STRIDE)
# of the interface above a node: flux, its derivatives in u of the nodes above and below it
Q, DQ_ABOVE, DQ_BELOW = range(7 * STRIDE, 10 * STRIDE, STRIDE)
H, DH, K, DK = range(10 * STRIDE, 14 * STRIDE, STRIDE)  # K: half of it
CLOSE, TH_LIN = range(14 * STRIDE, 16 * STRIDE, STRIDE)  # accepted distance from the curve
ROW, G, U = range(16 * STRIDE, 19 * STRIDE, STRIDE)  # of the table, and u less its left end
# HS to W are of the column: PER_DZ to the node above, CLOSE_WET THETA_SATURATED or THETA_ENTRY
HS, FIRST_ROW, CLOSE_WET, PER_DZ, W = range(19 * STRIDE, 24 * STRIDE, STRIDE)
SINK, DSINK, TH_STAR, TH_N, U_N = range(24 * STRIDE, 29 * STRIDE, STRIDE)
# previous and largest allowed step of a node whose steps change sign
DU_OLD, DU_MOST = range(29 * STRIDE, 31 * STRIDE, STRIDE)
# parameters of the column (PARAMETERS)
P0, P_OPT, P2_HIGH, P2_LOW, P3, RATE_HIGH, RATE_LOW, OMEGA_C = range(8)  # Feddes
U_POND, U_DRY, U_GIVEN, U_BOTTOM = range(8, 12)  # heads at the boundaries, as u
BOTTOM_KIND = 12
U_MIN = 13  # lowest u that any sink can cause: a node passes it by rounding only
PARAMETERS = 14
# condition at the surface in a stage
FLUX, POND, DRY, HEAD = range(4)
# the bottom
FREE_DRAINAGE, BOTTOM_HEAD, NO_FLUX = range(3)
# fluxes of a stage and sums of a run
TOP, RUNOFF, UPTAKE, BOTTOM = range(4)


@compiled_in_place
def evaluate(work: Array, table: Array, decay: Array, p: Array, nz: int, active: int) -> int:
    """Apply Newton's step DU to the `active` upper nodes; compute soil functions and fluxes there.

    Stores the linear theta, exactly conservative. Returns the lowest node that has not converged,
    or -1. One pass for each kind of work, of which all but the lookup handle several nodes with
    one instruction.
    """
    limit(work, p[U_MIN], active)
    look_up(work, table, decay, active)
    bad = compare(work, p[U_MIN], active)
    for i in range(1, min(active + 1, nz)):
        per = work[PER_DZ + i]
        gradient = (work[H + i - 1] - work[H + i]) * per + 1.0
        mean = work[K + i - 1] + work[K + i]
        work[Q + i] = mean * gradient
        work[DQ_ABOVE + i] = work[DK + i - 1] * gradient + mean * per * work[DH + i - 1]
        work[DQ_BELOW + i] = work[DK + i] * gradient - mean * per * work[DH + i]
    if active == nz and p[BOTTOM_KIND] == FREE_DRAINAGE:
        work[Q + nz] = work[K + nz - 2] + work[K + nz - 1]
        work[DQ_ABOVE + nz] = work[DK + nz - 1]
    return bad


@compiled_in_place
def limit(work: Array, u_min: float, active: int) -> None:
    """Apply Newton's step, limited if large or across saturation; locate u in the table.

    CLOSE is the distance from the retention curve that is accepted, below 0: none.
    """
    for i in range(active):
        old, step = work[U + i], work[DU + i]
        work[TH_LIN + i] = work[TH + i] + work[DTH + i] * step
        target, dry = old + step, old < 0.0
        least = max(old - DU_CLIP, u_min) if dry else U_CROSSED
        new = min(max(target, least), old + DU_CLIP if dry else np.inf)
        far = new != target or abs(step) >= (DU_ACCEPT if dry else np.inf)
        close = THETA_LINEAR if new < 0.0 else work[CLOSE_WET + i]
        work[CLOSE + i] = -1.0 if far else close
        work[U + i] = new
        x = new + U_RANGE
        cell = np.floor(x * PER_U)
        cell = cell if cell < CELLS else float(CELLS)  # also where u is not a number
        work[G + i] = x - cell * (1.0 / PER_U)
        work[ROW + i] = work[FIRST_ROW + i] + cell


@compiled_in_place
def look_up(work: Array, table: Array, decay: Array, active: int) -> None:
    """Compute theta, K and their slopes from the table by Horner's scheme, and DH at mid-cell."""
    for i in range(active):
        g = work[G + i]
        row = np.uint64(np.int64(work[ROW + i]))
        r = row * np.uint64(8)
        c3, d3 = table[r + np.uint64(3)], table[r + np.uint64(7)]
        y, z = table[r + np.uint64(2)] + g * c3, table[r + np.uint64(6)] + g * d3
        a, b = table[r + np.uint64(1)] + g * y, table[r + np.uint64(5)] + g * z
        work[TH + i] = table[r] + g * a
        work[K + i] = table[r + np.uint64(4)] + g * b
        work[DTH + i] = a + g * (y + g * c3)
        work[DK + i] = b + g * (z + g * d3)
        work[DH + i] = decay[row]


@compiled_in_place
def compare(work: Array, u_min: float, active: int) -> int:
    """Compute h and its slope; return the lowest node that is too far from the retention curve."""
    far = 0.0
    for i in range(active):
        new, theta, linear = work[U + i], work[TH + i], work[TH_LIN + i]
        g = work[G + i] - 0.5 / PER_U  # exp(-g) for |g| < 1/32: error under 4e-8
        dh = work[DH + i] * (1.0 - g * (1.0 - g * (0.5 - g * (1.0 / 6.0))))
        dh = dh if new < 0.0 else H0_CM
        rise = H0_CM - dh if new < 0.0 else H0_CM * new
        work[DH + i] = dh
        work[H + i] = work[HS + i] + rise
        # A node at u_min that still lacks water carries the deficit: no iteration can fill it.
        short = new <= u_min and linear <= theta
        away = 0.0 if abs(theta - linear) <= work[CLOSE + i] or short else 1.0
        work[CLOSE + i] = away
        far += away
    if far > 0.0:
        for i in range(active - 1, -1, -1):
            if work[CLOSE + i] > 0.0:
                return i
    return -1


@compiled_in_place
def sink(work: Array, p: Array, beta: Array, t_pot: float) -> None:
    """Compute root uptake of each node [cm d-1] and its derivative in u: Feddes et al. (1978)."""
    share = 1.0 if t_pot < p[RATE_LOW] else 0.0
    if p[RATE_LOW] <= t_pot < p[RATE_HIGH]:
        share = (p[RATE_HIGH] - t_pot) / (p[RATE_HIGH] - p[RATE_LOW])
    p2 = p[P2_HIGH] + share * (p[P2_LOW] - p[P2_HIGH])
    p0, p_opt, p3 = p[P0], p[P_OPT], p[P3]
    dry, wet = 1.0 / (p2 - p3), -1.0 / (p0 - p_opt)
    omega = 0.0
    for i in range(beta.size):
        h = work[H + i]
        rising, falling = p3 < h < p2, p_opt < h < p0
        a = 1.0 if p2 <= h <= p_opt else 0.0
        a = (h - p3) * dry if rising else a
        a = (h - p0) * wet if falling else a
        da = wet if falling else 0.0
        da = dry if rising else da
        work[SINK + i] = beta[i] * t_pot * a
        work[DSINK + i] = beta[i] * t_pot * da * work[DH + i]
        omega += beta[i] * a
    scale = 1.0 / max(omega, p[OMEGA_C], 1e-12)  # compensation: Jarvis (1989)
    if scale != 1.0:
        for i in range(beta.size):
            work[SINK + i] *= scale
            work[DSINK + i] *= scale


@compiled_in_place
def assemble(work: Array, rate: float, count: int) -> None:
    """Compute diagonal and right-hand side of the upper rows; rate = 1 / (gamma dt)."""
    for i in range(count):
        storage = work[W + i] * rate
        flow = work[DQ_ABOVE + i + 1] - work[DQ_BELOW + i]
        work[DIAG + i] = storage * work[DTH + i] + flow + work[DSINK + i]
        net = work[Q + i] - work[Q + i + 1]
        work[RHS + i] = storage * (work[TH_STAR + i] - work[TH + i]) + net - work[SINK + i]


@compiled_in_place
def at(field: int, node: int) -> np.uint64:
    """Return the index of a node's field, unsigned: numba lets signed ones count from the end.

    Needed only where the compiler does not see by itself that an index is not negative.
    """
    return np.uint64(field + node)


@compiled_in_place
def eliminate(work: Array, count: int) -> None:
    """Solve the `count` upper rows for DU from both ends at once, with one division for two rows.

    Row i: -DQ_ABOVE[i] DU[i - 1] + DIAG[i] DU[i] + DQ_BELOW[i + 1] DU[i + 1] = RHS[i]. The pivots
    of each end are a chain, in which each waits for the division of the one before it. So the
    chain takes two rows at a time: e / (their determinant) beside 1 / e, the first row's own.
    """
    last = count - 1
    m = count // 2
    a, b = 1.0 / work[DIAG], 1.0 / work[at(DIAG, last)]
    y_a, y_b = work[RHS] * a, work[at(RHS, last)] * b
    work[Y], work[CU] = y_a, work[at(DQ_BELOW, 1)] * a
    work[at(Y, last)], work[at(CU, last)] = y_b, work[at(DQ_ABOVE, last)] * b
    pairs = (last - 1 - m) // 2
    for k in range(pairs):
        i = 1 + 2 * k
        n = i + 1
        own, after = work[at(DIAG, i)], work[at(DIAG, n)]
        coupled = work[at(DQ_ABOVE, i)] * work[at(DQ_BELOW, i)]
        both = after * own + work[at(DQ_ABOVE, n)] * work[at(DQ_BELOW, n)]
        e = own + coupled * a
        a = e / (both + after * coupled * a)
        e = 1.0 / e
        y_a = (work[at(RHS, i)] + work[at(DQ_ABOVE, i)] * y_a) * e
        work[at(Y, i)], work[at(CU, i)] = y_a, work[at(DQ_BELOW, n)] * e
        y_a = (work[at(RHS, n)] + work[at(DQ_ABOVE, n)] * y_a) * a
        work[at(Y, n)], work[at(CU, n)] = y_a, work[at(DQ_BELOW, n + 1)] * a
        j = last - i
        n = j - 1
        own, after = work[at(DIAG, j)], work[at(DIAG, n)]
        coupled = work[at(DQ_ABOVE, j + 1)] * work[at(DQ_BELOW, j + 1)]
        both = after * own + work[at(DQ_ABOVE, j)] * work[at(DQ_BELOW, j)]
        f = own + coupled * b
        b = f / (both + after * coupled * b)
        f = 1.0 / f
        y_b = (work[at(RHS, j)] - work[at(DQ_BELOW, j + 1)] * y_b) * f
        work[at(Y, j)], work[at(CU, j)] = y_b, work[at(DQ_ABOVE, j)] * f
        y_b = (work[at(RHS, n)] - work[at(DQ_BELOW, j)] * y_b) * b
        work[at(Y, n)], work[at(CU, n)] = y_b, work[at(DQ_ABOVE, n)] * b
    eliminate_rest(work, 1 + 2 * pairs, last, m, a, y_a, b, y_b)
    substitute(work, last, m)


@compiled_in_place
def eliminate_rest(
    work: Array, first: int, last: int, m: int, a: float, y_a: float, b: float, y_b: float
) -> None:
    """Solve on from `first` to row `m`, and likewise from the other end, one row at a time."""
    for i in range(first, m):
        a = 1.0 / (work[at(DIAG, i)] + (work[at(DQ_ABOVE, i)] * work[at(DQ_BELOW, i)]) * a)
        y_a = (work[at(RHS, i)] + work[at(DQ_ABOVE, i)] * y_a) * a
        work[at(Y, i)], work[at(CU, i)] = y_a, work[at(DQ_BELOW, i + 1)] * a
    for j in range(last - first, m, -1):
        b = 1.0 / (work[at(DIAG, j)] + (work[at(DQ_ABOVE, j + 1)] * work[at(DQ_BELOW, j + 1)]) * b)
        y_b = (work[at(RHS, j)] - work[at(DQ_BELOW, j + 1)] * y_b) * b
        work[at(Y, j)], work[at(CU, j)] = y_b, work[at(DQ_ABOVE, j)] * b


@compiled_in_place
def substitute(work: Array, last: int, m: int) -> None:
    """Compute DU from the eliminated rows, from row `m` where they meet to both ends."""
    above, below = work[at(DQ_ABOVE, m)], work[at(DQ_BELOW, m + 1)]
    rhs = work[at(RHS, m)] + above * work[at(Y, m - 1)] - below * work[at(Y, m + 1)]
    pivot = work[at(DIAG, m)] + above * work[at(CU, m - 1)] + below * work[at(CU, m + 1)]
    x_a = rhs / pivot
    x_b = x_a
    work[at(DU, m)] = x_a
    for i in range(1, last - m + 1):
        x_a = work[at(Y, m - i)] - work[at(CU, m - i)] * x_a
        work[at(DU, m - i)] = x_a
        x_b = work[at(Y, m + i)] + work[at(CU, m + i)] * x_b
        work[at(DU, m + i)] = x_b
    if 2 * m > last:
        work[DU] = work[Y] - work[CU] * x_a
