"""Measure a campaign part by part, as a whole, and how it grows. `make bench-campaign`.

Processor time, as machines are shared: of the parts of a scenario in this process, least of three
rounds; of a whole campaign and its data set in two processes, with what the processes need to
start. The last line is `key=value`.
"""

from __future__ import annotations

import itertools
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from epithermal_host.config.run_toml import RunConfig, read_run
from epithermal_host.simulation import campaign, results
from epithermal_host.simulation.simulate import column, forcing, simulate
from epithermal_host.soil.richards import solve
from epithermal_host.soil.richards_table import soil_table
from epithermal_host.training import dataset
from epithermal_host.weather.generator import generate

SOILS, YEARS, WORKERS = 500, 3, 2
SAMPLE, ROUNDS = 40, 3
MANY = 16_000
KERNEL = "solver's kernel"
RUN = "[campaign]\nseed = 1\nsoils = {soils}\nyears = {years}\n"


def config_of(folder: Path, soils: int, years: int) -> RunConfig:
    """Read the run.toml of a campaign with all defaults."""
    path = folder / "run.toml"
    path.write_text(RUN.format(soils=soils, years=years), encoding="utf-8")
    return read_run(path)


def cpu_s() -> float:
    """Return the processor time of this process and of those that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def parts_once(config: RunConfig, soils: range) -> dict[str, float]:
    """Measure each part of simulating some scenarios; return ms of a scenario."""
    spent: dict[str, float] = defaultdict(float)

    def timed(part: str, function: Callable[..., Any], *arguments: Any) -> Any:
        start = time.process_time()
        value = function(*arguments)
        spent[part] += 1e3 * (time.process_time() - start) / len(soils)
        return value

    period = config.campaign
    days = period.spin_up_days + period.days
    for index in soils:
        place = timed("draw the place", campaign.scenario_of, config, index)
        first = period.first_day - period.spin_up_days
        weather = timed("weather", generate, place.climate, place.rng("weather"), first, days)
        supply = timed("vegetation's demand", forcing, place, weather)
        ground = timed("grid", column, place)
        soil_table.cache_clear()
        profile = timed("solve", solve, ground, supply)
        spent[KERNEL] += 1e3 * profile.cpu_s / len(soils)
        result = timed("simulate", simulate, place, period)
        timed("record", results.record, place, result, "k" * 64)
    spent["tables and checks of the solver"] = spent["solve"] - spent[KERNEL]
    known = ("weather", "vegetation's demand", "grid", "solve")
    spent["COSMIC and means"] = spent["simulate"] - sum(spent[part] for part in known)
    return dict(spent)


def parts(folder: Path) -> dict[str, float]:
    """Print the table of parts; return it with `total` and the share of the kernel."""
    config = config_of(folder, SAMPLE, YEARS)
    parts_once(config, range(2))  # compiles or loads the kernels
    rounds = [parts_once(config, range(SAMPLE)) for _ in range(ROUNDS)]
    least = {part: min(one[part] for one in rounds) for part in rounds[0]}
    total = least["draw the place"] + least["simulate"] + least["record"]
    print(f"ms of one core a scenario of {YEARS} years, least of {ROUNDS} rounds of {SAMPLE}")
    for part in ("draw the place", "weather", "vegetation's demand", "grid",
                 "tables and checks of the solver", KERNEL, "COSMIC and means",
                 "record"):  # fmt: skip
        print(f"{part:<34}{least[part]:7.2f} {least[part] / total:6.1%}")
    print(f"{'together':<34}{total:7.2f}")
    return least | {"total": total}


def whole(folder: Path, soils: int, years: int) -> dict[str, float]:
    """Simulate a campaign and compute its data set; return times, bytes and files."""
    config = config_of(folder, soils, years)
    run = folder / f"run-{soils}-{years}"
    marks = [(time.perf_counter(), cpu_s())]
    campaign.run(config, run, workers=WORKERS, progress=False)
    marks.append((time.perf_counter(), cpu_s()))
    dataset.run(run, workers=WORKERS, progress=False)
    marks.append((time.perf_counter(), cpu_s()))
    (simulate_s, simulate_cpu_s), (dataset_s, dataset_cpu_s) = (
        (b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(marks)
    )
    files = list((run / results.FOLDER).iterdir())
    out = {
        "simulate_s": simulate_s,
        "simulate_cpu_s": simulate_cpu_s,
        "dataset_s": dataset_s,
        "dataset_cpu_s": dataset_cpu_s,
        "files": float(len(files)),
        "mb": sum(path.stat().st_size for path in files) / 1e6,
    }
    print(f"{soils:6d} soils x {years:2d} years  " +
          "  ".join(f"{name} {value:.1f}" for name, value in out.items()))  # fmt: skip
    return out


def main() -> None:
    """Print parts, growth and the line of results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        part = parts(folder)
        start = whole(folder, 2 * WORKERS, 1)  # nearly all of it: processes and imports
        small = whole(folder, SOILS // 4, YEARS)
        full = whole(folder, SOILS, YEARS)
    kernel_s = 1e-3 * part[KERNEL] * SOILS
    each_s = (
        full["simulate_cpu_s"] + full["dataset_cpu_s"]
        - small["simulate_cpu_s"] - small["dataset_cpu_s"]
    ) / (SOILS - SOILS // 4)  # fmt: skip
    print(
        f"campaign_s={full['simulate_s']:.1f} campaign_cpu_s={full['simulate_cpu_s']:.1f} "
        f"start_cpu_s={start['simulate_cpu_s']:.1f} "
        f"solving_share={kernel_s / full['simulate_cpu_s']:.2f} "
        f"solving_share_of_a_scenario={part[KERNEL] / part['total']:.2f} "
        f"soils_{MANY}_min_of_2_cores={MANY * each_s / WORKERS / 60:.1f} "
        f"dataset_cpu_ms={1e3 * full['dataset_cpu_s'] / SOILS:.1f}"
    )


if __name__ == "__main__":
    main()
