"""Retraining generalizes to later days or is declined; nothing but the head changes in a bundle."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from tests.support.bundles import list_again
from tests.support.counts import write_counts
from tests.support.sites import THETA_SAMPLING, made_up_site, probe

from epithermal_edge.inference.bundle import open_bundle
from epithermal_host.bundles.streams import estimate_series
from epithermal_host.cli.main import main
from epithermal_host.compute.crew import crew
from epithermal_host.evaluation.methods import input_sets
from epithermal_host.field.series import FieldSeries, load
from epithermal_host.field.site_toml import read_site
from epithermal_host.reports import field_retrained, field_store
from epithermal_host.reports.field import judge_sites
from epithermal_host.reports.field_calibrated import NetworkInputs
from epithermal_host.reports.field_judge import estimate_site
from epithermal_host.reports.field_result import Calibrated, Fitted, Options
from epithermal_host.reports.field_retrained import fit_sites
from epithermal_host.retraining import head_fit
from epithermal_host.retraining.head_fit import SiteDays, check_days, decide, fit_change
from epithermal_host.retraining.rehearsal import Moments, Rehearsal
from epithermal_host.retraining.site_days import Samples, check_probes, fit_level, stream_network
from epithermal_host.training.series import counts_alone

BUNDLE = Path(__file__).resolve().parents[3] / "tests" / "golden" / "bucket-0.1.0"
FIRST = datetime.datetime(2024, 4, 1, tzinfo=datetime.UTC)
DAYS, N_CPH = 150, 3000.0
SITE = made_up_site(
    THETA_SAMPLING,
    'day = "2024-04-04"\n',
    probe("probes.csv", "noon", "probe"),
    site="season_begins = 4\nseason_ends = 8",
)
UNITS = 6


def days_of(residual: np.ndarray, h: np.ndarray, years: int = 1) -> SiteDays:
    """The same days for each year, April to September."""
    n = residual.size // years
    return SiteDays(
        h=h[None],
        residual=residual[None],
        year=np.repeat(2020 + np.arange(years), n),
        month=np.tile(4 + np.arange(n) * 6 // n, years),
    )


def population(rng: np.random.Generator, error: float = 0.02) -> tuple[Rehearsal, np.ndarray]:
    """A population whose states are of unit size, and its states."""
    h, e = rng.standard_normal((4000, UNITS)), error * rng.standard_normal(4000)
    moments = Moments(h.mean(0), h.T @ h / 4000, float(e.mean()), float(e @ e / 4000),
                      e @ h / 4000, 10, 4000)  # fmt: skip
    return Rehearsal(moments, moments, "hash", "made-up"), h


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def slow(rng: np.random.Generator, n: int) -> np.ndarray:
    """States with a memory of some days."""
    h = np.zeros((n, UNITS))
    for i in range(1, n):
        h[i] = 0.8 * h[i - 1] + rng.standard_normal(UNITS)
    return h


def test_moments_reproduce_the_error_over_the_soils(rng):
    rehearsal, h = population(rng, error=0.0)
    w = 0.01 * rng.standard_normal(UNITS)
    assert rehearsal.judge.rmse(w, 0.005) == pytest.approx(np.sqrt(np.mean((h @ w + 0.005) ** 2)))
    spread = (h - 0.3).T @ (h - 0.3) / len(h)
    np.testing.assert_allclose(rehearsal.judge.spread(np.full(UNITS, 0.3)), spread, atol=1e-12)


def test_variations_of_the_probes_are_learnt_and_their_level_is_not(rng):
    h, w = slow(rng, 400), np.zeros(UNITS)
    w[0] = 0.004
    days = days_of(h @ w + 0.1, h, years=2)  # 0.1: the probes stand in a wetter corner
    done = decide(days, population(rng)[0])
    assert done.w is not None and not done.reasons
    assert done.w[0] == pytest.approx(0.004, rel=0.9) and done.w[0] > 0.0
    moved = h @ done.w + done.b
    assert abs(moved.mean()) < 1e-12
    chosen = next(t for t in done.trials if t.strength == done.strength)
    assert chosen.ubrmse < 0.9 * done.released.ubrmse and chosen.rise < head_fit.RISE_MAX


def test_the_figures_are_the_deviation_of_the_residuals_from_their_yearly_means(rng):
    residual = 0.02 * rng.standard_normal(200)
    done = decide(days_of(residual + 0.1, slow(rng, 200)), population(rng)[0])
    quarters = [part.std() for part in np.array_split(residual, head_fit.PARTS)]
    assert done.released.blocks == pytest.approx(quarters)
    assert done.released.ubrmse == pytest.approx(np.sqrt(np.mean(np.square(quarters))))


def test_noise_is_declined_with_the_figures(rng):
    done = decide(days_of(0.02 * rng.standard_normal(200), slow(rng, 200)), population(rng)[0])
    assert done.w is None and len(done.reasons) == len(head_fit.STRENGTHS)
    assert "released 0.0" in done.reasons[0]
    assert done.released.strength == 0.0 and done.released.rise == 1.0


def test_a_change_that_raises_the_error_over_the_population_is_declined(rng):
    h, w = slow(rng, 400), np.full(UNITS, 0.02)
    done = decide(days_of(h @ w, h, years=2), population(rng, error=0.001)[0])
    assert done.w is None
    assert all("population rises" in r or "gained" in r for r in done.reasons)
    assert any("population rises" in r for r in done.reasons)


def test_a_change_that_spoils_the_last_season_is_declined_though_the_others_gain():
    rng = np.random.default_rng(0)
    h, w = slow(rng, 400), np.zeros(UNITS)
    w[0] = 0.004
    residual = h @ w
    residual[300:] = 1.4 * residual.std() * rng.standard_normal(100)
    done = decide(days_of(residual, h, years=4), population(rng)[0])
    assert done.w is None and len(done.reasons) == 1
    assert done.reasons[0].startswith("worse in the last part of the time")


def test_each_state_stays_with_its_residual_in_seasons_of_unequal_length(rng):
    n, w = 300, np.array([0.004, -0.003, 0.0, 0.002, 0.0, 0.001])
    h = rng.standard_normal((2, n, UNITS))  # of two sets of inputs
    year = np.where(np.arange(n) < 110, 2020, 2021)
    days = SiteDays(h, h @ w + 0.01 * (year - 2020), year, np.full(n, 6))
    found, _ = fit_change(days, np.arange(n), population(rng)[0], 1e-9)
    np.testing.assert_allclose(found, w, atol=1e-6)


@pytest.mark.parametrize(("times", "strength"), [(1.04, 30.0), (1.06, 10.0)])
def test_a_smaller_change_is_selected_up_to_5_percent_above_the_best_error(
    rng, monkeypatch, times, strength
):
    errors = {30.0: times, 10.0: 1.0, 3.0: 1.2, None: 2.0}
    monkeypatch.setattr(
        head_fit,
        "_cross_validate",
        lambda days, rehearsal, k: head_fit.Trial(k or 0.0, errors[k], (errors[k],), 1.0),
    )
    h, w = slow(rng, 400), np.zeros(UNITS)
    w[0] = 0.004
    assert decide(days_of(h @ w, h, years=2), population(rng)[0]).strength == strength


def test_a_greater_strength_changes_less(rng):
    h = slow(rng, 300)
    days, rehearsal = days_of(0.01 * h[:, 0], h), population(rng)[0]
    rows = np.arange(300)
    sizes = [np.linalg.norm(fit_change(days, rows, rehearsal, k)[0]) for k in (30.0, 3.0, 0.3)]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize(("n", "faults"), [(89, 1), (90, 0)])
def test_ninety_days_suffice_and_one_fewer_does_not(rng, n, faults):
    found = check_days(days_of(np.zeros(n), slow(rng, n)), (4, 9))
    assert len(found) == faults and all(f"{n} days" in fault for fault in found)


def test_too_few_days_and_missing_months_are_reported(rng):
    few = days_of(np.zeros(40), slow(rng, 40))
    faults = check_days(few, (4, 11))
    assert "40 days" in faults[0] and "10, 11" in faults[1]
    assert check_days(days_of(np.zeros(180), slow(rng, 180)), (4, 9)) == []


def test_the_seasons_are_the_blocks_where_there_are_several(rng):
    days = days_of(np.zeros(400), slow(rng, 400), years=2)
    assert [b.size for b in days.blocks()] == [200, 200]
    assert [r.size for r in days.split_last()] == [200, 200]
    assert [b.size for b in days_of(np.zeros(200), slow(rng, 200)).blocks()] == [50] * 4


def theta_of(day: np.ndarray) -> np.ndarray:
    return 0.25 + 0.06 * np.sin(2.0 * np.pi * day / 25.0)


@pytest.fixture(scope="module")
def site_toml(tmp_path_factory) -> Path:
    """150 days of counts; probes equal to the network's estimate plus a part of its state."""
    folder = tmp_path_factory.mktemp("site")
    path = folder / "site.toml"
    path.write_text(SITE, "utf-8")
    theta = theta_of(np.arange(DAYS))
    write_counts(path, theta, FIRST.timestamp(), N_CPH)
    (folder / "samples.csv").write_text(f"day,theta\n2024-04-04,{theta[3]:.6f}\n", "utf-8")
    write_probes(folder, theta)
    series = load(read_site(path))
    with crew(1) as who:
        released = stream_network(open_bundle(BUNDLE), series, who)
    h = released.h[0] - released.h[0].mean(axis=0)
    lead = np.linalg.svd(h, full_matrices=False)[2][0]
    write_probes(folder, released.theta[0] + 0.02 * (h @ lead) / (h @ lead).std())
    return path


@pytest.fixture(scope="module")
def series(site_toml) -> FieldSeries:
    return load(read_site(site_toml))


def write_probes(folder: Path, theta: np.ndarray) -> None:
    rows = ["noon,probe"]
    for i, value in enumerate(theta):
        rows.append(f"{(FIRST + datetime.timedelta(days=i)).date()} 12:00,{value:.6f}")
    (folder / "probes.csv").write_text("\n".join(rows) + "\n", "utf-8")


def command(site_toml: Path, run: Path, out: Path, *more: str) -> list[str]:
    return ["retrain", str(site_toml), "--from", str(BUNDLE), "--campaign", str(run), "--out",
            str(out), "--workers", "1", "--runtime", "litert", *more]  # fmt: skip


@pytest.fixture(scope="module")
def retrained(site_toml, finished_run, tmp_path_factory) -> Path:
    """The folder of a retraining that the data support."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:  # the population has nothing of this site
        patch.setattr(head_fit, "RISE_MAX", 10.0)
        patch.setattr(head_fit, "STRENGTHS", (0.1, 0.01))
        assert main(command(site_toml, finished_run, out, "--believe-probes")) == 0
    return out


def test_the_bundle_reproduces_the_fit_and_records_its_provenance(retrained, series):
    parent, child = open_bundle(BUNDLE), open_bundle(retrained / "bucket-made-up-0.1.0")
    table = tomllib.loads((child.path / "bundle.toml").read_text("utf-8"))
    record = table["provenance"]["retrained"]
    assert record["parent"]["sha256"] == parent.sha256 and record["site"] == "made-up"
    assert len(record["data_hash"]) == 64 and record["rehearsal"]["rmse_retrained"] > 0.0
    fitted = next(x for x in record["lines"] if x["when"] == "days fitted on")
    with crew(1) as who:
        features = counts_alone(series.features[None].astype(np.float32))
        theta = estimate_series(child, features, who, restart=series.restart[None]).y[0, :, 0]
    error = (theta - series.truth)[np.isfinite(series.truth)]
    assert error.std() == pytest.approx(fitted["ubrmse_retrained"], abs=2e-4)
    assert fitted["ubrmse_retrained"] < 0.9 * fitted["ubrmse_released"]


def test_only_the_head_of_the_model_file_changes(retrained):
    from epithermal_host.bundles.tflite_head import read_head, replace_head

    parent = (BUNDLE / "model.tflite").read_bytes()
    child = (retrained / "bucket-made-up-0.1.0" / "model.tflite").read_bytes()
    assert child != parent and replace_head(child, read_head(parent)) == parent
    changed = sum(a != b for a, b in zip(child, parent, strict=True))
    assert changed <= 2 * (3 * 32 + 3)  # three units of V and v, in 16 bits


def test_unchecked_probes_or_missing_months_decline_with_status_1(
    site_toml, finished_run, tmp_path, capsys
):
    short = command(site_toml, finished_run, tmp_path, "--until", "2024-06-15")
    assert main(short) == 1
    out = capsys.readouterr().out
    assert "Declined" in out and "7, 8" in out
    report = json.loads((tmp_path / "retrain.json").read_text("utf-8"))
    assert report["declined"] and report["reasons"]
    assert (tmp_path / "retrain.png").stat().st_size > 10_000
    assert not list(tmp_path.glob("bucket-*"))


def test_an_invalid_date_is_one_clear_line(site_toml, finished_run, tmp_path, capsys):
    assert main(command(site_toml, finished_run, tmp_path, "--until", "summer")) == 2
    assert "--until summer: not a date" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("trio-0.1.0", "an ensemble of 3 networks cannot be retrained"),
        ("headless-0.1.0", r"its network \(gru\) .*has no linear head over its state"),
    ],
)
def test_a_network_without_a_linear_head_is_rejected_before_anything_is_simulated(
    site_toml, tmp_path, capsys, name, why
):
    headless = tmp_path / "headless-0.1.0"
    shutil.copytree(BUNDLE.parent / "gru-0.1.0", headless)
    text = (headless / "bundle.toml").read_text("utf-8")
    (headless / "bundle.toml").write_text(text.replace('head_input = "h"\n', ""), "utf-8")
    list_again(headless)
    parent = headless if name.startswith("headless") else BUNDLE.parent / name
    out = tmp_path / "out"
    assert main(["retrain", str(site_toml), "--from", str(parent), "--out", str(out)]) == 3
    assert re.search(why, capsys.readouterr().err)
    assert not out.exists()


def test_probes_that_differ_from_the_samples_do_not_represent_the_field(series):
    day = series.day_end_s[[3]]
    near = Samples(day, series.truth[[3]] + 0.02, np.array([0.015]))
    far = dataclasses.replace(near, theta=series.truth[[3]] + 0.1)
    assert check_probes(series, near) == ""
    assert "by -0.100 m3/m3" in check_probes(series, far)
    none = Samples(day + 7.0, near.theta, near.sigma)
    assert "unknown" in check_probes(series, none)


def test_a_level_needs_three_sampling_days_and_a_gain_on_days_left_out(series):
    with crew(1) as who:
        released = stream_network(open_bundle(BUNDLE), series, who)
    rows = np.array([20, 60, 100, 140])
    wetter = Samples(series.day_end_s[rows], released.theta[0, rows] + 0.04, np.full(4, 0.01))
    level = fit_level(series, released, wetter, np.inf)
    assert level.b == pytest.approx(0.04) and level.reason == ""
    assert "2 sampling days" in fit_level(series, released, wetter, series.day_end_s[70]).reason
    signs = np.array([1, -1, 1, -1])
    scattered = dataclasses.replace(wetter, theta=released.theta[0, rows] + 0.03 * signs)
    assert "gained" in fit_level(series, released, scattered, np.inf).reason


@pytest.fixture(scope="module")
def two_sites(site_toml, series) -> list[Calibrated]:
    """The site, and a twin of it with another name."""
    sets = input_sets(series.features[None].astype(np.float32), np.array([True]))
    inputs = tuple(NetworkInputs(x, series.cosmic_n_cph) for x in sets)
    here = Calibrated(read_site(site_toml), series, inputs)
    return [here, dataclasses.replace(here, series=dataclasses.replace(series, name="twin"))]


def test_the_field_report_evaluates_a_retraining_on_later_days_only(two_sites, finished_run):
    with crew(1) as who:
        bundle = open_bundle(BUNDLE)
        estimated = [estimate_site(bundle, site, who, None) for site in two_sites]
        report = judge_sites(bundle, estimated, who, Options(finished_run))
    assert report.places[0].site_file.name == "made-up"
    seasons = report.places[0].lines[0].seasons
    assert set(seasons) == {"March to May", "June to August"}
    assert sum(s.days for s in seasons.values()) == report.places[0].lines[0].probes.days


def test_retraining_of_the_field_report_is_stored_site_by_site(
    two_sites, finished_run, tmp_path, monkeypatch
):
    def fit() -> list[Fitted]:
        with crew(1) as who:
            return fit_sites(open_bundle(BUNDLE), two_sites, who, finished_run, None, tmp_path)

    first = fit()
    assert first[0].estimates
    monkeypatch.delattr(field_retrained, "rehearse")  # it must not be needed
    for own, stored in zip(first, fit(), strict=True):
        assert repr(own.own) == repr(stored.own)
        for x, y in zip(own.estimates, stored.estimates, strict=True):
            assert (x.method, x.inputs) == (y.method, y.inputs)
            np.testing.assert_array_equal(x.theta, y.theta)
            np.testing.assert_array_equal(x.sigma, y.sigma)
    field_store.path_of(tmp_path, "twin", ".retrained.json").unlink()
    with pytest.raises(NameError):
        fit()
