"""Compute the input of a released network's head after each step, on the station's runtime.

Only the head, d = V h' + v, is retrained; everything before it is a fixed function of the features.
bundle.toml names the state tensor h' of a network with a linear head.
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
    gather,
    open_verified,
    restart_mask,
    stream_steps,
)
from epithermal_host.compute.crew import Crew

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class HiddenStates:
    """Estimates and hidden states of a bundle over series."""

    theta: Array  # (S, T) 0-30 cm [m3 m-3]
    sigma: Array  # (S, T) [m3 m-3]
    h: Floats  # (S, T, H) after each step, the input of the head


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
            f"{bundle.path}: an ensemble of {len(bundle.networks)} networks cannot be retrained:"
            " use a bundle of one network"
        )
    network = bundle.networks[0]
    names = [state.name for state in network.states]
    if network.head_input not in names:
        raise BundleError(
            f"{bundle.path}: its network ({network.kind or 'of unknown kind'}) cannot be retrained,"
            " since it has no linear head over its state: use another bundle"
        )
    return names.index(network.head_input)


def compute_hidden_states(
    bundle: Bundle,
    features: Floats,
    crew: Crew,
    *,
    restart: Mask | None = None,
    runtime_name: str | None = None,
) -> HiddenStates:
    """Run a bundle over whole series, each from a cold state.

    Parameters
    ----------
    features : (S, T, F)
        All features that the station computes, in physical units.
    restart : (S, T)
        The state is reset before this step; None: derived from the features.
    runtime_name :
        As in `streams.estimate_series`.

    Raises
    ------
    BundleError
        No runtime can run it, it fails its golden vectors, its process died, or `head_input` finds
        no linear head.
    """
    head_input(bundle)
    restart = restart_mask(features) if restart is None else restart
    rows = [slice(i, i + TASK_SOILS) for i in range(0, len(features), TASK_SOILS)]
    tasks = [_Task(bundle.path, runtime_name, features[r], restart[r]) for r in rows]
    parts = gather(_work, tasks, bundle, crew)
    return HiddenStates(
        theta=np.concatenate([part.theta for part in parts]),
        sigma=np.concatenate([part.sigma for part in parts]),
        h=np.concatenate([part.h for part in parts]),
    )


def _work(task: _Task) -> HiddenStates:
    model = open_verified(task.bundle, task.runtime)
    index = head_input(model.bundle)
    soils = zip(task.features, task.restart, strict=True)
    steps = [list(stream_steps(model, x, restart)) for x, restart in soils]
    y = np.array([[y for y, _ in soil] for soil in steps]).astype(np.float64)
    h = np.array([[state[index] for _, state in soil] for soil in steps])
    return HiddenStates(theta=y[..., 0], sigma=y[..., 1], h=h)
