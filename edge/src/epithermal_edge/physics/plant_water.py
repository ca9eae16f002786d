"""Field capacity, wilting point and the threshold at which to irrigate, of a site's soil."""

from __future__ import annotations

import math
from dataclasses import dataclass

STORAGE_MM = 300.0  # of a soil of water, 0-30 cm
WILTING_CM = 15_000.0  # suction at which plants wilt for good


@dataclass(frozen=True, slots=True)
class SoilWater:
    """What is constant: the bounds of the water that plants can take, 0-30 cm."""

    field_capacity: float  # [m3 m-3]
    wilting_point: float  # [m3 m-3]
    threshold: float  # used part at which to irrigate [1]

    @property
    def capacity_mm(self) -> float:
        """Total available water of 0-30 cm; FAO-56 (1998), eq. 82."""
        return STORAGE_MM * (self.field_capacity - self.wilting_point)

    @property
    def theta_threshold(self) -> float:
        """Water content at which to irrigate [m3 m-3]; FAO-56, eq. 83."""
        return self.field_capacity - self.threshold * (self.field_capacity - self.wilting_point)

    def available_mm(self, theta: float) -> float:
        """Water that plants can take; what is above field capacity drains and does not count."""
        above = theta - self.wilting_point
        return min(max(STORAGE_MM * above, 0.0), self.capacity_mm) if above == above else above

    def depletion(self, theta: float) -> float:
        """Used part of it, 0 to 1; FAO-56, eq. 86 keeps it between these."""
        return 1.0 - self.available_mm(theta) / self.capacity_mm


def field_capacity(theta_r: float, theta_s: float, n: float, ks_cm_d: float) -> float:
    """Water content at which drainage has become slow, 0.01 cm/d [m3 m-3].

    A flux is the same measure for sand and clay; a suction (-330 cm) leaves sand without any
    water for plants.

    References
    ----------
    Twarakavi et al. (2009), Water Resour. Res. 45, W10410, the fit of field capacity to van
    Genuchten's parameters.
    """
    return theta_r + (theta_s - theta_r) * math.pow(n, -0.6 * (2.0 + math.log10(ks_cm_d)))


def wilting_point(theta_r: float, theta_s: float, alpha_per_cm: float, n: float) -> float:
    """Water content at -15 000 cm [m3 m-3]; van Genuchten (1980), eq. 3, with m = 1 - 1/n."""
    saturation = math.pow(1.0 + math.pow(alpha_per_cm * WILTING_CM, n), 1.0 / n - 1.0)
    return theta_r + (theta_s - theta_r) * saturation
