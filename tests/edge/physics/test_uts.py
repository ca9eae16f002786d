"""The universal transport solution: each column of koehli2021_uts.csv, and its inverse."""

from __future__ import annotations

import json

import numpy as np
import pytest

from epithermal_edge.physics.uts import UTS_PARAMETERS, uts_rate, uts_theta


def test_the_parameters_are_the_published_ones(shared):
    path = shared / "reference/corrections/koehli2021_parameters.json"
    published = json.loads(path.read_text())
    assert {name: (*values, 0.0) for name, values in UTS_PARAMETERS.items()} == {
        name: tuple(values) for name, values in published.items()
    }


@pytest.mark.parametrize("parameters", UTS_PARAMETERS)
@pytest.mark.parametrize("bulk_density", [1.1, 1.43, 1.7])
def test_uts_agrees_with_neptoon_both_ways(corrections_table, agrees, parameters, bulk_density):
    table = corrections_table("koehli2021_uts.csv")
    rows = table["parameter_set"] == parameters
    theta_g, h, extra, n_d, n, inverse = (
        table[name][rows]
        for name in (
            "theta_grav",
            "abs_humidity_g_m3",
            "additional_water_g_g",
            "N_D_cph",
            "N_cph_neptoon",
            "theta_grav_inverse_neptoon(bisection_tol_1e-4)",
        )
    )
    agrees(theta_g * 1.43, table["theta_vol_at_1.43"][rows])
    agrees(uts_rate(theta_g * bulk_density, h, n_d, extra, bulk_density, parameters), n)
    theta = uts_theta(n, h, n_d, extra, bulk_density, parameters)
    agrees(theta / bulk_density, theta_g, atol=1e-14)
    # neptoon stops halving at 1e-4; it is its answer that is off
    agrees(theta / bulk_density, inverse, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("parameters", UTS_PARAMETERS)
def test_uts_counts_fall_with_water_and_with_humidity(parameters):
    theta, h = np.meshgrid(np.linspace(0.0, 1.0, 101), np.linspace(0.0, 30.0, 31))
    n = uts_rate(theta, h, 1000.0, parameters=parameters)
    assert np.all(np.diff(n, axis=1) < 0.0)
    assert np.all(np.diff(n, axis=0) < 0.0)


def test_a_count_that_no_water_content_gives_has_no_uts_answer():
    assert np.isnan(uts_theta([5000.0, 10.0, np.nan], 5.0, 1000.0)).all()
    assert np.isnan(uts_theta(500.0, np.nan, 1000.0))


def test_one_site_gives_the_same_bits_as_many():
    rng = np.random.default_rng(4)
    theta, h = rng.uniform(0.01, 0.6, 300), rng.uniform(0.0, 25.0, 300)
    n = uts_rate(theta, h, 1000.0, 0.03)
    many = uts_theta(n, h, 1000.0, 0.03)
    for k in range(300):
        one = slice(k, k + 1)
        assert uts_rate(theta[one], h[one], 1000.0, 0.03) == n[k]
        assert uts_theta(n[one], h[one], 1000.0, 0.03) == many[k]
