"""Field capacity, wilting point and the threshold at which to irrigate, of a site's soil."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from epithermal_edge.config.toml_keys import Key

STORAGE_MM = 300.0  # of a soil of water, 0-30 cm
WILTING_CM = 15_000.0  # suction at which plants wilt for good
LEAST_CAPACITY = 0.01  # [m3 m-3] a soil that holds less for plants is not described well

DEPLETION = {
    "alfalfa": 0.55, "apple": 0.50, "barley": 0.55, "bean": 0.45, "cabbage": 0.45, "carrot": 0.35,
    "citrus": 0.50, "cotton": 0.65, "grass": 0.40, "lettuce": 0.30, "maize": 0.55, "oats": 0.55,
    "olive": 0.65, "onion": 0.30, "pasture": 0.60, "pea": 0.40, "potato": 0.35, "rapeseed": 0.60,
    "sorghum": 0.55, "soybean": 0.50, "strawberry": 0.20, "sugar_beet": 0.55, "sunflower": 0.45,
    "sweet_maize": 0.50, "table_grape": 0.35, "tomato": 0.40, "wheat": 0.55, "wine_grape": 0.45,
}  # fmt: skip
"""Part of the available water that a crop takes without stress, at 5 mm of evaporation a day.

References
----------
Allen et al. (1998), FAO-56, table 22 (p): bean: dry; citrus: 70 % canopy; grass: cool season;
maize: grain; onion and pea: dry; pasture: rotated; wheat: winter and spring.
"""
USUAL_DEPLETION = 0.5  # "commonly used for many crops", FAO-56, ch. 8

WATER = (
    Key("field_capacity", float, "water content that does not drain, m3/m3", low=0.01, high=0.8),
    Key("wilting_point", float, "water content at which plants wilt, m3/m3", low=0, high=0.6),
    Key("crop", str, "sets the threshold by FAO-56, table 22", choices=tuple(DEPLETION)),
    Key("threshold", float, "used part of the available water at which to irrigate, 1", low=0.05,
        high=0.95),
)  # fmt: skip
"""What an owner may tell of the water that plants can take: [site.water]."""


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


def water_faults(table: str, water: Mapping[str, Any], soil: Mapping[str, Any]) -> list[str]:
    """What cannot be, seen together with the checked [site.soil]."""
    high, low = water.get("field_capacity"), water.get("wilting_point")
    faults = []
    if (high is None) != (low is None):
        missing = "field_capacity" if high is None else "wilting_point"
        faults.append(f"{table}.{missing}: missing; give both or none")
    elif high is not None and low is not None and high - low < LEAST_CAPACITY:
        faults.append(
            f"{table}.field_capacity: {high:g} is not {LEAST_CAPACITY} above"
            f" wilting_point = {low:g}; exchange them, or leave both out"
        )
    theta_s = soil.get("theta_s")
    if high is not None and theta_s is not None and high > theta_s:
        faults.append(f"{table}.field_capacity: {high:g} is above site.soil.theta_s = {theta_s:g}")
    return faults


def described_water(water: Mapping[str, Any], soil: Mapping[str, Any]) -> SoilWater | None:
    """Of checked tables [site.water] and [site.soil]; None where neither tells the soil."""
    high, low, threshold = water["field_capacity"], water["wilting_point"], water["threshold"]
    if threshold is None:
        threshold = DEPLETION.get(water["crop"], USUAL_DEPLETION)
    if high is None:
        if soil["known"] is None:
            return None
        theta_r, theta_s, n = soil["theta_r"], soil["theta_s"], soil["n"]
        high = field_capacity(theta_r, theta_s, n, soil["ks_cm_d"])
        low = wilting_point(theta_r, theta_s, soil["alpha_per_cm"], n)
    return SoilWater(high, low, threshold) if high - low >= LEAST_CAPACITY else None
