"""Quantization: the smallest scheme that reproduces the float network is released."""

from __future__ import annotations

import json

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.inference import runtime
from epithermal_host.compute.isolated_runtime import answer
from epithermal_host.training import kinds
from epithermal_host.training.network import read_weights
from epithermal_host.training.series import DESCRIPTION, NAMES, TEST, read_series


@pytest.fixture(scope="module")
def quantize():
    from epithermal_host.training import quantize

    return quantize


@pytest.fixture(scope="module")
def ladder(finished_run):
    return json.loads((finished_run / "quantize.json").read_text())


def test_the_first_rung_within_the_gate_on_every_runtime_is_released(ladder, finished_run):
    passed = [rung for rung in ladder["rungs"] if rung["passed"]]
    assert ladder["scheme"] == passed[0]["scheme"]
    assert (finished_run / "model.tflite").stat().st_size == passed[0]["size_bytes"]
    between = passed[0]["between_runtimes_m3_m3"]
    assert (between is None) == (len(runtime.available()) < 2)
    assert between is None or between <= ladder["agree_m3_m3"]
    for trial in passed[0]["trials"]:
        assert trial["max_error_m3_m3"] <= ladder["gate_m3_m3"]
    assert [trial["runtime"] for trial in passed[0]["trials"]] == list(runtime.available())


def test_the_report_shows_every_rung_on_every_runtime(ladder):
    schemes = ["dynamic_int8", "int16x8", "float16", "float32"]
    assert [rung["scheme"] for rung in ladder["rungs"]] == schemes
    for rung in ladder["rungs"]:
        assert rung["fault"] is not None or len(rung["trials"]) == len(runtime.available())


def test_the_float_step_graph_is_exact_to_rounding_over_the_whole_stream(ladder):
    float32 = ladder["rungs"][-1]
    assert float32["passed"]
    assert max(t["max_error_m3_m3"] for t in float32["trials"]) < 1e-5


def test_eight_bits_pass_the_gate_and_are_smaller_by_far(ladder):
    by_name = {rung["scheme"]: rung for rung in ladder["rungs"]}
    eight = by_name["dynamic_int8"]
    assert max(t["max_error_m3_m3"] for t in eight["trials"]) <= ladder["gate_m3_m3"]
    # W, with 21 inputs, stays in float: a quarter of the file at this width
    assert eight["size_bytes"] < 0.7 * by_name["float32"]["size_bytes"]


def test_a_rung_on_which_the_runtimes_disagree_is_not_released(quantize, finished_run, tmp_path):
    if len(runtime.available()) < 2:
        pytest.skip("needs two runtimes")
    for file in ("dataset.npz", "network.npz"):
        (tmp_path / file).write_bytes((finished_run / file).read_bytes())
    done = quantize.run(
        tmp_path, quantize.QuantizeConfig(agree_m3_m3=0.1, soils=2, years=0.0), progress=False
    )
    apart = {rung.scheme: rung.between_runtimes_m3_m3 for rung in done.rungs}
    assert apart["float32"] < 1e-5
    limit = max(value for value in apart.values() if value is not None)
    strict = quantize.QuantizeConfig(agree_m3_m3=0.5 * limit, soils=2, years=0.0)
    done = quantize.run(tmp_path, strict, progress=False)
    worst = [r for r in done.rungs if r.between_runtimes_m3_m3 == limit]
    assert worst and not any(r.passed for r in worst)


def test_the_released_file_streams_like_the_float_network_on_all_runtimes(
    quantize, finished_run, ladder
):
    weights = read_weights(finished_run)
    stream = quantize.gate_stream(read_series(finished_run).part(TEST), 2)
    expected = kinds.sequence(weights)(stream)
    for name in runtime.available():
        answers = answer(finished_run / "model.tflite", name, stream, kinds.state_tensors(weights))
        assert np.max(np.abs(answers - expected)) <= ladder["gate_m3_m3"]


def test_the_gate_stream_shows_each_soil_with_all_inputs_and_with_counts_alone(
    quantize, finished_run
):
    test = read_series(finished_run).part(TEST)
    stream = quantize.gate_stream(test, 3)
    known = stream[..., [NAMES.index("rain_known"), NAMES.index("et0_known")]]
    assert (known[:3] == 1).all() and (known[3:] == 0).all()
    assert stream[:3][..., DESCRIPTION].any() and not stream[3:][..., DESCRIPTION].any()


def test_short_series_are_joined_to_streams_of_the_required_years(quantize, finished_run):
    test = read_series(finished_run).part(TEST)
    assert test.theta.shape == (5, 500)
    stream = quantize.gate_stream(test, 5, years=5.0)
    assert stream.shape[:2] == (2 * 2, 4 * 500)  # 5 years are 1826.25 days
    joined = stream[:2].reshape(8, 500, -1)
    for i, soil in enumerate((0, 1, 2, 3, 4, 0, 1, 2)):
        np.testing.assert_array_equal(joined[i], test.features[soil])


def test_the_ladder_is_tested_on_streams_of_five_years(ladder):
    assert ladder["stream_days"] >= 5 * 365.25


def test_a_gate_that_nothing_passes_is_one_clear_line_and_writes_no_model(
    quantize, finished_run, tmp_path
):
    for file in ("dataset.npz", "network.npz"):
        (tmp_path / file).write_bytes((finished_run / file).read_bytes())
    config = quantize.QuantizeConfig(gate_m3_m3=0.0, soils=1, years=0.0)
    with pytest.raises(EpithermalError, match="float32") as caught:
        quantize.run(tmp_path, config, progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.tflite").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04broken"])
def test_without_a_trained_network_the_error_names_the_remedy(
    quantize, finished_run, tmp_path, content
):
    (tmp_path / "dataset.npz").write_bytes((finished_run / "dataset.npz").read_bytes())
    if content is not None:
        (tmp_path / "network.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"network\.npz: .*train"):
        quantize.run(tmp_path, quantize.QuantizeConfig(), progress=False)
