"""The two graphs are one network."""

from __future__ import annotations

import numpy as np
import pytest

from epithermal_edge import runtime
from epithermal_host.series import NAMES, mask_weather
from epithermal_host.trial import answer

DAYS = 3 * 365 + 1


@pytest.fixture(scope="module")
def network():
    from epithermal_host import network

    return network


@pytest.fixture(scope="module")
def features(make_run):
    with np.load(make_run(soils=6, days=DAYS, seed=3) / "dataset.npz") as file:
        return file["features"].astype(np.float32)


@pytest.fixture(scope="module")
def weights(network, features):
    """Weights as lively as those of a trained network."""
    scaling = network.fit_scaling(features)
    model = network.build(32, scaling, seed=5)
    rng = np.random.default_rng(5)
    values = [v + 0.3 * rng.standard_normal(v.shape) for v in model.get_weights()]
    model.set_weights(values)
    return network.get_weights(model, scaling)


@pytest.mark.parametrize("name", runtime.MODULES)
def test_three_years_streamed_step_by_step_equal_the_sequence_graph(
    network, weights, features, tmp_path, name
):
    if name not in runtime.available():
        pytest.skip(f"{name} is not installed")
    from epithermal_host.quantize import convert

    model = tmp_path / "float32.tflite"
    model.write_bytes(convert("float32", weights, None))
    expected = network.sequence_function(network.from_weights(weights))(features[:2])
    assert np.ptp(expected[..., 0] - features[:2, :, network.THETA_INV]) > 0.01  # it is no identity
    np.testing.assert_allclose(answer(model, name, features[:2]), expected, rtol=0, atol=1e-5)


def test_an_untrained_network_is_the_inversion(network, features):
    model = network.build(8, network.fit_scaling(features), seed=1)
    answers = network.sequence_function(model)(features)
    np.testing.assert_array_equal(answers[..., 0], features[..., network.THETA_INV])
    assert (answers[..., 1] > 0).all()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(network, features):
    scaling = network.fit_scaling(features)
    first, again, other = (network.build(8, scaling, seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_unknown_weather_and_flags_are_not_moved_by_the_scaling(network, features):
    scaling = network.fit_scaling(features)
    plain = [i for i, name in enumerate(NAMES) if not name.startswith("theta")]
    assert (scaling.offset[plain] == 0).all()
    assert all(scaling.scale[i] == 1 for i in plain if not NAMES[i].endswith("_mm"))


def test_scaling_is_finite_where_a_data_set_knows_no_weather(network, features):
    scaling = network.fit_scaling(mask_weather(features, True, True))
    assert np.isfinite(scaling.scale).all() and (scaling.scale > 0).all()


def test_states_in_numpy_are_those_of_the_graph(network, weights, features):
    h, c = network.states(weights, features[0])
    model = network.from_weights(weights)
    zero = np.zeros((1, weights.hidden), dtype=np.float32)
    _, h_graph, c_graph = model([features[:1, :-1], zero, zero])
    np.testing.assert_allclose(h[-1], h_graph[0], atol=1e-4)
    np.testing.assert_allclose(c[-1], c_graph[0], atol=1e-4)


def test_weights_survive_a_file(network, weights):
    back = network.load_weights(network.save_bytes(weights))
    for name in network.WEIGHT_NAMES:
        np.testing.assert_array_equal(getattr(back, name), getattr(weights, name))
    np.testing.assert_array_equal(back.scaling.scale, weights.scaling.scale)
