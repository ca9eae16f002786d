"""Calibration from soil samples: field means, fits, N of the network, tables for station.toml."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
import math
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from tests.support.counts import write_counts
from tests.support.sites import made_up_site

from epithermal_edge.config.station_toml import read_config
from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.physics import footprint
from epithermal_edge.physics.response import response_rate
from epithermal_edge.records import Quality
from epithermal_host.cli.main import main
from epithermal_host.evaluation.methods import COSMIC
from epithermal_host.field import calibrate, calibrate_text, series
from epithermal_host.field.calibration_fit import (
    SLOPE_OF_COSMIC,
    SLOPE_SIGMA,
    Calibration,
    Day,
    Extra,
    extra_hydrogen,
    fit,
    fits,
    response_fits,
    response_shape,
    scatter,
)
from epithermal_host.field.network_n import stream
from epithermal_host.field.sampled_counts import Mean
from epithermal_host.field.samples import Campaign, read_campaigns
from epithermal_host.field.site_toml import SiteFile, read_site
from epithermal_host.field.weighted_mean import FieldMean, field_mean

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "tests" / "golden" / "bucket-0.1.0"
FIRST = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)
DAYS, N_CPH = 70, 3000.0
SAMPLED = {40: 0.30, 50: 0.20, 60: 0.12}  # day: water of the soil
COVER = """
[cover]
canopy_cover = { "06-01" = 0.4 }
root_depth_cm = 60
evaporation_share = 0.5
"""
SAMPLING = """
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
SITE = made_up_site(COVER, SAMPLING)
STATION = """
[station]
id = "made-up"
state_dir = "state"
[source]
dialect = "records"
[model]
bundle = "model"
"""


def theta_of(day: int) -> float:
    """Interpolate the water of the synthetic soil between the sampled days."""
    return float(np.interp(day, list(SAMPLED), list(SAMPLED.values())))


def date_of(day: int) -> str:
    return str((FIRST + datetime.timedelta(days=day)).date())


@pytest.fixture(scope="module")
def site_toml(tmp_path_factory) -> Path:
    """A site with seventy days over a uniform soil, sampled on three of them."""
    folder = tmp_path_factory.mktemp("site")
    path = folder / "site.toml"
    path.write_text(SITE, "utf-8")
    theta = np.array([theta_of(day) for day in range(DAYS)])
    write_counts(path, theta, FIRST.timestamp(), N_CPH)
    rows = ["day,name,metres,depth,water,density"]
    for day, theta in SAMPLED.items():
        for p, wetter in enumerate((-0.02, 0.0, 0.02)):
            for depth in (5, 15, 25, 60):
                density = 1.2 + 0.1 * p
                water = 0.9 if depth == 60 else (theta + wetter) / density
                rows.append(f"{date_of(day)},P{p},30,{depth},{water:.9f},{density}")
    (folder / "samples.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return path


def changed(site_toml: Path, tmp_path: Path, *changes: tuple[str, str]) -> SiteFile:
    """Read the synthetic site with lines of its file replaced, and the same data files."""
    text = site_toml.read_text("utf-8").replace('"counts.csv"', f'"{site_toml.parent}/counts.csv"')
    text = text.replace('"samples.csv"', f'"{site_toml.parent}/samples.csv"')
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = tmp_path / "site.toml"
    path.write_text(text, "utf-8")
    return read_site(path)


def calibrated(site_file: SiteFile) -> Calibration:
    read = series.raw_records(site_file)
    return calibrate.calibrate(site_file, read_campaigns(site_file), read)


def campaign(rows: list[tuple[int, float, float, float]]) -> Campaign:
    """Build a campaign from rows of profile, distance, depth and theta."""
    profile, distance, depth, theta = (np.array(column) for column in zip(*rows, strict=True))
    return Campaign("2024-06-10", theta, depth, distance, profile.astype(np.int64))


def day_of(theta: float, sigma: float, n_cph: float, n_sigma: float) -> Day:
    sampled = FieldMean(
        "2024-06-10", 9, 3, theta, theta, sigma, theta, sigma, sigma, False, 20.0, 3
    )
    return Day(sampled, Mean(86400.0, n_cph, n_sigma, n_cph, 0.0, 1013.25, Quality.GOOD))


def test_a_scale_of_the_site_file_is_compared_with_the_samples_and_not_used(site_toml, tmp_path):
    given = f"cosmic_n_cph = {1.1 * N_CPH}\n[soil]"
    found = calibrated(changed(site_toml, tmp_path, ("[soil]", given)))
    assert found.cosmic_n_cph == pytest.approx(N_CPH, rel=2e-3)
    [note] = [note for note in found.notes if "the site file has a scale of 3300.0" in note]
    assert "(-9.1%)" in note or "(-9.0%)" in note or "(-9.2%)" in note


# ----- field means


def reference_means() -> list[dict[str, str]]:
    """Read means computed with crnpy 0.8.0 (nrad_weight) and with weights of neptoon 1.12.7."""
    folder = Path(os.environ.get("EPITHERMAL_SHARED", ROOT.parent / "shared"))
    path = folder / "reference/corrections/calibration_average.csv"
    return list(csv.DictReader(path.open())) if path.is_file() else []


@pytest.mark.parametrize("row", reference_means(), ids=lambda r: f"{r['site']}-{r['date']}")
def test_the_weighted_mean_equals_that_of_crnpy_with_neptoons_weights(row, shared):
    name, stamp = {
        "fuerstensee-fsc001": ("FSC001_calibration_samples.csv", "%d.%m.%Y %H:%M"),
        "sheepdrove2": ("Sheepdrove2-calibration.csv", "%Y-%m-%d %H:%M"),
    }[row["site"]]
    samples, density = [], float(row["mean_bulk_density_g_cm3"])
    lines = csv.reader((shared / "field" / row["site"] / name).open(), skipinitialspace=True)
    for when, p, distance, depth, water, _, *_ in list(lines)[1:]:
        day = str(datetime.datetime.strptime(when, stamp).date())
        if day == row["date"] and water not in ("", "nan"):
            key = int(p) * 1000 + int(float(distance))  # some names are used for two places
            samples.append((key, float(distance), float(depth), float(water) * density))
    day = campaign(samples)
    profile = np.unique(day.profile, return_inverse=True)[1]
    air = float(row["pressure_hpa"]), float(row["abs_humidity_g_m3"])
    got = field_mean(dataclasses.replace(day, profile=profile), density, 0.0, *air).theta
    # 1e-5: precision of the printed density. Loose: they combine two places of one name in one
    # profile, and evaluate W(r) beyond 0.5, the limit of its fit
    loose = row["date"] in ("2015-07-04", "2016-02-08", "2016-11-01")
    wanted = float(row["weighted_theta_vol_schroen2017_with_neptoon_weights_tol1e-6"])
    assert got == pytest.approx(wanted, rel=1e-2 if loose else 1e-5)


def test_a_uniform_field_gives_its_water_content_and_the_error_of_its_profiles():
    rows = [(p, 5.0 + 30 * p, z, 0.25 + d) for p, d in enumerate((-0.03, 0, 0.03))
            for z in (5.0, 15.0, 25.0)]  # fmt: skip
    result = field_mean(campaign(rows), 1.3, 0.03, 1000.0, 8.0)
    even = field_mean(campaign([(p, 40.0, z, t) for p, _, z, t in rows]), 1.3, 0.03, 1000.0, 8.0)
    assert even.theta == pytest.approx(0.25, abs=1e-9)
    assert even.sigma == even.between == pytest.approx(0.03 / math.sqrt(3), rel=1e-9)
    assert even.within == pytest.approx(0.0, abs=1e-9)  # each profile is uniform
    assert result.theta < 0.25  # the nearest profile is dry and has the largest weight


def test_plants_shorten_the_footprint_of_the_samples():
    rows = [(0, 60.0, 5.0, 0.1), (1, 180.0, 5.0, 0.4)]
    bare = field_mean(campaign(rows), 1.3, 0.03, 1000.0, 8.0)
    maize = field_mean(campaign(rows), 1.3, 0.03, 1000.0, 8.0, crop_height_m=2.5)
    low = field_mean(campaign(rows), 1.3, 0.03, 1000.0, 8.0, crop_height_m=0.0)
    assert maize.theta < bare.theta - 0.001 and low == bare


def test_one_profile_has_the_error_of_its_scatter_and_a_single_value_the_default():
    rng = np.random.default_rng(3)
    rows = [(0, math.nan, z, 0.2 + 0.002 * z + rng.normal(0.0, 0.02))
            for z in np.repeat([5.0, 15.0, 25.0], 30)]  # fmt: skip
    result = field_mean(campaign(rows), 1.3, 0.0, 1000.0, 8.0)
    assert result.sigma == result.within == pytest.approx(0.02 / math.sqrt(70), rel=0.25)
    assert math.isnan(result.between) and not result.assumed
    single = field_mean(campaign([(0, math.nan, math.nan, 0.2)]), 1.3, 0.0, 1000.0, 8.0)
    assert (single.theta, single.theta_0_30, single.sigma, single.assumed) == (
        0.2, 0.2, 0.015, True,
    )  # fmt: skip


def test_local_weights_are_those_at_each_profile_s_own_water_and_bound_water():
    rows = [(0, 30.0, 10.0, 0.1), (1, 60.0, 10.0, 0.4)]
    density, bound, pressure_hpa, air_g_m3 = 1.3, 0.05, 1000.0, 8.0
    result = field_mean(campaign(rows), density, bound, pressure_hpa, air_g_m3, local=True)
    r = footprint.rescaled_distance_m(
        np.array([30.0, 60.0]), pressure_hpa, result.theta + density * bound
    )
    own = np.array([0.1, 0.4]) + density * bound
    w = footprint.distance_weight(r, own, air_g_m3)
    assert result.theta == pytest.approx(w @ np.array([0.1, 0.4]) / w.sum(), abs=1e-4)


def test_the_mean_of_0_30_cm_has_no_weight_for_depth():
    rows = [(0, 20.0, 5.0, 0.1), (0, 20.0, 25.0, 0.3)]
    result = field_mean(campaign(rows), 1.3, 0.0, 1000.0, 8.0)
    assert result.theta_0_30 == pytest.approx(0.2, abs=1e-12)  # a line between, constant beyond
    assert 0.1 < result.theta < 0.17


def test_named_samples_are_read_and_deep_ones_omitted(site_toml):
    first = read_campaigns(read_site(site_toml))[0]
    assert (first.day, first.theta.size, first.profile.max()) == (date_of(40), 9, 2)
    assert first.theta[:3] == pytest.approx(SAMPLED[40] - 0.02, abs=1e-8)  # with its own density


# ----- fits


def test_a_fit_reproduces_the_scale_and_weighs_days_by_their_errors(site_toml):
    site = read_site(site_toml).site
    shape = response_shape(site)
    theta = np.array([0.1, 0.3])
    n = N_CPH * shape(theta)
    good = [day_of(t, 0.01, r, 5.0) for t, r in zip(theta, n, strict=True)]
    result = fit(COSMIC, shape, n, good)
    assert result.n_cph == pytest.approx(N_CPH, rel=1e-12) and result.chi2 < 1e-12
    off = n * np.array([1.0, 1.1])
    days = [day_of(0.1, 0.01, off[0], 5.0), day_of(0.3, 0.1, off[1], 5.0)]
    assert 1.0 < fit(COSMIC, shape, off, days).n_cph / N_CPH < 1.03  # the second has little weight


def test_the_standard_error_is_the_scatter_of_repeated_calibrations(site_toml):
    site, rng = read_site(site_toml).site, np.random.default_rng(1)
    shape, theta = response_shape(site), np.array([0.12, 0.2, 0.3])
    n, fitted, sigma = N_CPH * shape(theta), [], []
    for _ in range(400):
        sampled = theta + 0.01 * rng.standard_normal(3)
        counted = n + 10.0 * rng.standard_normal(3)
        days = [day_of(t, 0.01, r, 10.0) for t, r in zip(sampled, counted, strict=True)]
        result = fit(COSMIC, shape, counted, days)
        fitted.append(result.n_cph)
        sigma.append(result.sigma_cph / max(math.sqrt(result.chi2 / 2.0), 1.0))
    assert np.std(fitted) == pytest.approx(np.mean(sigma), rel=0.15)


def test_days_that_disagree_increase_the_error(site_toml):
    site = read_site(site_toml).site
    shape = response_shape(site)
    agree, apart = ([day_of(0.2, 0.01, N_CPH * s, 5.0) for s in pair]
                    for pair in ((0.5, 0.5), (0.45, 0.55)))  # fmt: skip
    calm, wild = (fit(COSMIC, shape, np.array([d.counts.n_cph for d in days]), days)
                  for days in (agree, apart))  # fmt: skip
    assert wild.sigma_cph > 3.0 * calm.sigma_cph


def test_extra_hydrogen_is_fitted_and_rejected_if_the_days_cannot_confirm_it(site_toml):
    site = read_site(site_toml).site
    theta = np.array([0.08, 0.15, 0.25, 0.35])
    n = N_CPH * response_shape(site, 0.05)(theta)
    days = [day_of(t, 0.004, r, 3.0) for t, r in zip(theta, n, strict=True)]
    cosmic = fits(site, days)[-1]
    extra = extra_hydrogen(site, days, cosmic)
    assert extra.water_g_g == pytest.approx(0.05, abs=1e-3) and not extra.reason
    assert extra.n_cph == pytest.approx(N_CPH, rel=1e-3)
    assert "cannot" in extra_hydrogen(site, days[:2], fits(site, days[:2])[-1]).reason
    assert "one day" in extra_hydrogen(site, days[:1], cosmic).reason
    dry = N_CPH * response_shape(site)(theta)
    none = [day_of(t, 0.004, r, 3.0) for t, r in zip(theta, dry, strict=True)]
    assert extra_hydrogen(site, none, fits(site, none)[-1]).reason == "the days do not require it"


def test_a_day_s_own_error_is_that_of_its_counts_and_of_its_samples(site_toml):
    site = read_site(site_toml).site
    shape, theta, sigma = response_shape(site), 0.2, 0.01
    n = N_CPH * float(shape(np.array([theta]))[0])

    def error(n_sigma: float, sigma: float) -> float:
        days = [day_of(theta, sigma, n, n_sigma)]
        return fit(COSMIC, shape, np.array([n]), days).each_sigma_cph[0]

    wet, dry = (n / float(shape(np.array([t]))[0]) for t in (theta + sigma, theta - sigma))
    by_samples = (wet - dry) / 2.0
    assert error(1e-9, sigma) == pytest.approx(by_samples, rel=1e-2)
    assert error(0.02 * n, 1e-12) == pytest.approx(0.02 * N_CPH, rel=1e-6)
    assert error(0.02 * n, sigma) == pytest.approx(math.hypot(by_samples, 0.02 * N_CPH), rel=1e-2)


def test_a_method_without_its_input_on_one_day_gives_no_scale_of_any_day(site_toml):
    site = read_site(site_toml).site
    days = [day_of(0.2, 0.01, 900.0, 5.0), day_of(0.3, 0.01, 800.0, 5.0)]
    dark = dataclasses.replace(days[1].counts, humidity_g_m3=math.nan)
    _, uts, cosmic = fits(site, [days[0], dataclasses.replace(days[1], counts=dark)])
    assert np.isnan([uts.n_cph, uts.sigma_cph, *uts.each_cph, *uts.each_sigma_cph]).all()
    assert uts.reason == "air humidity missing" and math.isfinite(cosmic.n_cph)


def test_the_scatter_is_the_relative_deviation_of_two_days_and_unknown_of_one(site_toml):
    shape = response_shape(read_site(site_toml).site)
    days = [day_of(0.2, 0.01, N_CPH * s, 5.0) for s in (0.45, 0.55)]
    n = np.array([d.counts.n_cph for d in days])
    # 0.45 and 0.55: mean 0.5, deviation 0.1 / sqrt(2)
    assert scatter(fit(COSMIC, shape, n, days)) == pytest.approx(0.2 / math.sqrt(2.0))
    assert math.isnan(scatter(fit(COSMIC, shape, n[:1], days[:1])))


def test_the_shape_does_not_depend_on_the_n_of_the_site(site_toml):
    site, theta = read_site(site_toml).site, np.array([0.1, 0.3])
    other = dataclasses.replace(site, cosmic_n_cph=555.0)
    np.testing.assert_array_equal(response_shape(other)(theta), response_shape(site)(theta))


def test_the_error_of_extra_hydrogen_is_where_chi_squared_has_risen_by_one(site_toml):
    site, theta = read_site(site_toml).site, np.array([0.08, 0.15, 0.25, 0.35])
    n = N_CPH * response_shape(site, 0.05)(theta)
    days = [day_of(t, 0.004, r, 3.0) for t, r in zip(theta, n, strict=True)]
    extra = extra_hydrogen(site, days, fits(site, days)[-1])
    least, risen = (
        fit(COSMIC, response_shape(site, extra.water_g_g + away), n, days).chi2
        for away in (0.0, extra.sigma_g_g)
    )
    assert risen - least == pytest.approx(1.0, rel=0.15)
    dry = N_CPH * response_shape(site)(theta)
    none = [day_of(t, 0.004, r, 3.0) for t, r in zip(theta, dry, strict=True)]
    at_zero = extra_hydrogen(site, none, fits(site, none)[-1])
    assert at_zero.water_g_g < 0.005 and math.isnan(at_zero.sigma_g_g)


@pytest.mark.parametrize(("gain", "reason"), [(4.1, ""), (3.9, "the days do not require it")])
def test_extra_hydrogen_needs_a_gain_of_4_in_chi_squared(site_toml, gain, reason):
    site, theta = read_site(site_toml).site, np.array([0.08, 0.15, 0.25, 0.35])
    n = N_CPH * response_shape(site, 0.05)(theta)

    def extra(times: float) -> Extra:
        days = [day_of(t, 0.004 * times, r, 3.0 * times) for t, r in zip(theta, n, strict=True)]
        return extra_hydrogen(site, days, fits(site, days)[-1])

    found = extra(math.sqrt(extra(1.0).gain / gain))  # chi squared goes with 1 / error^2
    assert found.gain == pytest.approx(gain, abs=0.05) and found.reason == reason


def test_extra_hydrogen_at_its_limit_has_no_error(site_toml):
    site = read_site(site_toml).site
    n = N_CPH * float(response_shape(site)(np.array([0.3]))[0])
    days = [day_of(theta, 0.003, n, 3.0) for theta in (0.3, 0.4)]  # counts that do not fall
    extra = extra_hydrogen(site, days, fits(site, days)[-1])
    assert extra.water_g_g > 0.29 and math.isnan(extra.sigma_g_g)  # chi squared is concave there


def test_extra_hydrogen_is_used_only_on_demand_and_only_if_the_days_confirm_it(site_toml, tmp_path):
    read = series.raw_records(read_site(site_toml))
    for lattice, confirmed in (("0.0", True), ("0.03", False)):
        site_file = changed(
            site_toml, tmp_path, ("lattice_water_g_g = 0.03", f"lattice_water_g_g = {lattice}")
        )
        given = site_file, exact_campaigns(site_file), read
        without, asked = (calibrate.calibrate(*given, extra=extra) for extra in (False, True))
        assert calibrate.calibrate(*given).site == without.site  # by default
        assert without.site.organic_water_g_g == site_file.site.organic_water_g_g
        assert not without.extra_used and not any("extra" in note for note in without.notes)
        assert asked.extra_used == confirmed == (not asked.extra.reason)
        used = asked.site.organic_water_g_g - site_file.site.organic_water_g_g
        assert used == pytest.approx(asked.extra.water_g_g if confirmed else 0.0)
        refusals = [note for note in asked.notes if note.startswith("extra hydrogen is not used")]
        assert len(refusals) == (not confirmed)


def exact_campaigns(site_file: SiteFile) -> list[Campaign]:
    """Return the campaigns of the site with equal profiles, whose error is small."""
    exact = []
    for day in read_campaigns(site_file):
        theta = day.theta + 0.002 * (day.profile - 1) - 0.02 * (day.profile - 1)
        exact.append(dataclasses.replace(day, theta=theta))
    return exact


# ----- a whole site


def test_three_sampling_days_reproduce_the_scale_of_a_synthetic_site(site_toml):
    result = calibrated(read_site(site_toml))
    assert result.cosmic_n_cph == pytest.approx(N_CPH, rel=1e-3)  # counts were rounded
    assert result.fits[-1].each_cph == pytest.approx([N_CPH] * 3, rel=1e-3)
    assert [d.sampled.theta for d in result.days] == pytest.approx(list(SAMPLED.values()), abs=1e-6)
    assert [d.counts.live_s for d in result.days] == [86400.0] * 3
    days = np.searchsorted(
        result.day_end_s, [FIRST.timestamp() + 86400.0 * (d + 1) for d in SAMPLED]
    )
    assert result.theta[COSMIC][days] == pytest.approx(list(SAMPLED.values()), abs=1e-3)
    assert "extra hydrogen: 0.000" in calibrate_text.table(result)


def test_water_bound_by_minerals_and_by_organic_matter_weighs_alike(site_toml, tmp_path):
    lattice = "lattice_water_g_g = 0.03"
    means = []
    for i, bound in enumerate((0.08, 0.03)):
        (tmp_path / str(i)).mkdir()
        keys = f"lattice_water_g_g = {bound}\norganic_water_g_g = {0.08 - bound}"
        site_file = changed(site_toml, tmp_path / str(i), (lattice, keys))
        records = series.raw_records(site_file).records
        days, _ = calibrate.sampling_days(site_file, read_campaigns(site_file), records)
        means.append([(day.sampled.theta, day.sampled.d86_cm) for day in days])
    assert means[0] == means[1]


def test_one_day_gives_the_n_that_an_evaluation_uses(site_toml, tmp_path):
    one = changed(site_toml, tmp_path, ('kind = "wat', f'day = "{date_of(50)}"\nkind = "wat'))
    result = calibrated(one)
    assert [d.sampled.day for d in result.days] == [date_of(50)]
    assert result.cosmic_n_cph == pytest.approx(series.load(one).cosmic_n_cph, rel=1e-9)


def test_the_counts_are_those_of_the_configured_hours(site_toml, tmp_path):
    hours = changed(site_toml, tmp_path, ('time = "day"', 'time = "day"\nfrom_h = 9\nto_h = 15'))
    assert calibrated(hours).days[0].counts.live_s == 6 * 3600.0


def test_a_station_accepts_the_tables_and_reads_the_calibrated_site(site_toml, tmp_path):
    result = calibrated(read_site(site_toml))
    path = tmp_path / "station.toml"
    path.write_text(STATION + calibrate_text.block(result), "utf-8")
    site = read_config(path).site
    assert site.cosmic_n_cph == pytest.approx(result.site.cosmic_n_cph, abs=0.005)
    assert site.cosmic_n_sigma == pytest.approx(result.site.cosmic_n_sigma, abs=5e-5)
    same = {"cosmic_n_cph": result.site.cosmic_n_cph, "cosmic_n_sigma": result.site.cosmic_n_sigma}
    # as text: NaN is not NaN
    assert str(dataclasses.replace(site, **same)) == str(result.site)


@pytest.mark.parametrize("dated", [False, True])
def test_the_station_gets_the_biomass_that_its_n_belongs_to(site_toml, tmp_path, dated):
    year = 'biomass_kg_m2 = { "05-01" = 0.0, "08-01" = 5.0 }\nbiomass_form = "morris2024"\n'
    table = ""
    if dated:
        year = 'biomass_form = "morris2024"\n'
        table = '[biomass]\nfile = "biomass.csv"\ntime = "day"\ncolumn = "mm"\n'
        (tmp_path / "biomass.csv").write_text("day,mm\n2024-05-01,0\n2024-08-01,5\n", "utf-8")
    bare = calibrated(read_site(site_toml))
    grown = calibrated(changed(site_toml, tmp_path, ("[soil]", f"{year}{table}[soil]")))
    june = 5.0 * 40 / 92  # of the first sampling day
    lost = [g.counts.n_cph / b.counts.n_cph for g, b in zip(grown.days, bare.days, strict=True)]
    assert lost[0] == pytest.approx(1.0 / (1.0 - 0.010 * june), abs=5e-4)
    assert lost[0] < lost[1] < lost[2]
    path = tmp_path / "station.toml"
    path.write_text(STATION + calibrate_text.block(grown), "utf-8")
    site = read_config(path).site
    assert site.biomass_slope_per_mm == 0.010 and len(site.biomass_kg_m2) == 366
    june_10 = 162  # of a leap year
    assert site.biomass_kg_m2[june_10 - 1] == pytest.approx(june, abs=0.04)


def test_the_command_writes_block_figures_and_picture_and_prints_the_block(
    site_toml, tmp_path, capsys
):
    assert main(["calibrate", str(site_toml), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    block = (tmp_path / "out" / calibrate.BLOCK).read_text("utf-8")
    assert block in printed and tomllib.loads(block)["site"]["cosmic_n_cph"] > 0.0
    data = json.loads((tmp_path / "out" / calibrate.DATA).read_text("utf-8"))
    assert data["days"][0]["samples"] == 9 and data["network"] is None
    assert (tmp_path / "out" / calibrate.PICTURE).read_bytes()[:4] == b"\x89PNG"


def test_with_its_n_the_network_reproduces_the_samples(site_toml):
    site_file = read_site(site_toml)
    bundle = dataclasses.replace(open_bundle(BUNDLE), spin_up_steps=50)
    read = series.raw_records(site_file)
    result = calibrate.calibrate(site_file, read_campaigns(site_file), read, bundle)
    network = result.network
    assert network is not None and not network.reason
    note = f"the network had run for {min(network.age_d)} days at the first sampling; "
    assert min(network.age_d) < 50 and note + "its spin-up takes 50 days" in result.notes
    weight = np.array([d.sampled.sigma for d in result.days]) ** -2.0
    wanted = float(np.average([d.sampled.theta_0_30 for d in result.days], weights=weight))
    ends = [series.day_window_end_s(site_file, d.sampled.day) for d in result.days]

    def misfit(n_cph: float) -> float:  # a station with this N, from its first record
        site = dataclasses.replace(result.site, cosmic_n_cph=n_cph)
        streamed = stream(site, np.array([n_cph]), read.records, 0, bundle)
        rows = np.searchsorted(streamed.day_end_s, ends)
        return float(np.average(streamed.theta[0, rows], weights=weight)) - wanted

    assert abs(misfit(network.n_cph)) < 3e-4
    exact = brentq(misfit, 0.95 * network.n_cph, 1.05 * network.n_cph, xtol=0.3, rtol=1e-4)
    assert network.n_cph == pytest.approx(exact, rel=1e-3)
    assert result.site.cosmic_n_cph == network.n_cph  # in the tables
    assert result.cosmic_n_cph == pytest.approx(N_CPH, rel=1e-3)  # in a comment
    assert f"N of COSMIC alone: {result.cosmic_n_cph:.1f}" in calibrate_text.block(result)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('depth_column = "depth"', 'depth_column = "depth"\ndeepest_cm = 2', "below 2 cm"),
        ('kind = "wat', 'day = "2024-06-11"\nkind = "wat', "no samples of the day 2024-06-11"),
        ('kind = "wat', 'days = ["tomorrow"]\nkind = "wat', "'tomorrow' is not a date"),
        ('value = "water"', 'value = "watr"', "did you mean water"),
        ('time = "day"', "", "sampling.time: missing"),
        ('time = "day"', 'time = "day"\nfrom_h = 5', "set it together with a later to_h"),
    ],
)
def test_a_failed_calibration_reports_the_reason(site_toml, tmp_path, old, new, message):
    with pytest.raises(ConfigError) as caught:
        calibrated(changed(site_toml, tmp_path, (old, new)))
    assert message in str(caught.value)


def test_without_samples_the_message_names_the_table(site_toml):
    bare = dataclasses.replace(read_site(site_toml), sampling=None)
    with pytest.raises(ConfigError, match=r"no \[sampling\] to calibrate on; add the table"):
        read_campaigns(bare)


def test_a_day_outside_the_records_is_omitted_and_alone_it_is_an_error(site_toml, tmp_path):
    late = tmp_path / "late.csv"
    rows = (site_toml.parent / "samples.csv").read_text("utf-8")
    late.write_text(rows + "2025-01-05,P0,30,5,0.2,1.3\n", "utf-8")
    change = (f'"{site_toml.parent}/samples.csv"', f'"{late}"')
    result = calibrated(changed(site_toml, tmp_path, change))
    assert len(result.days) == 3 and "2025-01-05: 0.0 h of usable counts" in result.notes[0]
    alone = changed(site_toml, tmp_path, change, ('kind = "wat', 'day = "2025-01-05"\nkind = "wat'))
    with pytest.raises(ConfigError, match="the records cover 2024-05-01 to 2024-07-10"):
        calibrated(alone)


def test_the_result_states_how_many_samples_of_a_day_are_too_deep(site_toml):
    result = calibrated(read_site(site_toml))
    for day in SAMPLED:
        note = f"{date_of(day)}: 3 of 12 samples are below 30 cm and are left out"
        assert f"note: {note}" in calibrate_text.table(result)
        assert f"# {note}" in calibrate_text.block(result)


# ----- published calibrations


HEAD = '[sampling]\nfile = "means.csv"\ntime = "day"\nvalue = "theta"\nkind = "theta"\n'


@pytest.fixture
def published(shared, monkeypatch, tmp_path):
    """A function that reads a site of tests/field with published means instead of samples."""
    monkeypatch.setenv("EPITHERMAL_SHARED", str(shared))

    def site_with_means(name: str, theta: dict[str, float], hours: str, *changes: tuple[str, str]):
        text = (ROOT / "tests/field" / f"{name}.toml").read_text("utf-8")
        text = text[: text.index("[sampling]")] + HEAD + hours
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        rows = "".join(f"{day},{value!r}\n" for day, value in theta.items())
        (tmp_path / "means.csv").write_text("day,theta\n" + rows, "utf-8")
        (tmp_path / "site.toml").write_text(text, "utf-8")
        site_file = read_site(tmp_path / "site.toml")
        records = series.raw_records(site_file).records
        return site_file, calibrate.sampling_days(site_file, read_campaigns(site_file), records)[0]

    return site_with_means


@pytest.mark.parametrize(
    ("theta", "density", "counts", "n0"),
    [
        # crnpy, docs/examples/calibration/calibration.ipynb at 1dcc726: W(r) with its arguments
        # exchanged (without that the mean is 0.263), plain mean of the densities
        (0.2047467442102135, 1.33207, 1543, 2434),
        # the same at 1e995b8: weights of Koehli et al. (2015), weighted density (1.157: from the
        # printed count, mean and N0)
        (0.263, 1.157, 1546, 2650),
    ],
)
def test_flickner_has_the_counts_and_the_n0_of_crnpys_example(
    published, theta, density, counts, n0
):
    site_file, days = published(
        "flickner-ks", {"2021-10-22": theta}, "from_h = 14\nto_h = 22\n",
        ("bulk_density_g_cm3 = 1.332", f"bulk_density_g_cm3 = {density}"),
    )  # fmt: skip
    # JUNG1 in place of Dourbes as the monitor: 0.25 %
    assert days[0].counts.n_cph == pytest.approx(counts, rel=3e-3)
    assert fits(site_file.site, days)[0].n_cph == pytest.approx(n0, rel=5e-3)


# neptoon 1.12.7: CalibrationStation on the shared files; JUNG (1 at 159, Hawdon), 6 h of counts
NEPTOON = {
    "2014-01-17": {"vol": 0.186649, "grav": 0.217641, "extra": 0.03869, "n": 695.149928,
                   "p": 996.9, "h": 5.59491, "n0": 1179.028312, "n_d": 1886.513421},
    "2014-11-17": {"vol": 0.155485, "grav": 0.214545, "extra": 0.037569, "n": 820.661974,
                   "p": 1004.814286, "h": 7.286987, "n0": 1386.030796, "n_d": 2225.347764},
}  # fmt: skip


@pytest.mark.parametrize("day", list(NEPTOON))
def test_fuerstensee_has_the_same_mean_as_in_neptoon(shared, monkeypatch, day):
    monkeypatch.setenv("EPITHERMAL_SHARED", str(shared))
    site_file = read_site(ROOT / "tests/field/fuerstensee-fsc001.toml")
    samples = next(c for c in read_campaigns(site_file) if c.day == day)
    theirs, density = NEPTOON[day], 1.082021  # of all samples
    local = field_mean(samples, density, 0.0, theirs["p"], theirs["h"], local=True)
    assert local.theta == pytest.approx(theirs["vol"], rel=5e-3)
    ours = field_mean(samples, density, 0.0, theirs["p"], theirs["h"])
    assert abs(ours.theta - theirs["vol"]) < 1.5 * ours.sigma  # peat: W(r) at the field mean


@pytest.mark.parametrize("day", list(NEPTOON))
def test_fuerstensee_has_the_same_counts_n0_and_n_d_as_in_neptoon(published, day):
    theirs = NEPTOON[day]
    site_file, days = published(
        "fuerstensee-fsc001", {day: theirs["grav"] * 1.082}, "from_h = 8\nto_h = 15\n",
        ("organic_water_g_g = 0.0262", f"organic_water_g_g = {theirs['extra'] - 0.0013}"),
    )  # fmt: skip
    assert days[0].counts.n_cph == pytest.approx(theirs["n"], rel=1e-3)
    assert days[0].counts.humidity_g_m3 == pytest.approx(theirs["h"], rel=5e-3)
    desilets, uts, _ = fits(site_file.site, days)
    assert desilets.n_cph == pytest.approx(theirs["n0"], rel=5e-3)
    assert uts.n_cph == pytest.approx(theirs["n_d"], rel=5e-3)


def drawn_days(site: SiteFile, response: str, slope: float = 1.0) -> list[Day]:
    """Sampling days whose counts follow a response, its logarithm stretched by a slope."""
    named = dataclasses.replace(site.site, response=response, cosmic_n_cph=1000.0)
    theta = np.linspace(0.1, 0.4, 6)
    rate = response_rate(theta, named)
    middle = response_rate(np.array([theta.mean()]), named)
    counts = (middle * (rate / middle) ** slope).tolist()
    made = calibrated(site).days[0]
    return [
        Day(
            dataclasses.replace(made.sampled, theta=t, sigma=0.004),
            dataclasses.replace(made.counts, n_cph=n, n_humid_cph=n, sigma_cph=2e-3 * n),
        )
        for t, n in zip(theta.tolist(), counts, strict=True)
    ]


@pytest.mark.parametrize("name", ["cosmic", "desilets", "uts2025_gd_endf8"])
def test_the_days_support_the_response_that_made_them(site_toml, name):
    file = read_site(site_toml)
    fitted = {r.response: r for r in response_fits(file.site, drawn_days(file, name))}
    own = fitted[name]
    assert own.supported and own.fit.n_cph == pytest.approx(1000.0, rel=1e-6)
    assert own.apart < 1e-6 and own.slope_alone == pytest.approx(1.0, abs=1e-3)
    least = min(fitted.values(), key=lambda r: r.fit.chi2)
    assert least is own
    assert not fitted["desilets" if name == "cosmic" else "cosmic"].supported


def test_the_slope_lies_between_the_days_and_the_prior_and_needs_three_days(site_toml):
    file = read_site(site_toml)
    days = drawn_days(file, "cosmic", 0.8)
    cosmic = response_fits(file.site, days)[0]
    assert cosmic.slope_alone == pytest.approx(0.8, abs=1e-3)
    assert cosmic.slope_prior == pytest.approx(SLOPE_OF_COSMIC)
    assert SLOPE_OF_COSMIC < cosmic.slope < 0.8
    assert cosmic.slope_sigma < min(cosmic.slope_alone_sigma, SLOPE_SIGMA)
    expected = (SLOPE_SIGMA**-2 + cosmic.slope_alone_sigma**-2) ** -0.5
    assert cosmic.slope_sigma == pytest.approx(expected, rel=0.15)
    assert cosmic.slope_chi2 < 1.0 < cosmic.fit.chi2
    two = response_fits(file.site, days[:2])[0]
    assert math.isnan(two.slope) and math.isfinite(two.fit.n_cph)
    one = response_fits(file.site, days[:1])
    assert not any(r.supported for r in one) and all(math.isfinite(r.fit.n_cph) for r in one)


def test_a_site_of_another_response_is_calibrated_and_run_by_it(site_toml, tmp_path):
    """The station's classical value on a sampling day is the sample, by the same response."""
    site = changed(
        site_toml, tmp_path, ('name = "made-up"', 'name = "made-up"\nresponse = "desilets"')
    )
    result = calibrated(site)
    fitted = {r.response: r.fit for r in result.responses}
    assert result.site.cosmic_n_cph == fitted["desilets"].n_cph
    assert result.fits[0].n_cph == pytest.approx(fitted["desilets"].n_cph, rel=1e-12)
    cosmic = calibrated(read_site(site_toml))
    for before, after in zip(cosmic.responses, result.responses, strict=True):
        assert after.fit.n_cph == pytest.approx(before.fit.n_cph, rel=1e-6), after.response
    block = calibrate_text.block(result)
    assert 'response = "desilets"' in block and "N0 of desilets's inversion" in block
    path = tmp_path / "station.toml"
    path.write_text(STATION + block, "utf-8")
    assert read_config(path).site.response == "desilets"
    text = calibrate_text.table(result)
    assert "* desilets, N0" in text or "  desilets, N0" in text
    theta = result.theta["desilets inversion"]
    np.testing.assert_allclose(theta, result.theta["Desilets"], atol=1e-9)
