"""Training: from the seed alone, through interruptions, with a state carried over years."""

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

SMALL = {"epochs": 4, "batch": 4, "chunk": 60, "hidden": 6, "spin_up_steps": 20}
SCRIPT = """
import sys
from pathlib import Path
from epithermal_host import train
train.run(Path(sys.argv[1]), train.TrainConfig(**{config}), progress=False)
"""


@pytest.fixture(scope="module")
def train():
    from epithermal_host import train

    return train


def weights_of(folder):
    with np.load(folder / "network.npz") as file:
        return {name: file[name] for name in file.files}


def wait_for(path, process):
    for _ in range(600):
        if path.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    assert path.exists()


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(train, make_run):
    whole, killed = (make_run(soils=12, days=180, seed=4) for _ in range(2))
    config = SMALL | {"epochs": 30}
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


def test_plan_of_an_epoch_depends_on_seed_and_epoch_alone_and_covers_every_soil(train):
    config = train.TrainConfig(batch=256)
    batches, rain, et0 = train.epoch_plan(config, 3, 1000)
    again, rain_again, _ = train.epoch_plan(config, 3, 1000)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert np.array_equal(rain, rain_again)
    assert sorted(np.concatenate(batches)) == list(range(1000))
    assert [len(b) for b in batches] == [250] * 4
    assert np.mean(rain & et0) == pytest.approx(0.3 + 0.7 * 0.1**2, abs=0.04)
    assert np.mean(rain) == pytest.approx(0.3 + 0.7 * 0.1, abs=0.04)
    assert not np.array_equal(batches[0], train.epoch_plan(config, 4, 1000)[0][0])


def test_it_learns_what_the_inversion_cannot_know(finished_run):
    report = json.loads((finished_run / "train.json").read_text())
    best = report["history"][report["best_epoch"]]
    assert best["rmse_weather"] < 0.8 * report["rmse_inversion"]
    assert best["rmse_weather"] < best["rmse_counts"]


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


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04broken"])
def test_a_missing_or_damaged_data_set_is_one_clear_line(train, tmp_path, content):
    if content is not None:
        (tmp_path / "dataset.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"dataset\.npz: .*(again|first)") as caught:
        train.run(tmp_path, train.TrainConfig(**SMALL), progress=False)
    assert "\n" not in str(caught.value)


def test_a_data_set_with_other_features_is_refused(train, make_run):
    folder = make_run(soils=12, days=120)
    with np.load(folder / "dataset.npz") as file:
        arrays = dict(file)
    arrays["feature_names"] = arrays["feature_names"][::-1]
    np.savez(folder / "dataset.npz", **arrays)
    with pytest.raises(ConfigError, match="features et0_known"):
        train.run(folder, train.TrainConfig(**SMALL), progress=False)


def test_a_spin_up_longer_than_the_series_is_refused(train, make_run):
    config = train.TrainConfig(**SMALL | {"spin_up_steps": 500})
    with pytest.raises(ConfigError, match="spin_up_steps"):
        train.run(make_run(soils=12, days=120), config, progress=False)
