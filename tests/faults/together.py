"""All fault tests, several modules at a time, and one report of them: `make faults`.

    EPITHERMAL_FAULTS=full python tests/faults/together.py [NAME ...]     as kill or year; all

Most of the time is waiting: for a daemon's start, a watchdog, a broker's pause. The tests of a
module run one after the other, as pytest alone runs them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LONGEST_FIRST = ("kill", "damage", "year", "power_cut", "gaps", "disk", "watchdog", "link")
COUNTS = ("passed", "failed", "skipped")


def modules() -> list[Path]:
    """Those that are asked for, and those that are known to be long before the others."""
    order = {f"test_{name}": place for place, name in enumerate(LONGEST_FIRST)}
    asked = [HERE / f"test_{name}.py" for name in sys.argv[1:]] or HERE.glob("test_*.py")
    return sorted(asked, key=lambda p: (order.get(p.stem, len(order)), p.stem))


def run(module: Path, folder: Path) -> tuple[Path, int, str]:
    """One module in a process of its own; its report, exit code and output."""
    report = folder / f"{module.stem}.json"
    environ = {**os.environ, "EPITHERMAL_FAULTS_REPORT": str(report)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(module)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return report, done.returncode, done.stdout


def joined(reports: list[dict], seconds: float) -> dict:
    """One report out of those of the modules; changed if the tree was at any time."""
    tests = {name: test for report in reports for name, test in report["tests"].items()}
    return {
        **reports[0],
        "changed": any(report["changed"] for report in reports),
        "begin": min(report["begin"] for report in reports),
        "seconds": round(seconds, 1),
        **{name: sum(report[name] for report in reports) for name in COUNTS},
        "tests": tests,
    }


def main() -> int:
    """Exit code 1 where a test failed or a module made no report."""
    target = os.environ.get("EPITHERMAL_FAULTS_REPORT", "build/faults.json")
    jobs = int(os.environ.get("EPITHERMAL_FAULTS_JOBS", os.cpu_count() or 1))
    begin, failed, reports = time.monotonic(), False, []
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        folder = Path(scratch)
        for module, (report, code, text) in zip(
            modules(), pool.map(lambda m: run(m, folder), modules()), strict=True
        ):
            summary = text.strip().splitlines()[-1:] if code == 0 else text.splitlines()
            print(f"{module.stem}:", "\n".join(summary), flush=True)
            failed = failed or code != 0
            if report.exists():
                reports.append(json.loads(report.read_text("utf-8")))
    if not reports or len({report["commit"] for report in reports}) != 1:
        print("no report: the modules ran on different commits or not at all")
        return 1
    whole = joined(reports, time.monotonic() - begin)
    path = Path(ROOT, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
    counts = ", ".join(f"{whole[name]} {name}" for name in COUNTS)
    print(f"{counts} in {whole['seconds']:.0f} s, seed {whole['seed']}: {path}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
