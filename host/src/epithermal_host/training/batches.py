"""Prepare the batches of an epoch from the data set on disk, while the network trains on another.

Memory holds two batches, however many soils the data set has.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epithermal_host.arrays import Array32, Integers, Mask
from epithermal_host.config.learning import TrainConfig
from epithermal_host.training.augmentation import perturb_description, perturb_weather
from epithermal_host.training.scaling import Scaling
from epithermal_host.training.series import LAYERS, NAMES, Dataset, Series, mask
from epithermal_host.training.train_step import LABELED


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Whole series of B soils, as the optimizer step needs them."""

    features: Array32  # (B, T, F) perturbed and masked
    label: Array32  # (B, T, len(LABELED)) [m3 m-3]
    weight: Array32  # (B, T, len(LABELED)) 0 without label


def epoch_plan(
    config: TrainConfig, epoch: int, soils: int
) -> tuple[list[Integers], dict[str, Mask]]:
    """Draw the batches of an epoch and the inputs hidden from each soil, from (seed, epoch) alone.

    Returns
    -------
    list of (B,), dict of (S,)
        Rows of each batch; the arguments of `mask`.
    """
    rng = np.random.default_rng((config.seed, epoch))
    order = rng.permutation(soils)
    batches = np.array_split(order, max(1, -(-soils // config.batch)))
    both = rng.random(soils) < config.mask_both
    rain = both | (rng.random(soils) < config.mask_one)
    et0 = both | (rng.random(soils) < config.mask_one)
    soil = rng.random(soils) < config.mask_soil
    cover = rng.random(soils) < config.mask_cover
    return batches, {"rain": rain, "et0": et0, "soil": soil, "cover": cover}


def epoch_batches(
    dataset: Dataset, rows: Integers, config: TrainConfig, epoch: int, scaling: Scaling
) -> Iterator[Batch]:
    """Yield the batches of an epoch; one thread prepares the next one meanwhile.

    Parameters
    ----------
    rows : (N,)
        Soils of the data set to train on.
    scaling :
        Of all features.
    """
    plan, hidden = epoch_plan(config, epoch, len(rows))

    def prepare(number: int) -> Batch:
        chosen = plan[number]
        series = dataset.read(rows[chosen])
        features = perturb_description(series.features, config, epoch, scaling, number)
        features = perturb_weather(features, config, epoch, number)
        masks = {name: soils[chosen] for name, soils in hidden.items()}
        return Batch(mask(features, **masks), *labels(series, config))

    with ThreadPoolExecutor(1) as pool:
        waiting: Future[Batch] = pool.submit(prepare, 0)
        for number in range(len(plan)):
            batch = waiting.result()
            if number + 1 < len(plan):
                waiting = pool.submit(prepare, number + 1)
            yield batch


def flag_exact_n(series: Series) -> Mask:
    """Flag the soils (S,) whose station has an exact N of COSMIC."""
    known: NDArray[np.bool_] = series.features[:, 0, NAMES.index("cosmic_n_sigma")] == 0.0
    return known


def labels(series: Series, config: TrainConfig) -> tuple[Array32, Array32]:
    """Return labels and weights of the days, both (S, T, len(LABELED)); weight 0 without label."""
    layers = (series.layers[..., LAYERS.index(name)] for name in LABELED[1:])
    label = np.stack([series.theta, *layers], axis=-1)
    weight = np.isfinite(label).astype(np.float32)
    weight[:, : config.spin_up_steps] *= config.spin_up_weight
    weight[series.snow] *= config.snow_weight
    weight[flag_exact_n(series)] *= config.known_weight
    return np.nan_to_num(label).astype(np.float32), weight
