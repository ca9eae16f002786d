"""Batches come from the disk: memory and steps of an epoch do not grow by another order."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from epithermal_host.config.learning import TrainConfig
from epithermal_host.training import batches, frameworks, lstm
from epithermal_host.training.scaling import fit_scaling
from epithermal_host.training.series import NAMES, TRAIN, mask, open_dataset, read_series
from epithermal_host.training.train_step import update_function

CONFIG = TrainConfig(batch=8, chunk=50, spin_up_steps=20)


def epoch_of(folder, config=CONFIG, epoch=0):
    dataset = open_dataset(folder)
    rows = dataset.part(TRAIN)
    scaling = fit_scaling(series.features for series in dataset.blocks(rows, 8))
    return batches.epoch_batches(dataset, rows, config, epoch, scaling)


def test_the_batches_are_the_series_of_the_plan_with_their_masks(make_run):
    folder = make_run(soils=30, days=100)
    train = read_series(folder, TRAIN)
    plan, hidden = batches.epoch_plan(CONFIG, 0, len(train.theta))
    got = list(epoch_of(folder))
    assert len(got) == len(plan) == 3
    for rows, batch in zip(plan, got, strict=True):
        masks = {name: soils[rows] for name, soils in hidden.items()}
        np.testing.assert_array_equal(batch.features, mask(train.features[rows], **masks))
        np.testing.assert_array_equal(batch.label[..., 0], train.theta[rows].astype(np.float32))
        assert batch.weight.shape == batch.label.shape


def test_every_batch_of_an_epoch_has_other_errors_and_the_same_in_the_next_run(make_run):
    folder = make_run(soils=30, days=100)
    config = TrainConfig(batch=8, jitter=0.1, weather_error=0.2)
    one, again = (list(epoch_of(folder, config)) for _ in range(2))
    other = list(epoch_of(folder, config, epoch=1))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a.features, b.features)
    assert not np.array_equal(one[0].features, other[0].features)
    column = NAMES.index("bulk_density_g_cm3")
    train = read_series(folder, TRAIN)
    plan, _ = batches.epoch_plan(config, 0, len(train.theta))
    errors = [
        (batch.features - train.features[rows])[:, 0, column]
        for rows, batch in zip(plan, one, strict=True)
    ]
    assert not np.isclose(errors[0][0], [e[0] for e in errors[1:]]).any()


def peak_of_an_epoch(folder):
    """Return the soils of an epoch, and the peak of the bytes allocated while its batches pass."""
    epoch = epoch_of(folder)
    tracemalloc.start()
    try:
        soils = sum(len(batch.features) for batch in epoch)
        return soils, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_four_times_the_soils_need_no_more_memory(make_run):
    small, large = (make_run(soils=soils, days=200) for soils in (60, 240))
    (few, low), (many, high) = map(peak_of_an_epoch, (small, large))
    assert (few, many) == (40, 160)
    assert high < 1.15 * low
    assert high < 0.4 * (large / "dataset.npz").stat().st_size


@pytest.mark.parametrize("days", [20, 200])
def test_the_operations_of_a_step_do_not_grow_with_its_days(days):
    config = TrainConfig(hidden=6)
    keras, tf = frameworks.load()
    scaling = fit_scaling(np.zeros((1, 2, len(NAMES)), dtype=np.float32))
    model, average = (lstm.build(6, NAMES, scaling, 1) for _ in range(2))
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    update = update_function(model, average, optimizer, config)
    x, label = tf.zeros((4, days, len(NAMES))), tf.zeros((4, days, 3))
    graph = update.get_concrete_function(x, label, label, tf.zeros((4, 6)), tf.zeros((4, 6))).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("BlockLSTMV2") == kinds.count("BlockLSTMGradV2") == 2  # two half-batches
    assert not any("While" in kind for kind in kinds)
