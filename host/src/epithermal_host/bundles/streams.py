"""Run a bundle over many series as a station would, on all processors.

Separate processes do the work: a process with TensorFlow cannot load tflite-runtime, and a runtime
that crashes ends its process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from epithermal_edge.errors import BundleError
from epithermal_edge.inference import estimator, runtime
from epithermal_edge.inference.bundle import Bundle, State, StepFn, Vector, open_bundle
from epithermal_edge.inference.features import HELD_AT_START, HOURS
from epithermal_edge.inference.pipeline import RESTART_H
from epithermal_host.compute.crew import Crew, Lost, map_unordered
from epithermal_host.training.series import NAMES

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
T = TypeVar("T")  # a task
P = TypeVar("P")  # its result

TASK_SOILS = 10
RESTART_D = RESTART_H // HOURS  # days without counts before the network's state is reset
HELD = [NAMES.index("theta_inv"), NAMES.index("theta_inv_sigma")]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Series for one process."""

    bundle: Path
    runtime: str | None
    features: Floats  # (n, T, F) all features that the station computes
    restart: Mask  # (n, T) the state is reset before this step
    outage_after: int | None = None  # day on which an outage starts, see `estimate_outages`
    lengths: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Estimates of a bundle."""

    runtime: str
    y: Array  # (S, T, 2) theta, sigma [m3 m-3]
    after: Array  # (S, len(lengths)) theta on the first day after an outage [m3 m-3]


def restart_mask(features: Floats) -> Mask:
    """Flag the days (S, T) on which a station resets its state.

    These are the days without a held inversion, and the days after such a day.
    """
    held = HELD_AT_START[:, 0].astype(np.float32)
    void = (features[..., estimator.GAP] > 0.5) & (features[..., HELD] == held).all(axis=-1)
    out: Mask = void.copy()
    out[:, 1:] |= void[:, :-1]
    return out


def estimate_series(
    bundle: Bundle,
    features: Floats,
    crew: Crew,
    *,
    restart: Mask | None = None,
    runtime_name: str | None = None,
    title: str = "",
    progress: bool = False,
) -> Estimates:
    """Run a bundle over whole series, each from a cold state.

    Parameters
    ----------
    features : (S, T, F)
        All features that the station computes, in physical units.
    crew :
        Processes that do the work.
    restart : (S, T)
        The state is reset before this step, as by the pipeline; None: derived from the features.
    runtime_name :
        "tflite" or "litert"; None: the first that can run the bundle.

    Raises
    ------
    BundleError
        No runtime can run it, it fails its golden vectors, or its process died.
    """
    restart = restart_mask(features) if restart is None else restart

    def task(rows: slice) -> Task:
        return Task(bundle.path, runtime_name, features[rows], restart[rows])

    return _all(task, len(features), bundle, crew, title, progress)


def estimate_outages(
    bundle: Bundle,
    features: Floats,
    warm_d: int,
    lengths: tuple[int, ...],
    crew: Crew,
    *,
    runtime_name: str | None = None,
    title: str = "",
    progress: bool = False,
) -> Estimates:
    """Run a bundle through an outage, and on the first day after it for several lengths.

    Parameters
    ----------
    features : (S, warm_d + days + 1, F)
        Days with counts; those of the outage are removed here.
    warm_d :
        Days before the outage.
    lengths : [d]
        Lengths of the outage, each at most `days`.
    crew, runtime_name :
        As in `estimate_series`.
    """

    def task(rows: slice) -> Task:
        part = features[rows]
        return Task(bundle.path, runtime_name, part, restart_mask(part), warm_d, lengths)

    return _all(task, len(features), bundle, crew, title, progress)


def remove_counts(features: Floats, begin: int) -> Floats:
    """Return features (..., T, F) as the pipeline computes them without counts from `begin` on.

    The last inversion is held, with its sigma, until the station resets its state.
    """
    out = features.copy()
    out[..., begin:, estimator.GAP] = 1.0
    out[..., begin:, HELD] = features[..., begin - 1 : begin, HELD]
    out[..., begin + RESTART_D :, HELD] = HELD_AT_START[:, 0]
    return out


def _all(
    task: Callable[[slice], Task],
    soils: int,
    bundle: Bundle,
    crew: Crew,
    title: str,
    progress: bool,
) -> Estimates:
    tasks = [task(slice(i, i + TASK_SOILS)) for i in range(0, soils, TASK_SOILS)]
    bar = tqdm(total=soils, desc=title or "estimates", unit="soil", disable=not progress)
    with bar:
        ordered = gather(_work, tasks, bundle, crew, lambda part: bar.update(len(part.y)))
    return Estimates(
        runtime=ordered[0].runtime,
        y=np.concatenate([part.y for part in ordered]),
        after=np.concatenate([part.after for part in ordered]),
    )


def gather(
    work: Callable[[T], P],
    tasks: Sequence[T],
    bundle: Bundle,
    crew: Crew,
    done: Callable[[P], object] = lambda part: None,
) -> list[P]:
    """Map tasks to results in their order; call `done` with each result as it arrives.

    Raises
    ------
    BundleError
        The bundle's runtime crashed.
    """
    parts: dict[int, P] = {}
    for number, part in map_unordered(work, tasks, crew):
        if isinstance(part, Lost):
            raise BundleError(f"{bundle.path}: {part.reason}: use the other runtime")
        parts[number] = part
        done(part)
    return [parts[i] for i in sorted(parts)]


@dataclass(frozen=True, slots=True)
class Verified:
    """A bundle and its step function on a runtime that passed its golden vectors."""

    bundle: Bundle
    step: StepFn
    runtime: str


def open_verified(path: Path, runtime_name: str | None) -> Verified:
    """Open a bundle and verify its golden vectors on a runtime."""
    bundle = open_bundle(path)
    step = runtime.load(bundle, runtime_name)
    estimator.check_golden(bundle, step)
    return Verified(bundle, step, step.runtime)


def stream_steps(
    model: Verified, features: Floats, restart: Mask
) -> Iterator[tuple[Vector, State]]:
    """Yield output and state after each step of one series, features (T, F), restart (T,)."""
    cold = state = model.bundle.cold_state()
    for x, void in zip(features[:, model.bundle.columns], restart.tolist(), strict=True):
        y, state = model.step(x, cold if void else state)
        yield y, state


def _work(task: Task) -> Estimates:
    model = open_verified(task.bundle, task.runtime)
    stream = _stream if task.outage_after is None else _outage
    pairs = [stream(model, task, i) for i in range(len(task.features))]
    return Estimates(
        runtime=model.runtime,
        y=np.stack([y for y, _ in pairs]).astype(np.float64),
        after=np.stack([after for _, after in pairs]).astype(np.float64),
    )


def _stream(model: Verified, task: Task, row: int) -> tuple[Floats, Floats]:
    outputs = [y for y, _ in stream_steps(model, task.features[row], task.restart[row])]
    return np.array(outputs), np.zeros(0, dtype=np.float32)


def _outage(model: Verified, task: Task, row: int) -> tuple[Floats, Floats]:
    assert task.outage_after is not None
    step, columns = model.step, model.bundle.columns
    begin, features = task.outage_after, task.features[row]
    cold = state = model.bundle.cold_state()
    outputs, after = [], []
    for day, x in enumerate(remove_counts(features, begin)[:, columns]):
        out = day - begin  # past days of the outage
        if out in task.lengths:  # branch on which counts return today
            after.append(step(features[day, columns], cold if out > RESTART_D else state)[0][0])
        void = bool(task.restart[row, day]) or out >= RESTART_D
        y, state = step(x, cold if void else state)
        outputs.append(y)
    return np.array(outputs), np.array(after, dtype=np.float32)
