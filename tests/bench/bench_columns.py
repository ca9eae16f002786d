"""The Richards solver beside HYDRUS-1D, and columns a second. `make bench-columns`.

Processor time of a simulated year of the 12 reference soils (group a: 101 nodes, daily weather),
warm, on one core. HYDRUS-1D runs beside it where HYDRUS1D_EXE names a program; without one, the
times that were measured for it elsewhere stand in, and the ratios are only a guide: another
machine. The last line is `key=value`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from epithermal_host import hydrus
from epithermal_host.errors import SolverError
from epithermal_host.hydrus_cases import Case, find_cases, read_case
from epithermal_host.richards import Column, Forcing, solve
from epithermal_host.scenario import Population, sample
from epithermal_host.simulate import column, forcing
from epithermal_host.weather import generate

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
# HYDRUS-1D with daily profiles where these references were made, s of processor time a year:
# 0.16 to 0.45; three soils are known by name, the others get the least
MEASURED_S = {"a01": 0.44, "a04": 0.18, "a12": 0.15}
MEASURED_LEAST_S = 0.16
COLUMNS, YEARS, WORKERS = 500, 3, 2
FIRST_DAY = 10957  # 2000-01-01


def year_ms(case: Case) -> float:
    """Processor time of our solver for a year [ms], median."""
    runs = [solve(case.column, case.forcing).cpu_s for _ in range(RUNS)]
    return 1e3 * statistics.median(runs) / case.years


def hydrus_year_ms(case: Case, live: bool) -> float:
    """The same of HYDRUS-1D with daily profiles; measured now, or elsewhere."""
    if not live:
        return 1e3 * MEASURED_S.get(case.name[:3], MEASURED_LEAST_S)
    runs = [hydrus.solve(case.column, case.forcing).cpu_s for _ in range(RUNS)]
    return 1e3 * statistics.median(runs) / case.years


def ratios(folder: Path) -> tuple[float, float]:
    """Print both times of every soil; median and least ratio."""
    live = bool(os.environ.get("HYDRUS1D_EXE"))
    source = "live" if live else "as measured elsewhere; set HYDRUS1D_EXE for a live run"
    print(f"ms of one core a simulated year, 101 nodes, median of {RUNS}; HYDRUS-1D {source}")
    found = []
    for case in (read_case(path) for path in find_cases(folder) if path.name.startswith("a")):
        ours, theirs = year_ms(case), hydrus_year_ms(case, live)
        found.append(theirs / ours)
        print(f"{case.name:<28} ours {ours:7.2f}  HYDRUS-1D {theirs:7.1f}  ratio {found[-1]:6.1f}")
    return statistics.median(found), min(found)


def solve_some(indices: range) -> tuple[float, int]:
    """Solve some of the campaign's columns: seconds in the solver, and how many failed."""
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
    """Columns a second of wall time on two cores, weather included."""
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
    """Print the tables and the line of figures."""
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
