"""A site's remarks: hours corrected, lines left out, and what can hardly be meant."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import pytest
from tests.support.sites import made_up_site, probe

from epithermal_edge.errors import ConfigError
from epithermal_edge.records import RawRecord
from epithermal_host.field import calibrate
from epithermal_host.field.remarks import (
    check_depths,
    check_kind,
    check_profiles,
    check_records,
    check_samples,
    check_soil,
    check_theta,
    describe_shares,
)
from epithermal_host.field.samples import read_campaigns
from epithermal_host.field.series import load
from epithermal_host.field.site_toml import read_site

FIRST = datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC)
DAYS = 8
SAMPLING = """
[sampling]
file = "samples.csv"
day = "2024-06-04"
value = "theta"
kind = "theta"
"""
SITE = made_up_site(SAMPLING, probe("samples.csv", "stamp", "theta")).replace(
    '"records"\n', '"cosmos_europe"\n'
)
KNOWN = "DateTime_utc,NeutronCount_Epithermal_Cum1h,AirPressure,AirTemperature,airRH"
UNKNOWN = "DateTime_utc,NeutronCount_Epithermal_Cum1h,AirPressure,air_t_c,rh_pct"


@pytest.fixture
def site_toml(tmp_path):
    (tmp_path / "samples.csv").write_text("stamp,theta\n2024-06-04 12:00,0.25\n", "utf-8")
    path = tmp_path / "site.toml"
    path.write_text(SITE, "utf-8")
    return path


def write_records(site_toml, header: str, humid_h: int = 24 * DAYS) -> None:
    lines = [header]
    for hour in range(24 * DAYS):
        stamp = FIRST + datetime.timedelta(hours=hour + 1)
        air = "15.0,60.0" if hour < humid_h else "-99,-99"
        lines.append(f"{stamp:%Y-%m-%d %H:%M:%S},{700 + hour % 5},1010.0,{air}")
    site_toml.with_name("counts.csv").write_text("\n".join(lines) + "\n", "utf-8")


def test_names_that_lose_the_air_are_reported_with_the_share_of_hours_without_it(site_toml):
    write_records(site_toml, UNKNOWN)
    series = load(read_site(site_toml))
    assert (series.shares.pressure, series.shares.humidity) == (1.0, 0.0)
    assert describe_shares(series.shares) == "hours corrected for pressure 100 %, humidity 0 %"
    notes = "; ".join(series.notes)
    assert "column 'air_t_c' is not read" in notes and "column 'rh_pct' is not read" in notes
    assert "only 0 % of the hours are corrected for humidity; elsewhere f_h is 1" in notes
    result, _ = calibrate.run(site_toml, out=site_toml.parent / "out")
    assert "column 'rh_pct' is not read" in "; ".join(result.notes)
    assert "hours corrected for pressure 100 %, humidity 0 %" in result.notes


def test_a_site_with_all_corrections_has_no_warning(site_toml):
    write_records(site_toml, KNOWN)
    series = load(read_site(site_toml))
    assert series.notes == ()
    assert np.isnan(series.shares.intensity)  # it has no monitor


def test_humidity_that_ends_halfway_is_reported_with_its_share(site_toml):
    write_records(site_toml, KNOWN, humid_h=24 * 3)
    series = load(read_site(site_toml))
    assert series.shares.humidity == pytest.approx((3 + 1) / DAYS, abs=0.02)  # held for a day


def test_damaged_lines_of_the_records_are_counted_with_the_first_reason(site_toml):
    write_records(site_toml, KNOWN)
    path = site_toml.with_name("counts.csv")
    path.write_text(path.read_text("utf-8").replace(",1010.0,", ",10l0.0,", 3), "utf-8")
    (note,) = load(read_site(site_toml)).notes
    assert note.startswith("3 of 193 lines are damaged and left out, the first: ")
    assert "AirPressure: '10l0.0' is not a number" in note


def test_counts_that_are_already_corrected_have_no_shares(site_toml):
    write_records(site_toml, UNKNOWN)
    site = read_site(site_toml)
    done = dataclasses.replace(site, records=dataclasses.replace(site.records, corrected=True))
    assert describe_shares(load(done).shares) == "already corrected"


@pytest.mark.parametrize(
    ("column", "kind", "doubted"),
    [
        ("theta_v", "water_g_g", True),
        ("SoilMoisture_g_g", "theta", True),
        ("Sample_total_swc_g", "theta", True),
        ("theta_v", "theta", False),
        ("theta_grav_g_g", "total_water_g_g", False),
        ("water", "theta", False),
    ],
)
def test_a_column_named_by_mass_and_declared_by_volume_is_noted(site_toml, column, kind, doubted):
    sampling = dataclasses.replace(read_site(site_toml).sampling, value=column, kind=kind)
    assert bool(check_kind(sampling)) is doubted


def test_samples_with_more_water_than_pores_none_at_all_or_hardly_any_are_noted():
    density = np.full(4, 1.4)  # porosity 0.47
    assert check_samples(np.array([0.1, 0.2, 0.3, 0.5]), density) == []
    (note,) = check_samples(np.array([0.1, 0.2, 0.3, 0.6]), density)
    assert note.startswith("25 % of the samples have more water than their pores can hold")
    (note,) = check_samples(np.array([0.1, 0.2, 0.3, 0.0]), density)
    assert note.startswith("1 of 4 samples have no water at all")
    (note,) = check_samples(np.array([0.02, 0.04, 0.03, 0.035]), density)
    assert "drier than most fields: in another unit?" in note


def test_profiles_at_several_distances_are_noted():
    far = np.array([25.0, 25.0, 75.0, 75.0])
    assert check_profiles(["a", "a", "b", "c"], far) == []
    (note,) = check_profiles(["25", "25", "75", "75"], np.array([1.0, 2.0, 1.0, 1.0]))
    assert note.startswith("1 of 2 profiles have several distances, the first is '25'")


def test_probes_of_one_depth_in_another_unit_are_noted():
    assert check_depths([0.04, 0.06, 0.11, np.nan]) == []
    (note,) = check_depths([0.4, 0.06])
    assert "0.06 m3/m3 in one depth and 0.4 in another: one of them in another unit?" in note


def records(**changes: float) -> list[RawRecord]:
    usual = {
        "duration_s": 3600.0, "counts": 700.0, "pressure_hpa": 1010.0, "temperature_c": 15.0,
        "relative_humidity_pct": 60.0, "rain_mm": 0.1,
    }  # fmt: skip
    out = [RawRecord(end_s=3600.0 * (hour + 1), **{**usual, **changes}) for hour in range(24 * 30)]
    if "counts" in changes:
        return out
    return [dataclasses.replace(r, counts=700.0 + i % 5) for i, r in enumerate(out)]


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"duration_s": 900.0}, "3600 s apart, but their counting time is 900 s"),
        ({"pressure_hpa": 785.0}, "785 hPa, but 1013 hPa belongs to an altitude of 0 m"),
        ({"relative_humidity_pct": 0.6}, "a fraction? % is wanted"),
        ({"temperature_c": 59.0}, "temperature in degF?"),
        ({"rain_mm": 0.1 / 25.4}, "mm are wanted"),
        ({"rain_mm": 1.0}, "rain is 720 mm in 30 days"),
        ({"first_tube_counts": 9999.0}, "100 % of the records have the same count of a tube"),
        (
            {"counts": 9999.0},
            "100 % of the records have the same count of a tube: a code, or another",
        ),
    ],
)
def test_records_in_another_unit_or_of_another_altitude_are_noted(site_toml, changes, remark):
    site_file = read_site(site_toml)
    assert check_records(site_file, records()) == []
    assert remark in "; ".join(check_records(site_file, records(**changes)))


def test_counts_far_above_the_others_are_noted(site_toml):
    odd = records()
    odd[7] = dataclasses.replace(odd[7], counts=9999.0)
    (note,) = check_records(read_site(site_toml), odd)
    assert note.startswith("1 records have more than twice the median count")


def test_a_monitor_far_from_its_reference_is_noted(site_toml):
    site_file = read_site(site_toml)
    site = dataclasses.replace(site_file.site, incoming_form="plain", incoming_ref=395.0)
    site_file = dataclasses.replace(site_file, site=site)
    assert check_records(site_file, records(incoming=400.0)) == []
    (note,) = check_records(site_file, records(incoming=237.0))
    assert "0.60 times incoming.ref" in note


def test_a_calibration_that_dries_or_floods_the_soil_is_noted():
    assert check_theta(np.array([0.1, 0.3, np.nan, 0.45]), 1.4) == []
    assert "drier than air-dry soil on 50 %" in check_theta(np.array([0.0, 0.3]), 1.4)[0]
    assert "wetter than its pores (0.47) on 50 %" in check_theta(np.array([0.6, 0.3]), 1.4)[0]


def test_lattice_water_in_percent_is_noted(site_toml):
    site_file = read_site(site_toml)
    assert check_soil(site_file) == []
    clay = dataclasses.replace(site_file.site, lattice_water_g_g=0.3)
    assert "in percent?" in check_soil(dataclasses.replace(site_file, site=clay))[0]


def test_probes_without_a_value_and_in_another_unit_are_noted(site_toml, caplog):
    write_records(site_toml, KNOWN)
    samples = site_toml.with_name("samples.csv")
    rows = "".join(f"2024-06-0{day} 12:00,{{}}\n" for day in range(1, 9))
    header = "stamp,theta\n"
    for cells, remark in (
        (["n/a"] * 8, "no cell has a value"),
        (["0.002"] * 8, "another unit?"),
        (["0.2"] * 7 + ["0"], "1 of 8 cells are 0: a code for no value?"),
    ):
        samples.write_text(header + rows.format(*cells), "utf-8")
        caplog.clear()
        load(dataclasses.replace(read_site(site_toml), sampling=None), 500.0)
        assert remark in caplog.text


def test_a_table_without_rows_is_refused_with_a_remedy(site_toml):
    site_toml.with_name("samples.csv").write_text("stamp,theta\n", "utf-8")
    with pytest.raises(ConfigError, match="the file has no rows; add the samples"):
        read_campaigns(read_site(site_toml))
    write_records(site_toml, KNOWN)
    bare = dataclasses.replace(read_site(site_toml), sampling=None)
    with pytest.raises(ConfigError, match=r"samples\.csv: the file has no rows; give a file"):
        load(bare, 500.0)
