"""Solve a soil column with the user's HYDRUS-1D; phydrus writes its input.

docs/hydrus.md lists the requirements of phydrus 0.2.0 and HYDRUS-1D 4.08; a comment here marks
where each matters. Heads and water contents have the precision of the output files: 3 and 4
decimals.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_host.arrays import Array
from epithermal_host.errors import SolverError
from epithermal_host.soil import hydrus_output
from epithermal_host.soil.hydrus_input import Settings, write_input
from epithermal_host.soil.hydrus_output import Bounds, HydrusRun
from epithermal_host.soil.profile import Profile

if TYPE_CHECKING:
    from epithermal_host.soil.richards import Column, Forcing

EXECUTABLE_VARIABLE = "HYDRUS1D_EXE"
# A step of a day can lock the surface of a cropped coarse soil at its driest head. A shorter step
# avoids this, but no single length always does: sandy loam locked at 5, 0.1, 0.02 d, not at 0.5 d.
ATTEMPTS = tuple(Settings(dt_max_d=dt_max_d) for dt_max_d in (5.0, 0.5, 0.3, 0.1, 0.03))
logger = logging.getLogger(__name__)


def find_executable(executable: str | os.PathLike[str] | None = None) -> Path:
    """Return the absolute path of the user's HYDRUS-1D.

    Parameters
    ----------
    executable : [-]
        Path or command; default: the environment variable HYDRUS1D_EXE.

    Raises
    ------
    ConfigError
        No program is named, or it cannot be started.
    """
    named = os.fspath(executable) if executable else os.environ.get(EXECUTABLE_VARIABLE, "")
    if not named:
        raise ConfigError(f"no HYDRUS-1D executable: name it in the variable {EXECUTABLE_VARIABLE}")
    path = shutil.which(named)  # phydrus itself does not search PATH
    if path is None:
        raise ConfigError(f"{named}: not an executable HYDRUS-1D; build or download one first")
    return Path(path).resolve()


def solve(
    column: Column,
    forcing: Forcing,
    *,
    executable: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    workspace: Path | None = None,
    keep_failed: bool = False,
) -> Profile:
    """Solve a column with HYDRUS-1D; arguments and result are those of `richards.solve`.

    Parameters
    ----------
    column, forcing : [-]
        As for `richards.solve`.
    executable : [-]
        The user's HYDRUS-1D; see `find_executable`.
    settings : [-]
        Numerical settings; default: those in ATTEMPTS, one after the other until a run succeeds.
    workspace : [-]
        Folder to run in; default: a temporary one, which is removed.
    keep_failed : [-]
        Keep the temporary workspace of the last failed run and name it in the error.

    Raises
    ------
    ConfigError
        Executable or phydrus missing.
    ValueError
        A pressure head that is not a number, transpiration without Feddes, a path too long.
    SolverError
        HYDRUS-1D cannot represent the column, did not finish, or gave an impossible result; see
        `hydrus_output.check_run`.

    References
    ----------
    Simunek, van Genuchten and Sejna (2008); Collenteur, Brunetti and Vremec (2019), phydrus.
    """
    program = find_executable(executable)
    attempts = (settings,) if settings else ATTEMPTS
    cpu_s = 0.0
    for attempt in attempts:
        last = attempt is attempts[-1]
        with _folder(workspace, keep_failed and last) as folder:
            write_input(column, forcing, folder, program, attempt)
            run, run_cpu_s = _run(program, folder, attempt.timeout_s, column.name)
            cpu_s += run_cpu_s
            try:
                hydrus_output.check_run(run, bounds(column, forcing), column.name)
            except SolverError as error:
                if last:
                    raise
                logger.info("%s; failed with dt_max_d %g", error, attempt.dt_max_d)
            else:
                return _profile(column, forcing, run, cpu_s)
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _folder(workspace: Path | None, keep_failed: bool) -> Iterator[Path]:
    """Provide the workspace, or a temporary folder that is removed unless `keep_failed` applies.

    A workspace that remains after an error is named in the error.
    """
    folder = workspace or Path(tempfile.mkdtemp(prefix="hydrus-"))
    keep = workspace is not None
    try:
        yield folder
    except SolverError as error:
        keep = keep or keep_failed
        if not keep:
            raise
        reason = f"{error.reason} (workspace {folder})"
        raise SolverError(error.soil, error.day, reason) from error
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _run(program: Path, folder: Path, timeout_s: float, soil: str) -> tuple[HydrusRun, float]:
    """Run the program and read its output; the second value is its processor time [s]."""
    before = _children_cpu_s()
    with (folder / hydrus_output.STDOUT).open("wb") as out:
        try:
            # Argument 2 prevents the program from waiting for the Enter key. simulate() of phydrus
            # relies on the exit status and discards the screen output, so it is not used.
            process = subprocess.run(
                [str(program), str(folder.resolve()), "-1"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                timeout=timeout_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            last = hydrus_output.read_run(folder).last_d
            reason = f"HYDRUS-1D was stopped after {timeout_s:g} s"
            raise SolverError(soil, last, reason) from error
        except OSError as error:
            raise ConfigError(f"{program}: cannot be started: {error.strerror}") from error
    return hydrus_output.read_run(folder, process.returncode), _children_cpu_s() - before


def _children_cpu_s() -> float:
    """Return the processor time of ended child processes; wall time where it is not available."""
    if sys.platform == "win32":
        return time.perf_counter()
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def bounds(column: Column, forcing: Forcing) -> Bounds:
    """Derive the print times that a run of this column must reach and the limits of its heads."""
    heads = [np.min(column.h_initial_cm), np.max(column.h_initial_cm), column.hcrit_cm, 0.0]
    if column.feddes is not None:
        heads.append(column.feddes.h_3_cm)
    if column.bottom == "head":
        heads.append(column.bottom_head_cm)
    if column.top == "head":
        top = np.asarray(forcing.top_head_cm, dtype=np.float64)
        heads += [top.min(), top.max()]
    free = column.top == "flux"  # nothing limits its heads
    rain = np.cumsum(forcing.rate("rain_cm_d") * np.diff(forcing.end_d, prepend=0.0))
    return Bounds(
        time_d=forcing.end_d,
        h_min_cm=-np.inf if free else 2.0 * float(min(heads)),
        h_max_cm=np.inf if free else float(max(heads)) + float(column.grid.z_cm[-1]) + 10.0,
        rain_cm=rain if column.top == "atmosphere" else np.empty(0),
    )


def _profile(column: Column, forcing: Forcing, run: HydrusRun, cpu_s: float) -> Profile:
    """Convert a run to a Profile, whose surface fluxes satisfy rain = infiltration + runoff.

    HYDRUS-1D prints infiltration net of evaporation while water runs off, so evaporation is
    computed from the net flux: rain - runoff - net.
    """
    level = run.levels
    net = _from_zero(-level["sum(vTop)"])
    runoff = np.zeros_like(net)
    infiltration, evaporation = net, np.zeros_like(net)
    if column.top != "head":
        duration = np.diff(forcing.end_d, prepend=0.0)
        rain = _from_zero(np.cumsum(forcing.rate("rain_cm_d") * duration))
        runoff = _from_zero(level["sum(RunOff)"]) if column.top == "atmosphere" else runoff
        infiltration = rain - runoff
        evaporation = infiltration - net
    return Profile(
        time_d=_from_zero(forcing.end_d),
        z_cm=column.grid.z_cm,
        theta=run.nodes.theta,
        h_cm=run.nodes.h_cm,
        infiltration_cm=infiltration,
        evaporation_cm=evaporation,
        transpiration_cm=_from_zero(level["sum(vRoot)"]),
        runoff_cm=runoff,
        drainage_cm=_from_zero(-level["sum(vBot)"]),
        storage_cm=np.append(hydrus_output.first_storage(run), level["Volume"]),
        balance_error_cm=_from_zero(hydrus_output.balance_error(run)),
        steps=run.steps,
        forced_steps=run.unconverged,
        iterations=run.iterations,
        cpu_s=cpu_s,
    )


def _from_zero(values: Array) -> Array:
    return np.append(0.0, values)
