"""Use an existing Dask cluster as an executor. No other module imports distributed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from importlib import metadata
from typing import Any, TypeVar

from epithermal_edge.errors import ConfigError

CONNECT_S = 10.0
AHEAD = 4  # tasks per thread of the cluster, as a result and the next task are in transit
COUNT_S = 5.0  # interval between counts of the threads, because workers come and go
Answer = TypeVar("Answer")

DECIDE_BITS = ("epithermal-host", "epithermal-edge", "numpy", "numba")


class Cluster(Executor):
    """A Dask client as an executor; its tasks reject a worker with other versions."""

    def __init__(self, distributed: Any, client: Any) -> None:
        self.killed: type[Exception] = distributed.KilledWorker
        self._client = client
        self._dask = client.get_executor(pure=False)  # run every task, do not reuse results
        self._threads = 0
        self._counted_s = -COUNT_S

    def workers(self) -> int:
        """Count the threads of the cluster; each runs one task at a time."""
        now_s = time.monotonic()
        if now_s - self._counted_s >= COUNT_S:
            with contextlib.suppress(OSError):  # the scheduler is lost: the futures report it
                self._threads = sum(self._client.nthreads().values())
            self._counted_s = now_s
        return self._threads

    def submit(self, fn: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Future[Answer]:
        """Submit a call; function (of a module's top level) and arguments are pickled."""
        future: Future[Answer] = self._dask.submit(_guarded, versions(), fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Disconnect from the cluster, which continues to run."""
        self._dask.shutdown(wait=wait and not cancel_futures)


@contextlib.contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Connect to a scheduler; require workers with the versions of this machine.

    Raises
    ------
    ConfigError
        distributed is not installed, no scheduler or no worker answers, or versions differ.
    """
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise ConfigError(
            f"--dask needs distributed: pip install 'epithermal-host[cluster]' ({error})"
        ) from error
    try:
        client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"--dask {address}: no Dask scheduler answers; give the address that "
            f"`dask scheduler` prints, tcp://host:port ({error})"
        ) from error
    try:
        _compare(client, address)
        cluster = Cluster(distributed, client)
        try:
            yield cluster
        finally:
            cluster.shutdown(cancel_futures=True)
    finally:
        client.close(timeout=CONNECT_S)


@functools.cache
def versions() -> dict[str, str]:
    """List the versions that determine the bits of a result; "" for a missing package."""
    by_name = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in DECIDE_BITS:
        try:
            by_name[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            by_name[name] = ""
    return by_name


def _compare(client: Any, address: str) -> None:
    """Reject workers whose results could differ."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError as error:
        raise ConfigError(f"--dask {address}: the cluster has no workers; start some") from error
    try:
        theirs: dict[str, dict[str, str]] = client.run(versions)
    except ModuleNotFoundError as error:
        raise ConfigError(f"--dask {address}: install epithermal-host on its workers") from error
    faults = [
        f"--dask {address}: worker {worker}: {fault}"
        for worker, there in theirs.items()
        for fault in _differences(versions(), there)
    ]
    if faults:
        raise ConfigError(*faults)


def _differences(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    return [
        f"{name} is {theirs[name] or 'missing'}, here it is {ours[name]}: install the same version"
        for name in ours
        if theirs[name] != ours[name]
    ]


def _guarded(ours: dict[str, str], function: Callable[..., Answer], *args: Any) -> Answer:
    faults = _differences(ours, versions())
    if faults:
        raise ConfigError(*(f"a worker of the Dask cluster: {fault}" for fault in faults))
    return function(*args)
