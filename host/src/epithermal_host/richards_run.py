"""The Richards solver in time: Newton's iteration, SDIRK2 stages, step control, records."""

from __future__ import annotations

import math

import numpy as np

from epithermal_host.compiled import compiled
from epithermal_host.richards_kernel import (
    BOTTOM,
    BOTTOM_HEAD,
    BOTTOM_KIND,
    DK_LAST,
    DK_LAST_BUT_ONE,
    DRY,
    DSINK,
    DU,
    DU_CLIP,
    DU_MOST,
    DU_OLD,
    FLUX,
    FREE_DRAINAGE,
    GAMMA,
    HEAD,
    ITERATIONS,
    K_LOW,
    LOW,
    NO_FLUX,
    POND,
    RETURNS,
    RUNOFF,
    SINK,
    TH,
    TH_LIN,
    TH_N,
    TH_STAR,
    THETA_LINEAR,
    TOP,
    U_BOTTOM,
    U_DRY,
    U_GIVEN,
    U_MIN,
    U_N,
    U_POND,
    UP,
    UPTAKE,
    Array,
    H,
    U,
    W,
    eliminate,
    evaluate,
    row,
    sink,
)

DT_FIRST_D, DT_MAX_D = 1e-2, 1.0
DT_FORCED_D = 1e-4  # a step this short may be taken without convergence
DT_LEAST_D = 1e-9  # and one this short that even so cannot be taken ends the run
THETA_FORCED = 1e-2  # departure from the soil's curve of a step that is forced
FIRST_RAIN_CM = 0.1  # what a first step after a change of the surface flux may bring
GROW, SHRINK, REJECT = 4.0, 0.3, 0.6  # bounds of the step's factor
FLUX_WEIGHT = 3.0  # water lost by a change at the surface, against the tolerance of theta [cm-1]
PATIENCE = 5  # iterations before steps are damped
U_DAMPED = -3.0  # h about -40 cm
SHORT_WEIGHT = 100.0  # of water that a driest node lacks, against the tolerance
BELOW = 8  # nodes solved again below the lowest that has not converged
STEPS_A_RECORD = 20000
DONE, NOT_FINITE, TOO_MANY_STEPS, NOT_CONVERGED = range(4)  # how a run ends
STEPS, FORCED, REJECTED, SOLVES, REACHED_D = range(5)  # what it counts
COUNTS = 5


@compiled
def solve_rows(
    work: Array, p: Array, rate: float, q_pot: float, mode: int, flux: Array, active: int
) -> None:
    """One linear solve for DU with the borders as they are; `flux` takes what passes them.

    With fewer active nodes than there are, the others stay and so does the flux at the bottom.
    """
    last = active - 1
    whole = active == work.shape[0]
    kind = p[BOTTOM_KIND] if whole else NO_FLUX
    d_0, r_0 = row(work, 0, rate)
    d_n, r_n = row(work, last, rate)
    up_0, low_n = work[0, UP], work[last, LOW]
    d_low, r_low = d_n, r_n
    if kind == BOTTOM_HEAD:
        work[last, LOW], d_low, r_low = 0.0, 1.0, p[U_BOTTOM] - work[last, U]
    if mode == FLUX:
        eliminate(work, rate, d_0, r_0 + q_pot, d_low, r_low, active)
        flux[TOP] = q_pot
    else:
        work[0, UP] = 0.0
        eliminate(work, rate, 1.0, p[U_POND + mode - POND] - work[0, U], d_low, r_low, active)
        flux[TOP] = d_0 * work[0, DU] + up_0 * work[1, DU] - r_0
    if kind == FREE_DRAINAGE:
        flux[BOTTOM] = (
            p[K_LOW] + p[DK_LAST_BUT_ONE] * work[last - 1, DU] + p[DK_LAST] * work[last, DU]
        )
    elif kind == BOTTOM_HEAD:
        flux[BOTTOM] = r_n - low_n * work[last - 1, DU] - d_n * work[last, DU]
    elif whole:
        flux[BOTTOM] = 0.0


@compiled
def surface(work: Array, p: Array, q_pot: float, q_top: float, mode: int, crossings: int) -> int:
    """What must hold at the surface after this step; a new mode, or FLUX again with DU changed.

    Decided on the clipped step. A first passing of h = 0 only stops there: rain on a dry soil
    overshoots once, and would give false runoff.
    """
    old, step = work[0, U], work[0, DU]
    if mode == FLUX:
        new = old + (max(min(step, DU_CLIP), -DU_CLIP) if old < 0.0 else step)
        if new > p[U_POND]:
            work[0, DU] = p[U_POND] - old
            return POND if crossings > 0 else FLUX
        if new < p[U_DRY]:
            work[0, DU] = p[U_DRY] - old
            return DRY
    elif (mode == POND and q_top > q_pot) or (mode == DRY and q_top < q_pot):
        return FLUX
    return mode


@compiled
def uptake(work: Array, active: int) -> float:
    """Root uptake of the whole column, linear in the step of the active nodes [cm d-1]."""
    total = 0.0
    for i in range(work.shape[0]):
        total += work[i, SINK]
        if i < active:
            total += work[i, DSINK] * work[i, DU]
    return total


@compiled
def close_balance(work: Array, rate: float, flux: Array, node: int) -> float:
    """Give what a solve of the upper nodes left of the column's balance to the first below."""
    left = (flux[TOP] - flux[BOTTOM] - flux[UPTAKE]) / rate
    for i in range(work.shape[0]):
        left -= work[i, W] * (work[i, TH_LIN] - work[i, TH_STAR])
    work[node, TH_LIN] += left / work[node, W]
    return float(left / work[node, W])


@compiled
def damp(work: Array, active: int, iteration: int) -> bool:
    """Shorten steps of an iteration that does not come to an end; whether it did.

    Each second time all steps are halved. The reach of a dry node is halved whenever its step
    changes sign: Newton jumps to and fro over a kink of Feddes' function where C and K vanish.
    """
    share = 0.5 if (iteration - PATIENCE) % 2 == 0 else 1.0
    changed = share < 1.0
    for i in range(active):
        if iteration == PATIENCE:
            work[i, DU_OLD], work[i, DU_MOST] = 0.0, np.inf
        step = work[i, DU] * share
        if work[i, U] < U_DAMPED:
            if step * work[i, DU_OLD] < 0.0:
                work[i, DU_MOST] = 0.5 * min(abs(work[i, DU_OLD]), work[i, DU_MOST])
            if abs(step) > work[i, DU_MOST]:
                step = math.copysign(work[i, DU_MOST], step)
                changed = True
            work[i, DU_OLD] = max(min(step, DU_CLIP), -DU_CLIP)
        work[i, DU] = step
    return changed


@compiled
def stage(
    work: Array, table: Array, decay: Array, p: Array, beta: Array, rate: float, q_pot: float,
    t_pot: float, mode: int, flux: Array, counts: Array,
) -> int:  # fmt: skip
    """Newton's iteration for one stage; the surface's mode, or -1 - mode without convergence."""
    nz = work.shape[0]
    crossings = returns = 0
    active = nz
    flux[UPTAKE] = 0.0
    for iteration in range(ITERATIONS):
        counts[SOLVES] += 1.0
        solve_rows(work, p, rate, q_pot, mode, flux, active)
        if t_pot > 0.0:
            flux[UPTAKE] = uptake(work, active)
        halved = iteration >= PATIENCE and damp(work, active, iteration)
        step_0 = work[0, DU]
        new = surface(work, p, q_pot, flux[TOP], mode, crossings)
        switched = new != mode or work[0, DU] != step_0
        if switched:
            crossings += 1 if mode == FLUX else 0
            returns += 1 if new == FLUX and mode != FLUX else 0
            mode = new
        bad = evaluate(work, table, decay, p, active)
        if t_pot > 0.0:
            sink(work, p, beta, t_pot)
        if bad < 0 and not switched and not halved:
            if active == nz or abs(close_balance(work, rate, flux, active)) <= THETA_LINEAR:
                flux[RUNOFF] = q_pot - flux[TOP] if mode == POND else 0.0
                return mode
            active = nz
        else:
            active = bad + 1 + BELOW
            if switched or halved or active > nz - 3:
                active = nz
        if returns > RETURNS:
            break
    return -1 - mode


@compiled
def force(work: Array, p: Array, rate: float, q_pot: float, mode: int, flux: Array) -> float:
    """Give up on Newton: theta from the balance of the fluxes at hand, exactly conservative.

    Returns how far theta is then from the soil's curve, at most.
    """
    worst = 0.0
    last = work.shape[0] - 1
    flux[TOP], flux[RUNOFF], flux[BOTTOM], flux[UPTAKE] = q_pot, 0.0, 0.0, 0.0
    for i in range(last + 1):
        rhs = row(work, i, rate)[1]
        if i == 0:
            flux[TOP] = q_pot if mode == FLUX else -rhs
            flux[RUNOFF] = q_pot - flux[TOP] if mode == POND else 0.0
            rhs += flux[TOP]
        if i == last and p[BOTTOM_KIND] == BOTTOM_HEAD:
            flux[BOTTOM] = rhs
            rhs = 0.0
        work[i, TH_LIN] = work[i, TH] + rhs / (rate * work[i, W])
        flux[UPTAKE] += work[i, SINK]
        away = abs(work[i, TH_LIN] - work[i, TH])
        worst = away if not away <= worst else worst
    if p[BOTTOM_KIND] == FREE_DRAINAGE:
        flux[BOTTOM] = p[K_LOW]
    return worst


@compiled
def attempt(
    work: Array, table: Array, decay: Array, p: Array, beta: Array, dt: float, q_pot: float,
    t_pot: float, mode: int, flux: Array, counts: Array,
) -> tuple[int, float]:  # fmt: skip
    """Both stages of a time step; the surface's mode (below 0: failed) and the error in theta.

    `flux` takes the fluxes of both stages (2, 4).
    """
    before = mode
    rate = 1.0 / (GAMMA * dt)
    for i in range(work.shape[0]):
        work[i, TH_STAR] = work[i, TH_N]
    for part in range(2):
        mode = stage(work, table, decay, p, beta, rate, q_pot, t_pot, mode, flux[part], counts)
        if mode < 0:
            if dt > DT_FORCED_D:
                return mode, 0.0
            if not force(work, p, rate, q_pot, -1 - mode, flux[part]) <= THETA_FORCED:
                return mode, 0.0
            mode = -1 - mode
            counts[FORCED] += 0.5
        if part == 0:
            for i in range(work.shape[0]):
                rise = work[i, TH_LIN] - work[i, TH_N]
                work[i, TH_STAR] = work[i, TH_N] + (1.0 - GAMMA) / GAMMA * rise
    error = 0.0
    if mode != before:
        error = FLUX_WEIGHT * abs(q_pot - flux[1, TOP]) * dt
    for i in range(work.shape[0]):
        first = (work[i, TH_STAR] - work[i, TH_N]) * (GAMMA / (1.0 - GAMMA))
        d = abs(work[i, TH_LIN] - work[i, TH_STAR] - first)
        if work[i, U] <= p[U_MIN]:
            d = max(d, SHORT_WEIGHT * (min(work[i, TH], work[i, TH_N]) - work[i, TH_LIN]))
        error = d if not d <= error else error
    return mode, error


@compiled
def restore(work: Array, table: Array, decay: Array, p: Array, beta: Array, t_pot: float) -> None:
    """Back to the step's first state: soil functions, fluxes and sink."""
    for i in range(work.shape[0]):
        work[i, U] = work[i, U_N]
        work[i, DU] = 0.0
    evaluate(work, table, decay, p, work.shape[0])
    if t_pot > 0.0:
        sink(work, p, beta, t_pot)


@compiled
def record(
    work: Array, table: Array, decay: Array, p: Array, beta: Array, start: float, end: float,
    q_pot: float, t_pot: float, mode: int, dt: float, tolerance: float, sums: Array, counts: Array,
) -> tuple[int, int, float]:  # fmt: skip
    """Steps from `start` to `end` under one forcing; how it went, the surface's mode, next dt."""
    flux = np.zeros((2, 4))
    t = start
    for _ in range(STEPS_A_RECORD):
        left = end - t
        now = left if dt >= 0.999 * left else min(dt, 0.5 * left)
        new, error = attempt(work, table, decay, p, beta, now, q_pot, t_pot, mode, flux, counts)
        if not error < 1e6:
            return NOT_FINITE, mode, dt
        factor = min(max(0.9 * math.sqrt(tolerance / max(error, 1e-12)), SHRINK), GROW)
        if new < 0 and now < DT_LEAST_D:
            return NOT_CONVERGED, mode, dt
        if new < 0 or (factor < REJECT and now > DT_FORCED_D):
            counts[REJECTED] += 1.0
            dt = (SHRINK if new < 0 else factor) * now
            restore(work, table, decay, p, beta, t_pot)
            continue
        mode = new
        for i in range(work.shape[0]):
            work[i, TH_N] = work[i, TH_LIN]
            work[i, U_N] = work[i, U]
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
    work: Array, table: Array, decay: Array, p: Array, roots: Array, end_d: Array, q_pot: Array,
    t_pot: Array, u_top: Array, tolerance: float, theta: Array, h: Array, sums: Array,
    counts: Array,
) -> int:  # fmt: skip
    """Solve a column through all records; row r + 1 of theta, h, sums is the state at end_d[r].

    The workspace enters with U_N and TH_N. `roots` (1 or nt, nz); `u_top` (nt) where the surface's
    head is given, else empty.
    """
    total = np.zeros(4)
    t, dt, before = 0.0, DT_FIRST_D, 0.0
    mode = HEAD if u_top.size > 0 else FLUX
    restore(work, table, decay, p, roots[0], 0.0)
    for r in range(end_d.size):
        if mode == HEAD:
            p[U_GIVEN] = u_top[r]
        change = abs(q_pot[r] - before)
        before = q_pot[r]
        if change * dt > FIRST_RAIN_CM:
            dt = FIRST_RAIN_CM / change
        beta = roots[r if roots.shape[0] > 1 else 0]
        if roots.shape[0] > 1 or t_pot[r] > 0.0 or (r > 0 and t_pot[r - 1] > 0.0):
            sink(work, p, beta, t_pot[r])
        status, mode, dt = record(
            work, table, decay, p, beta, t, end_d[r], q_pot[r], t_pot[r], mode, dt, tolerance,
            total, counts,
        )  # fmt: skip
        if status != DONE:
            return status
        t = end_d[r]
        for i in range(work.shape[0]):
            theta[r + 1, i] = work[i, TH_N]
            h[r + 1, i] = work[i, H]
        for j in range(total.size):
            sums[r + 1, j] = total[j]
    return DONE
