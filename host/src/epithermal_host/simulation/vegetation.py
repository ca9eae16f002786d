"""Simulate vegetation: leaf area over the season, and the partition of rain and ET0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from epithermal_host.arrays import Array, Integers
from epithermal_host.weather.generator import Weather, day_of_year

CoverKind = Literal["bare", "grass", "crop", "forest"]

SOWN_CM = 5.0  # depth of the seed, from which roots grow
BIOMASS_SLOPE_PER_MM = 0.005
"""Relative loss of counts for each mm of water in plants, where no form is chosen. Own choice:
between Baatz et al. (2015, 0.0045) and Morris et al. (2024, 0.010), as CRNPy's 0.0053; with a
value that is too large the network learns to exaggerate variations."""
MID_SEASON = 0.5  # share of the season after which leaf area and roots are at their maximum
LEAVES_START_C, LEAVES_FULL_C = 3.0, 15.0  # running mean temperature: first leaves, full leaves


@dataclass(frozen=True, slots=True)
class Cover:
    """Vegetation of a place, its water uptake and the water that it stores."""

    kind: CoverKind
    lai_min: float  # leaf area index outside the season
    lai_max: float
    sow_day: float  # day of the year; crop only
    season_d: float  # from sowing to harvest; crop only
    root_depth_cm: float
    feddes_cm: tuple[float, float, float, float, float]  # h1, h2, h3 high, h3 low, h4
    extinction: float  # of net radiation by leaves, Beer's law
    evaporation_share: float  # soil evaporation over its potential
    interception_mm: float  # daily water capacity of a unit of leaf area
    litter_mm: float = 0.0  # water capacity of litter; its water reduces the counts
    biomass_mm: float = 0.0  # water equivalent of the full-grown plants; it reduces the counts
    biomass_slope_per_mm: float = BIOMASS_SLOPE_PER_MM  # relative loss of counts


@dataclass(frozen=True, slots=True)
class Demand:
    """Daily supply to and potential fluxes from the column; each array is (days,), [cm d-1]."""

    water_cm_d: Array  # rain through the canopy and snow melt
    evaporation_cm_d: Array
    transpiration_cm_d: Array
    litter_cm: Array  # water in the litter at the end of the day [cm]


def demand(cover: Cover, weather: Weather) -> Demand:
    """Partition rain and ET0 between canopy, litter, soil and roots.

    Notes
    -----
    The canopy intercepts rain and evaporates it first: the least of `interception_mm` times leaf
    area, rain and ET0. The remaining ET0 is partitioned between roots and soil by Beer's law; snow
    on the ground stops soil evaporation. Litter is a bucket: it fills before the soil receives
    water, and dries before the soil does, at the soil's potential rate.

    References
    ----------
    Ritchie (1972), eq. 12 (share of the soil); von Hoyningen-Huene (1981): about 0.2 to 0.3 mm per
    unit of leaf area.
    """
    lai = leaf_area(cover, weather)
    rain = np.where(weather.snow_mm > 0.0, 0.0, np.fmin(weather.precipitation_mm, weather.water_mm))
    intercepted = np.minimum(np.minimum(cover.interception_mm * lai, rain), weather.et0_mm)
    left = weather.et0_mm - intercepted
    to_soil = np.exp(-cover.extinction * lai)
    ground_mm = np.where(weather.snow_mm > 0.0, 0.0, left * to_soil)
    through_mm = weather.water_mm - intercepted
    litter_mm, caught_mm, dried_mm = _litter(cover.litter_mm, through_mm, ground_mm)
    return Demand(
        water_cm_d=0.1 * (through_mm - caught_mm),
        evaporation_cm_d=0.1 * (ground_mm - dried_mm) * cover.evaporation_share,
        transpiration_cm_d=0.1 * left * (1.0 - to_soil),
        litter_cm=0.1 * litter_mm,
    )


def _litter(capacity_mm: float, supply_mm: Array, demand_mm: Array) -> tuple[Array, Array, Array]:
    """Compute water in the litter at each day's end, daily uptake and evaporation [mm]."""
    if capacity_mm == 0.0:
        return np.zeros_like(supply_mm), np.zeros_like(supply_mm), np.zeros_like(supply_mm)
    from epithermal_host.weather import recurrences  # numba: for a simulation alone

    return recurrences.litter(capacity_mm, supply_mm, demand_mm)


def biomass_mm(cover: Cover, weather: Weather) -> Array:
    """Compute the water equivalent of the plants, (days,) [mm].

    That of a crop is proportional to its leaf area; that of other vegetation is constant.
    """
    if cover.kind != "crop" or cover.lai_max == 0.0:
        return np.full(weather.day.size, cover.biomass_mm)
    return np.asarray(cover.biomass_mm * leaf_area(cover, weather) / cover.lai_max)


def leaf_area(cover: Cover, weather: Weather) -> Array:
    """Compute the leaf area index of each day, (days,) [-].

    That of a crop increases during the first half of its season, is constant up to four fifths and
    then decreases; that of grass and forest follows the mean temperature of the last 30 days; bare
    soil has none.
    """
    if cover.kind == "bare":
        return np.zeros(weather.day.size)
    if cover.kind == "crop":
        age = _age(cover, weather.day)
        shape = np.interp(
            age, [0.0, 0.15, MID_SEASON, 0.8, 1.0, 1.001], [0.0, 0.1, 1.0, 1.0, 0.4, 0.0]
        )
        return np.asarray(cover.lai_min + (cover.lai_max - cover.lai_min) * shape)
    t = 0.5 * (weather.t_min_c + weather.t_max_c)
    total = np.cumsum(np.concatenate((np.full(30, t[:30].mean()), t)))
    running = (total[30:] - total[:-30]) / 30.0
    shape = np.clip((running - LEAVES_START_C) / (LEAVES_FULL_C - LEAVES_START_C), 0.0, 1.0)
    return np.asarray(cover.lai_min + (cover.lai_max - cover.lai_min) * shape)


def root_depth(cover: Cover, day: Integers) -> Array:
    """Compute a crop's rooting depth on each day, (days,) [cm]; after harvest the last one.

    It increases from the seed's depth at sowing to the full depth in mid-season.

    References
    ----------
    Borg and Grimes (1986), eq. 1: a sine from sowing to maturity; here to mid-season, when leaf
    area is at its maximum.
    """
    ripe = np.minimum(_age(cover, day) / MID_SEASON, 1.0)
    front = cover.root_depth_cm * (0.5 + 0.5 * np.sin(3.03 * ripe - 1.47))
    return np.asarray(np.maximum(front, min(SOWN_CM, cover.root_depth_cm)))


def _age(cover: Cover, day: Integers) -> Array:
    """Compute a crop's age since sowing as a share of the season; above 1: no crop."""
    return ((day_of_year(day) - cover.sow_day) % 365.25) / cover.season_d
