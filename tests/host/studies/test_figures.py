"""The two pictures of why memory is needed: their data, and that they are drawn."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from epithermal_edge.errors import ConfigError
from epithermal_edge.physics.cosmic import cosmic_theta
from epithermal_host.cli.main import main
from epithermal_host.evaluation.metrics import rms
from epithermal_host.neutrons.cosmic import neutron_rate
from epithermal_host.simulation.results import read_result, shard_path
from epithermal_host.studies import figures
from epithermal_host.weather.generator import generate

PAGE = Path(__file__).parents[3] / "docs" / "figures.md"
RUN = '[campaign]\nseed = 4\nsoils = 2\nyears = 1\n[population]\ntextures = ["sandy_loam"]\n'
NAMES = (f"{figures.RATE}.csv", f"{figures.RATE}.png", f"{figures.PAIR}.csv", f"{figures.PAIR}.png")


def table(path):
    lines = [row for row in path.read_text("utf-8").splitlines() if not row.startswith("#")]
    return list(csv.DictReader(lines))


def column(rows, name):
    return np.array([float(row[name]) for row in rows])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return figures.run(tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign")
    (folder / "run.toml").write_text(RUN, encoding="utf-8")
    config = str(folder / "run.toml")
    assert main(["simulate", config, "--out", str(folder / "a"), "--workers", "1"]) == 0
    return folder / "a"


def test_the_rate_of_uniform_profiles_decreases_with_water_content(drawn):
    theta, rate = figures.line(drawn.days)
    assert np.all(np.diff(theta) > 0.0) and np.all(np.diff(rate) < 0.0)
    assert theta[0] < drawn.days.mean.min() and theta[-1] > drawn.days.mean.max()


def test_the_line_equals_the_rates_of_uniform_profiles_on_the_grid(drawn):
    theta, rate = figures.line(drawn.days)
    soil = drawn.days.soil
    uniform = np.repeat(theta[:, None], soil.z_cm.size, axis=1)
    profiles = neutron_rate(*soil.layers(uniform), drawn.days.site.cosmic_n_cph)
    assert rate == pytest.approx(profiles, rel=5e-4)  # closed form against layers


def test_the_inversion_reproduces_the_line_and_uses_it_for_the_cloud(drawn):
    theta, rate = figures.line(drawn.days)
    assert cosmic_theta(rate, drawn.days.site) == pytest.approx(theta, abs=1e-6)
    by_line = np.interp(drawn.days.rate_cph, rate[::-1], theta[::-1])
    assert drawn.days.inverted == pytest.approx(
        by_line, abs=1e-4
    )  # linear between the line's points


def test_a_campaign_of_another_response_is_drawn_and_inverted_by_that_response(tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(f'{RUN}response = ["desilets"]\n', encoding="utf-8")
    assert main(["simulate", str(config), "--out", str(tmp_path / "a"), "--workers", "1"]) == 0
    days = figures.run(tmp_path / "out", run_folder=tmp_path / "a").days
    assert days.site.response == "desilets" and days.title.endswith("counts by desilets")
    theta, rate = figures.line(days)
    uniform = np.repeat(theta[:, None], days.soil.z_cm.size, axis=1)
    profiles = figures.to_days(
        "", days.day, days.soil, np.vstack((uniform[:1], uniform)), days.site
    )
    np.testing.assert_allclose(profiles.rate_cph, rate, rtol=0.01)  # layers of other density
    assert "rate by desilets" in (tmp_path / "out" / NAMES[0]).read_text("utf-8")
    pair = figures.find_pair(days)
    np.testing.assert_allclose(pair.share.sum(axis=1), 1.0)
    for depth, share in zip(pair.d86_cm, pair.share, strict=True):
        assert np.interp(depth, pair.bottom_cm, np.cumsum(share)) == pytest.approx(0.865, abs=0.01)


@pytest.mark.parametrize("cover", ["bare", "grass"])
def test_the_relation_is_not_unique_and_the_surface_explains_it(cover):
    days = figures.own_days(2, cover, years=1)
    assert 0.01 < rms(days.error) < 0.03
    assert days.error[days.wetting].mean() > days.error[~days.wetting].mean() + 0.015
    assert np.corrcoef(days.error, days.contrast)[0, 1] > 0.95


def test_the_pair_has_equal_means_and_different_rates(drawn):
    days, pair = drawn.days, drawn.pair
    wet, dry = pair.index
    assert abs(days.mean[wet] - days.mean[dry]) <= figures.EQUAL_THETA
    assert days.wetting[wet] and not days.wetting[dry]
    assert days.contrast[wet] > 0.0 > days.contrast[dry]
    assert 0.03 < pair.difference < 0.5 and pair.noises > 3.0
    assert pair.share.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_no_other_pair_of_equal_mean_differs_more(drawn):
    days = drawn.days
    wet, dry = np.flatnonzero(days.wetting), np.flatnonzero(~days.wetting)
    equal = np.abs(days.mean[wet, None] - days.mean[None, dry]) <= figures.EQUAL_THETA
    ratio = days.rate_cph[None, dry] / days.rate_cph[wet, None]
    assert drawn.pair.difference == pytest.approx(ratio[equal].max() - 1.0, rel=1e-12)


def test_d86_holds_86_percent_of_the_neutrons(drawn):
    for row in (0, 1):
        share = np.interp(
            drawn.pair.d86_cm[row], drawn.pair.bottom_cm, np.cumsum(drawn.pair.share[row])
        )
        assert share == pytest.approx(0.86, abs=2e-3)


def test_days_without_wetting_have_no_pair_and_raise(drawn):
    days = dataclasses.replace(drawn.days, wetting=np.zeros_like(drawn.days.wetting))
    with pytest.raises(ConfigError, match="no wetting and drying day"):
        figures.find_pair(days)


def test_the_first_table_contains_line_and_cloud(drawn):
    rows = table(drawn.paths[0])
    uniform = [row for row in rows if row["kind"] == "uniform"]
    cloud = [row for row in rows if row["kind"] == "simulated"]
    theta, rate = figures.line(drawn.days)
    assert np.array_equal(column(uniform, "theta_0_30"), theta)
    assert np.array_equal(column(uniform, "n_cph"), rate)
    assert np.array_equal(column(cloud, "theta_0_30"), drawn.days.mean)
    assert np.array_equal(column(cloud, "n_cph"), drawn.days.rate_cph)
    assert np.array_equal(column(cloud, "theta_inverted"), drawn.days.inverted)
    assert [row["state"] == "wetting" for row in cloud] == drawn.days.wetting.tolist()
    assert cloud[0]["date"] == "2001-01-01" and cloud[-1]["date"] == "2003-12-31"


def test_the_second_table_contains_the_profiles(drawn):
    rows = table(drawn.paths[2])
    for row, name in enumerate(("wetting", "drying")):
        profile = drawn.days.theta[drawn.pair.index[row]]
        assert np.array_equal(column(rows, f"theta_{name}"), profile)
        assert np.array_equal(column(rows, f"share_{name}"), drawn.pair.share[row])
    assert np.array_equal(column(rows, "z_cm"), drawn.days.soil.z_cm)


def test_the_pictures_can_be_read_and_have_a_light_background(drawn):
    assert tuple(path.name for path in drawn.paths) == NAMES
    for path in drawn.paths[1::2]:
        pixels = imread(path)[..., :3]
        assert pixels.shape[1] >= 800 and pixels.shape[0] >= 500
        assert pixels[0, 0].min() == 1.0 and pixels.mean() > 0.85
        assert pixels.std() > 0.05  # something is drawn


def test_the_same_seed_gives_the_same_files(drawn, tmp_path):
    again = figures.run(tmp_path, seed=1)
    for one, other in zip(drawn.paths, again.paths, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_the_climate_has_the_rain_of_uccle_and_a_belgian_demand():
    w = generate(figures.UCCLE, np.random.default_rng(1), 0, 36525)
    assert w.precipitation_mm.sum() / 100.0 == pytest.approx(837.0, rel=0.03)
    assert w.et0_mm.sum() / 100.0 == pytest.approx(610.0, rel=0.05)
    assert np.mean(0.5 * (w.t_min_c + w.t_max_c)) == pytest.approx(10.9, abs=0.3)


def test_a_scenario_of_a_campaign_is_drawn_too(campaign, tmp_path, capsys):
    wanted = ["figures", "--run", str(campaign), "--scenario", "1", "--out", str(tmp_path)]
    assert main(wanted) == 0
    printed = capsys.readouterr().out
    assert "scenario 1, 365 days" in printed and "RMSE" in printed
    assert all((tmp_path / name).is_file() for name in NAMES)


def test_the_rates_of_a_campaign_are_reproduced(campaign):
    rate = read_result(campaign, 0).rate_cph[1:]
    # the shard stores theta in 32 bits
    assert figures.campaign_days(campaign).rate_cph == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--run", "none"], "none: No such file"),
        (["--run", "{a}", "--scenario", "7"], "shard-00000.npy: has no scenario 7"),
        (["--run", "{a}", "--seed", "3"], "omit them with --run"),
        (["--scenario", "1"], "name its folder with --run"),
        (["--seed", "-1"], "--seed must be within"),
    ],
)
def test_a_wrong_option_is_reported_in_one_line_with_exit_status_2(
    campaign, tmp_path, capsys, options, message
):
    options = [o.format(a=campaign) for o in options]
    assert main(["figures", "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_damaged_scenario_is_reported_with_exit_status_2(campaign, tmp_path, capsys):
    copy = tmp_path / "run"
    (copy / "campaign").mkdir(parents=True)
    (copy / "run.toml").write_bytes((campaign / "run.toml").read_bytes())
    whole = shard_path(campaign, 0).read_bytes()
    shard_path(copy, 0).write_bytes(whole[: len(whole) // 2])
    assert main(["figures", "--out", str(tmp_path / "out"), "--run", str(copy)]) == 2
    assert "damaged" in capsys.readouterr().err


def test_a_folder_that_cannot_be_created_gives_exit_status_2(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert main(["figures", "--out", str(tmp_path / "file" / "out")]) == 2
    assert "name a writable folder" in capsys.readouterr().err


def test_the_page_has_the_numbers_that_the_command_prints(drawn):
    page = PAGE.read_text("utf-8")
    number = r"[-+]?\d+(?:\.\d+)?"
    for now in drawn.lines():
        begin = now.split(":")[0]
        printed = next(row for row in page.splitlines() if row.strip().startswith(begin))
        # an error's last digit may differ between machines
        old, new = (np.array(re.findall(number, text), float) for text in (printed, now))
        assert old == pytest.approx(new, rel=0.02, abs=2e-4)
