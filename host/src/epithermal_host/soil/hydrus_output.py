"""Read the output files of HYDRUS-1D and reject a failed run.

The exit status is 0 even after an input error or an early stop, and the files end with "end" in
both cases: only their content shows a failure (Simunek et al. 2008, 2013).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epithermal_host.arrays import Array
from epithermal_host.errors import SolverError
from epithermal_host.soil.profile import mean_theta

LEVELS = (  # columns of T_LEVEL.OUT [cm, cm d-1]; upward and root uptake are positive
    "Time", "sum(rTop)", "sum(vTop)", "sum(vRoot)", "sum(vBot)",
    "hTop", "hBot", "sum(RunOff)", "Volume",
)  # fmt: skip
FINER = ("sum(rTop)", "sum(vTop)", "sum(vRoot)", "sum(vBot)")  # A_LEVEL.OUT: one digit more
STDOUT = "stdout.txt"  # screen output of the run, beside the program's own files

# Printed times have 4 decimals.
_TIME_TOLERANCE_D = 1e-3
# A Fortran exponent of three digits is printed without its E: 0.4199-101.
_SHORT_EXPONENT = re.compile(r"([-+]?\d*\.\d+)([-+]\d+)")


@dataclass(frozen=True, slots=True)
class NodInf:
    """Content of NOD_INF.OUT: the profile at each print time; the first is the initial state."""

    time_d: Array  # (nt) [d]
    z_cm: Array  # (nz) [cm], down from 0
    h_cm: Array  # (nt, nz) [cm]
    theta: Array  # (nt, nz) [m3 m-3]


@dataclass(frozen=True, slots=True)
class HydrusRun:
    """Output of one run; missing output is empty, never an error."""

    nodes: NodInf
    levels: dict[str, Array]  # LEVELS at the print times, without the initial state
    storage_start_cm: float  # BALANCE.OUT; NaN where absent
    steps: int  # number of time steps
    iterations: int  # of all steps together
    unconverged: int  # steps without convergence
    message: str  # Error.msg; empty where the file is missing
    exit_status: int

    @property
    def last_d(self) -> float:
        """Last time in T_LEVEL.OUT [d]; 0 when the table is empty."""
        time = self.levels["Time"]
        return float(time[-1]) if time.size else 0.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits that a valid run stays within.

    Parameters
    ----------
    time_d : (nt) [d]
        Print times that the run must reach.
    h_min_cm, h_max_cm : [cm]
        Lowest and highest pressure head that any process in the column can cause.
    rain_cm : (nt) [cm]
        Cumulated rain at each print time; empty unless the column's top is "atmosphere".
    unconverged_share : [-]
        Largest fraction of time steps without convergence.
    dry_runoff_cm : [cm]
        Largest runoff from an unsaturated surface (the program computes it as the difference of
        potential and actual flux, so a little of it is noise); 0.1 % of the rain if that is more.
    """

    time_d: Array
    h_min_cm: float
    h_max_cm: float
    rain_cm: Array
    unconverged_share: float = 0.01
    dry_runoff_cm: float = 0.1


def read_run(workspace: Path, exit_status: int = 0) -> HydrusRun:
    """Read the output of a run that `check_run` and a Profile need.

    Parameters
    ----------
    workspace : [-]
        Folder of the run.
    exit_status : [-]
        Exit status of the process.
    """
    levels = _first_of_each_time(parse_table(_lines(workspace, "T_LEVEL.OUT"), LEVELS))
    finer = _first_of_each_time(parse_table(_lines(workspace, "A_LEVEL.OUT"), ("Time", *FINER)))
    same = finer["Time"].shape == levels["Time"].shape
    if same and np.all(np.abs(finer["Time"] - levels["Time"]) < _TIME_TOLERANCE_D):
        levels.update({name: finer[name] for name in FINER})
    work = parse_table(_lines(workspace, "RUN_INF.OUT"), ("TLevel", "ItCum"))
    return HydrusRun(
        nodes=parse_nod_inf(_lines(workspace, "NOD_INF.OUT")),
        levels=levels,
        storage_start_cm=_first_storage(_lines(workspace, "BALANCE.OUT")),
        steps=int(work["TLevel"][-1]) if work["TLevel"].size else 0,
        iterations=int(work["ItCum"][-1]) if work["ItCum"].size else 0,
        unconverged=sum("has not converged" in line for line in _lines(workspace, STDOUT)),
        message=" ".join(" ".join(_lines(workspace, "Error.msg")).split()),
        exit_status=exit_status,
    )


def _first_of_each_time(table: dict[str, Array]) -> dict[str, Array]:
    """Select the first row of each time.

    The program's 32-bit steps may miss the end by more than half of dt_min. It then adds a last
    step of some 1e-8 d, prints the end twice, reads past the end of ATMOSPH.IN and crashes; the
    output is complete by then.
    """
    new = np.diff(table["Time"], prepend=-1.0) > 0.0
    return {name: column[new] for name, column in table.items()}


def _lines(workspace: Path, name: str) -> list[str]:
    """Read the lines of a file; none where it does not exist."""
    path = workspace / name
    if not path.is_file():
        return []
    return path.read_text(encoding="ascii", errors="replace").splitlines()


def parse_nod_inf(lines: Iterable[str]) -> NodInf:
    """Parse the profiles of NOD_INF.OUT in one pass; an incomplete block is omitted.

    Parameters
    ----------
    lines : [-]
        Lines of the file.

    Returns
    -------
    [-]
        Heads and water contents as printed: 3 and 4 decimals in the standard formats.
    """
    times: list[float] = []
    depths: list[float] = []
    heads: list[list[float]] = []
    thetas: list[list[float]] = []
    rows = iter(lines)
    for line in rows:
        if not line.startswith(" Time:"):
            continue
        time = _number(line.split(":")[1])
        block = _block(rows)
        if block is None:
            break
        z, h, theta = block
        if not depths:
            depths = z
        if len(z) == len(depths) and (not times or time > times[-1]):  # see _first_of_each_time
            times.append(time)
            heads.append(h)
            thetas.append(theta)
    shape = (len(times), len(depths))
    return NodInf(
        np.array(times, dtype=np.float64),
        np.abs(np.array(depths, dtype=np.float64)),
        np.array(heads, dtype=np.float64).reshape(shape),
        np.array(thetas, dtype=np.float64).reshape(shape),
    )


def _block(rows: Iterable[str]) -> tuple[list[float], list[float], list[float]] | None:
    """Parse depth, head and water content of the nodes up to "end"; None if the file ends first."""
    z: list[float] = []
    h: list[float] = []
    theta: list[float] = []
    for line in rows:
        token = line.split(None, 4)  # node, depth, head, water content, the rest
        if len(token) < 4:
            if token and token[0] == "end":
                return z, h, theta
        elif token[0].isdecimal():
            z.append(_number(token[1]))
            h.append(_number(token[2]))
            theta.append(_number(token[3]))
    return None


def parse_table(lines: Iterable[str], names: Sequence[str]) -> dict[str, Array]:
    """Parse columns of T_LEVEL.OUT, A_LEVEL.OUT or RUN_INF.OUT by their names in the header.

    Parameters
    ----------
    lines : [-]
        Lines of the file.
    names : [-]
        Names of the columns. They must precede any number that may overflow its width (hBot in
        A_LEVEL.OUT is printed as asterisks joined to its neighbour).

    Returns
    -------
    (rows) each
        Empty where the header is missing; NaN for asterisks; an incomplete row ends the table.
    """
    rows = iter(lines)
    header: list[str] = next(
        (t for t in map(str.split, rows) if t[:1] in (["Time"], ["TLevel"])), []
    )
    if any(name not in header for name in names):
        return {name: np.empty(0) for name in names}
    at = [header.index(name) for name in names]
    table: list[list[float]] = []
    for line in rows:
        token = line.split()
        if token[:1] == ["end"]:
            break
        if not token or token[0].startswith("["):
            continue
        if len(token) <= max(at):
            break
        table.append([_number(token[i]) for i in at])
    columns = np.array(table, dtype=np.float64).reshape(len(table), len(names))
    return {name: columns[:, i].copy() for i, name in enumerate(names)}


def _number(token: str) -> float:
    """Parse a number as Fortran prints it; NaN for asterisks."""
    try:
        return float(token)
    except ValueError:
        match = _SHORT_EXPONENT.fullmatch(token.strip())
        return float(f"{match[1]}E{match[2]}") if match else float("nan")


def _first_storage(lines: Iterable[str]) -> float:
    """Parse the initial water storage of the column from BALANCE.OUT [cm]."""
    for line in lines:
        if line.lstrip().startswith("W-volume"):
            return _number(line.split("]")[1].split()[0])
    return float("nan")


def check_run(run: HydrusRun, bounds: Bounds, soil: str) -> None:
    """Reject a run that failed or whose result is physically impossible.

    Parameters
    ----------
    run : [-]
        Output of the program.
    bounds : [-]
        Print times that the run must reach and limits of its results.
    soil : [-]
        Name of the soil, for the error.

    Raises
    ------
    SolverError
        Input rejected, early stop, no convergence, numbers that overflow, heads that no process
        in the column can cause, water balance not closed, or runoff from a dry surface.
    """
    if run.message:
        raise SolverError(soil, run.last_d, f"HYDRUS-1D rejected its input: {run.message}")
    end_d = float(bounds.time_d[-1])
    if abs(run.last_d - end_d) > _TIME_TOLERANCE_D:
        status = f" with status {run.exit_status}" if run.exit_status else ""
        reason = f"HYDRUS-1D stopped early{status} in a run of {end_d:g} days"
        raise SolverError(soil, run.last_d, f"{reason}; lower dt_min_d or use the air entry")
    for time in (run.levels["Time"], run.nodes.time_d[1:]):
        if time.shape != bounds.time_d.shape or np.any(
            np.abs(time - bounds.time_d) > _TIME_TOLERANCE_D
        ):
            raise SolverError(soil, run.last_d, "HYDRUS-1D omitted print times")
    if run.unconverged > bounds.unconverged_share * max(run.steps, 1):
        reason = f"{run.unconverged} of {run.steps} time steps did not converge"
        raise SolverError(soil, run.last_d, f"{reason}; lower dt_min_d, allow more iterations")
    _check_heads(run, bounds, soil)
    _check_balance(run, soil)
    _check_runoff(run, bounds, soil)


def _check_heads(run: HydrusRun, bounds: Bounds, soil: str) -> None:
    """Check that heads are finite and that evaporation, roots or ponding can cause them."""
    h, theta = run.nodes.h_cm, run.nodes.theta
    good = np.isfinite(theta) & (h >= bounds.h_min_cm) & (h <= bounds.h_max_cm)
    wrong = np.flatnonzero(~good.all(axis=1))
    if wrong.size:
        i = int(wrong[0])
        j = int(np.flatnonzero(~good[i])[0])
        reason = f"impossible pressure head {h[i, j]:.4g} cm at {run.nodes.z_cm[j]:g} cm"
        raise SolverError(soil, float(run.nodes.time_d[i]), f"{reason}; use the air entry")


def _check_balance(run: HydrusRun, soil: str) -> None:
    """Check that storage follows the fluxes, within the accuracy of HYDRUS-1D.

    The printed uptake lags one step behind the applied one (up to 0.7 cm per year in a stressed
    grass column), and the balance of coarse soils is open by up to 0.2 cm per year.
    """
    error = np.abs(balance_error(run))
    inflow = -np.minimum(run.levels["sum(vTop)"], 0.0)
    allowed = 1.0 + 0.02 * (inflow + np.abs(run.levels["sum(vBot)"]))
    wrong = np.flatnonzero(~(error <= allowed))
    if wrong.size:
        i = int(wrong[0])
        day = float(run.levels["Time"][i])
        raise SolverError(soil, day, f"water balance open by {error[i]:.3g} cm; lower dt_max_d")


def balance_error(run: HydrusRun) -> Array:
    """Compute gain of storage minus net inflow since the start, at the print times; (nt) [cm]."""
    level = run.levels
    inflow = level["sum(vBot)"] - level["sum(vTop)"] - level["sum(vRoot)"]
    return np.asarray(level["Volume"] - first_storage(run) - inflow)


def first_storage(run: HydrusRun) -> float:
    """Return the initial water storage of the column [cm]."""
    if np.isfinite(run.storage_start_cm):
        return run.storage_start_cm
    z = run.nodes.z_cm  # without BALANCE.OUT: from the printed profile, accurate to some 1e-3 cm
    return float(mean_theta(z, run.nodes.theta[0], 0.0, float(z[-1]))) * float(z[-1])


def _check_runoff(run: HydrusRun, bounds: Bounds, soil: str) -> None:
    """Check that water runs off a saturated surface only.

    The surface can lock at its driest head while it rains: all rain runs off and the balance is
    closed. Rain is constant over a record, so true runoff leaves a saturated surface at its end.
    """
    runoff = np.diff(run.levels["sum(RunOff)"], prepend=0.0)
    saturated = (
        run.nodes.h_cm[1:, 0] > -5.0
    )  # not 0: after rain a soil drains to its air entry first
    dry = np.cumsum(np.where(saturated, 0.0, runoff))
    allowed = np.full(dry.shape, bounds.dry_runoff_cm)
    if bounds.rain_cm.size:
        allowed = np.maximum(allowed, 1e-3 * bounds.rain_cm)
    wrong = np.flatnonzero(dry > allowed)
    if wrong.size:
        day = float(run.levels["Time"][int(wrong[0])])
        reason = f"{dry[-1]:.3g} cm of runoff from an unsaturated surface (false runoff)"
        raise SolverError(soil, day, f"{reason}; change dt_max_d")
