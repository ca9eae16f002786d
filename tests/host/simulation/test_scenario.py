"""Scenarios depend on seed and index only, and are physically possible."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest

from epithermal_edge.physics.cosmic import cosmic_parameters, cosmic_rate
from epithermal_edge.physics.response import response_rate
from epithermal_host.config.population import Population
from epithermal_host.simulation import sample_place, sample_soil, scenario
from epithermal_host.simulation.scenario import sample
from epithermal_host.simulation.vegetation import demand, leaf_area
from epithermal_host.soil.carsel_parrish import N_LEAST
from epithermal_host.soil.hydraulics import AIR_ENTRY_CM, CATALOGUE, N_WITHOUT_AIR_ENTRY
from epithermal_host.soil.pedotransfer import class_hydraulics, typical_bulk_density_g_cm3
from epithermal_host.weather.generator import generate


@pytest.fixture(scope="module")
def many() -> list[scenario.Scenario]:
    return [sample(Population(), 7, index) for index in range(300)]


def test_a_scenario_depends_on_seed_and_index_only(many):
    assert sample(Population(), 7, 123).to_dict() == many[123].to_dict()
    assert sample(Population(), 8, 123).to_dict() != many[123].to_dict()
    one, two = (s.rng("weather").random(3) for s in (many[0], many[1]))
    assert not np.any(one == two)


def test_soils_are_those_of_carsel_and_parrish_with_their_correlation(many):
    soils = [soil for s in many for soil in s.soils]
    assert {soil.name for soil in soils} == set(CATALOGUE)
    for soil in soils:
        assert sample_soil.POROSITY[0] <= soil.theta_s <= sample_soil.POROSITY[1]
        assert N_LEAST <= soil.n < 4.5
    loams = [s.soils[0] for s in (sample(Population(textures=("silt_loam",)), 1, i)
                                  for i in range(200))]  # fmt: skip
    log_k, log_alpha = (np.log([getattr(s, k) for s in loams]) for k in ("ks_cm_d", "alpha_per_cm"))
    assert np.corrcoef(log_k, log_alpha)[0, 1] > 0.95  # published: 0.99


def test_a_column_has_one_retention_model_and_fine_soils_have_an_air_entry(many):
    for s in many:
        fine = any(soil.n < N_WITHOUT_AIR_ENTRY for soil in s.soils)
        assert {soil.air_entry_cm for soil in s.soils} == {AIR_ENTRY_CM if fine else 0.0}


def test_density_and_lattice_water_match_the_soil(many):
    for s in many:
        top = s.soils[0]
        assert s.site.bulk_density_g_cm3 == pytest.approx(2.65 * (1.0 - top.theta_s))
        bound = float(s.site.lattice_water_g_g) + float(s.site.organic_water_g_g)
        assert s.bound_water_g_g[0] == pytest.approx(bound)
        assert len(s.bound_water_g_g) == len(s.soils)
    mean = {name: np.mean([s.site.lattice_water_g_g for s in many if s.texture == name])
            for name in ("sand", "clay")}  # fmt: skip
    assert mean["clay"] == pytest.approx(0.097 * 0.58, abs=0.005) and mean["sand"] < 0.02


def test_the_grid_has_layers_and_roots(many):
    for s in many[:50]:
        grid = s.grid()
        assert grid.z_cm.size == 41 and grid.z_cm[-1] == pytest.approx(s.depth_cm)
        assert grid.material.max() == len(s.soils) - 1
        assert (grid.root.sum() > 0.0) == (s.cover.kind != "bare")
    assert {len(s.soils) for s in many} == {1, 2}


def test_detectors_have_the_population_s_count_rates(many):
    rates = [
        float(np.asarray(cosmic_rate(np.array([sample_place.DRY_THETA]), s.site))[0]) for s in many
    ]
    assert 300.0 <= min(rates) < 400.0 and 7000.0 < max(rates) <= 10000.0


def test_vegetation_partitions_rain_and_et0_without_creating_water(many):
    kinds = set()
    for s in many[:60]:
        w = generate(s.climate, s.rng("weather"), 11323, 730)
        d, lai = demand(s.cover, w), leaf_area(s.cover, w)
        kinds.add(s.cover.kind)
        assert np.all(lai >= 0.0) and lai.max() < 7.0
        for flux in dataclasses.astuple(d):
            assert np.all(flux >= 0.0)
        assert np.all(10.0 * d.water_cm_d <= w.water_mm + 1e-9)
        both = 10.0 * (d.evaporation_cm_d + d.transpiration_cm_d)
        assert np.all(both <= w.et0_mm + 1e-9)
        if s.cover.kind == "bare":
            assert np.all(d.transpiration_cm_d == 0.0)
            np.testing.assert_allclose(10.0 * d.water_cm_d, w.water_mm, rtol=1e-14)
    assert kinds == {"bare", "grass", "crop"}


def test_each_cover_wilts_as_in_the_table_of_hydrus(many):
    # Feddes' h4 [cm] of Wesseling (1991) and Taylor & Ashcroft (1972), as HYDRUS-1D lists them.
    h_4 = {(s.cover.kind, s.cover.feddes_cm[2]): s.cover.feddes_cm[4] for s in many}
    assert h_4[("grass", -200.0)] == h_4[("crop", -325.0)] == -8000.0
    assert h_4[("crop", -500.0)] == -16000.0


def test_a_scenario_converts_to_json(many):
    text = json.dumps(many[0].to_dict(), allow_nan=False)
    back = json.loads(text)
    assert back["site"]["alpha"] is None and back["soils"][0]["name"] == many[0].texture


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"textures": ("mud",)}, "textures"),
        ({"bare_share": 0.8, "crop_share": 0.5}, "bare_share"),
        ({"aridity_min": 0.0}, "aridity_min"),
        ({"layered_share": 1.5}, "layered_share"),
        ({"nodes": 1002}, "nodes"),
    ],
)
def test_an_impossible_population_is_rejected(change, word):
    with pytest.raises(ValueError, match=word):
        Population(**change)


def test_climates_that_are_named_and_not_passed_raise():
    with pytest.raises(ValueError, match="one climate for each file"):
        sample(Population(climates=("a.toml",)), 1, 1)


REALISTIC = Population(
    plain_share=0.4,
    hydraulics="rosetta",
    layered_share=0.7,
    bare_share=0.1,
    forest_share=0.3,
    litter_share=0.8,
    biomass_max_mm=5.0,
    snow_on_counts=True,
    cosmic_sigma=0.06,
)


def test_a_textbook_scenario_has_one_material_and_nothing_else_acts_on_the_counts():
    places = [sample(REALISTIC, 5, i) for i in range(300)]
    plain = [s for s in places if s.plain]
    assert len(plain) / 300 == pytest.approx(0.4, abs=0.08)
    for s in plain:
        assert len(s.soils) == len(s.bulk_density_g_cm3) == 1 and s.layer_bottoms_cm == ()
        assert (s.cover.litter_mm, s.cover.biomass_mm, s.snow_on_counts) == (0.0, 0.0, False)
        assert np.isnan(s.site.alpha) and np.isnan(s.site.l3_g_cm2)
    others = [s for s in places if not s.plain]
    assert all(s.snow_on_counts and np.isfinite(s.site.alpha) for s in others)
    assert np.mean([len(s.soils) for s in others]) == pytest.approx(1.7, abs=0.1)


def test_soils_of_rosetta_scatter_about_their_class_and_match_their_density():
    loams = dataclasses.replace(REALISTIC, plain_share=0.0, textures=("loam",))
    places = [sample(loams, 2, i) for i in range(300)]
    log_ks, upper, lower = [], [], []
    for s in places:
        for soil, density in zip(s.soils, s.bulk_density_g_cm3, strict=True):
            assert soil.theta_s <= 1.0 - density / 2.65 + 1e-12 and soil.n >= N_LEAST
            mean = class_hydraulics("loam", density)
            log_ks.append(np.log10(soil.ks_cm_d / mean.ks_cm_d))
        upper.append(s.bulk_density_g_cm3[0])
        lower += s.bulk_density_g_cm3[1:]
        assert s.site.bulk_density_g_cm3 == s.bulk_density_g_cm3[0]
    assert np.mean(log_ks) == pytest.approx(0.0, abs=0.06)
    assert np.std(log_ks) == pytest.approx(sample_soil.SCATTER["log10_ks"], rel=0.1)
    typical = typical_bulk_density_g_cm3("loam")
    assert np.mean(upper) == pytest.approx(typical, abs=0.03)
    assert np.mean(lower) == pytest.approx(typical + 0.1, abs=0.04)  # the subsoil is denser


def test_a_textbook_scenario_has_the_configured_weather():
    named = Population(plain_share=1.0, climates=("a.toml",), prior_share=0.0, spell_sigma_max=1.0)
    one = sample(Population(), 1, 1).climate
    assert all(sample(named, 3, i, [one]).climate == one for i in range(20))
    from_prior = dataclasses.replace(named, climates=(), mountain_share=1.0)
    assert all(sample(from_prior, 3, i).climate.spell_sigma == 0.0 for i in range(20))


def test_a_default_population_has_the_places_that_it_had():
    for population in (Population(), REALISTIC):
        places = [sample(population, 5, i) for i in range(10)]
        assert {s.site.response for s in places} == {"cosmic"}
    other = dataclasses.replace(REALISTIC, response=("desilets",))
    for index in range(10):
        one, two = sample(REALISTIC, 5, index), sample(other, 5, index)
        n = one.site.cosmic_n_cph
        same = dataclasses.replace(two.site, response="cosmic", cosmic_n_cph=n)
        assert dataclasses.replace(two, site=same) == one or np.isnan(one.site.alpha)
        dry = [float(response_rate(np.array([0.05]), s.site)[0]) for s in (one, two)]
        assert dry[0] == pytest.approx(dry[1], rel=1e-12)


def test_several_responses_are_drawn_with_their_weights():
    names, weights = ("cosmic", "uts2025_norm_endf8", "desilets"), (1.0, 2.0, 1.0)
    population = Population(response=names, response_weights=weights)
    drawn = [sample(population, 9, i).site.response for i in range(400)]
    share = [drawn.count(name) / 400 for name in names]
    np.testing.assert_allclose(share, [0.25, 0.5, 0.25], atol=0.08)
    equal = [sample(Population(response=names), 9, i).site.response for i in range(300)]
    np.testing.assert_allclose([equal.count(n) / 300 for n in names], 1 / 3, atol=0.09)


def test_the_slope_of_biomass_is_that_of_its_form_or_drawn_between_two():
    def slopes(*names):
        population = Population(bare_share=0.0, crop_share=1.0, biomass_slope=names)
        return np.array([sample(population, 9, i).cover.biomass_slope_per_mm for i in range(300)])

    assert set(slopes()) == {0.005} and set(slopes("morris2024")) == {0.010}
    between = slopes("baatz2015_bwe", "morris2024")
    assert between.min() > 0.0045 and between.max() < 0.010
    assert between.mean() == pytest.approx(0.00725, abs=3e-4)
    usual, named = (
        sample(Population(biomass_max_mm=8.0, biomass_slope=names), 9, 4)
        for names in ((), ("morris2024",))
    )
    assert dataclasses.replace(named.cover, biomass_slope_per_mm=0.005) == usual.cover
    assert named.site == usual.site  # a name alone draws no random number


def test_alpha_and_l3_scatter_and_correlate_as_the_calibrated_sites_of_cosmos(shared):
    with (shared / "field/cosmos-us-dart/cosmic_parameters.csv").open() as file:
        rows = list(csv.DictReader(file))
    bd, alpha, l3 = (np.array([float(r[k]) for r in rows]) for k in ("bd", "alpha", "L3"))
    usual = cosmic_parameters(bd)
    factors = np.array([alpha / usual[0], l3 / usual[1]])
    measured = (*factors.std(axis=1, ddof=1), np.corrcoef(factors)[0, 1])
    population = Population(cosmic_alpha_sigma=0.08, cosmic_l3_sigma=0.16)
    places = [sample(population, 3, i) for i in range(600)]
    own = np.array([
        (s.site.alpha, s.site.l3_g_cm2) / np.ravel(cosmic_parameters(s.site.bulk_density_g_cm3))
        for s in places
    ]).T  # fmt: skip
    np.testing.assert_allclose(own.std(axis=1), [0.08, 0.16], rtol=0.1)
    assert np.corrcoef(own)[0, 1] == pytest.approx(-0.7, abs=0.06)
    np.testing.assert_allclose(measured[:2], [0.08, 0.16], atol=0.035)
    assert measured[2] == pytest.approx(-0.7, abs=0.05)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"response": ("hydrogen",)}, "response must be among cosmic, desilets"),
        ({"response": ()}, "response must be among"),
        ({"biomass_slope": ("baatz2015",)}, "biomass_slope must be among baatz2015_bwe"),
        ({"response_weights": (0.5, 0.5)}, "response_weights must have one value"),
        ({"cosmic_l3_sigma": 0.4}, "must be within 0 to 0.3"),
        ({"cosmic_sigma": 0.1, "cosmic_l3_sigma": 0.1}, "exclude each other"),
        ({"cosmic_correlation": -1.1}, "cosmic_correlation: within"),
    ],
)
def test_impossible_responses_and_scatter_are_refused(keys, fault):
    with pytest.raises(ValueError, match=fault):
        Population(**keys)
