"""What every trained network says of itself, of whichever kind it is; without TensorFlow."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import StateTensor

WEIGHTS = "network.npz"


def read_states(run_folder: Path) -> tuple[StateTensor, ...]:
    """State tensors of a run's network.

    Raises
    ------
    ConfigError
        There is none, or it is damaged.
    """
    path = run_folder / WEIGHTS
    if not path.is_file():
        raise ConfigError(f"{path}: no network: run `epithermal-host train {run_folder}` first")
    try:
        with np.load(path, allow_pickle=False) as file:
            shape = (int(file["recurrent"].shape[0]),)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise ConfigError(f"{path}: damaged ({fault}): train again") from fault
    return StateTensor("h", shape), StateTensor("c", shape)
