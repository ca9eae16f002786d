"""What grows on the soil: leaves over the season, and how rain and ET0 are shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from epithermal_host.arrays import Array, Integers
from epithermal_host.weather.generator import Weather, day_of_year

CoverKind = Literal["bare", "grass", "crop", "forest"]

SOWN_CM = 5.0  # depth of the seed, from which roots grow
BIOMASS_SLOPE_PER_MM = 0.005
"""Relative loss of counts for each mm of water in plants. Own choice: CRNPy has 0.0053, Morris et
al. (2024) 0.010; too large a one teaches to stretch swings."""
MID_SEASON = 0.5  # of the season: leaves and roots are full
LEAVES_START_C, LEAVES_FULL_C = 3.0, 15.0  # running mean temperature: leaves begin, are full


@dataclass(frozen=True, slots=True)
class Cover:
    """What grows on the soil and how it takes water."""

    kind: CoverKind
    lai_min: float  # leaf area index outside the season
    lai_max: float
    sow_day: float  # day of the year; crop only
    season_d: float  # from sowing to harvest; crop only
    root_depth_cm: float
    feddes_cm: tuple[float, float, float, float, float]  # h1, h2, h3 high, h3 low, h4
    extinction: float  # of net radiation by leaves, Beer's law
    evaporation_share: float  # soil evaporation over its potential
    interception_mm: float  # water that a unit of leaf area holds a day
    litter_mm: float = 0.0  # water that litter on the soil can hold; counts see it
    biomass_mm: float = 0.0  # water equivalent of a full stand of leaves; counts see it


@dataclass(frozen=True, slots=True)
class Demand:
    """Water offered to and asked of the column, a day; each array is (days,), [cm d-1]."""

    water_cm_d: Array  # rain through the canopy and snow melt
    evaporation_cm_d: Array
    transpiration_cm_d: Array
    litter_cm: Array  # water in the litter at the day's end [cm]


def demand(cover: Cover, weather: Weather) -> Demand:
    """Split rain and ET0 between canopy, soil and roots.

    Notes
    -----
    The canopy holds back rain and evaporates it before anything else: at most `interception_mm`
    times leaf area, the rain, and ET0. What is left of ET0 is shared between roots and soil by
    Beer's law; snow on the ground stops the soil's evaporation. Litter is a bucket: it fills before
    the soil gets water, and dries at the rate that would have been the soil's before the soil does.

    References
    ----------
    Ritchie (1972), eq. 12 (share of the soil); von Hoyningen-Huene (1981) gives about 0.2 to 0.3 mm
    a unit of leaf area.
    """
    lai = leaf_area(cover, weather)
    rain = np.where(weather.snow_mm > 0.0, 0.0, np.fmin(weather.precipitation_mm, weather.water_mm))
    kept = np.minimum(np.minimum(cover.interception_mm * lai, rain), weather.et0_mm)
    left = weather.et0_mm - kept
    to_soil = np.exp(-cover.extinction * lai)
    ground_mm = np.where(weather.snow_mm > 0.0, 0.0, left * to_soil)
    through_mm = weather.water_mm - kept
    litter_mm, caught_mm, dried_mm = _litter(cover.litter_mm, through_mm, ground_mm)
    return Demand(
        water_cm_d=0.1 * (through_mm - caught_mm),
        evaporation_cm_d=0.1 * (ground_mm - dried_mm) * cover.evaporation_share,
        transpiration_cm_d=0.1 * left * (1.0 - to_soil),
        litter_cm=0.1 * litter_mm,
    )


def _litter(capacity_mm: float, offered_mm: Array, asked_mm: Array) -> tuple[Array, Array, Array]:
    """Water in the litter at each day's end, what it caught and what dried from it [mm]."""
    stored, caught, dried = (np.zeros_like(offered_mm) for _ in range(3))
    if capacity_mm == 0.0:
        return stored, caught, dried
    now = 0.0
    for i, (offer, ask) in enumerate(zip(offered_mm.tolist(), asked_mm.tolist(), strict=True)):
        caught[i] = min(offer, capacity_mm - now)
        now += caught[i]
        dried[i] = min(ask, now)
        now -= dried[i]
        stored[i] = now
    return stored, caught, dried


def biomass_mm(cover: Cover, weather: Weather) -> Array:
    """Water equivalent of the plants on each day, (days,) [mm]: a crop's grows with its leaves,
    that of others is constant."""
    if cover.kind != "crop" or cover.lai_max == 0.0:
        return np.full(weather.day.size, cover.biomass_mm)
    return np.asarray(cover.biomass_mm * leaf_area(cover, weather) / cover.lai_max)


def leaf_area(cover: Cover, weather: Weather) -> Array:
    """Leaf area index of each day, (days,) [-].

    A crop rises for half of its season, stands to four fifths and ripens; grass and forest follow
    the mean temperature of the last 30 days; bare soil has none.
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
    """Rooting depth of a crop on each day, (days,) [cm]; where nothing grows, that of the last.

    From the seed's depth at sowing to the full depth in mid-season.

    References
    ----------
    Borg and Grimes (1986), eq. 1: a sine from sowing to maturity; here to mid-season, when the
    leaf area is full.
    """
    ripe = np.minimum(_age(cover, day) / MID_SEASON, 1.0)
    front = cover.root_depth_cm * (0.5 + 0.5 * np.sin(3.03 * ripe - 1.47))
    return np.asarray(np.maximum(front, min(SOWN_CM, cover.root_depth_cm)))


def _age(cover: Cover, day: Integers) -> Array:
    """Of a crop since its sowing, as a share of the season; above 1 nothing grows."""
    return ((day_of_year(day) - cover.sow_day) % 365.25) / cover.season_d
