"""One scenario from weather to neutrons."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_host.config import CampaignConfig
from epithermal_host.scenario import Population, Scenario, sample
from epithermal_host.simulate import read_result, result_bytes, simulate, write_result

CAMPAIGN = CampaignConfig(seed=1, soils=1, years=1)


@pytest.fixture(scope="module")
def snowy() -> Scenario:
    """A place whose snow lies for weeks."""
    scenario = sample(Population(textures=("loam",), snow_on_counts=True), 1, 3)
    coldest = min(scenario.climate.t_mean_c)
    winter = tuple(t - coldest - 8.0 for t in scenario.climate.t_mean_c)
    climate = dataclasses.replace(scenario.climate, t_mean_c=winter)
    return dataclasses.replace(scenario, climate=climate)


def test_snow_takes_counts_away_and_leaves_the_soil_as_it_is(snowy):
    with_snow = simulate(snowy, CAMPAIGN)
    without = simulate(dataclasses.replace(snowy, snow_on_counts=False), CAMPAIGN)
    np.testing.assert_array_equal(with_snow.theta, without.theta)
    snow_mm = with_snow.weather.snow_mm
    lies = np.concatenate(([False], snow_mm > 5.0))
    bare = np.concatenate(([False], snow_mm == 0.0))
    assert lies.sum() > 10 and bare.sum() > 50
    assert np.all(with_snow.rate_cph[lies] < without.rate_cph[lies])
    np.testing.assert_array_equal(with_snow.rate_cph[bare], without.rate_cph[bare])


def test_a_result_comes_back_from_its_file_and_equal_results_give_equal_bytes(snowy, tmp_path):
    result = simulate(snowy, CAMPAIGN)
    assert result_bytes(snowy, result, "k") == result_bytes(snowy, simulate(snowy, CAMPAIGN), "k")
    write_result(tmp_path / "a.npz", snowy, result, "k")
    back = read_result(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.theta, result.theta)
    np.testing.assert_array_equal(back.weather.day, result.weather.day)
    np.testing.assert_array_equal(back.rate_cph, result.rate_cph)


def test_a_year_before_the_period_makes_the_first_heads_forgotten(snowy):
    loam = dataclasses.replace(snowy, snow_on_counts=False)
    period = dataclasses.replace(CAMPAIGN, spin_up_years=2)
    wet = simulate(dataclasses.replace(loam, h_initial_cm=-80.0), period)
    dry = simulate(dataclasses.replace(loam, h_initial_cm=-800.0), period)
    np.testing.assert_allclose(wet.means[0], dry.means[0], atol=0.005)
