"""Define the simulated days and the pair of profiles that the two figures show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epithermal_edge.site import Site
from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.neutrons.cosmic import (
    node_layer_bottoms,
)


@dataclass(frozen=True, slots=True)
class Soil:
    """Matter besides pore water that affects neutrons, at each node (nz)."""

    z_cm: Array
    bulk_density_g_cm3: Array
    bound_water_m3_m3: Array  # lattice water and organic matter

    def layers(self, theta: Array) -> tuple[Array, Array, Array, Array]:
        """Return the common arguments of the functions of COSMIC."""
        bottom_cm = node_layer_bottoms(self.z_cm)
        return bottom_cm, theta, self.bulk_density_g_cm3, self.bound_water_m3_m3


@dataclass(frozen=True, slots=True)
class Days:
    """Simulated profiles at the end of each day, and the count rates of a detector above them."""

    title: str
    day: Integers  # (days,) [days since 1970-01-01]
    soil: Soil
    theta: Array  # (days, nz) [m3 m-3]
    mean: Array  # (days,) theta of 0-30 cm
    contrast: Array  # (days,) theta of 0-5 cm minus that of 10-30 cm
    wetting: Mask  # (days,) the mean increased over this day
    rate_cph: Array  # (days,) corrected, without noise and snow
    inverted: Array  # (days,) theta of the uniform profile with that rate
    site: Site

    @property
    def error(self) -> Array:
        """Inversion minus truth, (days,) [m3 m-3]."""
        return self.inverted - self.mean


@dataclass(frozen=True, slots=True)
class Pair:
    """Two profiles with equal mean; each tuple and first axis is (wetting, drying)."""

    index: tuple[int, int]  # into Days
    date: tuple[str, str]
    mean: Array  # (2,) theta of 0-30 cm
    rate_cph: Array  # (2,)
    d86_cm: Array  # (2,)
    bottom_cm: Array  # (nz) of the nodes' layers
    share: Array  # (2, nz) share of the counted neutrons that originate in each layer

    @property
    def difference(self) -> float:
        """Relative increase of the rate from the wetting to the drying profile."""
        return float(self.rate_cph[1] / self.rate_cph[0]) - 1.0

    @property
    def noises(self) -> float:
        """Difference of the rates in standard deviations of a day's counting noise."""
        wet, dry = self.rate_cph
        return float((dry - wet) / np.sqrt((wet + dry) / 24.0))
