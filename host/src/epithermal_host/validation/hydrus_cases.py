"""Read reference runs of HYDRUS-1D: case.json, weather, profiles and fluxes of a folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_host.arrays import Array
from epithermal_host.compute.damage import DAMAGE
from epithermal_host.soil.hydraulics import AIR_ENTRY_CM, SoilHydraulics
from epithermal_host.soil.profile import Grid, mean_theta
from epithermal_host.soil.richards import Bottom, Column, Feddes, Forcing, Top

MEAN_CM = 30.0  # depth of the compared mean
AIR_ENTRY = {0: 0.0, 3: AIR_ENTRY_CM}  # air entry by HYDRUS-1D's iModel


@dataclass(frozen=True, slots=True)
class Reference:
    """Result of HYDRUS-1D in one of the variants `converged` and `default`."""

    time_d: Array  # (nt)
    theta: Array  # (nt, nz) [m3 m-3]
    mean: Array  # (nt) of the upper 30 cm
    fluxes: dict[str, Array]  # columns of daily_<variant>.csv, (nt or nt - 1)


@dataclass(frozen=True, slots=True)
class Case:
    """One case of the reference: column and forcing, and the results of HYDRUS-1D."""

    name: str
    column: Column
    forcing: Forcing
    converged: Reference
    default: Reference | None
    unusable: str  # reason why `converged` is not a reference; empty when it is

    @property
    def years(self) -> float:
        """Simulated time [a]."""
        return float(self.forcing.end_d[-1]) / 365.0

    def mean(self, theta: Array) -> Array:
        """Compute the mean water content of the upper 30 cm, or of a shorter column."""
        z = self.column.grid.z_cm
        return mean_theta(z, theta, 0.0, min(MEAN_CM, float(z[-1])))


def find_cases(folder: Path) -> list[Path]:
    """List the folders with a case.json: the given folder or its subfolders.

    Raises
    ------
    ConfigError
        No folder has one.
    """
    folders = [folder] if (folder / "case.json").is_file() else []
    folders += sorted(path.parent for path in folder.glob("*/case.json"))
    if not folders:
        raise ConfigError(f"{folder}: no case.json here or in a subfolder; give a reference's path")
    return folders


def read_case(folder: Path) -> Case:
    """Read a case from its folder.

    Raises
    ------
    ConfigError
        A file is missing, damaged or contains an unsupported value; one line that names it.
    """
    path = folder / "case.json"
    try:
        case = json.loads(path.read_text(encoding="utf-8"))
        column = _column(case)
        forcing = _forcing(case, folder, column.feddes is not None)
        converged = _reference(folder, "converged", column)
        default = _reference(folder, "default", column)
    except KeyError as error:
        raise ConfigError(f"{path}: this file or one beside it has no {error}") from error
    except DAMAGE as error:
        raise ConfigError(f"{folder}: {' '.join(str(error).split())}") from error
    if converged is None:
        raise ConfigError(f"{folder}: profiles.npz or a csv lacks the variant 'converged'")
    return Case(folder.name, column, forcing, converged, default, _unusable(case))


def _unusable(case: Mapping[str, Any]) -> str:
    status = case.get("status", {}).get("converged", {})
    missed = int(status.get("time_steps_not_converged") or 0)
    if status.get("complete") is False:
        return "HYDRUS-1D stopped early"
    # a few steps in ten thousands without convergence do not matter
    return f"{missed} steps of the reference did not converge" if missed > 10 else ""


def _column(case: Mapping[str, Any]) -> Column:
    model = int(case["hydrus_iModel"])
    if model not in AIR_ENTRY:
        raise ValueError(f"hydrus_iModel {model} is not supported; use one of {sorted(AIR_ENTRY)}")
    soils = tuple(
        SoilHydraulics(
            m["theta_r"], m["theta_s"], m["alpha_per_cm"], m["n"], m["Ks_cm_per_d"], m["l"],
            AIR_ENTRY[model], m["name"],
        )
        for m in case["materials"]
    )  # fmt: skip
    z = np.asarray(case["node_depth_cm"], dtype=np.float64)
    root = case.get("root_distribution_not_normalised")
    grid = Grid(
        z,
        np.asarray(case["node_material"], dtype=np.int64) - 1,
        np.zeros_like(z) if root is None else np.asarray(root, dtype=np.float64),
    )
    top, hcrit = _top(case["top_boundary"])
    bottom, head = _bottom(case["bottom_boundary"])
    start = np.asarray(case["initial_pressure_head_cm"], dtype=np.float64)
    return Column(soils, grid, start, hcrit, top, bottom, head, _feddes(case.get("feddes")))


def _top(boundary: Mapping[str, Any]) -> tuple[Top, float]:
    kind = boundary["type"].lower()
    if "head" in kind:
        return "head", -15000.0
    if "atmospheric" in kind:
        return "atmosphere", float(boundary["hCritA_cm"])
    if "flux" in kind:
        return "flux", -15000.0
    raise ValueError(f"top boundary {boundary['type']!r} is not supported")


def _bottom(boundary: str | Mapping[str, Any]) -> tuple[Bottom, float]:
    kind = (boundary if isinstance(boundary, str) else boundary["type"]).lower()
    if "free" in kind:
        return "free_drainage", 0.0
    if "head" in kind or "water table" in kind:
        if isinstance(boundary, str):
            raise ValueError(f"bottom boundary {boundary!r} has no h_cm")
        return "head", float(boundary["h_cm"])
    if "no flux" in kind or "zero flux" in kind or "no flow" in kind:
        return "no_flux", 0.0
    raise ValueError(f"bottom boundary {kind!r} is not supported")


def _feddes(f: Mapping[str, Any] | None) -> Feddes | None:
    if f is None:
        return None
    return Feddes(f["P0_cm"], f["POpt_cm"], f["P2H_cm"], f["P2L_cm"], f["P3_cm"],
                  f["r2H_cm_per_d"], f["r2L_cm_per_d"], f["omega_c"])  # fmt: skip


def _forcing(case: Mapping[str, Any], folder: Path, roots: bool) -> Forcing:
    out = np.asarray(case["output_times_d"], dtype=np.float64)
    top = case["top_boundary"]
    if not (folder / "weather.csv").exists():
        return Forcing(
            out,
            rain_cm_d=max(float(top.get("flux_cm_per_d", 0.0)), 0.0),
            pot_evaporation_cm_d=max(-float(top.get("flux_cm_per_d", 0.0)), 0.0),
            top_head_cm=float(top["h_cm"]) if "h_cm" in top else None,
        )
    weather = _table(folder / "weather.csv")
    day = weather["day"]
    end = np.union1d(day, out[out < day[-1]])
    record = np.searchsorted(day, end - 1e-9)  # an output time within a record splits it
    transpiration = weather["potential_transpiration_cm_per_d"][record] if roots else 0.0
    return Forcing(
        end,
        weather["precipitation_cm_per_d"][record],
        weather["potential_evaporation_cm_per_d"][record],
        transpiration,
        float(top["h_cm"]) if "h_cm" in top else None,
    )


def _reference(folder: Path, variant: str, column: Column) -> Reference | None:
    if not (folder / f"daily_{variant}.csv").exists():
        return None
    with np.load(folder / "profiles.npz", allow_pickle=False) as runs:
        key = f"theta_{variant}_cm3_cm3"
        if key not in runs:
            return None
        theta = np.asarray(runs[key], dtype=np.float64)
        time = np.asarray(runs["time_d"], dtype=np.float64)
    z = column.grid.z_cm
    if theta.shape != (time.size, z.size):
        raise ValueError(f"profiles.npz: {key} is {theta.shape}, not {(time.size, z.size)}")
    mean = mean_theta(z, theta, 0.0, min(MEAN_CM, float(z[-1])))
    return Reference(time, theta, mean, _table(folder / f"daily_{variant}.csv"))


def _table(path: Path) -> dict[str, Array]:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))
    if len(rows) < 2:
        raise ValueError(f"{path.name}: no rows")
    short = next((i for i, row in enumerate(rows, 1) if len(row) != len(rows[0])), None)
    if short:
        raise ValueError(f"{path.name}:{short}: {len(rows[short - 1])} columns")
    try:
        values = np.array([[float(cell or "nan") for cell in row] for row in rows[1:]])
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    return dict(zip(rows[0], values.T, strict=True))
