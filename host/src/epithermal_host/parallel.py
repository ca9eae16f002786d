"""A function over many tasks in processes; Ctrl-C ends it after the tasks that are under way."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from epithermal_edge.errors import EpithermalError

Task = TypeVar("Task")
Answer = TypeVar("Answer")


def processes(workers: int | None) -> int:
    """How many to use: as asked, else one a processor that we may run on."""
    if workers is not None:
        return workers
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each(
    function: Callable[[Task], Answer], tasks: Sequence[Task], workers: int | None = None
) -> Iterator[tuple[int, Answer]]:
    """Number and answer of each task, in the order in which they are done.

    Parameters
    ----------
    function :
        At the top level of a module, so that a fresh process finds it.
    tasks :
        Small values; each is pickled.
    workers :
        Processes; 1: none, the work is done here.

    Raises
    ------
    EpithermalError
        A process died.
    """
    number = min(processes(workers), len(tasks))
    if number <= 1:
        yield from enumerate(map(function, tasks))
        return
    # spawn: the same on every system, and no copy of a parent that has TensorFlow's threads
    executor = concurrent.futures.ProcessPoolExecutor(
        number, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupt
    )
    try:
        numbers = {executor.submit(function, task): i for i, task in enumerate(tasks)}
        for future in concurrent.futures.as_completed(numbers):
            yield numbers[future], future.result()
    except BrokenProcessPool as error:
        raise EpithermalError(
            "a worker process died, out of memory perhaps: start the command again with fewer "
            "--workers; what is done stays"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupt() -> None:
    """Ctrl-C goes to the whole group; only the parent answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
