"""Compute field capacity, wilting point and plant-available water of a site's soil."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
