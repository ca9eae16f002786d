"""Draw the vegetation, litter and detector of a scenario."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from epithermal_edge.physics.atmosphere import atmospheric_depth, mean_pressure
from epithermal_edge.physics.corrections import BIOMASS_SLOPES, mcjannet_scale, pressure_coefficient
from epithermal_edge.physics.cosmic import cosmic_parameters
from epithermal_edge.physics.response import response_rate
from epithermal_edge.records import NAN
from epithermal_edge.site import Site
from epithermal_host.arrays import Array
from epithermal_host.config.population import Population
from epithermal_host.simulation.vegetation import BIOMASS_SLOPE_PER_MM, Cover, CoverKind
from epithermal_host.weather.generator import Climate

FEDDES_CM = {
    "forest": (-10.0, -25.0, -500.0, -800.0, -16000.0),
    "grass": (-10.0, -25.0, -200.0, -800.0, -8000.0),
    "wheat": (0.0, -1.0, -500.0, -900.0, -16000.0),
    "maize": (-15.0, -30.0, -325.0, -600.0, -8000.0),
}
"""Heads of water uptake [cm]: h1, h2, h3 at high and at low demand, h4."""
DRY_THETA = 0.05  # at which the population specifies a detector's count rate [m3 m-3]


def sample_cover(rng: np.random.Generator, p: Population, south: bool, depth_cm: float) -> Cover:
    """Draw bare soil, forest, grass or a crop, with Feddes' pressure heads from HYDRUS-1D."""
    u, winter = rng.random(), rng.random() < 0.4
    kind: CoverKind = "bare" if u < p.bare_share else "grass"
    if p.bare_share <= u < p.bare_share + p.crop_share:
        kind = "crop"
    elif u >= 1.0 - p.forest_share:
        kind = "forest"
    if kind == "forest":
        lai, roots = (2.5, 4.0) if winter else (0.3, 4.5), (70.0, 160.0)  # evergreen or deciduous
        plants = "forest"
    elif kind == "grass":  # pasture
        lai, roots, plants = (0.3, 2.5), (30.0, 100.0), "grass"
    elif winter:
        lai, roots, plants = (0.0, 4.5), (60.0, 120.0), "wheat"
    else:
        lai, roots, plants = (0.0, 4.0), (40.0, 100.0), "maize"
    sow = rng.uniform(265.0, 300.0) if winter else rng.uniform(85.0, 135.0)
    season = rng.uniform(270.0, 300.0) if winter else rng.uniform(120.0, 165.0)
    return Cover(
        kind=kind,
        lai_min=lai[0],
        lai_max=max(lai[1] * float(rng.uniform(0.3, 1.3)), lai[0]),
        sow_day=float((sow + (182.0 if south else 0.0)) % 365.0),
        season_d=float(season),
        root_depth_cm=min(float(rng.uniform(*roots)), 0.9 * depth_cm),
        feddes_cm=FEDDES_CM[plants],
        extinction=float(rng.uniform(0.4, 0.65)),
        evaporation_share=float(rng.uniform(p.evaporation_share_min, 1.0)),
        interception_mm=float(rng.uniform(0.15, 0.3)) if p.interception else 0.0,
        litter_mm=_sample_litter(rng, p, kind),
        biomass_mm=float(rng.uniform(0.0, p.biomass_max_mm)) if kind == "crop" else 0.0,
        biomass_slope_per_mm=_sample_biomass_slope(rng, p),
    )


def _sample_biomass_slope(rng: np.random.Generator, p: Population) -> float:
    """Return the slope of the one form named, or draw it between those of several [mm-1]."""
    slopes = [BIOMASS_SLOPES[form].per_mm for form in p.biomass_slope]
    if not slopes:
        return BIOMASS_SLOPE_PER_MM
    return float(rng.uniform(min(slopes), max(slopes))) if len(slopes) > 1 else slopes[0]


def _sample_litter(rng: np.random.Generator, p: Population, kind: CoverKind) -> float:
    """Draw the water capacity of litter, residues or moss [mm]; zero on bare soil."""
    has, amount = rng.random() < p.litter_share, float(rng.uniform(0.0, p.litter_max_mm))
    if kind == "bare" or not has:
        return 0.0
    return 1.5 * amount if kind == "forest" else amount


def cosmic_factors(p: Population, normal: Array) -> Array:
    """Scale COSMIC's alpha and L3 about their regressions by two standard normal numbers, (2,)."""
    if p.cosmic_sigma > 0.0 or not (p.cosmic_alpha_sigma or p.cosmic_l3_sigma):
        return np.asarray(np.maximum(1.0 + p.cosmic_sigma * normal, 0.5))
    r = p.cosmic_correlation
    l3 = r * normal[0] + math.sqrt(1.0 - r * r) * normal[1]
    factors = 1.0 + np.array([p.cosmic_alpha_sigma * normal[0], p.cosmic_l3_sigma * l3])
    return np.asarray(np.maximum(factors, 0.5))


def sample_site(
    rng: np.random.Generator,
    p: Population,
    climate: Climate,
    density_g_cm3: float,
    lattice_g_g: float,
    factors: Array,
) -> Site:
    """Draw the detector's site: hydrogen of the soil, altitude, cutoff rigidity, count rate."""
    cutoff_gv = 14.9 * math.cos(math.radians(climate.latitude_deg)) ** 4  # Stoermer, dipole
    depth_g_cm2 = float(atmospheric_depth(climate.latitude_deg, climate.altitude_m))
    rate = np.log([p.dry_rate_min_cph, p.dry_rate_max_cph])
    alpha, l3_g_cm2 = NAN, NAN
    if p.cosmic_sigma > 0.0 or p.cosmic_alpha_sigma > 0.0 or p.cosmic_l3_sigma > 0.0:
        regression = cosmic_parameters(np.array(density_g_cm3))
        alpha, l3_g_cm2 = (float(r * f) for r, f in zip(regression, factors, strict=True))
    unit = Site(
        cosmic_n_cph=1.0,
        bulk_density_g_cm3=density_g_cm3,
        lattice_water_g_g=lattice_g_g,
        organic_water_g_g=min(float(rng.exponential(0.01)), 0.05),
        alpha=alpha,
        l3_g_cm2=l3_g_cm2,
        latitude_deg=climate.latitude_deg,
        beta_per_hpa=float(
            pressure_coefficient(climate.latitude_deg, climate.altitude_m, cutoff_gv)
        ),
        pressure_ref_hpa=float(mean_pressure(climate.altitude_m)),
        incoming_form="mcjannet2023",
        incoming_ref=climate.incoming_mean,
        incoming_scale=float(mcjannet_scale(cutoff_gv, depth_g_cm2)),
    )
    dry_cph = math.exp(rng.uniform(*rate))
    unit = dataclasses.replace(unit, response=_sample_response(rng, p))
    n_cph = dry_cph / float(np.asarray(response_rate(np.array([DRY_THETA]), unit))[0])
    return dataclasses.replace(unit, cosmic_n_cph=n_cph)


def _sample_response(rng: np.random.Generator, p: Population) -> str:
    """Draw the response of a place; one name takes no random number."""
    if len(p.response) == 1:
        return p.response[0]
    weights = np.array(p.response_weights or (1.0,) * len(p.response))
    return str(rng.choice(p.response, p=weights / weights.sum()))
