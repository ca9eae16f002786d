"""Training depends on the seed alone, survives interruptions and carries its state over years."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_host.training import batches as training_batches
from epithermal_host.training import frameworks, kinds, lstm
from epithermal_host.training.network import read_weights
from epithermal_host.training.scaling import fit_scaling
from epithermal_host.training.series import NAMES, TEST, VALIDATION, counts_alone, mask, read_series

SMALL = {"epochs": 4, "batch": 4, "chunk": 60, "hidden": 6, "spin_up_steps": 20}
SCRIPT = """
import sys
from pathlib import Path
from epithermal_host.training import train
train.run(Path(sys.argv[1]), train.TrainConfig(**{config}), progress=False)
"""


@pytest.fixture(scope="module")
def train():
    from epithermal_host.training import train

    return train


def weights_of(folder):
    with np.load(folder / "network.npz") as file:
        return {name: file[name] for name in file.files}


def wait_for(path, process):
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)
    assert path.exists()


def test_a_killed_training_resumes_and_ends_with_the_same_weights(train, make_run):
    whole, killed = (make_run(soils=12, days=180, seed=4) for _ in range(2))
    config = SMALL | {"epochs": 30, "average": 0.9}
    train.run(whole, train.TrainConfig(**config), progress=False)
    command = [sys.executable, "-c", SCRIPT.format(config=config), str(killed)]
    process = subprocess.Popen(command, start_new_session=True)
    wait_for(killed / "train" / "checkpoint.npz", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "network.npz").exists()
    result = train.run(killed, train.TrainConfig(**config), progress=False)
    assert 1 <= result.resumed_at < 30
    expected = weights_of(whole)
    for name, value in weights_of(killed).items():
        np.testing.assert_array_equal(value, expected[name])


def test_a_finished_training_is_not_repeated_but_another_seed_is(train, make_run):
    folder = make_run(soils=12, days=180)
    config = train.TrainConfig(**SMALL)
    first = train.run(folder, config, progress=False)
    again = train.run(folder, config, progress=False)
    assert again.resumed_at == 4 and again.history == first.history
    other = train.run(folder, dataclasses.replace(config, seed=2), progress=False)
    assert other.resumed_at == 0 and other.history != first.history


def test_the_learning_rate_ends_with_the_last_update_of_the_last_epoch(train, make_run):
    folder = make_run(soils=12, days=180)
    config = train.TrainConfig(**SMALL | {"batch": 100})  # of fewer soils: 3 chunks an epoch
    optimizer = train._Trainer(config, train.open_dataset(folder)).optimizer
    rates = []
    for update in (0, 11, 12):
        optimizer.iterations.assign(update)
        rates.append(float(optimizer.learning_rate) / config.learning_rate)
    assert rates[::2] == pytest.approx([1.0, config.final_rate]) and rates[1] > 1.1 * rates[2]


def test_plan_of_an_epoch_depends_on_seed_and_epoch_alone_and_covers_every_soil(train):
    config = train.TrainConfig(batch=256)
    batches, hidden = training_batches.epoch_plan(config, 3, 1000)
    again, hidden_again = training_batches.epoch_plan(config, 3, 1000)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert all(np.array_equal(hidden[name], hidden_again[name]) for name in hidden)
    rain, et0, soil = (hidden[name] for name in ("rain", "et0", "soil"))
    assert sorted(np.concatenate(batches)) == list(range(1000))
    assert [len(b) for b in batches] == [250] * 4
    assert np.mean(rain & et0) == pytest.approx(0.3 + 0.7 * 0.1**2, abs=0.04)
    assert np.mean(rain) == pytest.approx(0.3 + 0.7 * 0.1, abs=0.04)
    assert np.mean(soil) == pytest.approx(0.5, abs=0.04)
    assert np.mean(soil & rain) == pytest.approx(0.5 * 0.37, abs=0.04)
    assert not np.array_equal(batches[0], training_batches.epoch_plan(config, 4, 1000)[0][0])


def test_each_input_is_hidden_at_its_own_rate(train):
    config = train.TrainConfig(mask_both=0.0, mask_one=0.1, mask_soil=0.2, mask_cover=0.7)
    _, hidden = training_batches.epoch_plan(config, 0, 4000)
    rates = {"rain": 0.1, "et0": 0.1, "soil": 0.2, "cover": 0.7}
    assert {name: rows.mean() for name, rows in hidden.items()} == pytest.approx(rates, abs=0.03)


def test_it_beats_the_inversion_and_uses_each_input(finished_run):
    report = json.loads((finished_run / "train.json").read_text())
    best = report["history"][report["best_epoch"]]
    assert best["rmse_weather"] < 0.8 * report["rmse_inversion"]
    assert best["rmse_all"] < best["rmse_weather"] < best["rmse_counts"]
    scores = [e["rmse_counts"] + e["rmse_weather"] + e["rmse_all"] for e in report["history"]]
    assert report["best_epoch"] == int(np.argmin(scores))


def test_the_ninety_percent_interval_holds_ninety_percent_of_the_validation_days(finished_run):
    validation = read_series(finished_run).part(VALIDATION)
    weights = read_weights(finished_run)
    answer = kinds.sequence(weights)
    inside = []
    known = validation.features
    for features in (counts_alone(known), mask(known, soil=True), known):
        y = answer(features)[:, 40:]  # after the spin-up
        error = np.abs(y[..., 0] - validation.theta[:, 40:])
        inside.append(error <= 1.6449 * y[..., 1])
    assert np.mean(inside) == pytest.approx(0.9, abs=0.001)
    report = json.loads((finished_run / "train.json").read_text())
    assert report["sigma_scale"] == pytest.approx(weights.sigma_scale, rel=1e-6)
    assert 1.0 not in weights.sigma_scale


def test_the_scale_of_sigma_corrects_an_overconfident_network(train):
    rng = np.random.default_rng(1)
    learnt = rng.uniform(0.005, 0.02, 100_000)
    error = 3.0 * learnt * rng.standard_normal(learnt.size)
    scale = train.covering_scale(train.needed_scale(error, learnt + 0.001))
    sigma = 0.001 + scale * learnt
    assert np.mean(np.abs(error) <= 1.6449 * sigma) == pytest.approx(0.9, abs=1e-4)
    assert scale == pytest.approx(3.0, rel=0.05)


def test_the_layers_are_learnt_with_the_whole(finished_run):
    test = read_series(finished_run).part(TEST)
    y = kinds.sequence(read_weights(finished_run))(test.features)[:, 40:]
    inverted = test.features[:, 40:, NAMES.index("theta_inv")]
    for i, column in enumerate((2, 3, 4)):
        truth = test.layers[:, 40:, i]
        rmse = np.sqrt(np.mean((y[..., column] - truth) ** 2))
        assert rmse < 0.8 * np.sqrt(np.mean((inverted - truth) ** 2))


def update_once(train, n_sigma=0.02, **settings):
    """Run one gradient step on noise; return the loss, and weights before and after."""
    config = train.TrainConfig(**SMALL | settings)
    rng = np.random.default_rng(2)
    x = rng.random((4, 30, len(NAMES)), dtype=np.float32)
    x[..., NAMES.index("cosmic_n_sigma")] = n_sigma
    scaling = fit_scaling(x)
    model, average = (lstm.build(config.hidden, NAMES, scaling, 1) for _ in range(2))
    optimizer = frameworks.load()[0].optimizers.Adam(1e-2)
    optimizer.build(model.trainable_variables)
    update = train.update_function(model, average, optimizer, config)
    label = np.repeat(x[..., :1], 3, axis=-1) + 0.05 * np.array([1.0, 2.0, 4.0], dtype=np.float32)
    zero = np.zeros((4, config.hidden), dtype=np.float32)
    before = model.get_weights()
    weight = np.ones((4, 30, 3), dtype=np.float32)
    loss = float(update(x, label.astype(np.float32), weight, zero, zero)[0])
    return loss, before, model.get_weights(), average.get_weights()


def test_the_loss_is_that_of_0_30_cm_and_a_part_of_the_layers(train):
    plain = {"sigma_weight": 0.0}
    loss, *_ = update_once(train, **plain, layers_weight=0.2)
    assert loss == pytest.approx(1.0 + 0.2 * (2.0**2 + 4.0**2) / 2, rel=1e-4)
    loss, *_ = update_once(train, **plain, layers_weight=0.0)
    assert loss == pytest.approx(1.0, rel=1e-4)


def test_large_errors_count_linearly_with_huber(train):
    loss, *_ = update_once(train, sigma_weight=0.0, layers_weight=0.2, huber=3.0)
    assert loss == pytest.approx(1.0 + 0.2 * (2.0**2 + (2 * 3.0 * 4.0 - 3.0**2)) / 2, rel=1e-4)


def test_a_constant_error_is_forgiven_only_where_n_is_not_known(train):
    plain = {"sigma_weight": 0.0, "layers_weight": 0.0, "anomaly": 0.8}
    forgiven, *_ = update_once(train, **plain)
    assert forgiven == pytest.approx((1.0 - 0.8) ** 2, rel=1e-3)
    whole, *_ = update_once(train, n_sigma=0.0, **plain)
    assert whole == pytest.approx(1.0, rel=1e-4)


def test_weather_is_perturbed_only_where_n_is_not_exact(train):
    from epithermal_host.training import augmentation

    rng = np.random.default_rng(4)
    features = rng.uniform(0.1, 5.0, (300, 40, len(NAMES))).astype(np.float32)
    rain, et0 = NAMES.index("rain_mm"), NAMES.index("et0_mm")
    features[::2, :, NAMES.index("cosmic_n_sigma")] = 0.0
    config = train.TrainConfig(weather_error=0.2)
    one, two = (augmentation.perturb_weather(features, config, epoch) for epoch in (1, 2))
    np.testing.assert_array_equal(one, augmentation.perturb_weather(features, config, 1))
    np.testing.assert_array_equal(one[::2], features[::2])
    others = [i for i in range(len(NAMES)) if i not in (rain, et0)]
    np.testing.assert_array_equal(one[..., others], features[..., others])
    error = np.log(one[1::2] / features[1::2])
    assert error[..., et0].std() == pytest.approx(0.2, rel=0.2)
    assert error[..., et0].std(axis=1).max() < 1e-5  # the same on every day
    assert error[..., rain].std(axis=1).mean() == pytest.approx(0.4, rel=0.1)
    assert not np.array_equal(one, two)
    assert augmentation.perturb_weather(features, train.TrainConfig(), 1) is features


def test_a_layer_without_label_does_not_spoil_the_training(train, make_run):
    folder = make_run(soils=12, days=120)
    with np.load(folder / "dataset.npz") as file:
        arrays = dict(file)
    arrays["theta_0_10"] = np.full_like(arrays["theta"], np.nan)
    np.savez(folder / "dataset.npz", **arrays)
    result = train.run(folder, train.TrainConfig(**SMALL), progress=False)
    assert np.isfinite([e.loss for e in result.history]).all()


def test_the_saved_weights_are_a_moving_average_and_without_decay_the_last(train):
    _, before, after, average = update_once(train, average=0.998)
    decay = 2.0 / 11.0  # after one update; 0.998 comes later
    for old, new, mean in zip(before, after, average, strict=True):
        np.testing.assert_allclose(mean, decay * old + (1 - decay) * new, atol=1e-6)
    _, _, after, average = update_once(train, average=0.0)
    assert all(np.array_equal(a, b) for a, b in zip(after, average, strict=True))


def test_patience_ends_a_training_that_does_not_improve(train, make_run):
    folder = make_run(soils=12, days=120)
    config = train.TrainConfig(**SMALL | {"epochs": 50, "learning_rate": 0.0, "patience": 3})
    result = train.run(folder, config, progress=False)
    assert len(result.history) == 4 and result.best_epoch == 0
    assert result.best.rmse_counts == pytest.approx(result.rmse_inversion, rel=1e-6)


def test_a_day_without_label_does_not_spoil_the_training(train, make_run):
    folder = make_run(soils=12, days=120)
    with np.load(folder / "dataset.npz") as file:
        arrays = dict(file)
    arrays["theta"][:, 50:60] = np.nan
    np.savez(folder / "dataset.npz", **arrays)
    result = train.run(folder, train.TrainConfig(**SMALL), progress=False)
    assert np.isfinite(result.best.score)


def test_divergence_is_one_clear_line(train, make_run):
    folder = make_run(soils=12, days=120)
    with np.load(folder / "dataset.npz") as file:
        arrays = dict(file)
    arrays["theta"][:] = 1e30
    np.savez(folder / "dataset.npz", **arrays)
    with pytest.raises(EpithermalError, match=r"diverged.*learning_rate.*absurd"):
        train.run(folder, train.TrainConfig(**SMALL), progress=False)


def test_days_with_snow_weigh_little_in_the_loss_and_are_not_judged(train, make_run):
    folder = make_run(soils=12, days=120)
    with np.load(folder / "dataset.npz") as file:
        arrays = dict(file)
    arrays["snow_mm"][:, 60:70] = 12.0
    np.savez(folder / "dataset.npz", **arrays)
    series = read_series(folder)
    config = train.TrainConfig(**SMALL, snow_weight=0.25)
    _, weight = training_batches.labels(series, config)
    assert series.snow[:, 60:71].all() and series.snow.sum() == 12 * 11  # and the day after
    assert np.all(weight[:, 60:71] == 0.25) and np.all(weight[:, 71:] == 1.0)
    assert np.all(weight[:, 20:60] == 1.0)
    before = train.run(folder, config, progress=False).rmse_inversion
    arrays["theta"][:, 60:71] += 0.3  # any value: days with snow are not scored
    np.savez(folder / "dataset.npz", **arrays)
    assert train.run(folder, config, progress=False).rmse_inversion == before


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04broken"])
def test_a_missing_or_damaged_data_set_is_one_clear_line(train, tmp_path, content):
    if content is not None:
        (tmp_path / "dataset.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"dataset\.npz: .*(again|first)") as caught:
        train.run(tmp_path, train.TrainConfig(**SMALL), progress=False)
    assert "\n" not in str(caught.value)
    remedy = "no data set: run `epithermal-host dataset" if content is None else "again"
    assert remedy in str(caught.value)


def test_a_data_set_with_other_features_is_rejected(train, make_run):
    folder = make_run(soils=12, days=120)
    with np.load(folder / "dataset.npz") as file:
        arrays = dict(file)
    arrays["feature_names"] = arrays["feature_names"][::-1]
    np.savez(folder / "dataset.npz", **arrays)
    with pytest.raises(ConfigError, match="features radiation_mm"):
        train.run(folder, train.TrainConfig(**SMALL), progress=False)


def test_a_spin_up_longer_than_the_series_is_rejected(train, make_run):
    config = train.TrainConfig(**SMALL | {"spin_up_steps": 500})
    with pytest.raises(ConfigError, match="spin_up_steps"):
        train.run(make_run(soils=12, days=120), config, progress=False)


def test_the_site_description_has_another_error_in_each_epoch_and_unknown_stays_unknown(train):
    from epithermal_host.training import augmentation

    rng = np.random.default_rng(3)
    features = rng.uniform(0.1, 0.4, (40, 30, len(NAMES))).astype(np.float32)
    unknown = [i for i, name in enumerate(NAMES) if name.startswith(("soil_", "cover_"))]
    features[20:, :, unknown] = 0.0
    scaling = fit_scaling(features)
    config = train.TrainConfig(jitter=0.1)
    one, two = (
        augmentation.perturb_description(features, config, epoch, scaling) for epoch in (1, 2)
    )
    np.testing.assert_array_equal(
        one, augmentation.perturb_description(features, config, 1, scaling)
    )
    columns = [
        i for group in augmentation.GROUPS.values() for i in range(*group.indices(len(NAMES)))
    ]
    untouched = [i for i in range(len(NAMES)) if i not in columns]
    np.testing.assert_array_equal(one[..., untouched], features[..., untouched])
    assert NAMES.index("cosmic_n_sigma") in untouched and NAMES.index("soil_known") in untouched
    assert np.all(one[20:, :, columns[2:]] == 0.0)
    error = (one - features)[:20][..., columns] * scaling.scale[columns]
    assert np.abs(error - error[:, :1]).max() < 1e-4  # one error a soil, not one a day
    assert error[:, 0].std() == pytest.approx(0.1, rel=0.25)
    assert not np.array_equal(one, two)
    assert augmentation.perturb_description(features, train.TrainConfig(), 1, scaling) is features


def test_soils_whose_n_is_exact_weigh_more_with_known_weight(train, make_run):
    folder = make_run(soils=12, days=120)
    with np.load(folder / "dataset.npz") as file:
        arrays = dict(file)
    arrays["features"][:, :, NAMES.index("cosmic_n_sigma")] = 0.02
    arrays["features"][:4, :, NAMES.index("cosmic_n_sigma")] = 0.0
    np.savez(folder / "dataset.npz", **arrays)
    series = read_series(folder)
    assert training_batches.flag_exact_n(series).tolist() == [True] * 4 + [False] * 8
    _, weight = training_batches.labels(series, train.TrainConfig(**SMALL, known_weight=3.0))
    assert np.all(weight[:4, 20:] == 3.0) and np.all(weight[4:, 20:] == 1.0)


def test_the_weights_of_errors_by_their_sigma_are_one_in_the_mean(train):
    plain = {"sigma_weight": 0.0, "layers_weight": 0.0}
    equal, *_ = update_once(train, **plain, sigma_power=0.0)
    weighed, *_ = update_once(train, **plain, sigma_power=1.0)
    assert weighed == pytest.approx(equal, rel=1e-5)  # one sigma for all: 1 in the mean


def test_a_training_can_start_from_a_network_and_rejects_another_width(
    train, make_run, finished_run
):
    folder = make_run(soils=12, days=120)
    (folder / "first.npz").write_bytes((finished_run / "network.npz").read_bytes())
    config = SMALL | {"hidden": 32, "epochs": 1, "learning_rate": 0.0, "begin_with": "first.npz"}
    train.run(folder, train.TrainConfig(**config), progress=False)
    first, saved = weights_of(finished_run), weights_of(folder)
    for name in ("kernel", "recurrent", "bias", "head", "head_bias", "offset", "scale"):
        np.testing.assert_array_equal(saved[name], first[name], err_msg=name)
    with pytest.raises(ConfigError, match="hidden = 32"):
        train.run(folder, train.TrainConfig(**config | {"hidden": 8}), progress=False)
