"""What goes wrong at a station is as large and as frequent as asked for, and tells nobody."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_host.config.instrument import OFFSETS, UNTROUBLED, InstrumentConfig
from epithermal_host.config.population import Population
from epithermal_host.simulation import detector_faults
from epithermal_host.simulation.detector import observe
from epithermal_host.simulation.scenario import sample
from epithermal_host.weather.generator import generate

YEAR_H = 24 * 365
QUIET = InstrumentConfig(**UNTROUBLED)


def test_a_year_s_drift_has_the_size_that_is_asked_for_and_no_mean():
    rng = np.random.default_rng(1)
    walks = np.array([detector_faults.drift(2 * YEAR_H, 0.02, rng) for _ in range(300)])
    np.testing.assert_allclose(walks.mean(axis=1), 1.0, atol=1e-12)
    assert (walks[:, YEAR_H] - walks[:, 0]).std() == pytest.approx(0.02, rel=0.12)
    assert (walks[:, YEAR_H // 4] - walks[:, 0]).std() == pytest.approx(0.01, rel=0.12)
    assert np.all(detector_faults.drift(100, 0.0, rng) == 1.0)


def test_a_gauge_keeps_the_mean_and_its_dry_days():
    rain = np.where(np.arange(4000) % 3 == 0, 6.0, 0.0)
    config = dataclasses.replace(QUIET, gauge_sigma=0.1, rain_day_sigma=0.3)
    rng = np.random.default_rng(2)
    ratio = np.array(
        [detector_faults.gauged(rain, config, rng).sum() / rain.sum() for _ in range(400)]
    )
    assert ratio.mean() == pytest.approx(1.0, abs=0.02) and ratio.std() == pytest.approx(
        0.1, rel=0.15
    )
    only_days = detector_faults.gauged(rain, dataclasses.replace(QUIET, rain_day_sigma=0.3), rng)
    assert np.all(only_days[rain == 0.0] == 0.0)
    assert np.log(only_days[rain > 0.0] / 6.0).std() == pytest.approx(0.3, rel=0.1)
    np.testing.assert_array_equal(detector_faults.gauged(rain, QUIET, rng), rain)


def test_a_monitor_that_fails_stands_still_or_falls_and_says_nothing():
    rng = np.random.default_rng(3)
    true = 150.0 + 0.001 * np.arange(YEAR_H * 4)
    stood = fell = 0
    for _ in range(50):
        told = detector_faults.monitored(true, 0.5, rng)
        wrong = told != true
        assert np.isfinite(told).all()
        for run in np.split(np.flatnonzero(wrong), np.flatnonzero(np.diff(np.flatnonzero(wrong))
                                                                  > 1) + 1):  # fmt: skip
            if run.size == 0:
                continue
            part = told[run] / true[run] - 1.0
            if np.all(told[run] == told[run[0]]) and run.size > 1:
                stood += 1
                assert run.size <= 24 * detector_faults.STANDS_D[1] and np.all(np.abs(part) < 0.002)
            elif np.ptp(part) < 1e-9:
                fell += 1
                assert (
                    -detector_faults.FALLS[1] - 1e-9 <= part[0] <= -detector_faults.FALLS[0] + 1e-9
                )
                assert run.size <= 24 * detector_faults.FALLS_D[1]
    assert stood > 25 and fell > 25 and stood + fell == pytest.approx(100, abs=35)
    np.testing.assert_array_equal(detector_faults.monitored(true, 0.0, rng), true)


def test_sensors_of_the_air_are_off_by_a_constant_of_their_own():
    off = []
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
        off.append([d.mean() for d in delta])
    assert np.std(off, axis=0) == pytest.approx(OFFSETS[:2], rel=0.3)
    assert np.mean(off, axis=0) == pytest.approx([0.0, 0.0], abs=0.3)


def test_a_place_of_the_textbook_has_a_station_without_fault():
    scenario = sample(Population(plain_share=1.0), 3, 1)
    weather = generate(scenario.climate, scenario.rng("weather"), 11323, 400)
    rate_cph = np.linspace(900.0, 1100.0, 401)
    troubled = InstrumentConfig(counting_noise=False, monitor_faults_per_year=20.0)
    seen = observe(scenario, weather, rate_cph, troubled)
    assert all(np.isfinite(values).all() for name, values in seen.columns.items()
               if name not in ("et0_mm",))  # fmt: skip
    np.testing.assert_allclose(
        seen.columns["incoming"].reshape(400, 24)[1:, 11:13].mean(axis=1),
        weather.incoming[1:], rtol=0.01,
    )  # fmt: skip
    daily = seen.columns["rain_mm"].reshape(400, 24).sum(axis=1)
    np.testing.assert_allclose(daily, weather.precipitation_mm, atol=0.11)
