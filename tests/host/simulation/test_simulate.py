"""Simulation of one scenario from weather to neutrons."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_edge.physics.cosmic import cosmic_parameters
from epithermal_edge.physics.response import profile_mean, response_rate
from epithermal_edge.site import Site
from epithermal_host.config.population import Population
from epithermal_host.config.run_toml import CampaignConfig
from epithermal_host.neutrons.cosmic import neutron_rate, node_layer_bottoms
from epithermal_host.neutrons.response import profile_rate
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.simulate import (
    Result,
    forcing,
    simulate,
    surface_water,
)
from epithermal_host.simulation.vegetation import BIOMASS_SLOPE_PER_MM, biomass_mm, root_depth
from epithermal_host.weather.generator import generate

CAMPAIGN = CampaignConfig(seed=1, soils=1, years=1)


@pytest.fixture(scope="module")
def snowy() -> Scenario:
    """A place with snow cover for weeks."""
    scenario = sample(Population(textures=("loam",), snow_on_counts=True), 1, 3)
    coldest = min(scenario.climate.t_mean_c)
    winter = tuple(t - coldest - 8.0 for t in scenario.climate.t_mean_c)
    climate = dataclasses.replace(scenario.climate, t_mean_c=winter)
    return dataclasses.replace(scenario, climate=climate)


def test_snow_reduces_the_counts_and_does_not_change_the_soil(snowy):
    with_snow = simulate(snowy, CAMPAIGN)
    without = simulate(dataclasses.replace(snowy, snow_on_counts=False), CAMPAIGN)
    np.testing.assert_array_equal(with_snow.theta, without.theta)
    snow_mm = with_snow.weather.snow_mm
    lies = np.concatenate(([False], snow_mm > 5.0))
    bare = np.concatenate(([False], snow_mm == 0.0))
    assert lies.sum() > 10 and bare.sum() > 50
    assert np.all(with_snow.rate_cph[lies] < without.rate_cph[lies])
    np.testing.assert_array_equal(with_snow.rate_cph[bare], without.rate_cph[bare])


def test_the_initial_heads_have_no_effect_after_the_spin_up(snowy):
    loam = dataclasses.replace(snowy, snow_on_counts=False)
    period = dataclasses.replace(CAMPAIGN, spin_up_years=2)
    wet = simulate(dataclasses.replace(loam, h_initial_cm=-80.0), period)
    dry = simulate(dataclasses.replace(loam, h_initial_cm=-800.0), period)
    np.testing.assert_allclose(wet.means[0], dry.means[0], atol=0.005)


def test_a_crop_s_roots_deepen_from_sowing_to_mid_season():
    crop = sample(Population(crop_share=1.0, bare_share=0.0), 1, 0)
    cover = dataclasses.replace(crop.cover, sow_day=100.0, season_d=140.0, root_depth_cm=80.0)
    day = np.arange(99, 99 + 365)  # from 10 April, day 100 of 1970
    depth = root_depth(cover, day)
    assert depth[0] == 5.0 and np.all(np.diff(depth[:141]) >= 0.0)
    assert depth[35] == pytest.approx(80.0 * (0.5 + 0.5 * np.sin(1.515 - 1.47)))  # half way
    assert depth[70] == pytest.approx(80.0, rel=1e-3) and depth[140] == depth[70]


def test_growing_roots_take_no_water_from_below_their_depth():
    grows = sample(Population(crop_share=1.0, bare_share=0.0, layered_share=0.0), 1, 0)
    stands = dataclasses.replace(grows, roots_grow=False)
    weather = generate(grows.climate, grows.rng("weather"), 11323, 400)
    roots = forcing(grows, weather).root_density
    assert roots is not None and forcing(stands, weather).root_density is None
    z = grows.grid().z_cm
    depth = root_depth(grows.cover, weather.day)
    assert roots.shape == (400, z.size)
    np.testing.assert_array_equal(roots > 0.0, z < depth[:, None])
    full = int(np.argmax(depth))
    np.testing.assert_allclose(roots[full], stands.grid().root, atol=1e-3)


def test_the_lower_material_s_density_and_lattice_water_affect_the_counts():
    layered = Population(layered_share=1.0, textures=("sand", "clay"))
    scenario = next(
        s
        for s in (sample(layered, 3, i) for i in range(100))
        if [soil.name for soil in s.soils] == ["sand", "clay"] and s.layer_bottoms_cm[0] < 30.0
    )
    assert scenario.bound_water_g_g[1] > scenario.bound_water_g_g[0]
    dry = dataclasses.replace(scenario, bound_water_g_g=(scenario.bound_water_g_g[0],) * 2)
    lower, without = (simulate(s, CAMPAIGN).rate_cph for s in (scenario, dry))
    assert np.all(lower < without) and np.all(lower > 0.8 * without)


def rate_of_the_soil_alone(scenario: Scenario, result: Result) -> np.ndarray:
    """Compute COSMIC on a result's profiles without water above the soil."""
    material = scenario.grid().material
    density = np.array(scenario.bulk_density_g_cm3)[material]
    return neutron_rate(
        node_layer_bottoms(result.z_cm),
        result.theta.astype(np.float64),
        density,
        density * np.array(scenario.bound_water_g_g)[material],
        scenario.site.cosmic_n_cph,
    )


def test_water_in_the_litter_reduces_the_counts():
    scenario = sample(Population(textures=("loam",), bare_share=0.0, crop_share=0.0), 1, 5)
    cover = dataclasses.replace(scenario.cover, litter_mm=6.0)
    scenario = dataclasses.replace(scenario, cover=cover)
    result = simulate(scenario, CAMPAIGN)
    weather = generate(scenario.climate, scenario.rng("weather"), 11323 - 365, 730)
    wet_cm = surface_water(scenario, weather)[365:]
    share = result.rate_cph / rate_of_the_soil_alone(scenario, result)
    dry, full = wet_cm == 0.0, wet_cm > 0.5
    assert dry.sum() > 20 and full.sum() > 20
    np.testing.assert_allclose(share[dry], 1.0, rtol=1e-6)  # profiles are in single precision
    assert np.all(share[~dry] < 1.0)
    assert np.all((share[full] > 0.8) & (share[full] < 0.95))


def test_water_in_a_crop_reduces_the_counts_and_does_not_change_the_soil():
    scenario = sample(Population(bare_share=0.0, crop_share=1.0), 1, 0)
    grown = dataclasses.replace(scenario, cover=dataclasses.replace(scenario.cover, biomass_mm=6.0))
    without, with_plants = simulate(scenario, CAMPAIGN), simulate(grown, CAMPAIGN)
    np.testing.assert_array_equal(with_plants.theta, without.theta)
    weather = generate(scenario.climate, scenario.rng("weather"), 11323 - 365, 730)
    lost = BIOMASS_SLOPE_PER_MM * biomass_mm(grown.cover, weather)[364:]
    assert lost.max() == pytest.approx(0.03) and (lost == 0.0).sum() > 30
    np.testing.assert_allclose(with_plants.rate_cph / without.rate_cph, 1.0 - lost, rtol=1e-12)
    steeper = dataclasses.replace(grown.cover, biomass_slope_per_mm=0.010)
    steep = simulate(dataclasses.replace(grown, cover=steeper), CAMPAIGN)
    np.testing.assert_allclose(steep.rate_cph / without.rate_cph, 1.0 - 2.0 * lost, rtol=1e-12)


def test_cosmic_s_scatter_is_in_every_layer_of_the_true_place():
    population = Population(cosmic_sigma=0.1, layered_share=1.0)
    many = [sample(population, 6, i) for i in range(200)]
    factors = []
    for s in many:
        usual = cosmic_parameters(np.array(s.bulk_density_g_cm3))
        own = s.cosmic_parameters(np.array(s.bulk_density_g_cm3))
        ratio = [o / u for o, u in zip(own, usual, strict=True)]
        assert all(np.ptp(r) < 1e-12 for r in ratio)  # the same in all layers of a place
        factors.append([r[0] for r in ratio])
    assert np.mean(factors, axis=0) == pytest.approx([1.0, 1.0], abs=0.03)
    assert np.std(factors, axis=0) == pytest.approx([0.1, 0.1], rel=0.2)
    odd = many[0]
    usual_site = dataclasses.replace(odd.site, alpha=np.nan, l3_g_cm2=np.nan)
    usual_place = dataclasses.replace(odd, site=usual_site)
    with_scatter, without = simulate(odd, CAMPAIGN), simulate(usual_place, CAMPAIGN)
    np.testing.assert_array_equal(with_scatter.theta, without.theta)
    assert np.all(with_scatter.rate_cph != without.rate_cph)
    assert not np.isfinite(sample(Population(), 6, 0).site.alpha)


@pytest.mark.parametrize("name", ["desilets", "uts2021_mcnp_drf", "uts2025_norm_endf8"])
def test_the_rate_of_a_profile_by_another_response_is_that_of_its_weighted_mean(name):
    bottoms = np.arange(1.0, 101.0)
    density, bound = np.full(100, 1.4), np.full(100, 0.03)
    site = Site(900.0, 1.4, 0.02, 0.01, humidity_ref_g_m3=4.0, response=name)
    own = dict(zip(("alpha", "l3_g_cm2"), cosmic_parameters(density), strict=True))
    theta = np.stack([np.full(100, 0.2), np.linspace(0.1, 0.4, 100)])

    def rate(surface):
        return profile_rate(bottoms, theta, density, bound, site, n_cph=np.full(2, 900.0),
                            surface_water_cm=surface, **own)  # fmt: skip

    mean = profile_mean(theta, bottoms, 1.4, 0.03)
    np.testing.assert_allclose(rate(np.zeros(2)), response_rate(mean, site), rtol=1e-6)
    assert mean[0] == pytest.approx(0.2) and 0.1 < mean[1] < 0.2
    under = rate(np.array([0.0, 1.0])) / rate(np.zeros(2))
    assert under[0] == pytest.approx(1.0) and 0.5 < under[1] < 0.95


def test_cosmic_by_the_common_function_has_the_bits_of_the_model():
    bottoms, density = np.array([5.0, 30.0, 100.0]), np.array([1.2, 1.4, 1.5])
    theta = np.array([[0.1, 0.2, 0.3], [0.4, 0.35, 0.3]])
    alpha, l3 = cosmic_parameters(density)
    expected = neutron_rate(
        bottoms, theta, density, density * 0.04, 700.0, alpha=alpha, l3_g_cm2=l3
    )
    got = profile_rate(bottoms, theta, density, np.full(3, 0.04), Site(1.0, 1.2), n_cph=700.0,
                       alpha=alpha, l3_g_cm2=l3, surface_water_cm=np.zeros(2))  # fmt: skip
    assert got.tobytes() == expected.tobytes()
