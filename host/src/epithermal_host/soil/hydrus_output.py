"""What HYDRUS-1D wrote into its workspace, and whether it can be believed.

The program's exit status is 0 after an input error and after an early stop alike, and it closes
its files with "end" in both cases: only their content tells (Simunek et al. 2008, 2013).
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

LEVELS = (  # columns of T_LEVEL.OUT [cm, cm d-1]; upward is positive, roots take positive
    "Time", "sum(rTop)", "sum(vTop)", "sum(vRoot)", "sum(vBot)",
    "hTop", "hBot", "sum(RunOff)", "Volume",
)  # fmt: skip
FINER = ("sum(rTop)", "sum(vTop)", "sum(vRoot)", "sum(vBot)")  # A_LEVEL.OUT: one digit more
STDOUT = "stdout.txt"  # where the run's screen output is kept, beside the program's own files

# Printed times have 4 decimals.
_TIME_TOLERANCE_D = 1e-3
# A Fortran exponent of three digits is printed without its E: 0.4199-101.
_SHORT_EXPONENT = re.compile(r"([-+]?\d*\.\d+)([-+]\d+)")


@dataclass(frozen=True, slots=True)
class NodInf:
    """NOD_INF.OUT: the profile at each print time, the first one the initial state."""

    time_d: Array  # (nt) [d]
    z_cm: Array  # (nz) [cm], down from 0
    h_cm: Array  # (nt, nz) [cm]
    theta: Array  # (nt, nz) [m3 m-3]


@dataclass(frozen=True, slots=True)
class HydrusRun:
    """All that one run left behind; whatever it did not write is empty, never an error."""

    nodes: NodInf
    levels: dict[str, Array]  # LEVELS at the print times, without the initial state
    storage_start_cm: float  # BALANCE.OUT; NaN where absent
    steps: int  # time steps taken
    iterations: int  # of all steps together
    unconverged: int  # steps without convergence
    message: str  # Error.msg; empty where there is none
    exit_status: int

    @property
    def last_d(self) -> float:
        """Last time in T_LEVEL.OUT [d]; 0 when there is none."""
        time = self.levels["Time"]
        return float(time[-1]) if time.size else 0.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a run that can be believed stays within.

    Parameters
    ----------
    time_d : (nt) [d]
        The print times it had to reach.
    h_min_cm, h_max_cm : [cm]
        Driest and wettest pressure head that anything in the column can bring about.
    rain_cm : (nt) [cm]
        Rain up to each print time; empty where the surface is not the atmosphere.
    unconverged_share : [-]
        Share of the time steps that may fail to converge.
    dry_runoff_cm : [cm]
        Runoff that may come off a surface that is not saturated (it is the program's difference
        of potential and computed flux, so a little of it is noise); 0.1 % of the rain if more.
    """

    time_d: Array
    h_min_cm: float
    h_max_cm: float
    rain_cm: Array
    unconverged_share: float = 0.01
    dry_runoff_cm: float = 0.1


def read_run(workspace: Path, exit_status: int = 0) -> HydrusRun:
    """Read everything of a run that `judge` and a Profile need.

    Parameters
    ----------
    workspace : [-]
        The folder HYDRUS-1D worked in.
    exit_status : [-]
        What the process returned.
    """
    levels = _once(parse_table(_lines(workspace, "T_LEVEL.OUT"), LEVELS))
    finer = _once(parse_table(_lines(workspace, "A_LEVEL.OUT"), ("Time", *FINER)))
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


def _once(table: dict[str, Array]) -> dict[str, Array]:
    """The table with one row a time: the first.

    The program's 32-bit steps may miss the end by more than half of dt_min. It then takes a last
    step of some 1e-8 d, prints the end twice, reads past ATMOSPH.IN and dies; all is written.
    """
    new = np.diff(table["Time"], prepend=-1.0) > 0.0
    return {name: column[new] for name, column in table.items()}


def _lines(workspace: Path, name: str) -> list[str]:
    """Lines of a file; none where it does not exist."""
    path = workspace / name
    if not path.is_file():
        return []
    return path.read_text(encoding="ascii", errors="replace").splitlines()


def parse_nod_inf(lines: Iterable[str]) -> NodInf:
    """Profiles of NOD_INF.OUT in one pass; a block that was cut short is left out.

    Parameters
    ----------
    lines : [-]
        The file.

    Returns
    -------
    [-]
        Heads and water contents as printed: 3 and 4 decimals in the stock formats.
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
        if len(z) == len(depths) and (not times or time > times[-1]):  # see _once
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
    """Depth, head and water content of the nodes up to "end"; None where the file stops first."""
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
    """Columns of T_LEVEL.OUT, A_LEVEL.OUT or RUN_INF.OUT, found by the names in their header.

    Parameters
    ----------
    lines : [-]
        The file.
    names : [-]
        The columns wanted. They must stand left of any number that may overflow its width (hBot
        in A_LEVEL.OUT prints as asterisks joined to its neighbour).

    Returns
    -------
    (rows) each
        Empty where the header is missing; NaN for asterisks; a row cut short ends the table.
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
    """A number as Fortran prints it; NaN for asterisks."""
    try:
        return float(token)
    except ValueError:
        match = _SHORT_EXPONENT.fullmatch(token.strip())
        return float(f"{match[1]}E{match[2]}") if match else float("nan")


def _first_storage(lines: Iterable[str]) -> float:
    """Water in the column before the first step, from BALANCE.OUT [cm]."""
    for line in lines:
        if line.lstrip().startswith("W-volume"):
            return _number(line.split("]")[1].split()[0])
    return float("nan")


def judge(run: HydrusRun, bounds: Bounds, soil: str) -> None:
    """Refuse a run that HYDRUS-1D itself calls successful and that no soil would do.

    Parameters
    ----------
    run : [-]
        What the program wrote.
    bounds : [-]
        What it had to reach and to stay within.
    soil : [-]
        Name for the error.

    Raises
    ------
    SolverError
        Input refused, stopped early, not converged, numbers not printable, heads that nothing
        in the column can cause, balance open, or runoff from a dry surface.
    """
    if run.message:
        raise SolverError(soil, run.last_d, f"HYDRUS-1D refused its input: {run.message}")
    end_d = float(bounds.time_d[-1])
    if abs(run.last_d - end_d) > _TIME_TOLERANCE_D:
        status = f" with status {run.exit_status}" if run.exit_status else ""
        reason = f"HYDRUS-1D stopped early{status}, of {end_d:g} days"
        raise SolverError(soil, run.last_d, f"{reason}; lower dt_min_d or use the air entry")
    for time in (run.levels["Time"], run.nodes.time_d[1:]):
        if time.shape != bounds.time_d.shape or np.any(
            np.abs(time - bounds.time_d) > _TIME_TOLERANCE_D
        ):
            raise SolverError(soil, run.last_d, "HYDRUS-1D left out print times")
    if run.unconverged > bounds.unconverged_share * max(run.steps, 1):
        reason = f"{run.unconverged} of {run.steps} time steps did not converge"
        raise SolverError(soil, run.last_d, f"{reason}; lower dt_min_d, allow more iterations")
    _judge_heads(run, bounds, soil)
    _judge_balance(run, soil)
    _judge_runoff(run, bounds, soil)


def _judge_heads(run: HydrusRun, bounds: Bounds, soil: str) -> None:
    """Heads must be numbers that evaporation, roots or ponding can bring about."""
    h, theta = run.nodes.h_cm, run.nodes.theta
    good = np.isfinite(theta) & (h >= bounds.h_min_cm) & (h <= bounds.h_max_cm)
    wrong = np.flatnonzero(~good.all(axis=1))
    if wrong.size:
        i = int(wrong[0])
        j = int(np.flatnonzero(~good[i])[0])
        reason = f"impossible pressure head {h[i, j]:.4g} cm at {run.nodes.z_cm[j]:g} cm"
        raise SolverError(soil, float(run.nodes.time_d[i]), f"{reason}; use the air entry")


def _judge_balance(run: HydrusRun, soil: str) -> None:
    """Storage must follow the fluxes, as far as HYDRUS-1D's own habits allow.

    Its printed uptake lags one step behind the one it applied (up to 0.7 cm a year in a stressed
    grass column), and coarse soils lose up to 0.2 cm a year.
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
    """Storage gained minus net inflow since the start, at the print times; (nt) [cm]."""
    level = run.levels
    inflow = level["sum(vBot)"] - level["sum(vTop)"] - level["sum(vRoot)"]
    return np.asarray(level["Volume"] - first_storage(run) - inflow)


def first_storage(run: HydrusRun) -> float:
    """Water in the column before the first step [cm]."""
    if np.isfinite(run.storage_start_cm):
        return run.storage_start_cm
    z = run.nodes.z_cm  # BALANCE.OUT is missing: the printed profile, to some 1e-3 cm
    return float(mean_theta(z, run.nodes.theta[0], 0.0, float(z[-1]))) * float(z[-1])


def _judge_runoff(run: HydrusRun, bounds: Bounds, soil: str) -> None:
    """Water may only run off a saturated surface.

    The surface can lock at its driest head while it rains: all rain runs off, the balance closes.
    Rain is constant over a record, so where it runs off the surface is saturated at its end.
    """
    runoff = np.diff(run.levels["sum(RunOff)"], prepend=0.0)
    saturated = run.nodes.h_cm[1:, 0] > -5.0  # past a shower's end the air entry drains first
    dry = np.cumsum(np.where(saturated, 0.0, runoff))
    allowed = np.full(dry.shape, bounds.dry_runoff_cm)
    if bounds.rain_cm.size:
        allowed = np.maximum(allowed, 1e-3 * bounds.rain_cm)
    wrong = np.flatnonzero(dry > allowed)
    if wrong.size:
        day = float(run.levels["Time"][int(wrong[0])])
        reason = f"{dry[-1]:.3g} cm of runoff from an unsaturated surface (false runoff)"
        raise SolverError(soil, day, f"{reason}; change dt_max_d")
