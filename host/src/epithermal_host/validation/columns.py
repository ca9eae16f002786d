"""Compare the Richards solver with reference runs of HYDRUS-1D on the same grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epithermal_host.arrays import Array, Integers
from epithermal_host.errors import SolverError
from epithermal_host.soil.profile import Profile
from epithermal_host.soil.richards import solve
from epithermal_host.validation.hydrus_cases import Case, Reference, read_case

THETA_RMSE, MEAN_RMSE = 8e-4, 3e-4  # limits against `converged` [m3 m-3]
FLUX_SHARE, FLUX_CM = 0.005, 0.1  # limit as a fraction of the reference's sum, at least FLUX_CM
BALANCE_CM_YEAR = 1e-4

# Cases in which the reference itself is inexact, not its time step: limit of theta's rmse, limit
# of the fluxes as a fraction, and the reason.
LIMITS: dict[str, tuple[float, float, str]] = {
    "e02_storms_silt_loam": (2e-3, 0.02, "reference has runoff under rain below Ks"),
    "f02_infiltration_dry_sand": (
        1.2e-3,
        0.005,
        "0.012 cm apart in the first 0.001 d, as tol -> 0",
    ),
    "f03_infiltration_dry_loam": (4e-3, 0.02, "reference takes up 0.7 % under Ks where saturated"),
}
FLUXES = ("top", "evaporation", "transpiration", "runoff", "drainage", "storage")


@dataclass(frozen=True, slots=True)
class Row:
    """Differences of a run from `converged`, fluxes at its end; and those of HYDRUS' default."""

    case: str
    passed: bool
    judged: bool  # False: the reference is unusable
    note: str
    theta_rmse: float = np.nan  # [m3 m-3]
    theta_max: float = np.nan
    mean_rmse: float = np.nan  # of 0-30 cm
    infiltration_cm: float = np.nan  # in HYDRUS net of evaporation during runoff
    top_cm: float = np.nan  # infiltration minus evaporation
    evaporation_cm: float = np.nan
    transpiration_cm: float = np.nan  # against the reference's actual uptake
    runoff_cm: float = np.nan
    drainage_cm: float = np.nan
    storage_cm: float = np.nan
    balance_error_cm: float = np.nan  # largest of the run
    cpu_ms_per_year: float = np.nan
    steps: int = 0
    forced_steps: int = 0
    default_theta_rmse: float = np.nan  # HYDRUS' default minus its converged run
    default_mean_rmse: float = np.nan


def validate_case(folder: Path, repeats: int = 2) -> Row:
    """Run one case; processor time is that of the fastest run.

    Raises
    ------
    ConfigError
        The folder cannot be read.
    """
    case = read_case(folder)
    try:
        runs = [solve(case.column, case.forcing) for _ in range(repeats)]
    except SolverError as error:
        return Row(case.name, False, not case.unusable, f"{error}; {case.unusable}".strip("; "))
    return compare(case, min(runs, key=lambda run: run.cpu_s))


def compare(case: Case, computed: Profile) -> Row:
    """Compare a run with the reference and check the limits."""
    truth = case.converged
    theta = computed.theta[_rows(computed.time_d, truth.time_d)]
    difference = theta - truth.theta
    mean = case.mean(theta) - truth.mean
    sums, flux = _reference_sums(truth), _computed_sums(computed)
    delta = {name: float(flux[name] - sums[name]) for name in flux}
    values = {
        "theta_rmse": _rms(difference),
        "theta_max": float(np.abs(difference).max()),
        "mean_rmse": _rms(mean),
        "balance_error_cm": float(np.abs(computed.balance_error_cm).max()),
        **{f"{name}_cm": value for name, value in delta.items()},
    }
    faults, reason = _faults(case, values, sums)
    note = "; ".join(text for text in (*faults, reason, case.unusable) if text)
    default_theta, default_mean = _default(case)
    return Row(
        case.name, not faults, not case.unusable, note,
        cpu_ms_per_year=1e3 * computed.cpu_s / case.years, steps=computed.steps,
        forced_steps=computed.forced_steps, default_theta_rmse=default_theta,
        default_mean_rmse=default_mean, **values,
    )  # fmt: skip


def _faults(case: Case, values: dict[str, float], sums: dict[str, float]) -> tuple[list[str], str]:
    theta_limit, share, reason = LIMITS.get(case.name, (THETA_RMSE, FLUX_SHARE, ""))
    checks = [
        ("theta_rmse", values["theta_rmse"], theta_limit),
        ("mean_rmse", values["mean_rmse"], MEAN_RMSE),
        ("balance_error_cm", values["balance_error_cm"], BALANCE_CM_YEAR * max(case.years, 1.0)),
    ]
    for name in FLUXES:
        limit = max(share * abs(sums[name]), FLUX_CM)
        checks.append((f"{name}_cm", abs(values[f"{name}_cm"]), limit))
    faults = [f"{name} {value:.3g} > {limit:.3g}" for name, value, limit in checks
              if not value <= limit]  # fmt: skip
    return faults, reason


def _reference_sums(truth: Reference) -> dict[str, float]:
    last = {name: float(column[-1]) for name, column in truth.fluxes.items()}
    balance = last["mass_balance_error_cm"]
    return {
        "infiltration": last["cum_infiltration_cm"],
        "top": last["cum_actual_top_flux_cm"],
        "evaporation": last["cum_evaporation_cm"],
        # HYDRUS prints the uptake by the heads after the step; the applied one closes the balance
        "transpiration": last["cum_transpiration_cm"]
        - (balance if last["cum_transpiration_cm"] else 0.0),
        "runoff": last["cum_runoff_cm"],
        "drainage": last["cum_bottom_outflow_cm"],
        "storage": last["storage_cm"],
    }


def _computed_sums(computed: Profile) -> dict[str, float]:
    return {
        "infiltration": float(computed.infiltration_cm[-1]),
        "top": float(computed.infiltration_cm[-1] - computed.evaporation_cm[-1]),
        "evaporation": float(computed.evaporation_cm[-1]),
        "transpiration": float(computed.transpiration_cm[-1]),
        "runoff": float(computed.runoff_cm[-1]),
        "drainage": float(computed.drainage_cm[-1]),
        "storage": float(computed.storage_cm[-1]),
    }


def _default(case: Case) -> tuple[float, float]:
    if case.default is None or case.default.theta.shape != case.converged.theta.shape:
        return np.nan, np.nan
    return (
        _rms(case.default.theta - case.converged.theta),
        _rms(case.default.mean - case.converged.mean),
    )


def _rows(computed_d: Array, wanted_d: Array) -> Integers:
    rows = np.clip(np.searchsorted(computed_d, wanted_d - 1e-6), 0, computed_d.size - 1)
    return rows.astype(np.int64)


def _rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


HEADER = (
    "case                             theta rmse     max  0-30 cm |"
    "   infil     top    evap  transp  runoff   drain  storage [cm] |"
    " balance ms/year | HYDRUS default: theta 0-30 cm"
)


def line(row: Row) -> str:
    """Format a row of the table."""
    fluxes = " ".join(f"{getattr(row, name + '_cm'):7.3f}" for name in ("infiltration", *FLUXES))
    verdict = "ok" if row.passed else ("MISSED" if row.judged else "not judged")
    text = (
        f"{row.case:<32} {row.theta_rmse:10.2e} {row.theta_max:7.4f} {row.mean_rmse:8.2e} "
        f"| {fluxes}      | {row.balance_error_cm:7.0e} {row.cpu_ms_per_year:7.2f} | "
        f"{row.default_theta_rmse:21.2e} {row.default_mean_rmse:7.1e}  {verdict}"
    )
    return f"{text}: {row.note}" if row.note else text
