"""Corrected records of a simulated detector reproduce the true rate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_edge.physics.atmosphere import absolute_humidity
from epithermal_edge.physics.corrections import humidity_factor, incoming_factor, pressure_factor
from epithermal_host.config.instrument import NO_FAULTS, InstrumentConfig
from epithermal_host.config.population import Population
from epithermal_host.simulation import detector
from epithermal_host.simulation.detector import Observation, observe
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.weather.generator import Weather, generate

DAYS = 400
QUIET = InstrumentConfig(
    **NO_FAULTS | {"et0_source_share": 1.0, "soil_measured_share": 0.0, "cover_told_share": 0.0}
)


@pytest.fixture(scope="module")
def place() -> tuple[Scenario, Weather]:
    scenario = sample(Population(dry_rate_min_cph=3000.0), 11, 2)
    return scenario, generate(scenario.climate, scenario.rng("weather"), 11323, DAYS)


def look(place: tuple[Scenario, Weather], config: InstrumentConfig) -> Observation:
    scenario, weather = place
    rate_cph = np.linspace(900.0, 1100.0, DAYS + 1)
    return observe(scenario, weather, rate_cph, config, np.full(DAYS, 0.25))


def test_corrected_records_reproduce_the_true_rate(place):
    observation = look(place, QUIET)
    c, site = observation.columns, observation.site
    corrected = c["counts"] * 3600.0 / c["duration_s"]
    corrected *= pressure_factor(c["pressure_hpa"], site.beta_per_hpa, site.pressure_ref_hpa)
    vapour = absolute_humidity(c["temperature_c"], c["relative_humidity_pct"])
    corrected *= humidity_factor(vapour, site.humidity_ref_g_m3)
    corrected *= incoming_factor(
        c["incoming"], site.incoming_ref, site.incoming_form, site.incoming_scale
    )
    true = np.interp((np.arange(24 * DAYS) + 0.5) / 24, [0, DAYS], [900.0, 1100.0])
    ratio = corrected / true
    # Poisson: 1/sqrt(1000) an hour, 9600 hours; rounded sensors add under 1e-4
    assert ratio.mean() == pytest.approx(1.0, abs=1.5e-3)
    scatter = ratio.std() * np.sqrt(c["counts"].mean())
    assert scatter == pytest.approx(1.0, abs=0.05)


def test_records_end_on_full_hours_and_sensors_are_rounded(place):
    observation = look(place, QUIET)
    assert observation.end_s[0] == 11323 * 86400 + 3600 and np.all(
        np.diff(observation.end_s) == 3600.0
    )
    assert set(np.unique(observation.columns["duration_s"])) == {3598, 3599, 3600, 3601, 3602}
    for name in ("pressure_hpa", "temperature_c", "relative_humidity_pct", "rain_mm"):
        tenths = observation.columns[name] * 10.0
        np.testing.assert_allclose(tenths, np.round(tenths), atol=1e-9)
    assert np.all(observation.columns["counts"] == np.round(observation.columns["counts"]))


def test_hours_add_up_to_the_day_s_rain_et0_and_extremes(place):
    _, weather = place
    daily = {name: v.reshape(DAYS, 24) for name, v in look(place, QUIET).columns.items()}
    np.testing.assert_allclose(daily["rain_mm"].sum(axis=1), weather.precipitation_mm, atol=0.11)
    np.testing.assert_allclose(daily["et0_mm"].sum(axis=1), weather.et0_mm, atol=0.012)
    spread = weather.t_max_c - weather.t_min_c
    limit = 0.06 + 0.005 * spread.max()  # rounding, and the cosine at half hours
    np.testing.assert_allclose(daily["temperature_c"].max(axis=1), weather.t_max_c, atol=limit)
    np.testing.assert_allclose(daily["temperature_c"].min(axis=1), weather.t_min_c, atol=limit)
    wet_hours = (daily["rain_mm"] > 0.0).sum(axis=1)[weather.precipitation_mm > 2.0]
    assert wet_hours.min() >= 1 and wet_hours.max() < 20


def test_a_humidity_sensor_never_reads_below_0_or_above_100(place):
    odd = [dataclasses.replace(QUIET, offset_scale=5.0, seed=seed) for seed in range(6)]
    read = np.array([look(place, config).columns["relative_humidity_pct"] for config in odd])
    assert read.min() >= 0.0 and read.max() == 100.0  # some offsets reach beyond


def test_the_air_is_warmest_at_three_in_the_afternoon(place):
    temperature = look(place, QUIET).columns["temperature_c"].reshape(DAYS, 24)
    hour = np.arange(24) + 0.5
    wave = temperature.mean(axis=0) @ np.exp(2.0j * np.pi * hour / 24.0)
    assert np.angle(wave) / (2.0 * np.pi) % 1.0 * 24.0 == pytest.approx(15.0, abs=0.3)


def test_et0_is_half_a_sine_from_6_to_18_h(place):
    daily = look(place, QUIET).columns["et0_mm"].reshape(DAYS, 24)
    assert not daily[:, :6].any() and not daily[:, 18:].any()
    np.testing.assert_allclose(daily[:, 6:12], daily[:, 17:11:-1], atol=0.0011)
    noon = daily[:, 11:13].sum() / daily.sum()
    # the mean of a half hour before and after noon: 2 sin(pi 5.5 / 12) of a sum of 7.66
    assert noon == pytest.approx(0.2588, abs=2e-3)


def test_a_shower_lasts_an_hour_and_a_poisson_number_of_three_more():
    rng = np.random.default_rng(3)
    hourly = detector._rain(np.full(4000, 2000.0), rng).reshape(4000, 24) > 0.0
    whole = hourly[np.argmax(hourly, axis=1) < 10]  # midnight cuts the others
    assert whole.sum(axis=1).mean() == pytest.approx(4.0, abs=0.1)


def test_lost_hours_are_records_without_counts(place):
    lossy = dataclasses.replace(QUIET, dropout_share_max=1.0, outages_per_year=10.0)
    c = look(place, lossy).columns
    lost = np.isnan(c["counts"])
    assert 0.02 < lost.mean() < 0.98
    np.testing.assert_array_equal(lost, c["duration_s"] == 0.0)
    dark = np.isnan(c["pressure_hpa"])
    assert 0.0 < dark.mean() < 1.0 and np.all(lost[dark])
    for name in ("temperature_c", "relative_humidity_pct", "rain_mm", "incoming"):
        np.testing.assert_array_equal(np.isnan(c[name]), dark)


def test_a_station_without_sources_gets_none(place):
    bare = dataclasses.replace(
        QUIET, gauge_share=0.0, et0_source_share=0.0, monitor_share=0.0, latitude_share=0.0
    )
    observation = look(place, bare)
    for name in ("rain_mm", "et0_mm", "incoming"):
        assert np.isnan(observation.columns[name]).all()
    assert np.isnan(observation.site.latitude_deg)


def test_errors_of_the_site_description_do_not_change_the_true_site(place):
    scenario, _ = place
    off = dataclasses.replace(QUIET, density_sigma=0.04, lattice_sigma_g_g=0.01)
    site = look(place, off).site
    assert site.bulk_density_g_cm3 != scenario.site.bulk_density_g_cm3
    assert site.bulk_density_g_cm3 == pytest.approx(scenario.site.bulk_density_g_cm3, rel=0.2)
    assert site.lattice_water_g_g != scenario.site.lattice_water_g_g
    assert site.cosmic_n_cph == scenario.site.cosmic_n_cph
    known = dataclasses.replace(scenario.site, cosmic_n_sigma=0.0)
    np.testing.assert_equal(*map(dataclasses.astuple, (look(place, QUIET).site, known)))


def test_the_same_seed_gives_the_same_records_and_another_does_not(place):
    one, two = look(place, InstrumentConfig()), look(place, InstrumentConfig())
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, two.columns[name])
    other = look(place, InstrumentConfig(seed=1))
    assert np.nansum(np.abs(other.columns["counts"] - one.columns["counts"])) > 0.0
    first = one.records()[0]
    assert (first.end_s, first.counts) == (one.end_s[0], one.columns["counts"][0])
    assert isinstance(first.counts, float)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"gauge_share": 2.0}, "gauge_share"), ({"outage_max_d": 0.1}, "outage_max_d")],
)
def test_an_impossible_instrument_is_rejected(change, word):
    with pytest.raises(ValueError, match=word):
        InstrumentConfig(**change)
