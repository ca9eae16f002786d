"""The ladder: what ships is the smallest that still answers like the float network."""

from __future__ import annotations

import json

import numpy as np
import pytest

from epithermal_edge import runtime
from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_host.series import NAMES, TEST, read_series
from epithermal_host.trial import answer


@pytest.fixture(scope="module")
def quantize():
    from epithermal_host import quantize

    return quantize


@pytest.fixture(scope="module")
def ladder(finished_run):
    return json.loads((finished_run / "quantize.json").read_text())


def test_what_ships_is_the_first_rung_within_the_gate_on_every_runtime(ladder, finished_run):
    passed = [rung for rung in ladder["rungs"] if rung["passed"]]
    assert ladder["scheme"] == passed[0]["scheme"]
    assert (finished_run / "model.tflite").stat().st_size == passed[0]["size_bytes"]
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


def test_eight_bits_ship_and_are_smaller_by_far(ladder):
    by_name = {rung["scheme"]: rung for rung in ladder["rungs"]}
    assert ladder["scheme"] == "dynamic_int8"
    assert by_name["dynamic_int8"]["size_bytes"] < 0.65 * by_name["float32"]["size_bytes"]


def test_the_shipped_file_streams_like_the_float_network_on_all_runtimes(
    quantize, finished_run, ladder
):
    from epithermal_host import network, train

    stream = quantize.gate_stream(read_series(finished_run).part(TEST), 2)
    model = network.from_weights(train.read_weights(finished_run))
    expected = network.sequence_function(model)(stream)
    for name in runtime.available():
        answers = answer(finished_run / "model.tflite", name, stream)
        assert np.max(np.abs(answers - expected)) <= ladder["gate_m3_m3"]


def test_the_gate_stream_shows_each_soil_with_and_without_weather(quantize, finished_run):
    stream = quantize.gate_stream(read_series(finished_run).part(TEST), 2)
    known = stream[..., NAMES.index("rain_known")]
    assert (known[:2] == 1).all() and (known[2:] == 0).all()


def test_a_gate_that_nothing_passes_is_one_clear_line_and_ships_nothing(
    quantize, finished_run, tmp_path
):
    for file in ("dataset.npz", "network.npz"):
        (tmp_path / file).write_bytes((finished_run / file).read_bytes())
    config = quantize.QuantizeConfig(gate_m3_m3=0.0, soils=1)
    with pytest.raises(EpithermalError, match="float32") as caught:
        quantize.run(tmp_path, config, progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.tflite").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04broken"])
def test_without_a_trained_network_it_says_what_to_do(quantize, finished_run, tmp_path, content):
    (tmp_path / "dataset.npz").write_bytes((finished_run / "dataset.npz").read_bytes())
    if content is not None:
        (tmp_path / "network.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"network\.npz: .*train"):
        quantize.run(tmp_path, quantize.QuantizeConfig(), progress=False)
