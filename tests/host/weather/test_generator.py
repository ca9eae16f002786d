"""Generated weather has the statistics of its Climate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from epithermal_edge.physics.atmosphere import hargreaves_et0
from epithermal_host.weather import generator
from epithermal_host.weather.climate_prior import sample_climate
from epithermal_host.weather.generator import Climate, generate, spell_factor, wetness

DAY_0 = 11323  # 2001-01-01
WET = np.array([False, True, True, True, False, False, True, False, False, False])


def flat(value: float) -> tuple[float, ...]:
    return (value,) * 12


@pytest.fixture(scope="module")
def climate() -> Climate:
    """Return a temperate climate without seasonal rain."""
    return dataclasses.replace(
        sample_climate(np.random.default_rng(5)),
        latitude_deg=51.0,
        wet_after_dry=flat(0.3),
        wet_after_wet=flat(0.6),
        rain_wet_day_mm=flat(5.0),
        rain_shape=0.8,
        t_mean_c=tuple(10.0 - 8.0 * np.cos(2 * np.pi * (m + 0.5) / 12) for m in range(12)),
    )


def lag_1(x: np.ndarray) -> float:
    return float(np.corrcoef(x[1:], x[:-1])[0, 1])


def test_rain_follows_the_chain_and_the_gamma_distribution(climate):
    w = generate(climate, np.random.default_rng(1), DAY_0, 40_000)
    wet = w.precipitation_mm > 0.0
    share = generator.wet_share(np.array(0.3), np.array(0.6))  # 0.3 / 0.7
    drizzle = 0.03  # share of a gamma(0.8) below DRIZZLE_MM / 5 mm, which counts as dry
    assert wet.mean() == pytest.approx(share, rel=0.02 + drizzle)
    assert wet[1:][wet[:-1]].mean() == pytest.approx(0.6, abs=0.03)
    assert w.precipitation_mm.mean() == pytest.approx(5.0 * share, rel=0.03)
    amounts = w.precipitation_mm[wet]
    assert amounts.var() / amounts.mean() ** 2 == pytest.approx(1 / 0.8, rel=0.1)


def test_noise_has_the_specified_memory(climate):
    w = generate(climate, np.random.default_rng(2), DAY_0, 20_000)
    season = generator.day_of_year(w.day)
    t = 0.5 * (w.t_min_c + w.t_max_c) - generator.at(climate.t_mean_c, season)
    assert lag_1(t) == pytest.approx(climate.t_memory, abs=0.05)
    proxy = hargreaves_et0(
        0.5 * (w.t_min_c + w.t_max_c), w.t_min_c, w.t_max_c, climate.latitude_deg, season
    )
    ratio = np.log(w.et0_mm[proxy > 0.1] / proxy[proxy > 0.1])
    assert ratio.std() == pytest.approx(climate.et0_sigma, rel=0.1)
    assert w.et0_mm.sum() == pytest.approx(proxy.sum(), rel=0.03)


def test_snow_and_melt_lose_no_water(climate):
    cold = dataclasses.replace(climate, t_mean_c=tuple(t - 12.0 for t in climate.t_mean_c))
    w = generate(cold, np.random.default_rng(3), DAY_0, 3000)
    assert w.snow_mm.max() > 20.0
    fallen, arrived = np.cumsum(w.precipitation_mm), np.cumsum(w.water_mm)
    np.testing.assert_allclose(fallen, arrived + w.snow_mm, atol=1e-9 * fallen[-1])


def test_the_same_seed_gives_the_same_weather(climate):
    one, two = (generate(climate, np.random.default_rng(4), DAY_0, 400) for _ in range(2))
    for field in dataclasses.fields(generator.Weather):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))


def test_a_monthly_value_holds_in_the_middle_of_its_month_all_year_round():
    monthly = tuple(float(i) for i in range(12))
    assert generator.at(monthly, 15.7) == pytest.approx(0.0, abs=0.01)
    assert generator.at(monthly, 350.5) == pytest.approx(11.0, abs=0.02)
    assert generator.at(monthly, 366) == pytest.approx(generator.at(monthly, 0.75), abs=0.1)


def test_sampled_climates_are_realistic():
    ratios = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        climate = sample_climate(rng)
        w = generate(climate, rng, DAY_0, 5 * 365)
        ratios.append(w.precipitation_mm.sum() / w.et0_mm.sum())
        assert w.t_min_c.min() > -60.0 and w.t_max_c.max() < 62.0
        assert 300.0 < w.et0_mm.sum() / 5.0 < 2000.0  # 60 degrees north, high up: 380
        assert np.all(w.t_max_c >= w.t_min_c) and np.all(w.et0_mm >= 0.0)
        assert np.all((w.relative_humidity_pct >= 5.0) & (w.relative_humidity_pct <= 100.0))
        assert w.pressure_hpa.min() > 650.0 and w.pressure_hpa.max() < 1070.0
        summer = generator.day_of_year(w.day) // 91 == 2
        warm_half = w.t_max_c[summer].mean() > w.t_max_c.mean()
        assert warm_half == (climate.latitude_deg > 0.0)
    assert 0.1 < min(ratios) < 0.3 and 1.0 < max(ratios) < 2.0


def monthly_mm(climate: Climate, years: int) -> np.ndarray:
    w = generate(climate, np.random.default_rng(6), DAY_0, 12 * 30 * years)
    return w.precipitation_mm.reshape(-1, 30).sum(axis=1)


def test_spells_make_wet_and_dry_months_of_the_same_mean(climate):
    plain = monthly_mm(climate, 400)
    for sigma, least in ((0.3, 1.1), (0.6, 1.4)):
        spells = monthly_mm(dataclasses.replace(climate, spell_sigma=sigma), 400)
        assert spells.mean() == pytest.approx(plain.mean(), rel=0.05)
        assert spells.std() > least * plain.std()


def test_without_spells_a_wet_day_follows_the_chain_and_uses_one_random_number(climate):
    w = generate(climate, np.random.default_rng(7), DAY_0, 500)
    rng, wet, chain = np.random.default_rng(7), False, []
    for u in rng.random(500):
        wet = u < (0.6 if wet else 0.3)
        chain.append(wet)
    gamma = rng.gamma(climate.rain_shape, 1.0 / climate.rain_shape, 500)  # the next to be drawn
    expected = np.where(chain, 5.0 * gamma, 0.0)
    expected[expected < generator.DRIZZLE_MM] = 0.0
    np.testing.assert_allclose(w.precipitation_mm, expected, rtol=1e-12)


def test_a_population_with_spells_gives_each_place_its_own():
    some = [sample_climate(np.random.default_rng(i), spell_sigma_max=1.2) for i in range(200)]
    sigma = np.array([c.spell_sigma for c in some])
    assert sigma.max() <= 1.2 and sigma.mean() == pytest.approx(0.6, abs=0.1)
    assert sample_climate(np.random.default_rng(1)).spell_sigma == 0.0


def test_rain_falls_in_the_season_of_the_regime():
    ratio = []
    for mean in (-0.7, 0.7):
        places = (sample_climate(np.random.default_rng(i), regime=(mean, 0.1)) for i in range(30))
        share = [np.array(c.wet_after_dry) for c in places if c.latitude_deg > 0.0]
        ratio.append(np.mean([s[5:8].mean() / s[[11, 0, 1]].mean() for s in share]))
    assert ratio[0] < 0.6 and ratio[1] > 1.8


def test_mountains_are_high_and_their_snow_lies_for_months():
    high, low = (
        [sample_climate(np.random.default_rng(i), mountain_share=share) for i in range(40)]
        for share in (1.0, 0.0)
    )
    assert all(1000.0 <= c.altitude_m <= 3000.0 for c in high)
    days = [
        np.mean([(generate(c, np.random.default_rng(8), DAY_0, 1461).snow_mm > 0.0).mean()
                 for c in places]) for places in (high, low)
    ]  # fmt: skip
    assert days[0] > 0.3 > days[1]


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
    twelve = generator.at((3.5,) * 12, season)
    np.testing.assert_allclose(np.broadcast_to(generator.at(3.5, season), 366), twelve, rtol=1e-15)
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
    days = 3 * generator.FORBUSH_BLOCK_D + 100
    loss = generator._forbush(climate, np.random.default_rng(0), days)
    assert loss.shape == (days,) and loss.min() >= 0.0 and loss.max() <= 0.3
    edge = loss[[generator.FORBUSH_BLOCK_D - 1, generator.FORBUSH_BLOCK_D]]
    assert edge[1] >= edge[0] * 0.84  # recovers by 1 - exp(-1/6) a day, never at once
