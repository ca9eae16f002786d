"""Every released model is signed and reproduces its golden vectors on each runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference import runtime
from epithermal_edge.inference.bundle import MANIFEST, SIGNATURE, open_bundle
from epithermal_edge.signatures import minisign
from epithermal_host.compute.isolated_runtime import answer

MODELS = Path(__file__).parents[2] / "models"
RELEASED = sorted(path.parent for path in MODELS.glob("*/MANIFEST"))
AGREE_M3_M3 = 1e-5  # between two runtimes, as required in quantization


def project_key():
    return minisign.parse_public_key((MODELS / "epithermal.pub").read_text().splitlines()[1])


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.name)
def test_it_is_signed_with_the_projects_key(path):
    manifest, signature = ((path / name).read_bytes() for name in (MANIFEST, SIGNATURE))
    assert minisign.verify(manifest, signature, [project_key()])


def test_a_station_set_up_by_the_example_trusts_the_projects_key():
    example = MODELS.parent / "deploy" / "station.example.toml"
    assert project_key() in read_config(example).trust.keys


def test_a_model_is_released():
    assert [path.name for path in RELEASED]


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.name)
def test_its_golden_vectors_hold_on_every_runtime_and_the_runtimes_agree(path):
    bundle = open_bundle(path)
    assert path.name == f"{bundle.name}-{bundle.version}"
    answers = {
        name: answer(bundle.path, name, bundle.golden_inputs[None])[0]
        for name in runtime.available()
    }
    assert answers
    for name, y in answers.items():
        error = np.max(np.abs(y - bundle.golden_outputs))
        assert error <= bundle.golden_tolerance, name
    assert np.ptp(np.stack(list(answers.values())), axis=0).max() <= AGREE_M3_M3


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.name)
def test_its_card_has_the_accuracy_and_the_limits(path):
    card = (path / "CARD.md").read_text("utf-8")
    assert "## How good it is" in card and "## Where it fails" in card
    assert "simulat" in card and "real site" in card.lower()
