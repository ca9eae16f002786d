"""A site without samples: N0 of another calibration becomes the scale of the site's response."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import numpy as np
import pytest
from tests.support.counts import write_counts
from tests.support.sites import made_up_site, probe

from epithermal_edge.errors import ConfigError
from epithermal_edge.physics.response import converted_site, response_rate, response_theta
from epithermal_host.field.calibrate import sampling_days
from epithermal_host.field.samples import read_campaigns
from epithermal_host.field.series import load, raw_records
from epithermal_host.field.site_toml import read_site
from epithermal_host.reports import field
from epithermal_host.reports.field_result import Options

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "tests" / "golden" / "bucket-0.1.0"
FIRST_S = datetime.datetime(2024, 4, 1, tzinfo=datetime.UTC).timestamp()
DAYS, THETA, N_CPH = 100, 0.25, 500.0
REAL = ("mead-csp3", "mead-csp2", "roaring-fork-c1", "roaring-fork-f3", "fuerstensee-fsc001")


@pytest.mark.parametrize("name", REAL)
def test_cosmic_with_the_converted_n_agrees_with_desilets_on_every_sampling_day(
    name, shared, monkeypatch
):
    monkeypatch.setenv("EPITHERMAL_SHARED", str(shared))
    site_file = read_site(ROOT / "tests" / "field" / f"{name}.toml")
    days, _ = sampling_days(site_file, read_campaigns(site_file), raw_records(site_file).records)
    by_n0 = dataclasses.replace(site_file.site, response="desilets", cosmic_n_cph=1.0)
    for day in days:
        count, theta = np.array([day.counts.n_cph]), day.sampled.theta
        n0_cph = float((count / response_rate(np.array([theta]), by_n0))[0])
        known = dataclasses.replace(by_n0, response="cosmic", cosmic_n_cph=n0_cph)
        converted = converted_site(known, "desilets", theta, 0.02)
        own = response_theta(count, dataclasses.replace(by_n0, cosmic_n_cph=n0_cph))
        assert float(response_theta(count, converted)[0] - own[0]) == pytest.approx(0.0, abs=0.005)
        assert float(converted.cosmic_n_sigma) >= 0.03


@pytest.fixture
def folder(tmp_path) -> Path:
    """A site with probes and counts, and no samples."""
    text = made_up_site(probe("probes.csv", "day", "probe"))
    (tmp_path / "site.toml").write_text(text, "utf-8")
    write_counts(tmp_path / "site.toml", np.full(DAYS, THETA), FIRST_S, N_CPH)
    first = datetime.date(2024, 4, 1)
    rows = [f"{first + datetime.timedelta(d)} 12:00,0.25" for d in range(DAYS)]
    (tmp_path / "probes.csv").write_text("\n".join(["day,probe", *rows]) + "\n", "utf-8")
    return tmp_path


def n0_of(path: Path) -> float:
    """N0 of Desilets that has the rate of the simulated detector at its water content."""
    site = dataclasses.replace(read_site(path).site, cosmic_n_cph=N_CPH)
    rate = response_rate(np.array([THETA]), site)
    unit = dataclasses.replace(site, response="desilets", cosmic_n_cph=1.0)
    return float((rate / response_rate(np.array([THETA]), unit))[0])


def test_a_site_without_samples_is_evaluated_with_the_n0_of_a_paper(folder):
    path = folder / "site.toml"
    with pytest.raises(ConfigError, match=r"no \[sampling\]"):
        load(read_site(path))
    scale = f"cosmic_n_cph = {n0_of(path)}\nscale_of = 'desilets'\nscale_theta = {THETA}\n"
    path.write_text(path.read_text("utf-8").replace("[soil]", scale + "[soil]"), "utf-8")
    site_file = read_site(path)
    assert site_file.n_cph == pytest.approx(N_CPH, rel=1e-6) and site_file.n_sigma > 0.03
    series = load(site_file)
    np.testing.assert_allclose(series.theta_classical[1:], THETA, atol=1e-3)
    report, page = field.run(BUNDLE, [path], folder / "out", Options(workers=1, progress=False))
    assert all(x.n_cph == series.cosmic_n_cph for x in report.places[0].network_inputs)
    assert "counts per hour as in site.toml" in page.read_text("utf-8")


def test_half_a_known_scale_of_a_site_file_is_refused(folder):
    path = folder / "site.toml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("[soil]", "scale_of = 'desilets'\nscale_theta = 0.2\n[soil]"))
    with pytest.raises(ConfigError, match=r"site\.cosmic_n_cph: missing; the scale of scale_of"):
        read_site(path)
