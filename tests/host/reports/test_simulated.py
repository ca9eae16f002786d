"""A bundle is evaluated on unseen soils; the page is self-contained."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support import browser

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference import estimator
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.physics.desilets import desilets_rate
from epithermal_edge.physics.uts import uts_rate
from epithermal_edge.site import Site
from epithermal_host.bundles import streams
from epithermal_host.compute.crew import crew
from epithermal_host.config.run_toml import read_run
from epithermal_host.evaluation import baselines, groups, layers, particle_filter, unseen
from epithermal_host.evaluation.methods import (
    BEST_FILTERED,
    COSMIC,
    COUNTS,
    COVER_UNKNOWN,
    DESILETS,
    MIXED,
    NETWORK,
    UTS,
    WITH_SOIL,
    WITH_WEATHER,
    best_filtered,
)
from epithermal_host.evaluation.result import Options
from epithermal_host.reports import simulated, simulated_html, simulated_text
from epithermal_host.simulation import campaign
from epithermal_host.training import dataset
from epithermal_host.training.series import LAYERS, NAMES, TEST, read_series

QUICK = Options(workers=1, progress=False)
RUN = """
[campaign]
seed = {seed}
soils = 12
years = 2
[population]
nodes = 21
[dataset]
validation_share = 0.2
test_share = 0.3
[train]
hidden = 8
epochs = 2
spin_up_steps = 30
"""
RELEASE = """
import sys
from pathlib import Path
from epithermal_host.evaluation import evaluate
from epithermal_host.training import quantize
from epithermal_host.bundles import release
from epithermal_host.training import train
from epithermal_host.config.run_toml import read_run
run = Path(sys.argv[1])
train.run(run, read_run(run).train, progress=False)
quantize.run(run, quantize.QuantizeConfig(soils=2), progress=False)
evaluate.run(run, progress=False)
release.run(run, run / "models", name="tiny", version="0.1.0", force=True)
"""


def campaign_of(folder, seed, more=""):
    path = folder / "asked.toml"
    path.write_text(RUN.format(seed=seed).replace("[dataset]", f"{more}[dataset]"))
    run = folder / "run"
    campaign.run(read_run(path), run, workers=1, progress=False)
    dataset.run(run, workers=1, progress=False)
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run and its released bundle; TensorFlow stays out of this process."""
    run = campaign_of(tmp_path_factory.mktemp("trained"), seed=7)
    subprocess.run([sys.executable, "-c", RELEASE, str(run)], check=True, capture_output=True)
    return run, run / "models" / "tiny-0.1.0"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return campaign_of(tmp_path_factory.mktemp("other"), seed=8)


@pytest.fixture(scope="module")
def judged(trained, other, tmp_path_factory):
    """The report on all soils of the other campaign, and the page's folder."""
    out = tmp_path_factory.mktemp("out")
    options = dataclasses.replace(QUICK, every_soil=True)
    done, page = simulated.run(trained[1], other, out, options)
    return done, page


def test_all_methods_are_evaluated_on_the_same_days(judged):
    done, _ = judged
    for inputs in done.inputs:
        lines = [x for x in done.overall.lines if x.inputs == inputs]
        assert len(lines) == 10
        assert len({(x.stats.soils, x.stats.days) for x in lines}) == 1
        assert all(np.isfinite([x.stats.rmse, x.stats.r, x.stats.kge]).all() for x in lines)
    assert done.inputs == (
        COUNTS, WITH_WEATHER, WITH_SOIL, COVER_UNKNOWN
    )  # fmt: skip


def test_the_verdict_names_each_group_that_falls_short_and_no_other(judged):
    done, page = judged
    named = {(x.kind, x.group, x.inputs) for x in done.verdict}
    for group in done.groups:
        for inputs in done.inputs:
            own = group.line(NETWORK, inputs)
            if own is None:
                continue
            lost = own.stats.rmse >= group.line(BEST_FILTERED, inputs).stats.rmse
            inside = 0.80 <= own.stats.coverage_90 <= 0.97
            assert ((group.kind, group.name, inputs) in named) == (lost or not inside)
    data = json.loads((page.parent / simulated.DATA).read_text())
    assert len(data["verdict"]) == len(done.verdict) > 0  # of two epochs
    line, inversion = (done.overall.line(m, COUNTS) for m in (NETWORK, COSMIC))
    ratio = f"{line.stats.rmse / inversion.stats.rmse:9.2f}"
    assert ratio in simulated_text.table(done) and "falls short: " in simulated_text.table(done)


@pytest.mark.parametrize(
    ("responses", "inversion"),
    [('["desilets"]', "desilets inversion"), ('["cosmic", "desilets"]', MIXED)],
)
def test_the_report_names_the_response_of_the_run(trained, tmp_path, responses, inversion):
    run = campaign_of(tmp_path, seed=9, more=f"response = {responses}\n")
    options = dataclasses.replace(QUICK, every_soil=True)
    done, page = simulated.run(trained[1], run, tmp_path / "out", options)
    assert done.overall.inversion == inversion == done.overall.lines[0].method
    assert {x.method for x in done.ages} == {inversion, best_filtered(inversion), NETWORK}
    assert set(done.soils[0].rmse) > {inversion, best_filtered(inversion)}
    text = re.sub(r"data:image/png;base64,[^\"]*", "", page.read_text("utf-8"))
    assert f"times that of the {inversion}" in text and "COSMIC" not in text
    assert "are simulated with " + ", ".join(done.responses) in text
    assert "of COSMIC" not in simulated_text.table(done)


def test_layers_are_scored_against_their_own_labels_beside_one_number_for_all():
    rng = np.random.default_rng(4)
    labels = {name: rng.uniform(0.1, 0.4, (3, 100)) for name in LAYERS}
    estimates = {name: label + 0.01 for name, label in labels.items()}
    estimates["theta_10_30"] = labels["theta_10_30"] + rng.choice((-0.02, 0.02), (3, 100))
    mean = labels["theta_0_10"]
    inverted = mean + 0.03
    days = rng.random((3, 100)) < 0.7
    out = layers.layer_lines("all", estimates, labels, mean, inverted, days)
    assert [x.layer for x in out] == list(LAYERS)
    assert [x.stats.rmse for x in out] == pytest.approx([0.01, 0.02, 0.01])
    assert (out[0].rmse_inversion, out[0].rmse_mean) == pytest.approx((0.03, 0.0), abs=1e-12)
    assert {x.stats.days for x in out} == {days.sum()}
    some = layers.layer_lines("all", estimates, {"theta_30_60": mean}, mean, inverted, days)
    assert [x.layer for x in some] == ["theta_30_60"]


def test_the_outputs_of_a_bundle_give_the_columns_of_its_layers():
    assert layers.columns(("theta_0_30", "theta_0_30_sigma", *LAYERS)) == {
        "theta_0_10": 2, "theta_10_30": 3, "theta_30_60": 4,
    }  # fmt: skip


def test_soils_and_days_of_each_kind_of_groups_add_up(judged):
    done, _ = judged
    total = done.overall.lines[0].stats.days
    for kind in groups.DEFINITIONS:
        days = [g.lines[0].stats.days for g in done.groups if g.kind == kind]
        assert sum(days) == total, kind


def test_days_with_snow_are_evaluated_for_no_method(trained, other):
    seen = unseen.read_unseen(open_bundle(trained[1]), other, every_soil=True)
    with np.load(other / "dataset.npz") as file:
        lies = file["snow_mm"] > 0
    assert (
        seen.series.snow.sum() > lies.sum() > 0
    )  # the day after, whose window begins in snow, too
    evaluated, _ = simulated.evaluate_bundle(open_bundle(trained[1]), other,
                           dataclasses.replace(QUICK, every_soil=True))  # fmt: skip
    assert not (evaluated.days & seen.series.snow).any()


def test_the_network_of_the_report_is_the_one_of_the_run(trained, tmp_path):
    run, bundle = trained
    done, _ = simulated.run(bundle, run, tmp_path, QUICK)
    in_run = json.loads((run / "evaluate.json").read_text())
    soils = read_series(run).part(TEST)
    assert done.overall.lines[0].stats.soils == len(soils.scenario)
    network = done.overall.line(NETWORK, COUNTS)
    row = next(s for s in in_run["scores"] if s["method"] == "network")
    assert network.stats.rmse == pytest.approx(row["rmse"], rel=0.3)  # without the days of snow


def test_training_soils_are_rejected(trained, tmp_path):
    run, bundle = trained
    with pytest.raises(ConfigError, match="trained on"):
        simulated.run(bundle, run, tmp_path, dataclasses.replace(QUICK, every_soil=True))
    shifted = tmp_path / "shifted"
    shutil.copytree(run, shifted)
    text = (shifted / "run.toml").read_text()
    (shifted / "run.toml").write_text(text.replace("test_share = 0.3", "test_share = 0.4"))
    with pytest.raises(ConfigError, match=r"other .dataset. shares"):
        simulated.run(bundle, shifted, tmp_path, QUICK)


def test_the_page_is_self_contained(judged):
    done, page = judged
    text = page.read_text("utf-8")
    assert not re.search(r"https?://|<script|<link|@import|url\(", text)
    sources = re.findall(r'src="([^"]{0,40})', text)
    pictures = sorted(p.name for p in page.parent.glob("*.png"))
    assert len(sources) == len(pictures) == 8
    assert all(s.startswith("data:image/png;base64,iVBOR") for s in sources)
    data = json.loads((page.parent / simulated.DATA).read_text())
    assert data["bundle"]["name"] == "tiny" and len(data["groups"]) == len(done.groups)


def test_the_page_escapes_every_name_that_a_file_brings(judged):
    done, evil = judged[0], "<i>\"&'</i>"
    report = dataclasses.replace(
        done,
        runtime=evil,
        run_folder=Path(evil),
        provenance={"run": {"campaign": {"seed": evil, "soils": evil}}},
        soils=tuple(dataclasses.replace(x, texture=evil, cover=evil) for x in done.soils),
        reference={"text": evil, "rmse": {evil: 0.1}},
    )
    text = simulated_html.page(report, {})
    assert "<i>" not in text and text.count("&lt;i&gt;") > 8


@pytest.mark.skipif(browser.find() is None, reason="no Chromium here")
def test_a_browser_shows_every_picture(judged, tmp_path):
    assert browser.verdict(judged[1], tmp_path) == (8, 8, 0, 0)


def test_other_inversions_agree_with_cosmic_at_the_calibration_and_see_the_same_counts():
    site = Site(cosmic_n_cph=np.array([4000.0, 9000.0]), bulk_density_g_cm3=np.array([1.3, 1.6]),
                lattice_water_g_g=np.array([0.02, 0.05]), organic_water_g_g=np.array([0.0, 0.01]),
                alpha=np.full(2, np.nan), l3_g_cm2=np.full(2, np.nan),
                humidity_ref_g_m3=np.zeros(2))  # fmt: skip
    theta = np.array([[0.1, 0.2, 0.3, np.nan, 0.4, 0.15], [0.05, 0.25, 0.2, 0.3, 0.1, np.nan]])
    out = baselines.inversions(theta, site)
    rate = cosmic_rate(np.nanmedian(theta, axis=1), site)
    for name, value in out.items():
        assert np.isnan(value[np.isnan(theta)]).all() and np.isfinite(value).sum() == 10
        np.testing.assert_allclose(np.nanmedian(value, axis=1), np.nanmedian(theta, axis=1),
                                   atol=0.02 if "COSMIC" not in name else 0.0)  # fmt: skip
    soil = {"bulk_density_g_cm3": 1.6}  # by hand, the second soil at 0.25
    n_0 = rate[1] / desilets_rate(0.2, 1.0, 1.6, 0.06)
    n_d = rate[1] / uts_rate(0.2, 0.0, 1.0, 0.06, **soil)
    wanted = cosmic_rate(np.array([0.25, 0.25]), site)[1]
    assert desilets_rate(out[DESILETS][1, 1], n_0, 1.6, 0.06) == pytest.approx(wanted)
    assert uts_rate(out[UTS][1, 1], 0.0, n_d, 0.06, **soil) == pytest.approx(wanted)


def outage_features(days):
    x = np.zeros((1, days, len(NAMES)), dtype=np.float32)
    x[..., streams.HELD] = np.stack([np.linspace(0.2, 0.3, days), np.full(days, 0.01)], axis=-1)
    return x


def test_an_outage_matches_what_the_pipeline_produces():
    x = streams.remove_counts(outage_features(40), begin=5)[0]
    assert not x[:5, estimator.GAP].any() and x[5:, estimator.GAP].all()
    held = x[4, streams.HELD]
    assert (x[5 : 5 + streams.RESTART_D][:, streams.HELD] == held).all()
    void = x[5 + streams.RESTART_D :][:, streams.HELD]
    assert (void == np.array([0.25, 0.2], dtype=np.float32)).all()
    cold = streams.restart_mask(x[None])[0]
    assert not cold[: 5 + streams.RESTART_D].any() and cold[5 + streams.RESTART_D :].all()


def test_the_first_day_after_an_outage_equals_that_of_a_stream_with_the_outage(trained):
    bundle = open_bundle(trained[1])
    x = outage_features(40)
    with crew(1) as who:
        lengths = (3, 10, 11, 20)
        short = streams.estimate_outages(bundle, x, 15, lengths, who)
        for i, length in enumerate(lengths):
            whole = x.copy()
            whole[:, : 15 + length] = streams.remove_counts(x, 15)[:, : 15 + length]
            y = streams.estimate_series(bundle, whole, who).y
            assert short.after[0, i] == y[0, 15 + length, 0], length
            np.testing.assert_array_equal(short.y[0, : 15 + length, 0], y[0, : 15 + length, 0])


def test_a_running_sum_at_the_start_covers_the_days_available():
    out = groups.running_sum(np.array([[1.0, 2.0, 3.0, 4.0]]), 2)
    np.testing.assert_allclose(out, [[1.0, 3.0, 5.0, 7.0]])


def test_the_particle_filter_weights_the_members_whose_rates_match_the_counts():
    rng = np.random.default_rng(3)
    days = 200
    theta = np.linspace(0.1, 0.4, 31)[:, None] + np.zeros(days)
    log_rate = 7.0 - 2.0 * theta
    seen = 7.0 - 2.0 * 0.25 + 0.005 * rng.standard_normal(days)
    seen[50:60] = np.nan
    out = particle_filter.weighted_mean(theta, log_rate, seen)
    np.testing.assert_allclose(out[20:], 0.25, atol=0.004)
    seen[100:] -= 2.0 * 0.1  # the place becomes wetter, or its members are wrong: they change
    out = particle_filter.weighted_mean(theta, log_rate, seen)
    np.testing.assert_allclose(out[-20:], 0.35, atol=0.004)


def test_the_particle_filter_is_reported_beside_the_others(trained, other, tmp_path, monkeypatch):
    monkeypatch.setattr(particle_filter, "MEMBERS", 12)
    options = dataclasses.replace(QUICK, every_soil=True, reference_soils=2)
    done, page = simulated.run(trained[1], other, tmp_path, options)
    assert len(done.reference["soils"]) == 2
    assert 0.0 < done.reference["rmse"][particle_filter.NAME] < 0.1
    assert "particle filter" in page.read_text("utf-8")
