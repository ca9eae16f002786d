"""Polyphase streaming: 24 networks in one, each taking a daily step at its own hour."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.errors import BundleError
from epithermal_edge.inference import estimator, runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.features import FEATURES, Windows

BUCKET = Path(__file__).resolve().parents[2] / "golden" / "bucket-0.1.0"
COLUMNS = open_bundle(BUCKET).columns


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUCKET)


@pytest.fixture(scope="module")
def step_fn(bundle):
    return runtime.load(bundle)


def window(hour, x, restart=False):
    """A window whose features are bucket's x; any that bucket does not name is 0."""
    one = np.array([[np.nan]])
    features = np.zeros(len(FEATURES))
    features[COLUMNS] = x
    return Windows(
        hour=np.array([hour]),
        features=features[None, None],
        theta_classical=one,
        theta_classical_sigma=one,
        rate_cph=one,
        rate_sigma_cph=one,
        temperature_c=one,
        restart=np.array([[restart]]),
        quality=np.array([[0]]),
        closed_by=np.array([0]),
    )


def step(step_fn, bundle, state, windows):
    """Run one window; return the new state and its answer."""
    state, y, age = estimator.run(step_fn, bundle, state, windows)
    assert age == [state.age[windows.hour[0] % 24]]
    return state, y[0]


def test_each_phase_of_the_day_is_a_daily_stream_of_its_own(bundle, step_fn):
    rng = np.random.default_rng(2)
    days = 20
    x = bundle.golden_inputs[: days * 24].copy()
    x = np.concatenate([x, x])[: days * 24]
    x[:, 0] += rng.normal(0, 0.02, len(x)).astype(np.float32)
    state, answers = estimator.start(bundle), []
    for hour, row in enumerate(x):
        state, y = step(step_fn, bundle, state, window(hour + 411, row))
        answers.append(y)
    for phase in range(24):
        alone = estimator.stream(step_fn, bundle.cold_state(), x[phase::24])
        np.testing.assert_array_equal(np.array(answers)[phase::24], alone)
    assert (state.age == days).all()


def test_a_step_leaves_the_state_that_it_was_given(bundle, step_fn):
    state = estimator.start(bundle)
    new, _ = step(step_fn, bundle, state, window(5, bundle.golden_inputs[0]))
    assert not any(tensor.any() for tensor in state.tensors) and not state.age.any()
    assert all(tensor[5].any() for tensor in new.tensors) and new.age[5] == 1
    others = np.arange(24) != 5
    assert not any(tensor[others].any() for tensor in new.tensors) and not new.age[others].any()


def test_a_restart_begins_its_phase_from_zero_and_no_other(bundle, step_fn):
    state = estimator.start(bundle)
    for hour in range(72):
        state, _ = step(step_fn, bundle, state, window(hour, bundle.golden_inputs[hour]))
    x = bundle.golden_inputs[80]
    again, y = step(step_fn, bundle, state, window(72, x, restart=True))
    _, cold = step(step_fn, bundle, estimator.start(bundle), window(72, x))
    np.testing.assert_array_equal(y, cold)
    assert again.age[0] == 1 and (again.age[1:] == 3).all()
    for after, before in zip(again.tensors, state.tensors, strict=True):
        np.testing.assert_array_equal(after[1:], before[1:])


def test_sigma_is_that_of_what_is_shown_while_nothing_was_counted(bundle, step_fn):
    names = [feature.name for feature in bundle.features]
    x = bundle.golden_inputs[80].copy()
    x[names.index("gap")], x[names.index("theta_inv_sigma")] = 1.0, 0.2
    state = estimator.start(bundle)
    _, void = step(step_fn, bundle, state, window(72, x, restart=True))
    _, held = step(step_fn, bundle, state, window(72, x))
    assert void[1] == pytest.approx(0.2) and held[1] < 0.2
    np.testing.assert_array_equal(np.delete(void, 1), np.delete(held, 1))


def test_sigma_is_that_of_the_network_at_a_restart_with_a_count(bundle, step_fn):
    names = [feature.name for feature in bundle.features]
    x = bundle.golden_inputs[80].copy()
    x[names.index("gap")], x[names.index("theta_inv_sigma")] = 0.0, 0.2
    _, cold = step(step_fn, bundle, estimator.start(bundle), window(72, x, restart=True))
    y, _ = step_fn(x, bundle.cold_state())
    assert cold[1] == y[1] < 0.2


def test_a_window_of_two_sites_is_a_mistake_of_the_programmer(bundle, step_fn):
    two = dataclasses.replace(
        window(0, bundle.golden_inputs[0]), features=np.zeros((1, 2, len(FEATURES)))
    )
    with pytest.raises(ValueError, match="one site"):
        step(step_fn, bundle, estimator.start(bundle), two)


def test_the_golden_vectors_pass_on_the_runtime_at_hand(bundle, step_fn):
    assert estimator.check_golden(bundle, step_fn) <= bundle.golden_tolerance


def test_golden_answers_of_another_shape_are_no_agreement_even_if_all_are_equal(bundle):
    columns = bundle.golden_outputs.shape[1]
    constant = lambda x, state: (np.full(columns, 0.25, dtype=np.float32), state)  # noqa: E731
    for outputs, agrees in ((bundle.golden_outputs, True), (bundle.golden_outputs[:, :1], False)):
        other = dataclasses.replace(bundle, golden_outputs=np.full(outputs.shape, 0.25))
        assert (estimator.run_golden(other, constant) == 0.0) == agrees
        if not agrees:
            with pytest.raises(BundleError, match="golden vectors fail"):
                estimator.check_golden(other, constant)


def test_an_error_equal_to_the_tolerance_is_allowed(bundle, step_fn):
    error = estimator.run_golden(bundle, step_fn)
    exact = dataclasses.replace(bundle, golden_tolerance=error)
    assert estimator.check_golden(exact, step_fn) == error


@pytest.mark.parametrize("wrong", [0.001, np.nan, np.inf])
def test_a_runtime_that_answers_otherwise_is_refused_by_name(bundle, step_fn, wrong):
    class Garbage:
        """A runtime that misreads the model without a word."""

        runtime = "strange"

        def __call__(self, x, state):
            y, state = step_fn(x, state)
            return y + np.float32(wrong), state

    with pytest.raises(BundleError, match=r"runtime strange: error .* allowed") as caught:
        estimator.check_golden(bundle, Garbage())
    assert "\n" not in str(caught.value)


def narrower(bundle):
    """The bundle as if its state were of 31 units."""
    network = bundle.networks[0]
    states = tuple(dataclasses.replace(state, shape=(31,)) for state in network.states)
    return dataclasses.replace(bundle, networks=(dataclasses.replace(network, states=states),))


def test_a_model_of_another_width_than_the_bundle_says_is_refused(bundle, step_fn):
    with pytest.raises(BundleError, match="refuses"):
        estimator.check_golden(narrower(bundle), step_fn)
    with pytest.raises(BundleError, match=r"input h of shape \(1, 32\), not \(1, 31\)"):
        runtime.load(narrower(bundle))
