"""The general calibration of Heistermann et al. (2024), against the authors' data and results."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from epithermal_edge.physics.cutoff import cutoff_rigidity
from epithermal_edge.physics.desilets import desilets_rate, desilets_theta
from epithermal_host.neutrons.general_calibration import (
    GENERAL_N0_CPH,
    PLACES_SIGMA,
    general_n0,
    relative_intensity,
)

NAMES = ("Nc", "sensitivity", "biomass", "Nsim", "fi", "Nscaled", "bd", "thetaeff", "lat", "lon")


@pytest.fixture(scope="module")
def points(shared) -> dict[str, np.ndarray]:
    """The published calibration points with a place each, bulk density in g cm-3."""
    with open(shared / "field/calibration-points/caldata.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["tocal"] == "True"]
    out = {name: np.array([float(row[name] or "nan") for row in rows]) for name in (*NAMES, "alt")}
    return {**out, "bd": out["bd"] / 1000.0, "id": np.array([row["id"] for row in rows])}


def test_n0_and_error_are_those_that_the_authors_print(points):
    def error(n0_cph: float) -> float:
        theta = desilets_theta(points["Nscaled"], n0_cph, points["bd"])
        return float(np.nanmean(np.abs(points["thetaeff"] - theta)))

    found = minimize_scalar(
        error, bounds=(2000.0, 2600.0), method="bounded", options={"xatol": 0.1}
    )
    assert found.x == pytest.approx(2305.9, abs=1.0)
    assert found.fun == pytest.approx(0.075485, abs=2e-5)
    assert abs(found.x - GENERAL_N0_CPH) < 1.0


def test_the_intensity_is_that_of_parma_at_the_published_places(points):
    one = [int(np.flatnonzero(points["id"] == name)[0]) for name in dict.fromkeys(points["id"])]
    assert len(one) == 75
    own = [
        relative_intensity(points["alt"][i], float(cutoff_rigidity(*(points[k][i] for k in
               ("lat", "lon")))))
        for i in one
    ]  # fmt: skip
    apart = np.log(own) + np.log(points["fi"][one])  # fi is the reciprocal
    assert np.std(apart) < 0.008 and np.abs(apart).max() < 0.041 and abs(apart.mean()) < 0.002


def test_n0_of_a_place_scatters_as_stated_about_the_general_one(points):
    p = points
    at = zip(p["lat"], p["lon"], p["alt"], np.nan_to_num(p["biomass"]), strict=True)
    general = np.array([general_n0(1.0, *row).n0_cph for row in at])  # Nc is per sensitivity
    apart = np.log(p["Nc"] / desilets_rate(p["thetaeff"], general, p["bd"]))
    places = np.array([apart[p["id"] == name].mean() for name in dict.fromkeys(p["id"])])
    assert float(np.sqrt(np.nanmean(places**2))) == pytest.approx(PLACES_SIGMA, abs=0.004)
    assert np.nanmean(places) == pytest.approx(0.025, abs=0.005)  # n0 is fitted to theta, not n


def test_a_detector_of_twice_the_sensitivity_counts_twice_and_plants_take_their_share():
    one, two = (general_n0(s, 52.0, 13.0, 40.0).n0_cph for s in (0.5, 1.0))
    assert two == pytest.approx(2.0 * one) and two == pytest.approx(2306.0, rel=0.06)
    assert general_n0(1.0, 52.0, 13.0, 40.0, 10.0).n0_cph == pytest.approx(0.91 * two)


def test_a_high_or_equatorial_place_is_marked_as_extrapolated():
    assert not general_n0(1.0, 52.0, 13.0, 40.0).extrapolated
    assert general_n0(1.0, 39.3, -107.0, 2500.0).extrapolated  # higher
    assert general_n0(1.0, 5.0, 80.0, 40.0).extrapolated  # higher cutoff rigidity
