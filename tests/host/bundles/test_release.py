"""A released bundle opens on the station, and another bundle cannot replace it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.errors import BundleError, ConfigError, EpithermalError
from epithermal_edge.inference import bundle as bundles
from epithermal_edge.inference import runtime
from epithermal_edge.signatures import minisign
from epithermal_host.bundles import card as cards
from epithermal_host.bundles import release, signing
from epithermal_host.cli.main import main
from epithermal_host.compute.isolated_runtime import answer
from epithermal_host.evaluation import evaluate
from epithermal_host.evaluation.methods import COUNTS, NETWORK
from epithermal_host.training import network
from epithermal_host.training.network import read_weights
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
    inputs, gap = release.golden_inputs(test), np.arange(200, 203)
    assert (inputs[gap, NAMES.index("gap")] == 1.0).all() and np.ptp(inputs[199:203, 0]) == 0
    days = min(bundles.GOLDEN_STEPS, test.theta.shape[1])
    rows = test.features[:, :days].reshape(-1, len(NAMES))[: len(inputs)]
    np.testing.assert_array_equal(np.delete(inputs, gap, 0), np.delete(rows, gap, 0))


def test_a_release_without_any_runtime_names_what_to_install(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "available", tuple)
    with pytest.raises(ConfigError, match="install tflite-runtime or ai-edge-litert"):
        release.run(finished_run, tmp_path, "bucket", "0.1.0")


def test_its_toml_has_ranges_provenance_and_the_ladder(released, finished_run):
    table = tomllib.loads((released.path / "bundle.toml").read_text("utf-8"))
    assert [f["name"] for f in table["features"]] == list(NAMES)
    rain = table["features"][NAMES.index("rain_mm")]
    assert rain["training_minimum"] == 0.0 < rain["training_maximum"] and rain["unit"] == "mm"
    assert table["provenance"]["data_hash"] == read_series(finished_run).data_hash
    assert {"python", "numpy", "tensorflow"} <= set(table["provenance"]["software"])
    assert table["provenance"].get("git_commit") == release._git_commit()
    (network,) = table["network"]
    assert (network["file"], network["kind"], network["head_input"]) == (
        "model.tflite",
        "lstm",
        "h",
    )
    assert network["state"] == [{"name": name, "shape": [32]} for name in ("h", "c")]
    assert len(network["offset"]) == len(network["scale"]) == len(NAMES)
    assert len(network["quantization"]["rungs"]) == 4 and network["train"]["epochs"] == 12
    assert table["schema"] == 2
    assert "created" not in table


def test_its_card_has_the_accuracy_table_and_the_limits(released):
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


def test_a_sound_bundle_of_that_version_with_other_content_is_refused(finished_run, tmp_path):
    release.run(finished_run, tmp_path, "bucket", "0.4.0", created="2026-11-23")
    with pytest.raises(ConfigError, match="another bundle exists there"):
        release.run(finished_run, tmp_path, "bucket", "0.4.0")


def test_the_commit_of_the_source_is_that_of_git_in_a_clone():
    git = ["git", "-C", str(Path(release.__file__).parent), "rev-parse", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip("not a clone")
    assert release._git_commit() == done.stdout.strip()


def test_an_error_of_the_golden_vectors_that_equals_the_tolerance_is_allowed(released):
    bundle = bundles.open_bundle(released.path)
    name, error = next(iter(released.golden_errors.items()))
    exact = dataclasses.replace(bundle, golden_tolerance=error)
    assert release._golden_error(exact, name) == error
    with pytest.raises(BundleError, match="golden vectors fail"):
        release._golden_error(dataclasses.replace(bundle, golden_tolerance=error / 2.0), name)


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
def test_an_unfinished_run_is_rejected_with_the_missing_command(
    finished_run, tmp_path, missing, command
):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / missing).unlink()
    with pytest.raises(ConfigError, match=rf"{missing}: .*epithermal-host {command}"):
        release.run(run, tmp_path / "models", "bucket", "0.1.0")


def copy_of(run, folder):
    return Path(shutil.copytree(run, folder / "run"))


def change_report(run, command, **values):
    """Change keys of the report of a command."""
    path = run / f"{command}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def replace_network(run, weights):
    """Write other weights into a run, as train and quantize would."""
    from epithermal_host.training.quantize import convert

    (run / "network.npz").write_bytes(network.save_bytes(weights))
    (run / "model.tflite").write_bytes(convert("float32", weights, None))
    sha256 = [hashlib.sha256((run / f).read_bytes()).hexdigest()
              for f in ("model.tflite", "network.npz")]  # fmt: skip
    change_report(run, "quantize", sha256=sha256[0], network_sha256=sha256[1])


def flipped(run):
    model = bytearray((run / "model.tflite").read_bytes())
    model[len(model) // 2] ^= 1
    return bytes(model)


def another_candidate(run):
    return (run / "quantize" / "float32.tflite").read_bytes()


@pytest.mark.parametrize("other", [flipped, another_candidate])
@pytest.mark.parametrize("command", ["quantize", "evaluate"])
def test_a_model_that_is_not_the_evaluated_one_is_refused(finished_run, tmp_path, other, command):
    run = copy_of(finished_run, tmp_path)
    model = other(run)
    assert model != (run / "model.tflite").read_bytes()
    (run / "model.tflite").write_bytes(model)
    if command == "evaluate":  # quantized again, but not evaluated again
        change_report(run, "quantize", sha256=hashlib.sha256(model).hexdigest())
    with pytest.raises(BundleError, match=rf"model\.tflite: changed since {command}"):
        release.run(run, tmp_path / "models", "bucket", "0.1.0")
    assert not (tmp_path / "models").exists()


def test_a_network_that_was_trained_again_after_its_evaluation_is_refused(finished_run, tmp_path):
    run = copy_of(finished_run, tmp_path)
    other = dataclasses.replace(read_weights(run), sigma_scale=(2.0, 2.0))
    (run / "network.npz").write_bytes(network.save_bytes(other))
    with pytest.raises(BundleError, match=r"network\.npz: changed since quantize"):
        release.run(run, tmp_path / "models", "bucket", "0.1.0")


def test_scores_of_another_data_set_are_refused(finished_run, tmp_path):
    run = copy_of(finished_run, tmp_path)
    change_report(run, "evaluate", data_hash="0" * 64)
    with pytest.raises(BundleError, match="another data set: run evaluate again"):
        release.run(run, tmp_path / "models", "bucket", "0.1.0")
    change_report(run, "train", data_hash="0" * 64)
    with pytest.raises(ConfigError, match="trained on another data set"):
        release.run(run, tmp_path / "models", "bucket", "0.1.0")


@pytest.fixture(scope="module")
def worthless(finished_run, tmp_path_factory):
    """Evaluate a run whose network returns the inversion: its head is zero."""
    run = copy_of(finished_run, tmp_path_factory.mktemp("worthless"))
    weights = read_weights(run)
    zero = {k: 0.0 * v if k.startswith("head") else v for k, v in weights.arrays.items()}
    replace_network(run, dataclasses.replace(weights, arrays=zero))
    evaluate.run(run, progress=False)
    return run


def test_a_network_that_is_not_better_than_the_inversion_is_refused(worthless, tmp_path, capsys):
    with pytest.raises(
        EpithermalError, match=r"alone: RMSE .*, inversion .* more in .*--force"
    ) as no:
        release.run(worthless, tmp_path, "bucket", "0.2.0")
    assert no.value.exit_code == 1 and not list(tmp_path.iterdir())
    (worthless / "run.toml").write_text("[campaign]\nseed = 1\nsoils = 30\n")
    assert main(["release", str(worthless), "--to", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ({}, "COSMIC"),
        ({"population": {"response": ["desilets"]}}, "desilets"),
        ({"population": {"response": ["desilets"]}, "instrument": {"response_known": False}},
         "COSMIC"),
        ({"population": {"response": ["cosmic", "desilets"]}}, "cosmic or desilets"),
    ],
)  # fmt: skip
def test_the_card_names_the_response_that_the_stations_invert_by(run, name):
    assert cards._response(run) == name


def test_a_forced_release_is_described_in_card_and_bundle(worthless, released, tmp_path):
    path = release.run(worthless, tmp_path, "bucket", "0.2.0", force=True).path
    card = (path / "CARD.md").read_text("utf-8")
    assert "released with `--force`" in card and "* network, counts alone: RMSE" in card
    found = bundles.open_bundle(path).shortfalls
    assert found and all("inversion" in text for text in found)
    assert "--force" not in (released.path / "CARD.md").read_text("utf-8")
    assert bundles.open_bundle(released.path).shortfalls == ()


def test_force_changes_nothing_for_a_better_network(released, finished_run):
    again = release.run(finished_run, released.path.parent, "bucket", "0.1.0", force=True)
    assert not again.fresh and again.sha256 == released.sha256


DEEP = "[" * 20_000 + "]" * 20_000


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("train.json", "[]"),
        ("train.json", '{"config": 1, "sigma_scale": 1, "data_hash": 1}'),
        ("train.json", "9" * 6000),
        ("quantize.json", DEEP),
        ("quantize.json", '{"scheme": NaN}'),
        ("quantize.json", '{"scheme": "x", "sha256": 1, "network_sha256": []}'),
        ("evaluate.json", "{}"),
        ("evaluate.json", "null"),
        ("evaluate.json", b"\xff\x00"),
        ("network.npz", pickle.dumps([1])),
        ("network.npz", b"\x93NUMPY\x01\x00"),
        ("dataset.npz", b"PK\x03\x04"),
        ("run.toml", f"x = {DEEP}"),
        ("run.toml", "x = " + "9" * 6000),
    ],
)
def test_a_damaged_run_file_gives_a_message_and_no_traceback(
    finished_run, tmp_path, capsys, file, content
):
    run = copy_of(finished_run, tmp_path)
    (run / "run.toml").write_text("[campaign]\nseed = 1\nsoils = 30\n")
    (run / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["release", str(run), "--to", str(tmp_path / "models")]) in (2, 3)
    shown = capsys.readouterr().err
    assert 1 <= shown.count("\n") <= 2 and "again" in shown + "again" * (file == "run.toml")
    if file in ("train.json", "network.npz", "dataset.npz", "run.toml"):
        assert main(["evaluate", str(run)]) == 2


@pytest.mark.parametrize("shape", [None, (), (8, 4), (0,)])
def test_a_network_without_an_array_or_with_a_wrong_one_gives_a_message(
    finished_run, tmp_path, capsys, shape
):
    run = copy_of(finished_run, tmp_path)
    (run / "run.toml").write_text("[campaign]\nseed = 1\nsoils = 30\n")
    weights = read_weights(run)
    arrays = {k: v for k, v in weights.arrays.items() if k != "recurrent"}
    if shape is not None:
        arrays = weights.arrays | {"recurrent": np.zeros(shape, dtype=np.float32)}
    other = dataclasses.replace(weights, arrays=arrays)
    (run / "network.npz").write_bytes(network.save_bytes(other))
    for command in ("evaluate", "quantize"):
        assert main([command, str(run)]) in (2, 3)
        assert "again" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["rmse_by_condition", "rmse_of_layers", "best_t_d"])
def test_a_report_without_a_figure_of_the_card_gives_a_message(finished_run, tmp_path, key):
    run = copy_of(finished_run, tmp_path)
    path = run / "evaluate.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in report.items() if k != key}))
    with pytest.raises(ConfigError, match="run these commands again"):
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
    trusted = [minisign.parse_public_key(signing.public_text(key).splitlines()[1])]
    assert minisign.verify((first.path / "MANIFEST").read_bytes(), signature, trusted)
    again = release.run(finished_run, tmp_path, "bucket", "0.3.0", key=key)
    assert not again.fresh and (again.path / bundles.SIGNATURE).read_bytes() == signature


@pytest.fixture(scope="module")
def twin(finished_run, tmp_path_factory):
    """Write a run of the same data set with another network, whose sigma differs."""
    run = tmp_path_factory.mktemp("twin")
    for file in ("network.npz", "model.tflite", "train.json", "quantize.json"):
        shutil.copy(finished_run / file, run)
    replace_network(run, dataclasses.replace(read_weights(run), sigma_scale=(2.0, 2.0)))
    return run


def test_several_runs_are_an_ensemble_that_answers_with_their_mean(finished_run, twin, tmp_path):
    scores = evaluate.report(evaluate.judge([finished_run, twin], progress=False)[0])
    runs = {"others": [twin], "scores": scores}
    path = release.run(finished_run, tmp_path, "duo", "0.1.0", **runs).path
    bundle = bundles.open_bundle(path)
    assert [n.file for n in bundle.networks] == ["model-0.tflite", "model-1.tflite"]
    assert [s.name for s in bundle.states] == ["0.h", "0.c", "1.h", "1.c"]
    each = [
        answer(path / n.file, "litert", bundle.golden_inputs[None], n.states)[0]
        for n in bundle.networks
    ]
    whole = answer(path, "litert", bundle.golden_inputs[None])[0]
    np.testing.assert_allclose(whole[:, 0], np.mean(each, axis=0)[:, 0], atol=1e-6)
    assert (whole[:, 1] > each[0][:, 1]).all() and (whole[:, 1] < each[1][:, 1]).all()
    card = (path / "CARD.md").read_text("utf-8")
    assert "networks (an LSTM of 32 units, an LSTM of 32 units)" in card
    assert card.count("; `") == 2  # the ladder of each


def test_the_scores_of_an_ensemble_are_of_its_joined_answer(finished_run, twin):
    alone, both = (
        {(s.method, s.inputs): s for s in evaluate.judge(runs, progress=False)[0].scores}
        for runs in ([finished_run], [finished_run, twin])
    )
    network, inversion = (NETWORK, COUNTS), ("inversion", COUNTS)
    assert 0.8 < alone[network].stats.coverage_90 < both[network].stats.coverage_90
    assert both[inversion].stats.rmse == alone[inversion].stats.rmse


def test_runs_that_do_not_go_together_are_refused(finished_run, twin, tmp_path):
    with pytest.raises(ConfigError, match="scores of its combined estimate"):
        release.run(finished_run, tmp_path, "duo", "0.1.0", others=[twin])
    run = Path(shutil.copytree(twin, tmp_path / "run"))
    report = json.loads((run / "train.json").read_text())
    (run / "train.json").write_text(json.dumps(report | {"data_hash": "0" * 64}))
    with pytest.raises(ConfigError, match="another data set"):
        release.run(finished_run, tmp_path, "duo", "0.1.0", others=[run], scores={})
    weights = read_weights(twin)
    fewer = dataclasses.replace(
        weights, inputs=weights.inputs[:3], scaling=weights.scaling.of([0, 1, 2])
    )
    shutil.copy(twin / "train.json", run)
    (run / "network.npz").write_bytes(network.save_bytes(fewer))
    with pytest.raises(ConfigError, match="other inputs"):
        release.run(finished_run, tmp_path, "duo", "0.1.0", others=[run], scores={})
    assert not list(tmp_path.glob("duo*"))
