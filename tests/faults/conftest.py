"""Provide the seed of fault tests and write the report of their figures.

EPITHERMAL_FAULTS=full runs the long form, EPITHERMAL_SEED sets the seed, and
EPITHERMAL_FAULTS_REPORT names the JSON file of the report.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
FULL_TIMEOUT_S = 3600
RESULTS: dict[str, dict[str, object]] = {}
BEGIN_S = time.time()


@pytest.fixture
def seed(record_property):
    """Return the seed of the faults; print and report it, so that a run can be repeated."""
    value = int(os.environ.get("EPITHERMAL_SEED", "1"))
    print(f"EPITHERMAL_SEED={value}")
    record_property("seed", value)
    return value


def pytest_collection_modifyitems(items):
    """Mark every test here as a fault test; allow the long form more time."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.faults)
            if os.environ.get("EPITHERMAL_FAULTS") == "full":
                item.add_marker(pytest.mark.timeout(FULL_TIMEOUT_S))


def pytest_runtest_logreport(report):
    """Record outcome, time and figures of each test."""
    if not report.nodeid.startswith("tests/faults/"):
        return
    result = RESULTS.setdefault(report.nodeid, {"outcome": "passed", "seconds": 0.0})
    result["seconds"] = round(float(result["seconds"]) + report.duration, 2)
    if report.outcome != "passed":
        result["outcome"] = report.outcome
        result["why"] = str(report.longrepr)[-2000:]
    if report.when == "teardown":
        result["figures"] = dict(report.user_properties)


def pytest_sessionfinish(session):
    """Write the report in the process that has the results of all workers."""
    path = os.environ.get("EPITHERMAL_FAULTS_REPORT")
    if not path or hasattr(session.config, "workerinput"):
        return
    outcomes = [str(result["outcome"]) for result in RESULTS.values()]
    report = {
        "v": 1,
        "commit": git("rev-parse", "HEAD"),
        "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
        "seed": int(os.environ.get("EPITHERMAL_SEED", "1")),
        "size": os.environ.get("EPITHERMAL_FAULTS", "short"),
        "begin": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(BEGIN_S)),
        "seconds": round(time.time() - BEGIN_S, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, {platform.platform()}",
        "python": sys.version.split()[0],
        "passed": outcomes.count("passed"),
        "failed": outcomes.count("failed"),
        "skipped": outcomes.count("skipped"),
        "tests": RESULTS,
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(report, indent=1, default=str) + "\n", "utf-8")


def git(*words: str) -> str:
    """Return git's output for this tree; empty outside a repository."""
    done = subprocess.run(
        ["git", "-C", str(HERE), *words], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
