"""Weights by distance and depth agree with the schroen2017 tables and two real campaigns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.physics.footprint import (
    d86_cm,
    depth_weight,
    distance_weight,
    distance_weight_simple,
    footprint_radius_m,
    franz_depth_cm,
    rescaled_distance_m,
)

CAMPAIGNS = {
    "fuerstensee-fsc001": ("FSC001_calibration_samples.csv", "{2}.{1}.{0}"),
    "sheepdrove2": ("Sheepdrove2-calibration.csv", "{0}-{1}-{2}"),
}


def test_weight_by_distance_agrees_with_neptoon(corrections_table, agrees):
    table = corrections_table("schroen2017_horizontal.csv")
    r, theta, h = table["distance_m"], table["theta_vol"], table["abs_humidity_g_m3"]
    r_star = rescaled_distance_m(r, table["pressure_hpa"])
    agrees(r_star, table["rescaled_distance_m_neptoon"])
    agrees(distance_weight(r, theta, h), table["W_r_neptoon"])
    agrees(distance_weight(r_star, theta, h), table["W_rescaled_r_neptoon"])
    agrees(distance_weight_simple(r), table["W_r_approx_neptoon"])


def test_footprint_radius_is_within_4_percent_of_the_simulated_table(corrections_table):
    table = corrections_table("schroen2017_horizontal.csv")
    theta, h, p = table["theta_vol"], table["abs_humidity_g_m3"], table["pressure_hpa"]
    known = np.isfinite(table["footprint_radius_86_m_neptoon"])
    assert known.sum() == 20
    here = footprint_radius_m(theta, h) / rescaled_distance_m(1.0, p)
    ratio = here[known] / table["footprint_radius_86_m_neptoon"][known]
    assert 0.96 < ratio.min() < ratio.max() < 1.005


def test_footprint_radius_is_where_the_summed_weights_reach_the_fraction():
    r = (np.arange(600_000) + 0.5) * 1e-3
    within = np.cumsum(distance_weight(r, 0.2, 8.0))
    for fraction in (0.5, 1.0 - np.exp(-2.0)):
        summed = r[np.searchsorted(within, fraction * within[-1])]
        assert footprint_radius_m(0.2, 8.0, fraction) == pytest.approx(summed, abs=2e-3)


def test_weight_by_depth_agrees_with_both_packages(corrections_table, agrees):
    table = corrections_table("schroen2017_depth.csv")
    theta, bd, r = table["theta_vol"], table["bulk_density_g_cm3"], table["distance_m"]
    d86 = d86_cm(theta, bd, r)
    agrees(d86, table["D86_cm_neptoon(r_as_given,no_lattice)"])
    at_sea_level = d86_cm(theta, bd, rescaled_distance_m(r, 1013.25))
    agrees(at_sea_level, table["D86_cm_crnpy(P=Pref=1013.25,Wlat=0)"])
    with_lattice = d86_cm(theta, bd, rescaled_distance_m(r, 985.0), 0.05)
    agrees(with_lattice, table["D86_cm_crnpy(P=985,Wlat=0.05)"])
    agrees(franz_depth_cm(theta, bd, 0.05), table["D86_cm_crnpy_franz2012(Wlat=0.05)"])
    agrees(depth_weight(2.5, d86), table["Wd_2.5cm_neptoon"])
    for z_cm in (7.5, 12.5, 17.5, 22.5, 27.5):
        agrees(depth_weight(z_cm, d86), table[f"Wd_{z_cm}cm"])


def samples(folder: Path, site: str, date: str) -> dict[str, np.ndarray]:
    """Read a campaign: profile, distance, depth, gravimetric water of samples; mean density."""
    name, pattern = CAMPAIGNS[site]
    with (folder / site / name).open(newline="") as file:
        header, *rows = csv.reader(file, skipinitialspace=True)
    day = pattern.format(*date.split("-"))
    ours = [row[1:6] for row in rows if row and row[0].startswith(day)]
    values = np.array([[float(v or "nan") for v in row] for row in ours])
    values = values[np.isfinite(values).all(axis=1)]
    assert header[1:6] == [
        "Profile_ID",
        "Distance_to_CRNS_m",
        "Profile_Depth_cm",
        "SoilMoisture_g_g",
        "DryBulkDensity_g_cm3",
    ]
    return dict(zip(("profile", "r", "z", "theta_g", "bd"), values.T, strict=True))


def weighted_mean(s: dict[str, np.ndarray], p: float, h: float) -> tuple[float, int]:
    """Compute the weighted mean of a campaign and the number of iterations to convergence."""
    bd = np.mean(s["bd"])
    profiles = [s["profile"] == i for i in np.unique(s["profile"])]
    theta, before, rounds = np.mean(s["theta_g"] * bd), np.inf, 0
    while abs(theta - before) > 1e-6:
        before, rounds = theta, rounds + 1
        r = rescaled_distance_m(np.maximum(s["r"], 0.5), p)
        w_d = depth_weight(s["z"], d86_cm(theta, bd, r))
        means = [np.average(s["theta_g"][i] * bd, weights=w_d[i]) for i in profiles]
        w_r = distance_weight(np.array([r[i].mean() for i in profiles]), theta, h)
        theta = np.average(means, weights=w_r)
    return theta, rounds


def test_weighted_mean_of_two_real_campaigns_agrees_with_both_packages(
    shared, corrections_table, agrees
):
    table = corrections_table("calibration_average.csv")
    keys = ("site", "date", "pressure_hpa", "abs_humidity_g_m3")
    for row, (site, date, p, h) in enumerate(zip(*(table[k] for k in keys), strict=True)):
        s = samples(shared / "field", site, date)
        bd = np.mean(s["bd"])
        assert s["z"].size == table["n_samples"][row]
        assert np.unique(s["profile"]).size == table["n_profiles"][row]
        assert round(bd, 5) == table["mean_bulk_density_g_cm3"][row]
        agrees(np.mean(s["theta_g"] * bd), table["plain_mean_theta_vol"][row])
        shallow = s["theta_g"][s["z"] <= 30.0]
        agrees(np.mean(shallow * bd), table["plain_mean_theta_vol_0_30cm"][row])
        theta, rounds = weighted_mean(s, p, h)
        assert rounds == table["iterations"][row]
        agrees(theta, table["weighted_theta_vol_crnpy_nrad_weight_tol1e-6"][row])
        column = "weighted_theta_vol_schroen2017_with_neptoon_weights_tol1e-6"
        agrees(theta, table[column][row])


def test_the_footprint_of_wet_soil_is_shallower_and_narrower():
    theta = np.linspace(0.1, 0.45, 36)
    assert np.all(np.diff(d86_cm(theta, 1.4)) < 0.0)
    assert np.all(np.diff(footprint_radius_m(theta, 8.0)) < 0.0)


def test_vegetation_and_dense_air_bring_the_footprint_closer():
    assert rescaled_distance_m(100.0, 1013.25) == pytest.approx(100.0, rel=2e-4)
    assert rescaled_distance_m(100.0, 700.0) < 100.0
    assert rescaled_distance_m(100.0, 1013.25, 0.1, 20.0) > 100.0
