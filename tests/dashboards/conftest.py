"""Provide fixtures of the dashboards' tests, and report the started programs."""

from __future__ import annotations

import pytest

from . import programs
from .farm import Farm


@pytest.fixture
def farm(tmp_path):
    """Create a broker and a station with 40 days of records, not started."""
    created = Farm(tmp_path)
    yield created
    created.close()


def pytest_terminal_summary(terminalreporter):
    lines = programs.report()
    if lines:
        terminalreporter.section("dashboards")
        for line in lines:
            terminalreporter.write_line(line)
