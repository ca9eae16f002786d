"""A plugin of pytest: write the duration of every test [s], and which failed, to a file.

DURATIONS names the file.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

_SECONDS: defaultdict[str, float] = defaultdict(float)
_FAILED: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add the duration of one phase of a test."""
    _SECONDS[report.nodeid] += report.duration
    if report.failed:
        _FAILED.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was measured; a worker of xdist has nothing to write."""
    if not hasattr(session.config, "workerinput"):
        Path(os.environ["DURATIONS"]).write_text(
            json.dumps({"seconds": _SECONDS, "failed": sorted(_FAILED)})
        )
