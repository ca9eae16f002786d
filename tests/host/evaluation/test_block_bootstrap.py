"""Intervals of a difference between two methods whose true difference is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from epithermal_host.evaluation.block_bootstrap import ubrmse_difference

A, B = 0.03, 0.02  # true ubRMSE of two methods [m3 m-3]


def persistent(rng: np.random.Generator, size: tuple[int, int], memory_d: float) -> np.ndarray:
    """Return first-order autoregressive series of unit variance."""
    keep = math.exp(-1.0 / memory_d)
    out = rng.standard_normal(size)
    for i in range(1, size[1]):
        out[:, i] = keep * out[:, i - 1] + math.sqrt(1.0 - keep**2) * out[:, i]
    return out


def test_the_value_is_the_difference_of_both_errors_without_their_means():
    rng = np.random.default_rng(2)
    a, b = 0.3 + A * rng.standard_normal(800), B * rng.standard_normal(800)
    found = ubrmse_difference(a, b)
    assert found.value == pytest.approx(np.std(a) - np.std(b))
    assert found.low < found.value < found.high and found.low > 0.0


def test_ninety_of_a_hundred_intervals_contain_the_true_difference():
    rng = np.random.default_rng(3)
    common = persistent(rng, (200, 1500), 5.0)
    own, other = (persistent(rng, (200, 1500), 5.0) for _ in range(2))
    first, second = (math.sqrt(0.5) * (common + x) for x in (own, other))
    inside = 0
    for a, b in zip(A * first, B * second, strict=True):
        found = ubrmse_difference(a, b, draws=400)
        inside += found.low <= A - B <= found.high
    assert 0.84 <= inside / 200 <= 0.95  # 0.90, a little less for blocks of finite number


def test_blocks_of_single_days_give_too_short_intervals_for_persistent_errors():
    rng = np.random.default_rng(4)
    a, b = A * persistent(rng, (2, 1500), 10.0)
    by_day, by_block = ubrmse_difference(a, b, block_d=1), ubrmse_difference(a, b)
    assert by_block.high - by_block.low > 1.5 * (by_day.high - by_day.low)


def test_the_same_errors_give_the_same_interval_and_equal_methods_none():
    rng = np.random.default_rng(6)
    a, b = A * rng.standard_normal((2, 300))
    assert ubrmse_difference(a, b) == ubrmse_difference(a, b)
    nothing = ubrmse_difference(a, a + 0.1)
    assert (nothing.low, nothing.high) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_a_few_weeks_have_no_interval():
    few = ubrmse_difference(np.arange(89.0), np.ones(89))
    assert few.value > 0.0 and math.isnan(few.low) and math.isnan(few.high)
