"""Solve Richards' equation for one soil column: inputs, checks and the call of the kernel."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from epithermal_host.arrays import Array
from epithermal_host.errors import SolverError
from epithermal_host.soil import richards_kernel as kernel
from epithermal_host.soil import richards_newton, richards_time
from epithermal_host.soil.hydraulics import N_WITHOUT_AIR_ENTRY, SoilHydraulics
from epithermal_host.soil.profile import NODES_MOST, Grid, Profile
from epithermal_host.soil.richards_table import decay, soil_table, unknown

Top = Literal["atmosphere", "head", "flux"]
Bottom = Literal["free_drainage", "head", "no_flux"]


@dataclass(frozen=True, slots=True)
class Feddes:
    """Stress function of root water uptake: 1 between h_opt and h_2, 0 above h_0 and below h_3.

    h_2 depends on potential transpiration: from h_2_low at rate_low to h_2_high at rate_high. The
    default is grass as HYDRUS-1D lists it.

    References
    ----------
    Feddes et al. (1978), as in Simunek et al. (2008), eq. 2.10; compensation Jarvis (1989).
    """

    h_0_cm: float = -10.0
    h_opt_cm: float = -25.0
    h_2_high_cm: float = -200.0
    h_2_low_cm: float = -800.0
    h_3_cm: float = -8000.0
    rate_high_cm_d: float = 0.5
    rate_low_cm_d: float = 0.1
    omega_c: float = 1.0  # 1: no compensation, 0: full

    def __post_init__(self) -> None:
        heads = (self.h_3_cm, self.h_2_low_cm, self.h_2_high_cm, self.h_opt_cm, self.h_0_cm)
        if not (np.all(np.diff(heads) >= 0.0) and self.h_3_cm < self.h_2_low_cm):
            raise ValueError("Feddes requires h_3 < h_2_low <= h_2_high <= h_opt <= h_0")
        if not (self.rate_high_cm_d >= self.rate_low_cm_d > 0.0 and 0.0 <= self.omega_c <= 1.0):
            raise ValueError("Feddes requires rate_high >= rate_low > 0 and omega_c within 0 to 1")

    def numbers(self) -> Array:
        """Return the parameters in the order of HYDRUS-1D's input."""
        return np.array([self.h_0_cm, self.h_opt_cm, self.h_2_high_cm, self.h_2_low_cm,
                         self.h_3_cm, self.rate_high_cm_d, self.rate_low_cm_d,
                         self.omega_c])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A soil column: materials, nodes, initial state and kinds of its boundary conditions.

    Parameters
    ----------
    h_initial_cm : scalar or (nz) [cm]
        Initial pressure head.
    hcrit_cm : [cm]
        Lowest head of the surface (HYDRUS-1D's hCritA).
    top :
        "atmosphere": rain minus evaporation, with runoff where h would exceed 0 and reduced
        evaporation where h would fall below hcrit_cm. "head": Forcing.top_head_cm. "flux": rain
        minus evaporation without limits.
    bottom :
        "free_drainage": unit gradient. "head": bottom_head_cm, 0 for a water table. "no_flux".
    """

    soils: tuple[SoilHydraulics, ...]
    grid: Grid
    h_initial_cm: ArrayLike = -100.0
    hcrit_cm: float = -15000.0
    top: Top = "atmosphere"
    bottom: Bottom = "free_drainage"
    bottom_head_cm: float = 0.0
    feddes: Feddes | None = None

    def __post_init__(self) -> None:
        if self.grid.material.max() >= len(self.soils):
            raise ValueError(f"the grid has more materials than there are soils, {len(self.soils)}")
        if self.top not in ("atmosphere", "head", "flux"):
            raise ValueError(f"top must be atmosphere, head or flux, not {self.top!r}")
        if self.bottom not in ("free_drainage", "head", "no_flux"):
            raise ValueError(f"bottom must be free_drainage, head or no_flux, not {self.bottom!r}")
        if not -1e7 < self.hcrit_cm < min(-soil.air_entry_cm for soil in self.soils):
            raise ValueError("hcrit_cm must lie between -1e7 and the air entry")

    @property
    def name(self) -> str:
        """Names of the soils from top to bottom, for messages."""
        return " over ".join(soil.name for soil in self.soils)


@dataclass(frozen=True, slots=True)
class Forcing:
    """Fluxes at the surface; record r applies from end_d[r - 1] (0 for the first) to end_d[r].

    Parameters
    ----------
    end_d : (nt) [d]
        End of each record, daily or finer.
    rain_cm_d, pot_evaporation_cm_d, pot_transpiration_cm_d : (nt) or scalar [cm d-1]
        Rates, none negative.
    top_head_cm : (nt) or scalar [cm]
        For a column whose top is "head".
    root_density : (nt, nz) [-]
        Relative root density in each record, any scale; default: that of the grid.
    """

    end_d: Array
    rain_cm_d: ArrayLike = 0.0
    pot_evaporation_cm_d: ArrayLike = 0.0
    pot_transpiration_cm_d: ArrayLike = 0.0
    top_head_cm: ArrayLike | None = None
    root_density: Array | None = None

    def __post_init__(self) -> None:
        end = self.end_d
        if end.ndim != 1 or end.size == 0 or not np.all(np.diff(end, prepend=0.0) > 0.0):
            raise ValueError("end_d must hold at least one time above 0 and increase")
        for name in ("rain_cm_d", "pot_evaporation_cm_d", "pot_transpiration_cm_d"):
            rate = self.rate(name)
            bad = np.flatnonzero(~((rate >= 0.0) & (rate < 1e4)))
            if bad.size:
                raise ValueError(f"{name} is negative or not a number in record {bad[0]}")

    def rate(self, name: str) -> Array:
        """Return one of the rates as (nt)."""
        value = np.asarray(getattr(self, name), dtype=np.float64)
        return np.array(np.broadcast_to(value, self.end_d.shape))


def solve(column: Column, forcing: Forcing, *, tolerance: float = 0.03) -> Profile:
    """Solve for water content and fluxes of a soil column over time.

    Parameters
    ----------
    column :
        Soils, grid, initial state, boundary conditions.
    forcing :
        Weather; the profile has one row for the end of each record.
    tolerance : [m3 m-3]
        Largest difference at any node between the increases of theta in the two stages of a time
        step. The resulting error of the 0-30 cm mean is about a hundredth of it.

    Raises
    ------
    SolverError
        The column cannot be solved: soil, day, reason.
    ValueError
        Impossible shapes or numbers.

    References
    ----------
    Mixed form, mass conservative: Celia et al. (1990), eq. 9. SDIRK2: Alexander (1977).
    docs/equations-columns.md describes the scheme.
    """
    _reject_unsolvable(column)
    nz, nt = column.grid.z_cm.size, forcing.end_d.size
    if nz > NODES_MOST:
        raise ValueError(f"a grid must have at most {NODES_MOST} nodes, not {nz}")
    theta, h, sums = np.empty((nt + 1, nz)), np.empty((nt + 1, nz)), np.zeros((nt + 1, 4))
    h[0] = np.broadcast_to(np.asarray(column.h_initial_cm, dtype=np.float64), nz)
    for index, soil in enumerate(column.soils):
        own = column.grid.material == index
        theta[0, own] = soil.theta(h[0, own])
    work = _work(column, h[0], theta[0])
    tables = np.concatenate([soil_table(soil).ravel() for soil in column.soils])
    width = _field(column, work, kernel.W)
    arguments = (
        work,
        tables,
        np.tile(decay(), len(column.soils)),
        _parameters(column, forcing, work),
        _roots(column, forcing, width),
        forcing.end_d,
        forcing.rate("rain_cm_d") - forcing.rate("pot_evaporation_cm_d"),
        forcing.rate("pot_transpiration_cm_d"),
        _top_heads(column, forcing, work),
        tolerance,
    )
    counts = np.zeros(richards_time.COUNTS)
    start = time.thread_time()
    status = richards_time.run(*arguments, theta, h, np.zeros((2, 4)), sums, counts)
    cpu_s = time.thread_time() - start
    _raise_on_failure(column, status, counts)
    return _profile(column, forcing, width, theta, h, sums, counts, cpu_s)


def _reject_unsolvable(column: Column) -> None:
    for soil in column.soils:
        if soil.n < N_WITHOUT_AIR_ENTRY and soil.air_entry_cm == 0.0:
            reason = (
                f"n = {soil.n:g} < {N_WITHOUT_AIR_ENTRY} cannot be solved reliably with plain van "
                "Genuchten; use SoilHydraulics.with_air_entry()"
            )
            raise SolverError(soil.name, 0.0, reason)


def _raise_on_failure(column: Column, status: int, counts: Array) -> None:
    reasons = {
        richards_time.NOT_FINITE: "the water content is not a number",
        richards_time.TOO_MANY_STEPS: f"more than {richards_time.STEPS_A_RECORD} steps in a record",
        richards_time.NOT_CONVERGED: f"no convergence with a step of {richards_time.DT_LEAST_D} d",
    }
    if status != richards_time.DONE:
        raise SolverError(column.name, float(counts[richards_time.REACHED_D]), reasons[status])


def _work(column: Column, h_cm: Array, theta: Array) -> Array:
    """Create the kernel's workspace with geometry and initial state of the column."""
    z, material = column.grid.z_cm, column.grid.material
    dz = np.diff(z)
    hs = -np.array([soil.air_entry_cm for soil in column.soils])[material]
    work = np.zeros(kernel.FIELDS * kernel.STRIDE)
    for field, values in (
        (kernel.W, 0.5 * (np.append(dz, 0.0) + np.insert(dz, 0, 0.0))),
        (kernel.PER_DZ, np.append(0.0, 1.0 / dz)),
        (kernel.HS, hs),
        (kernel.CLOSE_WET, np.where(hs < 0.0, kernel.THETA_ENTRY, kernel.THETA_SATURATED)),
        (kernel.FIRST_ROW, material * (kernel.CELLS + 1.0)),
        (kernel.U_N, unknown(h_cm, hs)),
        (kernel.TH_N, theta),
    ):
        work[field : field + z.size] = values
    return work


def _field(column: Column, work: Array, field: int) -> Array:
    return work[field : field + column.grid.z_cm.size]


def _parameters(column: Column, forcing: Forcing, work: Array) -> Array:
    """Collect the kernel's parameters: Feddes, heads at the boundaries, kind of the bottom."""
    surface = unknown(np.array([0.0, column.hcrit_cm]), work[[kernel.HS, kernel.HS]])
    if column.top != "atmosphere":
        surface = np.array([np.inf, -np.inf])
    p = np.zeros(kernel.PARAMETERS)
    p[: kernel.U_POND] = (column.feddes or Feddes()).numbers()
    p[kernel.U_POND], p[kernel.U_DRY] = surface
    hs = _field(column, work, kernel.HS)
    p[kernel.U_BOTTOM] = unknown(np.array([column.bottom_head_cm]), hs[-1:])[0]
    p[kernel.U_MIN] = _driest(column, forcing, work)
    p[kernel.BOTTOM_KIND] = ("free_drainage", "head", "no_flux").index(column.bottom)
    return p


def _driest(column: Column, forcing: Forcing, work: Array) -> float:
    """Compute the least u of a node: no soil dries below the heads of boundaries and roots."""
    heads = [column.hcrit_cm, float(np.min(column.h_initial_cm))]
    if column.feddes is not None:
        heads.append(column.feddes.h_3_cm)
    if column.bottom == "head":
        heads.append(column.bottom_head_cm)
    if column.top == "head" and forcing.top_head_cm is not None:
        heads.append(float(np.min(forcing.top_head_cm)))
    if column.top == "flux":
        return -kernel.U_RANGE
    return float(unknown(np.full(1, min(heads)), _field(column, work, kernel.HS).max())[0])


def _top_heads(column: Column, forcing: Forcing, work: Array) -> Array:
    if column.top != "head":
        return np.zeros(0)
    if forcing.top_head_cm is None:
        raise ValueError("a column whose top is 'head' needs Forcing.top_head_cm")
    heads = np.asarray(forcing.top_head_cm, dtype=np.float64)
    return unknown(np.broadcast_to(heads, forcing.end_d.shape), work[kernel.HS])


def _roots(column: Column, forcing: Forcing, width: Array) -> Array:
    """Compute each node's fraction of the uptake, (1 or nt, nz)."""
    density = column.grid.root[None, :]
    if forcing.root_density is not None:
        density = np.asarray(forcing.root_density, dtype=np.float64)
        if density.shape != (forcing.end_d.size, width.size):
            raise ValueError("root_density must have one row per record and one value per node")
    if column.feddes is None:
        if np.any(forcing.rate("pot_transpiration_cm_d") > 0.0):
            raise ValueError("potential transpiration needs Column.feddes")
        return np.zeros((1, width.size))
    share = density * width
    total = share.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(share / np.where(total > 0.0, total, 1.0))


def _profile(
    column: Column, forcing: Forcing, width: Array, theta: Array, h: Array, sums: Array,
    counts: Array, cpu_s: float,
) -> Profile:  # fmt: skip
    z = column.grid.z_cm
    top, runoff, uptake, bottom = sums.T
    duration = np.diff(forcing.end_d, prepend=0.0)
    rain = np.append(0.0, np.cumsum(forcing.rate("rain_cm_d") * duration))
    if column.top == "head":
        infiltration, evaporation = top, np.zeros_like(top)
    else:
        infiltration = rain - runoff
        evaporation = infiltration - top
    storage = np.einsum("tz,z->t", theta, width)  # not @: its threads would wait for more
    return Profile(
        np.append(0.0, forcing.end_d), z, theta, h, infiltration, evaporation, uptake, runoff,
        bottom, storage, storage - storage[0] - (top - bottom - uptake),
        int(counts[richards_time.STEPS]), int(np.ceil(counts[richards_time.FORCED])),
        int(counts[richards_newton.SOLVES]), cpu_s,
    )  # fmt: skip
