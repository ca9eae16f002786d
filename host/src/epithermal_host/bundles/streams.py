"""A bundle over many series as a station would run it, on all processors.

The work is done in processes of its own: a process that has TensorFlow cannot load
tflite-runtime, and a runtime that dies takes its process with it.
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
P = TypeVar("P")  # and its part of the answer

TASK_SOILS = 10
RESTART_D = RESTART_H // HOURS  # days without counts that the network's state outlives
HELD = [NAMES.index("theta_inv"), NAMES.index("theta_inv_sigma")]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Some series for one process."""

    bundle: Path
    runtime: str | None
    features: Floats  # (n, T, F) all that the station computes
    restart: Mask  # (n, T) the state is void before this step
    outage_after: int | None = None  # an outage begins then: see `outages`
    lengths: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the bundle said."""

    runtime: str
    y: Array  # (S, T, 2) theta, sigma [m3 m-3]
    after: Array  # (S, len(lengths)) theta on the first day after an outage [m3 m-3]


def restarts(features: Floats) -> Mask:
    """(S, T) where a station starts its state anew: nothing is held, today or since yesterday."""
    held = HELD_AT_START[:, 0].astype(np.float32)
    void = (features[..., estimator.GAP] > 0.5) & (features[..., HELD] == held).all(axis=-1)
    out: Mask = void.copy()
    out[:, 1:] |= void[:, :-1]
    return out


def answers(
    bundle: Bundle,
    features: Floats,
    who: Crew,
    *,
    restart: Mask | None = None,
    runtime_name: str | None = None,
    title: str = "",
    progress: bool = False,
) -> Answers:
    """The bundle over whole series, each from a cold state.

    Parameters
    ----------
    features : (S, T, F)
        In physical units, all that the station computes.
    who :
        Does the work.
    restart : (S, T)
        The state is void before this step, as the pipeline said; None: seen by the features.
    runtime_name :
        "tflite" or "litert"; None: the first that runs the bundle.

    Raises
    ------
    BundleError
        No runtime runs it, it fails its golden vectors there, or it ended its process.
    """
    restart = restarts(features) if restart is None else restart

    def task(rows: slice) -> Task:
        return Task(bundle.path, runtime_name, features[rows], restart[rows])

    return _all(task, len(features), bundle, who, title, progress)


def outages(
    bundle: Bundle,
    features: Floats,
    warm_d: int,
    lengths: tuple[int, ...],
    who: Crew,
    *,
    runtime_name: str | None = None,
    title: str = "",
    progress: bool = False,
) -> Answers:
    """The bundle through one outage, and on the first day after it for several lengths.

    Parameters
    ----------
    features : (S, warm_d + days + 1, F)
        Days with counts, from whose last the outage begins; made dark here.
    warm_d :
        Days before the outage.
    lengths : [d]
        After which counts return; each at most `days`.
    who, runtime_name :
        As in `answers`.
    """

    def task(rows: slice) -> Task:
        part = features[rows]
        return Task(bundle.path, runtime_name, part, restarts(part), warm_d, lengths)

    return _all(task, len(features), bundle, who, title, progress)


def darken(features: Floats, begin: int) -> Floats:
    """Features (..., T, F) as the pipeline has them when no count comes from `begin` on.

    The last inversion is held, with its sigma, until the station's state is void.
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
    who: Crew,
    title: str,
    progress: bool,
) -> Answers:
    tasks = [task(slice(i, i + TASK_SOILS)) for i in range(0, soils, TASK_SOILS)]
    bar = tqdm(total=soils, desc=title or "answers", unit="soil", disable=not progress)
    with bar:
        ordered = gathered(_work, tasks, bundle, who, lambda part: bar.update(len(part.y)))
    return Answers(
        runtime=ordered[0].runtime,
        y=np.concatenate([part.y for part in ordered]),
        after=np.concatenate([part.after for part in ordered]),
    )


def gathered(
    work: Callable[[T], P],
    tasks: Sequence[T],
    bundle: Bundle,
    who: Crew,
    done: Callable[[P], object] = lambda part: None,
) -> list[P]:
    """What `work` makes of each task, in their order; `done` hears of each as it comes.

    Raises
    ------
    BundleError
        The bundle's runtime ended its process.
    """
    parts: dict[int, P] = {}
    for number, part in map_unordered(work, tasks, who):
        if isinstance(part, Lost):
            raise BundleError(f"{bundle.path}: {part.reason}: take the other runtime")
        parts[number] = part
        done(part)
    return [parts[i] for i in sorted(parts)]


@dataclass(frozen=True, slots=True)
class Verified:
    """Hold a bundle and its step on a runtime on which its golden vectors hold."""

    bundle: Bundle
    step: StepFn
    runtime: str


def verified(path: Path, runtime_name: str | None) -> Verified:
    """Open a bundle and verify its golden vectors on a runtime."""
    bundle = open_bundle(path)
    step = runtime.load(bundle, runtime_name)
    estimator.check_golden(bundle, step)
    return Verified(bundle, step, step.runtime)


def streamed_steps(
    model: Verified, features: Floats, restart: Mask
) -> Iterator[tuple[Vector, State]]:
    """Yield output and state after each step of one series, features (T, F), restart (T,)."""
    cold = state = model.bundle.cold_state()
    for x, void in zip(features[:, model.bundle.columns], restart.tolist(), strict=True):
        y, state = model.step(x, cold if void else state)
        yield y, state


def _work(task: Task) -> Answers:
    model = verified(task.bundle, task.runtime)
    stream = _stream if task.outage_after is None else _outage
    pairs = [stream(model, task, i) for i in range(len(task.features))]
    return Answers(
        runtime=model.runtime,
        y=np.stack([y for y, _ in pairs]).astype(np.float64),
        after=np.stack([after for _, after in pairs]).astype(np.float64),
    )


def _stream(model: Verified, task: Task, row: int) -> tuple[Floats, Floats]:
    said = [y for y, _ in streamed_steps(model, task.features[row], task.restart[row])]
    return np.array(said), np.zeros(0, dtype=np.float32)


def _outage(model: Verified, task: Task, row: int) -> tuple[Floats, Floats]:
    assert task.outage_after is not None
    step, columns = model.step, model.bundle.columns
    begin, seen = task.outage_after, task.features[row]
    cold = state = model.bundle.cold_state()
    said, after = [], []
    for day, x in enumerate(darken(seen, begin)[:, columns]):
        out = day - begin  # days of the outage that are over
        if out in task.lengths:  # counts return today, on another branch
            after.append(step(seen[day, columns], cold if out > RESTART_D else state)[0][0])
        void = bool(task.restart[row, day]) or out >= RESTART_D
        y, state = step(x, cold if void else state)
        said.append(y)
    return np.array(said), np.array(after, dtype=np.float32)
