"""The Richards solver in time: Newton's iteration, SDIRK2 stages, step control, records."""

from __future__ import annotations

import math

import numpy as np

from epithermal_host.compiled import compiled
from epithermal_host.richards_kernel import (
    BOTTOM,
    BOTTOM_HEAD,
    DRY,
    DSINK,
    DU,
    DU_CLIP,
    FLUX,
    FREE_DRAINAGE,
    GAMMA,
    HEAD,
    ITERATIONS,
    LOW,
    POND,
    RETURNS,
    RUNOFF,
    SINK,
    TH_LIN,
    TH_N,
    TH_STAR,
    TOP,
    U_N,
    UP,
    UPTAKE,
    Array,
    H,
    Problem,
    U,
    W,
    eliminate,
    evaluate,
    row,
    sink,
)

DT_FIRST_D, DT_MAX_D = 1e-2, 1.0
DT_FORCED_D = 1e-4  # a step this short is taken without convergence
FIRST_RAIN_CM = 0.1  # what a first step after a change of the surface flux may bring
GROW, SHRINK, REJECT = 4.0, 0.3, 0.6  # bounds of the step's factor
STEPS_A_RECORD = 20000
DONE, NOT_FINITE, TOO_MANY_STEPS = range(3)  # how a run ends
STEPS, FORCED, REJECTED, SOLVES, REACHED_D = range(5)  # what it counts
COUNTS = 5


@compiled
def solve_rows(p: Problem, rate: float, q_pot: float, mode: int, flux: Array) -> None:
    """One linear solve for DU with the borders as they are; `flux` takes what passes them."""
    work, du = p.work, p.work[DU]
    last = du.size - 1
    d_0, r_0 = row(p, 0, rate)
    d_n, r_n = row(p, last, rate)
    up_0, low_n, fixed_low = work[UP, 0], work[LOW, last], p.bottom == BOTTOM_HEAD
    d_low, r_low = d_n, r_n
    if fixed_low:
        work[LOW, last], d_low, r_low = 0.0, 1.0, p.limits[3] - work[U, last]
    if mode == FLUX:
        eliminate(p, rate, d_0, r_0 + q_pot, d_low, r_low)
        flux[TOP] = q_pot
    else:
        work[UP, 0] = 0.0
        eliminate(p, rate, 1.0, p.limits[mode - 1] - work[U, 0], d_low, r_low)
        flux[TOP] = d_0 * du[0] + up_0 * du[1] - r_0
    flux[BOTTOM] = 0.0
    if p.bottom == FREE_DRAINAGE:
        flux[BOTTOM] = p.seep[0] + p.seep[1] * du[last - 1] + p.seep[2] * du[last]
    elif fixed_low:
        flux[BOTTOM] = r_n - low_n * du[last - 1] - d_n * du[last]


@compiled
def surface(p: Problem, q_pot: float, q_top: float, mode: int, crossings: int) -> int:
    """What must hold at the surface after this step; a new mode, or FLUX again with DU changed.

    Decided on the clipped step. A first passing of h = 0 only stops there: rain on a dry soil
    overshoots once, and would give false runoff.
    """
    old, step = p.work[U, 0], p.work[DU, 0]
    if mode == FLUX:
        new = old + (max(min(step, DU_CLIP), -DU_CLIP) if old < 0.0 else step)
        if new > p.limits[0]:
            p.work[DU, 0] = p.limits[0] - old
            return POND if crossings > 0 else FLUX
        if new < p.limits[1]:
            p.work[DU, 0] = p.limits[1] - old
            return DRY
    elif (mode == POND and q_top > q_pot) or (mode == DRY and q_top < q_pot):
        return FLUX
    return mode


@compiled
def stage(
    p: Problem, beta: Array, rate: float, q_pot: float, t_pot: float, mode: int, flux: Array
) -> tuple[int, int]:
    """Newton's iteration for one stage.

    Returns the surface's mode, or -1 - mode without convergence, and the number of solves.
    """
    du = p.work[DU]
    crossings = returns = 0
    for iteration in range(ITERATIONS):
        solve_rows(p, rate, q_pot, mode, flux)
        if t_pot > 0.0:
            flux[UPTAKE] = 0.0
            for i in range(du.size):
                flux[UPTAKE] += p.work[SINK, i] + p.work[DSINK, i] * du[i]
        halved = iteration >= 5 and iteration % 2 == 1
        if halved:
            for i in range(du.size):
                du[i] *= 0.5
        step_0 = du[0]
        new = surface(p, q_pot, flux[TOP], mode, crossings)
        switched = new != mode or du[0] != step_0
        if switched:
            crossings += 1 if mode == FLUX else 0
            returns += 1 if new == FLUX and mode != FLUX else 0
            mode = new
        bad = evaluate(p)
        if t_pot > 0.0:
            sink(p, beta, t_pot)
        if bad == 0 and not switched and not halved:
            flux[RUNOFF] = q_pot - flux[TOP] if mode == POND else 0.0
            return mode, iteration + 1
        if returns > RETURNS:
            break
    return -1 - mode, ITERATIONS


@compiled
def force(p: Problem, rate: float, q_pot: float, mode: int, flux: Array) -> None:
    """Give up on Newton: theta from the balance of the fluxes at hand, exactly conservative."""
    work = p.work
    last = work.shape[1] - 1
    work[DU] = 0.0
    evaluate(p)
    flux[TOP], flux[RUNOFF], flux[BOTTOM], flux[UPTAKE] = q_pot, 0.0, 0.0, 0.0
    for i in range(last + 1):
        rhs = row(p, i, rate)[1]
        if i == 0:
            flux[TOP] = q_pot if mode == FLUX else -rhs
            flux[RUNOFF] = q_pot - flux[TOP] if mode == POND else 0.0
            rhs += flux[TOP]
        if i == last and p.bottom == BOTTOM_HEAD:
            flux[BOTTOM] = rhs
            rhs = 0.0
        work[TH_LIN, i] += rhs / (rate * p.grid[W, i])
        flux[UPTAKE] += work[SINK, i]
    if p.bottom == FREE_DRAINAGE:
        flux[BOTTOM] = p.seep[0]


@compiled
def attempt(
    p: Problem, beta: Array, dt: float, q_pot: float, t_pot: float, mode: int, flux: Array,
    counts: Array,
) -> tuple[int, float]:  # fmt: skip
    """Both stages of a time step; the surface's mode (below 0: failed) and the error in theta.

    `flux` takes the fluxes of both stages (2, 4).
    """
    rate = 1.0 / (GAMMA * dt)
    old, star, new = p.work[TH_N], p.work[TH_STAR], p.work[TH_LIN]
    star[:] = old
    for part in range(2):
        mode, solves = stage(p, beta, rate, q_pot, t_pot, mode, flux[part])
        counts[SOLVES] += solves
        if mode < 0:
            if dt > DT_FORCED_D:
                return mode, 0.0
            mode = -1 - mode
            force(p, rate, q_pot, mode, flux[part])
            counts[FORCED] += 0.5
        if part == 0:
            for i in range(old.size):
                star[i] = old[i] + (1.0 - GAMMA) / GAMMA * (new[i] - old[i])
    error = 0.0
    for i in range(old.size):
        d = abs(new[i] - star[i] - (star[i] - old[i]) * (GAMMA / (1.0 - GAMMA)))
        error = d if not d <= error else error
    return mode, error


@compiled
def begin(p: Problem, beta: Array, t_pot: float) -> None:
    """Soil functions, fluxes and sink at the state at hand."""
    p.work[DU] = 0.0
    evaluate(p)
    p.work[SINK] = 0.0
    p.work[DSINK] = 0.0
    if t_pot > 0.0:
        sink(p, beta, t_pot)


@compiled
def record(
    p: Problem, beta: Array, start: float, end: float, q_pot: float, t_pot: float, mode: int,
    dt: float, tolerance: float, sums: Array, counts: Array,
) -> tuple[int, int, float]:  # fmt: skip
    """Steps from `start` to `end` under one forcing; how it went, the surface's mode, next dt."""
    flux = np.zeros((2, 4))
    t = start
    begin(p, beta, t_pot)
    for _ in range(STEPS_A_RECORD):
        left = end - t
        now = left if dt >= 0.999 * left else min(dt, 0.5 * left)
        new, error = attempt(p, beta, now, q_pot, t_pot, mode, flux, counts)
        if not error < 1e6:
            return NOT_FINITE, mode, dt
        factor = min(max(0.9 * math.sqrt(tolerance / max(error, 1e-12)), SHRINK), GROW)
        if new < 0 or (factor < REJECT and now > DT_FORCED_D):
            counts[REJECTED] += 1.0
            dt = (SHRINK if new < 0 else factor) * now
            p.work[U] = p.work[U_N]
            begin(p, beta, t_pot)
            continue
        mode = new
        p.work[TH_N] = p.work[TH_LIN]
        p.work[U_N] = p.work[U]
        for j in range(sums.size):
            sums[j] += now * ((1.0 - GAMMA) * flux[0, j] + GAMMA * flux[1, j])
        counts[STEPS] += 1.0
        dt = min(max(dt, factor * now) if factor > 1.0 else factor * now, DT_MAX_D)
        t = end if now == left else t + now
        counts[REACHED_D] = t
        if t == end:
            return DONE, mode, dt
    return TOO_MANY_STEPS, mode, dt


@compiled
def run(
    p: Problem,
    roots: Array,
    end_d: Array,
    q_pot: Array,
    t_pot: Array,
    u_top: Array,
    tolerance: float,
    theta: Array,
    h: Array,
    sums: Array,
    counts: Array,
) -> int:
    """Solve a column through all records; row r + 1 of theta, h, sums is the state at end_d[r].

    The workspace enters with U and TH_N. `roots` (1 or nt, nz); `u_top` (nt) where the surface's
    head is given, else empty.
    """
    total = np.zeros(4)
    t, dt, before = 0.0, DT_FIRST_D, 0.0
    mode = HEAD if u_top.size > 0 else FLUX
    p.work[U_N] = p.work[U]
    for r in range(end_d.size):
        if mode == HEAD:
            p.limits[2] = u_top[r]
        change = abs(q_pot[r] - before)
        before = q_pot[r]
        if change * dt > FIRST_RAIN_CM:
            dt = FIRST_RAIN_CM / change
        beta = roots[r if roots.shape[0] > 1 else 0]
        status, mode, dt = record(
            p, beta, t, end_d[r], q_pot[r], t_pot[r], mode, dt, tolerance, total, counts
        )
        if status != DONE:
            return status
        t = end_d[r]
        theta[r + 1] = p.work[TH_N]
        h[r + 1] = p.work[H]
        sums[r + 1] = total
    return DONE
