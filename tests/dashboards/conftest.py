"""Fixtures of the dashboards' tests, and the list of what was started."""

from __future__ import annotations

import pytest

from . import programs
from .farm import Farm


@pytest.fixture
def farm(tmp_path):
    """A broker and a station with 40 days behind it, not started."""
    made = Farm(tmp_path)
    yield made
    made.close()


def pytest_terminal_summary(terminalreporter):
    lines = programs.report()
    if lines:
        terminalreporter.section("dashboards")
        for line in lines:
            terminalreporter.write_line(line)
