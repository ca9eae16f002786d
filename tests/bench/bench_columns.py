"""Time the Richards solver against HYDRUS-1D, and a campaign's columns. `make bench-columns`.

Processor time of a simulated year of the 12 reference soils (group a: 101 nodes, daily weather),
warm, on one core. HYDRUS-1D runs alternately with it if HYDRUS1D_EXE names a program. Without one,
the times of the machine that computed the references are used, and the ratios are only a guide.
The last line is `key=value`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from epithermal_host.config.population import Population
from epithermal_host.errors import SolverError
from epithermal_host.simulation.scenario import sample
from epithermal_host.simulation.simulate import column, forcing
from epithermal_host.soil import hydrus
from epithermal_host.soil.richards import Column, Forcing, solve
from epithermal_host.validation.hydrus_cases import find_cases, read_case
from epithermal_host.weather.generator import generate

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
OURS_A_RUN = 5  # repetitions, since ours takes milliseconds
# HYDRUS-1D on the machine of the references, daily profiles: 0.18 s of processor time a year (loam,
# 3774 steps), 0.44 s (sand, 11877), 0.15 s (clay, 2767); all soils 0.16 to 0.45. A line
# through the three gives the others from the number of steps in their case.json.
HYDRUS_S, HYDRUS_S_A_STEP = 0.059, 3.21e-5
COLUMNS, YEARS, WORKERS = 500, 3, 2
FIRST_DAY = 10957  # 2000-01-01


def year_ms(path: Path, live: bool) -> tuple[float, float]:
    """Measure the median processor time of a year [ms]: ours, and HYDRUS-1D's."""
    case = read_case(path)
    ours, theirs = [], []
    for _ in range(RUNS):
        ours += [solve(case.column, case.forcing).cpu_s for _ in range(OURS_A_RUN)]
        if live:
            theirs.append(hydrus.solve(case.column, case.forcing).cpu_s)
    if not live:
        status = json.loads((path / "case.json").read_text())["status"]["default"]
        theirs.append(HYDRUS_S + HYDRUS_S_A_STEP * status["total_time_steps"])
    per_year = 1e3 / case.years
    return per_year * statistics.median(ours), per_year * statistics.median(theirs)


def ratios(folder: Path) -> tuple[float, float]:
    """Print both times of every soil; return median and smallest ratio."""
    live = bool(os.environ.get("HYDRUS1D_EXE"))
    source = "live" if live else "as measured elsewhere; set HYDRUS1D_EXE for a live run"
    print(f"ms of one core a simulated year, 101 nodes, median of {RUNS}; HYDRUS-1D {source}")
    found = []
    for path in (path for path in find_cases(folder) if path.name.startswith("a")):
        ours, theirs = year_ms(path, live)
        found.append(theirs / ours)
        print(f"{path.name:<28} ours {ours:7.2f}  HYDRUS-1D {theirs:7.1f}  ratio {found[-1]:6.1f}")
    return statistics.median(found), min(found)


def solve_some(indices: range) -> tuple[float, int]:
    """Solve columns of the campaign; return seconds in the solver and number of failures."""
    seconds, failed = 0.0, 0
    for index in indices:
        scenario = sample(Population(), 1, index)
        weather = generate(scenario.climate, scenario.rng("weather"), FIRST_DAY, 365 * YEARS)
        start = time.process_time()
        try:
            solve(column(scenario), forcing(scenario, weather))
        except SolverError as error:
            failed += 1
            print(f"column {index}: {error}", file=sys.stderr)
        seconds += time.process_time() - start
    return seconds, failed


def campaign() -> float:
    """Measure columns per second of wall time on two cores, weather included."""
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(solve_some, [range(worker, worker + 1) for worker in range(WORKERS)]))
        start = time.perf_counter()
        parts = [range(i, min(i + 25, COLUMNS)) for i in range(0, COLUMNS, 25)]
        done = list(pool.map(solve_some, parts))
        wall_s = time.perf_counter() - start
    cpu_s, failed = (sum(part[k] for part in done) for k in (0, 1))
    print(
        f"campaign: {COLUMNS} soils x {YEARS} years, bare and cropped, {WORKERS} processes: "
        f"{wall_s:.1f} s, of it {cpu_s / WORKERS:.1f} s solving; {failed} failed"
    )
    return COLUMNS / wall_s


def main() -> None:
    """Print the tables and the line of results."""
    folder = Path(os.environ.get("EPITHERMAL_SHARED", ROOT.parent / "shared"))
    folder = folder / "reference" / "hydrus1d"
    median = least = float("nan")
    if folder.is_dir():
        solve(*_warm(folder))
        median, least = ratios(folder)
    else:
        print(f"no reference runs in {folder}; set EPITHERMAL_SHARED")
    per_s = campaign()
    print(f"ratio_median={median:.1f} ratio_min={least:.1f} columns_per_s={per_s:.1f}")


def _warm(folder: Path) -> tuple[Column, Forcing]:
    case = read_case(find_cases(folder)[0])
    return case.column, case.forcing


if __name__ == "__main__":
    main()
