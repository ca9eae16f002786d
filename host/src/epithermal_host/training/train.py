"""Train the network on whole multi-year series, with the state carried from chunk to chunk.

A network trained on one-year windows from a zero state fails on longer streams. Here each series
starts cold once; gradients stop at the borders of chunks, the state does not. An interrupted
training resumes after its last epoch and ends with the same weights.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_host.arrays import Z90, Array, Array32, Mask
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.config.learning import TrainConfig as TrainConfig
from epithermal_host.training import checkpoint, frameworks, kinds
from epithermal_host.training.batches import epoch_batches, flag_exact_n
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
    NAMES,
    TRAIN,
    VALIDATION,
    Dataset,
    Series,
    counts_alone,
    mask,
    open_dataset,
)
from epithermal_host.training.train_step import update_function

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
    dataset = open_dataset(run_folder)
    first = read_weights(run_folder / config.begin_with) if config.begin_with else None
    trainer = _Trainer(config, dataset, first)
    path = run_folder / CHECKPOINT
    mark = fingerprint(config, dataset, first)
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
    write_json(run_folder / REPORT, _report(result, config, dataset))
    return result


def fingerprint(config: TrainConfig, dataset: Dataset, first: Weights | None = None) -> str:
    """Hash all that determines the weights: config, data, initial network, TensorFlow version."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    shape = ",".join(map(str, dataset.arrays["features"].shape))
    initial = hashlib.sha256(save_bytes(first)).hexdigest() if first else ""
    _, tf = frameworks.load()
    return hashlib.sha256(
        f"{text} {dataset.data_hash} {shape} {tf.__version__} {initial}".encode()
    ).hexdigest()


def needed_scale(error: NDArray[Any], sigma: NDArray[Any]) -> NDArray[Any]:
    """Compute the factor of sigma with which each day would be just inside its 90 % interval.

    Parameters
    ----------
    error, sigma : (N,) [m3 m-3]
        Of streams not used in training; sigma before scaling. Its floor is not scaled.
    """
    learnt = np.maximum(sigma - SIGMA_FLOOR, 1e-6)
    needed: NDArray[Any] = (np.abs(error) / Z90 - SIGMA_FLOOR) / learnt
    return needed


def covering_scale(needed: NDArray[Any]) -> float:
    """Compute the factor with which 90 % intervals hold 90 % of the days; reorders `needed`."""
    return float(max(np.quantile(needed, 0.9, overwrite_input=True), 0.0))


class _Trainer:
    """Graph, optimizer and data of a training; all that changes is in `Progress`."""

    def __init__(self, config: TrainConfig, dataset: Dataset, first: Weights | None = None) -> None:
        keras, _ = frameworks.load()
        self.config = config
        self.inputs = config.inputs or NAMES
        self.dataset, self.days = dataset, dataset.days
        self.rows, self.held_out = dataset.part(TRAIN), dataset.part(VALIDATION)
        self.scaling = fit_scaling(s.features for s in dataset.blocks(self.rows))  # all features
        if first:
            _check_same(first, config)
            self.scaling = self.scaling.replaced(first.columns, first.scaling)
        self.model, self.average = self._graph(), self._graph()
        if first:
            self.model.set_weights(list(first.arrays.values()))
        self.chunks = _chunks(self.days, config.chunk)
        updates = max(1, -(-len(self.rows) // config.batch)) * len(self.chunks)
        rate = keras.optimizers.schedules.CosineDecay(
            config.learning_rate, config.epochs * updates, alpha=config.final_rate
        )
        self.optimizer = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)
        self.optimizer.build(self.model.trainable_variables)
        self._sequence = kinds.sequence_function(self.average, self.inputs)
        self._update = update_function(self.model, self.average, self.optimizer, config)
        self.rmse_inversion = self._rmse_inversion()

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
        losses = []
        for batch in epoch_batches(self.dataset, self.rows, config, number, self.scaling):
            state = kinds.cold_state(self.model, len(batch.features))
            for days in self.chunks:
                parts = (x[:, days] for x in (batch.features, batch.label, batch.weight))
                loss, *state = self._update(*parts, *state)
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
        exact: list[Array32] = []  # factors needed where N is exact
        other: list[Array32] = []
        for series, judged in self._validation():
            known = flag_exact_n(series)[:, None] & judged
            if "cosmic_n_sigma" not in self.inputs:  # the network cannot distinguish them
                known = np.zeros_like(judged)
            for y in self._outputs(series):
                error, sigma = y[..., 0].astype(np.float64) - series.theta, y[..., 1]
                for days, into in ((known, exact), (judged & ~known, other)):
                    needed = needed_scale(error[days], sigma[days].astype(np.float64))
                    into.append(needed.astype(np.float32))
        groups = [np.concatenate(part) for part in (exact, other)]
        both = [covering_scale(x if x.size else np.concatenate(groups)) for x in groups]
        scaling = self.scaling.of(columns(self.inputs))
        return kinds.weights_from_arrays(
            config.network, self.inputs, now.best, scaling, (both[0], both[1])
        )

    def _validation(self) -> Iterator[tuple[Series, Mask]]:
        """Read the validation soils in blocks, each with its days (S, T) that are judged."""
        for series in self.dataset.blocks(self.held_out):
            judged = np.isfinite(series.theta) & ~series.snow
            judged[:, : self.config.spin_up_steps] = False
            yield series, judged

    def _outputs(self, series: Series) -> Iterator[Array32]:
        """Run the network with counts alone, with rain and ET0, and with all known inputs."""
        known = series.features
        yield self._sequence(counts_alone(known))
        yield self._sequence(mask(known, soil=True))
        yield self._sequence(known)

    def _validate(self) -> tuple[float, float, float]:
        """Compute the RMSE of theta for the three sets of `_outputs`."""
        square, weight = np.zeros(3), 0.0
        for series, judged in self._validation():
            share = self._share(series, judged)
            weight += share.sum()
            for i, y in enumerate(self._outputs(series)):
                error = (y[..., 0] - series.theta)[judged]
                square[i] += np.sum(share * error**2)
        a, b, c = np.sqrt(square / weight).tolist()
        return a, b, c

    def _rmse_inversion(self) -> float:
        square, weight, column = 0.0, 0.0, NAMES.index("theta_inv")
        for series, judged in self._validation():
            share = self._share(series, judged)
            error = (series.features[..., column].astype(np.float64) - series.theta)[judged]
            square, weight = square + float(np.sum(share * error**2)), weight + float(share.sum())
        if weight == 0.0:
            spin_up = self.config.spin_up_steps
            raise ConfigError(
                f"no validation day left of {self.days}: reduce [train] spin_up_steps = {spin_up}"
            )
        return float(np.sqrt(square / weight))

    def _share(self, series: Series, judged: Mask) -> Array:
        """Return the weight (N,) of each judged day in the RMSE."""
        known = np.where(flag_exact_n(series), self.config.known_weight, 1.0)
        share: Array = np.broadcast_to(known[:, None], judged.shape)[judged]
        return share


def _chunks(days: int, length: int) -> list[slice]:
    """Split days into chunks of about equal length, between which no gradient passes."""
    borders = [part[0] for part in np.array_split(np.arange(days), max(1, round(days / length)))]
    return [slice(*both) for both in itertools.pairwise([*borders, days])]


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


def _report(result: TrainResult, config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    keras, tf = frameworks.load()
    return {
        "config": dataclasses.asdict(config),
        "data_hash": dataset.data_hash,
        "software": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "soils": {"train": len(dataset.part(TRAIN)), "days": dataset.days},
        "best_epoch": result.best_epoch,
        "rmse_inversion": result.rmse_inversion,
        "sigma_scale": result.sigma_scale,
        "history": [dataclasses.asdict(e) for e in result.history],
    }
