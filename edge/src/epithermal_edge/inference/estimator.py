"""The network on a stream of windows: one state for each hour of the day, kept outside.

The network was trained on daily steps. To speak hourly, the station keeps one state for each
phase of the day; each takes its own daily step on the 24 h that end at its hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import BundleError
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.inference.features import FEATURES, Window, phase_of

_NAMES = [feature.name for feature in FEATURES]
GAP, SHOWN_SIGMA = _NAMES.index("gap"), _NAMES.index("theta_inv_sigma")
SIGMA = 1  # of the outputs

Vector = NDArray[np.float32]
StepFn = Callable[[Vector, Vector, Vector], tuple[Vector, Vector, Vector]]
"""`step(x (F,), h (H,), c (H,)) -> y (K,), h_next, c_next`, as `runtime.load` gives."""


@dataclass(frozen=True, slots=True, eq=False)
class EstimatorState:
    """What the network remembers; a value, never changed in place."""

    h: Vector  # (phases, H) hidden state
    c: Vector  # (phases, H) cell state
    age: NDArray[np.int64]  # (phases,) steps since the state was zero


def start(bundle: Bundle) -> EstimatorState:
    """The cold state of every phase."""
    zeros = np.zeros((bundle.phases, bundle.hidden), dtype=np.float32)
    return EstimatorState(h=zeros, c=zeros, age=np.zeros(bundle.phases, dtype=np.int64))


def step(
    step_fn: StepFn, bundle: Bundle, state: EstimatorState, window: Window
) -> tuple[EstimatorState, NDArray[np.float64]]:
    """Let the phase of this window take its daily step.

    Parameters
    ----------
    window :
        Of one site. Where it says restart, the phase begins again from zero.

    Returns
    -------
    EstimatorState
        Differs from the one given in the row of this phase alone.
    y : (K,) [m3 m-3]
        In the order of the bundle's outputs.

    Raises
    ------
    ValueError
        The window is of several sites.
    """
    if window.features.shape != (1, len(bundle.features)):
        raise ValueError(f"a window of one site, not features of shape {window.features.shape}")
    phase = phase_of(window.hour, bundle.phases)
    cold = bool(window.restart[0])
    zero = np.zeros(bundle.hidden, dtype=np.float32)
    x = window.features[0].astype(np.float32)
    y, h, c = step_fn(x, zero if cold else state.h[phase], zero if cold else state.c[phase])
    new = EstimatorState(h=state.h.copy(), c=state.c.copy(), age=state.age.copy())
    new.h[phase], new.c[phase] = h, c
    new.age[phase] = 1 if cold else state.age[phase] + 1
    return new, honest(y.astype(np.float64), x, cold)


def honest(y: NDArray[np.float64], x: NDArray[np.float32], cold: bool) -> NDArray[np.float64]:
    """The answer y (K,), its sigma at least that of what was shown where nothing was counted.

    Without a count since the state began, the features x (F,) hold a usual soil and a large sigma;
    what a network makes of that is a guess, for which it has no training.
    """
    if cold and x[GAP] > 0.5:
        y = y.copy()
        y[SIGMA] = max(y[SIGMA], float(x[SHOWN_SIGMA]))
    return y


def stream(step_fn: StepFn, hidden: int, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The answers to a whole series from a cold state.

    Parameters
    ----------
    hidden :
        Width of the state.
    x : (T, F)
        Features in physical units.

    Returns
    -------
    (T, K) [m3 m-3]
    """
    h = c = np.zeros(hidden, dtype=np.float32)
    answers = []
    for row in x:
        y, h, c = step_fn(row, h, c)
        answers.append(y)
    return np.array(answers, dtype=np.float32)


def run_golden(bundle: Bundle, step_fn: StepFn) -> float:
    """Largest absolute error of the golden stream on the runtime at hand [m3 m-3]; may be NaN."""
    answers = stream(step_fn, bundle.hidden, bundle.golden_inputs)
    if answers.shape != bundle.golden_outputs.shape:
        return float("nan")
    return float(np.max(np.abs(answers - bundle.golden_outputs)))


def check_golden(bundle: Bundle, step_fn: StepFn) -> float:
    """Prove that this runtime computes what the bundle promises.

    A runtime may load a model that it does not understand and answer nonsense without a word.

    Returns
    -------
    [m3 m-3]
        The largest error, within the bundle's tolerance.

    Raises
    ------
    BundleError
        The error is larger, or not a number, or the model takes other shapes; the text names
        the runtime.
    """
    try:
        error = run_golden(bundle, step_fn)
    except ValueError as fault:
        raise BundleError(f"{bundle.path}: the model refuses the golden inputs: {fault}") from fault
    if not error <= bundle.golden_tolerance:
        name = getattr(step_fn, "runtime", "this runtime")
        raise BundleError(
            f"{bundle.path}: golden vectors fail on runtime {name}: error {error:.2g} m3/m3,"
            f" allowed {bundle.golden_tolerance:.2g}: set EPITHERMAL_RUNTIME to the other one,"
            " or take another bundle"
        )
    return error
