"""Irrigation follows the depletion of the rooted depth and ends with its season."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_host.config.own_site import Irrigation
from epithermal_host.config.population import Population
from epithermal_host.config.run_toml import CampaignConfig
from epithermal_host.simulation import irrigation
from epithermal_host.simulation.irrigation import add_water, depletion, irrigate
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.simulate import solve_water, weather_of
from epithermal_host.soil.hydraulics import CATALOGUE

CAMPAIGN = CampaignConfig(1, 1, years=2)


def field(**cover: object) -> Scenario:
    """A dry place with grass on loam."""
    drawn = sample(Population(bare_share=0.0, layered_share=0.0, crop_share=0.0), 3, 1)
    climate = dataclasses.replace(drawn.climate, rain_wet_day_mm=(1.0,) * 12)
    usual = {"kind": "grass", "root_depth_cm": 60.0, "lai_max": 3.0}
    return dataclasses.replace(
        drawn,
        soils=(CATALOGUE["loam"],),
        climate=climate,
        cover=dataclasses.replace(drawn.cover, **(usual | cover)),
    )


@pytest.mark.parametrize("amount_mm", [0.0, 25.0])
def test_no_day_of_the_season_stays_too_dry_and_no_irrigation_comes_early(amount_mm):
    place, rule = field(), Irrigation(depletion=0.5, amount_mm=amount_mm)
    weather = weather_of(place, CAMPAIGN)
    added = irrigate(place, weather, CAMPAIGN, rule)
    lacking, available = depletion(
        place, solve_water(place, add_water(weather, added), CAMPAIGN), weather.day
    )
    (days,) = np.nonzero(added)
    assert days.size > 4
    assert (lacking[days - 1] >= 0.5 * available[days - 1]).all()
    date = weather.day.astype("datetime64[D]").astype(str)
    inside = np.array([rule.begin <= d[5:] <= rule.end for d in date])
    assert inside[days - 1].all()
    too_dry = np.flatnonzero(inside & (lacking >= 0.5 * available))
    # a day may be above the threshold before the water of its morning has reached the roots
    assert np.isin(too_dry + 1, days).mean() > 0.5
    if amount_mm:
        assert set(added[days]) == {25.0}
    else:
        np.testing.assert_allclose(added[days], lacking[days - 1], rtol=0.05)


def test_the_water_between_field_capacity_and_wilting_point_is_available():
    place = field(root_depth_cm=40.0)
    weather = weather_of(place, CAMPAIGN)
    profile = solve_water(place, weather, CAMPAIGN)
    loam = CATALOGUE["loam"]
    lacking, available = depletion(place, profile, weather.day)
    share = float(loam.theta(-330.0) - loam.theta(-15000.0))
    np.testing.assert_allclose(available, 400.0 * share, rtol=1e-9)
    at_capacity = np.full_like(profile.theta, float(loam.theta(-330.0)) - 0.5 * share)
    half = dataclasses.replace(profile, theta=at_capacity)
    np.testing.assert_allclose(depletion(place, half, weather.day)[0], 200.0 * share, rtol=1e-9)
    assert (lacking <= available).all()


def test_a_season_may_contain_the_turn_of_the_year():
    day = np.arange(np.datetime64("2020-10-01"), np.datetime64("2022-05-01")).astype(np.int64)
    number = irrigation._season(day, Irrigation(begin="11-01", end="03-31"))
    date = day.astype("datetime64[D]").astype(str).tolist()
    by_date = dict(zip(date, number.tolist(), strict=True))
    assert by_date["2020-10-31"] == by_date["2021-04-01"] == -1
    assert by_date["2020-11-01"] == by_date["2021-03-31"] == by_date["2021-11-01"] - 1


@pytest.mark.parametrize(
    "wrong", [{"depletion": 1.0}, {"amount_mm": -1.0}, {"begin": "2024-05-01"}, {"end": "31.8."}]
)
def test_an_impossible_rule_is_rejected(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Irrigation(**wrong)
