"""Advance the Richards solver in time: SDIRK2 steps, control of their length, records."""

from __future__ import annotations

import math

import numpy as np

from epithermal_host.arrays import Array
from epithermal_host.compute.numba_cache import compiled_in_place
from epithermal_host.soil.richards_kernel import (
    DU,
    FLUX,
    GAMMA,
    HEAD,
    TH,
    TH_LIN,
    TH_N,
    TH_STAR,
    TOP,
    U_GIVEN,
    U_MIN,
    U_N,
    H,
    U,
    Y,
    evaluate,
    sink,
)
from epithermal_host.soil.richards_newton import force, stage

DT_FIRST_D, DT_MAX_D = 1e-2, 1.0
DT_FORCED_D = 1e-4  # a step as short as this is accepted (forced) without convergence
DT_LEAST_D = 1e-9  # a step as short as this that cannot be forced ends the run
THETA_FORCED = 1e-2  # largest distance of a forced step from the retention curve
FIRST_RAIN_CM = 0.1  # largest change of water in the first step after a change of surface flux
GROW, SHRINK, REJECT = 4.0, 0.3, 0.6  # limits of the factor of the step length
FLUX_WEIGHT = 3.0  # water lost by a change at the surface, against the tolerance of theta [cm-1]
SHORT_WEIGHT = 100.0  # weight of water that a node at U_MIN lacks, against the tolerance
STEPS_A_RECORD = 20000
DONE, NOT_FINITE, TOO_MANY_STEPS, NOT_CONVERGED = range(4)  # status of a run
STEPS, FORCED, REJECTED, REACHED_D = 0, 1, 2, 4  # indices in `counts`, besides SOLVES
COUNTS = 5


@compiled_in_place
def attempt(
    work: Array, table: Array, decay: Array, p: Array, beta: Array, nz: int, dt: float,
    q_pot: float, t_pot: float, mode: int, flux: Array, counts: Array,
) -> tuple[int, float, float]:  # fmt: skip
    """Solve both stages of a time step.

    Returns the surface's mode (below 0: failed), the error in theta, and the difference [cm] of
    potential and actual surface flux if the mode changed within the step. Stores the fluxes of
    both stages in `flux` (2, 4).
    """
    before = mode
    rate = 1.0 / (GAMMA * dt)
    for part in range(2):
        mode = stage(work, table, decay, p, beta, nz, rate, q_pot, t_pot, mode, flux, part, counts)
        if mode < 0:
            if dt > DT_FORCED_D:
                return mode, 0.0, 0.0
            if not force(work, p, nz, rate, q_pot, -1 - mode, flux, part) <= THETA_FORCED:
                return mode, 0.0, 0.0
            mode = -1 - mode
            counts[FORCED] += 0.5
        if part == 0:
            for i in range(nz):
                rise = work[TH_LIN + i] - work[TH_N + i]
                work[TH_STAR + i] = work[TH_N + i] + (1.0 - GAMMA) / GAMMA * rise
    loss = abs(q_pot - flux[1, TOP]) * dt if mode != before else 0.0
    return mode, error_of(work, p, nz), loss


@compiled_in_place
def error_of(work: Array, p: Array, nz: int) -> float:
    """Compute the largest difference between the increases of theta in the two stages.

    A node at U_MIN that lacks water adds to it.
    """
    total = 0.0
    for i in range(nz):
        first = (work[TH_STAR + i] - work[TH_N + i]) * (GAMMA / (1.0 - GAMMA))
        d = abs(work[TH_LIN + i] - work[TH_STAR + i] - first)
        lacks = SHORT_WEIGHT * (min(work[TH + i], work[TH_N + i]) - work[TH_LIN + i])
        d = lacks if work[U + i] <= p[U_MIN] and lacks > d else d
        work[Y + i] = d
        total += d
    if not total < np.inf:
        return np.inf
    for i in range(nz, nz + 3):
        work[Y + i] = 0.0
    a = b = c = d = 0.0  # four maxima at a time, as each waits for the one before it
    for i in range(0, nz, 4):
        a, b = max(a, work[Y + i]), max(b, work[Y + i + 1])
        c, d = max(c, work[Y + i + 2]), max(d, work[Y + i + 3])
    return float(max(a, b, c, d))


@compiled_in_place
def restore(
    work: Array, table: Array, decay: Array, p: Array, beta: Array, nz: int, t_pot: float
) -> None:
    """Restore the state at the start of the step: soil functions, fluxes and sink."""
    for i in range(nz):
        work[U + i] = work[U_N + i]
        work[TH_STAR + i] = work[TH_N + i]
        work[DU + i] = 0.0
    evaluate(work, table, decay, p, nz, nz)
    if t_pot > 0.0:
        sink(work, p, beta, t_pot)


@compiled_in_place
def record(
    work: Array, table: Array, decay: Array, p: Array, beta: Array, nz: int, start: float,
    end: float, q_pot: float, t_pot: float, mode: int, dt: float, tolerance: float, flux: Array,
    sums: Array, counts: Array,
) -> tuple[int, int, float]:  # fmt: skip
    """Step from `start` to `end` under one forcing; return status, surface mode and next dt."""
    t = start
    for _ in range(STEPS_A_RECORD):
        left = end - t
        now = left if dt >= 0.999 * left else min(dt, 0.5 * left)
        new, error, loss = attempt(
            work, table, decay, p, beta, nz, now, q_pot, t_pot, mode, flux, counts
        )
        if not error < 1e6:
            return NOT_FINITE, mode, dt
        factor = 0.9 * math.sqrt(tolerance / max(error, 1e-12))
        if loss > 0.0:
            factor = min(factor, 0.9 * math.sqrt(tolerance / (FLUX_WEIGHT * loss)))
        factor = min(max(factor, SHRINK), GROW)
        if new < 0 and now < DT_LEAST_D:
            return NOT_CONVERGED, mode, dt
        if new < 0 or (factor < REJECT and now > DT_FORCED_D):
            counts[REJECTED] += 1.0
            dt = (SHRINK if new < 0 else factor) * now
            restore(work, table, decay, p, beta, nz, t_pot)
            continue
        mode = new
        for i in range(nz):
            work[TH_N + i] = work[TH_STAR + i] = work[TH_LIN + i]
            work[U_N + i] = work[U + i]
        for j in range(sums.size):
            sums[j] += now * ((1.0 - GAMMA) * flux[0, j] + GAMMA * flux[1, j])
        counts[STEPS] += 1.0
        dt = min(max(dt, factor * now) if factor > 1.0 else factor * now, DT_MAX_D)
        t = end if now == left else t + now
        counts[REACHED_D] = t
        if t == end:
            return DONE, mode, dt
    return TOO_MANY_STEPS, mode, dt


@compiled_in_place
def run(
    work: Array, table: Array, decay: Array, p: Array, roots: Array, end_d: Array, q_pot: Array,
    t_pot: Array, u_top: Array, tolerance: float, theta: Array, h: Array, flux: Array,
    sums: Array, counts: Array,
) -> int:  # fmt: skip
    """Solve a column through all records; row r + 1 of theta, h, sums is the state at end_d[r].

    The workspace must contain U_N and TH_N. `roots` (1 or nt, nz); `u_top` (nt) where the head of
    the surface is prescribed, else empty.
    """
    t, dt, before = 0.0, DT_FIRST_D, 0.0
    nz = theta.shape[1]
    mode = HEAD if u_top.size > 0 else FLUX
    restore(work, table, decay, p, roots[0], nz, 0.0)
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
        for j in range(sums.shape[1]):
            sums[r + 1, j] = sums[r, j]
        status, mode, dt = record(
            work, table, decay, p, beta, nz, t, end_d[r], q_pot[r], t_pot[r], mode, dt, tolerance,
            flux, sums[r + 1], counts,
        )  # fmt: skip
        if status != DONE:
            return status
        t = end_d[r]
        for i in range(nz):
            theta[r + 1, i] = work[TH_N + i]
            h[r + 1, i] = work[H + i]
    return DONE
