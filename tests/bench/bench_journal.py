"""Measure page, export and status on a year and ten years of hours: `make bench-journal`.

The rows are those that a station would have stored. The last line is `key=value`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.support.rig import Daemon, Line, free_port, station_toml, wait_until  # noqa: E402

from epithermal_edge.cli import simulator  # noqa: E402
from epithermal_edge.config.station_toml import Config, read_config  # noqa: E402
from epithermal_edge.inference import engine as engines  # noqa: E402
from epithermal_edge.journal.journal import Journal  # noqa: E402
from epithermal_edge.journal.rows import estimate_row, record_columns, record_row  # noqa: E402
from epithermal_edge.rollout.loading import load_engine  # noqa: E402
from epithermal_edge.times import HOUR_S  # noqa: E402

RELEASED = ROOT / "models" / "rootzone-1.0.0"
DAYS = {"year": 365, "decade": 3652}
RUNS = 5
CHILD = """
import json, os, resource, subprocess, sys, time
begin = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
wall_s, used = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"status": done.returncode, "s": wall_s,
    "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}))
"""


def fill(config: Config, days: int) -> int:
    """Write a journal of hourly records up to now; return their number."""
    newest_s = time.time() // HOUR_S * HOUR_S
    records = list(simulator.records(days, 7, newest_s - days * 86400.0, HOUR_S))
    engine = load_engine(config)
    model = f"{engine.bundle.name} {engine.bundle.version}"
    outcomes = list(engines.play(engine, iter(records[:-1])))
    journal = Journal(config.state_dir)

    def write() -> None:
        for seq, (record, out) in enumerate(zip(records[:-1], outcomes, strict=True), 1):
            journal._db.insert("record", record_columns(), record_row(seq, record))
            row = estimate_row(seq, out, model)
            places = ", ".join("?" * len(row))
            journal._db.execute(f"INSERT INTO estimate VALUES ({places})", row)

    journal._db.transaction(write)
    state = engines.rebuild(engine, iter(records[:-1]))
    state, out = engines.advance(engine, state, records[-1])
    seq = len(records)
    row = estimate_row(seq, out, model)
    journal.commit(seq, records[-1], state, engine.fingerprint(), (), estimate=row)
    journal.close()
    return seq


def command(*arguments: str) -> dict[str, float]:
    """Run a command of the station; return its times and its peak memory."""
    return python("-m", "epithermal_edge", *arguments)


def python(*arguments: str) -> dict[str, float]:
    """Run Python; return its times and its peak memory."""
    ours = [sys.executable, "-c", CHILD, sys.executable, *arguments]
    return dict(json.loads(subprocess.run(ours, capture_output=True, text=True, check=True).stdout))


def first_bytes_ms(toml: Path, port: int) -> dict[str, float]:
    """Start the station; return the time to the first byte of each part, first and median [ms]."""
    daemon = Daemon(toml).ready()
    wait_until(lambda: "page: on" in daemon.log(), what=daemon.log())
    times: dict[str, list[float]] = {}
    for _ in range(RUNS):
        for name in ("", "now.json", "history.json"):
            begin = time.perf_counter()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=60) as answer:
                answer.read(1)
            times.setdefault(name or "page", []).append(1e3 * (time.perf_counter() - begin))
    daemon.stop()
    firsts = {f"{name.partition('.')[0]}_first_ms": each[0] for name, each in times.items()}
    return firsts | {
        f"{name.partition('.')[0]}_ms": statistics.median(each) for name, each in times.items()
    }


def measure(days: int) -> dict[str, float]:
    """Return the figures of a journal of so many days."""
    with tempfile.TemporaryDirectory() as name:
        folder, line, port = Path(name), Line(), free_port()
        toml = station_toml(folder, url=line.name, bundle=RELEASED)
        toml.write_text(f"{toml.read_text()}[page]\nport = {port}\n")
        config = read_config(toml)
        rows = fill(config, days)
        exports = [command("export", str(toml), "--csv", os.devnull) for _ in range(3)]
        states, numpys = [], []
        for _ in range(RUNS):  # in turns
            states.append(command("status", str(toml))["cpu_s"])
            numpys.append(python("-c", "import numpy")["cpu_s"])
        pages = first_bytes_ms(toml, port)
        line.close()
    return {
        "rows": rows,
        "export_rows_per_cpu_s": rows / statistics.median(run["cpu_s"] for run in exports),
        "export_peak_mb": max(run["peak_mb"] for run in exports),
        "status_cpu_ms": 1e3 * statistics.median(states),
        "status_over_numpy": statistics.median(states) / statistics.median(numpys),
        **pages,
    }


def main() -> None:
    """Print the figures of both journals."""
    figures: dict[str, float] = {}
    for name, days in DAYS.items():
        found = measure(days)
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()))
        figures |= {f"{name}_{key}": value for key, value in found.items()}
    print(" ".join(f"{key}={value:.4g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
