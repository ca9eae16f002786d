"""A real site's files give the station's windows with aligned probes and samples."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import numpy as np
import pytest
from tests.edge.loggers.test_parser import STYX_ROW
from tests.support.counts import write_counts
from tests.support.sites import made_up_site, probe, rain

from epithermal_edge.errors import ConfigError
from epithermal_edge.loggers.files import read_records
from epithermal_edge.loggers.parser import RECORDS_HEADER, format_record
from epithermal_host.evaluation.exponential_filter import exponential_filter
from epithermal_host.field.days import daily_mean, fill_columns, nanmean_rows
from epithermal_host.field.sampled_counts import passed
from epithermal_host.field.samples import read_campaigns
from epithermal_host.field.series import biomass_by_date, describe_snow, load, raw_records
from epithermal_host.field.site_toml import SiteFile, read_site
from epithermal_host.tables.table import read_table

ROOT = Path(__file__).resolve().parents[3]
FIRST_S = datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC).timestamp()
DAYS, THETA, N_CPH = 8, 0.25, 500.0
SAMPLING = """
[sampling]
file = "samples.csv"
time = "day"
value = "water"
kind = "total_water_g_g"
depth_column = "depth"
"""
INCOMING = """
[incoming]
file = "monitor.csv"
time = "stamp"
column = "n"
form = "plain"
ref = 150
"""
SITE = made_up_site(
    rain("rain.csv", "north", "south"),
    SAMPLING,
    probe("probes.csv", "stamp", "a", "b", depth_cm=10, weight=1),
    probe("probes.csv", "stamp", "c", depth_cm=25, weight=3),
)


@pytest.fixture
def made_up(tmp_path) -> SiteFile:
    """A site with eight days over a soil of constant water content; 24 mm of rain on the third."""
    (tmp_path / "site.toml").write_text(SITE, "utf-8")
    site_file = read_site(tmp_path / "site.toml")
    write_counts(tmp_path / "site.toml", np.full(DAYS, THETA), FIRST_S, N_CPH)
    (tmp_path / "rain.csv").write_text("day,north,south\n2024-06-03,20,4\n2024-06-04,,\n", "utf-8")
    wet = THETA / 1.3 + 0.03  # with lattice water, as measured with oven and furnace
    (tmp_path / "samples.csv").write_text(
        f"day,depth,water\n2024-06-05,10,{wet - 0.02}\n2024-06-05,20,{wet + 0.02}\n"
        "2024-06-05,60,0.9\n2024-06-07,10,0.5\n",
        "utf-8",
    )
    rows = [f"2024-06-0{d} {h:02}:00,0.1,{'' if d == 4 else 0.3},0.4" for d in range(1, 9)
            for h in range(24)]  # fmt: skip
    (tmp_path / "probes.csv").write_text("\n".join(["stamp,a,b,c", *rows]) + "\n", "utf-8")
    return site_file


def test_a_site_with_a_styx_has_its_counts_and_its_extra_channels(tmp_path):
    text = SITE.replace('dialect = "records"', 'dialect = "styx"\ninterval_s = 900')
    (tmp_path / "site.toml").write_text(text, "utf-8")
    (tmp_path / "rain.csv").write_text("day,north,south\n2022-07-28,0,0\n", "utf-8")
    (tmp_path / "counts.csv").write_bytes(STYX_ROW + b"\r\n")
    (record,) = raw_records(read_site(tmp_path / "site.toml")).records
    assert (record.end_s, record.counts, record.pressure_hpa) == (1658981360, 225, 1001.2)
    assert record.channels["housing_temperature_c"] == 21.5


def test_calibration_uses_the_sampling_day_alone_and_omits_deep_samples(made_up):
    series = load(made_up)
    assert series.sampled_theta == pytest.approx(THETA, abs=1e-12)
    assert series.sampling_end_s == FIRST_S + 5 * 86400.0
    assert series.cosmic_n_cph == pytest.approx(N_CPH, rel=1e-3)  # counts were rounded
    np.testing.assert_allclose(series.theta_classical[1:], THETA, atol=1e-3)


@pytest.mark.parametrize("more", ["", "[snow]\ndetect = false\n"])
def test_days_of_snow_are_counted_and_not_judged(made_up, more):
    path, theta = made_up.path, np.full(DAYS, THETA)
    theta[6:] = 0.9  # more water than the soil has pores, in frost
    write_counts(path, theta, FIRST_S, N_CPH, frost=(6, 7))
    path.write_text(SITE + more, "utf-8")
    series = load(read_site(path))
    snowy = [False] * 7 + [not more]
    assert series.snow.snow.tolist() == snowy
    assert (~series.judged).tolist() == snowy
    words = describe_snow(series.snow, series.day_end_s)
    assert words.startswith("no day with snow" if more else "1 day with snow, not evaluated; at")


def test_rain_is_assigned_to_its_day_and_unknown_on_other_days(made_up):
    features = load(made_up).features
    rain, known = features[:, 3], features[:, 4]
    assert rain[2] == pytest.approx(24.0, rel=1e-9)
    assert known.tolist() == [0, 0, 1, 0, 0, 0, 0, 0]


BIOMASS = """
[biomass]
file = "biomass.csv"
time = "day"
column = "mm"
"""


def grown(made_up, rows: str, form: str = "morris2024") -> SiteFile:
    """Return the site with biomass of its own dates."""
    path = made_up.path
    text = (
        SITE.replace("[soil]", f'biomass_kg_m2 = 9\nbiomass_form = "{form}"\n[soil]', 1) + BIOMASS
    )
    path.write_text(text, "utf-8")
    (path.parent / "biomass.csv").write_text("day,mm\n" + rows, "utf-8")
    return read_site(path)


def test_biomass_of_a_file_is_interpolated_to_each_record_and_noted_outside(made_up):
    site_file = grown(made_up, "2024-06-02,2\n2024-06-03,\n2024-06-06,6\n")
    read = raw_records(site_file)
    first, last = 24, (24 * 5)  # records that end at the dates of the file
    values = [r.channels.get("biomass_kg_m2") for r in read.records]
    assert values[first - 2] is None and values[last] is None
    assert values[first - 1] == 2.0 and values[last - 1] == 6.0
    assert values[first + 23] == pytest.approx(3.0) and values[first + 11] == pytest.approx(2.5)
    assert any("49 % of the records are before or after the dates of biomass" in n
               for n in read.notes)  # fmt: skip
    f_v = [block.values["f_v"][:, 0] for _, block, _ in passed(site_file.site, read.records)]
    f_v = np.concatenate(f_v)
    assert f_v[first - 1] == 1.0 / (1.0 - 0.010 * 2.0)
    assert f_v[0] == f_v[-1] == 1.0 / (1.0 - 0.010 * 9.0)  # biomass_kg_m2 of [site]


def test_an_evaluation_without_the_biomass_of_a_crop_is_too_wet(made_up):
    """Counts lost to a crop after the calibration read as water, unless biomass is given."""
    path = made_up.path.parent / "counts.csv"
    records = list(read_records([path], "records").records)
    lost = [r if i < 24 * 5 else dataclasses.replace(r, counts=round(0.95 * r.counts))
            for i, r in enumerate(records)]  # fmt: skip
    path.write_bytes(RECORDS_HEADER + b"".join(map(format_record, lost)))
    theta = load(made_up).theta_classical
    assert theta[-1] > THETA + 0.03
    rows = "2024-06-01,0\n2024-06-05 23:59,0\n2024-06-06,5\n2024-06-10,5\n"
    corrected = load(grown(made_up, rows)).theta_classical
    np.testing.assert_allclose(corrected[1:], THETA, atol=2e-3)


def test_a_mean_year_of_biomass_is_written_by_date(made_up):
    rows = "2022-05-01,0\n2022-08-01,4\n2023-05-01,0\n2023-08-01,6\n"
    points = biomass_by_date(grown(made_up, rows).biomass)
    assert points["05-01"] == pytest.approx(0.0, abs=0.03)  # noon, the file is of midnight
    assert points["07-15"] == pytest.approx(0.5 * (4 + 6) * 75.5 / 92, abs=0.01)
    assert "08-15" in points and 0.0 < points["02-01"] < 4.0  # between the harvests of one year


@pytest.mark.parametrize(("factor", "refused"), [(1.0, False), (1 / 25.4, True), (0.001, True)])
def test_a_year_of_rain_in_another_unit_is_refused(made_up, factor, refused):
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=i) for i in range(200)]
    rows = [f"{day},{1.5 * factor:.6f}," for day in days]
    made_up.rain.file.path.write_text("\n".join(["day,north,south", *rows]) + "\n", "utf-8")
    if refused:
        with pytest.raises(
            ConfigError, match=r"rain\.csv: north \+ south: .* mm in 200 days; in m"
        ):
            raw_records(made_up)
    else:
        assert np.nansum([record.rain_mm for record in raw_records(made_up)[0]]) > 10.0


def test_probes_are_averaged_in_their_depth_and_weighted_between_depths(made_up):
    truth = load(made_up).truth
    assert truth[1] == pytest.approx(0.25 * 0.2 + 0.75 * 0.4)


def test_the_mean_of_several_profiles_does_not_jump_when_one_drops_out(made_up):
    assert load(made_up).truth[3] == pytest.approx(0.25 * 0.2 + 0.75 * 0.4)  # b is silent
    own = np.array([0.2, 0.25, 0.4])
    wave = 0.2 + 0.05 * np.sin(np.arange(500.0) / 30.0)
    values = wave[:, None] + own - own.mean()
    values[100:300, 2] = values[250:, 0] = np.nan
    values[260:270] = np.nan
    filled = nanmean_rows(fill_columns(values))
    known = np.isfinite(values).any(axis=1)
    np.testing.assert_allclose(filled[known], wave[known], atol=1e-6)
    assert np.isnan(filled[~known]).all()
    never = np.column_stack([values, np.full(500, np.nan)])
    np.testing.assert_array_equal(nanmean_rows(fill_columns(never)), filled)


def test_a_site_without_samples_is_calibrated_on_its_probes(made_up, tmp_path):
    path = tmp_path / "probes.toml"
    text = SITE.replace(SAMPLING, '\n[sampling]\nkind = "probes"\nday = "2024-06-06"\n')
    path.write_text(text, "utf-8")
    series = load(read_site(path))
    assert series.sampled_theta == pytest.approx(series.truth[5]) == pytest.approx(0.35)
    assert series.theta_classical[5] == pytest.approx(0.35, abs=1e-3)
    assert any("calibrated on the probes" in note for note in series.notes)
    campaign = read_campaigns(read_site(path))[0]
    assert sorted(zip(campaign.depth_cm, campaign.theta.round(6), strict=True)) == [
        (10.0, 0.1), (10.0, 0.3), (25.0, 0.4)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sampling", "reason"),
    [
        ('kind = "probes"', "sampling.day: missing"),
        (
            'kind = "probes"\nday = "2024-06-06"\nvalue = "x"',
            "sampling.value: not with kind probes",
        ),
        ('kind = "theta"\nday = "2024-06-06"\nvalue = "x"', "sampling.file: required"),
    ],
)
def test_a_sampling_by_probes_names_days_and_no_file(tmp_path, sampling, reason):
    path = tmp_path / "site.toml"
    path.write_text(SITE.replace(SAMPLING, f"\n[sampling]\n{sampling}\n"), "utf-8")
    with pytest.raises(ConfigError, match=reason):
        read_site(path)


def test_probes_without_a_value_on_the_sampling_day_are_rejected(made_up, tmp_path):
    path = tmp_path / "probes.toml"
    text = SITE.replace(SAMPLING, '\n[sampling]\nkind = "probes"\nday = "2024-06-26"\n')
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match="on 2024-06-26 a depth of the probes has no value"):
        read_campaigns(read_site(path))


def test_a_site_without_samples_requires_n(made_up):
    bare = dataclasses.replace(made_up, sampling=None)
    with pytest.raises(ConfigError, match="no \\[sampling\\]"):
        load(bare)
    assert load(bare, N_CPH).cosmic_n_cph == N_CPH


def test_days_that_a_monitor_loses_are_noted(made_up, tmp_path, caplog):
    text = SITE + INCOMING
    (tmp_path / "noted.toml").write_text(text, "utf-8")
    hours = [f"2024-06-0{day} {h:02}:00" for day in range(1, 9) for h in range(24)]
    drops = {f"2024-06-0{day}" for day in (6, 7)}
    rows = [f"{t},{(150.0 if t[:10] not in drops else 120.0) + i % 3}" for i, t in enumerate(hours)]
    (tmp_path / "monitor.csv").write_text("\n".join(["stamp,n", *rows]) + "\n", "utf-8")
    judged = load(read_site(tmp_path / "noted.toml")).judged
    assert judged.tolist() == [True] * 5 + [False] * 2 + [True]
    assert "the monitor is stuck or drops on 2 of 8 days, which are not evaluated" in caplog.text


def test_a_missing_column_is_reported_with_the_nearest_name(made_up):
    with pytest.raises(ConfigError, match=r"'nort'.*did you mean north"):
        read_table(made_up.rain.file, ("nort",))


def test_a_day_with_too_few_readings_has_no_mean():
    time_s = 3600.0 * np.arange(1.0, 49.0)
    value = np.ones(48)
    value[24:34] = np.nan
    out = daily_mean(time_s, value, np.array([86400.0, 172800.0]))
    assert out[0] == 1.0 and np.isnan(out[1])


@pytest.mark.slow
def test_inversion_and_filter_at_roaring_fork_match_the_reference(shared, monkeypatch):
    monkeypatch.setenv("EPITHERMAL_SHARED", str(shared))
    spreads, rs = [], []
    for name in ("c1", "c2", "f3", "r1", "r2", "r5"):
        series = load(read_site(ROOT / f"tests/field/roaring-fork-{name}.toml"))
        filtered = exponential_filter(series.theta_classical[None], 5.0)[0]
        days = series.judged & np.isfinite(filtered) & np.isfinite(series.truth)
        error = (filtered - series.truth)[days]
        spreads.append(error.std())
        rs.append(np.corrcoef(filtered[days], series.truth[days])[0, 1])
    # FIELD.md: 0.0237 and 0.948 for the peer
    assert np.median(spreads) == pytest.approx(0.0237, abs=0.0005)
    assert np.median(rs) == pytest.approx(0.948, abs=0.005)
