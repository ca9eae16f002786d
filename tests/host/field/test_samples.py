"""Sheets of soil samples give the right water content, or are refused with the cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.support.sites import made_up_site

from epithermal_edge.errors import ConfigError
from epithermal_host.field.samples import Campaign, read_campaigns
from epithermal_host.field.site_toml import read_site

HEADER = "day,name,metres,depth,water,density"
ROWS = (
    "2024-06-10,P1,25,2.5,0.20,1.1",
    "2024-06-10,P1,25,7.5,0.16,1.3",
    "2024-06-10,P2,75,2.5,0.24,1.0",
    "2024-06-10,P2,75,7.5,0.18,1.2",
)
THETA = (0.22, 0.208, 0.24, 0.216)  # water times the density of the sample
KEYS = """
[sampling]
file = "samples.csv"
time = "day"
value = "water"
kind = "water_g_g"
depth_column = "depth"
distance_column = "metres"
profile_column = "name"
bulk_density_column = "density"
"""
Sheet = Callable[..., list[Campaign]]


@pytest.fixture
def sheet(tmp_path: Path) -> Sheet:
    """A function that reads campaigns from rows, with lines of [sampling] replaced or added."""

    def read(
        rows: Sequence[str], *changes: tuple[str, str], more: str = "", header: str = HEADER
    ) -> list[Campaign]:
        keys = KEYS
        for old, new in changes:
            assert old in keys, old
            keys = keys.replace(old, new)
        (tmp_path / "samples.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
        (tmp_path / "site.toml").write_text(made_up_site(keys + more), "utf-8")
        return read_campaigns(read_site(tmp_path / "site.toml"))

    return read


def column(index: int, *cells: str) -> list[str]:
    """Return the rows with the cells of one column replaced."""
    rows = [row.split(",") for row in ROWS]
    for row, cell in zip(rows, cells, strict=True):
        row[index] = cell
    return [",".join(row) for row in rows]


NO_DENSITY = ('bulk_density_column = "density"', "")
AS_THETA = ('kind = "water_g_g"', 'kind = "theta"')
PEAT = column(4, "6.3", "0.16", "0.24", "0.18")
LIGHT = [PEAT[0].replace(",1.1", ",0.13"), *PEAT[1:]]


def test_a_sheet_gives_depths_and_distances_and_water_by_the_samples_own_density(sheet):
    (campaign,) = sheet(ROWS)
    np.testing.assert_allclose(campaign.theta, THETA, rtol=1e-12)
    assert campaign.depth_cm.tolist() == [2.5, 7.5, 2.5, 7.5]
    assert campaign.distance_m.tolist() == [25, 25, 75, 75]
    assert campaign.profile.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("kind", ["water_g_g", "total_water_g_g"])
@pytest.mark.parametrize("change", [(), (NO_DENSITY,)])
def test_gravimetric_percent_is_refused(sheet, kind, change):
    percent = column(4, "20", "16", "24", "18")
    with pytest.raises(ConfigError, match=r"samples\.csv:2: water: '20' is above 3 g/g.*percent"):
        sheet(percent, ('"water_g_g"', f'"{kind}"'), *change)


def test_percent_of_a_dry_sand_is_refused_by_its_theta(sheet):
    sand = column(4, "2.0", "1.6", "2.4", "1.8")
    with pytest.raises(ConfigError, match=r"samples\.csv:2: water: '2.0'.*theta above 1.*4 cells"):
        sheet(sand, NO_DENSITY)


def test_volume_percent_is_refused(sheet):
    percent = column(4, "0.2", "16", "24", "18")
    with pytest.raises(ConfigError, match=r"samples\.csv:3: water: '16' is above 1 m3/m3.*percent"):
        sheet(percent, AS_THETA)


@pytest.mark.parametrize("change", [(), (AS_THETA,)])
def test_a_negative_water_content_is_refused(sheet, change):
    with pytest.raises(ConfigError, match=r"samples\.csv:4: water: '-0.02' is below 0.*negative"):
        sheet(column(4, "0.2", "0.16", "-0.02", "0.18"), *change)


def test_a_density_in_kg_m3_is_refused(sheet):
    with pytest.raises(ConfigError, match=r"samples\.csv:2: density: '1100' is above 2\.2.*kg/m3"):
        sheet(column(5, "1100", "1300", "1000", "1200"))
    with pytest.raises(ConfigError, match=r"samples\.csv:5: density: '0.012' is below 0\.05"):
        sheet(column(5, "1.1", "1.3", "1.0", "0.012"))


def test_peat_may_hold_more_than_3_g_g_if_its_own_density_is_given(sheet):
    assert sheet(LIGHT)[0].theta[0] == pytest.approx(6.3 * 0.13)
    with pytest.raises(ConfigError, match=r"'6\.3' is above 3 g/g"):
        sheet(LIGHT, NO_DENSITY)


def test_an_empty_density_is_that_of_the_site(sheet):
    (campaign,) = sheet(column(5, "", "1.3", "nan", "NA"))
    np.testing.assert_allclose(campaign.theta, 1.3 * np.array([0.20, 0.16, 0.24, 0.18]))


@pytest.mark.parametrize(
    ("index", "name", "cell"),
    [(4, "water", "0.2x"), (5, "density", "heavy"), (3, "depth", "5 cm"), (2, "metres", "far"),
     (4, "water", "inf")],
)  # fmt: skip
def test_a_cell_that_is_no_number_is_refused(sheet, index, name, cell):
    rows = list(ROWS)
    cells = rows[2].split(",")
    cells[index] = cell
    rows[2] = ",".join(cells)
    with pytest.raises(ConfigError, match=rf"samples\.csv:4: {name}: '{cell}' is not a number"):
        sheet(rows)


def test_a_line_is_counted_with_its_comments(sheet):
    with pytest.raises(ConfigError, match=r"samples\.csv:4: water: '20' is above"):
        sheet(["# dried at 105 degC", ROWS[0], *column(4, "20", "16", "24", "18")[:1]])


@pytest.mark.parametrize("code", ["-99", "-999.0", "-9999", "-7999", "NaN", ""])
def test_a_sample_with_a_code_for_no_value_is_left_out(sheet, code):
    (campaign,) = sheet(column(4, code, "0.16", "0.24", "0.18"))
    np.testing.assert_allclose(campaign.theta, THETA[1:], rtol=1e-12)


def test_a_code_in_the_density_or_depth_is_an_unknown_one(sheet):
    (campaign,) = sheet(column(5, "-9999", "1.3", "1.0", "1.2"))
    np.testing.assert_allclose(campaign.theta, (0.26, *THETA[1:]), rtol=1e-12)
    (campaign,) = sheet(column(3, "-9999", "7.5", "2.5", "7.5"))
    np.testing.assert_array_equal(campaign.depth_cm, [np.nan, 7.5, 2.5, 7.5])


def test_more_codes_can_be_named_as_numbers_and_as_words(sheet):
    rows = column(4, "-888.0", "0.16", "lost", "0.18")
    (campaign,) = sheet(rows, more='missing = ["-888", "Lost"]')
    np.testing.assert_allclose(campaign.theta, [THETA[1], THETA[3]], rtol=1e-12)
    with pytest.raises(ConfigError, match=r"samples\.csv:4: water: 'lost' is not a number"):
        sheet(rows, more='missing = ["-888"]')


def test_a_depth_with_a_minus_is_refused(sheet):
    with pytest.raises(ConfigError, match=r"samples\.csv:3: depth: '-7.5' is below 0 cm.*positive"):
        sheet(column(3, "2.5", "-7.5", "2.5", "-7.5"))


def test_depths_in_m_and_in_mm_are_refused(sheet):
    with pytest.raises(ConfigError, match=r"samples\.csv:2: depth: '0.025'.*below 1 cm; in m\?"):
        sheet(column(3, "0.025", "0.075", "0.025", "0.075"))
    with pytest.raises(ConfigError, match=r"samples\.csv:3: depth: '750' is above 300 cm; in mm\?"):
        sheet(column(3, "25", "750", "25", "75"))
    with pytest.raises(ConfigError, match=r"samples\.csv:3: depth: '275' and no.*25 cm; in mm\?"):
        sheet(column(3, "25", "275", "25", "75"))
    assert sheet(column(3, "20", "150", "20", "30"))[0].depth_cm.tolist() == [20.0, 20.0, 30.0]


def test_a_surface_sample_among_deeper_ones_is_read(sheet):
    assert sheet(column(3, "0.5", "7.5", "0", "7.5"))[0].depth_cm.tolist() == [0.5, 7.5, 0.0, 7.5]


def test_both_ends_of_a_sample_give_its_middle_and_are_checked_for_their_unit(sheet):
    header = f"{HEADER},bottom"
    more = 'bottom_column = "bottom"'
    rows = column(3, "0", "5", "0", "5")
    cm = [f"{row},{end}" for row, end in zip(rows, ("5", "10", "5", "10"), strict=True)]
    assert sheet(cm, more=more, header=header)[0].depth_cm.tolist() == [2.5, 7.5, 2.5, 7.5]
    with pytest.raises(ConfigError, match=r"bottom: '5' is less than the upper end; are the two"):
        sheet([f"{row},5" for row in column(3, "0", "0", "0", "7.5")], more=more, header=header)
    rows = column(3, "0", "0.05", "0", "0.05")
    metres = [f"{row},{end}" for row, end in zip(rows, ("0.05", "0.1") * 2, strict=True)]
    with pytest.raises(ConfigError, match=r"bottom: '0\.05' and all other depths are below 1 cm"):
        sheet(metres, more=more, header=header)


def test_distances_in_another_unit_or_negative_are_refused(sheet):
    with pytest.raises(ConfigError, match=r"samples\.csv:2: metres: '0.025'.*below 1 m; in km\?"):
        sheet(column(2, "0.025", "0.025", "0.075", "0.075"))
    with pytest.raises(ConfigError, match=r"samples\.csv:2: metres: '2500' is above 500 m; in cm"):
        sheet(column(2, "2500", "2500", "7500", "7500"))
    with pytest.raises(ConfigError, match=r"samples\.csv:5: metres: '-75' is below 0 m"):
        sheet(column(2, "25", "25", "75", "-75"))
    assert sheet(column(2, "0", "0", "75", "75"))[0].distance_m.tolist() == [0, 0, 75, 75]


def test_samples_that_a_rule_leaves_out_are_counted(sheet):
    rows = [*column(3, "2.5", "35", "2.5", "45"), "2024-06-10,P3,75,2.5,-9999,1.0"]
    (campaign,) = sheet(rows)
    assert campaign.theta.size == 2
    assert campaign.notes == (
        "1 of 5 samples is without water content and is left out",
        "2 of 5 samples are below 30 cm and are left out",
    )
    assert sheet(ROWS)[0].notes == ()


def test_a_sheet_that_is_drier_than_any_field_is_refused(sheet):
    dry = column(4, "0.0033", "0.0026", "0.0007", "0.03")
    for change in (NO_DENSITY, AS_THETA):
        with pytest.raises(
            ConfigError, match=r"samples\.csv:2: water: '0\.0033' and all: their median"
        ):
            sheet(dry, change)
    assert sheet(column(4, "0.0033", "0.0026", "0.02", "0.021"))[0].theta.size == 4


def test_total_water_below_that_of_lattice_and_organic_matter_is_refused(sheet):
    total = ('"water_g_g"', '"total_water_g_g"')  # 0.03 g/g in the lattice
    with pytest.raises(ConfigError, match=r"csv:3: water: '0\.02' is less than lattice and"):
        sheet(column(4, "0.2", "0.02", "0.2", "0.2"), total)


def test_densities_that_are_not_near_the_sites_are_refused(sheet):
    with pytest.raises(ConfigError, match=r"density: '0\.43' .* median 0\.43 is not near soil"):
        sheet(column(5, "0.43", "0.51", "0.39", "0.43"))
    assert sheet(column(5, "0.66", "0.66", "0.66", "0.1"))[0].theta.size == 4  # the site has 1.3


def test_samples_in_use_without_depth_or_distance_are_counted(sheet):
    rows = column(3, "2.5", "", "-9999", "7.5")
    assert sheet(rows)[0].notes == ("2 of 4 samples used have no depth",)
    rows = column(2, "25", "25", "75", "")
    assert sheet(rows)[0].notes == ("1 of 4 samples used have no distance",)
    assert sheet(rows, ('distance_column = "metres"', ""))[0].notes == ()


@pytest.mark.parametrize(
    ("upper", "lower"),
    [("0-5", "5-10"), ("0 - 5.0", "5 to 10"), ("0 \u2013 5", "7.5"), ("0-5", "75e-1")],
)
def test_a_depth_range_is_read_as_its_middle(sheet, upper, lower):
    (campaign,) = sheet(column(3, upper, lower, upper, lower))
    assert campaign.depth_cm.tolist() == [2.5, 7.5, 2.5, 7.5]
    np.testing.assert_allclose(campaign.theta, THETA, rtol=1e-12)


@pytest.mark.parametrize("cell", ["05-Oct", "0-5-10", "-5-0", "top", "5-"])
def test_what_only_resembles_a_depth_range_is_refused(sheet, cell):
    with pytest.raises(ConfigError, match=rf"samples\.csv:3: depth: '{cell}' is not a number"):
        sheet(column(3, "0-5", cell, "0-5", "5-10"))


def test_a_range_of_water_or_in_a_column_of_ends_is_refused(sheet):
    with pytest.raises(ConfigError, match=r"samples\.csv:2: water: '0\.1-0\.3' is not a number"):
        sheet(column(4, "0.1-0.3", "0.16", "0.24", "0.18"))
    rows = [f"{row},10" for row in column(3, "0-5", "5", "0", "5")]
    with pytest.raises(ConfigError, match=r"samples\.csv:2: depth: '0-5' is not a number"):
        sheet(rows, more='bottom_column = "bottom"', header=f"{HEADER},bottom")


@pytest.mark.parametrize(
    ("delimiter", "between"), [("\\t", "\t"), (" ", " "), (" ", "   "), (" ", " \t "), (";", ";")]
)
def test_tabs_and_runs_of_blanks_separate_columns(sheet, delimiter, between):
    rows = [row.replace(",", between) for row in ROWS]
    (campaign,) = sheet(
        rows, more=f'delimiter = "{delimiter}"', header=HEADER.replace(",", between)
    )
    np.testing.assert_allclose(campaign.theta, THETA, rtol=1e-12)
    assert campaign.distance_m.tolist() == [25, 25, 75, 75]


def test_lines_with_leading_blanks_have_no_empty_first_column(sheet):
    rows = [f"  {row.replace(',', '  ')} " for row in (ROWS[0], ROWS[1].replace("0.16", "16"))]
    with pytest.raises(ConfigError, match=r"samples\.csv:3: water: '16' is above 3 g/g"):
        sheet(rows, more='delimiter = " "', header=f" {HEADER.replace(',', ' ')}")


def test_an_empty_cell_between_tabs_is_missing(sheet):
    rows = [row.replace(",", "\t") for row in column(5, "", "1.3", "1.0", "1.2")]
    (campaign,) = sheet(rows, more='delimiter = "\\t"', header=HEADER.replace(",", "\t"))
    np.testing.assert_allclose(campaign.theta, (0.26, *THETA[1:]), rtol=1e-12)


@pytest.mark.parametrize("delimiter", ["", "\\t\\t", "ab"])
def test_a_delimiter_is_one_character(sheet, delimiter):
    with pytest.raises(ConfigError, match=r"sampling\.delimiter: .*between the columns"):
        sheet(ROWS, more=f'delimiter = "{delimiter}"')


def test_a_title_and_columns_of_date_and_conversion_are_declared_in_the_site_file(sheet):
    header = "Soil of June 2024\nyear,month,day,name,metres,depth,water,density"
    rows = [row.replace("2024-06-10", "2024,6,10").replace(",0.", ",") for row in ROWS]
    keys = (('time = "day"', 'time = ["year", "month", "day"]'), ('"water"', '"water / 100"'))
    found = sheet(rows, *keys, header=header, more="skip = 1")[0]
    assert (found.day, found.theta.tolist()) == ("2024-06-10", pytest.approx(THETA))


def test_a_day_in_a_time_zone_is_that_of_utc(sheet):
    rows = [row.replace("2024-06-10", "2024-06-10 01:00") for row in ROWS]
    assert sheet(rows, more='time_zone = "Europe/Berlin"')[0].day == "2024-06-09"


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (
            'time_zone = "Europe/Berln"',
            "time_zone: 'Europe/Berln' is unknown; did you mean Europe/",
        ),
        ('time_zone = "UTC"\nutc_offset_h = 1', "time_zone: set it or utc_offset_h, not both"),
        ("skip = -1", "sampling.skip: -1 is not within 0 to 1000"),
    ],
)
def test_a_description_that_cannot_be_meant_is_refused(sheet, more, fault):
    with pytest.raises(ConfigError, match=fault):
        sheet(ROWS, more=more)


def test_a_byte_order_mark_is_no_part_of_the_first_column(sheet):
    (campaign,) = sheet(ROWS, header=f"\ufeff{HEADER}")
    np.testing.assert_allclose(campaign.theta, THETA, rtol=1e-12)


COMMA = 'delimiter = ";"\ndecimal = ","'


def with_comma(rows: Sequence[str]) -> list[str]:
    """Return the rows with semicolons between the columns and decimal commas."""
    return [row.replace(",", ";").replace(".", ",") for row in rows]


def test_decimal_commas_are_read_when_they_are_declared(sheet):
    header = HEADER.replace(",", ";")
    (campaign,) = sheet(with_comma(ROWS), more=COMMA, header=header)
    np.testing.assert_allclose(campaign.theta, THETA, rtol=1e-12)
    assert campaign.depth_cm.tolist() == [2.5, 7.5, 2.5, 7.5]
    ranges = with_comma(column(3, "0-5", "6.5-8.5", "0-5", "6.5-8.5"))
    assert sheet(ranges, more=COMMA, header=header)[0].depth_cm.tolist() == [2.5, 7.5, 2.5, 7.5]
    with pytest.raises(ConfigError, match=r"depth: '2,5' is not a number.*decimal = \",\"\?"):
        sheet(with_comma(ROWS), header=header, more='delimiter = ";"')


def test_a_point_among_declared_decimal_commas_is_refused(sheet):
    rows = with_comma(ROWS)
    rows[1] = rows[1].replace("0,16", "0.16")
    with pytest.raises(ConfigError, match=r"samples\.csv:3: water: '0\.16' is not a number"):
        sheet(rows, more=COMMA, header=HEADER.replace(",", ";"))


def test_a_comma_cannot_be_delimiter_and_decimal_mark(sheet):
    with pytest.raises(ConfigError, match=r"samples\.csv: decimal and delimiter are both a comma"):
        sheet(ROWS, more='decimal = ","')
