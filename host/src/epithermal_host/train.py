"""Train the network on whole multi-year series, its state carried from chunk to chunk.

A network trained on windows of a year from zero state forgets how to live longer than a year.
Every series starts cold once; the gradient stops at chunk borders, the state does not. Training
that is interrupted goes on from the last epoch and ends with the same weights.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_host import network
from epithermal_host.files import write_atomic, write_json
from epithermal_host.network import Array, Scaling, Weights, keras, tf
from epithermal_host.series import NAMES, TRAIN, VALIDATION, Series, mask_weather, read_series
from epithermal_host.settings import TrainConfig as TrainConfig

CHECKPOINT = "train/checkpoint.npz"
WEIGHTS = "network.npz"
REPORT = "train.json"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the training soils gave."""

    loss: float
    rmse_counts: float  # validation soils, counts alone [m3 m-3]
    rmse_weather: float  # the same with the rain and ET0 that they know

    @property
    def score(self) -> float:
        """What training minimises: the mean of both."""
        return 0.5 * (self.rmse_counts + self.rmse_weather)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished training."""

    history: tuple[Epoch, ...]
    best_epoch: int  # from 0
    resumed_at: int  # epochs found done when this run began
    rmse_inversion: float  # validation soils, the inversion itself [m3 m-3]
    weights_path: Path
    wall_s: float  # of this run

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.history[self.best_epoch]


@dataclass(slots=True, eq=False)
class _Progress:
    """Everything that the next epoch depends on."""

    weights: list[Array]
    optimizer: list[NDArray[Any]]
    best: list[Array]
    history: list[Epoch]

    @property
    def best_epoch(self) -> int:
        scores = [e.score for e in self.history]
        return int(np.argmin(scores)) if scores else 0


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
        No usable data set.
    EpithermalError
        The loss is not finite any more.
    """
    began = time.monotonic()
    series = read_series(run_folder)
    trainer = _Trainer(config, series)
    path = run_folder / CHECKPOINT
    mark = fingerprint(config, series)
    now = _read_checkpoint(path, mark) or trainer.start()
    trainer.restore(now)
    resumed_at = len(now.history)
    with tqdm(
        total=config.epochs, initial=resumed_at, desc="train", unit="epoch", disable=not progress
    ) as bar:
        while not _finished(now, config):
            now = trainer.epoch(now)
            write_atomic(path, _checkpoint_bytes(now, mark))
            last = now.history[-1]
            bar.set_postfix(counts=f"{last.rmse_counts:.4f}", weather=f"{last.rmse_weather:.4f}")
            bar.update()
    weights = Weights(
        **dict(zip(network.WEIGHT_NAMES, now.best, strict=True)), scaling=trainer.scaling
    )
    write_atomic(run_folder / WEIGHTS, network.save_bytes(weights))
    result = TrainResult(
        history=tuple(now.history),
        best_epoch=now.best_epoch,
        resumed_at=resumed_at,
        rmse_inversion=trainer.rmse_inversion,
        weights_path=run_folder / WEIGHTS,
        wall_s=time.monotonic() - began,
    )
    write_json(run_folder / REPORT, _report(result, config, series))
    return result


def read_weights(run_folder: Path) -> Weights:
    """The trained network of a run.

    Raises
    ------
    ConfigError
        There is none, or it is damaged.
    """
    path = run_folder / WEIGHTS
    if not path.is_file():
        raise ConfigError(f"{path}: no network: run `epithermal-host train {run_folder}` first")
    try:
        return network.load_weights(path.read_bytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise ConfigError(f"{path}: damaged ({fault}): train again") from fault


def fingerprint(config: TrainConfig, series: Series) -> str:
    """Identity of a training: the same text means the same weights."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    shape = ",".join(map(str, series.features.shape))
    return hashlib.sha256(
        f"{text} {series.data_hash} {shape} {tf.__version__}".encode()
    ).hexdigest()


def epoch_plan(
    config: TrainConfig, epoch: int, soils: int
) -> tuple[list[NDArray[np.int64]], NDArray[np.bool_], NDArray[np.bool_]]:
    """Batches of an epoch and whose rain and ET0 it hides; from (seed, epoch) alone.

    Returns
    -------
    list of (B,), (S,), (S,)
        Rows of each batch; True where rain, where ET0 is hidden.
    """
    rng = np.random.default_rng((config.seed, epoch))
    order = rng.permutation(soils)
    batches = np.array_split(order, max(1, -(-soils // config.batch)))
    both = rng.random(soils) < config.mask_both
    rain = both | (rng.random(soils) < config.mask_one)
    et0 = both | (rng.random(soils) < config.mask_one)
    return batches, rain, et0


class _Trainer:
    """The graph, its optimizer and the data; what changes is in `_Progress`."""

    def __init__(self, config: TrainConfig, series: Series) -> None:
        self.config = config
        self.train, self.validation = series.part(TRAIN), series.part(VALIDATION)
        self.scaling: Scaling = network.fit_scaling(self.train.features)
        self.model = network.build(config.hidden, self.scaling, config.seed)
        soils, days = self.train.theta.shape
        self.chunks = np.array_split(np.arange(days), max(1, round(days / config.chunk)))
        updates = max(1, -(-soils // config.batch)) * len(self.chunks)
        rate = keras.optimizers.schedules.CosineDecay(
            config.learning_rate, config.epochs * updates, alpha=config.final_rate
        )
        self.optimizer = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)
        self.optimizer.build(self.model.trainable_variables)
        self._sequence = network.sequence_function(self.model)
        self._update = _update_function(self.model, self.optimizer, config)
        judged = np.isfinite(self.validation.theta)
        judged[:, : config.spin_up_steps] = False
        if not judged.any():
            days, spin_up = judged.shape[1], config.spin_up_steps
            raise ConfigError(
                f"no validation day left of {days}: [train] spin_up_steps = {spin_up}"
            )
        self.judged = judged
        inversion = self.validation.features[..., network.THETA_INV]
        self.rmse_inversion = self._rmse(inversion.astype(np.float64))

    def start(self) -> _Progress:
        weights = self.model.get_weights()
        return _Progress(weights, [v.numpy() for v in self.optimizer.variables], weights, [])

    def restore(self, now: _Progress) -> None:
        self.model.set_weights(now.weights)
        for variable, value in zip(self.optimizer.variables, now.optimizer, strict=True):
            variable.assign(value)

    def epoch(self, now: _Progress) -> _Progress:
        """One pass over the training soils, then the validation streams."""
        config, number = self.config, len(now.history)
        batches, rain, et0 = epoch_plan(config, number, len(self.train.theta))
        features = mask_weather(self.train.features, rain, et0)
        weight = np.isfinite(self.train.theta).astype(np.float32)
        weight[:, : config.spin_up_steps] *= config.spin_up_weight
        label = np.nan_to_num(self.train.theta).astype(np.float32)
        losses = []
        for rows in batches:
            h = c = np.zeros((len(rows), config.hidden), dtype=np.float32)
            for days in self.chunks:
                part = np.ix_(rows, days)
                loss, h, c = self._update(features[part], label[part], weight[part], h, c)
                losses.append(float(loss))
        loss = float(np.mean(losses))
        if not np.isfinite(loss):
            raise EpithermalError(
                f"training diverged in epoch {number}, its loss is not finite: lower learning_rate"
                " in [train], or look for absurd numbers in the data set"
            )
        history = [*now.history, Epoch(loss, *self._validate())]
        weights = self.model.get_weights()
        better = len(history) == 1 or history[-1].score < min(e.score for e in now.history)
        optimizer = [v.numpy() for v in self.optimizer.variables]
        return _Progress(weights, optimizer, weights if better else now.best, history)

    def _validate(self) -> tuple[float, float]:
        known = self.validation.features
        counts = mask_weather(known, True, True)
        answer = self._sequence(np.concatenate([counts, known]))[..., 0]
        half = len(known)
        return self._rmse(answer[:half]), self._rmse(answer[half:])

    def _rmse(self, theta: NDArray[Any]) -> float:
        error = (theta - self.validation.theta)[self.judged]
        return float(np.sqrt(np.mean(error**2))) if error.size else float("nan")


def _update_function(model: Any, optimizer: Any, config: TrainConfig) -> Any:
    """One step of the optimizer on one chunk: loss and the carried state."""
    n = len(NAMES)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None, None, n), tf.float32),
            tf.TensorSpec((None, None), tf.float32),
            tf.TensorSpec((None, None), tf.float32),
            tf.TensorSpec((None, config.hidden), tf.float32),
            tf.TensorSpec((None, config.hidden), tf.float32),
        ]
    )
    def update(x: Any, label: Any, weight: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        with tf.GradientTape() as tape:
            y, h_next, c_next = model([x, h, c], training=True)
            error = (y[..., 0] - label) / network.RESIDUAL
            sigma = y[..., 1] / network.RESIDUAL
            fixed = tf.stop_gradient(error)  # sigma learns the error, it does not excuse it
            likelihood = tf.math.log(sigma) + 0.5 * (fixed / sigma) ** 2
            days = tf.maximum(tf.reduce_sum(weight, axis=1, keepdims=True), 1e-6)
            mean = tf.reduce_sum(weight * error, axis=1, keepdims=True) / days
            terms = (error - config.anomaly * mean) ** 2 + config.sigma_weight * likelihood
            loss = tf.reduce_sum(weight * terms) / tf.maximum(tf.reduce_sum(weight), 1.0)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss, h_next, c_next

    return update


def _finished(now: _Progress, config: TrainConfig) -> bool:
    done = len(now.history)
    return done >= config.epochs or done - 1 - now.best_epoch >= config.patience


def _checkpoint_bytes(now: _Progress, mark: str) -> bytes:
    arrays: dict[str, Any] = {"mark": mark}
    for name in ("weights", "optimizer", "best"):
        arrays |= {f"{name}_{i}": value for i, value in enumerate(getattr(now, name))}
    arrays["history"] = np.array([dataclasses.astuple(e) for e in now.history])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _read_checkpoint(path: Path, mark: str) -> _Progress | None:
    """The last finished epoch; None where there is none of this very training."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["mark"]) != mark:
                return None
            lists = {
                name: [
                    file[f"{name}_{i}"] for i in range(sum(k.startswith(f"{name}_") for k in file))
                ]
                for name in ("weights", "optimizer", "best")
            }
            history = [Epoch(*map(float, row)) for row in file["history"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise ConfigError(
            f"{path}: damaged checkpoint ({fault}): delete it to begin anew"
        ) from fault
    return _Progress(history=history, **lists)


def _report(result: TrainResult, config: TrainConfig, series: Series) -> dict[str, Any]:
    return {
        "config": dataclasses.asdict(config),
        "data_hash": series.data_hash,
        "software": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "soils": {"train": int((series.split == TRAIN).sum()), "days": series.theta.shape[1]},
        "best_epoch": result.best_epoch,
        "rmse_inversion": result.rmse_inversion,
        "history": [dataclasses.asdict(e) for e in result.history],
    }
