"""A bundle at a real site: calibrated on one sampling day, evaluated against the probes."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.support import browser
from tests.support.counts import write_counts
from tests.support.sites import THETA_SAMPLING, made_up_site, probe, rain

from epithermal_edge.inference.bundle import open_bundle
from epithermal_host.bundles.streams import estimate_series
from epithermal_host.cli.main import main
from epithermal_host.compute.crew import crew
from epithermal_host.evaluation.methods import (
    COSMIC,
    COUNTS,
    NETWORK,
    USUAL_FILTERED,
    WITH_WEATHER,
    filtered,
)
from epithermal_host.reports import field, field_html, field_judge
from epithermal_host.reports.field_result import LaterLine, Options, OwnRetraining
from epithermal_host.studies import population_check

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "tests" / "golden" / "bucket-0.1.0"
FIRST = datetime.datetime(2024, 4, 1, tzinfo=datetime.UTC)
DAYS, N_CPH, SAMPLED = 130, 3000.0, 3
QUIET = Options(workers=1, progress=False)
DARK = range(90, 103)  # days without counts: more than a state outlives
FILTERS = tuple(filtered(COSMIC, t_d) for t_d in (1.0, 2.0, 5.0, 10.0, 20.0))
WETTER = 0.05  # of the probes against the field
SITE = made_up_site(
    rain("days.csv", "rain"),
    THETA_SAMPLING,
    probe("days.csv", "noon", "probe"),
    soil='texture = "silt_loam"',
)


def theta_of(day: np.ndarray) -> np.ndarray:
    return 0.25 + 0.06 * np.sin(2.0 * np.pi * day / 60.0)


@pytest.fixture(scope="module")
def site_toml(tmp_path_factory) -> Path:
    """130 days over a soil whose water is the same in every depth; probes in a wetter corner."""
    folder = tmp_path_factory.mktemp("site")
    path = folder / "site.toml"
    path.write_text(SITE, "utf-8")
    theta = theta_of(np.arange(DAYS))
    write_counts(path, theta, FIRST.timestamp(), N_CPH, DARK)
    rows = ["day,noon,rain,probe"]
    for i in range(DAYS):
        day = (FIRST + datetime.timedelta(days=i)).date()
        rows.append(f"{day},{day} 12:00,{5 * (i % 7 == 0)},{theta[i] + WETTER:.6f}")
    (folder / "days.csv").write_text("\n".join(rows) + "\n", "utf-8")
    day = (FIRST + datetime.timedelta(days=SAMPLED)).date()
    (folder / "samples.csv").write_text(f"day,theta\n{day},{theta[SAMPLED]:.6f}\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def judged(site_toml, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return field.run(BUNDLE, [site_toml], out, QUIET)


def test_all_methods_are_evaluated_on_the_same_days_with_counts_and_probes(judged):
    place = judged[0].places[0]
    assert [(x.method, x.inputs) for x in place.lines] == [
        (COSMIC, ""), *((name, "") for name in FILTERS), (NETWORK, COUNTS), (NETWORK, WITH_WEATHER),
    ]  # fmt: skip
    assert {x.probes.days for x in place.lines} == {DAYS - len(DARK)}
    spin_up = open_bundle(BUNDLE).spin_up_steps
    assert {x.settled.days for x in place.lines} == {DARK.start - spin_up}


def test_a_homogeneous_soil_is_inverted_and_anchoring_removes_the_offset_of_the_probes(judged):
    place = judged[0].places[0]
    line = place.lines[0]
    assert place.anchor == pytest.approx(-WETTER, abs=1e-5)
    assert line.probes.bias == pytest.approx(-WETTER, abs=1e-3)
    assert line.probes.ubrmse < 1e-3 < line.probes.rmse  # counts were rounded
    assert line.anchored.rmse < 1.5e-3
    assert line.probes.r > 0.999
    medians = judged[0].medians[0]
    assert (medians.ubrmse, medians.rmse_anchored) == (line.probes.ubrmse, line.anchored.rmse)


def test_after_a_long_outage_the_state_is_that_of_a_cold_start(judged):
    place = judged[0].places[0]
    series = place.series
    network = next(e for e in place.estimates if e.inputs == WITH_WEATHER)
    shown = next(x.inputs.features for x in place.network_inputs if x.inputs.label == WITH_WEATHER)
    back = int(np.flatnonzero(series.restart)[-1])
    assert back > DARK.start + 9
    with crew(1) as who:
        fresh = estimate_series(open_bundle(BUNDLE), shown[:, back:], who).y[0]
        through = np.zeros((1, series.restart.size), dtype=bool)
        whole = estimate_series(open_bundle(BUNDLE), shown, who, restart=through).y[0]
    np.testing.assert_array_equal(network.theta[back:], fresh[:, 0])
    assert not np.array_equal(whole[back:, 0], fresh[:, 0])


def test_with_its_own_n_the_network_reproduces_the_samples_on_the_sampling_day(judged):
    place = judged[0].places[0]
    sampled = place.series.day_end_s == place.series.sampling_end_s
    estimates = {
        e.inputs: float(e.theta[sampled][0]) for e in place.estimates if e.sigma is not None
    }
    by_label = {x.inputs.label: x.n_cph for x in place.network_inputs}
    assert by_label.keys() == estimates.keys() == {COUNTS, WITH_WEATHER}
    for inputs, n_cph in by_label.items():
        if n_cph != place.series.cosmic_n_cph:  # otherwise the network has none
            assert estimates[inputs] == pytest.approx(place.series.sampled_theta, abs=0.002)
    assert any(n_cph != place.series.cosmic_n_cph for n_cph in by_label.values())


def test_within_years_each_year_has_its_own_bias():
    day_end_s = 86400.0 * np.arange(19000.0, 19000.0 + 730.0)
    year = day_end_s.astype("datetime64[s]").astype("datetime64[Y]").astype(int)
    wave = 0.01 * np.resize([1.0, -1.0], 730)
    judged = np.ones(730, dtype=bool)
    error = wave + 0.05 * (year == year[-1])
    assert field_judge.rms_within_years(error, judged, day_end_s + 43200.0) == pytest.approx(
        0.01, rel=0.01
    )


def test_without_rain_there_are_counts_alone(site_toml, tmp_path):
    text = site_toml.read_text("utf-8")
    dry = site_toml.with_name("dry.toml")
    dry.write_text(text[: text.index("[rain]")] + text[text.index("[sampling]") :], "utf-8")
    done, _ = field.run(BUNDLE, [dry], tmp_path, QUIET)
    assert [e.inputs for e in done.places[0].estimates] == [*[""] * 6, COUNTS]


def test_the_page_is_one_file_and_states_that_nothing_was_fitted(judged):
    _, page = judged
    text = page.read_text("utf-8")
    assert "Nothing was fitted on these sites" in text and "silt loam" in text
    assert not re.search(r"https?://|<script|<link|@import|url\(", text)
    data = json.loads((page.parent / field.DATA).read_text())
    assert data["sites"][0]["lines"][0]["probes"]["days"] == DAYS - len(DARK)
    assert (page.parent / "made-up.png").stat().st_size > 10_000


def test_table_page_and_data_state_the_share_of_hours_corrected(judged):
    done, page = judged
    line = "hours corrected for pressure 100 %, humidity 100 %"
    assert line in field.table(done)
    assert "<h2>Corrections</h2>" in page.read_text("utf-8")
    (site,) = json.loads((page.parent / field.DATA).read_text())["sites"]
    assert site["corrected_share"] == {"pressure": 1.0, "humidity": 1.0, "intensity": None}


def test_a_site_without_a_monitor_is_evaluated_with_a_warning(judged):
    done, page = judged
    warning = "no hour is corrected for intensity"
    assert warning in field.table(done) and warning in page.read_text("utf-8")
    (site,) = json.loads((page.parent / field.DATA).read_text())["sites"]
    assert any(warning in note for note in site["notes"])


def test_grade_parts_of_the_error_and_differences_are_in_table_page_and_data(judged):
    done, page = judged
    place, text = done.places[0], page.read_text("utf-8")
    assert place.truth.grade == "B" and place.truth.profiles == 1
    assert "truth of grade B (one profile, +0.050 m3/m3 from the samples)" in field.table(done)
    assert "truth of grade B, one profile" in text
    assert all(f"<h2>{name}</h2>" in text for name in ("Differences", "Parts of the error"))
    assert "usual 5 d" not in text
    best = min(place.lines[1:6], key=lambda x: x.probes.ubrmse)
    assert place.best_filter == best.method == FILTERS[0]  # the soil is the same in every depth
    assert [(d.inputs, d.against) for d in place.differences] == [
        (inputs, name) for inputs in (COUNTS, WITH_WEATHER) for name in (FILTERS[0], COSMIC)
    ]
    by_inputs = {x.inputs: x for x in place.lines[6:]}
    for d in place.differences:
        other = next(x for x in place.lines if x.method == d.against)
        own = by_inputs[d.inputs].probes.ubrmse
        assert d.ubrmse.value == pytest.approx(own - other.probes.ubrmse)
        assert d.ratio == pytest.approx(own / other.probes.ubrmse)
        assert d.ubrmse.low < d.ubrmse.value < d.ubrmse.high
    (verdict, _) = done.verdicts
    assert (verdict.grade, verdict.inputs, verdict.sites) == ("B", COUNTS, 1)
    assert verdict.worst == verdict.ratio == place.differences[0].ratio
    data = json.loads((page.parent / field.DATA).read_text())
    assert data["verdicts"][0]["grade"] == data["sites"][0]["truth"]["grade"] == "B"
    line = data["sites"][0]["lines"][0]
    assert set(line["split"]) == {"offset", "slow", "fast"}
    assert line["slope_free"]["rmse"] <= line["probes"]["ubrmse"]


def test_days_beyond_the_pore_space_do_not_enter_the_filters(judged):
    place = judged[0].places[0]
    series, pore_space = place.series, 1.0 - 1.3 / 2.65
    wet = dataclasses.replace(series, theta_classical=series.theta_classical.copy())
    wet.theta_classical[40:43] = pore_space + 0.2
    dry = dataclasses.replace(series, theta_classical=series.theta_classical.copy())
    dry.theta_classical[40:43] = np.nan
    shown, expected = (field_judge.filter_at_site(place.site_file, x, 10.0) for x in (wet, dry))
    np.testing.assert_array_equal(shown, expected)
    assert shown[41] < 0.32


def test_a_site_calibrated_on_its_probes_is_evaluated_with_a_warning(site_toml, tmp_path):
    text = site_toml.read_text("utf-8")
    day = (FIRST + datetime.timedelta(days=SAMPLED)).date()
    probes = site_toml.with_name("probes.toml")
    own = f'\n[sampling]\nkind = "probes"\nday = "{day}"\n'
    probes.write_text(text.replace(THETA_SAMPLING, own), "utf-8")
    done, page = field.run(BUNDLE, [probes], tmp_path, QUIET)
    place = done.places[0]
    assert place.anchor == pytest.approx(0.0, abs=1e-9) and place.samples.theta.size == 0
    assert place.lines[0].probes.r > 0.999
    warning = "N is calibrated on the probes"
    assert warning in field.table(done) and warning in page.read_text("utf-8")


def test_the_page_escapes_every_name_that_a_file_brings(judged):
    done, place, evil = judged[0], judged[0].places[0], "<i>\"&'</i>"
    line = LaterLine(evil, evil, place.lines[0].probes)
    own = OwnRetraining(evil, evil, evil, evil, (evil,), evil, (line,))
    named = dataclasses.replace(
        place,
        series=dataclasses.replace(place.series, name=evil),
        lines=tuple(dataclasses.replace(x, method=evil, inputs=evil) for x in place.lines),
    )
    report = dataclasses.replace(done, campaign=evil, own=(own,), places=(named,), runtime=evil)
    text = field_html.page(report, {f"{evil}.png": b""})
    assert "<i>" not in text and text.count("&lt;i&gt;") > 12


@pytest.mark.skipif(browser.find() is None, reason="no Chromium here")
def test_a_browser_shows_the_picture_of_each_site_and_of_the_differences(judged, tmp_path):
    assert browser.verdict(judged[1], tmp_path) == (2, 2, 0, 0)


def test_the_command_prints_the_table_and_refuses_a_run_beside_sites(site_toml, tmp_path, capsys):
    command = ["evaluate", str(BUNDLE), "--field", str(site_toml), "--workers", "1"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "made-up" in out and "median" in out and "field.html" in out
    assert main(["evaluate", str(BUNDLE), "run", "--field", str(site_toml)]) == 2
    assert "name BUNDLE alone" in capsys.readouterr().err


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """Four soils over two years, and their data set."""
    folder = tmp_path_factory.mktemp("population")
    (folder / "run.toml").write_text("[campaign]\nseed = 4\nsoils = 4\nyears = 2\n", "utf-8")
    simulate = ["simulate", str(folder / "run.toml"), "--out", str(folder / "a"), "--workers", "1"]
    assert main(simulate) == 0
    assert main(["dataset", str(folder / "a"), "--workers", "1"]) == 0
    return folder / "a"


def test_the_population_is_compared_with_a_site_and_the_exit_status_is_its_verdict(
    site_toml, run_folder, capsys
):
    command = ["evaluate", "population", str(run_folder)]
    status = main([*command, str(site_toml)])
    out = capsys.readouterr().out
    report = json.loads((run_folder / population_check.REPORT).read_text())
    assert [check["name"] for check in report["checks"]] == [
        "autocorrelation 10 d, inverted counts", "spread, inverted counts",
        "autocorrelation 10 d, theta 0-30 cm", "spread, theta 0-30 cm",
    ]  # fmt: skip
    assert status == (0 if all(check["ok"] for check in report["checks"]) else 1)
    assert "made-up" in out and "1 real, median" in out and population_check.PICTURE in out
    assert report["real"]["theta"][0]["name"] == "made-up"
    assert (run_folder / population_check.PICTURE).read_bytes().startswith(b"\x89PNG")
    main(command)
    checks = json.loads((run_folder / population_check.REPORT).read_text())["checks"]
    assert [check["name"][:15] for check in checks] == ["autocorrelation"] * 2


@pytest.mark.parametrize("enough", [True, False])
def test_a_population_that_misses_a_check_ends_with_1(run_folder, capsys, monkeypatch, enough):
    least = -1.0 if enough else 2.0
    monkeypatch.setattr(
        population_check, "MIN_AUTOCORRELATION", dict.fromkeys(population_check.QUANTITIES, least)
    )
    assert main(["evaluate", "population", str(run_folder)]) == (0 if enough else 1)
    assert ("NOT MET" in capsys.readouterr().out) == (not enough)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["population"], "population takes RUN"),
        (["population", "a", "--all"], "and no option"),
        (["population", "a", "--field", "b"], "and no option"),
        (["a", "b", "c"], "evaluate takes RUN, or BUNDLE RUN"),
        (["a", "--out", "b"], "name BUNDLE before RUN"),
        (["--all", "a"], "name BUNDLE before RUN"),
        (["population", "none"], "none"),
        (["--all", "none", "run"], "none"),
        (["a", "--campaign", "b"], "--campaign requires --field"),
    ],
)
def test_incompatible_arguments_of_evaluate_are_one_clear_line(words, message, capsys):
    assert main(["evaluate", *words]) in (2, 3)
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and len(error.splitlines()) == 1


def test_the_faults_of_all_site_files_are_reported_at_once(site_toml, tmp_path, capsys):
    odd = tmp_path / "odd.toml"
    odd.write_text(SITE.replace("1.3", "13"), "utf-8")
    twin = tmp_path / "none.toml"
    assert main(["evaluate", str(BUNDLE), "--field", str(odd), str(twin)]) == 2
    error = capsys.readouterr().err
    assert "bulk_density_g_cm3" in error and "none.toml" in error


@pytest.mark.shared
def test_inversion_and_filter_at_a_forest_of_roaring_fork(shared, monkeypatch, tmp_path):
    monkeypatch.setenv("EPITHERMAL_SHARED", str(shared))
    site = ROOT / "tests/field/roaring-fork-f3.toml"
    done, _ = field.run(BUNDLE, [site], tmp_path, QUIET)
    place = done.places[0]
    inversion = place.lines[0]
    usual = next(x for x in place.lines if x.method == USUAL_FILTERED)
    # an independent computation with Desilets' function: r 0.880 bare, 0.968 filtered
    assert inversion.probes.r == pytest.approx(0.88, abs=0.05)
    assert usual.probes.r == pytest.approx(0.968, abs=0.01)
    assert usual.probes.ubrmse < 0.7 * inversion.probes.ubrmse
    assert done.places[0].rain_share > 0.9
    assert place.truth.grade == "C" and "-0.153 m3/m3 from the samples" in place.truth.reason
    assert place.best_filter in FILTERS
    parts = usual.split
    total = np.sqrt(parts.offset**2 + parts.slow**2 + parts.fast**2)
    assert total == pytest.approx(usual.probes.ubrmse, rel=0.1)
    assert usual.slope_free.rmse == pytest.approx(
        float(np.nanstd(place.series.truth[field_judge.days_with_probes(place.series)]))
        * np.sqrt(1.0 - usual.probes.r**2)
    )
    against = {d.against: d for d in place.differences if d.inputs == COUNTS}
    assert set(against) == {COSMIC, place.best_filter}
    assert all(d.ubrmse.low < d.ubrmse.value < d.ubrmse.high for d in against.values())
    networks = [x for x in done.places[0].lines if x.method == NETWORK]
    assert len(networks) == 3 and all(0.0 < x.probes.ubrmse < 0.2 for x in networks)
