"""What was read from a site's records is reported: corrections, damaged lines, unread columns."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import pytest
from tests.support.sites import made_up_site, probe

from epithermal_host.field import calibrate
from epithermal_host.field.coverage import describe_shares
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
