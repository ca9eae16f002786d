"""Memory and spread of simulated and real soils match their definitions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from epithermal_host.studies import population_check
from epithermal_host.studies.population_check import LAGS_D, Memory, PopulationResult


def test_the_memory_of_a_first_order_series_is_its_power():
    rng = np.random.default_rng(3)
    x = np.zeros(20000)
    for i in range(1, x.size):
        x[i] = 0.9 * x[i - 1] + rng.standard_normal()
    result = population_check.memory("x", x, np.ones(x.size, dtype=bool))
    expected = 0.9 ** np.array(LAGS_D)
    np.testing.assert_allclose(result.autocorrelation, expected, atol=0.05)
    assert result.spread == pytest.approx(1.0 / np.sqrt(1.0 - 0.81), rel=0.05)


def test_winters_and_gaps_cause_no_bias():
    day = np.arange(3000.0)
    x = np.sin(2.0 * np.pi * day / 80.0)
    usable = day % 365 < 184
    x[~usable] = 99.0
    x[50:60] = np.nan
    result = population_check.memory("x", x, usable)
    expected = np.cos(2.0 * np.pi * np.array(LAGS_D) / 80.0)
    np.testing.assert_allclose(result.autocorrelation, expected, atol=0.06)


def test_too_few_pairs_give_nan():
    result = population_check.memory("x", np.arange(70.0), np.ones(70, dtype=bool))
    assert np.isfinite(result.autocorrelation[:3]).all() and np.isnan(result.autocorrelation[3])


def _places(r10: float, spread: float, n: int = 9) -> tuple[Memory, ...]:
    return tuple(Memory(f"p{i}", (0.98, 0.9, r10, 0.3), spread * (1 + 0.01 * i)) for i in range(n))


def test_the_checks_require_memory_and_spread():
    real = {"counts": _places(0.67, 0.05), "theta": _places(0.86, 0.055)}
    good = {"counts": _places(0.6, 0.045), "theta": _places(0.8, 0.06)}
    assert all(c.ok for c in population_check.checks(good, real))
    flashy = {"counts": _places(0.33, 0.045), "theta": _places(0.8, 0.04)}
    verdicts = [c.ok for c in population_check.checks(flashy, real)]
    assert verdicts == [False, True, True, False]


def test_a_result_is_formatted_drawn_and_written(tmp_path):
    real = {"counts": _places(0.67, 0.05, 2), "theta": ()}
    simulated = {"counts": _places(0.6, 0.045), "theta": _places(0.8, 0.06)}
    result = PopulationResult(
        simulated=simulated,
        real=real,
        checks=population_check.checks(simulated, real),
        report_path=tmp_path / "a.json",
        picture_path=tmp_path / "a.png",
    )
    text = population_check.table(result)
    assert "9 simulated, median" in text and "autocorrelation 10 d" in text and result.ok
    json.dumps(population_check.report(result), allow_nan=False)
    result.picture_path.write_bytes(population_check.picture(result))
    assert result.picture_path.stat().st_size > 10_000
