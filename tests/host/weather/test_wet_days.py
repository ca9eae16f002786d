"""What a wet day does to its neighbours, and what a season does to a climate's numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_host.weather import generator as weather
from epithermal_host.weather.climate_prior import sample_climate
from epithermal_host.weather.generator import generate
from epithermal_host.weather.wet_days import spell_factor, wetness

DAY_0 = 11323  # 2001-01-01
WET = np.array([False, True, True, True, False, False, True, False, False, False])


def test_an_amount_counts_its_wet_neighbours():
    assert spell_factor(0.4, WET)[[1, 2, 3, 6]] == pytest.approx([1.0, 1.4, 1.0, 0.6])
    np.testing.assert_array_equal(spell_factor(0.0, WET), 1.0)


def test_wetness_spreads_a_day_over_its_neighbours_and_keeps_the_mean():
    np.testing.assert_array_equal(wetness(0.0, WET), WET)
    one = np.zeros(11, dtype=np.bool_)
    one[5] = True
    assert wetness(0.5, one)[3:8] == pytest.approx([0.1, 0.2, 0.4, 0.2, 0.1])
    many = np.random.default_rng(1).random(20_000) < 0.4
    assert wetness(0.7, many).mean() == pytest.approx(many.mean(), abs=1e-4)
    assert wetness(0.7, np.ones(5, dtype=np.bool_)) == pytest.approx(np.ones(5))


def test_a_single_value_holds_all_the_year_as_twelve_equal_ones_do():
    season = np.arange(1.0, 367.0)
    twelve = weather.at((3.5,) * 12, season)
    np.testing.assert_allclose(np.broadcast_to(weather.at(3.5, season), 366), twelve, rtol=1e-15)
    one = sample_climate(np.random.default_rng(8))
    two = dataclasses.replace(one, t_sigma_c=(one.t_sigma_c,) * 12, rain_shape=one.rain_shape)
    a, b = (generate(c, np.random.default_rng(1), DAY_0, 800) for c in (one, two))
    np.testing.assert_allclose(a.t_min_c, b.t_min_c, rtol=1e-12)


def test_rain_inside_a_spell_is_heavier_and_pressure_falls_before_it():
    base = sample_climate(np.random.default_rng(8))
    climate = dataclasses.replace(base, rain_neighbour_rise=0.4, wet_reach=0.6)
    w = generate(climate, np.random.default_rng(1), DAY_0, 30_000)
    wet = w.precipitation_mm > 0.0
    inside = np.flatnonzero(wet[:-2] & wet[1:-1] & wet[2:]) + 1
    alone = np.flatnonzero(~wet[:-2] & wet[1:-1] & ~wet[2:]) + 1
    ratio = w.precipitation_mm[inside].mean() / w.precipitation_mm[alone].mean()
    assert ratio == pytest.approx(1.4 / 0.6, rel=0.15)
    before = np.flatnonzero(~wet[:-1] & wet[1:])
    dry = np.flatnonzero(~wet[:-1] & ~wet[1:])
    assert w.pressure_hpa[before].mean() < w.pressure_hpa[dry].mean() - 0.5


def test_et0_follows_its_factors_and_dry_air():
    base = dataclasses.replace(sample_climate(np.random.default_rng(8)), et0_sigma=0.3)
    factors = tuple(0.6 + 0.05 * k for k in range(12))
    climate = dataclasses.replace(
        base, et0_factor=factors, et0_wet=0.5, et0_humidity_correlation=-0.6
    )
    plain, changed = (generate(c, np.random.default_rng(1), DAY_0, 12_000) for c in (base, climate))
    dry = plain.precipitation_mm == 0.0
    month = plain.day.astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12
    july = (month == 6) & dry
    assert changed.et0_mm[july].mean() / plain.et0_mm[july].mean() == pytest.approx(0.9, rel=0.03)
    ratio = np.log(changed.et0_mm[july] / plain.et0_mm[july])
    assert np.corrcoef(ratio, plain.relative_humidity_pct[july])[0, 1] < -0.4


def test_decreases_of_a_century_are_those_of_its_blocks():
    climate = sample_climate(np.random.default_rng(3))
    days = 3 * weather.FORBUSH_BLOCK_D + 100
    loss = weather._forbush(climate, np.random.default_rng(0), days)
    assert loss.shape == (days,) and loss.min() >= 0.0 and loss.max() <= 0.3
    edge = loss[[weather.FORBUSH_BLOCK_D - 1, weather.FORBUSH_BLOCK_D]]
    assert edge[1] >= edge[0] * 0.84  # recovers by 1 - exp(-1/6) a day, never at once
