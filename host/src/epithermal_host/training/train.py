"""Train the network on whole multi-year series, with the state carried from chunk to chunk.

A network trained on one-year windows from a zero state fails on longer streams. Here each series
starts cold once; gradients stop at the borders of chunks, the state does not. An interrupted
training resumes after its last epoch and ends with the same weights.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_host.arrays import Z90, Array32
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.config.learning import TrainConfig as TrainConfig
from epithermal_host.training import checkpoint, frameworks, kinds
from epithermal_host.training.augmentation import perturb_description, perturb_weather
from epithermal_host.training.checkpoint import Epoch, Progress
from epithermal_host.training.head import SIGMA_FLOOR
from epithermal_host.training.network import (
    WEIGHTS,
    Weights,
    columns,
    read_weights,
    save_bytes,
)
from epithermal_host.training.scaling import fit_scaling
from epithermal_host.training.series import (
    LAYERS,
    NAMES,
    TRAIN,
    VALIDATION,
    Series,
    counts_alone,
    mask,
    read_series,
)
from epithermal_host.training.train_step import LABELED, update_function

CHECKPOINT = "train/checkpoint.npz"
REPORT = "train.json"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Result of a finished training."""

    history: tuple[Epoch, ...]
    best_epoch: int  # from 0
    resumed_at: int  # epochs already in the checkpoint when this run started
    rmse_inversion: float  # of the inversion on the validation soils [m3 m-3]
    sigma_scale: tuple[float, float]  # fitted on the validation soils: N exact, and not
    weights_path: Path
    wall_s: float  # of this run

    @property
    def best(self) -> Epoch:
        """Epoch whose weights are in network.npz."""
        return self.history[self.best_epoch]


def run(run_folder: Path, config: TrainConfig, *, progress: bool = True) -> TrainResult:
    """Train on RUN/dataset.npz; write RUN/network.npz and RUN/train.json.

    Parameters
    ----------
    run_folder :
        Contains dataset.npz. A checkpoint of the same data and config is resumed.
    progress :
        Show a progress bar on stderr.

    Raises
    ------
    ConfigError
        No usable data set, or `begin_with` names a network of another kind, width or inputs.
    EpithermalError
        The loss is not finite.
    """
    started = time.monotonic()
    series = read_series(run_folder)
    first = read_weights(run_folder / config.begin_with) if config.begin_with else None
    trainer = _Trainer(config, series, first)
    path = run_folder / CHECKPOINT
    mark = fingerprint(config, series, first)
    now = checkpoint.read(path, mark) or trainer.start()
    trainer.restore(now)
    resumed_at = len(now.history)
    with tqdm(
        total=config.epochs, initial=resumed_at, desc="train", unit="epoch", disable=not progress
    ) as bar:
        while not _finished(now, config):
            now = trainer.epoch(now)
            write_atomic(path, checkpoint.to_bytes(now, mark))
            last = now.history[-1]
            bar.set_postfix(counts=f"{last.rmse_counts:.4f}", all=f"{last.rmse_all:.4f}")
            bar.update()
    weights = trainer.finish(now)
    write_atomic(run_folder / WEIGHTS, save_bytes(weights))
    result = TrainResult(
        history=tuple(now.history),
        best_epoch=now.best_epoch,
        resumed_at=resumed_at,
        rmse_inversion=trainer.rmse_inversion,
        sigma_scale=weights.sigma_scale,
        weights_path=run_folder / WEIGHTS,
        wall_s=time.monotonic() - started,
    )
    write_json(run_folder / REPORT, _report(result, config, series))
    return result


def fingerprint(config: TrainConfig, series: Series, first: Weights | None = None) -> str:
    """Hash all that determines the weights: config, data, initial network, TensorFlow version."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    shape = ",".join(map(str, series.features.shape))
    initial = hashlib.sha256(save_bytes(first)).hexdigest() if first else ""
    _, tf = frameworks.load()
    return hashlib.sha256(
        f"{text} {series.data_hash} {shape} {tf.__version__} {initial}".encode()
    ).hexdigest()


def epoch_plan(
    config: TrainConfig, epoch: int, soils: int
) -> tuple[list[NDArray[np.int64]], dict[str, NDArray[np.bool_]]]:
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


def fit_sigma_scale(error: NDArray[Any], sigma: NDArray[Any]) -> float:
    """Fit the factor of sigma (without its floor) so that 90 % intervals hold 90 % of the errors.

    Parameters
    ----------
    error, sigma : (N,) [m3 m-3]
        Of streams not used in training; sigma before scaling.
    """
    learnt = np.maximum(sigma - SIGMA_FLOOR, 1e-6)
    needed = (np.abs(error) / Z90 - SIGMA_FLOOR) / learnt  # for the day to be inside its interval
    return float(max(np.quantile(needed, 0.9), 0.0))


class _Trainer:
    """Graph, optimizer and data of a training; all that changes is in `Progress`."""

    def __init__(self, config: TrainConfig, series: Series, first: Weights | None = None) -> None:
        keras, _ = frameworks.load()
        self.config = config
        self.inputs = config.inputs or NAMES
        self.train, self.validation = series.part(TRAIN), series.part(VALIDATION)
        self.scaling = fit_scaling(self.train.features)  # of all features
        if first:
            _check_same(first, config)
            self.scaling = self.scaling.replaced(first.columns, first.scaling)
        self.model, self.average = self._graph(), self._graph()
        if first:
            self.model.set_weights(list(first.arrays.values()))
        soils, days = self.train.theta.shape
        self.chunks = np.array_split(np.arange(days), max(1, round(days / config.chunk)))
        updates = max(1, -(-soils // config.batch)) * len(self.chunks)
        rate = keras.optimizers.schedules.CosineDecay(
            config.learning_rate, config.epochs * updates, alpha=config.final_rate
        )
        self.optimizer = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)
        self.optimizer.build(self.model.trainable_variables)
        self._sequence = kinds.sequence_function(self.average, self.inputs)
        self._update = update_function(self.model, self.average, self.optimizer, config)
        self.label, self.weight = _labels(self.train, config)
        judged = np.isfinite(self.validation.theta) & ~self.validation.snow
        judged[:, : config.spin_up_steps] = False
        if not judged.any():
            days, spin_up = judged.shape[1], config.spin_up_steps
            raise ConfigError(
                f"no validation day left of {days}: reduce [train] spin_up_steps = {spin_up}"
            )
        self.judged = judged
        known = np.where(flag_exact_n(self.validation), config.known_weight, 1.0)
        self.share = np.broadcast_to(known[:, None], judged.shape)[judged]
        inversion = self.validation.features[..., NAMES.index("theta_inv")]
        self.rmse_inversion = self._rmse(inversion.astype(np.float64))

    def _graph(self) -> Any:
        scaling = self.scaling.of(columns(self.inputs))
        kind = kinds.kind(self.config.network)
        return kind.build(self.config.hidden, self.inputs, scaling, self.config.seed)

    def start(self) -> Progress:
        weights = self.model.get_weights()
        optimizer = [v.numpy() for v in self.optimizer.variables]
        return Progress(weights, optimizer, weights, weights, [])

    def restore(self, now: Progress) -> None:
        self.model.set_weights(now.weights)
        self.average.set_weights(now.average)
        for variable, value in zip(self.optimizer.variables, now.optimizer, strict=True):
            variable.assign(value)

    def epoch(self, now: Progress) -> Progress:
        """Train on all training soils once, then score the validation soils."""
        config, number = self.config, len(now.history)
        batches, hidden = epoch_plan(config, number, len(self.train.theta))
        perturbed = perturb_description(self.train.features, config, number, self.scaling)
        features = mask(perturb_weather(perturbed, config, number), **hidden)
        losses = []
        for rows in batches:
            state = kinds.cold_state(self.model, len(rows))
            for days in self.chunks:
                part = np.ix_(rows, days)
                loss, *state = self._update(
                    features[part], self.label[part], self.weight[part], *state
                )
                losses.append(float(loss))
        loss = float(np.mean(losses))
        if not np.isfinite(loss):
            raise EpithermalError(
                f"training diverged in epoch {number} (loss is not finite): lower learning_rate"
                " in [train], or check the data set for absurd values"
            )
        history = [*now.history, Epoch(loss, *self._validate())]
        average = self.average.get_weights()
        better = len(history) == 1 or history[-1].score < min(e.score for e in now.history)
        return Progress(
            weights=self.model.get_weights(),
            optimizer=[v.numpy() for v in self.optimizer.variables],
            average=average,
            best=average if better else now.best,
            history=history,
        )

    def finish(self, now: Progress) -> Weights:
        """Return the weights of the best epoch, with the scale of their sigma fitted."""
        config = self.config
        self.average.set_weights(now.best)
        known = self.validation.features
        sets = (counts_alone(known), mask(known, soil=True), known)
        outputs = [self._sequence(features)[..., :2].astype(np.float64) for features in sets]
        exact = flag_exact_n(self.validation)[:, None] & self.judged
        if "cosmic_n_sigma" not in self.inputs:  # the network cannot distinguish them
            exact = np.zeros_like(self.judged)

        def scale(days: NDArray[np.bool_]) -> float:
            error = np.concatenate([y[..., 0][days] - self.validation.theta[days] for y in outputs])
            return fit_sigma_scale(error, np.concatenate([y[..., 1][days] for y in outputs]))

        groups = (exact, self.judged & ~exact)
        both = [scale(days if days.any() else self.judged) for days in groups]
        scaling = self.scaling.of(columns(self.inputs))
        return kinds.weights_from_arrays(
            config.network, self.inputs, now.best, scaling, (both[0], both[1])
        )

    def _validate(self) -> tuple[float, float, float]:
        """Compute the RMSE with counts alone, with rain and ET0, and with all known inputs."""
        known = self.validation.features
        counts, weather = counts_alone(known), mask(known, soil=True)
        a, b, c = (self._rmse(self._sequence(x)[..., 0]) for x in (counts, weather, known))
        return a, b, c

    def _rmse(self, theta: NDArray[Any]) -> float:
        error = (theta - self.validation.theta)[self.judged]
        return float(np.sqrt(np.average(error**2, weights=self.share)))


def flag_exact_n(series: Series) -> NDArray[np.bool_]:
    """Flag the soils (S,) whose station has an exact N of COSMIC."""
    known: NDArray[np.bool_] = series.features[:, 0, NAMES.index("cosmic_n_sigma")] == 0.0
    return known


def _labels(series: Series, config: TrainConfig) -> tuple[Array32, Array32]:
    """Return labels and weights of the days, both (S, T, len(LABELED)); weight 0 without label."""
    labels = [series.theta, *(series.layers[..., LAYERS.index(name)] for name in LABELED[1:])]
    label = np.stack(labels, axis=-1)
    weight = np.isfinite(label).astype(np.float32)
    weight[:, : config.spin_up_steps] *= config.spin_up_weight
    weight[series.snow] *= config.snow_weight
    weight[flag_exact_n(series)] *= config.known_weight
    return np.nan_to_num(label).astype(np.float32), weight


def _finished(now: Progress, config: TrainConfig) -> bool:
    done = len(now.history)
    return done >= config.epochs or done - 1 - now.best_epoch >= config.patience


def _check_same(first: Weights, config: TrainConfig) -> None:
    """Raise ConfigError if the training cannot start from a network."""
    hidden = kinds.kind(first.kind).hidden(first)
    if first.kind != config.network:
        raise ConfigError(f'[train] begin_with is of another kind: set network = "{first.kind}"')
    if hidden != config.hidden:
        raise ConfigError(f"[train] begin_with has {hidden} units: set hidden = {hidden}")
    if first.inputs != (config.inputs or NAMES):
        raise ConfigError(f"[train] begin_with has other inputs: set inputs = {[*first.inputs]}")


def _report(result: TrainResult, config: TrainConfig, series: Series) -> dict[str, Any]:
    keras, tf = frameworks.load()
    return {
        "config": dataclasses.asdict(config),
        "data_hash": series.data_hash,
        "software": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "soils": {"train": int((series.split == TRAIN).sum()), "days": series.theta.shape[1]},
        "best_epoch": result.best_epoch,
        "rmse_inversion": result.rmse_inversion,
        "sigma_scale": result.sigma_scale,
        "history": [dataclasses.asdict(e) for e in result.history],
    }
