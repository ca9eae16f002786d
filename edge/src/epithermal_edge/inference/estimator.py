"""Run the networks on a stream of windows, with one state for each hour of the day.

A network was trained on daily steps. To speak hourly, the station keeps one state for each
phase of the day; each takes its own daily step on the 24 h that end at its hour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import BundleError
from epithermal_edge.inference.bundle import Bundle, State, StepFn, Vector
from epithermal_edge.inference.features import FEATURES, Windows, phase_of
from epithermal_edge.inference.runtime import SIGMA

_NAMES = [feature.name for feature in FEATURES]
GAP, SHOWN_SIGMA = _NAMES.index("gap"), _NAMES.index("theta_inv_sigma")


@dataclass(frozen=True, slots=True, eq=False)
class EstimatorState:
    """Hold the networks' state of each phase; a value, never changed in place."""

    names: tuple[str, ...]  # of the state tensors, as `Bundle.states` has them
    tensors: tuple[Vector, ...]  # each (phases, *shape)
    age: NDArray[np.int64]  # (phases,) steps since the state was zero


def start(bundle: Bundle) -> EstimatorState:
    """Return the cold state of every phase."""
    return EstimatorState(
        names=tuple(state.name for state in bundle.states),
        tensors=tuple(
            np.zeros((bundle.phases, *state.shape), dtype=np.float32) for state in bundle.states
        ),
        age=np.zeros(bundle.phases, dtype=np.int64),
    )


def run(
    step_fn: StepFn, bundle: Bundle, state: EstimatorState, windows: Windows
) -> tuple[EstimatorState, NDArray[np.float64], NDArray[np.int64]]:
    """Advance the network state of each window's hour of day by one day, window by window.

    Parameters
    ----------
    windows :
        K windows of one site. Where `restart` is set, the phase begins again from zero.

    Returns
    -------
    EstimatorState
        Differs from the one given in the rows of these phases alone.
    y : (K, outputs) [m3 m-3]
        In the order of the bundle's outputs.
    age : (K,)
        Steps since the state of the window's phase was zero.

    Raises
    ------
    ValueError
        The windows are of several sites.
    """
    if windows.features.shape[1:] != (1, len(FEATURES)):
        raise ValueError(f"windows of one site, not features of shape {windows.features.shape}")
    features = windows.features[:, 0].astype(np.float32)
    inputs = np.take(features, bundle.columns, axis=1)
    phases = phase_of(windows.hour, bundle.phases).tolist()
    rows = {p: (tuple(t[p] for t in state.tensors), int(state.age[p])) for p in set(phases)}
    answers = np.empty((len(phases), len(bundle.outputs)))
    ages = np.empty(len(phases), dtype=np.int64)
    for k, (phase, cold) in enumerate(zip(phases, windows.restart[:, 0].tolist(), strict=True)):
        before, age = (bundle.cold_state(), 0) if cold else rows[phase]
        y, after = step_fn(inputs[k], before)
        answers[k] = floor_sigma(y.astype(np.float64), features[k], cold) if cold else y
        ages[k] = age + 1
        rows[phase] = after, age + 1
    return _replaced(state, rows), answers, ages


def _replaced(state: EstimatorState, rows: dict[int, tuple[State, int]]) -> EstimatorState:
    """Return the state with other rows of some phases."""
    if not rows:
        return state
    tensors, ages = tuple(tensor.copy() for tensor in state.tensors), state.age.copy()
    for phase, (values, age) in rows.items():
        ages[phase] = age
        for tensor, value in zip(tensors, values, strict=True):
            tensor[phase] = value
    return EstimatorState(state.names, tensors, ages)


def floor_sigma(
    y: NDArray[np.float64], features: NDArray[np.float32], cold: bool
) -> NDArray[np.float64]:
    """Raise sigma of the answer y (K,) to that of the input where nothing was counted.

    Without a count since the state began, the features, all of `FEATURES`, hold a usual soil and a
    large sigma; what a network makes of that is a guess, for which it has no training.
    """
    if cold and features[GAP] > 0.5:
        y = y.copy()
        y[SIGMA] = max(y[SIGMA], float(features[SHOWN_SIGMA]))
    return y


def stream(step_fn: StepFn, cold: State, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a whole series from a cold state and return all answers.

    Parameters
    ----------
    cold :
        The state before the first step.
    x : (T, F)
        Features in physical units, those that the network wants.

    Returns
    -------
    (T, K) [m3 m-3]
    """
    state, answers = cold, []
    for row in x:
        y, state = step_fn(row, state)
        answers.append(y)
    return np.array(answers, dtype=np.float32)


def run_golden(bundle: Bundle, step_fn: StepFn) -> float:
    """Return the largest absolute error of the golden stream on this runtime [m3 m-3] or NaN."""
    answers = stream(step_fn, bundle.cold_state(), bundle.golden_inputs)
    if answers.shape != bundle.golden_outputs.shape:
        return float("nan")
    return float(np.max(np.abs(answers - bundle.golden_outputs)))


def check_golden(bundle: Bundle, step_fn: StepFn) -> float:
    """Verify the golden vectors of a bundle on this runtime.

    A runtime may load a model that it does not understand and return wrong answers, without error.

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
