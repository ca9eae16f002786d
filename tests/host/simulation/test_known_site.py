"""What a station is told of its site errs as much as its settings say, and says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.site import Site
from epithermal_host.config.instrument import UNTROUBLED, InstrumentConfig
from epithermal_host.config.population import Population
from epithermal_host.simulation import known_site
from epithermal_host.simulation.detector import observe
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.vegetation import leaf_area
from epithermal_host.soil.pedotransfer import CLASS_TEXTURE, from_texture
from epithermal_host.weather.generator import Weather, day_of_year, generate

DAYS = 300
POPULATION = Population(
    hydraulics="rosetta", layered_share=0.0, dry_rate_min_cph=5000.0, aridity_min=0.5
)
QUIET = InstrumentConfig(**UNTROUBLED)
EXACT = dataclasses.replace(
    QUIET,
    counting_noise=False,
    sampling_days=5,
    sampling_sigma=0.0,
    sampling_weighted_share=1.0,
)
HYDRAULICS = ("theta_r", "theta_s", "alpha_per_cm", "n", "ks_cm_d")


def place(index: int, population: Population = POPULATION) -> tuple[Scenario, Weather]:
    scenario = sample(population, 12, index)
    return scenario, generate(scenario.climate, scenario.rng("weather"), 11323, DAYS)


def known(index: int, config: InstrumentConfig, population: Population = POPULATION) -> Site:
    """The site as known at a uniform soil that wets and dries between 0.12 and 0.33."""
    scenario, weather = place(index, population)
    theta = 0.22 + 0.1 * np.sin(np.arange(DAYS + 1) / 20.0 + index)
    rate_cph = cosmic_rate(theta, scenario.site)
    daily = 0.5 * (theta[1:] + theta[:-1])
    return observe(scenario, weather, rate_cph, config, daily).site


def errors(config: InstrumentConfig, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of N, and what `cosmic_n_sigma` says of them."""
    sites = [known(i, config) for i in range(number)]
    true = np.array([sample(POPULATION, 12, i).site.cosmic_n_cph for i in range(number)])
    told = np.array([site.cosmic_n_cph for site in sites])
    return told / true - 1.0, np.array([site.cosmic_n_sigma for site in sites])


def test_exact_samples_that_are_weighted_as_the_counts_give_the_true_n():
    error, sigma = errors(EXACT, 40)
    # sensors rounded to tenths and counting times of 3600 +- 2 s: 1e-4
    assert np.abs(error).max() < 3e-4 and np.all(sigma > 0.0)


def test_errors_of_n_are_as_large_as_they_are_said_to_be():
    usual = InstrumentConfig()
    error, sigma = errors(usual, 200)
    unsaid = sigma == known_site.UNSAMPLED_N_SIGMA
    score = (error / sigma)[~unsaid]
    assert 0.6 < score.std() < 1.6
    assert abs(np.median(score)) < 0.4


def test_more_days_make_a_smaller_sigma_and_a_smaller_error():
    one, many = (
        errors(dataclasses.replace(EXACT, sampling_days=days, sampling_sigma=0.03), 150)
        for days in (1, 30)
    )
    assert np.median(many[1]) < 0.5 * np.median(one[1])
    assert many[0].std() < 0.6 * one[0].std()
    # of one day: its samples' error, by the slope of COSMIC, and some for the profile
    assert one[0].std() / np.sqrt(np.mean(one[1] ** 2)) == pytest.approx(0.95, abs=0.2)


def test_known_n_is_the_truth_and_carries_no_error():
    for index in range(10):
        truth, site = place(index)[0].site, known(index, QUIET)
        told = {f"soil_{name}" for name in (*HYDRAULICS, "known")} | {"cosmic_n_sigma"}
        told |= {"cover_known", "canopy_cover", "root_depth_cm", "evaporation_share"}
        for field in dataclasses.fields(Site):
            if field.name not in told:
                assert (
                    getattr(site, field.name)
                    == pytest.approx(getattr(truth, field.name), nan_ok=True)
                    or field.name == "incoming_form"
                ), field.name
        assert site.cosmic_n_sigma == 0.0


def test_a_station_at_a_place_of_the_textbook_knows_it_whatever_its_settings():
    plain = dataclasses.replace(POPULATION, plain_share=1.0, cosmic_sigma=0.1)
    for index in range(10):
        truth, site = place(index, plain)[0].site, known(index, InstrumentConfig(), plain)
        for name in ("cosmic_n_cph", "bulk_density_g_cm3", "lattice_water_g_g", "beta_per_hpa"):
            assert getattr(site, name) == getattr(truth, name)
        assert site.cosmic_n_sigma == 0.0 and np.isnan(site.alpha)


def test_cosmic_s_scatter_is_in_the_truth_and_not_in_what_a_sampled_station_knows():
    odd = dataclasses.replace(POPULATION, cosmic_sigma=0.1)
    truth, site = place(1, odd)[0].site, known(1, InstrumentConfig(), odd)
    assert np.isfinite([truth.alpha, truth.l3_g_cm2]).all()
    assert np.isnan([site.alpha, site.l3_g_cm2]).all()


def test_nobody_calibrates_under_snow():
    scenario, weather = place(1)
    frozen = dataclasses.replace(weather, snow_mm=np.full(DAYS, 800.0))
    theta = np.full(DAYS + 1, 0.2)
    rate_cph = 0.2 * cosmic_rate(theta, scenario.site)  # what the snow leaves
    site = observe(scenario, frozen, rate_cph, InstrumentConfig(), theta[1:]).site
    assert site.cosmic_n_cph == pytest.approx(scenario.site.cosmic_n_cph, rel=0.15)
    assert site.cosmic_n_sigma == known_site.UNSAMPLED_N_SIGMA


def test_sampling_days_without_a_truth_to_sample_are_a_mistake():
    scenario, weather = place(1)
    with pytest.raises(ValueError, match="true water content"):
        observe(scenario, weather, np.full(DAYS + 1, 900.0), EXACT)


def test_density_and_lattice_water_err_as_asked_for():
    config = dataclasses.replace(QUIET, density_sigma=0.05, lattice_sigma_g_g=0.004)
    ratio, difference = [], []
    for index in range(200):
        truth, site = place(index)[0].site, known(index, config)
        ratio.append(site.bulk_density_g_cm3 / truth.bulk_density_g_cm3 - 1.0)
        difference.append(site.lattice_water_g_g - truth.lattice_water_g_g)
        assert site.lattice_water_g_g >= 0.0
    assert np.std(ratio) == pytest.approx(0.05, rel=0.2)
    assert np.std(difference) == pytest.approx(0.004, rel=0.25)


def test_soils_are_known_by_measurement_by_texture_or_not_as_often_as_asked_for():
    config = dataclasses.replace(QUIET, soil_measured_share=0.3, soil_texture_share=0.4)
    sites = [known(i, config) for i in range(300)]
    how = np.array([site.soil_known for site in sites])
    assert set(how) == {known_site.MEASURED, known_site.FROM_TEXTURE, 0.0} == {1.0, 0.5, 0.0}
    assert np.mean(how == 1.0) == pytest.approx(0.3, abs=0.08)
    assert np.mean(how == 0.5) == pytest.approx(0.4, abs=0.08)
    nothing = Site(cosmic_n_cph=1.0, bulk_density_g_cm3=1.4)
    for site in np.array(sites)[how == 0.0]:
        told = [getattr(site, f"soil_{name}") for name in HYDRAULICS]
        assert told == [getattr(nothing, f"soil_{name}") for name in HYDRAULICS]


def test_a_soil_known_by_texture_is_what_its_user_gets_for_the_class():
    config = dataclasses.replace(QUIET, soil_measured_share=0.0, soil_texture_share=1.0)
    for index in range(12):
        scenario, _ = place(index)
        guess = from_texture(*CLASS_TEXTURE[scenario.texture], scenario.bulk_density_g_cm3[0])
        site = known(index, config)
        for name, tolerance in zip(HYDRAULICS, (0.02, 0.01, 0.02, 0.01, 0.04), strict=True):
            expected = getattr(guess, name)  # between two densities of the table
            assert getattr(site, f"soil_{name}") == pytest.approx(expected, rel=tolerance), name


def test_a_measured_soil_is_the_true_one_but_for_the_laboratory():
    config = dataclasses.replace(QUIET, soil_measured_share=1.0, soil_texture_share=0.0)
    off = dataclasses.replace(config, soil_error_scale=1.0)
    scatter = []
    for index in range(100):
        soil, exact, site = place(index)[0].soils[0], known(index, config), known(index, off)
        for name in HYDRAULICS:
            assert getattr(exact, f"soil_{name}") == pytest.approx(getattr(soil, name), rel=1e-12)
        scatter.append(np.log10(site.soil_ks_cm_d / soil.ks_cm_d))
        assert site.soil_n > 1.0 and site.soil_theta_s > site.soil_theta_r >= 0.0
    assert np.std(scatter) == pytest.approx(0.2, rel=0.25)


def test_a_cover_is_told_as_often_as_asked_for_and_exactly_where_nothing_errs():
    sites = [known(i, InstrumentConfig(cover_told_share=0.6)) for i in range(200)]
    how = np.array([site.cover_known for site in sites])
    assert set(how) == {0.0, 1.0} and how.mean() == pytest.approx(0.6, abs=0.1)
    for index in range(20):
        (scenario, weather), site = place(index), known(index, QUIET)
        cover = scenario.cover
        bare = cover.kind == "bare"
        assert site.root_depth_cm == (0.0 if bare else cover.root_depth_cm)
        assert site.evaporation_share == cover.evaporation_share
        day = day_of_year(weather.day).astype(int)
        assert np.unique(day).size == DAYS  # each day of the year is met once at most
        shade = 1.0 - np.exp(-cover.extinction * leaf_area(cover, weather))
        np.testing.assert_allclose(np.array(site.canopy_cover)[day - 1], shade, atol=1e-12)


def test_an_owner_errs_in_the_season_s_dates_the_canopy_and_the_roots():
    off = dataclasses.replace(QUIET, cover_error_scale=1.0)
    roots, canopy = [], []
    for index in range(200):
        cover, site = place(index)[0].cover, known(index, off)
        if cover.kind == "grass":
            roots.append(np.log(site.root_depth_cm / cover.root_depth_cm))
            canopy.append(np.sum(site.canopy_cover) / np.sum(known(index, QUIET).canopy_cover))
        assert min(site.canopy_cover) >= 0.0 and max(site.canopy_cover) <= 1.0
        assert 0.0 <= site.evaporation_share <= 1.0
    assert np.std(roots) == pytest.approx(0.3, rel=0.25)
    assert np.std(np.log(canopy)) == pytest.approx(0.2, rel=0.25)


def test_two_runs_give_the_same_bits_and_another_seed_other_ones():
    population = dataclasses.replace(POPULATION, cosmic_sigma=0.06, layered_share=0.5)
    one, two = (known(3, InstrumentConfig(), population) for _ in range(2))
    assert repr(one) == repr(two)
    assert repr(known(3, InstrumentConfig(seed=1), population)) != repr(one)
