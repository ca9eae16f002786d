"""Save the progress of a training after each epoch, and restore it."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import ConfigError
from epithermal_host.arrays import Array32
from epithermal_host.compute.damage import DAMAGE

ARRAY_LISTS = ("weights", "optimizer", "average", "best")  # of arrays, in Progress


@dataclass(frozen=True, slots=True)
class Epoch:
    """Training loss of one epoch, and RMSE of 0-30 cm on the validation soils."""

    loss: float
    rmse_counts: float  # counts alone [m3 m-3]
    rmse_weather: float  # with the rain and ET0 known to each, soil unknown [m3 m-3]
    rmse_all: float  # with all known inputs [m3 m-3]

    @property
    def score(self) -> float:
        """Mean of the three RMSE, by which the best epoch is chosen [m3 m-3]."""
        return (self.rmse_counts + self.rmse_weather + self.rmse_all) / 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """Everything on which the next epoch depends."""

    weights: list[Array32]
    optimizer: list[NDArray[Any]]
    average: list[Array32]  # moving average of the weights, which is validated
    best: list[Array32]  # moving average of the best epoch
    history: list[Epoch]

    @property
    def best_epoch(self) -> int:
        """Number of the epoch with the lowest score, from 0."""
        scores = [e.score for e in self.history]
        return int(np.argmin(scores)) if scores else 0


def to_bytes(now: Progress, mark: str) -> bytes:
    """Encode a checkpoint as npz; `mark` is the fingerprint of the training."""
    arrays: dict[str, Any] = {"mark": mark}
    for name in ARRAY_LISTS:
        arrays |= {f"{name}_{i}": value for i, value in enumerate(getattr(now, name))}
    arrays["history"] = np.array([dataclasses.astuple(e) for e in now.history])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def read(path: Path, mark: str) -> Progress | None:
    """Read the state after the last finished epoch; None without a checkpoint of this training.

    Raises
    ------
    ConfigError
        The file is damaged.
    """
    try:
        # np.load of a path leaves the file open when it is damaged
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if str(file["mark"]) != mark:
                return None
            lists = {
                name: [
                    file[f"{name}_{i}"] for i in range(sum(k.startswith(f"{name}_") for k in file))
                ]
                for name in ARRAY_LISTS
            }
            history = [Epoch(*map(float, row)) for row in file["history"]]
    except FileNotFoundError:
        return None
    except DAMAGE as fault:
        raise ConfigError(
            f"{path}: damaged checkpoint ({fault}): delete it to start again"
        ) from fault
    return Progress(history=history, **lists)
