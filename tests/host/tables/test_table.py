"""Series of probes, rain and temperature: codes are no values, impossible values are refused."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import numpy as np
import pytest
from tests.support.counts import write_counts
from tests.support.sites import made_up_site, probe, rain

from epithermal_edge.errors import ConfigError
from epithermal_host.field.series import probe_mean, raw_records
from epithermal_host.field.site_toml import SiteFile, read_site
from epithermal_host.tables.description import TableFile
from epithermal_host.tables.quantities import SOIL_TEMPERATURE, THETA, rain_amount
from epithermal_host.tables.table import read_table

FIRST_S = datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC).timestamp()


def series(folder: Path, *cells: str, name: str = "series.csv") -> TableFile:
    """Write a column "x" of hourly values and describe the file."""
    rows = [f'2024-06-01 {hour:02}:00,"{cell}"' for hour, cell in enumerate(cells)]
    (folder / name).write_text("\n".join(["time,x", *rows]) + "\n", "utf-8")
    return TableFile(folder / name, ("time",))


@pytest.fixture
def site(tmp_path: Path) -> SiteFile:
    """A site with two days of counts, a probe in which one reading is a code, and rain."""
    path = tmp_path / "site.toml"
    path.write_text(made_up_site(rain("rain.csv", "mm"), probe("probes.csv", "time", "x")), "utf-8")
    write_counts(path, np.full(2, 0.25), FIRST_S, 500.0)
    series(tmp_path, *["0.25"] * 3, "-9999", *["0.25"] * 20, name="probes.csv")
    (tmp_path / "rain.csv").write_text("day,mm\n2024-06-01,-999\n2024-06-02,24\n", "utf-8")
    return read_site(path)


def test_a_reading_with_a_code_does_not_change_the_mean_of_the_day(site):
    assert probe_mean(site, np.array([FIRST_S + 86400.0]))[0] == pytest.approx(0.25, abs=1e-12)


def test_a_day_of_rain_with_a_code_is_unknown(site):
    mm = np.array([record.rain_mm for record in raw_records(site)[0]])
    assert np.isnan(mm[:24]).all()
    np.testing.assert_allclose(mm[24:], 1.0)


@pytest.mark.parametrize("code", ["-99", "-999", "-9999.0", "-7999", "99.99", "nan", "", "null"])
@pytest.mark.parametrize("quantity", [THETA, SOIL_TEMPERATURE, rain_amount(1.0)])
def test_codes_are_no_values(tmp_path, quantity, code):
    values = read_table(series(tmp_path, "0.5", code, "0.7"), ("x",), quantity)[1][:, 0]
    np.testing.assert_array_equal(values, [0.5, np.nan, 0.7])


def test_a_table_can_name_more_codes(tmp_path):
    file = dataclasses.replace(series(tmp_path, "0.5", "7999", "0.7"), missing=("7999.0",))
    np.testing.assert_array_equal(read_table(file, ("x",), THETA)[1][:, 0], [0.5, np.nan, 0.7])


@pytest.mark.parametrize(
    ("quantity", "cell", "reason"),
    [
        (THETA, "25.1", "is above 1 m3/m3; in percent?"),
        (THETA, "-0.1", "is below 0 m3/m3; negative water"),
        (rain_amount(1.0), "-0.2", "is below 0 mm; negative rain"),
        (rain_amount(1.0), "201", "is above 200 mm; in mm?"),
        (rain_amount(24.0), "1826", "is above 1825 mm; in mm?"),
        (SOIL_TEMPERATURE, "283.1", "is above 80 degC; in K or degF?"),
        (THETA, "0,25", "is not a number"),
    ],
)
def test_an_impossible_value_is_refused_with_line_and_remedy(tmp_path, quantity, cell, reason):
    file = series(tmp_path, "0.5", cell, "0.7")
    with pytest.raises(ConfigError) as caught:
        read_table(file, ("x",), quantity)
    assert f"{file.path}:3: x: {cell!r} {reason}" in str(caught.value)


def test_limits_include_their_ends(tmp_path):
    file = series(tmp_path, "0", "1", "0.7")
    assert read_table(file, ("x",), THETA)[1][:, 0].tolist() == [0.0, 1.0, 0.7]
    file = series(tmp_path, "0", "200")
    assert read_table(file, ("x",), rain_amount(1.0))[1][:, 0].tolist() == [0.0, 200.0]


def test_a_converted_column_is_compared_with_the_limits_of_its_unit(tmp_path):
    file = series(tmp_path, "283.15", "-9999", "300")
    values = read_table(file, ("x - 273.15",), SOIL_TEMPERATURE)[1][:, 0]
    np.testing.assert_allclose(values, [10.0, np.nan, 26.85])
    with pytest.raises(ConfigError, match=r"x - 273.15: '0' is below -60 degC"):
        read_table(series(tmp_path, "0"), ("x - 273.15",), SOIL_TEMPERATURE)


@pytest.mark.parametrize(
    ("column", "code", "value"),
    [
        ("x * 0.1", "-99", -9.9),  # in tenths
        ("x * 0.1", "-999", np.nan),
        ("x", "-99", np.nan),
        ("x * 5/9 - 160/9", "-99", np.nan),
        ("x / 100", "99.99", np.nan),
    ],
)
def test_a_code_that_the_conversion_makes_possible_is_a_value(tmp_path, column, code, value):
    values = read_table(series(tmp_path, "20", code), (column,), SOIL_TEMPERATURE)[1][:, 0]
    assert values[1] == pytest.approx(value, nan_ok=True)
