"""The layers that a bundle tells beside the mean of 0-30 cm, judged on the same days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Array, Mask
from epithermal_host.evaluation.metrics import Stats, stats
from epithermal_host.training.series import LAYERS


@dataclass(frozen=True, slots=True)
class LayerLine:
    """One layer with one set of inputs."""

    layer: str
    inputs: str
    stats: Stats
    rmse_inversion: float  # of the COSMIC inversion, taken as the layer's [m3 m-3]
    rmse_mean: float  # of the network's own 0-30 cm, taken as the layer's [m3 m-3]


def columns(outputs: Sequence[str]) -> dict[str, int]:
    """Where in a bundle's answer each layer is; empty for one that tells 0-30 cm only."""
    return {name: i for i, name in enumerate(outputs) if name in LAYERS}


def layer_lines(
    inputs: str,
    told: Mapping[str, Array],
    labels: Mapping[str, Array],
    mean: Array,
    inverted: Array,
    judged: Mask,
) -> tuple[LayerLine, ...]:
    """Each layer that is both told and labelled.

    Parameters
    ----------
    inputs :
        What the network had.
    told, labels : (S, T) each [m3 m-3]
        By layer.
    mean, inverted : (S, T) [m3 m-3]
        The network's 0-30 cm; the COSMIC inversion.
    judged : (S, T)
    """
    out = []
    for name in LAYERS:
        if name not in told or name not in labels:
            continue
        days = judged & np.isfinite(labels[name]) & np.isfinite(told[name])
        if days.any():
            errors = (stats(labels[name], other, days).rmse for other in (inverted, mean))
            out.append(LayerLine(name, inputs, stats(labels[name], told[name], days), *errors))
    return tuple(out)
