"""Compiled loops of the weather have the bits of the same loops in Python."""

from __future__ import annotations

import numpy as np

from epithermal_host.weather import recurrences

RNG = np.random.default_rng(2)
DAYS = 800


def test_noise_has_the_bits_of_vector_operations_day_by_day():
    innovation, memory = RNG.standard_normal((DAYS, 3)), np.array([0.97, 0.5, 0.0])
    rows = [innovation[0]]
    for today in innovation[1:]:
        rows.append(memory * rows[-1] + np.sqrt(1.0 - memory * memory) * today)
    np.testing.assert_array_equal(recurrences.autoregressive(innovation, memory), rows)


def test_wet_days_follow_the_day_before():
    draw, after_dry, after_wet = RNG.random((3, DAYS))
    wet, rows = False, []
    for i in range(DAYS):
        wet = draw[i] < (after_wet[i] if wet else after_dry[i])
        rows.append(wet)
    assert recurrences.wet_days(draw, after_dry, after_wet).tolist() == rows


def test_snow_melts_by_the_heat_of_the_day_and_none_lies_before_the_first_frost():
    rain, melt_mm = RNG.exponential(3.0, DAYS), np.maximum(RNG.normal(2.0, 4.0, DAYS), 0.0)
    freezes = RNG.random(DAYS) < 0.3
    freezes[:5] = False
    melt_mm[:5] = np.nan  # a heat that is not a number melts nothing where nothing lies
    snow, melted = recurrences.snow_and_melt(rain, freezes, melt_mm)
    store = 0.0
    for i in range(5, DAYS):
        store += rain[i] if freezes[i] else 0.0
        melt = min(store, melt_mm[i])
        store -= melt
        assert (snow[i], melted[i]) == (store, melt)
    assert not snow[:5].any() and not melted[:5].any() and snow.max() > 5.0


def test_litter_fills_before_it_dries():
    supply, demand = RNG.exponential(2.0, (2, DAYS))
    stored, caught, dried = recurrences.litter(4.0, supply, demand)
    now = 0.0
    for i in range(DAYS):
        taken_up = min(supply[i], 4.0 - now)
        lost = min(demand[i], now + taken_up)
        now = now + taken_up - lost
        assert (stored[i], caught[i], dried[i]) == (now, taken_up, lost)
