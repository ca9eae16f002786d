"""Evaluate the layers that a bundle estimates besides the mean of 0-30 cm, on the same days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Array, Mask
from epithermal_host.evaluation.metrics import Stats, stats
from epithermal_host.training.series import LAYERS


@dataclass(frozen=True, slots=True)
class LayerLine:
    """Figures of one layer with one set of inputs."""

    layer: str
    inputs: str
    stats: Stats
    rmse_inversion: float  # of the COSMIC inversion as estimate of the layer [m3 m-3]
    rmse_mean: float  # of the network's 0-30 cm as estimate of the layer [m3 m-3]


def columns(outputs: Sequence[str]) -> dict[str, int]:
    """Locate each layer among a bundle's outputs; empty if it estimates 0-30 cm only."""
    return {name: i for i, name in enumerate(outputs) if name in LAYERS}


def layer_lines(
    inputs: str,
    estimates: Mapping[str, Array],
    labels: Mapping[str, Array],
    mean: Array,
    inverted: Array,
    judged: Mask,
) -> tuple[LayerLine, ...]:
    """Score each layer that has both an estimate and a label.

    Parameters
    ----------
    inputs :
        Name of the set of inputs of the network.
    estimates, labels : (S, T) each [m3 m-3]
        By layer.
    mean, inverted : (S, T) [m3 m-3]
        The network's 0-30 cm; the COSMIC inversion.
    judged : (S, T)
    """
    out = []
    for name in LAYERS:
        if name not in estimates or name not in labels:
            continue
        theta, label = estimates[name], labels[name]
        days = judged & np.isfinite(label) & np.isfinite(theta)
        if days.any():
            errors = (stats(label, other, days).rmse for other in (inverted, mean))
            out.append(LayerLine(name, inputs, stats(label, theta, days), *errors))
    return tuple(out)
