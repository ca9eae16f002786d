"""Fixtures that many tests share."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Those of the host that take longest, in this order, so that none is left alone at the end.
LONGEST = ("test_train.py", "test_simulated.py", "test_retrain.py", "test_calibrate.py")


def pytest_configure():
    """What is interrupted in a test hears it, though a shell began the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files so that processes that wait run beside processes that compute.

    The files of tests/faults, which mostly wait, alternate with the other tests of the station.
    Those of the host come last: beside TensorFlow, tflite-runtime cannot be loaded any more.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    host = [path for path in files if ROOT / "tests" / "host" in path.parents]
    waiting = [path for path in files if ROOT / "tests" / "faults" in path.parents]
    others = [path for path in files if path not in {*host, *waiting}]
    places = {path: (1, _rank_by_length(path)) for path in host}
    for paths in (waiting, others):
        places |= {path: (0, (i + 0.5) / len(paths)) for i, path in enumerate(paths)}
    items[:] = [item for path in sorted(files, key=places.__getitem__) for item in files[path]]


def _rank_by_length(path: Path) -> float:
    return float(LONGEST.index(path.name) if path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="module", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """End the stations and brokers of a module, as a failed test leaves them."""
    yield
    rig = sys.modules.get("tests.support.rig")
    if rig is not None:
        rig.end_all()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data of others, which is not part of the project."""
    folder = Path(os.environ.get("EPITHERMAL_SHARED", ROOT.parent / "shared"))
    if not (folder / "reference").is_dir():
        pytest.skip(f"no reference data in {folder}; set EPITHERMAL_SHARED")
    return folder


@pytest.fixture(scope="session")
def scene(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, Callable[[Path], None]], Path]:
    """Return a function that builds a folder once for all processes of a test run.

    The first process that needs it builds it, others wait; no test may modify it.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all workers

    def get(name: str, build: Callable[[Path], None]) -> Path:
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            link = base / name
            if not link.exists():  # a build that failed leaves no link
                folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
                build(folder)
                link.symlink_to(folder)
            return link.resolve()

    return get
