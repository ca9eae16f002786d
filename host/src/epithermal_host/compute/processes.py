"""Run calls in processes of this machine, with an executor that survives their death.

The pool of concurrent.futures shares one pipe between its processes: a process that is killed
while it answers leaves half a message and a lock, and the parent waits forever. Here each process
has its own pipe.
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

TRIES = 3  # of a task whose process dies; another process may have exhausted the memory
END_S = 5.0  # that a process may need to exit by itself

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class WorkerDiedError(Exception):
    """Every process that ran a task died."""


class Processes(Executor):
    """Up to `number` processes, each with a thread of this process that waits for its results.

    A process that dies is replaced and its task is run again, up to TRIES times in total; then the
    task's future raises WorkerDiedError. Other tasks are unaffected.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._threads: list[threading.Thread] = []
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Call] | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Future[Answer]:
        """Submit a call; function (of a module's top level) and arguments are pickled."""
        future: Future[Answer] = Future()
        self._jobs.put((future, (fn, args, kwargs)))
        if len(self._threads) < self._number:
            self._threads.append(threading.Thread(target=self._attend, daemon=True))
            self._threads[-1].start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes after all submitted calls, or after those that are running."""
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
    future.set_exception(WorkerDiedError(f"the task ended {TRIES} processes ({end})"))


class _Process:
    """A process and the parent's end of its pipe."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        # spawn: the same on every system, and safe if the parent has threads of TensorFlow
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe closes when the process ends

    def ask(self, call: Call) -> tuple[bool, Any]:
        self._pipe.send(call)
        answer: tuple[bool, Any] = self._pipe.recv()
        return answer

    def replace(self) -> str:
        """Start a new process; return how the old one ended."""
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
    """Run calls until the parent closes the pipe or exits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; only the parent handles it
    with contextlib.suppress(EOFError, OSError):
        while True:
            function, args, kwargs = pipe.recv()
            try:
                answer = True, function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 (the future of the call raises it)
                error.add_note(f"in a worker process:\n{traceback.format_exc()}")
                answer = False, error
            pipe.send(answer)
