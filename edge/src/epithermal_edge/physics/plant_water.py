"""Compute field capacity, wilting point, plant-available water and the threshold of irrigation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from epithermal_edge.times import YEAR_D

STORAGE_MM = 300.0  # depth of water in 0-30 cm at a water content of 1
WILTING_CM = 15_000.0  # suction at the permanent wilting point


@dataclass(frozen=True, slots=True)
class SoilWater:
    """The constant limits of plant-available water in 0-30 cm."""

    field_capacity: float  # [m3 m-3]
    wilting_point: float  # [m3 m-3]
    threshold: float  # depletion at which to irrigate [1]

    @property
    def capacity_mm(self) -> float:
        """Total available water of 0-30 cm; FAO-56 (1998), eq. 82."""
        return STORAGE_MM * (self.field_capacity - self.wilting_point)

    @property
    def theta_threshold(self) -> float:
        """Water content at which to irrigate [m3 m-3]; FAO-56, eq. 83."""
        return self.field_capacity - self.threshold * (self.field_capacity - self.wilting_point)

    def available_mm(self, theta: float) -> float:
        """Compute plant-available water; water above field capacity drains and is excluded."""
        above = theta - self.wilting_point
        return min(max(STORAGE_MM * above, 0.0), self.capacity_mm) if above == above else above

    def depletion(self, theta: float) -> float:
        """Compute the depleted fraction of the total available water, 0 to 1; FAO-56, eq. 86."""
        return 1.0 - self.available_mm(theta) / self.capacity_mm


@dataclass(frozen=True, slots=True)
class RootZone:
    """The rooted soil of a crop, and how to advise over it."""

    soil: SoilWater  # the same at all depths; its threshold is p at 5 mm/d, or constant
    depth_cm: tuple[float, ...] = (30.0,) * YEAR_D  # of the roots, by day of a leap year
    crop_coefficient: tuple[float, ...] = (1.0,) * YEAR_D  # ETc over ET0, likewise
    adjusts: bool = True  # whether the threshold follows ETc
    confidence: float = 0.5  # probability, from which on to irrigate, that the threshold is passed
    source: str = "given"  # of field capacity and wilting point: given, measured or texture


def adjusted_threshold(p: float, etc_mm_d: float) -> float:
    """Adjust the depletion at which a crop suffers to its evapotranspiration [1].

    Parameters
    ----------
    p : [1]
        Of FAO-56, table 22, which holds at 5 mm/d.
    etc_mm_d : [mm d-1]
        Crop evapotranspiration; NaN: unknown, p is returned.

    Returns
    -------
    float
        p + 0.04 (5 - ETc), within 0.1 to 0.8.

    References
    ----------
    Allen et al. (1998), FAO-56, chapter 8, "Readily available water", and footnote 2 of table 22.
    """
    if etc_mm_d != etc_mm_d:
        return p
    return min(max(p + 0.04 * (5.0 - etc_mm_d), 0.1), 0.8)


def field_capacity(theta_r: float, theta_s: float, n: float, ks_cm_d: float) -> float:
    """Compute the water content at which drainage has slowed to 0.01 cm/d [m3 m-3].

    A flux is an equal criterion for sand and clay; a fixed suction (330 cm) would leave sand
    without plant-available water.

    References
    ----------
    Twarakavi et al. (2009), Water Resour. Res. 45, W10410, the fit of field capacity to van
    Genuchten's parameters.
    """
    return theta_r + (theta_s - theta_r) * math.pow(n, -0.6 * (2.0 + math.log10(ks_cm_d)))


def wilting_point(theta_r: float, theta_s: float, alpha_per_cm: float, n: float) -> float:
    """Compute the water content at a head of -15 000 cm [m3 m-3].

    References
    ----------
    Van Genuchten (1980), eq. 3, with m = 1 - 1/n.
    """
    saturation = math.pow(1.0 + math.pow(alpha_per_cm * WILTING_CM, n), 1.0 / n - 1.0)
    return theta_r + (theta_s - theta_r) * saturation
