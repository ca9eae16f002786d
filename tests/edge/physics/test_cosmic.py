"""COSMIC over a uniform soil agrees with the integral that it solves."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest

from epithermal_edge.physics import cosmic
from epithermal_edge.physics.cosmic import (
    THETA_MAX,
    cosmic_inversion,
    cosmic_parameters,
    cosmic_rate,
    cosmic_slope,
    cosmic_theta,
    driest_rate,
)
from epithermal_edge.site import Site


def site_grid(n: int = 1000, seed: int = 3) -> tuple[np.ndarray, Site]:
    """Sample water contents (n,) and as many sites, over the whole range of soils."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.01, 0.85, n), Site(
        cosmic_n_cph=rng.uniform(20.0, 3000.0, n),
        bulk_density_g_cm3=rng.uniform(0.6, 1.9, n),
        lattice_water_g_g=rng.uniform(0.0, 0.1, n),
        organic_water_g_g=rng.uniform(0.0, 0.02, n),
    )


def test_cosmic_agrees_with_every_uniform_reference_vector(shared):
    with (shared / "reference/cosmic/cosmic_vectors.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["n_layers"] == "1"]
    rows = [row for row in rows if row["param_set"] != "mhm"]  # other L1, L2, L4
    assert len(rows) == 50

    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows])

    bd = column("bulk_density_g_cm3")
    site = Site(
        cosmic_n_cph=column("N_high_energy"),
        bulk_density_g_cm3=bd,
        lattice_water_g_g=column("lattice_water_m3_m3") / bd,
    )
    alpha, l_3 = cosmic_parameters(bd)
    np.testing.assert_allclose(alpha, column("alpha"), rtol=1e-12)
    np.testing.assert_allclose(l_3, column("L3_g_cm2"), rtol=1e-12)
    # the vectors sum 1 mm layers by the midpoint rule, which is up to 0.01 % low
    apart = cosmic_rate(column("mean_theta_0_30cm"), site) / column("neutron_count") - 1.0
    assert np.max(apart) < 1.0e-4
    assert np.min(apart) > 0.0


@pytest.mark.parametrize("theta", [0.0, 0.05, 0.3, 0.85])
@pytest.mark.parametrize("bulk_density", [0.6, 1.3, 1.9])
def test_cosmic_closed_form_is_the_integral_over_depth_and_angle(theta, bulk_density):
    alpha, l_3 = cosmic_parameters(bulk_density)
    w = theta + 0.03 * bulk_density
    a = bulk_density / 162.0 + w / 129.1
    b = bulk_density / l_3 + w / 3.16
    # left rectangles at 0.5 degree as in the published code; over depth in closed form
    cos = np.cos(np.radians(np.arange(180) * 0.5))
    integral = np.sum(1.0 / (a + b / cos)) * np.radians(0.5) * 2.0 / np.pi
    expected = 900.0 * (alpha * bulk_density + w) * integral
    rate = cosmic_rate(np.array([theta]), Site(900.0, bulk_density, 0.03))
    assert rate[0] == pytest.approx(expected, rel=2e-5)  # the next term of the rule's error


def test_cosmic_rate_falls_with_water_and_its_slope_is_the_derivative():
    _, site = site_grid()
    water = np.linspace(0.0, 0.9, 91)
    rates = np.stack([cosmic_rate(np.full(1000, theta), site) for theta in water])
    assert np.all(np.diff(rates, axis=0) < 0.0)
    theta = np.full(1000, 0.2)
    central = (cosmic_rate(theta + 1e-5, site) - cosmic_rate(theta - 1e-5, site)) / 2e-5
    np.testing.assert_allclose(cosmic_slope(theta, site), central, rtol=1e-6)


def test_logarithm_of_cosmic_rate_is_convex_in_water():
    _, site = site_grid()
    water = np.linspace(0.0, 0.9, 91)
    log_rate = np.log([cosmic_rate(np.full(1000, theta), site) for theta in water])
    assert np.all(np.diff(log_rate, 2, axis=0) > 0.0)


def test_cosmic_gives_back_the_water_of_every_soil():
    theta, site = site_grid(20000)
    np.testing.assert_allclose(cosmic_theta(cosmic_rate(theta, site), site), theta, atol=1e-11)


@pytest.mark.parametrize("bulk_density", [0.5, 0.6, 1.9])
@pytest.mark.parametrize("lattice", [0.0, 0.1])
def test_cosmic_gives_back_the_water_of_the_extreme_soils(bulk_density, lattice):
    theta = np.linspace(0.0, THETA_MAX, 901)
    site = Site(1000.0, bulk_density, lattice)
    np.testing.assert_allclose(cosmic_theta(cosmic_rate(theta, site), site), theta, atol=1e-11)


@pytest.mark.parametrize(
    ("bulk_density", "l_3", "theta_error", "slope_error"),
    [(0.5, np.nan, 1e-12, 1e-6), (1.9, np.nan, 1e-12, 1e-6), (2.6, np.nan, 1e-12, 1e-6)]
    + [(1.4, l_3, 3e-11, 3e-5) for l_3 in (20.0, 161.9, 162.0, 250.0, 400.0)],
)
@pytest.mark.parametrize("lattice", [0.0, 0.01, 0.1, 0.3])
def test_the_inversion_keeps_its_bounds_for_water_and_slope(
    bulk_density, l_3, theta_error, slope_error, lattice
):
    theta = np.linspace(0.0, THETA_MAX, 9001)
    site = Site(1000.0, bulk_density, lattice, l3_g_cm2=l_3)
    inverted, slope = cosmic_inversion(cosmic_rate(theta, site), site)
    assert np.max(np.abs(inverted - theta)) < theta_error
    assert np.max(np.abs(slope / cosmic_slope(theta, site) - 1.0)) < slope_error


def test_the_inversion_evaluates_the_rate_four_times(monkeypatch):
    calls = []
    evaluate = cosmic._rate_and_slope
    monkeypatch.setattr(cosmic, "_rate_and_slope", lambda *a: calls.append(1) or evaluate(*a))
    site = Site(1000.0, 1.4, 0.0312)
    cosmic_inversion(np.array([2500.0]), site)
    assert len(calls) == 4
    cosmic_inversion(np.array([2600.0]), site)
    assert len(calls) == 6  # both ends of a site are known


def test_the_driest_rate_is_that_of_no_water_for_one_site_and_for_many():
    _, many = site_grid()
    np.testing.assert_array_equal(driest_rate(many), cosmic_rate(np.zeros(1000), many))
    for one in (Site(1000.0, 1.4, 0.03), Site(1000.0, 1.5, 0.03), Site(900.0, 1.4, 0.03)):
        assert driest_rate(one) == cosmic_rate(np.zeros(1), one)[0]


def test_fewer_counts_always_mean_more_water():
    theta = cosmic_theta(np.linspace(500.0, 8000.0, 2001), Site(1000.0, 1.4, 0.03))
    inside = (theta > 0.0) & (theta < THETA_MAX)
    assert inside.sum() > 100
    assert np.all(np.diff(theta[inside]) < 0.0)


def test_an_impossible_count_is_clipped_and_a_missing_one_stays_missing():
    n = np.array([-5.0, 0.0, -np.inf, 1e9, np.inf, np.nan])
    theta = cosmic_theta(n, Site(1000.0, 1.4, 0.03))
    np.testing.assert_array_equal(theta, [THETA_MAX, THETA_MAX, THETA_MAX, 0.0, 0.0, np.nan])


def test_water_in_lattice_and_organic_matter_is_subtracted_from_soil_water():
    rate = cosmic_rate(np.array([0.20]), Site(1000.0, 1.5, 0.0))
    theta = cosmic_theta(rate, Site(1000.0, 1.5, 0.04, 0.02))
    assert theta[0] == pytest.approx(0.20 - 1.5 * 0.06, abs=1e-11)


def test_a_site_may_bring_its_own_cosmic_parameters():
    alpha, l_3 = cosmic_parameters(1.4)
    by_density, given = Site(1000.0, 1.4), Site(1000.0, 1.4, alpha=alpha, l3_g_cm2=l_3)
    theta = np.linspace(0.05, 0.5, 10)
    np.testing.assert_array_equal(cosmic_rate(theta, by_density), cosmic_rate(theta, given))
    # both given: no bulk density is too low
    assert np.isfinite(cosmic_rate(theta, Site(1000.0, 0.3, alpha=0.37, l3_g_cm2=20.0))).all()


@pytest.mark.parametrize("bulk_density", [0.49, 0.0, -1.0, np.nan])
def test_a_soil_too_light_for_cosmic_is_rejected(bulk_density):
    with pytest.raises(ValueError, match=r"bulk_density_g_cm3 must be at least 0\.5"):
        cosmic_parameters(bulk_density)
    with pytest.raises(ValueError, match=r"bulk_density_g_cm3 must be at least 0\.5"):
        cosmic_theta(np.array([500.0]), Site(1000.0, bulk_density))


def test_cosmic_is_smooth_where_soil_attenuates_both_kinds_of_neutrons_equally():
    # L3 from under to over L1: dry soil has b > a, b = a, b < a; the formula's 0 / 0 is between
    l_3 = np.linspace(161.9, 162.1, 2001)
    site = Site(1000.0, 1.4, alpha=0.26, l3_g_cm2=l_3)
    rate, slope = cosmic_rate(np.zeros(2001), site), cosmic_slope(np.zeros(2001), site)
    assert np.max(np.abs(np.diff(rate, 2)) / rate[1:-1]) < 1e-6
    assert np.max(np.abs(np.diff(slope, 2)) / -slope[1:-1]) < 1e-6
    heavy = Site(1000.0, 1.4, alpha=0.26, l3_g_cm2=250.0)
    theta = np.linspace(0.0, 0.9, 91)
    np.testing.assert_allclose(cosmic_theta(cosmic_rate(theta, heavy), heavy), theta, atol=1e-11)


def test_one_site_gives_the_same_bits_as_many():
    theta, site = site_grid()
    n = cosmic_rate(theta, site)
    many = cosmic_theta(n, site), n, cosmic_slope(theta, site), cosmic_inversion(n, site)[1]
    for k in range(theta.size):
        alone = Site(
            float(site.cosmic_n_cph[k]),
            float(site.bulk_density_g_cm3[k]),
            float(site.lattice_water_g_g[k]),
            float(site.organic_water_g_g[k]),
        )
        one = slice(k, k + 1)
        assert cosmic_theta(n[one], alone) == many[0][k]
        assert cosmic_rate(theta[one], alone) == many[1][k]
        assert cosmic_slope(theta[one], alone) == many[2][k]
        assert cosmic_inversion(n[one], alone)[1] == many[3][k]


def test_one_inversion_is_fast_enough_for_the_daemon():
    n, site = np.array([2500.0]), Site(1000.0, 1.4, 0.03)
    best = np.inf
    for _ in range(20):
        start = time.process_time()
        cosmic_theta(n, site)
        best = min(best, time.process_time() - start)
    assert best < 1e-3


def test_the_rates_of_bare_dry_and_of_wettest_soil_are_inverted_exactly():
    site = Site(cosmic_n_cph=np.array([400.0, 1234.5]), bulk_density_g_cm3=np.array([1.0, 1.7]))
    for theta in (0.0, THETA_MAX):
        ends = np.full(2, theta)
        np.testing.assert_array_equal(cosmic_theta(cosmic_rate(ends, site), site), ends)
