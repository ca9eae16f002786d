"""The Richards call answered by HYDRUS-1D: phydrus writes the input, the user's program runs.

What phydrus 0.2.0 and HYDRUS-1D 4.08 need from a caller is said in docs/hydrus.md; each trap is
named here where it is met. Heads and water contents come back as printed: 3 and 4 decimals.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_host import hydrus_output
from epithermal_host.errors import SolverError
from epithermal_host.hydrus_input import Settings, write_input
from epithermal_host.hydrus_output import Bounds, FloatArray, HydrusRun
from epithermal_host.profile import Profile

if TYPE_CHECKING:
    from epithermal_host.richards import Column, Forcing

EXECUTABLE_VARIABLE = "HYDRUS1D_EXE"


def find_executable(executable: str | os.PathLike[str] | None = None) -> Path:
    """Absolute path of the user's HYDRUS-1D.

    Parameters
    ----------
    executable : [-]
        Path or command; without it the variable HYDRUS1D_EXE.

    Raises
    ------
    ConfigError
        None is named, or what is named cannot be started.
    """
    named = os.fspath(executable) if executable else os.environ.get(EXECUTABLE_VARIABLE, "")
    if not named:
        raise ConfigError(
            f"no HYDRUS-1D executable: name it in the run or in {EXECUTABLE_VARIABLE}"
        )
    found = shutil.which(named)  # phydrus itself does not search PATH
    if found is None:
        raise ConfigError(f"{named}: not an executable HYDRUS-1D; build or download one first")
    return Path(found).resolve()


def solve(
    column: Column,
    forcing: Forcing,
    *,
    executable: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    workspace: Path | None = None,
    keep_failed: bool = False,
) -> Profile:
    """Let HYDRUS-1D solve a column; the same call and result as `richards.solve`.

    Parameters
    ----------
    column, forcing : [-]
        As for `richards.solve`.
    executable : [-]
        The user's HYDRUS-1D; see `find_executable`.
    settings : [-]
        Its numerical settings.
    workspace : [-]
        Folder to run in, kept; without it a temporary one, removed.
    keep_failed : [-]
        Keep the temporary workspace of a run that failed and name it in the error.

    Raises
    ------
    ConfigError
        Executable or phydrus missing.
    ValueError
        Something that HYDRUS-1D cannot express, or weather that is not finite.
    SolverError
        The run failed, or did what no soil does; see `hydrus_output.judge`.

    References
    ----------
    Simunek, van Genuchten and Sejna (2008); Collenteur, Brunetti and Vremec (2019), phydrus.
    """
    program = find_executable(executable)
    folder = workspace or Path(tempfile.mkdtemp(prefix="hydrus-"))
    keep = workspace is not None
    try:
        write_input(column, forcing, folder, program, settings or Settings())
        run, cpu_s = _run(program, folder, (settings or Settings()).timeout_s, column.name)
        hydrus_output.judge(run, bounds(column, forcing), column.name)
        return _profile(column, forcing, run, cpu_s)
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
    """Start the program and read what it wrote; the second value is its processor time [s]."""
    before = _children_cpu_s()
    with (folder / hydrus_output.STDOUT).open("wb") as out:
        try:
            # Argument 2 keeps it from waiting for the Enter key. phydrus' own simulate() judges
            # by the exit status and lets the screen output go, so it is not used.
            done = subprocess.run(
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
    return hydrus_output.read_run(folder, done.returncode), _children_cpu_s() - before


def _children_cpu_s() -> float:
    """Processor time of ended child processes; wall time where the system does not tell."""
    if sys.platform == "win32":
        return time.perf_counter()
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def bounds(column: Column, forcing: Forcing) -> Bounds:
    """What a run of this column has to reach and to stay within."""
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
        end_d=float(forcing.end_d[-1]),
        h_min_cm=-np.inf if free else 2.0 * float(min(heads)),
        h_max_cm=np.inf if free else float(max(heads)) + float(column.grid.z_cm[-1]) + 10.0,
        rain_cm=rain if column.top == "atmosphere" else np.empty(0),
    )


def _profile(column: Column, forcing: Forcing, run: HydrusRun, cpu_s: float) -> Profile:
    """The run as a Profile; at the surface rain = infiltration + runoff, as HYDRUS-1D has it not.

    It prints infiltration net of evaporation while water runs off, so evaporation is taken from
    the net flux: rain - runoff - net.
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
    error = hydrus_output.balance_error(run)
    uptake, drainage = _from_zero(level["sum(vRoot)"]), _from_zero(-level["sum(vBot)"])
    storage = np.append(hydrus_output.first_storage(run), level["Volume"])
    return Profile(
        np.append(0.0, forcing.end_d), column.grid.z_cm, run.nodes.theta, run.nodes.h_cm,
        infiltration, evaporation, uptake, runoff, drainage, storage, _from_zero(error),
        run.steps, run.unconverged, cpu_s,
    )  # fmt: skip


def _from_zero(values: FloatArray) -> FloatArray:
    return np.append(0.0, values)
