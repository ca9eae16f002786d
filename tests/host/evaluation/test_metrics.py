"""Figures follow their papers; soils for which a figure is undefined are excluded from it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from epithermal_host.evaluation.metrics import ENOUGH_DAYS, rms, stats


def soils(count=40, days=400, seed=12):
    """Draw truth with a memory of 20 days, and an estimate with errors of 0.025."""
    rng = np.random.default_rng(seed)
    decay = np.exp(-1.0 / 20.0)
    truth = np.full((count, days), 0.25)
    for day in range(1, days):
        noise = 0.06 * np.sqrt(1.0 - decay**2) * rng.standard_normal(count)
        truth[:, day] = 0.25 + decay * (truth[:, day - 1] - 0.25) + noise
    return truth, truth + 0.025 * rng.standard_normal(truth.shape)


def every(truth):
    return np.ones(truth.shape, dtype=bool)


def pearson(truth, estimate):
    return [np.corrcoef(t, e)[0, 1] for t, e in zip(truth, estimate, strict=True)]


def test_scores_of_a_known_error():
    truth = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
    estimate = truth + np.array([[0.02], [-0.01]])
    out = stats(truth, estimate, every(truth), np.full((2, 4), 0.01))
    assert out.rmse == pytest.approx(np.sqrt((0.02**2 + 0.01**2) / 2))
    assert out.ubrmse == pytest.approx(0.0, abs=1e-15)
    assert out.bias == pytest.approx(0.005)
    assert out.coverage_90 == 0.5  # 1.64 sigma hold 0.01 but not 0.02
    assert (out.soils, out.days) == (2, 8)


def test_a_perfect_but_shifted_estimate_has_r_one():
    truth, _ = soils()
    out = stats(truth, truth + 0.02, every(truth))
    assert out.r == pytest.approx(1.0) and out.ubrmse == pytest.approx(0.0, abs=1e-15)


def test_days_that_are_not_evaluated_have_no_effect_on_rmse():
    truth = np.full((1, 10), 0.2)
    estimate = truth.copy()
    estimate[0, :3] = 9.0
    judged = np.ones((1, 10), dtype=bool)
    judged[0, :3] = False
    assert stats(truth, estimate, judged).rmse == 0.0


def test_a_correct_sigma_covers_ninety_percent():
    rng = np.random.default_rng(1)
    sigma = rng.uniform(0.005, 0.02, (20, 1000))
    truth = np.full(sigma.shape, 0.3)
    estimate = truth + sigma * rng.standard_normal(sigma.shape)
    out = stats(truth, estimate, every(truth), sigma)
    assert out.coverage_90 == pytest.approx(0.9, abs=0.01)


def test_kge_and_r_of_a_scaled_and_shifted_estimate():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.1, 0.4, (3, 200))
    estimate = 1.2 * (truth - truth.mean(axis=1, keepdims=True))
    estimate += 1.1 * truth.mean(axis=1, keepdims=True)
    out = stats(truth, estimate, every(truth))
    assert out.r == pytest.approx(1.0)
    assert out.kge == pytest.approx(1.0 - np.hypot(0.2, 0.1))  # Gupta et al. 2009, eq. 9


def test_days_that_are_not_evaluated_have_no_effect_on_any_figure():
    rng = np.random.default_rng(2)
    truth = rng.uniform(0.1, 0.4, (4, 100))
    estimate = truth + 0.02 * rng.standard_normal(truth.shape)
    judged = rng.random(truth.shape) < 0.7
    one = stats(truth, estimate, judged, np.full(truth.shape, 0.02))
    with_nan = np.where(judged, estimate, np.nan)
    assert stats(truth, with_nan, judged, np.full(truth.shape, 0.02)) == one
    error = (estimate - truth)[judged]
    assert one.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)
    assert one.bias == pytest.approx(error.mean(), rel=1e-9)


def test_r_is_the_median_of_the_soils_pearson_r():
    truth, estimate = soils()
    out = stats(truth, estimate, every(truth))
    assert out.r == pytest.approx(np.median(pearson(truth, estimate)), rel=1e-12)


@pytest.mark.parametrize("days", [1, 2, 3, 10, ENOUGH_DAYS - 1])
def test_soils_with_few_days_count_for_rmse_but_not_for_r(days):
    truth, estimate = soils()
    judged = every(truth)
    judged[:16, days:] = False
    out = stats(truth, estimate, judged)
    assert out.r == pytest.approx(np.median(pearson(truth[16:], estimate[16:])), rel=1e-12)
    assert (out.soils, out.days) == (40, 24 * 400 + 16 * days)
    assert out.rmse == pytest.approx(rms((estimate - truth)[judged]), rel=1e-12)


@pytest.mark.parametrize("value", [0.25, 0.3, 0.1 + 0.2])  # some means have a rounding error
def test_a_soil_with_constant_truth_is_excluded_from_r_and_kge(value):
    truth, estimate = soils()
    truth[:16] = value
    out = stats(truth, estimate, every(truth))
    rest = stats(truth[16:], estimate[16:], every(truth[16:]))
    assert (out.r, out.kge) == (rest.r, rest.kge)


@pytest.mark.parametrize("value", [0.25, 0.3, 0.1 + 0.2])
def test_a_constant_estimate_has_r_zero(value):
    truth, _ = soils()
    constant = np.full(truth.shape, value)
    assert stats(truth, constant, every(truth)).r == 0.0


def test_r_is_nan_if_it_is_undefined_for_all_soils():
    truth, estimate = soils(count=3, days=ENOUGH_DAYS - 1)
    out = stats(truth, estimate, every(truth))
    assert math.isnan(out.r) and math.isnan(out.kge) and out.rmse > 0.0


def test_rms_uses_the_finite_values():
    assert rms(np.array([3.0, np.nan, -4.0, np.inf])) == pytest.approx(np.sqrt(12.5))
    assert math.isnan(rms(np.array([np.nan])))
