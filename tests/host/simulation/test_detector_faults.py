"""Faults of a station are as large and as frequent as configured, and are not flagged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_host.config.instrument import NO_FAULTS, OFFSETS, InstrumentConfig
from epithermal_host.config.population import Population
from epithermal_host.simulation import detector_faults
from epithermal_host.simulation.detector import observe
from epithermal_host.simulation.scenario import sample
from epithermal_host.weather.generator import generate

YEAR_H = 24 * 365
QUIET = InstrumentConfig(**NO_FAULTS)


def test_a_year_s_drift_has_the_configured_size_and_zero_mean():
    rng = np.random.default_rng(1)
    walks = np.array([detector_faults.drift(2 * YEAR_H, 0.02, rng) for _ in range(300)])
    np.testing.assert_allclose(walks.mean(axis=1), 1.0, atol=1e-12)
    assert (walks[:, YEAR_H] - walks[:, 0]).std() == pytest.approx(0.02, rel=0.12)
    assert (walks[:, YEAR_H // 4] - walks[:, 0]).std() == pytest.approx(0.01, rel=0.12)
    assert np.all(detector_faults.drift(100, 0.0, rng) == 1.0)


def test_gauge_errors_preserve_the_mean_and_the_dry_days():
    rain = np.where(np.arange(4000) % 3 == 0, 6.0, 0.0)
    config = dataclasses.replace(QUIET, gauge_sigma=0.1, rain_day_sigma=0.3)
    rng = np.random.default_rng(2)
    ratio = np.array(
        [detector_faults.add_gauge_errors(rain, config, rng).sum() / rain.sum() for _ in range(400)]
    )
    assert ratio.mean() == pytest.approx(1.0, abs=0.02) and ratio.std() == pytest.approx(
        0.1, rel=0.15
    )
    only_days = detector_faults.add_gauge_errors(
        rain, dataclasses.replace(QUIET, rain_day_sigma=0.3), rng
    )
    assert np.all(only_days[rain == 0.0] == 0.0)
    assert np.log(only_days[rain > 0.0] / 6.0).std() == pytest.approx(0.3, rel=0.1)
    np.testing.assert_array_equal(detector_faults.add_gauge_errors(rain, QUIET, rng), rain)


def test_a_faulty_monitor_repeats_a_value_or_drops_without_a_flag():
    rng = np.random.default_rng(3)
    true = 150.0 + 0.001 * np.arange(YEAR_H * 4)
    stuck = dropped = 0
    for _ in range(50):
        faulty = detector_faults.add_monitor_faults(true, 0.5, rng)
        wrong = faulty != true
        assert np.isfinite(faulty).all()
        for run in np.split(np.flatnonzero(wrong), np.flatnonzero(np.diff(np.flatnonzero(wrong))
                                                                  > 1) + 1):  # fmt: skip
            if run.size == 0:
                continue
            part = faulty[run] / true[run] - 1.0
            if np.all(faulty[run] == faulty[run[0]]) and run.size > 1:
                stuck += 1
                assert run.size <= 24 * detector_faults.STUCK_D[1] and np.all(np.abs(part) < 0.002)
            elif np.ptp(part) < 1e-9:
                dropped += 1
                assert -detector_faults.DROP[1] - 1e-9 <= part[0] <= -detector_faults.DROP[0] + 1e-9
                assert run.size <= 24 * detector_faults.DROP_D[1]
    assert stuck > 25 and dropped > 25 and stuck + dropped == pytest.approx(100, abs=35)
    np.testing.assert_array_equal(detector_faults.add_monitor_faults(true, 0.0, rng), true)


def test_each_air_sensor_has_a_constant_offset():
    offsets = []
    for index in range(60):
        scenario = sample(Population(), 3, index)
        weather = generate(scenario.climate, scenario.rng("weather"), 11323, 20)
        rate_cph = np.full(21, 1000.0)
        wrong, right = (
            observe(scenario, weather, rate_cph, dataclasses.replace(QUIET, offset_scale=scale))
            for scale in (1.0, 0.0)
        )
        delta = [
            wrong.columns[name] - right.columns[name] for name in ("pressure_hpa", "temperature_c")
        ]
        assert all(np.ptp(d) < 0.11 for d in delta)  # rounded to tenths
        offsets.append([d.mean() for d in delta])
    assert np.std(offsets, axis=0) == pytest.approx(OFFSETS[:2], rel=0.3)
    assert np.mean(offsets, axis=0) == pytest.approx([0.0, 0.0], abs=0.3)


def test_a_textbook_scenario_has_a_station_without_faults():
    scenario = sample(Population(plain_share=1.0), 3, 1)
    weather = generate(scenario.climate, scenario.rng("weather"), 11323, 400)
    rate_cph = np.linspace(900.0, 1100.0, 401)
    with_faults = InstrumentConfig(counting_noise=False, monitor_faults_per_year=20.0)
    records = observe(scenario, weather, rate_cph, with_faults)
    assert all(np.isfinite(values).all() for name, values in records.columns.items()
               if name not in ("et0_mm",))  # fmt: skip
    np.testing.assert_allclose(
        records.columns["incoming"].reshape(400, 24)[1:, 11:13].mean(axis=1),
        weather.incoming[1:], rtol=0.01,
    )  # fmt: skip
    daily = records.columns["rain_mm"].reshape(400, 24).sum(axis=1)
    np.testing.assert_allclose(daily, weather.precipitation_mm, atol=0.11)
