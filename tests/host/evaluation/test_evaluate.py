"""Baselines follow their papers; every method is evaluated on the same days."""

from __future__ import annotations

import json

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host.evaluation import evaluate
from epithermal_host.evaluation.exponential_filter import exponential_filter
from epithermal_host.training.series import LAYERS, NAMES, TEST, mask, read_series


def test_the_filter_equals_the_explicit_exponential_average():
    theta = np.array([[0.2, 0.3, 0.25, 0.4]])
    t = 5.0
    for day in range(4):
        weights = np.exp(-(day - np.arange(day + 1)) / t)  # Albergel et al. 2008, eq. 4
        expected = np.sum(weights * theta[0, : day + 1]) / np.sum(weights)
        assert exponential_filter(theta, t)[0, day] == pytest.approx(expected, rel=1e-12)


def test_the_filter_over_a_gap_is_the_exponential_average_of_the_observations():
    theta = np.array([[np.nan, 0.2, np.nan, np.nan, 0.3, np.nan, 0.4]])
    out = exponential_filter(theta, 5.0)[0]
    observed = np.array([1, 4, 6])
    weights = np.exp(-(6 - observed) / 5.0)
    assert np.isnan(out[0]) and out[1] == out[2] == out[3] == 0.2 and out[5] == out[4]
    expected = np.sum(weights * theta[0, observed]) / weights.sum()
    assert out[6] == pytest.approx(expected, rel=1e-12)


def test_the_filter_holds_a_constant_and_follows_a_step_with_its_time_constant():
    steady = exponential_filter(np.full((1, 300), 0.3), 10.0)
    np.testing.assert_allclose(steady, 0.3, rtol=1e-13)
    step = np.concatenate([np.zeros(300), np.ones(40)])[None]
    out = exponential_filter(step, 10.0)[0]
    np.testing.assert_allclose(1 - out[309], np.exp(-1.0), rtol=1e-3)


def test_all_methods_are_evaluated_on_the_same_days_after_the_spin_up(finished_run):
    report = json.loads((finished_run / "evaluate.json").read_text())
    for inputs in ("counts alone", "+ rain and ET0", "+ soil parameters"):
        rows = [s for s in report["scores"] if s["inputs"] == inputs]
        assert len(rows) == 4 and len({(s["soils"], s["days"]) for s in rows}) == 1
    test = read_series(finished_run).part(TEST)
    judged = evaluate.judged_days(test, report["spin_up_steps"])
    assert report["scores"][0]["days"] == judged.sum()
    assert report["spin_up_steps"] == 40 and not judged[:, :40].any()
    assert not judged[:, 200:203].any()  # a gap of all soils


def test_the_model_is_more_accurate_than_the_inversion_with_and_without_filter(finished_run):
    report = json.loads((finished_run / "evaluate.json").read_text())
    rmse = {(s["method"], s["inputs"]): s["rmse"] for s in report["scores"]}
    for inputs in ("counts alone", "+ rain and ET0"):
        others = [v for (method, i), v in rmse.items() if i == inputs and method != "network"]
        assert rmse["network", inputs] < min(others)
    assert rmse["network", "+ rain and ET0"] < rmse["network", "counts alone"]


def test_soils_without_description_are_excluded_from_the_table_with_soils(finished_run):
    report = json.loads((finished_run / "evaluate.json").read_text())
    soils = {s["inputs"]: s["soils"] for s in report["scores"]}
    assert (soils["+ rain and ET0"], soils["+ soil parameters"]) == (5, 4)  # one is unknown


def test_every_layer_is_compared_with_the_inversion(finished_run):
    rmse = json.loads((finished_run / "evaluate.json").read_text())["rmse_of_layers"]
    for name in LAYERS:
        assert 0.0 < rmse[name] < rmse[f"{name}, inversion"]


def test_a_picture_is_written(finished_run):
    assert (finished_run / "evaluate.png").read_bytes().startswith(b"\x89PNG")


def test_soils_without_weather_are_excluded_from_the_table_with_weather(finished_run):
    test = read_series(finished_run).part(TEST)
    features = mask(test.features, et0=np.arange(len(test.theta)) == 0)
    known = evaluate.with_weather(evaluate.dataclasses.replace(test, features=features))
    assert not known[0] and known[1:].all()


def test_the_days_of_each_condition_are_those_of_its_name(make_run):
    test = read_series(make_run(soils=12, days=120)).part(TEST)
    features = np.zeros((1, 800, len(NAMES)), dtype=np.float32)
    features[0, [10, 40, 90], NAMES.index("gap")] = 1.0
    one = evaluate.dataclasses.replace(
        test,
        features=features,
        theta=np.full((1, 800), 0.2),
        snow=np.arange(800)[None] == 100,
    )
    error = np.zeros((1, 800))
    error[0, [3, 10, 40, 41, 100, 400, 799]] = (0.4, 0.8, 0.1, 0.2, 9.0, 0.3, 5.0)
    rmse = evaluate._conditions(one, one.theta + error, 40)
    assert rmse == pytest.approx({
        "spin-up": np.sqrt((0.4**2 + 0.8**2) / 40),
        "gap": np.sqrt(0.1**2 / 2),  # days 40 and 90: the first after the spin-up counts
        "year 1": np.sqrt((0.1**2 + 0.2**2) / (365 - 40 - 1)),  # without the day of snow
        "year 2": np.sqrt(0.3**2 / 365),
    })  # fmt: skip


def test_the_rmse_of_a_soil_is_over_its_own_days(make_run):
    test = read_series(make_run(soils=24, days=120)).part(TEST)
    judged = evaluate.judged_days(test, 40)
    judged[0] = False
    judged[1, 100:] = False
    each = evaluate._rmse_of_each(test, judged, test.theta + 0.03)
    assert each[0] == 0.0
    np.testing.assert_allclose(each[1:], 0.03, rtol=1e-5)


@pytest.mark.parametrize("content", ["", "{}", '{"config": {"spin_up_steps": "x"}}'])
def test_a_damaged_report_of_the_training_is_named_with_its_remedy(tmp_path, content):
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(ConfigError, match=r"train\.json: not a report of train .*train again"):
        evaluate.read_spin_up(tmp_path)


@pytest.mark.parametrize("missing", ["dataset.npz", "train.json", "model.tflite"])
def test_a_missing_file_of_the_run_is_named_with_the_command_that_writes_it(
    finished_run, tmp_path, missing
):
    for file in {"dataset.npz", "train.json", "model.tflite"} - {missing}:
        (tmp_path / file).write_bytes((finished_run / file).read_bytes())
    with pytest.raises(ConfigError, match=rf"{missing}: .*epithermal-host"):
        evaluate.run(tmp_path, progress=False)
