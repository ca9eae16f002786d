"""Irrigate a simulated field as soon as its roots have used a share of the available water."""

from __future__ import annotations

import dataclasses

import numpy as np

from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.config.own_site import Irrigation
from epithermal_host.config.run_toml import CampaignConfig
from epithermal_host.simulation.scenario import Scenario
from epithermal_host.simulation.simulate import (
    Result,
    after_spin_up,
    respond,
    solve_water,
    weather_of,
)
from epithermal_host.simulation.vegetation import root_depth
from epithermal_host.soil.profile import Profile
from epithermal_host.weather import observed
from epithermal_host.weather.generator import Weather

FIELD_CAPACITY_CM, WILTING_POINT_CM = -330.0, -15000.0
"""Heads that bound the water for plants: -33 kPa and -1.5 MPa, as in FAO-56 (Allen et al. 1998)."""


def irrigate(
    scenario: Scenario, weather: Weather, campaign: CampaignConfig, rule: Irrigation
) -> Array:
    """Find the irrigation of each day, (days,) [mm], by the soil water that it leads to.

    Parameters
    ----------
    scenario :
        The place; its plants must have roots.
    weather :
        (days,), including the spin-up.

    Notes
    -----
    On the morning after the first day at whose end the depletion reaches the threshold, the field
    is irrigated. The column is solved again after each irrigation of every season, until no day is
    left above the threshold without one.

    Raises
    ------
    SolverError
        The column cannot be solved.
    """
    season = _season(weather.day, rule)
    added = np.zeros(weather.day.size)
    last = dict.fromkeys(np.unique(season[season >= 0]).tolist(), -1)
    while True:
        profile = solve_water(scenario, add_water(weather, added), campaign)
        depleted_mm, available_mm = depletion(scenario, profile, weather.day)
        too_dry = depleted_mm >= rule.depletion * available_mm
        new = False
        for number, before in last.items():
            # an irrigation needs a day to reach the roots
            days = np.flatnonzero(too_dry & (season == number))
            days = days[(days > before) & (days + 1 < added.size)]
            if days.size:
                last[number] = int(days[0]) + 1
                added[days[0] + 1] = rule.amount_mm or depleted_mm[days[0]]
                new = True
        if not new:
            return added


def simulate_irrigated(
    scenario: Scenario,
    campaign: CampaignConfig,
    rule: Irrigation | None,
    station_days: observed.Window | None = None,
) -> tuple[Result, Array]:
    """Simulate a scenario, `simulate.simulate`, and its irrigation by a rule, if there is one.

    Returns
    -------
    Result, (days,) [mm]
        The result, whose rain is what the station's gauge collects, and the irrigation of each
        stored day.

    Raises
    ------
    SolverError
        The column cannot be solved.
    ConfigError
        The engine is not installed.
    """
    natural = weather_of(scenario, campaign, station_days)
    if rule is None:
        return respond(scenario, natural, campaign), np.zeros(campaign.days)
    irrigation_mm = irrigate(scenario, natural, campaign, rule)
    result = respond(scenario, add_water(natural, irrigation_mm), campaign)
    if not rule.measured:
        result = dataclasses.replace(result, weather=after_spin_up(natural, campaign))
    return result, irrigation_mm[campaign.spin_up_days :]


def add_water(weather: Weather, irrigation_mm: Array) -> Weather:
    """Add irrigation by sprinklers, (days,) [mm], to the rain and to the water on the ground."""
    return dataclasses.replace(
        weather,
        precipitation_mm=weather.precipitation_mm + irrigation_mm,
        water_mm=weather.water_mm + irrigation_mm,
    )


def depletion(scenario: Scenario, profile: Profile, day: Integers) -> tuple[Array, Array]:
    """Compute depleted and available water of the rooted depth at each day's end, (days,) [mm].

    References
    ----------
    Allen et al. (1998), FAO-56, eq. 82 and 85.
    """
    material = scenario.grid().material
    wet, dry = (
        np.array([float(soil.theta(h)) for soil in scenario.soils])[material]
        for h in (FIELD_CAPACITY_CM, WILTING_POINT_CM)
    )
    return depleted_water(profile.theta[1:], profile.z_cm, wet, dry, rooted_depth(scenario, day))


def rooted_depth(scenario: Scenario, day: Integers) -> Array:
    """Compute the depth of the roots on each day, (days,) [cm]."""
    if scenario.cover.kind == "crop" and scenario.roots_grow:
        return root_depth(scenario.cover, day)
    return np.full(day.size, scenario.cover.root_depth_cm)


def depleted_water(
    theta: Array, z_cm: Array, wet: Array, dry: Array, depth_cm: Array
) -> tuple[Array, Array]:
    """Compute depleted and available water above a depth of each day, (days,) [mm].

    Parameters
    ----------
    theta : (days, nz) [m3 m-3]
    z_cm : (nz) [cm]
    wet, dry : (nz) [m3 m-3]
        Field capacity and wilting point.
    depth_cm : (days,) [cm]
    """
    lacking = storage_to(np.clip(wet - theta, 0.0, wet - dry), z_cm, depth_cm)
    return lacking, storage_to(np.broadcast_to(wet - dry, theta.shape), z_cm, depth_cm)


def storage_to(theta: Array, z_cm: Array, depth_cm: Array) -> Array:
    """Integrate theta, (days, nz), from the surface to a depth of each day; (days,) [mm]."""
    pieces = 5.0 * (theta[:, 1:] + theta[:, :-1]) * np.diff(z_cm)
    total = np.concatenate((np.zeros((len(theta), 1)), np.cumsum(pieces, axis=1)), axis=1)
    upper = np.clip(np.searchsorted(z_cm, depth_cm) - 1, 0, z_cm.size - 2)
    share = np.clip((depth_cm - z_cm[upper]) / np.diff(z_cm)[upper], 0.0, 1.0)
    rows = np.arange(len(theta))
    return np.asarray(total[rows, upper] * (1.0 - share) + total[rows, upper + 1] * share)


def _season(day: Integers, rule: Irrigation) -> Integers:
    """Number the season of each day; -1 outside. A season may contain the turn of the year."""
    dates = day.astype("datetime64[D]")
    year = dates.astype("datetime64[Y]")
    month_day = _number((dates.astype("datetime64[M]") - year).astype(np.int64) + 1,
                        (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1)  # fmt: skip
    begin, end = (_number(*map(int, text.split("-"))) for text in (rule.begin, rule.end))
    inside: Mask = (month_day >= begin) & (month_day <= end)
    if begin > end:
        inside = (month_day >= begin) | (month_day <= end)
    number = year.astype(np.int64) - ((begin > end) & (month_day <= end))
    return np.where(inside, number, -1)


def _number(month: Integers | int, day: Integers | int) -> Integers:
    return np.asarray(100 * month + day)
