"""The inner loops of the Richards solver: one column, all of its steps, no Python objects.

Unknown per node: u with h = h_s + h0 (1 - exp(-u)) for u < 0 and h = h_s + h0 u for u >= 0, so
logarithmic where dry and linear where saturated. theta(u), K(u) are cubic pieces from a table.
Flux q is positive downwards. Names: docs/equations-columns.md, "Soil water flow".
"""

from __future__ import annotations

import math

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
DT_MAX_D, DT_FORCED_D = 1.0, 1e-4
FIRST_RAIN_CM = 0.1  # what a first step after a change of the surface flux may bring
STEPS_A_RECORD = 20000

# rows of the workspace
U, TH_N, TH_STAR, TH_LIN, TH, DTH, K, DK, H, DH, LOW, DIAG, UP, RHS, DU, SINK, DSINK, U_N = range(
    18
)
ROWS = 18
# rows of the grid's numbers
W, PER_DZ, HS, BETA = range(4)
# surface: what holds in a stage
FLUX, POND, DRY, HEAD = range(4)
# bottom
FREE_DRAINAGE, BOTTOM_HEAD, NO_FLUX = range(3)
# what a run returns
DONE, NOT_FINITE, TOO_MANY_STEPS = range(3)
# sums of a run
TOP, RUNOFF, UPTAKE, BOTTOM = range(4)


@compiled
def _functions(work: Array, grid: Array, offset: Integers, table: Array, decay: Array) -> None:
    """theta, K, h and their derivatives in u, at every node."""
    u, hs = work[U], grid[HS]
    th, dth, k, dk, h, dh = work[TH], work[DTH], work[K], work[DK], work[H], work[DH]
    for i in range(u.size):
        x = (u[i] + U_RANGE) * PER_U
        c = min(int(x), CELLS)
        f = x - c
        r = offset[i] + c
        th[i] = table[r, 0] + f * (table[r, 1] + f * (table[r, 2] + f * table[r, 3]))
        dth[i] = PER_U * (table[r, 1] + f * (2.0 * table[r, 2] + f * (3.0 * table[r, 3])))
        k[i] = table[r, 4] + f * (table[r, 5] + f * (table[r, 6] + f * table[r, 7]))
        dk[i] = PER_U * (table[r, 5] + f * (2.0 * table[r, 6] + f * (3.0 * table[r, 7])))
        if u[i] < 0.0:
            g = f / PER_U  # exp(-g) for g < 1/16: error under 1e-10
            e = decay[c] * (
                1.0 - g * (1.0 - g * (0.5 - g * (1.0 / 6.0 - g * (1.0 / 24.0 - g / 120.0))))
            )
            h[i] = hs[i] + H0_CM * (1.0 - e)
            dh[i] = H0_CM * e
        else:
            h[i] = hs[i] + H0_CM * u[i]
            dh[i] = H0_CM


@compiled
def _sink(work: Array, grid: Array, beta: Array, feddes: Array, t_pot: float) -> None:
    """Root uptake of each node [cm d-1] and its derivative in u: Feddes et al. (1978).

    `feddes`: P0, POpt, P2H, P2L, P3, r2H, r2L, omega_c (Jarvis 1989; 1: no compensation).
    """
    p0, p1, p3, omega_c = feddes[0], feddes[1], feddes[4], feddes[7]
    high, low = feddes[5], feddes[6]
    share = min(max((high - t_pot) / (high - low), 0.0), 1.0) if high > low else 0.0
    p2 = feddes[2] + share * (feddes[3] - feddes[2])
    h, dh, sink, dsink = work[H], work[DH], work[SINK], work[DSINK]
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
        sink[i] = beta[i] * t_pot * a
        dsink[i] = beta[i] * t_pot * da * dh[i]
        omega += beta[i] * a
    scale = 1.0 / max(omega, omega_c, 1e-12)
    if scale != 1.0:
        for i in range(h.size):
            sink[i] *= scale
            dsink[i] *= scale


@compiled
def _assemble(work: Array, grid: Array, rate: float) -> None:
    """Newton's rows without boundary fluxes; rate = 1 / (gamma dt)."""
    w, per_dz = grid[W], grid[PER_DZ]
    th, dth, k, dk, h, dh = work[TH], work[DTH], work[K], work[DK], work[H], work[DH]
    star, sink, dsink = work[TH_STAR], work[SINK], work[DSINK]
    low, diag, up, rhs = work[LOW], work[DIAG], work[UP], work[RHS]
    nz = th.size
    for i in range(nz):
        diag[i] = w[i] * rate * dth[i] + dsink[i]
        rhs[i] = w[i] * rate * (star[i] - th[i]) - sink[i]
    q = dq = 0.0
    low[0] = 0.0
    up[nz - 1] = 0.0
    for i in range(nz - 1):
        gradient = (h[i] - h[i + 1]) * per_dz[i] + 1.0
        mean = 0.5 * (k[i] + k[i + 1])
        above = 0.5 * dk[i] * gradient + mean * per_dz[i] * dh[i]
        below = 0.5 * dk[i + 1] * gradient - mean * per_dz[i] * dh[i + 1]
        diag[i] += above - dq
        rhs[i] += q - mean * gradient
        up[i] = below
        low[i + 1] = -above
        q = mean * gradient
        dq = below
    diag[nz - 1] -= dq
    rhs[nz - 1] += q


@compiled
def _eliminate(work: Array) -> None:
    """Solve the tridiagonal rows from both ends at once: half the latency."""
    low, diag, up, rhs, x = work[LOW], work[DIAG], work[UP], work[RHS], work[DU]
    nz = x.size
    m = nz // 2
    j = nz - 1
    p = 1.0 / diag[0]
    r = 1.0 / diag[j]
    up[0] *= p
    rhs[0] *= p
    low[j] *= r
    rhs[j] *= r
    for i in range(1, m):
        p = 1.0 / (diag[i] - low[i] * up[i - 1])
        up[i] *= p
        rhs[i] = (rhs[i] - low[i] * rhs[i - 1]) * p
        j -= 1
        if j > m:
            r = 1.0 / (diag[j] - up[j] * low[j + 1])
            low[j] *= r
            rhs[j] = (rhs[j] - up[j] * rhs[j + 1]) * r
    x[m] = (rhs[m] - low[m] * rhs[m - 1] - up[m] * rhs[m + 1]) / (
        diag[m] - low[m] * up[m - 1] - up[m] * low[m + 1]
    )
    for i in range(1, m + 1):
        x[m - i] = rhs[m - i] - up[m - i] * x[m - i + 1]
        if m + i < nz:
            x[m + i] = rhs[m + i] - low[m + i] * x[m + i - 1]


@compiled
def _update(work: Array, half: bool) -> float:
    """New u and the linear theta, exactly conservative; the largest |du| where unsaturated."""
    u, x, th, dth, lin = work[U], work[DU], work[TH], work[DTH], work[TH_LIN]
    worst = 0.0
    for i in range(u.size):
        step = x[i]
        lin[i] = th[i] + dth[i] * step
        if half:
            step *= 0.5
        old = u[i]
        if old < 0.0:
            worst = max(worst, abs(step))
            step = min(max(step, -DU_CLIP), DU_CLIP)
            u[i] = max(old + step, -U_RANGE)
        else:
            u[i] = max(old + step, -DU_CLIP)
            if old + step < -DU_CLIP:
                worst = 2.0 * DU_CLIP
    return worst


@compiled
def _departure(work: Array) -> float:
    """Largest difference of the linear theta from the soil's curve; NaN where one is."""
    th, lin = work[TH], work[TH_LIN]
    worst = 0.0
    for i in range(th.size):
        d = abs(th[i] - lin[i])
        worst = d if not d <= worst else worst
    return worst


@compiled
def _stage(
    work: Array,
    grid: Array,
    offset: Integers,
    table: Array,
    decay: Array,
    beta: Array,
    feddes: Array,
    limits: Array,
    bottom: int,
    rate: float,
    q_pot: float,
    t_pot: float,
    mode: int,
    flux: Array,
) -> int:
    """Newton's iteration for one stage; the surface's mode, or -1 - mode without convergence.

    `limits`: u of the surface where it ponds, is driest, has its given head; u of the bottom.
    `flux` takes top, runoff, uptake and bottom flux of the stage.
    """
    u, x = work[U], work[DU]
    last = u.size - 1
    crossings = returns = 0
    for iteration in range(ITERATIONS):
        _assemble(work, grid, rate)
        first_row = work[DIAG, 0], work[UP, 0], work[RHS, 0]
        last_row = work[LOW, last], work[DIAG, last], work[RHS, last]
        k_low, dk_a, dk_b = 0.5 * (work[K, last - 1] + work[K, last]), 0.0, 0.0
        if bottom == FREE_DRAINAGE:
            dk_a, dk_b = 0.5 * work[DK, last - 1], 0.5 * work[DK, last]
            work[LOW, last] += dk_a
            work[DIAG, last] += dk_b
            work[RHS, last] -= k_low
        elif bottom == BOTTOM_HEAD:
            work[LOW, last] = 0.0
            work[DIAG, last] = 1.0
            work[RHS, last] = limits[3] - u[last]
        if mode == FLUX:
            work[RHS, 0] += q_pot
        else:
            work[UP, 0] = 0.0
            work[DIAG, 0] = 1.0
            work[RHS, 0] = limits[mode - 1] - u[0]
        _eliminate(work)
        flux[TOP] = q_pot
        if mode != FLUX:
            flux[TOP] = first_row[0] * x[0] + first_row[1] * x[1] - first_row[2]
        if bottom == FREE_DRAINAGE:
            flux[BOTTOM] = k_low + dk_a * x[last - 1] + dk_b * x[last]
        elif bottom == BOTTOM_HEAD:
            flux[BOTTOM] = last_row[2] - last_row[0] * x[last - 1] - last_row[1] * x[last]
        else:
            flux[BOTTOM] = 0.0
        flux[UPTAKE] = 0.0
        if t_pot > 0.0:
            for i in range(u.size):
                flux[UPTAKE] += work[SINK, i] + work[DSINK, i] * x[i]
        half = iteration >= 5 and iteration % 2 == 1
        worst = _update(work, half)
        switched = half
        if mode == FLUX:
            if u[0] > limits[0]:
                crossings += 1
                switched = True
                u[0] = limits[0]
                if crossings > 1:
                    mode = POND
            elif u[0] < limits[1]:
                switched = True
                u[0] = limits[1]
                mode = DRY
        elif (mode == POND and flux[TOP] > q_pot) or (mode == DRY and flux[TOP] < q_pot):
            switched = True
            mode = FLUX
            returns += 1
            if returns > RETURNS:
                return -1 - mode
        _functions(work, grid, offset, table, decay)
        if t_pot > 0.0:
            _sink(work, grid, beta, feddes, t_pot)
        if not switched and worst < DU_ACCEPT and _departure(work) <= THETA_LINEAR:
            flux[RUNOFF] = q_pot - flux[TOP] if mode == POND else 0.0
            return mode
    return -1 - mode


@compiled
def _force(work: Array, grid: Array, bottom: int, rate: float, q_pot: float, mode: int,
           flux: Array) -> None:  # fmt: skip
    """Give up on Newton: theta from the balance of the fluxes at hand, exactly conservative."""
    _assemble(work, grid, rate)
    last = work.shape[1] - 1
    flux[TOP], flux[RUNOFF], flux[BOTTOM], flux[UPTAKE] = q_pot, 0.0, 0.0, 0.0
    if bottom == FREE_DRAINAGE:
        flux[BOTTOM] = 0.5 * (work[K, last - 1] + work[K, last])
    elif bottom == BOTTOM_HEAD:
        flux[BOTTOM] = work[RHS, last]
    if mode != FLUX:
        flux[TOP] = -work[RHS, 0]
        flux[RUNOFF] = q_pot - flux[TOP] if mode == POND else 0.0
    work[RHS, 0] += flux[TOP]
    work[RHS, last] -= flux[BOTTOM]
    for i in range(last + 1):
        work[TH_LIN, i] = work[TH, i] + work[RHS, i] / (rate * grid[W, i])
        flux[UPTAKE] += work[SINK, i]


@compiled
def run(
    work: Array,
    grid: Array,
    offset: Integers,
    table: Array,
    decay: Array,
    roots: Array,
    feddes: Array,
    limits: Array,
    bottom: int,
    top: int,
    end_d: Array,
    q_pot: Array,
    t_pot: Array,
    u_top: Array,
    tolerance: float,
    theta_out: Array,
    h_out: Array,
    sums_out: Array,
    info: Array,
) -> int:
    """Solve a column through all records; row r + 1 of the outputs is the state at end_d[r].

    `work` enters with U and TH_N. `info` takes steps, forced steps, and the time reached [d].
    """
    nz = work.shape[1]
    flux_1, flux_2, sums = np.zeros(4), np.zeros(4), np.zeros(4)
    t, dt, before = 0.0, 1e-2, 0.0
    mode = HEAD if top == HEAD else FLUX
    for r in range(end_d.size):
        q, tp = q_pot[r], t_pot[r]
        beta = roots[r if roots.shape[0] > 1 else 0]
        if top == HEAD:
            limits[2] = u_top[r]
        if abs(q - before) * dt > FIRST_RAIN_CM:
            dt = FIRST_RAIN_CM / abs(q - before)
        before = q
        fresh = False
        for step in range(STEPS_A_RECORD + 1):
            left = end_d[r] - t
            if left <= 1e-12 * end_d[r]:
                break
            if step == STEPS_A_RECORD:
                return TOO_MANY_STEPS
            now = left if dt >= 0.999 * left else min(dt, 0.5 * left)
            if not fresh:
                work[U_N] = work[U]
                _functions(work, grid, offset, table, decay)
                work[SINK] = 0.0
                work[DSINK] = 0.0
                if tp > 0.0:
                    _sink(work, grid, beta, feddes, tp)
            rate = 1.0 / (GAMMA * now)
            work[TH_STAR] = work[TH_N]
            forced = False
            new = _stage(work, grid, offset, table, decay, beta, feddes, limits, bottom, rate, q, tp,
                         mode, flux_1)  # fmt: skip
            if new < 0 and now <= DT_FORCED_D:
                new = -1 - new
                _force(work, grid, bottom, rate, q, new, flux_1)
                forced = True
            if new >= 0:
                for i in range(nz):
                    work[TH_STAR, i] += (1.0 - GAMMA) / GAMMA * (work[TH_LIN, i] - work[TH_N, i])
                    work[DU, i] = 0.0
                # keep theta_1 - theta_n for the error: (theta* - theta_n) gamma / (1 - gamma)
                new = _stage(work, grid, offset, table, decay, beta, feddes, limits, bottom, rate, q,
                             tp, new, flux_2)  # fmt: skip
                if new < 0 and now <= DT_FORCED_D:
                    new = -1 - new
                    _force(work, grid, bottom, rate, q, new, flux_2)
                    forced = True
            factor = 0.3
            if new >= 0:
                error = 0.0
                for i in range(nz):
                    rise = (work[TH_STAR, i] - work[TH_N, i]) * (GAMMA / (1.0 - GAMMA))
                    d = abs(work[TH_LIN, i] - work[TH_STAR, i] - rise)
                    error = d if not d <= error else error
                if not error < 1e6:
                    return NOT_FINITE
                factor = min(max(0.9 * math.sqrt(tolerance / max(error, 1e-12)), 0.3), 4.0)
            if new < 0 or (factor < 0.6 and now > DT_FORCED_D and not forced):
                work[U] = work[U_N]
                dt = factor * now
                fresh = False
                continue
            mode = new
            fresh = True
            t = end_d[r] if now == left else t + now
            for j in range(4):
                sums[j] += now * ((1.0 - GAMMA) * flux_1[j] + GAMMA * flux_2[j])
            work[TH_N] = work[TH_LIN]
            work[U_N] = work[U]
            info[0] += 1.0
            info[1] += 1.0 if forced else 0.0
            info[2] = t
            dt = min(max(dt, factor * now) if factor > 1.0 else factor * now, DT_MAX_D)
        theta_out[r + 1] = work[TH_N]
        h_out[r + 1] = work[H]
        sums_out[r + 1] = sums
    return DONE
