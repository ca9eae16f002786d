"""Write and read a trained network of any kind, without TensorFlow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_host.arrays import Array32
from epithermal_host.compute.damage import DAMAGE
from epithermal_host.training.scaling import Scaling
from epithermal_host.training.series import NAMES

WEIGHTS = "network.npz"
DESCRIPTION = (
    "kind",
    "inputs",
    "offset",
    "scale",
    "sigma_scale",
)  # keys of the file besides the arrays


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A trained network."""

    kind: str  # a key of kinds.KINDS
    inputs: tuple[str, ...]  # names of its features, in order
    arrays: Mapping[str, Array32]  # by name, in the order of its sequence graph
    scaling: Scaling  # of the inputs
    sigma_scale: tuple[float, float] = (1.0, 1.0)  # k where N is exact, and elsewhere

    @property
    def columns(self) -> list[int]:
        """Index of each input among all features."""
        return columns(self.inputs)


def columns(inputs: Sequence[str]) -> list[int]:
    """Return the index of each feature in `NAMES`."""
    return [NAMES.index(name) for name in inputs]


def save_bytes(weights: Weights) -> bytes:
    """Encode weights as an npz file."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        kind=np.array(weights.kind),
        inputs=np.array(weights.inputs),
        offset=weights.scaling.offset,
        scale=weights.scaling.scale,
        sigma_scale=np.array(weights.sigma_scale, dtype=np.float32),
        **weights.arrays,
    )
    return buffer.getvalue()


def load_weights(content: bytes) -> Weights:
    """Decode a file of `save_bytes`, or of version 0.1.0: an LSTM of all features.

    Raises
    ------
    ValueError, KeyError
        Not such a file, or the network has features that this version does not compute.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        inputs = tuple(map(str, file["inputs"])) if "inputs" in file else NAMES
        scaling = Scaling(offset=file["offset"], scale=file["scale"])
        unknown = [name for name in inputs if name not in NAMES]
        if unknown or scaling.offset.shape != (len(inputs),):
            raise ValueError(f"other features: {', '.join(unknown) or scaling.offset.size}")
        known, uncertain = np.broadcast_to(file["sigma_scale"], 2).tolist()
        arrays = {name: file[name] for name in file.files if name not in DESCRIPTION}
        empty = [name for name, array in arrays.items() if array.size == 0]
        if empty:
            raise ValueError(f"empty arrays: {', '.join(empty)}")
        return Weights(
            kind=str(file["kind"]) if "kind" in file else "lstm",
            inputs=inputs,
            arrays=arrays,
            scaling=scaling,
            sigma_scale=(known, uncertain),
        )


def read_weights(path: Path) -> Weights:
    """Read the trained network of a run folder or a file.

    Raises
    ------
    ConfigError
        The file is missing or damaged.
    """
    path = path / WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(f"{path}: no network: run `epithermal-host train {path.parent}` first")
    try:
        return load_weights(path.read_bytes())
    except DAMAGE as fault:
        raise ConfigError(f"{path}: damaged ({fault}): train again") from fault
