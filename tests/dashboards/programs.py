"""Which real programs were started, and what of theirs was found equal to the journal."""

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
    """Time how long a program takes until it serves."""
    began = time.monotonic()
    yield
    STARTED.append((name, version, time.monotonic() - began))


def first_line(*command):
    """What a program says of its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def node_version(package):
    """Version of what npm has installed; None where it has not."""
    file = NODE_MODULES / package / "package.json"
    return json.loads(file.read_text())["version"] if file.exists() else None


def agreed(where, count, what):
    """So many values there are those of the journal."""
    AGREED.append((where, count, what))


def report():
    """Lines for the end of the run."""
    lines = [f"started  {n:<16} {v:<44} {s:6.1f} s" for n, v, s in STARTED]
    return lines + [f"equal    {where:<16} {count:>7} {what}" for where, count, what in AGREED]
