"""The N0 function against two published packages."""

from __future__ import annotations

import numpy as np

from epithermal_edge.physics.desilets import desilets_rate, desilets_sigma, desilets_theta

INPUTS = ("N_cph", "N0_cph", "bulk_density_g_cm3", "lattice_water_g_g", "soc_water_g_g")


def test_desilets_agrees_with_both_packages(corrections_table, agrees):
    table = corrections_table("desilets.csv")
    n, n0, bd, lattice, organic = (table[name] for name in INPUTS)
    theta = desilets_theta(n, n0, bd, lattice, organic)
    agrees(theta, table["theta_vol_neptoon"])
    agrees(theta, table["theta_vol_crnpy"])
    theta_g = desilets_theta(n, n0, 1.0, lattice, organic)
    agrees(theta_g, table["theta_grav_neptoon"])
    agrees(theta_g, table["theta_grav_reformulated_koehli2021_neptoon"])
    agrees(desilets_rate(theta, n0, bd, lattice, organic), table["N_back_neptoon"])


def test_third_order_sigma_agrees_with_crnpy_and_its_limit_with_neptoon(corrections_table, agrees):
    table = corrections_table("desilets.csv")
    n, n0, bd = (table[name] for name in INPUTS[:3])
    sigma = np.sqrt(n)
    agrees(sigma, table["sigma_N_crnpy_cph"])
    agrees(desilets_sigma(n, sigma, n0, bd), table["sigma_theta_vol_crnpy_jakobi2020"])
    # neptoon stops at the first order: what is left when the error is small
    first_order = desilets_sigma(n, 1e-6 * sigma, n0, bd) / 1e-6
    agrees(100.0 * first_order, table["sigma_theta_vol_percent_neptoon"], rtol=1e-11)


def test_a_rate_that_no_water_content_gives_has_no_desilets_answer():
    assert np.isnan(desilets_theta([372.0, 100.0, np.nan], 1000.0, 1.4)).all()
    assert np.isnan(desilets_sigma(372.0, 19.0, 1000.0, 1.4))
