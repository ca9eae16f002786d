"""A released bundle is what the station expects, and no other can take its place."""

from __future__ import annotations

import shutil
import tomllib

import numpy as np
import pytest

from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.inference import bundle as bundles
from epithermal_edge.inference import runtime
from epithermal_edge.signatures import minisign
from epithermal_host.bundles import release, signing
from epithermal_host.training.series import NAMES, TEST, read_series


@pytest.fixture(scope="module")
def released(finished_run, tmp_path_factory):
    return release.run(finished_run, tmp_path_factory.mktemp("models"), "bucket", "0.1.0")


def test_the_station_opens_it(released):
    bundle = bundles.open_bundle(released.path)
    assert (bundle.name, bundle.version, bundle.sha256) == ("bucket", "0.1.0", released.sha256)
    assert released.path.name == "bucket-0.1.0"
    assert bundle.states == tuple(bundles.StateTensor(name, (32,)) for name in ("h", "c"))
    assert bundle.phases == 24 and bundle.spin_up_steps == 40
    files = [*bundles.FILES, bundles.MODEL, "MANIFEST"]
    assert sorted(p.name for p in released.path.iterdir()) == sorted(files)


def test_its_golden_vectors_hold_on_every_runtime(released):
    bundle = bundles.open_bundle(released.path)
    assert set(released.golden_errors) == set(runtime.available())
    assert max(released.golden_errors.values()) <= bundle.golden_tolerance


def test_its_golden_stream_is_unseen_weather_with_a_gap(released, finished_run):
    bundle = bundles.open_bundle(released.path)
    inputs = bundle.golden_inputs
    assert len(inputs) >= 400 and inputs[:, NAMES.index("gap")].any()
    test = read_series(finished_run).part(TEST)
    assert any(np.array_equal(inputs, soil[: len(inputs)]) for soil in test.features)


def test_a_golden_stream_without_any_gap_is_given_one(finished_run):
    test = read_series(finished_run).part(TEST)
    test.features[..., NAMES.index("gap")] = 0.0
    inputs = release.golden_inputs(test)
    assert inputs[200:203, NAMES.index("gap")].all() and np.ptp(inputs[199:203, 0]) == 0


def test_its_toml_tells_ranges_provenance_and_the_ladder(released, finished_run):
    table = tomllib.loads((released.path / "bundle.toml").read_text("utf-8"))
    assert [f["name"] for f in table["features"]] == list(NAMES)
    rain = table["features"][NAMES.index("rain_mm")]
    assert rain["training_minimum"] == 0.0 < rain["training_maximum"] and rain["unit"] == "mm"
    assert table["provenance"]["data_hash"] == read_series(finished_run).data_hash
    assert {"python", "numpy", "tensorflow"} <= set(table["provenance"]["software"])
    assert len(table["quantization"]["rungs"]) == 4
    assert "created" not in table


def test_its_card_has_the_accuracy_table_and_says_where_it_fails(released):
    card = (released.path / "CARD.md").read_text("utf-8")
    for words in (
        "Where it fails",
        "inversion + filter 5 d",
        "coverage",
        "spin-up",
        "dynamic_int8",
    ):
        assert words in card
    assert "{" not in card


def test_the_same_run_gives_the_same_bytes(released, finished_run):
    again = release.run(finished_run, released.path.parent, "bucket", "0.1.0")
    assert not again.fresh and again.sha256 == released.sha256
    assert [p.name for p in released.path.parent.iterdir()] == ["bucket-0.1.0"]


def test_another_bundle_of_that_version_is_not_overwritten(released, finished_run, tmp_path):
    target = tmp_path / "bucket-0.1.0"
    shutil.copytree(released.path, target)
    (target / "CARD.md").write_text("mine")
    with pytest.raises(ConfigError, match="raise the version"):
        release.run(finished_run, tmp_path, "bucket", "0.1.0")
    assert (target / "CARD.md").read_text() == "mine"


def test_a_date_is_written_when_it_is_given(finished_run, tmp_path):
    path = release.run(finished_run, tmp_path, "bucket", "0.1.1", created="2026-11-23").path
    assert tomllib.loads((path / "bundle.toml").read_text("utf-8"))["created"] == "2026-11-23"
    bundles.open_bundle(path)


@pytest.mark.parametrize("version", ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0\n", "1.0.0/x"])
def test_a_bad_version_is_refused(finished_run, tmp_path, version):
    with pytest.raises(ConfigError, match="bundle version"):
        release.run(finished_run, tmp_path, "bucket", version)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "../x", "Bucket", "a b", "-a"])
def test_a_bad_name_is_refused(finished_run, tmp_path, name):
    with pytest.raises(ConfigError, match="bundle name"):
        release.run(finished_run, tmp_path, name, "1.0.0")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("missing", "command"),
    [("evaluate.json", "evaluate"), ("model.tflite", "quantize"), ("network.npz", "train")],
)
def test_an_unfinished_run_is_told_the_command_that_is_missing(
    finished_run, tmp_path, missing, command
):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / missing).unlink()
    with pytest.raises(ConfigError, match=rf"{missing}: .*epithermal-host {command}"):
        release.run(run, tmp_path / "models", "bucket", "0.1.0")


def test_a_model_that_is_not_the_quantized_one_leaves_no_bundle(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "model.tflite").write_bytes(b"TFL3 no model")
    with pytest.raises(BundleError):
        release.run(run, tmp_path / "models", "bucket", "0.1.0")
    assert not (tmp_path / "models" / "bucket-0.1.0").exists()


def test_a_bundle_released_with_a_key_is_signed_and_again_the_same(finished_run, tmp_path):
    key = signing.make_key()
    first = release.run(finished_run, tmp_path, "bucket", "0.3.0", key=key)
    signature = (first.path / bundles.SIGNATURE).read_bytes()
    trusted = [minisign.public_key(signing.public_text(key).splitlines()[1])]
    assert minisign.verify((first.path / "MANIFEST").read_bytes(), signature, trusted)
    again = release.run(finished_run, tmp_path, "bucket", "0.3.0", key=key)
    assert not again.fresh and (again.path / bundles.SIGNATURE).read_bytes() == signature
