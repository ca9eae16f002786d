"""Define the place that `figures` simulates without a campaign: a loam in Belgium."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.site import Site
from epithermal_host.simulation.vegetation import Cover, demand
from epithermal_host.soil.hydraulics import CATALOGUE
from epithermal_host.soil.profile import Profile, graded_grid, root_density
from epithermal_host.soil.richards import Column, Feddes, Forcing, solve
from epithermal_host.weather.generator import Climate, Weather

CoverName = Literal["bare", "grass"]

SOIL = CATALOGUE["loam"]
DEPTH_CM, NODES, TOP_DZ_CM = 150.0, 101, 0.25
ROOT_DEPTH_CM = 50.0
DRY_THETA, DRY_RATE_CPH = 0.05, 2000.0  # count rate of the detector at this theta [counts h-1]

_DAYS = (31.0, 28.25, 31.0, 30.0, 31.0, 30.0, 31.0, 31.0, 30.0, 31.0, 30.0, 31.0)
_RAIN_MM = (75.5, 65.1, 59.3, 46.7, 59.7, 70.8, 76.9, 86.5, 65.3, 67.8, 76.2, 87.4)
_WET_DAYS = (18.9, 16.9, 15.7, 13.1, 14.7, 14.1, 14.3, 14.3, 14.1, 16.1, 18.3, 19.4)
_WET = tuple(wet / days for wet, days in zip(_WET_DAYS, _DAYS, strict=True))
_MEMORY = 0.3  # lag-1 autocorrelation of wet and dry days

UCCLE = Climate(
    latitude_deg=50.8,
    altitude_m=100.0,
    wet_after_dry=tuple(p * (1.0 - _MEMORY) for p in _WET),
    wet_after_wet=tuple(p * (1.0 - _MEMORY) + _MEMORY for p in _WET),
    rain_wet_day_mm=tuple(mm / wet for mm, wet in zip(_RAIN_MM, _WET_DAYS, strict=True)),
    rain_shape=0.75,
    t_mean_c=(3.7, 4.2, 7.1, 10.4, 13.9, 16.7, 18.7, 18.4, 15.2, 11.3, 7.2, 4.3),
    t_range_c=(5.4, 6.6, 8.7, 10.8, 10.9, 10.9, 10.9, 10.8, 9.9, 8.1, 6.2, 5.2),
    t_range_wet=0.85,
    t_wet_shift_c=-1.0,
    t_sigma_c=3.0,
    t_memory=0.75,
    t_range_sigma=0.3,
    t_range_memory=0.25,
    et0_sigma=0.2,
    et0_memory=0.4,
    pressure_hpa=1004.0,
    pressure_wet_drop_hpa=5.0,
    pressure_sigma_hpa=8.0,
    pressure_memory=0.8,
    humidity_pct=(85.0, 82.0, 77.0, 72.0, 72.0, 73.0, 73.0, 74.0, 79.0, 83.0, 86.0, 87.0),
    humidity_wet_rise_pct=6.0,
    humidity_sigma_pct=7.0,
    humidity_memory=0.6,
    incoming_mean=150.0,
    incoming_sigma=0.02,
    incoming_memory=0.99,
    forbush_per_year=1.0,
    forbush_depth=0.04,
    snow_below_c=0.5,
    melt_mm_per_c_d=3.5,
    et0_factor=0.82,  # FAO-56 over Hargreaves at De Bilt, docs/weather.md
)
"""Belgium: rain, wet days and mean temperature are the normals of Uccle 1991-2020 (KMI); the other
values are typical, and the figures hardly depend on them."""


def own_site() -> Site:
    """Return the true site, which the inversion uses."""
    unit = Site(
        cosmic_n_cph=1.0,
        bulk_density_g_cm3=SOIL.bulk_density_g_cm3,
        lattice_water_g_g=0.025,
        organic_water_g_g=0.01,
        latitude_deg=UCCLE.latitude_deg,
    )
    rate = float(np.asarray(cosmic_rate(np.array([DRY_THETA]), unit))[0])
    return dataclasses.replace(unit, cosmic_n_cph=DRY_RATE_CPH / rate)


def own_cover(kind: CoverName) -> Cover:
    """Return bare soil, or grass with its roots and pressure heads of water uptake."""
    feddes = Feddes()
    return Cover(
        kind=kind,
        lai_min=0.3,
        lai_max=2.5,
        sow_day=0.0,
        season_d=1.0,
        root_depth_cm=ROOT_DEPTH_CM,
        feddes_cm=(feddes.h_0_cm, feddes.h_opt_cm, feddes.h_2_high_cm, feddes.h_2_low_cm,
                   feddes.h_3_cm),
        extinction=0.5,
        evaporation_share=1.0,
        interception_mm=0.2,
    )  # fmt: skip


def own_profile(cover: CoverName, weather: Weather) -> Profile:
    """Solve the place's soil water under a weather, from h = -200 cm, with free drainage."""
    grid = graded_grid(DEPTH_CM, NODES, TOP_DZ_CM)
    grid = dataclasses.replace(grid, root=root_density(grid.z_cm, ROOT_DEPTH_CM))
    fluxes = demand(own_cover(cover), weather)
    forcing = Forcing(
        end_d=np.arange(1.0, weather.day.size + 1.0),
        rain_cm_d=fluxes.water_cm_d,
        pot_evaporation_cm_d=fluxes.evaporation_cm_d,
        pot_transpiration_cm_d=fluxes.transpiration_cm_d,
    )
    return solve(Column((SOIL,), grid, h_initial_cm=-200.0, feddes=Feddes()), forcing)
