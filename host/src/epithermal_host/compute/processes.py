"""Processes of this machine as an executor that outlives any of them.

concurrent.futures' own pool shares one pipe between its processes: one that is killed while it
answers leaves half a message and a lock, and the parent waits for ever. Here each has its own.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from multiprocessing.connection import Connection
from typing import Any, TypeVar

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

TRIES = 3  # of a task whose process dies; it may have been killed for another's memory
END_S = 5.0  # for a process to end by itself

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class WorkerDiedError(Exception):
    """Every process that worked on a task died."""


class Processes(Executor):
    """Up to `number` processes, each with a thread here that waits for its answers.

    A process that dies is replaced and its task is given to the next one, TRIES times in all; then
    the task's future raises WorkerDiedError. No other task notices.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._threads: list[threading.Thread] = []
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Call] | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Future[Answer]:
        """Function, at the top level of a module, and arguments are pickled."""
        future: Future[Answer] = Future()
        self._jobs.put((future, (fn, args, kwargs)))
        if len(self._threads) < self._number:
            self._threads.append(threading.Thread(target=self._attend, daemon=True))
            self._threads[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes after what was submitted, or after what is in work."""
        while cancel_futures:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                job[0].cancel()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _attend(self) -> None:
        with contextlib.closing(_Process()) as process:
            while (job := self._jobs.get()) is not None:
                future, call = job
                if future.set_running_or_notify_cancel():
                    _fulfil(future, call, process)


def _fulfil(future: Future[Any], call: Call, process: _Process) -> None:
    end = ""
    for attempt in range(1, TRIES + 1):
        try:
            good, value = process.ask(call)
        except (EOFError, OSError):
            end = process.replace()
            log.warning("a worker process died (%s) on try %d of %d of a task", end, attempt, TRIES)
        except Exception as error:  # noqa: BLE001 (a call that cannot be pickled: any exception)
            future.set_exception(error)
            return
        else:
            (future.set_result if good else future.set_exception)(value)
            return
    future.set_exception(WorkerDiedError(f"it ended {TRIES} processes that worked on it ({end})"))


class _Process:
    """A process and our end of its pipe."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        # spawn: the same on every system, and no copy of a parent that has TensorFlow's threads
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    def ask(self, call: Call) -> tuple[bool, Any]:
        self._pipe.send(call)
        answer: tuple[bool, Any] = self._pipe.recv()
        return answer

    def replace(self) -> str:
        """Start anew; how the old one ended."""
        self.close()
        code = self._process.exitcode or 0
        self._start()
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def close(self) -> None:
        self._pipe.close()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection[Any, Any]) -> None:
    """Answer calls until the parent closes the pipe, or is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; only the parent answers it
    with contextlib.suppress(EOFError, OSError):
        while True:
            function, args, kwargs = pipe.recv()
            try:
                answer = True, function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 (whose future it is gets it)
                error.add_note(f"in a worker process:\n{traceback.format_exc()}")
                answer = False, error
            pipe.send(answer)
