"""A new kind of network needs a module like lstm.py and a line in `KINDS`, nothing else."""

from __future__ import annotations

import dataclasses
import tomllib

import numpy as np
import pytest
from tests.support import gru

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference import bundle as bundles
from epithermal_host.bundles import release
from epithermal_host.bundles.hidden_states import compute_hidden_states, head_input
from epithermal_host.compute.crew import crew
from epithermal_host.compute.isolated_runtime import answer
from epithermal_host.evaluation import evaluate
from epithermal_host.training import kinds, quantize, train
from epithermal_host.training.network import read_weights
from epithermal_host.training.series import NAMES, TEST, read_series

INPUTS = ("rain_mm", "rain_known", "theta_inv", "gap")
CONFIG = train.TrainConfig(
    network="gru", inputs=INPUTS, hidden=6, epochs=2, batch=8, chunk=100, spin_up_steps=20
)


@pytest.fixture(scope="module")
def run_folder(make_run):
    """Train, quantize, evaluate and release a GRU of four inputs."""
    folder = make_run(soils=18, days=300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kinds.KINDS, "gru", gru)
        train.run(folder, CONFIG, progress=False)
        quantize.run(folder, quantize.QuantizeConfig(soils=2, years=0.0), progress=False)
        evaluate.run(folder, progress=False)
        release.run(folder, folder, "gru", "0.1.0", force=True)  # of two epochs
    return folder


@pytest.fixture
def _known(monkeypatch):
    monkeypatch.setitem(kinds.KINDS, "gru", gru)


@pytest.mark.usefixtures("_known")
def test_its_step_graph_answers_as_its_sequence_graph(run_folder):
    weights = read_weights(run_folder)
    assert (weights.kind, weights.inputs) == ("gru", INPUTS)
    x = read_series(run_folder).part(TEST).features
    expected = kinds.sequence(weights)(x)
    assert np.ptp(expected[..., 0] - x[..., NAMES.index("theta_inv")]) > 1e-3
    path = run_folder / "quantize" / "float32.tflite"
    y = answer(path, "litert", x[..., weights.columns], kinds.state_tensors(weights))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
    (before,) = gru.states(weights, x[0][:, weights.columns])
    graph = kinds.sequence_graph(weights)
    *_, after = graph([x[:1, :-1][..., weights.columns], *kinds.cold_state(graph, 1)])
    np.testing.assert_allclose(before[-1], after[0], atol=1e-5)


def test_its_bundle_names_its_kind_and_its_features(run_folder):
    bundle = bundles.open_bundle(run_folder / "gru-0.1.0")
    assert tuple(feature.name for feature in bundle.features) == INPUTS
    assert bundle.states == (bundles.StateTensor("h", (6,)),)
    table = tomllib.loads((bundle.path / "bundle.toml").read_text("utf-8"))
    assert table["network"][0]["kind"] == "gru" and len(table["network"][0]["offset"]) == 4
    assert "a GRU of 6 units, with one" in (bundle.path / "CARD.md").read_text("utf-8")


def test_the_input_of_its_head_is_computed_from_the_bundle_alone(run_folder):
    bundle = bundles.open_bundle(run_folder / "gru-0.1.0")
    assert head_input(bundle) == 0
    with crew(1) as who:
        states = compute_hidden_states(bundle, read_series(run_folder).part(TEST).features[:1], who,
                      runtime_name="litert")  # fmt: skip
    assert states.h.shape == (1, 300, 6) and np.isfinite(states.theta).all()


def test_an_unknown_kind_is_rejected_with_the_known_ones(run_folder):
    with pytest.raises(ConfigError, match="unknown kind of network 'gru': use lstm"):
        train.run(run_folder, CONFIG, progress=False)


@pytest.mark.usefixtures("_known")
@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"network": "lstm"}, 'set network = "gru"'),
        ({"hidden": 7}, "set hidden = 6"),
        ({"inputs": ("theta_inv",)}, "set inputs = .'rain_mm', 'rain_known', 'theta_inv', 'gap'."),
    ],
)
def test_a_training_starts_only_from_a_network_of_its_own_kind_and_inputs(
    run_folder, change, remedy
):
    config = dataclasses.replace(CONFIG, begin_with="network.npz", **change)
    with pytest.raises(ConfigError, match=remedy):
        train.run(run_folder, config, progress=False)
