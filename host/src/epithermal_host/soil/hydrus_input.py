"""Write the input of HYDRUS-1D with phydrus, and correct the errors of phydrus 0.2.0 in it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_host.errors import SolverError
from epithermal_host.soil.hydrus_output import STDOUT

if TYPE_CHECKING:
    from epithermal_host.soil.richards import Column, Forcing

INSTALL_HINT = "pip install 'epithermal-host[hydrus]'"
MODELS = {0.0: 0, 2.0: 3}  # iModel of HYDRUS-1D by the soil's air_entry_cm
MAX_NODES, MAX_TIMES, MAX_PATH = 1001, 30_000, 240  # dimensions compiled into the program


NO_TABLES = {"ha": 0.0, "hb": 0.0}  # range of heads of the tables


@dataclass(frozen=True, slots=True)
class Settings:
    """Numerical settings of HYDRUS-1D.

    The graphical interface proposes dt_min_d 1e-5 and 10 iterations, with which runs of loamy sand
    and of layered columns stop early. Below 1e-7 the program's 32-bit steps miss the end of the
    run (see `_first_of_each_time` in hydrus_output).
    """

    dt_initial_d: float = 1e-3
    dt_min_d: float = 1e-7
    dt_max_d: float = 5.0
    max_iterations: int = 20
    tol_theta: float = 1e-3
    tol_h_cm: float = 1.0
    timeout_s: float = 600.0
    tables: bool = True  # False: hydraulic functions computed, not interpolated; 4 times as slow


def write_input(
    column: Column, forcing: Forcing, folder: Path, program: Path, settings: Settings
) -> None:
    """Write SELECTOR.IN, PROFILE.DAT and ATMOSPH.IN with phydrus and correct its errors.

    Parameters
    ----------
    column, forcing : [-]
        As for `solve`.
    folder : [-]
        The workspace; created where missing. Output of an earlier run is removed.
    program : [-]
        The executable; phydrus requires that it exists.
    settings : [-]
        Numerical settings.

    Raises
    ------
    ValueError
        As `solve`.
    """
    _reject_unsupported(column, forcing, folder)
    phydrus, pandas = _import_phydrus()
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.OUT"), folder / "Error.msg", folder / STDOUT):
        old.unlink(missing_ok=True)
    model = phydrus.Model(exe_name=str(program), ws_name=str(folder))
    _add_water_flow(model, column, settings)
    _add_atmosphere(model, pandas, column, forcing)
    _add_soil(model, pandas, column)
    end = [float(t) for t in forcing.end_d]
    model.add_time_info(
        tinit=0.0, tmax=end[-1], dt=settings.dt_initial_d, dtmin=settings.dt_min_d,
        dtmax=settings.dt_max_d, print_array=end,
    )  # fmt: skip
    # phydrus writes tables by DataFrame.to_string: its 6 decimals, or the user's setting, would
    # truncate alpha and Ks.
    with pandas.option_context("display.precision", 12, "display.float_format", None):
        model.write_input()
    _correct_selector(folder / "SELECTOR.IN", column)


def _import_phydrus() -> tuple[Any, Any]:
    """Import phydrus and pandas, which only this engine needs."""
    try:
        import pandas
        import phydrus
    except ImportError as error:
        raise ConfigError(f"engine hydrus needs phydrus: {INSTALL_HINT} ({error})") from error
    logging.getLogger("phydrus").setLevel(logging.WARNING)  # it logs each file that it writes
    return phydrus, pandas


def _reject_unsupported(column: Column, forcing: Forcing, folder: Path) -> None:
    """Raise on input that the program would misread, truncate or silently replace."""
    heads = [column.h_initial_cm, column.bottom_head_cm]
    if column.top == "head":
        heads.append(np.nan if forcing.top_head_cm is None else forcing.top_head_cm)
    if not all(np.all(np.isfinite(np.asarray(head, dtype=np.float64))) for head in heads):
        raise ValueError("pressure heads must be given and finite: phydrus writes NaN as 0")
    if column.feddes is None and np.any(forcing.rate("pot_transpiration_cm_d") > 0.0):
        raise ValueError("potential transpiration needs Column.feddes")
    if len(str(folder.resolve())) > MAX_PATH:
        raise ValueError(f"HYDRUS-1D truncates paths at {MAX_PATH} characters: {folder}")
    entries = {soil.air_entry_cm for soil in column.soils}
    reason = ""
    if len(entries) > 1 or not entries <= set(MODELS):
        choices = " or ".join(f"{cm:g}" for cm in sorted(MODELS))
        reason = f"HYDRUS-1D supports one air entry per column, {choices} cm"
    if column.grid.z_cm.size > MAX_NODES or forcing.end_d.size >= MAX_TIMES:
        reason = f"HYDRUS-1D supports at most {MAX_NODES} nodes and {MAX_TIMES - 1} print times"
    if forcing.root_density is not None:
        reason = "HYDRUS-1D supports no roots that change with time; use Grid.root"
    if reason:
        raise SolverError(column.name, 0.0, reason)


def _add_water_flow(model: Any, column: Column, settings: Settings) -> None:
    """Add blocks B and G: soil model, boundary conditions, iterations, uptake."""
    model.add_waterflow(
        model=MODELS[column.soils[0].air_entry_cm], maxit=settings.max_iterations,
        tolth=settings.tol_theta, tolh=settings.tol_h_cm,
        top_bc={"atmosphere": 3, "head": 4, "flux": 5}[column.top],
        bot_bc={"free_drainage": 4, "head": 0, "no_flux": 1}[column.bottom],
        rtop=0.0, rbot=0.0, rroot=0.0, **({} if settings.tables else NO_TABLES),
    )  # fmt: skip
    materials = model.get_empty_material_df(n=len(column.soils))
    for i, soil in enumerate(column.soils):
        values = (soil.theta_r, soil.theta_s, soil.alpha_per_cm, soil.n, soil.ks_cm_d, soil.l)
        materials.iloc[i] = [float(value) for value in values]
    model.add_material(materials)
    if column.feddes is not None:
        f = column.feddes
        model.add_root_uptake(
            model=0, omegac=f.omega_c, p0=f.h_0_cm, p2h=f.h_2_high_cm, p2l=f.h_2_low_cm,
            p3=f.h_3_cm, r2h=f.rate_high_cm_d, r2l=f.rate_low_cm_d,
            poptm=[f.h_opt_cm] * len(column.soils),
        )  # fmt: skip


def _add_atmosphere(model: Any, pandas: Any, column: Column, forcing: Forcing) -> None:
    """Add ATMOSPH.IN: one row per record; as in Forcing, it applies up to its time."""
    rain, evaporation = forcing.rate("rain_cm_d"), forcing.rate("pot_evaporation_cm_d")
    frame = {"tAtm": forcing.end_d, "rRoot": forcing.rate("pot_transpiration_cm_d")}
    if column.top == "head":
        frame["ht"] = np.broadcast_to(np.asarray(forcing.top_head_cm, float), rain.shape)
    elif column.top == "flux":  # Prec is the flux, positive upwards; rSoil its kind
        frame |= {"Prec": evaporation - rain, "rSoil": np.full(rain.shape, -1.0)}
    else:
        frame |= {"Prec": rain, "rSoil": evaporation}
    hcrit = 1e9 if column.top == "flux" else -column.hcrit_cm
    # hcrits: the 1e30 of phydrus would allow unlimited ponding. Floats, because pandas 3 does not
    # convert integer columns to float.
    model.add_atmospheric_bc(
        pandas.DataFrame(frame), hcrits=0.0, hcrita=float(hcrit), tatm=0.0, prec=0.0, rsoil=0.0,
        rroot=0.0, rb=0.0, hb=0.0, ht=0.0, ttop=0.0, tbot=0.0, ampl=0.0,
    )  # fmt: skip


def _add_soil(model: Any, pandas: Any, column: Column) -> None:
    """Add PROFILE.DAT; the function of phydrus supports uniform grids only."""
    grid = column.grid
    h = np.array(np.broadcast_to(np.asarray(column.h_initial_cm, float), grid.z_cm.shape))
    if column.bottom == "head":  # the program keeps the initial head of the last node
        h[-1] = column.bottom_head_cm
    one = np.ones_like(h)
    model.add_profile(
        pandas.DataFrame(
            {
                "x": -grid.z_cm, "h": h, "Mat": grid.material + 1, "Lay": 1, "Beta": grid.root,
                "Axz": one, "Bxz": one, "Dxz": one, "Temp": 20.0 * one,
            },
            index=range(1, h.size + 1),
        )
    )  # fmt: skip


def _correct_selector(path: Path, column: Column) -> None:
    """Correct two errors of phydrus 0.2.0 that cause wrong uptake or an input error.

    Without solutes HYDRUS-1D reads `iMoSink OmegaC`, but phydrus writes three numbers: the second,
    0, is read as OmegaC and uptake is fully compensated. If the number of print times is divisible
    by 6, phydrus writes a blank line, which shifts all following lines (the uptake block).
    """
    lines = [line for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    for i, line in enumerate(lines):
        if line.split()[:2] == ["iMoSink", "cRootMax"] and column.feddes is not None:
            lines[i : i + 2] = ["iMoSink OmegaC", f"0 {column.feddes.omega_c}"]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
