"""Map a function over many tasks, on processes of this machine or on a Dask cluster.

Both are executors of concurrent.futures. Results return to the caller; when a worker dies, the
tasks that it was running are run again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TypeVar

from epithermal_edge.errors import EpithermalError
from epithermal_host.compute.processes import Processes, WorkerDiedError

log = logging.getLogger(__name__)

Task = TypeVar("Task")
Answer = TypeVar("Answer")

AHEAD = 2
FIRST = concurrent.futures.FIRST_COMPLETED
PATIENCE_S = 10.0  # without a result; then check whether there are any workers


@dataclass(frozen=True, slots=True)
class Lost:
    """Result of a task that killed every worker that ran it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Crew:
    """An executor and the number of its workers."""

    executor: Executor | None  # None: run in this process
    workers: Callable[[], int]  # present number; it varies in a cluster
    ahead: int = AHEAD  # tasks submitted per worker, so that none waits for the next
    killed: type[Exception] = WorkerDiedError  # raised for a task that kills its workers


@contextlib.contextmanager
def crew(workers: int | None = None, dask: str | None = None) -> Iterator[Crew]:
    """Start processes on this machine, or connect to the workers of a Dask cluster.

    Parameters
    ----------
    workers :
        Number of processes; default: one per processor; 1: run in this process.
    dask :
        Address of a scheduler, tcp://host:port; `workers` is then ignored.

    Raises
    ------
    ConfigError
        No scheduler answers, distributed is not installed, or versions of the workers differ.
    """
    if dask is not None:
        from epithermal_host.compute import dask_cluster

        with dask_cluster.connect(dask) as there:
            yield Crew(there, there.workers, dask_cluster.AHEAD, there.killed)
        return
    number = worker_count(workers)
    if number == 1:
        yield Crew(None, lambda: 1)
        return
    here = Processes(number)
    try:
        yield Crew(here, lambda: number)
    finally:
        here.shutdown(cancel_futures=True)


def worker_count(workers: int | None) -> int:
    """Return the number of processes: as given, else one per processor available to this one."""
    if workers is not None:
        return workers
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_unordered(
    function: Callable[[Task], Answer], tasks: Iterable[Task], crew: Crew
) -> Iterator[tuple[int, Answer | Lost]]:
    """Run a function on every task; yield number and result of each in order of completion.

    Parameters
    ----------
    function :
        Defined at the top level of a module, so that a worker can import it.
    tasks :
        Consumed as workers become free, so that neither tasks nor results accumulate; each is
        pickled.
    crew :
        See `crew`.

    Raises
    ------
    EpithermalError
        The Dask scheduler was lost.
    """
    if crew.executor is None:
        yield from enumerate(map(function, tasks))
        return
    flying: dict[Future[Answer], int] = {}
    for number, task in enumerate(tasks):
        flying[crew.executor.submit(function, task)] = number
        while len(flying) >= max(crew.ahead * crew.workers(), 1):
            yield from _answers(flying, crew)
    while flying:
        yield from _answers(flying, crew)


def _answers(flying: dict[Future[Answer], int], crew: Crew) -> Iterator[tuple[int, Answer | Lost]]:
    """Wait for at least one task; yield number and result of all that are complete."""
    warned = False
    while not (done := concurrent.futures.wait(flying, PATIENCE_S, FIRST).done):
        if not warned and crew.workers() == 0:
            log.warning("the Dask cluster has no workers; waiting for one")
            warned = True
    for future in done:
        number = flying.pop(future)
        try:
            answer: Answer | Lost = future.result()
        except crew.killed as error:
            answer = Lost(str(error))
        except concurrent.futures.CancelledError as error:
            raise EpithermalError(
                "the Dask scheduler was lost: start the command again; completed work is kept"
            ) from error
        yield number, answer
