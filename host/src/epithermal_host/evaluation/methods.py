"""Name every method that is evaluated, and define every set of inputs of the network.

The names appear in reports and in their JSON files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from epithermal_host.arrays import Array32, Mask
from epithermal_host.evaluation.exponential_filter import FILTER_T_D
from epithermal_host.training.series import DESCRIPTION, NAMES, counts_alone, mask


def filtered(inversion: str, t_d: float) -> str:
    """Name an inversion with the exponential filter of a T [d]."""
    return f"{inversion} + filter {t_d:g} d"


def usual_filtered(inversion: str) -> str:
    """Name an inversion with the exponential filter of the usual T."""
    return filtered(inversion, FILTER_T_D)


def best_filtered(inversion: str) -> str:
    """Name an inversion with the exponential filter whose T has the smallest error."""
    return f"{inversion} + best filter"


COSMIC, DESILETS, UTS = "COSMIC inversion", "Desilets", "Köhli UTS"
MIXED = "own response inversion"  # of sites with different responses


def inversion_by(response: str | tuple[str, ...]) -> str:
    """Name the inversion by a response, as in [site] `response`, or by that of each site."""
    if not isinstance(response, str):
        return inversion_by(response[0]) if len(set(response)) == 1 else MIXED
    return COSMIC if response == "cosmic" else f"{response} inversion"


def is_inversion(method: str) -> bool:
    """Return whether a method is an inversion without filter."""
    return method.endswith(" inversion")


def response_in(inversion: str) -> str:
    """Return the response in the name of an inversion, for the head of a column."""
    return inversion.removesuffix(" inversion")


USUAL_FILTERED = usual_filtered(COSMIC)
BEST_FILTERED = best_filtered(COSMIC)  # a network must be more accurate in every group

NETWORK = "network"
OWN_N = "network, its own N"  # with the N with which it reproduces the samples
RELEASED, RETRAINED = "network, released", "network, retrained"
OTHERS = "network, fitted on the other sites"

COUNTS, WITH_WEATHER, WITH_SOIL = "counts alone", "+ rain and ET0", "+ soil parameters"
COVER_UNKNOWN = "counts alone, cover unknown"


def network_with(inputs: str) -> str:
    """Name the network together with its set of inputs."""
    return f"{NETWORK}, {inputs}"


def short(method: str) -> str:
    """Shorten the name of a filtered inversion for a legend."""
    return re.sub(r"^.* inversion \+ ", "with ", method)


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
