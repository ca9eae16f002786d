"""Compute what the head of a released network sees after each step, on the station's runtime.

Only the head, d = V h' + v, is retrained; everything before it is a fixed function of the features.
Of a network whose head is linear, bundle.toml says which state tensor is h'.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import BundleError
from epithermal_edge.inference.bundle import Bundle
from epithermal_host.bundles.streams import (
    TASK_SOILS,
    gathered,
    restarts,
    streamed_steps,
    verified,
)
from epithermal_host.compute.crew import Crew

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


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


def head_input(bundle: Bundle) -> int:
    """Return the index of the state tensor that the head multiplies.

    Raises
    ------
    BundleError
        The bundle holds several networks, or one without a linear head over its state.
    """
    if len(bundle.networks) > 1:
        raise BundleError(
            f"{bundle.path}: an ensemble of {len(bundle.networks)} networks has no head that could"
            " be retrained: take a bundle of one network"
        )
    network = bundle.networks[0]
    names = [state.name for state in network.states]
    if network.head_input not in names:
        raise BundleError(
            f"{bundle.path}: its network ({network.kind or 'of unknown kind'}) has no linear head"
            " over its state, which is all that is retrained: take another bundle"
        )
    return names.index(network.head_input)


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
        In physical units, all that the station computes.
    restart : (S, T)
        The state is void before this step; None: seen by the features.
    runtime_name :
        As in `streams.answers`.

    Raises
    ------
    BundleError
        No runtime runs it, it fails its golden vectors there, it ended its process, or it has no
        head as `head_input` wants.
    """
    head_input(bundle)
    restart = restarts(features) if restart is None else restart
    rows = [slice(i, i + TASK_SOILS) for i in range(0, len(features), TASK_SOILS)]
    tasks = [_Task(bundle.path, runtime_name, features[r], restart[r]) for r in rows]
    found = gathered(_work, tasks, bundle, who)
    return Hidden(
        theta=np.concatenate([part.theta for part in found]),
        sigma=np.concatenate([part.sigma for part in found]),
        h=np.concatenate([part.h for part in found]),
    )


def _work(task: _Task) -> Hidden:
    model = verified(task.bundle, task.runtime)
    at = head_input(model.bundle)
    soils = zip(task.features, task.restart, strict=True)
    told = [list(streamed_steps(model, x, restart)) for x, restart in soils]
    y = np.array([[y for y, _ in soil] for soil in told]).astype(np.float64)
    h = np.array([[state[at] for _, state in soil] for soil in told])
    return Hidden(theta=y[..., 0], sigma=y[..., 1], h=h)
