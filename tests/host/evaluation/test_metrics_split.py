"""The parts of an error whose parts are known, and the error without amplitude."""

from __future__ import annotations

import numpy as np
import pytest

from epithermal_host.evaluation.metrics import slope_free, split_error
from epithermal_host.field.days import year_of

DAY_S = 86400.0
DAY_END_S = DAY_S * np.arange(18_994.0, 18_994.0 + 3 * 365)  # 2022 to 2024
YEAR = year_of(DAY_END_S)
EVERY = np.ones(DAY_END_S.size, dtype=bool)
OFFSET = np.array([-0.03, 0.01, 0.02])


def test_offset_slow_and_fast_part_of_a_known_error_are_separated():
    day = np.arange(DAY_END_S.size)
    offset = OFFSET[YEAR - YEAR[0]]
    slow = 0.02 * np.sin(2.0 * np.pi * day / 365.0)
    fast = 0.01 * np.where(day % 2, 1.0, -1.0)
    split = split_error(0.1 + offset + slow + fast, EVERY, DAY_END_S, YEAR)
    assert split.offset == pytest.approx(np.sqrt(np.mean(OFFSET**2)), rel=0.01)
    assert split.slow == pytest.approx(0.02 / np.sqrt(2.0), rel=0.02)
    assert split.fast == pytest.approx(0.01, rel=0.05)  # 31 days of it do not cancel
    total = np.std(offset + slow + fast)
    assert split.offset**2 + split.slow**2 + split.fast**2 == pytest.approx(total**2, rel=0.01)


def test_days_that_are_not_evaluated_change_no_part():
    rng = np.random.default_rng(5)
    judged = rng.random(DAY_END_S.size) < 0.8
    error = np.where(judged, OFFSET[YEAR - YEAR[0]], np.nan)
    split = split_error(error, judged, DAY_END_S, YEAR)
    assert split.slow == pytest.approx(0.0, abs=1e-12) and split.fast == pytest.approx(0, abs=1e-12)
    assert split.offset == pytest.approx(np.std(error[judged]))


def test_the_running_mean_counts_days_and_does_not_pass_over_a_new_year():
    season = np.isin(np.arange(DAY_END_S.size) % 365, range(100, 200))
    bump = np.zeros(DAY_END_S.size)
    bump[110] = 1.0
    split = split_error(bump, season, DAY_END_S, YEAR)
    inside = bump[season][:100] - 0.01
    slow = [inside[max(i - 15, 0) : i + 16].mean() for i in range(100)]
    both = np.concatenate([slow, np.zeros(200)])
    assert split.slow == pytest.approx(np.sqrt(np.mean(both**2)))


def test_an_estimate_of_wrong_amplitude_has_no_slope_free_error():
    truth = 0.25 + 0.05 * np.sin(np.arange(400) / 20.0)
    days = np.ones(400, dtype=bool)
    known = slope_free(truth, 0.1 + 2.0 * truth, days)
    assert known.rmse == pytest.approx(0.0, abs=1e-12) and known.slope == pytest.approx(0.5)


def test_the_slope_free_error_is_that_of_the_pattern():
    rng = np.random.default_rng(1)
    pattern, noise = 0.05 * rng.standard_normal(20_000), 0.01 * rng.standard_normal(20_000)
    days = np.ones(pattern.size, dtype=bool)
    known = slope_free(0.7 * pattern + noise, pattern, days)
    assert known.rmse == pytest.approx(0.01, rel=0.02)
    assert known.slope == pytest.approx(0.7, rel=0.01)
    constant = slope_free(pattern, np.full(pattern.size, 0.2), days)
    assert constant.slope == 0.0 and constant.rmse == pytest.approx(np.std(pattern))
