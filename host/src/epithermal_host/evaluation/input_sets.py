"""Define the sets of inputs with which a network is evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Array32, Mask
from epithermal_host.evaluation.methods import COUNTS, COVER_UNKNOWN, WITH_SOIL, WITH_WEATHER
from epithermal_host.training.series import DESCRIPTION, NAMES, counts_alone, mask


@dataclass(frozen=True, slots=True, eq=False)
class InputSet:
    """A set of inputs of a station, and the soils that have it."""

    label: str
    features: Array32  # (S, T, F)
    soils: Mask  # (S,)


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
