"""Simulate weather, soil column and neutrons of one scenario."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from epithermal_edge.physics.corrections import biomass_factor
from epithermal_host.arrays import Array, Array32
from epithermal_host.config.run_toml import CampaignConfig
from epithermal_host.neutrons.cosmic import node_layer_bottoms
from epithermal_host.neutrons.response import profile_rate
from epithermal_host.simulation.scenario import Scenario
from epithermal_host.simulation.vegetation import (
    biomass_mm,
    demand,
    root_depth,
)
from epithermal_host.soil.profile import Profile, mean_theta, root_density
from epithermal_host.soil.richards import Column, Feddes, Forcing, solve
from epithermal_host.weather import observed
from epithermal_host.weather.generator import Weather, generate

DEPTHS_CM = ((0, 30), (0, 10), (10, 30), (30, 60))  # depth intervals of mean theta
FLUXES = ("infiltration", "evaporation", "transpiration", "runoff", "drainage")
WEATHER = tuple(f.name for f in dataclasses.fields(Weather))


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a scenario in the stored period; row 0: its start, row d + 1: the end of day d."""

    weather: Weather  # (days,)
    z_cm: Array  # (nz) [cm]
    theta: Array32  # (days + 1, nz) [m3 m-3]
    means: Array  # (len(DEPTHS_CM), days + 1) mean theta of each depth interval
    rate_cph: Array  # (days + 1,) neutrons without atmosphere [counts h-1]
    fluxes_cm: Array  # (len(FLUXES),) sums over the period
    balance_error_cm: float  # maximum, including the spin-up


def simulate(
    scenario: Scenario, campaign: CampaignConfig, station_days: observed.Window | None = None
) -> Result:
    """Simulate weather, soil water and neutrons of one scenario.

    Parameters
    ----------
    scenario :
        The place.
    campaign :
        The period, its spin-up, and the engine.
    station_days :
        Observed weather, including the spin-up, of a scenario that names a station.

    Raises
    ------
    ValueError
        The scenario names a station and `station_days` is missing, or the reverse.
    SolverError
        The column cannot be solved.
    ConfigError
        The engine is not installed.
    """
    return respond(scenario, weather_of(scenario, campaign, station_days), campaign)


def weather_of(
    scenario: Scenario, campaign: CampaignConfig, station_days: observed.Window | None = None
) -> Weather:
    """Generate the weather of a scenario, or take a station's days; (days,), with the spin-up.

    Raises
    ------
    ValueError
        The scenario names a station and `station_days` is missing, or the reverse.
    """
    if bool(scenario.observed) != (station_days is not None):
        raise ValueError(
            f"scenario {scenario.index}: needs the weather of {scenario.observed or 'no station'}"
        )
    skip = campaign.spin_up_days
    first, days = campaign.first_day - skip, skip + campaign.days
    weather = generate(scenario.climate, scenario.rng("weather"), first, days)
    if station_days is None:
        return weather
    return observed.apply_window(station_days, weather, scenario.climate)


def after_spin_up(weather: Weather, campaign: CampaignConfig) -> Weather:
    """Return the weather of the stored days."""
    return Weather(*(getattr(weather, name)[campaign.spin_up_days :] for name in WEATHER))


def solve_water(scenario: Scenario, weather: Weather, campaign: CampaignConfig) -> Profile:
    """Solve the soil water of a scenario under a weather that includes the spin-up.

    Raises
    ------
    SolverError
        The column cannot be solved.
    ConfigError
        The engine is not installed.
    """
    if campaign.engine == "richards":
        return solve(column(scenario), forcing(scenario, weather))
    from epithermal_host.soil import hydrus

    # the variable alone names a program to start
    return hydrus.solve(column(scenario), forcing(scenario, weather))


def respond(scenario: Scenario, weather: Weather, campaign: CampaignConfig) -> Result:
    """Simulate soil water and neutrons under a weather that includes the spin-up.

    Raises
    ------
    SolverError
        The column cannot be solved.
    ConfigError
        The engine is not installed.
    """
    skip = campaign.spin_up_days
    profile = solve_water(scenario, weather, campaign)
    stored = slice(skip, None)
    theta = profile.theta[stored]
    material = scenario.grid().material
    density = np.array(scenario.bulk_density_g_cm3)[material]
    alpha, l3_g_cm2 = scenario.cosmic_parameters(density)
    cover = scenario.cover
    plants = biomass_factor(_at_ends(biomass_mm(cover, weather)), cover.biomass_slope_per_mm)
    return Result(
        weather=after_spin_up(weather, campaign),
        z_cm=profile.z_cm,
        theta=theta.astype(np.float32),
        means=np.stack([mean_theta(profile.z_cm, theta, *depth) for depth in DEPTHS_CM]),
        rate_cph=profile_rate(
            node_layer_bottoms(profile.z_cm),
            theta,
            density,
            np.array(scenario.bound_water_g_g)[material],
            scenario.site,
            n_cph=scenario.site.cosmic_n_cph / plants[stored],
            alpha=alpha,
            l3_g_cm2=l3_g_cm2,
            surface_water_cm=surface_water(scenario, weather)[stored],
        ),
        fluxes_cm=_fluxes(profile, skip),
        balance_error_cm=float(np.abs(profile.balance_error_cm).max()),
    )


def surface_water(scenario: Scenario, weather: Weather) -> Array:
    """Compute the water above the soil that reduces the counts, (days + 1,) [cm].

    It is the water in litter and, with `snow_on_counts`, in snow.
    """
    litter_cm = demand(scenario.cover, weather).litter_cm
    return _at_ends(litter_cm + 0.1 * weather.snow_mm * scenario.snow_on_counts)


def _at_ends(daily: Array) -> Array:
    """Add the first day's value before values at days' ends; (days,) to (days + 1,)."""
    return np.concatenate((daily[:1], daily))


def column(scenario: Scenario) -> Column:
    """Convert the scenario's soil to the solver's column."""
    bare = scenario.cover.kind == "bare"
    return Column(
        soils=scenario.soils,
        grid=scenario.grid(),
        h_initial_cm=scenario.h_initial_cm,
        feddes=None if bare else Feddes(*scenario.cover.feddes_cm),
    )


def forcing(scenario: Scenario, weather: Weather) -> Forcing:
    """Convert the scenario's weather to the solver's forcing, one record per day."""
    fluxes = demand(scenario.cover, weather)
    roots = None
    if scenario.cover.kind == "crop" and scenario.roots_grow:
        depth_cm = root_depth(scenario.cover, weather.day)
        roots = root_density(scenario.grid().z_cm / depth_cm[:, None], 1.0)
    return Forcing(
        end_d=np.arange(1.0, weather.day.size + 1.0),
        rain_cm_d=fluxes.water_cm_d,
        pot_evaporation_cm_d=fluxes.evaporation_cm_d,
        pot_transpiration_cm_d=fluxes.transpiration_cm_d,
        root_density=roots,
    )


def _fluxes(profile: Profile, skip: int) -> Array:
    sums = (getattr(profile, f"{name}_cm") for name in FLUXES)
    return np.array([total[-1] - total[skip] for total in sums])
