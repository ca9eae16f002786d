"""The single-site study: the test days are not in the training data; its results."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host.evaluation.methods import COSMIC
from epithermal_host.studies import single_site, single_site_place, single_site_plots
from epithermal_host.studies.single_site_place import Record, StudyConfig
from epithermal_host.studies.single_site_result import BEST, COUNTS, USUAL, WEATHER
from epithermal_host.training.series import NAMES, TRAIN, VALIDATION, read_series


def record(days):
    rng = np.random.default_rng(days)
    return Record(
        features=rng.random((days, len(NAMES))).astype(np.float32),
        inverted=rng.uniform(0.1, 0.4, days),
        truth=rng.uniform(0.1, 0.4, days),
        layers=rng.uniform(0.1, 0.4, (3, days)),
        snow=np.zeros(days, dtype=bool),
        rain_mm=np.zeros(days),
        et0_mm=np.ones(days),
        day_end_s=86400.0 * np.arange(1, days + 1),
    )


def test_training_validation_and_test_adjoin_and_test_is_the_last_tenth():
    parts = single_site.split(StudyConfig(), 3652)
    assert parts["train"].start == 0 and parts["test"].stop == 3652
    assert parts["train"].stop == parts["validation"].start
    assert parts["validation"].stop == parts["test"].start == 3287


def test_no_test_day_is_in_the_training_data(tmp_path):
    records = [record(1000), record(1000)]
    parts = single_site.split(StudyConfig(), 1000)
    single_site._write_dataset(tmp_path, records, parts)
    series = read_series(tmp_path)
    assert series.theta.shape[1] == parts["test"].start
    train, validation = series.part(TRAIN), series.part(VALIDATION)
    assert np.isfinite(train.theta[:, parts["train"]]).all()
    assert np.isnan(train.theta[:, parts["validation"]]).all()
    assert np.isnan(validation.theta[:, parts["train"]]).all()
    assert np.isfinite(validation.theta[:, parts["validation"]]).all()


def test_the_detector_has_the_configured_counting_error():
    config = StudyConfig(count_error=0.01)
    place = single_site_place.place(config, single_site_place.CATALOGUE["loam"])
    rate = single_site_place.cosmic_rate(np.array([single_site_place.USUAL_THETA]), place.site)
    assert 1.0 / np.sqrt(24.0 * rate[0]) == pytest.approx(0.01)


def test_each_variant_changes_one_parameter_of_the_soil():
    config = StudyConfig(soil="silt")
    own, variants = single_site_place.CATALOGUE["silt"], single_site_place.variants(config)
    changed = [name for name in variants if " x " in name]
    assert len(changed) == 20
    for name in changed:
        parameter = name.split(" x ")[0]
        others = [p for p in single_site_place.FACTORS if p != parameter]
        assert getattr(variants[name], parameter) != getattr(own, parameter)
        assert all(getattr(variants[name], p) == getattr(own, p) for p in others)


def test_fine_soils_with_a_smaller_n_have_the_air_entry_of_their_class():
    for name, soil in single_site_place.variants(StudyConfig(soil="silt")).items():
        if soil.n < single_site_place.N_WITHOUT_AIR_ENTRY:
            assert soil.air_entry_cm > 0.0, name


def test_the_pictures_of_parameters_and_soils_are_drawn_from_the_errors():
    names = [*single_site_place.CATALOGUE, *single_site_place.variants(StudyConfig())]
    rng = np.random.default_rng(2)
    methods = (COSMIC, USUAL, BEST, COUNTS, WEATHER)
    rows = {name: dict(zip(methods, rng.uniform(0.002, 0.03, 5), strict=True)) for name in names}
    other = {**rows, "ks_cm_d x 5": dict.fromkeys(methods, 0.09)}
    drawn = single_site_plots.parameters("loam", rows)
    assert drawn.startswith(b"\x89PNG") and single_site_plots.parameters("loam", other) != drawn
    assert single_site_plots.soils("loam", other) == single_site_plots.soils("loam", rows) != drawn


def test_all_errors_of_site_toml_are_reported(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('[study]\nsoil = "loess"\nyears = 1\n[train]\nepoch = 3\n')
    with pytest.raises(ConfigError) as caught:
        single_site.read_study(path)
    text = str(caught.value)
    assert "soil must be among" in text and "years must be within" in text and "epochs" in text


@pytest.mark.slow
def test_the_network_is_more_accurate_than_the_filter_on_the_last_tenth(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text("[study]\nyears = 6\ndetectors = 4\n[train]\nepochs = 60\nbatch = 4\n")
    command = [sys.executable, "-m", "epithermal_host", "study", str(path)]
    subprocess.run([*command, "--out", str(tmp_path / "out")], check=True, capture_output=True)
    result = json.loads((tmp_path / "out" / single_site.DATA).read_text())
    test = result["table"]["test"]
    assert test[COUNTS]["rmse"] < 0.7 * test[BEST]["rmse"]
    assert test[WEATHER]["rmse"] < test[COUNTS]["rmse"]
    assert result["elsewhere_rmse"]["sand"][WEATHER] > test[WEATHER]["rmse"]
