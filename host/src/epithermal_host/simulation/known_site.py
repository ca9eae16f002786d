"""Simulate the site description of a station: calibration and soil properties, with errors."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from epithermal_edge.inference import pipeline
from epithermal_edge.inference.features import HOURS
from epithermal_edge.physics.atmosphere import absolute_humidity
from epithermal_edge.physics.corrections import biomass_at
from epithermal_edge.physics.response import (
    matching_scale,
    relative_slope,
    response_rate,
    response_theta,
)
from epithermal_edge.records import NAN, product
from epithermal_edge.site import Site
from epithermal_edge.times import HOUR_S, YEAR_D
from epithermal_host.arrays import Array, Integers
from epithermal_host.config.instrument import COVER_ERRORS, SOIL_ERRORS, InstrumentConfig
from epithermal_host.simulation.scenario import Scenario
from epithermal_host.simulation.vegetation import Cover, biomass_mm, leaf_area
from epithermal_host.soil.hydraulics import SoilHydraulics
from epithermal_host.soil.pedotransfer import class_hydraulics
from epithermal_host.weather.generator import Weather, day_of_year

SAMPLED_ABOVE_C = 4.0  # daily mean temperature; frozen soil is not sampled
PROFILE_SIGMA = 0.010  # error of N due to a day's profile, as theta [m3 m-3]; own choice
USUAL_THETA = 0.2  # [m3 m-3] at which COSMIC has the rate of another response, without samples
THETA_MIN = 0.02  # driest sample [m3 m-3]
UNSAMPLED_N_SIGMA = 0.03  # of N from a nearby detector, if no day can be sampled; own choice
MEASURED, FROM_TEXTURE = 1.0, 0.5  # values of Site.soil_known


@dataclass(frozen=True, slots=True)
class Days:
    """Input of a calibration: the true water content to be sampled, and the station's records."""

    weather: Weather  # (days,)
    rate_cph: Array  # (days + 1,) without atmosphere
    columns: dict[str, Array]  # of records, (24 * days,)
    theta: Array | None  # (days,) true mean of 0-30 cm [m3 m-3]


def describe_site(
    scenario: Scenario,
    days: Days,
    config: InstrumentConfig,
    rng: np.random.Generator,
    *,
    knows_latitude: bool,
) -> Site:
    """Draw the description of its site that a station has.

    Notes
    -----
    N is the mean over the sampling days of: the counts, corrected as the station corrects them,
    over the rate of its response for N = 1 at the sampled water content. `cosmic_n_sigma` is the
    standard error that a user would expect: from sampling and profile, without errors of COSMIC.
    """
    truth = scenario.site
    e_density, e_lattice = rng.standard_normal(2)
    lattice = float(truth.lattice_water_g_g) + config.lattice_sigma_g_g * e_lattice
    soil: dict[str, Any] = _describe_soil(scenario, config, rng)
    cover: dict[str, Any] = _describe_cover(scenario.cover, days.weather, config, rng)
    biomass: dict[str, Any] = _describe_biomass(scenario, days.weather, config)
    known = dataclasses.replace(
        truth,
        bulk_density_g_cm3=float(truth.bulk_density_g_cm3)
        * max(1.0 + config.density_sigma * e_density, 0.7),
        lattice_water_g_g=max(lattice, 0.0),
        latitude_deg=truth.latitude_deg if knows_latitude else NAN,
        cosmic_n_sigma=0.0,
        **soil,
        **cover,
        **biomass,
    )
    if config.sampling_days == 0:
        return known
    known = dataclasses.replace(known, alpha=NAN, l3_g_cm2=NAN)
    if not config.response_known and known.response != "cosmic":
        scale = float(matching_scale(np.array([USUAL_THETA]), truth, "cosmic")[0])
        known = dataclasses.replace(known, response="cosmic", cosmic_n_cph=scale)
    return _calibrate(scenario, known, days, config, rng)


def calibration_sigma(site: Site, sampled: Array, sampling_sigma: float) -> float:
    """Estimate the relative standard error of an N from sampling days [-].

    Parameters
    ----------
    site :
        As described to the station; its N has no effect.
    sampled : (k,) [m3 m-3]
        Field mean of each sampling day.
    sampling_sigma : [m3 m-3]
        Standard error of one field mean.
    """
    unit = dataclasses.replace(site, cosmic_n_cph=1.0)
    relative = float(np.mean(np.abs(relative_slope(sampled, unit))))
    return relative * math.hypot(sampling_sigma, PROFILE_SIGMA) / math.sqrt(sampled.size)


def correction_factors(site: Site, air: dict[str, Array], end_s: Array) -> Array:
    """Compute the product of all correction factors of counts up to `end_s` [s, UTC]."""
    vapour = absolute_humidity(air["temperature_c"], air["relative_humidity_pct"])
    biomass = biomass_at(site, end_s).reshape(-1)
    by_name = pipeline.factors(site, air["pressure_hpa"], vapour, air["incoming"], biomass)
    return product(by_name.values())


def _calibrate(
    scenario: Scenario, known: Site, days: Days, config: InstrumentConfig, rng: np.random.Generator
) -> Site:
    """Replace N of a site by the value from its sampling days."""
    if days.theta is None:
        raise ValueError("sampling days need the true water content")
    weather = days.weather
    fit = (weather.snow_mm == 0.0) & (weather.t_min_c + weather.t_max_c > 2.0 * SAMPLED_ABOVE_C)
    if not fit.any():  # permanent snow or frost: samples would not determine N
        n_cph = float(known.cosmic_n_cph) * (1.0 + UNSAMPLED_N_SIGMA * rng.standard_normal())
        return dataclasses.replace(known, cosmic_n_cph=n_cph, cosmic_n_sigma=UNSAMPLED_N_SIGMA)
    choice = np.flatnonzero(fit)
    number = min(int(rng.integers(1, config.sampling_days, endpoint=True)), choice.size)
    picked = rng.choice(choice, number, replace=False)
    sampled = days.theta[picked]
    if rng.random() < config.sampling_weighted_share:
        rate = 0.5 * (days.rate_cph[picked] + days.rate_cph[picked + 1])
        sampled = response_theta(rate, scenario.site)
    sampled = sampled + config.sampling_sigma * rng.standard_normal(number)
    sampled = np.maximum(sampled, THETA_MIN)
    first_hour = int(weather.day[0]) * HOURS
    corrected = _corrected_rate(known, days.columns, picked, first_hour)
    per_n = response_rate(sampled, dataclasses.replace(known, cosmic_n_cph=1.0))
    return dataclasses.replace(
        known,
        cosmic_n_cph=float(np.mean(corrected / per_n)),
        cosmic_n_sigma=calibration_sigma(known, sampled, config.sampling_sigma),
    )


def _corrected_rate(
    site: Site, columns: dict[str, Array], picked: Integers, first_hour: int
) -> Array:
    """Compute the corrected mean rate of the picked days, (k,) [counts h-1]."""
    rows = (picked[:, None] * HOURS + np.arange(HOURS)).ravel()
    air = {name: columns[name][rows] for name in
           ("temperature_c", "relative_humidity_pct", "pressure_hpa", "incoming")}  # fmt: skip
    corrected = columns["counts"][rows] * correction_factors(
        site, air, (first_hour + 1.0 + rows) * HOUR_S
    )
    counts = corrected.reshape(-1, HOURS).sum(axis=1)
    return np.asarray(counts / columns["duration_s"][rows].reshape(-1, HOURS).sum(axis=1) * HOUR_S)


def _describe_soil(
    scenario: Scenario, config: InstrumentConfig, rng: np.random.Generator
) -> dict[str, float]:
    """Draw the described hydraulic parameters of the uppermost material; empty: not described."""
    soil = scenario.soils[0]
    u, error = rng.random(), config.soil_error_scale * SOIL_ERRORS * rng.standard_normal(5)
    if u < config.soil_measured_share:
        theta_r = max(soil.theta_r + error[0], 0.0)
        return {
            "soil_known": MEASURED,
            "soil_theta_r": theta_r,
            "soil_theta_s": max(soil.theta_s + error[1], theta_r + 0.1),
            "soil_alpha_per_cm": soil.alpha_per_cm * 10.0 ** error[2],
            "soil_n": 1.0 + (soil.n - 1.0) * 10.0 ** error[3],
            "soil_ks_cm_d": soil.ks_cm_d * 10.0 ** error[4],
        }
    if u < config.soil_measured_share + config.soil_texture_share:
        estimate = class_hydraulics(soil.name, scenario.bulk_density_g_cm3[0])
        return {"soil_known": FROM_TEXTURE, **_parameters(estimate)}
    return {}


def _describe_cover(
    cover: Cover, weather: Weather, config: InstrumentConfig, rng: np.random.Generator
) -> dict[str, Any]:
    """Draw the described mean annual cycle of the vegetation; empty: not described.

    Canopy cover is the share of the net radiation that the canopy intercepts.
    """
    has, error = rng.random() < config.cover_told_share, rng.standard_normal(4)
    e_days, e_canopy, e_roots, e_share = config.cover_error_scale * COVER_ERRORS * error
    if not has:
        return {}
    shade = 1.0 - np.exp(-cover.extinction * leaf_area(cover, weather))
    year = _mean_year(weather, shade, e_days)
    return {
        "cover_known": 1.0,
        "canopy_cover": tuple(np.minimum(year * math.exp(e_canopy), 1.0).tolist()),
        "root_depth_cm": 0.0 if cover.kind == "bare" else cover.root_depth_cm * math.exp(e_roots),
        "evaporation_share": float(np.clip(cover.evaporation_share + e_share, 0.0, 1.0)),
    }


def _describe_biomass(
    scenario: Scenario, weather: Weather, config: InstrumentConfig
) -> dict[str, Any]:
    """Draw the described biomass over the year, with the true slope; empty: not described.

    Its random numbers are its own: those of other descriptions do not depend on it. An error of the
    slope acts as one of the biomass.
    """
    rng, cover = scenario.rng("biomass", config.seed), scenario.cover
    has, error = rng.random() < config.biomass_known_share, rng.standard_normal(2)
    if not has or cover.biomass_mm == 0.0:
        return {}
    e_days, e_mass = config.cover_error_scale * COVER_ERRORS[:2] * error
    year = _mean_year(weather, biomass_mm(cover, weather), e_days) * math.exp(e_mass)
    return {
        "biomass_kg_m2": tuple(year.tolist()),
        "biomass_slope_per_mm": cover.biomass_slope_per_mm,
    }


def _mean_year(weather: Weather, daily: Array, late_d: float) -> Array:
    """Average daily values by the day of the year, shifted to later dates; (366,)."""
    day = day_of_year(weather.day).astype(np.int64)
    days, index = np.unique(day, return_inverse=True)
    mean = np.bincount(index, daily) / np.bincount(index)
    return np.interp(np.arange(1, YEAR_D + 1) - late_d, days, mean, period=YEAR_D)


def _parameters(soil: SoilHydraulics) -> dict[str, float]:
    return {
        "soil_theta_r": soil.theta_r,
        "soil_theta_s": soil.theta_s,
        "soil_alpha_per_cm": soil.alpha_per_cm,
        "soil_n": soil.n,
        "soil_ks_cm_d": soil.ks_cm_d,
    }
