"""Train the network on whole multi-year series, its state carried from chunk to chunk.

A network trained on windows of a year from zero state forgets how to live longer than a year.
Every series starts cold once; the gradient stops at chunk borders, the state does not. Training
that is interrupted goes on from the last epoch and ends with the same weights.
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
from epithermal_host.training.augmentation import jittered, weathered
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
from epithermal_host.training.train_step import HELD, update_function

CHECKPOINT = "train/checkpoint.npz"
REPORT = "train.json"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished training."""

    history: tuple[Epoch, ...]
    best_epoch: int  # from 0
    resumed_at: int  # epochs found done when this run began
    rmse_inversion: float  # validation soils, the inversion itself [m3 m-3]
    sigma_scale: tuple[float, float]  # fitted on the validation soils: N known, and not
    weights_path: Path
    wall_s: float  # of this run

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.history[self.best_epoch]


def run(run_folder: Path, config: TrainConfig, *, progress: bool = True) -> TrainResult:
    """Train on RUN/dataset.npz; write RUN/network.npz and RUN/train.json.

    Parameters
    ----------
    run_folder :
        Holds dataset.npz. A checkpoint of the same data and config is continued.
    progress :
        Show a bar on stderr.

    Raises
    ------
    ConfigError
        No usable data set, or one of another shape than the network to begin with.
    EpithermalError
        The loss is not finite any more.
    """
    began = time.monotonic()
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
        wall_s=time.monotonic() - began,
    )
    write_json(run_folder / REPORT, _report(result, config, series))
    return result


def fingerprint(config: TrainConfig, series: Series, first: Weights | None = None) -> str:
    """Identity of a training: the same text means the same weights."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    shape = ",".join(map(str, series.features.shape))
    begun = hashlib.sha256(save_bytes(first)).hexdigest() if first else ""
    _, tf = frameworks.load()
    return hashlib.sha256(
        f"{text} {series.data_hash} {shape} {tf.__version__} {begun}".encode()
    ).hexdigest()


def epoch_plan(
    config: TrainConfig, epoch: int, soils: int
) -> tuple[list[NDArray[np.int64]], dict[str, NDArray[np.bool_]]]:
    """Batches of an epoch, and from which soils it hides what; from (seed, epoch) alone.

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
    """Factor of sigma, its floor apart, with which 90 % of the errors are inside of 90 % intervals.

    Parameters
    ----------
    error, sigma : (N,) [m3 m-3]
        Of streams that training did not see, sigma as learnt.
    """
    learnt = np.maximum(sigma - SIGMA_FLOOR, 1e-6)
    needed = (np.abs(error) / Z90 - SIGMA_FLOOR) / learnt  # for this day to be inside
    return float(max(np.quantile(needed, 0.9), 0.0))


class _Trainer:
    """The graph, its optimizer and the data; what changes is in `Progress`."""

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
                f"no validation day left of {days}: [train] spin_up_steps = {spin_up}"
            )
        self.judged = judged
        known = np.where(knows_n(self.validation), config.known_weight, 1.0)
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
        """One pass over the training soils, then the validation streams."""
        config, number = self.config, len(now.history)
        batches, hidden = epoch_plan(config, number, len(self.train.theta))
        told = jittered(self.train.features, config, number, self.scaling)
        features = mask(weathered(told, config, number), **hidden)
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
                f"training diverged in epoch {number}, its loss is not finite: lower learning_rate"
                " in [train], or look for absurd numbers in the data set"
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
        """The best epoch's weights, and how far their sigma is to be trusted."""
        config = self.config
        self.average.set_weights(now.best)
        known = self.validation.features
        sets = (counts_alone(known), mask(known, soil=True), known)
        told = [self._sequence(features)[..., :2].astype(np.float64) for features in sets]
        exact = knows_n(self.validation)[:, None] & self.judged
        if "cosmic_n_sigma" not in self.inputs:  # then it cannot tell them from the others
            exact = np.zeros_like(self.judged)

        def scale(days: NDArray[np.bool_]) -> float:
            error = np.concatenate([y[..., 0][days] - self.validation.theta[days] for y in told])
            return fit_sigma_scale(error, np.concatenate([y[..., 1][days] for y in told]))

        groups = (exact, self.judged & ~exact)
        both = [scale(days if days.any() else self.judged) for days in groups]
        scaling = self.scaling.of(columns(self.inputs))
        return kinds.named(config.network, self.inputs, now.best, scaling, (both[0], both[1]))

    def _validate(self) -> tuple[float, float, float]:
        """RMSE from counts alone, with rain and ET0, and with all that is known."""
        known = self.validation.features
        counts, weather = counts_alone(known), mask(known, soil=True)
        a, b, c = (self._rmse(self._sequence(x)[..., 0]) for x in (counts, weather, known))
        return a, b, c

    def _rmse(self, theta: NDArray[Any]) -> float:
        error = (theta - self.validation.theta)[self.judged]
        return float(np.sqrt(np.average(error**2, weights=self.share)))


def knows_n(series: Series) -> NDArray[np.bool_]:
    """(S,) soils whose station knows COSMIC's N without error."""
    known: NDArray[np.bool_] = series.features[:, 0, NAMES.index("cosmic_n_sigma")] == 0.0
    return known


def _labels(series: Series, config: TrainConfig) -> tuple[Array32, Array32]:
    """What theta is held to, and the weight of each day, (S, T, len(HELD)); 0 without label."""
    theta = [series.theta, *(series.layers[..., LAYERS.index(name)] for name in HELD[1:])]
    label = np.stack(theta, axis=-1)
    weight = np.isfinite(label).astype(np.float32)
    weight[:, : config.spin_up_steps] *= config.spin_up_weight
    weight[series.snow] *= config.snow_weight
    weight[knows_n(series)] *= config.known_weight
    return np.nan_to_num(label).astype(np.float32), weight


def _finished(now: Progress, config: TrainConfig) -> bool:
    done = len(now.history)
    return done >= config.epochs or done - 1 - now.best_epoch >= config.patience


def _check_same(first: Weights, config: TrainConfig) -> None:
    """Raise ConfigError where this training cannot continue from a network."""
    hidden = kinds.kind(first.kind).hidden(first)
    if first.kind != config.network:
        raise ConfigError(f'[train] begin_with is another kind: set network = "{first.kind}"')
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
