"""The site description of a station has the configured errors and reports the error of N."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.physics.response import matching_scale, response_rate
from epithermal_edge.site import Site
from epithermal_host.config.instrument import NO_FAULTS, SOIL_ERRORS, InstrumentConfig
from epithermal_host.config.population import Population
from epithermal_host.simulation import known_site
from epithermal_host.simulation.detector import observe
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.vegetation import biomass_mm, leaf_area
from epithermal_host.soil.pedotransfer import CLASS_TEXTURE, from_texture
from epithermal_host.weather.generator import Weather, day_of_year, generate

DAYS = 300
POPULATION = Population(
    hydraulics="rosetta", layered_share=0.0, dry_rate_min_cph=5000.0, aridity_min=0.5
)
QUIET = InstrumentConfig(**NO_FAULTS)
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
    """Describe the site of a uniform soil that wets and dries between 0.12 and 0.32."""
    scenario, weather = place(index, population)
    theta = 0.22 + 0.1 * np.sin(np.arange(DAYS + 1) / 20.0 + index)
    rate_cph = response_rate(theta, scenario.site)
    daily = 0.5 * (theta[1:] + theta[:-1])
    return observe(scenario, weather, rate_cph, config, daily).site


def errors(config: InstrumentConfig, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return relative errors of N and the reported `cosmic_n_sigma`."""
    sites = [known(i, config) for i in range(number)]
    true = np.array([sample(POPULATION, 12, i).site.cosmic_n_cph for i in range(number)])
    calibrated = np.array([site.cosmic_n_cph for site in sites])
    return calibrated / true - 1.0, np.array([site.cosmic_n_sigma for site in sites])


def test_exact_samples_weighted_as_the_counts_give_the_true_n():
    error, sigma = errors(EXACT, 40)
    # sensors rounded to tenths and counting times of 3600 +- 2 s: 1e-4
    assert np.abs(error).max() < 3e-4 and np.all(sigma > 0.0)


def test_errors_of_n_are_as_large_as_reported():
    error, sigma = errors(InstrumentConfig(), 200)
    unsampled = sigma == known_site.UNSAMPLED_N_SIGMA
    score = (error / sigma)[~unsampled]
    assert 0.6 < score.std() < 1.6
    assert abs(np.median(score)) < 0.4


def test_more_sampling_days_reduce_sigma_and_error():
    one, many = (
        errors(dataclasses.replace(EXACT, sampling_days=days, sampling_sigma=0.03), 150)
        for days in (1, 30)
    )
    assert np.median(many[1]) < 0.5 * np.median(one[1])
    assert many[0].std() < 0.6 * one[0].std()
    # of one day: the sampling error times the slope of COSMIC, and the error of the profile
    assert one[0].std() / np.sqrt(np.mean(one[1] ** 2)) == pytest.approx(0.95, abs=0.2)


def test_a_known_n_is_the_true_value_without_error():
    for index in range(10):
        truth, site = place(index)[0].site, known(index, QUIET)
        described = {f"soil_{name}" for name in (*HYDRAULICS, "known")} | {"cosmic_n_sigma"}
        described |= {"cover_known", "canopy_cover", "root_depth_cm", "evaporation_share"}
        for field in dataclasses.fields(Site):
            if field.name not in described:
                assert (
                    getattr(site, field.name)
                    == pytest.approx(getattr(truth, field.name), nan_ok=True)
                    or field.name == "incoming_form"
                ), field.name
        assert site.cosmic_n_sigma == 0.0


def test_a_station_in_a_textbook_scenario_has_the_true_site_whatever_its_settings():
    plain = dataclasses.replace(POPULATION, plain_share=1.0, cosmic_sigma=0.1)
    for index in range(10):
        truth, site = place(index, plain)[0].site, known(index, InstrumentConfig(), plain)
        for name in ("cosmic_n_cph", "bulk_density_g_cm3", "lattice_water_g_g", "beta_per_hpa"):
            assert getattr(site, name) == getattr(truth, name)
        assert site.cosmic_n_sigma == 0.0 and np.isnan(site.alpha)


def test_cosmic_s_scatter_is_in_the_true_site_and_not_in_a_sampled_station_s_description():
    odd = dataclasses.replace(POPULATION, cosmic_sigma=0.1)
    truth, site = place(1, odd)[0].site, known(1, InstrumentConfig(), odd)
    assert np.isfinite([truth.alpha, truth.l3_g_cm2]).all()
    assert np.isnan([site.alpha, site.l3_g_cm2]).all()


def test_no_calibration_under_snow():
    """N is then a guess with a normal error, in each of 60 places; one under snow was a fifth."""
    error = []
    for index in range(60):
        scenario, weather = place(index)
        frozen = dataclasses.replace(weather, snow_mm=np.full(DAYS, 800.0))
        theta = np.full(DAYS + 1, 0.2)
        rate_cph = 0.2 * cosmic_rate(theta, scenario.site)  # the rate under the snow
        site = observe(scenario, frozen, rate_cph, InstrumentConfig(), theta[1:]).site
        error.append(site.cosmic_n_cph / scenario.site.cosmic_n_cph - 1.0)
        assert site.cosmic_n_sigma == known_site.UNSAMPLED_N_SIGMA
    assert np.std(error) == pytest.approx(known_site.UNSAMPLED_N_SIGMA, rel=0.3)
    assert np.abs(error).max() < 4.0 * known_site.UNSAMPLED_N_SIGMA


def test_sampling_days_without_true_water_content_raise():
    scenario, weather = place(1)
    with pytest.raises(ValueError, match="true water content"):
        observe(scenario, weather, np.full(DAYS + 1, 900.0), EXACT)


def test_density_and_lattice_water_have_the_configured_errors():
    config = dataclasses.replace(QUIET, density_sigma=0.05, lattice_sigma_g_g=0.004)
    ratio, difference = [], []
    for index in range(200):
        truth, site = place(index)[0].site, known(index, config)
        ratio.append(site.bulk_density_g_cm3 / truth.bulk_density_g_cm3 - 1.0)
        difference.append(site.lattice_water_g_g - truth.lattice_water_g_g)
        assert site.lattice_water_g_g >= 0.0
    assert np.std(ratio) == pytest.approx(0.05, rel=0.2)
    assert np.std(difference) == pytest.approx(0.004, rel=0.25)


def test_soils_are_described_by_measurement_by_texture_or_not_in_the_configured_shares():
    config = dataclasses.replace(QUIET, soil_measured_share=0.3, soil_texture_share=0.4)
    sites = [known(i, config) for i in range(300)]
    how = np.array([site.soil_known for site in sites])
    assert set(how) == {known_site.MEASURED, known_site.FROM_TEXTURE, 0.0} == {1.0, 0.5, 0.0}
    assert np.mean(how == 1.0) == pytest.approx(0.3, abs=0.08)
    assert np.mean(how == 0.5) == pytest.approx(0.4, abs=0.08)
    default = Site(cosmic_n_cph=1.0, bulk_density_g_cm3=1.4)
    for site in np.array(sites)[how == 0.0]:
        values = [getattr(site, f"soil_{name}") for name in HYDRAULICS]
        assert values == [getattr(default, f"soil_{name}") for name in HYDRAULICS]


def test_a_soil_described_by_texture_has_the_pedotransfer_estimate_of_its_class():
    config = dataclasses.replace(QUIET, soil_measured_share=0.0, soil_texture_share=1.0)
    for index in range(12):
        scenario, _ = place(index)
        estimate = from_texture(*CLASS_TEXTURE[scenario.texture], scenario.bulk_density_g_cm3[0])
        site = known(index, config)
        for name, tolerance in zip(HYDRAULICS, (0.02, 0.01, 0.02, 0.01, 0.04), strict=True):
            expected = getattr(estimate, name)  # between two densities of the table
            assert getattr(site, f"soil_{name}") == pytest.approx(expected, rel=tolerance), name


def test_a_measured_soil_is_the_true_one_with_laboratory_errors():
    config = dataclasses.replace(QUIET, soil_measured_share=1.0, soil_texture_share=0.0)
    off = dataclasses.replace(config, soil_error_scale=1.0)
    scatter = []
    for index in range(100):
        soil, exact, site = place(index)[0].soils[0], known(index, config), known(index, off)
        for name in HYDRAULICS:
            assert getattr(exact, f"soil_{name}") == pytest.approx(getattr(soil, name), rel=1e-12)
        scatter.append(
            [
                site.soil_theta_s - soil.theta_s,
                np.log10(site.soil_alpha_per_cm / soil.alpha_per_cm),
                np.log10((site.soil_n - 1.0) / (soil.n - 1.0)),
                np.log10(site.soil_ks_cm_d / soil.ks_cm_d),
            ]
        )
        assert site.soil_n > 1.0 and site.soil_theta_s > site.soil_theta_r >= 0.0
    assert np.std(scatter, axis=0) == pytest.approx(SOIL_ERRORS[1:], rel=0.25)
    assert np.abs(np.corrcoef(scatter, rowvar=False) - np.eye(4)).max() < 0.4  # independent


def test_vegetation_is_described_in_the_configured_share_and_exactly_without_errors():
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
        assert np.unique(day).size == DAYS  # each day of the year occurs at most once
        shade = 1.0 - np.exp(-cover.extinction * leaf_area(cover, weather))
        np.testing.assert_allclose(np.array(site.canopy_cover)[day - 1], shade, atol=1e-12)


def test_a_station_that_knows_its_biomass_has_the_mean_year_and_the_true_slope():
    crops = dataclasses.replace(POPULATION, crop_share=1.0, bare_share=0.0, biomass_max_mm=8.0)
    told, added = dataclasses.replace(EXACT, biomass_known_share=1.0), []
    for index in range(10):
        (scenario, weather), site = place(index, crops), known(index, told, crops)
        day = day_of_year(weather.day).astype(int)
        by_day = np.array(site.biomass_kg_m2)[day - 1]
        np.testing.assert_allclose(by_day, biomass_mm(scenario.cover, weather), atol=1e-12)
        assert site.biomass_slope_per_mm == scenario.cover.biomass_slope_per_mm
        unaware = known(index, EXACT, crops)
        assert unaware.biomass_kg_m2 == 0.0
        added.append(site.cosmic_n_cph / unaware.cosmic_n_cph - 1.0)  # on the sampled days
    assert min(added) >= 0.0 and 0.005 < max(added) < 0.05
    half = dataclasses.replace(QUIET, biomass_known_share=0.5)
    shares = [isinstance(known(i, half, crops).biomass_kg_m2, tuple) for i in range(100)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.15)


def test_described_dates_canopy_and_roots_have_errors():
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


def test_two_runs_give_the_same_bits_and_another_seed_gives_others():
    population = dataclasses.replace(POPULATION, cosmic_sigma=0.06, layered_share=0.5)
    one, two = (known(3, InstrumentConfig(), population) for _ in range(2))
    assert repr(one) == repr(two)
    assert repr(known(3, InstrumentConfig(seed=1), population)) != repr(one)


@pytest.mark.parametrize("name", ["desilets", "uts2021_mcnp_drf", "uts2025_norm_endf8"])
def test_a_station_that_knows_its_response_has_the_true_scale_and_another_cosmic_s(name):
    population = dataclasses.replace(POPULATION, response=(name,))
    for index in range(5):
        truth = place(index, population)[0].site
        site = known(index, EXACT, population)
        assert site.response == name and site.cosmic_n_cph == pytest.approx(
            float(truth.cosmic_n_cph), rel=3e-4
        )
        blind = known(index, dataclasses.replace(EXACT, response_known=False), population)
        assert blind.response == "cosmic"
        matched = matching_scale(np.array([0.12, 0.32]), truth, "cosmic")
        assert min(matched) * 0.97 < blind.cosmic_n_cph < max(matched) * 1.03
