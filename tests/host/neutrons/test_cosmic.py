"""COSMIC agrees with two published implementations, and its fast path with its exact rule."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.site import Site
from epithermal_host.neutrons import cosmic
from epithermal_host.validation.cosmic import read_vectors

Z_CM = np.linspace(0.0, 100.0, 101)
BOTTOM_CM = cosmic.node_layer_bottoms(Z_CM)


@pytest.fixture(scope="module")
def vectors(shared: Path) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Read each row of cosmic_vectors.csv and its arguments of `neutron_rate`."""
    folder = shared / "reference" / "cosmic"
    return read_vectors(folder / "cosmic_vectors.csv", folder / "cosmic_vectors_profiles.csv")


def test_exact_rule_agrees_with_published_codes(vectors):
    for row, arguments in vectors:
        rate = cosmic.neutron_rate(**arguments, n_cph=float(row["N_high_energy"]), rule="exact")
        assert rate == pytest.approx(float(row["neutron_count"]), rel=1e-6)
        d86_cm = cosmic.effective_depth(**arguments, rule="exact")
        assert d86_cm * 10 == pytest.approx(float(row["d86_mm"]), abs=1.0)


def test_fast_path_agrees_with_the_exact_rule(vectors):
    for row, arguments in vectors:
        rate = cosmic.neutron_rate(**arguments, n_cph=float(row["N_high_energy"]))
        assert rate == pytest.approx(float(row["neutron_count"]), rel=2e-4)
        # the exact rule rounds up to a millimetre
        d86_cm = cosmic.effective_depth(**arguments)
        assert d86_cm * 10 == pytest.approx(float(row["d86_mm"]) - 0.5, abs=0.6)


def test_contributions_weigh_theta_as_published(vectors):
    for row, arguments in vectors:
        share = cosmic.contributions(**arguments)
        assert share.sum() == pytest.approx(1.0)
        weighted = float(row["weighted_theta_m3_m3"])
        assert share @ arguments["theta"] == pytest.approx(weighted, abs=2e-4)


def test_fast_path_is_a_hundred_times_quicker():
    theta = np.random.default_rng(3).uniform(0.05, 0.4, (1000, Z_CM.size))
    cosmic.neutron_rate(BOTTOM_CM, theta[:2], 1.4)  # compile

    def cpu_s_per_profile(rule: cosmic.Rule, profiles: int) -> float:
        start = time.process_time()
        cosmic.neutron_rate(BOTTOM_CM, theta[:profiles], 1.4, rule=rule)
        return (time.process_time() - start) / profiles

    assert cpu_s_per_profile("exact", 10) > 100 * cpu_s_per_profile("fast", 1000)


@pytest.mark.parametrize("rule", ["fast", "exact"])
def test_many_profiles_at_once_give_the_result_of_each_alone(rule: cosmic.Rule):
    theta = np.random.default_rng(4).uniform(0.05, 0.4, (2, 3, Z_CM.size))
    density = np.where(Z_CM < 30, 1.2, 1.5)
    lattice = np.array([0.01, 0.02, 0.05])[:, None]
    snow = np.array([0.0, 0.5, 2.0])
    rates = cosmic.neutron_rate(
        BOTTOM_CM, theta, density, lattice, 900.0, surface_water_cm=snow, rule=rule
    )
    assert rates.shape == (2, 3)
    alone = cosmic.neutron_rate(
        BOTTOM_CM, theta[1, 2], density, 0.05, 900.0, surface_water_cm=2.0, rule=rule
    )
    assert rates[1, 2] == pytest.approx(alone, rel=1e-12)


def test_layered_density_and_snow_agree_between_the_rules():
    theta = np.random.default_rng(5).uniform(0.05, 0.4, (5, Z_CM.size))
    arguments = BOTTOM_CM, theta, np.where(Z_CM < 30, 1.2, 1.5), 0.03, 900.0
    snow = np.array([0.0, 0.1, 0.77, 3.0, 8.0])
    fast = cosmic.neutron_rate(*arguments, surface_water_cm=snow)
    exact = cosmic.neutron_rate(*arguments, surface_water_cm=snow, rule="exact")
    np.testing.assert_allclose(fast, exact, rtol=3e-4)
    assert np.all(np.diff(fast[1:]) < 0)  # water on the soil hides it


def test_more_water_means_fewer_neutrons_and_a_shallower_view():
    theta = np.linspace(0.02, 0.6, 30)[:, None] * np.ones(Z_CM.size)
    assert np.all(np.diff(cosmic.neutron_rate(BOTTOM_CM, theta, 1.4)) < 0)
    assert np.all(np.diff(cosmic.effective_depth(BOTTOM_CM, theta, 1.4)) < 0)


def test_the_stations_closed_form_is_the_same_for_uniform_soil():
    theta = np.linspace(0.02, 0.6, 30)
    rates = cosmic.neutron_rate(BOTTOM_CM, theta[:, None] * np.ones(Z_CM.size), 1.4, 0.042, 900.0)
    site = Site(cosmic_n_cph=900.0, bulk_density_g_cm3=1.4, lattice_water_g_g=0.03)
    # the closed form goes on below 300 cm
    np.testing.assert_allclose(cosmic_rate(theta, site), rates, rtol=1e-4)


def test_layers_that_do_not_fit_the_profile_are_rejected():
    with pytest.raises(ValueError, match="bottom_cm"):
        cosmic.neutron_rate([10.0, 20.0], [0.1, 0.2, 0.3], 1.4)
    with pytest.raises(ValueError, match="below the surface"):
        cosmic.neutron_rate([0.0, 20.0], [0.1, 0.2], 1.4)
