"""Hold what a judgement on simulated soils consists of: inputs, estimates, curves, options."""

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
    """How a bundle is judged."""

    every_soil: bool = False  # of a campaign of another seed
    runtime: str | None = None
    workers: int | None = None
    reference_soils: int = 0  # that the particle filter is run on
    progress: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class InputSet:
    """What a station has, and the soils that have it."""

    label: str
    features: Array32  # (S, T, F)
    soils: Mask  # (S,)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """The network with one set of inputs; NaN for soils that do not have them."""

    inputs: InputSet
    theta: Array  # (S, T) [m3 m-3]
    sigma: Array  # (S, T) [m3 m-3]
    layers: dict[str, Array]  # (S, T) of the layers that the bundle estimates [m3 m-3]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Soils, judged days and the estimates of every method."""

    unseen: Unseen
    days: Mask  # (S, T)
    baselines: tuple[Baseline, ...]
    estimates: tuple[Estimate, ...]
    runtime: str


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """RMSE of one method against days."""

    method: str
    inputs: str
    what: str  # "age", "outage" (its last day), "after" (the first day with counts again)
    day: Array  # (n,) middle of the bin, or length [d]
    rmse: Array  # (n,) [m3 m-3]


def input_sets(features: Array32, weather: Mask) -> tuple[InputSet, ...]:
    """Mask the features to each set of inputs that at least one soil has.

    Parameters
    ----------
    features : (S, T, F)
    weather : (S,)
        Soils that have rain and ET0.

    Returns
    -------
    tuple of InputSet
        Counts alone; with weather; with the soil's description; counts without the cover's.
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
