"""Record which real programs ran, and how many of their values equal the journal."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from tests.support.rig import ROOT

BUILT = Path(os.environ.get("EPITHERMAL_DASHBOARDS", ROOT / "build" / "dashboards"))
NODE_MODULES = BUILT / "node_modules"
STARTED, AGREED = [], []


@contextmanager
def starting(name, version):
    """Time the start of a program until it serves."""
    begin = time.monotonic()
    yield
    STARTED.append((name, version, time.monotonic() - begin))


def first_line(*command):
    """Return the first line of a command's output, for its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def node_version(package):
    """Return the version of an npm package; None if it is not installed."""
    file = NODE_MODULES / package / "package.json"
    return json.loads(file.read_text())["version"] if file.exists() else None


def record_agreement(where, count, what):
    """Record how many values of a program equal those of the journal."""
    AGREED.append((where, count, what))


def report():
    """Return the lines for the end of the test run."""
    lines = [f"started  {n:<16} {v:<44} {s:6.1f} s" for n, v, s in STARTED]
    return lines + [f"equal    {where:<16} {count:>7} {what}" for where, count, what in AGREED]
