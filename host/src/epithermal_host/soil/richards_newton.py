"""Iterate Newton's method for one stage of a time step: boundaries, damping, balance."""

from __future__ import annotations

import math

import numpy as np

from epithermal_host.arrays import Array
from epithermal_host.compute.numba_cache import compiled_in_place
from epithermal_host.soil.richards_kernel import (
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
    TH_STAR,
    THETA_LINEAR,
    TOP,
    U_BOTTOM,
    U_DRY,
    U_POND,
    UP,
    UPTAKE,
    U,
    W,
    eliminate,
    evaluate,
    row,
    sink,
)

PATIENCE = 5  # iterations before steps are damped
U_DAMPED = -3.0  # h about -40 cm
BELOW = 8  # nodes solved again below the lowest that has not converged
SOLVES = 3  # index in `counts` of the number of linear solves


@compiled_in_place
def solve_rows(
    work: Array, p: Array, rate: float, q_pot: float, mode: int, flux: Array, part: int, active: int
) -> None:
    """Solve once for DU with the present boundaries; store their fluxes in row `part` of `flux`.

    With fewer active nodes than nodes, the others and the flux at the bottom stay as they are.
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
        flux[part, TOP] = q_pot
    else:
        work[0, UP] = 0.0
        eliminate(work, rate, 1.0, p[U_POND + mode - POND] - work[0, U], d_low, r_low, active)
        flux[part, TOP] = d_0 * work[0, DU] + up_0 * work[1, DU] - r_0
    if kind == FREE_DRAINAGE:
        flux[part, BOTTOM] = (
            p[K_LOW] + p[DK_LAST_BUT_ONE] * work[last - 1, DU] + p[DK_LAST] * work[last, DU]
        )
    elif kind == BOTTOM_HEAD:
        flux[part, BOTTOM] = r_n - low_n * work[last - 1, DU] - d_n * work[last, DU]
    elif whole:
        flux[part, BOTTOM] = 0.0


@compiled_in_place
def surface(work: Array, p: Array, q_pot: float, q_top: float, mode: int, crossings: int) -> int:
    """Return the condition at the surface after this step; it may also shorten DU and keep FLUX.

    Decides on the clipped step. The first crossing of h = 0 only stops there: rain on a dry soil
    overshoots once and would cause false runoff.
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


@compiled_in_place
def uptake(work: Array, active: int) -> float:
    """Sum the root uptake of the column, linear in the step of the active nodes [cm d-1]."""
    total = 0.0
    for i in range(work.shape[0]):
        total += work[i, SINK]
        if i < active:
            total += work[i, DSINK] * work[i, DU]
    return total


@compiled_in_place
def close_balance(work: Array, rate: float, flux: Array, part: int, node: int) -> float:
    """Add the balance residual of a solve of the upper nodes to the first node below them."""
    left = (flux[part, TOP] - flux[part, BOTTOM] - flux[part, UPTAKE]) / rate
    for i in range(work.shape[0]):
        left -= work[i, W] * (work[i, TH_LIN] - work[i, TH_STAR])
    work[node, TH_LIN] += left / work[node, W]
    return float(left / work[node, W])


@compiled_in_place
def damp(work: Array, active: int, iteration: int) -> bool:
    """Shorten the steps of a slow iteration; return whether a step changed.

    Every second call halves all steps. The largest step of a dry node is halved whenever its step
    changes sign: Newton oscillates about a kink of Feddes' function where C and K vanish.
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


@compiled_in_place
def stage(
    work: Array, table: Array, decay: Array, p: Array, beta: Array, rate: float, q_pot: float,
    t_pot: float, mode: int, flux: Array, part: int, counts: Array,
) -> int:  # fmt: skip
    """Iterate one stage; return the surface's mode, or -1 - mode without convergence."""
    nz = work.shape[0]
    crossings = returns = 0
    active = nz
    flux[part, UPTAKE] = 0.0
    for iteration in range(ITERATIONS):
        counts[SOLVES] += 1.0
        solve_rows(work, p, rate, q_pot, mode, flux, part, active)
        if t_pot > 0.0:
            flux[part, UPTAKE] = uptake(work, active)
        halved = iteration >= PATIENCE and damp(work, active, iteration)
        step_0 = work[0, DU]
        new = surface(work, p, q_pot, flux[part, TOP], mode, crossings)
        switched = new != mode or work[0, DU] != step_0
        if switched:
            crossings += 1 if mode == FLUX else 0
            returns += 1 if new == FLUX and mode != FLUX else 0
            mode = new
        bad = evaluate(work, table, decay, p, active)
        if t_pot > 0.0:
            sink(work, p, beta, t_pot)
        if bad < 0 and not switched and not halved:
            if active == nz or abs(close_balance(work, rate, flux, part, active)) <= THETA_LINEAR:
                flux[part, RUNOFF] = q_pot - flux[part, TOP] if mode == POND else 0.0
                return mode
            active = nz
        else:
            active = bad + 1 + BELOW
            if switched or halved or active > nz - 3:
                active = nz
        if returns > RETURNS:
            break
    return -1 - mode


@compiled_in_place
def force(
    work: Array, p: Array, rate: float, q_pot: float, mode: int, flux: Array, part: int
) -> float:
    """Compute theta from the balance of the present fluxes, exactly conservative, without Newton.

    Returns the largest distance of theta from the retention curve.
    """
    worst = 0.0
    last = work.shape[0] - 1
    flux[part, TOP], flux[part, RUNOFF], flux[part, BOTTOM], flux[part, UPTAKE] = (
        q_pot,
        0.0,
        0.0,
        0.0,
    )
    for i in range(last + 1):
        rhs = row(work, i, rate)[1]
        if i == 0:
            flux[part, TOP] = q_pot if mode == FLUX else -rhs
            flux[part, RUNOFF] = q_pot - flux[part, TOP] if mode == POND else 0.0
            rhs += flux[part, TOP]
        if i == last and p[BOTTOM_KIND] == BOTTOM_HEAD:
            flux[part, BOTTOM] = rhs
            rhs = 0.0
        work[i, TH_LIN] = work[i, TH] + rhs / (rate * work[i, W])
        flux[part, UPTAKE] += work[i, SINK]
        away = abs(work[i, TH_LIN] - work[i, TH])
        worst = away if not away <= worst else worst
    if p[BOTTOM_KIND] == FREE_DRAINAGE:
        flux[part, BOTTOM] = p[K_LOW]
    return worst
