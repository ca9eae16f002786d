"""Tasks in processes: each returns one result even when processes die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from epithermal_host.compute.crew import Lost, crew, map_unordered
from epithermal_host.compute.processes import TRIES


def square(number: int) -> int:
    return number * number


def dies(task: tuple[int, Path]) -> int:
    """Return the number; 13 always kills its process, 5 the first time."""
    number, folder = task
    first = folder / str(number)
    if number == 13 or (number == 5 and not first.exists()):
        first.write_text(first.read_text() + "x" if first.exists() else "x")
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def long_answer(number: int) -> bytes:
    """Return more than a pipe's buffer, so that a kill mostly happens while it is sent."""
    return bytes([number]) * 5_000_000


def fails(number: int) -> int:
    raise ZeroDivisionError(number)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_returns_one_result(workers):
    with crew(workers) as who:
        assert sorted(map_unordered(square, range(50), who)) == [(i, i * i) for i in range(50)]


def test_tasks_are_consumed_as_workers_become_free():
    consumed = []

    def tasks() -> Iterator[int]:
        for i in range(30):
            consumed.append(i)
            yield i

    with crew(2) as who:
        for done, _ in enumerate(map_unordered(square, tasks(), who), start=1):
            assert len(consumed) <= done + 2 * who.ahead
    assert len(consumed) == 30


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_task_that_kills_its_workers_is_reported_and_the_others_run_again(tmp_path, caplog):
    with crew(2) as who:
        answers = dict(map_unordered(dies, [(i, tmp_path) for i in range(20)], who))
    lost = answers.pop(13)
    assert isinstance(lost, Lost) and "ended 3 processes" in lost.reason
    assert answers == {i: i for i in range(20) if i != 13}
    assert len((tmp_path / "13").read_text()) == TRIES
    assert len((tmp_path / "5").read_text()) == 1
    assert caplog.text.count("a worker process died (signal 9)") == TRIES + 1


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_process_that_is_killed_in_the_middle_of_a_long_result_blocks_no_other():
    with crew(2) as who:
        killed = 0
        for done, (number, answer) in enumerate(
            map_unordered(long_answer, range(60), who), start=1
        ):
            assert isinstance(answer, bytes) and answer == long_answer(number)
            if done % 5 == 0:
                workers = psutil.Process().children()
                max(workers, key=lambda one: one.memory_info().rss).kill()
                killed += 1
    assert done == 60 and killed == 12


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_reaches_the_caller(workers):
    with pytest.raises(ZeroDivisionError), crew(workers) as who:
        list(map_unordered(fails, range(5), who))


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_no_process_remains_when_the_parent_is_killed():
    code = (
        "import math, time\n"
        "from epithermal_host.compute.crew import crew, map_unordered\n"
        "if __name__ == '__main__':\n"
        "    with crew(2) as who:\n"
        "        for _ in map_unordered(math.sqrt, range(100000), who):\n"
        "            print('x', flush=True)\n"
        "            time.sleep(0.01)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 300.0
    while any(worker.is_running() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [worker for worker in workers if worker.is_running()]
    parent.stdout.close()
