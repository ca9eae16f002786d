"""Soil hydraulic functions against HYDRUS-1D's and against their own derivatives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from epithermal_host.soil.hydraulics import CATALOGUE, SoilHydraulics

HEADS = -np.logspace(-1, 4.5, 60)


def test_catalogue_has_the_twelve_classes_and_air_entry_where_n_is_small():
    assert len(CATALOGUE) == 12
    assert {name for name, soil in CATALOGUE.items() if soil.air_entry_cm > 0} == {
        "silty_clay_loam",
        "sandy_clay",
        "silty_clay",
        "clay",
    }


@pytest.mark.parametrize("run", ["a03_sandy_loam_bare_1y", "a11_silty_clay_bare_1y"])
def test_retention_agrees_with_hydrus_with_and_without_air_entry(shared: Path, run: str):
    folder = shared / "reference" / "hydrus1d" / run
    material = json.loads((folder / "case.json").read_text())["materials"][0]
    soil = CATALOGUE[material["name"]]
    with np.load(folder / "profiles.npz") as runs:
        h, theta = runs["h_converged_cm"], runs["theta_converged_cm3_cm3"]
    # 5e-5: HYDRUS' printed heads were shortened to 7e-5 relative
    np.testing.assert_allclose(soil.theta(h), theta, atol=5e-5)


@pytest.mark.parametrize("soil", CATALOGUE.values(), ids=list(CATALOGUE))
def test_capacity_is_the_slope_of_retention(soil: SoilHydraulics):
    h = HEADS[HEADS < -2.2]
    slope = (soil.theta(h * (1 - 1e-5)) - soil.theta(h * (1 + 1e-5))) / (-2e-5 * h)
    np.testing.assert_allclose(soil.c(h), slope, rtol=1e-5)


@pytest.mark.parametrize("soil", CATALOGUE.values(), ids=list(CATALOGUE))
def test_functions_fall_monotonically_from_saturation(soil: SoilHydraulics):
    for values in (soil.theta(HEADS), soil.k(HEADS)):
        assert np.all(np.diff(values) <= 0)
    assert soil.theta(1.0) == soil.theta_s == soil.theta(-soil.air_entry_cm)
    assert soil.k(0.0) == soil.ks_cm_d
    assert soil.k(-soil.air_entry_cm - 1e-9) == pytest.approx(soil.ks_cm_d, rel=0.05)


def test_conductivity_of_loam_agrees_with_mualem_written_out():
    soil = CATALOGUE["loam"]
    se = (1 + (0.036 * 50) ** 1.56) ** -(1 - 1 / 1.56)
    mualem = 24.96 * se**0.5 * (1 - (1 - se ** (1 / soil.m)) ** soil.m) ** 2
    assert soil.k(-50.0) == pytest.approx(mualem, rel=1e-12)


@pytest.mark.parametrize("soil", CATALOGUE.values(), ids=list(CATALOGUE))
def test_head_inverts_retention(soil: SoilHydraulics):
    h = HEADS[(HEADS < -5) & (HEADS > -1e4)]
    np.testing.assert_allclose(soil.head(soil.theta(h)), h, rtol=1e-6)


@pytest.mark.parametrize("fault", [{"n": 1.0}, {"theta_r": 0.5}, {"ks_cm_d": -1.0}])
def test_impossible_parameters_are_rejected(fault: dict[str, float]):
    good = {"theta_r": 0.05, "theta_s": 0.4, "alpha_per_cm": 0.05, "n": 1.5, "ks_cm_d": 10.0}
    with pytest.raises(ValueError, match="soil parameters"):
        SoilHydraulics(**(good | fault))
