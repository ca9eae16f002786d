"""`epithermal-host scale`: a known N0 or N_D becomes the scale of another response."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest

from epithermal_edge.physics.desilets import desilets_rate, desilets_theta
from epithermal_edge.physics.response import response_theta
from epithermal_edge.site import Site
from epithermal_host.cli.main import main
from epithermal_host.neutrons.general_calibration import general_n0

SOIL = ("--bulk-density", "1.16", "--bound-water", "0.082")


def keys(capsys, *arguments: str) -> dict[str, object]:
    assert main(["scale", *arguments]) == 0
    return tomllib.loads(capsys.readouterr().out)


def test_cosmic_with_the_derived_n_gives_the_water_of_desilets_at_the_calibration(capsys):
    found = keys(capsys, "2690", "--theta", "0.25", *SOIL, "--sigma", "0.02", "--theta-sigma", "0")
    site = Site(**found)  # type: ignore[arg-type]
    assert site.response == "cosmic" and site.cosmic_n_sigma == pytest.approx(0.02)
    n = desilets_rate(np.array([0.2, 0.25, 0.3]), 2690.0, 1.16, 0.082)
    apart = response_theta(n, site) - desilets_theta(n, 2690.0, 1.16, 0.082)
    assert abs(apart[1]) < 1e-4 and apart[0] > 0.005 and apart[2] < -0.005


def test_an_error_of_the_water_content_widens_the_error_of_the_scale(capsys):
    sigma = [
        keys(capsys, "4243", "--of", "uts2021_mcnp_drf", "--theta", "0.25", *SOIL,
             "--theta-sigma", theta)["cosmic_n_sigma"]
        for theta in ("0", "0.05")
    ]  # fmt: skip
    assert sigma[0] == 0.03 and 0.031 < float(sigma[1]) < 0.04  # type: ignore[arg-type]


def test_there_and_back_is_the_scale_itself(capsys):
    there = keys(capsys, "2690", "--theta", "0.25", *SOIL)["cosmic_n_cph"]
    back = keys(capsys, str(there), "--of", "cosmic", "--to", "desilets", "--theta", "0.25", *SOIL)
    assert back["cosmic_n_cph"] == pytest.approx(2690.0, abs=0.1)
    assert back["response"] == "desilets"


GENERAL = ("--general", "0.67", "--place", "53.3", "13.1", "66", "--pressure", "1006")


def test_the_general_calibration_gives_the_tables_of_a_detector_that_was_never_calibrated(capsys):
    found = keys(capsys, *GENERAL, "--humidity", "8", "--theta", "0.2", *SOIL)
    incoming = found.pop("site")["incoming"]  # type: ignore[call-overload]
    assert incoming == {"form": "plain", "monitor": "JUNG", "ref": 161.3}
    n0_cph = general_n0(0.67, 53.3, 13.1, 66.0).n0_cph
    n = desilets_rate(np.array([0.2]), n0_cph, 1.16, 0.082)
    assert float(response_theta(n, Site(**found))[0]) == pytest.approx(0.2, abs=1e-4)  # type: ignore[arg-type]
    assert (found["humidity_ref_g_m3"], found["pressure_ref_hpa"]) == (8, 1006)
    assert 0.060 < float(found["cosmic_n_sigma"]) < 0.065  # type: ignore[arg-type]


def test_clay_and_carbon_stand_in_for_measured_water(capsys):
    soil = ("--theta", "0.2", "--bulk-density", "1.3", "--clay", "20", "--carbon", "1.5")
    found = keys(capsys, "2690", *soil)
    assert found["lattice_water_g_g"] == pytest.approx(0.0194)
    assert found["organic_water_g_g"] == pytest.approx(0.01438, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("2690", "--theta", "25", *SOIL), "--theta: 25 is not within 0.01 to 0.8"),
        (("--theta", "0.25", *SOIL), "give CPH, or --general without CPH"),
        (("9", *GENERAL, "--humidity", "8", "--theta", "0.2", *SOIL), "give CPH, or --general"),
        ((*GENERAL, "--theta", "0.2", *SOIL), "--general needs --humidity"),
        (("2690", "--theta", "0.2", *SOIL, "--carbon", "1"), "--bound-water: not with --clay or"),
        (("2690", "--theta", "0.25", *SOIL, "--of", "uts"), "response 'uts' is unknown: use one"),
    ],
)
def test_an_impossible_value_is_one_line(capsys, arguments, fault):
    assert main(["scale", *arguments]) == 2
    assert fault in capsys.readouterr().err
