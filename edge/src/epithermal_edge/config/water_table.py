"""Describe [site.water] of station.toml: keys, thresholds of FAO-56, and the soil's water."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epithermal_edge.config.toml_keys import Key
from epithermal_edge.config.year_curve import interpolate_year
from epithermal_edge.physics.plant_water import (
    RootZone,
    SoilWater,
    field_capacity,
    wilting_point,
)
from epithermal_edge.physics.texture import CLASS_MEANS, texture_class, texture_water

LEAST_CAPACITY = 0.01  # [m3 m-3] field capacity minus wilting point; less is an error of the input
DEPLETION = {
    "alfalfa": 0.55, "apple": 0.50, "barley": 0.55, "bean": 0.45, "cabbage": 0.45, "carrot": 0.35,
    "citrus": 0.50, "cotton": 0.65, "grass": 0.40, "lettuce": 0.30, "maize": 0.55, "oats": 0.55,
    "olive": 0.65, "onion": 0.30, "pasture": 0.60, "pea": 0.40, "potato": 0.35, "rapeseed": 0.60,
    "sorghum": 0.55, "soybean": 0.50, "strawberry": 0.20, "sugar_beet": 0.55, "sunflower": 0.45,
    "sweet_maize": 0.50, "table_grape": 0.35, "tomato": 0.40, "wheat": 0.55, "wine_grape": 0.45,
}  # fmt: skip
"""Fraction of the available water that a crop can use without stress, at ETc of 5 mm per day.

References
----------
Allen et al. (1998), FAO-56, table 22 (p): bean: dry; citrus: 70 % canopy; grass: cool season;
maize: grain; onion and pea: dry; pasture: rotated; wheat: winter and spring.
"""
USUAL_ROOT_DEPTH_CM = 30.0  # without a known depth: the layer of theta
LEAST_ROOT_DEPTH_CM = 10.0  # thinnest layer that the network estimates
USUAL_DEPLETION = 0.5  # "commonly used for many crops", FAO-56, ch. 8
WATER = (
    Key("field_capacity", float, "water content left after drainage, m3/m3", low=0.01, high=0.8),
    Key("wilting_point", float, "water content at which plants wilt, m3/m3", low=0, high=0.6),
    Key("crop", str, "sets the threshold by FAO-56, table 22", choices=tuple(DEPLETION)),
    Key("threshold", float, "depletion of the plant-available water at which to irrigate, 1",
        low=0.05, high=0.95),
    Key("texture", str, "texture class, for field capacity and wilting point",
        choices=tuple(CLASS_MEANS)),
    Key("sand_pct", float, "sand of the fine earth, %", low=0, high=100),
    Key("clay_pct", float, "clay of the fine earth, %", low=0, high=100),
    Key("root_depth_cm", float, "depth over which to advise, cm", low=10, high=200, yearly=True),
    Key("crop_coefficient", float, "evapotranspiration of the crop over ET0", default=1.0,
        low=0.05, high=2, yearly=True),
    Key("confidence", float, "probability of a passed threshold from which on to irrigate",
        default=0.5, low=0.05, high=0.95),
)  # fmt: skip
"""Keys of [site.water]: the limits of plant-available water, and the root zone."""


def check_water(table: str, water: Mapping[str, Any], soil: Mapping[str, Any]) -> list[str]:
    """List the faults of [site.water], alone and together with the checked [site.soil]."""
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
    return faults + _check_texture(table, water)


def _check_texture(table: str, water: Mapping[str, Any]) -> list[str]:
    """List the faults of texture class, sand and clay together."""
    sand, clay = water.get("sand_pct"), water.get("clay_pct")
    if (sand is None) != (clay is None):
        missing = "sand_pct" if sand is None else "clay_pct"
        return [f"{table}.{missing}: missing; give both or none"]
    if sand is None or clay is None:
        return []
    if sand + clay > 100.0:
        return [f"{table}.clay_pct: sand and clay are {sand + clay:g} %, more than 100"]
    name, named = texture_class(sand, 100.0 - sand - clay, clay), water.get("texture")
    if named not in (None, name):
        return [f"{table}.texture: {named}, but sand_pct and clay_pct are those of {name}"]
    return []


def derive_soil_water(water: Mapping[str, Any], soil: Mapping[str, Any]) -> SoilWater | None:
    """Derive the soil's water from checked tables; None if neither of them describes the soil."""
    high, low, threshold = water["field_capacity"], water["wilting_point"], water["threshold"]
    if threshold is None:
        threshold = DEPLETION.get(water["crop"], USUAL_DEPLETION)
    if high is None and soil["known"] is not None:
        theta_r, theta_s, n = soil["theta_r"], soil["theta_s"], soil["n"]
        high = field_capacity(theta_r, theta_s, n, soil["ks_cm_d"])
        low = wilting_point(theta_r, theta_s, soil["alpha_per_cm"], n)
    elif high is None:
        texture = _texture(water)
        if texture is None:
            return None
        high, low = texture_water(texture)
    return SoilWater(high, low, threshold) if high - low >= LEAST_CAPACITY else None


def derive_root_zone(
    water: Mapping[str, Any], soil: Mapping[str, Any], cover: Mapping[str, Any]
) -> RootZone | None:
    """Derive the root zone from checked tables; None if none of them describes the soil.

    Its depth is that of [site.water], else of [site.cover], else 30 cm.
    """
    limits = derive_soil_water(water, soil)
    if limits is None:
        return None
    depth_cm = water["root_depth_cm"] or cover["root_depth_cm"] or USUAL_ROOT_DEPTH_CM
    source = "texture"
    if water["field_capacity"] is not None:
        source = "given"
    elif soil["known"] is not None:
        source = soil["known"]
    return RootZone(
        soil=limits,
        depth_cm=tuple(max(depth, LEAST_ROOT_DEPTH_CM) for depth in _curve(depth_cm)),
        crop_coefficient=_curve(water["crop_coefficient"]),
        adjusts=water["threshold"] is None,
        confidence=water["confidence"],
        source=source,
    )


def _texture(water: Mapping[str, Any]) -> str | None:
    """Return the texture class, given or from sand and clay."""
    sand, clay, named = water["sand_pct"], water["clay_pct"], water["texture"]
    return named if sand is None else texture_class(sand, 100.0 - sand - clay, clay)


def _curve(value: float | Mapping[str, float]) -> tuple[float, ...]:
    """Return a value of each day of the year from a constant or from points, (366,)."""
    points = value if isinstance(value, Mapping) else {"01-01": value}
    return interpolate_year(points)
