"""Litter stores water like a bucket; the water in a crop follows its leaf area."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_host.config.population import Population
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.vegetation import Cover, biomass_mm, demand
from epithermal_host.weather.generator import Weather, generate

DAYS = 1461


@pytest.fixture(scope="module")
def crop() -> tuple[Scenario, Weather]:
    scenario = sample(Population(crop_share=1.0, bare_share=0.0, mountain_share=1.0), 4, 2)
    return scenario, generate(scenario.climate, scenario.rng("weather"), 11323, DAYS)


def covered(scenario: Scenario, **change: object) -> Cover:
    return dataclasses.replace(scenario.cover, evaporation_share=1.0, **change)


def test_litter_stores_its_water_until_it_dries(crop):
    scenario, weather = crop
    bare = demand(covered(scenario), weather)
    with_litter = demand(covered(scenario, litter_mm=5.0), weather)
    caught = bare.water_cm_d - with_litter.water_cm_d
    dried = bare.evaporation_cm_d - with_litter.evaporation_cm_d
    held = with_litter.litter_cm
    np.testing.assert_allclose(np.cumsum(caught - dried), held, atol=1e-10)
    assert caught.min() >= -1e-15 and dried.min() >= -1e-15 and held.min() >= 0.0
    assert held.max() == pytest.approx(0.5) and (held == 0.0).sum() > 100  # mm: 5
    available = np.concatenate(([0.0], held[:-1])) + caught
    np.testing.assert_allclose(dried, np.minimum(bare.evaporation_cm_d, available), atol=1e-12)
    np.testing.assert_array_equal(bare.transpiration_cm_d, with_litter.transpiration_cm_d)


def test_litter_fills_before_the_soil_receives_water_and_does_not_dry_under_snow(crop):
    scenario, weather = crop
    bare, litter = demand(covered(scenario), weather), demand(covered(scenario, litter_mm=5.0),
                                                              weather)  # fmt: skip
    reached = litter.water_cm_d > 1e-12
    room = 0.5 - np.concatenate(([0.0], litter.litter_cm[:-1]))
    np.testing.assert_allclose((bare.water_cm_d - litter.water_cm_d)[reached], room[reached],
                               atol=1e-12)  # fmt: skip
    lies = weather.snow_mm > 0.0
    assert lies.sum() > 30
    dried = bare.evaporation_cm_d - litter.evaporation_cm_d
    assert np.all(dried[lies] == 0.0) and dried[~lies].sum() > 1.0


def test_without_litter_it_holds_no_water(crop):
    scenario, weather = crop
    assert np.all(demand(covered(scenario), weather).litter_cm == 0.0)


def test_a_crop_s_water_follows_its_leaves_and_is_zero_out_of_season(crop):
    scenario, weather = crop
    cover = covered(scenario, biomass_mm=4.0, sow_day=100.0, season_d=140.0)
    water = biomass_mm(cover, weather)
    assert water.max() == pytest.approx(4.0) and water.min() == 0.0
    day = weather.day - 11323 + 1.0  # from 1 January 2001
    first = water[:365]
    assert np.all(first[(day[:365] < 100.0) | (day[:365] > 241.0)] == 0.0)
    assert np.all(first[(day[:365] > 171.0) & (day[:365] < 211.0)] == pytest.approx(4.0))


def test_only_crops_have_water_that_reduces_the_counts():
    population = Population(biomass_max_mm=8.0, forest_share=0.3, crop_share=0.3, litter_share=0.5)
    covers = [sample(population, 3, i).cover for i in range(300)]
    assert {cover.kind for cover in covers} == {"bare", "grass", "crop", "forest"}
    for cover in covers:
        assert (cover.biomass_mm > 0.0) == (cover.kind == "crop") and cover.biomass_mm < 8.0
        assert cover.litter_mm == 0.0 or cover.kind != "bare"
        assert cover.litter_mm <= (9.0 if cover.kind == "forest" else 6.0)
    have = np.mean([cover.litter_mm > 0.0 for cover in covers if cover.kind != "bare"])
    assert have == pytest.approx(0.5, abs=0.1)
