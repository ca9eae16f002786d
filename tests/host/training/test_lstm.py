"""The sequence graph and the step graph compute the same network."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest

from epithermal_edge.inference import runtime
from epithermal_host.compute.isolated_runtime import answer
from epithermal_host.training import frameworks, head, kinds, lstm, network
from epithermal_host.training.scaling import fit_scaling
from epithermal_host.training.series import NAMES, counts_alone, mask

DAYS = 3 * 365 + 1
THETA_INV = NAMES.index("theta_inv")


@pytest.fixture(scope="module")
def features(make_run):
    with np.load(make_run(soils=6, days=DAYS, seed=3) / "dataset.npz") as file:
        return file["features"].astype(np.float32)


@pytest.fixture(scope="module")
def weights(features):
    """Return random weights of the size of a trained network's."""
    return lively(features, NAMES)


def lively(features, inputs):
    scaling = fit_scaling(features).of(network.columns(inputs))
    model = lstm.build(32, inputs, scaling, seed=5)
    rng = np.random.default_rng(5)
    values = [
        v + 0.3 * rng.standard_normal(v.shape).astype(np.float32) for v in model.get_weights()
    ]
    return kinds.weights_from_arrays("lstm", inputs, values, scaling, (1.3, 1.7))


@pytest.mark.parametrize("name", runtime.MODULES)
def test_three_years_streamed_step_by_step_equal_the_sequence_graph(
    weights, features, tmp_path, name
):
    if name not in runtime.available():
        pytest.skip(f"{name} is not installed")
    from epithermal_host.training.quantize import convert

    model = tmp_path / "float32.tflite"
    model.write_bytes(convert("float32", weights, None))
    expected = kinds.sequence(weights)(features[:2])
    assert np.ptp(expected[..., 0] - features[:2, :, THETA_INV]) > 0.01  # it is not the inversion
    np.testing.assert_allclose(
        answer(model, name, features[:2], kinds.state_tensors(weights)),
        expected,
        rtol=0,
        atol=1e-5,
    )


def test_an_untrained_network_is_the_inversion(features):
    model = lstm.build(8, NAMES, fit_scaling(features), seed=1)
    answers = kinds.sequence_function(model, NAMES)(features)
    inverted = features[..., THETA_INV]
    for column in (0, 2, 4):
        np.testing.assert_array_equal(answers[..., column], inverted)
    np.testing.assert_allclose(answers[..., 3], inverted, atol=1e-7)
    assert (answers[..., 1] > 0).all()


def test_the_upper_layers_add_up_to_the_whole(weights, features):
    y = kinds.sequence(weights)(features[:2])
    assert np.std(y[..., 2] - y[..., 3]) > 0.01  # they are not the same
    np.testing.assert_allclose(y[..., 0], (10 * y[..., 2] + 20 * y[..., 3]) / 30, atol=1e-6)


@pytest.mark.parametrize(("n_sigma", "factor"), [(0.0, 1.3), (0.02, 1.7)])
def test_the_scale_of_sigma_multiplies_all_but_its_floor(weights, features, n_sigma, factor):
    x = features[:1].copy()
    x[..., NAMES.index("cosmic_n_sigma")] = n_sigma
    learnt, scaled = (
        kinds.sequence(w)(x)
        for w in (dataclasses.replace(weights, sigma_scale=(1.0, 1.0)), weights)
    )
    floor = head.SIGMA_FLOOR
    np.testing.assert_allclose(scaled[..., 1] - floor, factor * (learnt[..., 1] - floor), rtol=1e-4)
    np.testing.assert_array_equal(np.delete(scaled, 1, axis=-1), np.delete(learnt, 1, axis=-1))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(features):
    scaling = fit_scaling(features)
    first, again, other = (lstm.build(8, NAMES, scaling, seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_unknown_weather_and_flags_are_not_moved_by_the_scaling(features):
    scaling = fit_scaling(features)
    moved = [NAMES[i] for i in np.flatnonzero(scaling.offset)]
    assert moved == [
        "theta_inv", "theta_inv_sigma", "bulk_density_g_cm3", "bound_water_g_g", "cosmic_n_sigma",
        "radiation_mm",
    ]  # fmt: skip
    flags = [i for i, name in enumerate(NAMES) if name == "gap" or name.endswith("_known")]
    assert (scaling.scale[flags] == 1).all()


def test_rain_and_soil_are_divided_by_their_rms_where_they_are_known(features):
    half = features.copy()
    half[::2] = mask(half[::2], rain=True, et0=True, soil=True, cover=True)
    scaling = fit_scaling(half)
    for name, flag in (
        ("rain_mm", "rain_known"),
        ("soil_log_ks", "soil_known"),
        ("cover_root_depth_cm", "cover_known"),
    ):
        known = half[..., NAMES.index(name)][half[..., NAMES.index(flag)] > 0]
        rms = np.sqrt(np.mean(np.square(known, dtype=np.float64)))
        assert scaling.scale[NAMES.index(name)] == pytest.approx(1 / rms, rel=1e-6)


def test_a_feature_that_is_constant_or_unknown_in_training_is_not_blown_up_elsewhere(features):
    constant = np.repeat(counts_alone(features)[:1, :1], 5, axis=1)
    scaling = fit_scaling(constant)
    for name, other in (
        ("bulk_density_g_cm3", 0.5),
        ("bound_water_g_g", 0.05),
        ("cosmic_n_sigma", 0.1),
        ("soil_log_ks", 1.0),
        ("soil_theta_s", 0.1),
        ("radiation_mm", 15.0),
        ("rain_mm", 20.0),
    ):
        assert scaling.scale[NAMES.index(name)] * other <= 20.0001


def test_states_in_numpy_are_those_of_the_graph(weights, features):
    h, c = lstm.states(weights, features[0])
    model = kinds.sequence_graph(weights)
    zero = np.zeros((1, lstm.hidden(weights)), dtype=np.float32)
    _, h_graph, c_graph = model([features[:1, :-1], zero, zero])
    np.testing.assert_allclose(h[-1], h_graph[0], atol=1e-4)
    np.testing.assert_allclose(c[-1], c_graph[0], atol=1e-4)


@pytest.mark.parametrize("hidden", [8, 48, 64, 100])
def test_no_part_of_the_kernel_is_large_enough_to_be_quantized(hidden):
    kernel = np.arange(len(NAMES) * 4 * hidden, dtype=np.float32).reshape(len(NAMES), -1)
    parts = lstm._in_parts(kernel)
    assert max(part.size for part in parts) < 1024
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), kernel)


def test_weights_survive_a_file(weights):
    back = network.load_weights(network.save_bytes(weights))
    assert (back.kind, back.inputs) == ("lstm", weights.inputs)
    assert tuple(back.arrays) == lstm.WEIGHT_NAMES
    for name, array in weights.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array)
    assert back.sigma_scale == pytest.approx((1.3, 1.7), rel=1e-7)
    np.testing.assert_array_equal(back.scaling.scale, weights.scaling.scale)


def test_a_file_of_0_1_0_is_an_lstm_of_all_features(weights):
    buffer = io.BytesIO()
    scaling = {"offset": weights.scaling.offset, "scale": weights.scaling.scale}
    np.savez(buffer, **scaling, sigma_scale=np.float32(1.5), **weights.arrays)
    back = network.load_weights(buffer.getvalue())
    assert (back.kind, back.inputs, back.sigma_scale) == ("lstm", NAMES, (1.5, 1.5))
    with pytest.raises(ValueError, match="other features: 20"):
        network.load_weights(_npz(scaling["offset"][:20], weights))


def _npz(offset, weights):
    buffer = io.BytesIO()
    np.savez(buffer, offset=offset, scale=offset, sigma_scale=np.float32(1.5), **weights.arrays)
    return buffer.getvalue()


THREE = ("gap", "theta_inv", "theta_inv_sigma")


def test_a_network_of_three_inputs_gets_these_alone_and_in_its_own_order(features, tmp_path):
    from epithermal_host.training.quantize import convert

    weights = lively(features, THREE)
    columns = weights.columns
    assert columns == [NAMES.index(name) for name in THREE]
    answer_of = kinds.sequence(weights)
    expected = answer_of(features[:2])
    other = features[:2].copy()
    other[..., [i for i in range(len(NAMES)) if i not in columns]] += 1.0
    np.testing.assert_array_equal(answer_of(other), expected)
    model = tmp_path / "three.tflite"
    model.write_bytes(convert("float32", weights, None))
    y = answer(model, "litert", features[:2][..., columns], kinds.state_tensors(weights))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


def test_a_network_without_the_error_of_n_among_its_inputs_has_one_scale_of_sigma(features):
    weights = lively(features, THREE)
    x = features[:1].copy()
    scaled = kinds.sequence(weights)(x)
    plain = kinds.sequence(dataclasses.replace(weights, sigma_scale=(9.0, 1.0)))(x)
    floor = head.SIGMA_FLOOR
    np.testing.assert_allclose(scaled[..., 1] - floor, 1.7 * (plain[..., 1] - floor), rtol=1e-4)


def test_outputs_and_gradients_are_those_of_the_lstm_of_keras(features):
    """TensorFlow registers the gradient of another order of gates for this operation."""
    keras, tf = frameworks.load()
    x = features[:5, :40, :7]
    h, c = (0.3 * np.ones((5, 6), dtype=np.float32) for _ in range(2))
    fused = lstm._fused_layer()(6, return_sequences=True, return_state=True)
    plain = keras.layers.LSTM(6, return_sequences=True, return_state=True, use_cudnn=False)
    fused(np.swapaxes(x, 0, 1), h, c), plain(x, initial_state=[h, c])
    rng = np.random.default_rng(1)
    values = [0.5 * rng.standard_normal(v.shape) for v in plain.get_weights()]
    weight = rng.standard_normal((5, 40, 6)).astype(np.float32)
    results = []
    for layer, call in (
        (fused, lambda h, c: fused(np.swapaxes(x, 0, 1), h, c)),
        (plain, lambda h, c: plain(x, initial_state=[h, c])),
    ):
        layer.set_weights(values)
        start = [tf.constant(h), tf.constant(c)]
        with tf.GradientTape() as tape:
            tape.watch(start)
            y, *after = call(*start)
            y = tf.transpose(y, (1, 0, 2)) if layer is fused else y
            loss = tf.reduce_sum(weight * y) + tf.reduce_sum(after[0] - 2.0 * after[1])
        results.append([y, *after, *tape.gradient(loss, [*layer.trainable_variables, *start])])
    assert len(results[0]) == 3 + 3 + 2
    for ours, theirs in zip(*results, strict=True):
        scale = np.abs(theirs).max()
        assert scale > 0.01
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6 * scale)
