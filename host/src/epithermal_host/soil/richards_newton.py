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
    DIAG,
    DK,
    DQ_ABOVE,
    DQ_BELOW,
    DRY,
    DSINK,
    DU,
    DU_CLIP,
    DU_MOST,
    DU_OLD,
    FLUX,
    FREE_DRAINAGE,
    ITERATIONS,
    NO_FLUX,
    POND,
    RETURNS,
    RHS,
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
    UPTAKE,
    Q,
    U,
    W,
    assemble,
    eliminate,
    evaluate,
    sink,
)

PATIENCE = 5  # iterations before steps are damped
U_DAMPED = -3.0  # h about -40 cm
BELOW = 8  # nodes solved again below the lowest that has not converged
SOLVES = 3  # index in `counts` of the number of linear solves


@compiled_in_place
def solve_rows(
    work: Array, p: Array, nz: int, rate: float, q_pot: float, mode: int, flux: Array, part: int,
    active: int,
) -> None:  # fmt: skip
    """Solve once for DU with the present boundaries; store their fluxes in row `part` of `flux`.

    With fewer active nodes than nodes, the others and the flux at the bottom stay as they are.
    """
    last = active - 1
    whole = active == nz
    kind = p[BOTTOM_KIND] if whole else NO_FLUX
    assemble(work, rate, active)
    d_0, r_0, up_0 = work[DIAG], work[RHS], work[DQ_BELOW + 1]
    d_n, r_n, above_n = work[DIAG + last], work[RHS + last], work[DQ_ABOVE + last]
    if kind == BOTTOM_HEAD:
        work[DQ_ABOVE + last], work[DIAG + last] = 0.0, 1.0
        work[RHS + last] = p[U_BOTTOM] - work[U + last]
    elif kind == FREE_DRAINAGE:
        work[DQ_ABOVE + last] -= work[DK + last - 1]
    if mode == FLUX:
        work[RHS] += q_pot
    else:
        work[DQ_BELOW + 1], work[DIAG] = 0.0, 1.0
        work[RHS] = p[U_POND + mode - POND] - work[U]
    eliminate(work, active)
    work[DQ_BELOW + 1], work[DQ_ABOVE + last] = up_0, above_n
    flux[part, TOP] = q_pot
    if mode != FLUX:
        flux[part, TOP] = d_0 * work[DU] + up_0 * work[DU + 1] - r_0
    if kind == FREE_DRAINAGE:
        drained = work[DK + last - 1] * work[DU + last - 1] + work[DK + last] * work[DU + last]
        flux[part, BOTTOM] = work[Q + nz] + drained
    elif kind == BOTTOM_HEAD:
        flux[part, BOTTOM] = r_n + above_n * work[DU + last - 1] - d_n * work[DU + last]
    elif whole:
        flux[part, BOTTOM] = 0.0


@compiled_in_place
def surface(work: Array, p: Array, q_pot: float, q_top: float, mode: int, crossings: int) -> int:
    """Return the condition at the surface after this step; it may also shorten DU and keep FLUX.

    Decides on the clipped step. The first crossing of h = 0 only stops there: rain on a dry soil
    overshoots once and would cause false runoff.
    """
    old, step = work[U], work[DU]
    if mode == FLUX:
        new = old + (max(min(step, DU_CLIP), -DU_CLIP) if old < 0.0 else step)
        if new > p[U_POND]:
            work[DU] = p[U_POND] - old
            return POND if crossings > 0 else FLUX
        if new < p[U_DRY]:
            work[DU] = p[U_DRY] - old
            return DRY
    elif (mode == POND and q_top > q_pot) or (mode == DRY and q_top < q_pot):
        return FLUX
    return mode


@compiled_in_place
def uptake(work: Array, nz: int, active: int) -> float:
    """Sum the root uptake of the column, linear in the step of the active nodes [cm d-1]."""
    total = 0.0
    for i in range(nz):
        total += work[SINK + i]
    for i in range(active):
        total += work[DSINK + i] * work[DU + i]
    return total


@compiled_in_place
def close_balance(work: Array, nz: int, rate: float, flux: Array, part: int, node: int) -> float:
    """Add the balance residual of a solve of the upper nodes to the first node below them."""
    left = (flux[part, TOP] - flux[part, BOTTOM] - flux[part, UPTAKE]) / rate
    for i in range(nz):
        left -= work[W + i] * (work[TH_LIN + i] - work[TH_STAR + i])
    work[TH_LIN + node] += left / work[W + node]
    return float(left / work[W + node])


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
            work[DU_OLD + i], work[DU_MOST + i] = 0.0, np.inf
        step = work[DU + i] * share
        if work[U + i] < U_DAMPED:
            if step * work[DU_OLD + i] < 0.0:
                work[DU_MOST + i] = 0.5 * min(abs(work[DU_OLD + i]), work[DU_MOST + i])
            if abs(step) > work[DU_MOST + i]:
                step = math.copysign(work[DU_MOST + i], step)
                changed = True
            work[DU_OLD + i] = max(min(step, DU_CLIP), -DU_CLIP)
        work[DU + i] = step
    return changed


@compiled_in_place
def stage(
    work: Array, table: Array, decay: Array, p: Array, beta: Array, nz: int, rate: float,
    q_pot: float, t_pot: float, mode: int, flux: Array, part: int, counts: Array,
) -> int:  # fmt: skip
    """Iterate one stage; return the surface's mode, or -1 - mode without convergence."""
    crossings = returns = 0
    active = nz
    flux[part, UPTAKE] = 0.0
    for iteration in range(ITERATIONS):
        counts[SOLVES] += 1.0
        solve_rows(work, p, nz, rate, q_pot, mode, flux, part, active)
        if t_pot > 0.0:
            flux[part, UPTAKE] = uptake(work, nz, active)
        halved = iteration >= PATIENCE and damp(work, active, iteration)
        step_0 = work[DU]
        new = surface(work, p, q_pot, flux[part, TOP], mode, crossings)
        switched = new != mode or work[DU] != step_0
        if switched:
            crossings += 1 if mode == FLUX else 0
            returns += 1 if new == FLUX and mode != FLUX else 0
            mode = new
        bad = evaluate(work, table, decay, p, nz, active)
        if t_pot > 0.0:
            sink(work, p, beta, t_pot)
        if bad < 0 and not switched and not halved:
            rest = close_balance(work, nz, rate, flux, part, active) if active < nz else 0.0
            if abs(rest) <= THETA_LINEAR:
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
    work: Array, p: Array, nz: int, rate: float, q_pot: float, mode: int, flux: Array, part: int
) -> float:
    """Compute theta from the balance of the present fluxes, exactly conservative, without Newton.

    Returns the largest distance of theta from the retention curve.
    """
    worst = 0.0
    last = nz - 1
    assemble(work, rate, nz)
    flux[part, TOP], flux[part, RUNOFF], flux[part, BOTTOM], flux[part, UPTAKE] = (
        q_pot,
        0.0,
        0.0,
        0.0,
    )
    for i in range(last + 1):
        rhs = work[RHS + i]
        if i == 0:
            flux[part, TOP] = q_pot if mode == FLUX else -rhs
            flux[part, RUNOFF] = q_pot - flux[part, TOP] if mode == POND else 0.0
            rhs += flux[part, TOP]
        if i == last and p[BOTTOM_KIND] == BOTTOM_HEAD:
            flux[part, BOTTOM] = rhs
            rhs = 0.0
        work[TH_LIN + i] = work[TH + i] + rhs / (rate * work[W + i])
        flux[part, UPTAKE] += work[SINK + i]
        away = abs(work[TH_LIN + i] - work[TH + i])
        worst = away if not away <= worst else worst
    if p[BOTTOM_KIND] == FREE_DRAINAGE:
        flux[part, BOTTOM] = work[Q + nz]
    return worst
