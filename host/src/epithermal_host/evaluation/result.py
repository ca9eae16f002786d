"""Define the parts of an evaluation on simulated soils: inputs, estimates, curves, options."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Array, Array32, Mask
from epithermal_host.evaluation.baselines import Baseline
from epithermal_host.evaluation.methods import COUNTS, COVER_UNKNOWN, WITH_SOIL, WITH_WEATHER
from epithermal_host.evaluation.unseen import Unseen
from epithermal_host.training.series import DESCRIPTION, NAMES, counts_alone, mask


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the evaluation of a bundle."""

    every_soil: bool = False  # use all soils of a campaign with another seed
    runtime: str | None = None
    workers: int | None = None
    reference_soils: int = 0  # number of soils for the particle filter
    progress: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class InputSet:
    """A set of inputs of a station, and the soils that have it."""

    label: str
    features: Array32  # (S, T, F)
    soils: Mask  # (S,)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Estimates of the network with one set of inputs; NaN for soils without these inputs."""

    inputs: InputSet
    theta: Array  # (S, T) [m3 m-3]
    sigma: Array  # (S, T) [m3 m-3]
    layers: dict[str, Array]  # (S, T) by layer that the bundle estimates [m3 m-3]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Soils, evaluated days and the estimates of every method."""

    unseen: Unseen
    days: Mask  # (S, T)
    baselines: tuple[Baseline, ...]
    estimates: tuple[Estimate, ...]
    runtime: str


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """RMSE of one method against the age of the stream or the length of an outage."""

    method: str
    inputs: str
    what: str  # "age", "outage" (its last day), "after" (the first day with counts again)
    day: Array  # (n,) middle of the age bin, or length [d]
    rmse: Array  # (n,) [m3 m-3]


def input_sets(features: Array32, weather: Mask) -> tuple[InputSet, ...]:
    """Mask the features to each set of inputs that at least one soil has.

    Parameters
    ----------
    features : (S, T, F)
    weather : (S,)
        Soils with rain and ET0.

    Returns
    -------
    tuple of InputSet
        Counts alone; with weather; also with the soil; counts alone without the vegetation.
    """
    counts, plain = counts_alone(features), mask(features, soil=True)
    described = weather & (features[..., DESCRIPTION] != 0.0).any(axis=(1, 2))
    covered = (features[..., NAMES.index("cover_known")] > 0.0).any(axis=1)
    sets = (
        InputSet(COUNTS, counts, np.ones(len(weather), dtype=bool)),
        InputSet(WITH_WEATHER, plain, weather),
        InputSet(WITH_SOIL, features, described),
        InputSet(COVER_UNKNOWN, mask(counts, cover=True), covered),
    )
    return tuple(s for s in sets if s.soils.any())
