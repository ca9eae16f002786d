"""Fixtures that many tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure():
    """What is interrupted in a test hears it, though a shell began the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data of others, which is not part of the project."""
    folder = Path(os.environ.get("EPITHERMAL_SHARED", ROOT.parent / "shared"))
    if not (folder / "reference").is_dir():
        pytest.skip(f"no reference data in {folder}; set EPITHERMAL_SHARED")
    return folder
