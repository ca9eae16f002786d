"""The data set: features by the station's pipeline from simulated records, and labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.features import FEATURES
from epithermal_host.config.population import Population
from epithermal_host.config.run_toml import RunConfig, read_run, write_run
from epithermal_host.simulation import campaign
from epithermal_host.simulation.results import read_result, shard_path
from epithermal_host.simulation.scenario import sample
from epithermal_host.training import dataset
from epithermal_host.training.series import TEST, TRAIN, VALIDATION, read_series

TEXT = """
[campaign]
seed = 9
soils = 6
years = 1
[population]
textures = ["loam", "silt_loam", "clay_loam"]
dry_rate_min_cph = 5000.0
[instrument]
outages_per_year = 3.0
gauge_sigma = 0.0
rain_day_sigma = 0.0
"""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulate a small campaign and compute its data set."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "a.toml").write_text(TEXT, encoding="utf-8")
    campaign.run(read_run(folder / "a.toml"), folder, workers=1, progress=False)
    dataset.run(folder, workers=1, progress=False)
    return folder


def config_of(folder: Path) -> RunConfig:
    return read_run(folder)


def test_arrays_have_one_row_a_soil_and_one_column_a_day(run_folder):
    with np.load(run_folder / "dataset.npz") as file:
        soils, days = 6, 365
        assert file["features"].shape == (soils, days, len(FEATURES))
        assert file["features"].dtype == np.float32 and np.isfinite(file["features"]).all()
        for name in (*dataset.LABELS, "theta_classical", "theta_classical_sigma", "snow_mm"):
            assert file[name].shape == (soils, days), name
        assert [str(n) for n in file["feature_names"]] == [f.name for f in FEATURES]
        assert file["day_end_s"][0] == (11323 + 1) * 86400
        assert np.all(np.diff(file["day_end_s"]) == 86400)
        assert file["scenario"].tolist() == list(range(soils))
    series = read_series(run_folder)
    assert {TRAIN, VALIDATION, TEST} == set(series.split.tolist())
    assert config_of(run_folder).path == run_folder / "run.toml"


def test_the_first_record_counts_and_so_does_each_at_the_border_of_a_block():
    hours = 2 * dataset.BLOCK_H
    end_s = 86400.0 * 19_675 + 3600.0 * np.arange(1, hours + 1)
    rain = np.zeros((hours, 1), dtype=np.float32)
    rain[[0, dataset.BLOCK_H - 1, dataset.BLOCK_H]] = 4.0
    columns = {"counts": np.full((hours, 1), 1500.0, np.float32), "rain_mm": rain}
    columns["pressure_hpa"] = np.full((hours, 1), 1000.0, np.float32)
    columns["duration_s"] = np.full((hours, 1), 3600.0, np.float32)
    site = dataset.stack_sites([sample(Population(), 1, 0).site])  # without a described cover
    shown = dataset.run_pipeline(site, end_s, columns).features
    by_day = shown[0, :, [f.name for f in FEATURES].index("rain_mm")]
    expected = np.zeros(hours // 24)
    expected[[0, dataset.BLOCK_H // 24 - 1, dataset.BLOCK_H // 24]] = 4.0
    np.testing.assert_array_equal(by_day, expected)


def test_the_label_is_the_mean_over_the_window(run_folder):
    result = read_result(run_folder, 3)
    with np.load(run_folder / "dataset.npz") as file:
        mean = 0.5 * (result.means[0, :-1] + result.means[0, 1:])
        np.testing.assert_array_equal(file["theta"][3], mean)
        thick = (file["theta_0_10"] + 2.0 * file["theta_10_30"]) / 3.0
        np.testing.assert_allclose(thick, file["theta"], atol=1e-12)


def test_the_inversion_follows_the_truth_it_comes_from(run_folder):
    with np.load(run_folder / "dataset.npz") as file:
        error = file["theta_classical"] - file["theta"]
        for row, truth in zip(file["theta_classical"], file["theta_0_10"], strict=True):
            known = np.isfinite(row)
            assert np.corrcoef(row[known], truth[known])[0, 1] > 0.8
        assert np.sqrt(np.nanmean(error**2)) < 0.06
        gap = file["features"][..., 2] == 1.0
        np.testing.assert_array_equal(gap, np.isnan(file["theta_classical"]))
        assert 0.0 < gap.mean() < 0.3


def test_the_features_hold_the_rain_that_fell_and_an_et0_near_the_true_one(run_folder):
    names = [f.name for f in FEATURES]
    config = config_of(run_folder)
    with np.load(run_folder / "dataset.npz") as file:
        features = file["features"]
    for index in range(6):
        weather = read_result(run_folder, index).weather
        rain = features[index, :, names.index("rain_mm")]
        whole = features[index, :, names.index("gap")] == 0.0
        known = features[index, :, names.index("rain_known")] == 1.0
        good = whole & known & (np.abs(rain - weather.precipitation_mm) < 0.11)
        assert good.sum() > 0.9 * (whole & known).sum()
        et0 = features[index, :, names.index("et0_mm")]
        on = features[index, :, names.index("et0_known")] == 1.0
        assert np.corrcoef(et0[on], weather.et0_mm[on])[0, 1] > 0.85
        assert sample(config.population, 9, index).index == index


def test_batches_and_workers_change_no_bit(run_folder):
    before = (run_folder / "dataset.npz").read_bytes()
    config = config_of(run_folder)
    small = dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, batch=3))
    write_run(small, run_folder)
    dataset.run(run_folder, workers=2, progress=False)
    assert (run_folder / "dataset.npz").read_bytes() == before


def test_a_scenario_keeps_its_part_when_the_campaign_grows(run_folder):
    config = config_of(run_folder)
    few, many = dataset.split(config, range(200)), dataset.split(config, range(2000))
    np.testing.assert_array_equal(few, many[:200])
    assert np.mean(many == TEST) == pytest.approx(0.15, abs=0.03)
    assert np.mean(many == VALIDATION) == pytest.approx(0.15, abs=0.03)


def test_a_run_without_or_with_a_foreign_campaign_is_rejected(run_folder, tmp_path):
    config = config_of(run_folder)
    write_run(config, tmp_path)
    with pytest.raises(ConfigError, match="simulate"):
        dataset.run(tmp_path, workers=1, progress=False)
    (tmp_path / "campaign").mkdir()
    shard_path(tmp_path, 0).write_bytes(shard_path(run_folder, 0).read_bytes())
    other = dataclasses.replace(config, campaign=dataclasses.replace(config.campaign, seed=1))
    write_run(other, tmp_path)
    with pytest.raises(ConfigError, match="simulate into an empty folder"):
        dataset.run(tmp_path, workers=1, progress=False)
