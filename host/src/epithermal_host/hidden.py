"""What a released network holds in mind: its state after each step, on the station's runtime.

Only the head, d = V h' + v, is retrained; everything before it is a fixed function of the features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epithermal_edge import estimator, runtime
from epithermal_edge.bundle import Bundle, open_bundle
from epithermal_edge.errors import BundleError
from epithermal_host.parallel import Crew, Lost, each
from epithermal_host.streams import restarts

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

TASK_SOILS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """Streams of a bundle."""

    theta: Array  # (S, T) 0-30 cm [m3 m-3]
    sigma: Array  # (S, T) [m3 m-3]
    h: Floats  # (S, T, H) after the step, what the head sees


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    bundle: Path
    runtime: str | None
    features: Floats
    restart: Mask


def hidden(
    bundle: Bundle,
    features: Floats,
    who: Crew,
    *,
    restart: Mask | None = None,
    runtime_name: str | None = None,
) -> Hidden:
    """The bundle over whole series, each from a cold state.

    Parameters
    ----------
    features : (S, T, F)
        In physical units.
    restart : (S, T)
        The state is void before this step; None: seen by the features.
    runtime_name :
        As in `streams.answers`.

    Raises
    ------
    BundleError
        No runtime runs it, it fails its golden vectors there, or it ended its process.
    """
    restart = restarts(features) if restart is None else restart
    rows = [slice(i, i + TASK_SOILS) for i in range(0, len(features), TASK_SOILS)]
    tasks = [_Task(bundle.path, runtime_name, features[r], restart[r]) for r in rows]
    parts: dict[int, Hidden] = {}
    for number, part in each(_work, tasks, who):
        if isinstance(part, Lost):
            raise BundleError(f"{bundle.path}: {part.reason}: take the other runtime")
        parts[number] = part
    found = [parts[i] for i in sorted(parts)]
    return Hidden(
        theta=np.concatenate([part.theta for part in found]),
        sigma=np.concatenate([part.sigma for part in found]),
        h=np.concatenate([part.h for part in found]),
    )


def _work(task: _Task) -> Hidden:
    bundle = open_bundle(task.bundle)
    step = runtime.load(bundle.model_path, task.runtime)
    estimator.check_golden(bundle, step)
    pairs = [_stream(step, x, cold) for x, cold in zip(task.features, task.restart, strict=True)]
    y = np.stack([y for y, _ in pairs]).astype(np.float64)
    return Hidden(theta=y[..., 0], sigma=y[..., 1], h=np.stack([h for _, h in pairs]))


def _stream(step: runtime.Step, features: Floats, restart: Mask) -> tuple[Floats, Floats]:
    zero = np.zeros(step.hidden, dtype=np.float32)
    h = c = zero
    said, held = [], []
    for x, cold in zip(features, restart.tolist(), strict=True):
        y, h, c = step(x, zero, zero) if cold else step(x, h, c)
        said.append(y)
        held.append(h)
    return np.array(said), np.array(held)
