"""A function over many tasks on one executor: processes of this machine, or a Dask cluster's.

The executor is one of concurrent.futures' kind. Answers come back to the caller; a worker that dies
costs the tasks that it had in work, and they are done again.
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
PATIENCE_S = 10.0  # without an answer, then we look whether there are workers at all


@dataclass(frozen=True, slots=True)
class Lost:
    """In place of an answer: the task ended every worker that it was given to."""

    reason: str


@dataclass(frozen=True, slots=True)
class Crew:
    """Who does the work."""

    executor: Executor | None  # None: it is done here
    workers: Callable[[], int]  # now: those of a cluster come and go
    ahead: int = AHEAD  # tasks handed over for each of them, so that none waits for the next
    killed: type[Exception] = WorkerDiedError  # what it raises for a task that ends its workers


@contextlib.contextmanager
def crew(workers: int | None = None, dask: str | None = None) -> Iterator[Crew]:
    """Processes of this machine, or the workers of a Dask cluster.

    Parameters
    ----------
    workers :
        Processes; one a processor by default; 1: none, the work is done here.
    dask :
        Address of a scheduler, tcp://host:port; then `workers` says nothing.

    Raises
    ------
    ConfigError
        No scheduler answers, distributed is not installed, or its workers have other versions.
    """
    if dask is not None:
        from epithermal_host.compute import dask_cluster

        with dask_cluster.connect(dask) as there:
            yield Crew(there, there.workers, dask_cluster.AHEAD, there.killed)
        return
    number = processes(workers)
    if number == 1:
        yield Crew(None, lambda: 1)
        return
    here = Processes(number)
    try:
        yield Crew(here, lambda: number)
    finally:
        here.shutdown(cancel_futures=True)


def processes(workers: int | None) -> int:
    """How many to use: as asked, else one a processor that we may run on."""
    if workers is not None:
        return workers
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each(
    function: Callable[[Task], Answer], tasks: Iterable[Task], crew: Crew
) -> Iterator[tuple[int, Answer | Lost]]:
    """Number and answer of each task, in the order in which they are done.

    Parameters
    ----------
    function :
        At the top level of a module, so that a worker finds it.
    tasks :
        Taken as there is room, so that neither tasks nor answers pile up; each is pickled.
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
    """Of the tasks that are done; waits for one at least."""
    told = False
    while not (done := concurrent.futures.wait(flying, PATIENCE_S, FIRST).done):
        if not told and crew.workers() == 0:
            log.warning("the Dask cluster has no workers; waiting for one")
            told = True
    for future in done:
        number = flying.pop(future)
        try:
            answer: Answer | Lost = future.result()
        except crew.killed as error:
            answer = Lost(str(error))
        except concurrent.futures.CancelledError as error:
            raise EpithermalError(
                "the Dask scheduler was lost: start the command again; what is done stays"
            ) from error
        yield number, answer
