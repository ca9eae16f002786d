"""A campaign on a real Dask cluster of this machine, started by Dask's own commands."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_host.compute import dask_cluster
from epithermal_host.compute.crew import Lost, crew, map_unordered
from epithermal_host.config.run_toml import RunConfig, read_run
from epithermal_host.simulation import campaign, results
from epithermal_host.simulation.results import stored
from epithermal_host.training import dataset

try:
    import distributed
except ImportError:
    distributed = None
needs_dask = pytest.mark.skipif(
    distributed is None, reason="distributed is not installed: pip install epithermal-host[cluster]"
)

TEXT = """
[campaign]
seed = 5
soils = 24
years = 1
"""


@contextlib.contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `dask scheduler` on a free port; yield its address and process."""
    log_path = folder / "scheduler.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0",
             "--no-dashboard"], stderr=log, stdout=log,
        )  # fmt: skip
    try:
        yield wait_for(r"Scheduler at:\s+(tcp://\S+)", log_path), process
    finally:
        stop(process)


@contextlib.contextmanager
def worker(address: str, folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dask worker` with one thread and without a nanny that restarts it."""
    log_path = folder / f"{name}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", "worker", address, "--nthreads", "1", "--no-nanny",
             "--no-dashboard", "--name", name, "--local-directory", str(folder)],
            stderr=log, stdout=log,
        )  # fmt: skip
    try:
        wait_for(r"(Registered to:)", log_path)
        yield process
    finally:
        stop(process)


def wait_for(pattern: str, log_path: Path) -> str:
    deadline = time.monotonic() + 300.0
    while time.monotonic() < deadline:
        if found := re.search(pattern, log_path.read_text(encoding="utf-8", errors="replace")):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"no {pattern} in {log_path.read_text()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()
    process.wait()


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    path = tmp_path / "run.toml"
    path.write_text(TEXT, encoding="utf-8")
    return read_run(path)


def slow(number: int) -> int:
    time.sleep(0.2)
    return number


def fatal(number: int) -> int:
    import os

    if number == 3:
        os._exit(9)
    return number


@needs_dask
def test_a_worker_killed_half_way_costs_no_scenario_and_no_byte(config, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "HOLD_S", 0.0)  # each result is stored at once, not 64 together
    run = tmp_path / "dask"
    with (
        scheduler(tmp_path) as (address, _),
        worker(address, tmp_path, "a") as first,
        worker(address, tmp_path, "b"),
    ):
        left: list[int] = []
        half = threading.Thread(target=kill_after, args=(first, run, 8, left))
        half.start()
        far = campaign.run(config, run, dask=address, progress=False)
        half.join()
        assert first.wait(60.0) != 0 and left[0] > 0
        features = dataset.run(run, dask=address, progress=False)
    assert (far.simulated, far.failed) == (24, ())
    near = campaign.run(config, tmp_path / "near", workers=2, progress=False)
    assert near.data_hash == far.data_hash
    again = dataset.run(tmp_path / "near", workers=1, progress=False)
    assert again.data_hash == features.data_hash


def kill_after(process: subprocess.Popen[bytes], run: Path, number: int, left: list[int]) -> None:
    """Kill a worker once so many results are stored; append how many are missing then."""
    while len(stored(run)) < number:
        time.sleep(0.005)
    process.kill()
    left.append(24 - len(stored(run)))


@needs_dask
def test_a_task_that_kills_worker_after_worker_is_reported(tmp_path):
    with scheduler(tmp_path) as (address, _), contextlib.ExitStack() as workers:
        for name in "abcdef":
            workers.enter_context(worker(address, tmp_path, name))
        with crew(dask=address) as who:
            answers = dict(map_unordered(fatal, range(6), who))
    assert isinstance(answers.pop(3), Lost)
    assert answers == {i: i for i in range(6) if i != 3}


@needs_dask
def test_a_lost_scheduler_is_an_error_with_its_reason(tmp_path):
    def kill_at(number: int) -> None:
        if number == 5:
            process.kill()

    with (
        scheduler(tmp_path) as (address, process),
        worker(address, tmp_path, "a"),
        pytest.raises(EpithermalError, match="scheduler was lost"),
        crew(dask=address) as who,
    ):
        all(kill_at(number) is None for number, _ in map_unordered(slow, range(100), who))


@needs_dask
def test_an_address_where_no_scheduler_is_ends_with_what_to_do(monkeypatch):
    monkeypatch.setattr(dask_cluster, "CONNECT_S", 1.0)
    with (
        pytest.raises(ConfigError, match="no Dask scheduler answers"),
        crew(dask="tcp://127.0.0.1:9"),
    ):
        pass
    with pytest.raises(ConfigError, match="no Dask scheduler answers"), crew(dask="nonsense://x"):
        pass


@needs_dask
def test_a_cluster_without_workers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "CONNECT_S", 2.0)
    with (
        scheduler(tmp_path) as (address, _),
        pytest.raises(ConfigError, match="has no workers"),
        crew(dask=address),
    ):
        pass


def test_without_distributed_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"epithermal-host\[cluster\]"), crew(dask="tcp://x:1"):
        pass


def test_a_worker_of_another_version_is_refused():
    other = dask_cluster.versions() | {"numpy": "1.0", "epithermal-host": ""}
    with pytest.raises(ConfigError) as caught:
        dask_cluster._guarded(other, slow, 1)
    assert len(caught.value.faults) == 2 and "numpy is" in str(caught.value)
    assert dask_cluster._guarded(dask_cluster.versions(), slow, 1) == 1
