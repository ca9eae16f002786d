"""Measure `calibrate` and `evaluate --field` on hours with one sampling day. `make bench-field`.

A site of one year and one of three years with counts of a synthetic soil, so that what a site-year
adds can be told from the start of the program. Processor time of the whole command, the median of
three; the last line is `key=value`.
"""

from __future__ import annotations

import datetime
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.bench.bench_journal import CHILD  # noqa: E402
from tests.support.counts import write_counts  # noqa: E402
from tests.support.sites import THETA_SAMPLING, made_up_site, probe  # noqa: E402

RELEASED = ROOT / "models" / "rootzone-1.0.0"
FIRST = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
YEARS = (1, 3)
RUNS = 3


def site(folder: Path, years: int) -> Path:
    """Write a site with counts, probes and one sampling day; return its site.toml."""
    path = folder / "site.toml"
    tables = (THETA_SAMPLING, probe("probes.csv", "noon", "probe"))
    path.write_text(made_up_site(*tables, site="season_begins = 1\nseason_ends = 12"))
    days = 365 * years
    theta = 0.25 + 0.08 * np.sin(np.arange(days) / 20.0)
    write_counts(path, theta, FIRST.timestamp(), 3000.0)
    dates = [FIRST + datetime.timedelta(days=day, hours=12) for day in range(days)]
    rows = [f"{d:%Y-%m-%dT%H:%M:%SZ},{value:.4f}" for d, value in zip(dates, theta, strict=True)]
    (folder / "probes.csv").write_text("\n".join(["noon,probe", *rows]) + "\n")
    (folder / "samples.csv").write_text(f"day,theta\n{dates[100]:%Y-%m-%d},{theta[100]:.4f}\n")
    return path


def cpu_s(out: Path, *arguments: str) -> float:
    """Return the processor time of a command of the host, the median of several runs [s].

    `out` is removed before each: a finished site would not be computed again.
    """
    ours = [sys.executable, "-m", "epithermal_host", *arguments, "--out", str(out)]
    runs = []
    for _ in range(RUNS):
        shutil.rmtree(out, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *ours], capture_output=True, text=True, check=True
        )
        run = json.loads(done.stdout)
        assert run["status"] == 0, ours
        runs.append(run["cpu_s"])
    return statistics.median(runs)


def main() -> None:
    """Print the figures of both sites, and what a further year costs."""
    figures: dict[str, float] = {}
    for years in YEARS:
        with tempfile.TemporaryDirectory() as name:
            path = site(Path(name), years)
            field = ("evaluate", str(RELEASED), "--field", str(path), "--workers", "1")
            figures[f"evaluate_{years}y_cpu_s"] = cpu_s(Path(name, "field"), *field)
            fit = ("calibrate", str(path), "--bundle", str(RELEASED))
            figures[f"calibrate_{years}y_cpu_s"] = cpu_s(Path(name, "calibrated"), *fit)
    for command in ("evaluate", "calibrate"):
        more = figures[f"{command}_3y_cpu_s"] - figures[f"{command}_1y_cpu_s"]
        figures[f"{command}_further_year_cpu_s"] = more / (YEARS[1] - YEARS[0])
    print(" ".join(f"{key}={value:.4g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
