"""A sampling plan: rings of equal weight, enough profiles, a sheet that the calibration reads."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from epithermal_edge.physics.footprint import distance_weight, rescaled_distance_m
from epithermal_host.cli.main import main
from epithermal_host.studies import sampling_plan
from epithermal_host.studies.sampling_plan import Field, plan


@pytest.mark.parametrize("pressure_hpa", [1013.25, 800.0])
def test_each_ring_has_the_same_share_of_the_counts(pressure_hpa):
    found = plan(Field(pressure_hpa=pressure_hpa), rings=4)
    r = np.arange(0.005, 1100.0, 0.01)
    weight = distance_weight(rescaled_distance_m(r, pressure_hpa), 0.25, 8.0)
    borders = [0.0, *found.border_m]
    whole = weight[r < borders[-1]].sum()
    for low, ring, high in zip(borders, found.ring_m, borders[1:], strict=False):
        inside = weight[(r >= low) & (r < high)].sum() / whole
        assert inside == pytest.approx(0.25, abs=0.002)
        assert weight[(r >= low) & (r < ring)].sum() / whole == pytest.approx(0.125, abs=0.002)


@pytest.mark.parametrize(("error", "profiles"), [(0.05, 9), (0.012, 18), (0.01, 27), (0.005, 102)])
def test_profiles_suffice_for_the_error(error, profiles):
    found = plan(Field(scatter=0.05), error)
    assert found.distance_m.size == profiles and found.error <= error
    assert found.error == pytest.approx(0.05 / math.sqrt(profiles))


def test_no_two_rings_have_a_profile_in_the_same_direction():
    found = plan(Field(), 0.012)
    assert np.unique(found.azimuth_deg.round(6)).size == found.azimuth_deg.size == 18
    by_ring = found.azimuth_deg.reshape(3, 6)
    np.testing.assert_allclose(np.diff(by_ring, axis=1), 60.0)


def test_upper_cores_weigh_more_and_dry_soil_is_seen_deeper():
    wet, dry = plan(Field(theta=0.45)), plan(Field(theta=0.05))
    for found in (wet, dry):
        assert found.weight_pct.sum() == pytest.approx(100.0)
        assert (np.diff(found.weight_pct) < 0.0).all()
    assert dry.weight_pct[-1] > wet.weight_pct[-1]
    assert dry.ring_m[-1] > wet.ring_m[-1]


def test_the_error_of_n_is_that_of_counts_at_the_error_of_theta():
    found = plan(Field(theta=0.1), 0.012)
    drier = plan(Field(theta=0.3), 0.012)
    assert found.error_n > 2.0 * drier.error_n  # the counts follow theta more closely in dry soil
    assert 0.01 < found.error_n < 0.06


def test_the_sheet_has_a_row_for_each_core_and_the_positions_are_at_their_distances(
    tmp_path, capsys
):
    command = ["sampling", "--error", "0.02", "--position", "41.165", "-96.47"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert "standard error of the field mean 0.0167" in capsys.readouterr().out
    with (tmp_path / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 * 6 and rows[0]["depth_cm"] == "0-5" and rows[0]["water_g_g"] == ""
    for row in rows:
        north = (float(row["latitude_deg"]) - 41.165) * 111195.0
        east = (float(row["longitude_deg"]) + 96.47) * 111195.0 * math.cos(math.radians(41.165))
        assert math.hypot(north, east) == pytest.approx(float(row["distance_m"]), abs=0.3)
        bearing = math.degrees(math.atan2(east, north)) % 360.0
        apart = (bearing - float(row["azimuth_deg"]) + 180.0) % 360.0 - 180.0
        assert abs(apart) < 5.0 if float(row["distance_m"]) < 10.0 else abs(apart) < 1.0
    assert (tmp_path / "sampling.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("option", "value", "fault"),
    [
        ("--theta", "0.9", "theta must be within"),
        ("--error", "0", "error must be within"),
        ("--error", "0.0015", "needs 1112 profiles"),
        ("--rings", "0", "rings within"),
        ("--scatter", "5", "scatter must be within"),
    ],
)
def test_an_impossible_plan_is_one_clear_line(tmp_path, capsys, option, value, fault):
    assert main(["sampling", option, value, "--out", str(tmp_path)]) == 2
    assert fault in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_picture_has_every_profile():
    one, other = plan(Field(), 0.02), plan(Field(), 0.012)
    assert sampling_plan.picture(one) != sampling_plan.picture(other)


def test_clay_and_carbon_stand_in_for_measured_bound_water(tmp_path, capsys):
    def summary(*options: str) -> str:
        assert main(["sampling", "--theta", "0.2", *options, "--out", str(tmp_path)]) == 0
        return capsys.readouterr().out

    estimated = summary("--clay", "20", "--carbon", "1.5")
    water = 0.097 * 0.20 + 0.556 * 1.724 * 0.015
    assert estimated == summary("--bound-water-g-g", f"{water}") != summary("--clay", "60")
    wrong = ["sampling", "--carbon", "1", "--bound-water-g-g", "0.03", "--out", str(tmp_path)]
    assert main(wrong) == 2 and "not with --clay" in capsys.readouterr().err
