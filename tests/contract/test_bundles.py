"""Bundles of every kind run on the same station, which stores and restores the state of each.

They are an LSTM of three features, a GRU, an ensemble of three networks, and two of schema 1 with
LSTMs of all features. Each runtime is tested in a separate process: tflite-runtime cannot be loaded
after another test has loaded TensorFlow.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from tests.support.bundles import list_again
from tests.support.rig import ROOT, START_S

from epithermal_edge.cli import simulator
from epithermal_edge.errors import BundleError
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import pipeline, runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.inference.features import FEATURES
from epithermal_edge.inference.snapshot import from_parts, to_parts
from epithermal_edge.journal.journal import Journal

GOLDEN = ROOT / "tests" / "golden"
SCHEMA_1 = (ROOT / "models" / "rootzone-1.0.0", GOLDEN / "bucket-0.1.0")
BUNDLES = (*SCHEMA_1, *(GOLDEN / f"{name}-0.1.0" for name in ("three", "gru", "trio")))
STATES = {
    "rootzone-1.0.0": {"h": 128, "c": 128},
    "bucket-0.1.0": {"h": 32, "c": 32},
    "three-0.1.0": {"h": 8, "c": 8},
    "gru-0.1.0": {"h": 8},
    "trio-0.1.0": {"0.h": 8, "0.c": 8, "1.h": 8, "2.h": 8, "2.c": 8},
}
every_bundle = pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)

ON_A_STATION = """
import json, sys
from pathlib import Path
import numpy as np
from epithermal_edge.cli import simulator
from epithermal_edge.inference import Engine, advance, estimator, open_bundle, runtime, start

results = {}
for path in sys.argv[2:]:
    bundle = open_bundle(Path(path))
    step = runtime.load(bundle, sys.argv[1])
    error = estimator.check_golden(bundle, step)
    golden = estimator.stream(step, bundle.cold_state(), bundle.golden_inputs)
    same = bool((golden == bundle.golden_outputs.astype(np.float32)).all())
    engine = Engine(simulator.SITE, bundle, step)
    state, theta = start(engine), []
    for record in simulator.records(4.0, 3, 1767225600.0):
        state, outcome = advance(engine, state, record)
        theta.append([float.hex(v) for v in (outcome.estimate.theta, outcome.estimate.theta_sigma)])
    results[bundle.name] = {"runtime": step.runtime, "error": error, "same": same, "theta": theta}
print(json.dumps(results))
"""

# July: SQLite stores -0.0 degC as 0, and a state that is computed again then differs by a sign
IN_THE_JOURNAL = """
import sys
from pathlib import Path
from epithermal_edge.cli import simulator
from epithermal_edge.inference import Engine, advance, open_bundle, runtime, start
from epithermal_edge.journal.journal import Journal

bundle = open_bundle(Path(sys.argv[1]))
engine = Engine(simulator.SITE, bundle, runtime.load(bundle, "litert"))
journal, state = Journal(Path(sys.argv[2])), start(engine)
for seq, record in enumerate(simulator.records(40.0, 3, 1782864000.0), 1):
    state, _ = advance(engine, state, record)
    journal.commit(seq, record, state, engine.fingerprint(), ())
    print(seq, flush=True)
"""


def on_a_station(name, paths, source=None):
    """Run each bundle on one runtime in a new process, with another source tree if given."""
    if name not in runtime.available():
        pytest.skip(f"{name} is not installed")
    environment = dict(os.environ)
    if source is not None:
        environment["PYTHONPATH"] = str(source)
    done = subprocess.run(
        [sys.executable, "-c", ON_A_STATION, name, *map(str, paths)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def answers():
    """Run all bundles on both runtimes."""
    return {name: on_a_station(name, BUNDLES) for name in runtime.available()}


def engine_of(path):
    bundle = open_bundle(path)
    return Engine(simulator.SITE, bundle, runtime.load(bundle, "litert"))


def days(number):
    return list(simulator.records(number, 3, START_S))


@every_bundle
def test_each_schema_opens_into_the_same_value(path):
    bundle = open_bundle(path)
    schema = tomllib.loads((path / "bundle.toml").read_text("utf-8"))["schema"]
    assert schema == (1 if path in SCHEMA_1 else 2)
    assert {state.name: state.shape for state in bundle.states} == {
        name: (width,) for name, width in STATES[path.name].items()
    }
    assert [FEATURES[i].name for i in bundle.columns] == [f.name for f in bundle.features]


@pytest.mark.parametrize("name", runtime.MODULES)
def test_golden_vectors_hold_on_each_runtime(answers, name):
    if name not in answers:
        pytest.skip(f"{name} is not installed")
    assert len(answers[name]) == len(BUNDLES)
    for path in BUNDLES:
        result = answers[name][path.name.rpartition("-")[0]]
        assert result["runtime"] == name
        assert result["error"] <= open_bundle(path).golden_tolerance


def test_the_released_bundle_reproduces_its_golden_outputs_bit_for_bit(answers):
    if "tflite" not in answers or platform.machine() != "x86_64":
        pytest.skip("its golden vectors are tflite-runtime's on x86_64")
    assert answers["tflite"]["rootzone"]["same"]


def test_both_runtimes_give_the_same_estimates(answers):
    if len(answers) < 2:
        pytest.skip("needs two runtimes")
    for name in answers["tflite"]:
        tflite, litert = (
            np.array([[float.fromhex(v) for v in row] for row in answers[r][name]["theta"]])
            for r in ("tflite", "litert")
        )
        assert np.isfinite(tflite[1:]).all() and np.ptp(tflite[1:, 0]) > 0.001
        np.testing.assert_allclose(tflite, litert, rtol=0, atol=1e-4, err_msg=name)


@every_bundle
def test_a_network_gets_the_features_that_its_bundle_names(path):
    engine, records = engine_of(path), days(2.0)
    names = [feature.name for feature in FEATURES]
    piped, states, expected = pipeline.start(1), {}, []
    for record in records:
        piped, _, windows = pipeline.step(engine.site, piped, record)
        for window in windows:
            named = dict(zip(names, window.features[0].astype(np.float32), strict=True))
            x = np.array([named[f.name] for f in engine.bundle.features])
            phase, cold = window.hour % 24, engine.bundle.cold_state()
            before = cold if window.restart[0] else states.get(phase, cold)
            y, states[phase] = engine.step(x, before)
            expected.append((window.hour * 3600.0, float(y[0])))
    state, estimates = engines.start(engine), {}
    for record in records:
        state, outcome = engines.advance(engine, state, record)
        estimates[outcome.estimate.window_end_s] = outcome.estimate.theta
    assert expected and all(estimates[end_s] == theta for end_s, theta in expected)


@every_bundle
def test_its_state_is_restored_from_its_parts(path):
    engine = engine_of(path)
    state = engines.start(engine)
    for record in days(2.0):
        state, _ = engines.advance(engine, state, record)
    made_for = engine.fingerprint()
    parts = to_parts(state, made_for)
    again = from_parts(parts, made_for, engines.start(engine))
    assert to_parts(again, made_for) == parts
    stored = [name for name, *_ in json.loads(parts["phase 05"].layout)]
    assert stored == [*STATES[path.name], "age", "storage_mm", "rain_mm"]
    assert all(tensor.any() for tensor in again.network.tensors)


@every_bundle
def test_a_killed_station_continues_with_the_state_of_its_last_record(path, tmp_path):
    killed = subprocess.Popen(
        [sys.executable, "-c", IN_THE_JOURNAL, str(path), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(60):
        assert killed.stdout.readline(), "the station ended by itself"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    engine = engine_of(path)
    journal = Journal(tmp_path)
    made_for = engine.fingerprint()
    state = journal.load_state(made_for, engines.start(engine))
    assert journal.last_seq() >= 60
    expected = engines.rebuild(engine, journal.records())
    journal.close()
    assert to_parts(state, made_for) == to_parts(expected, made_for)


@pytest.fixture
def later(tmp_path):
    """Copy the station's source and insert a feature in first place, as a later version may."""
    source = tmp_path / "later"
    shutil.copytree(ROOT / "edge" / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    path = source / "epithermal_edge" / "inference" / "features.py"
    text = path.read_text("utf-8")
    for old, new in (
        ("FEATURES = (\n", 'FEATURES = (\n    Feature("live_h", "h"),\n'),
        ("    values = {\n", '    values = {\n        "live_h": sums[:, Bin.LIVE_S] / HOUR_S,\n'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text, "utf-8")
    return source


def test_a_new_feature_invalidates_no_bundle_and_changes_no_estimate(answers, later):
    name = runtime.available()[0]
    assert on_a_station(name, BUNDLES, source=later) == answers[name]


def test_a_bundle_with_a_feature_of_a_later_version_is_rejected(tmp_path):
    path = changed(tmp_path, lambda table: table["features"][2].update(name="moon", unit="1"))
    with pytest.raises(BundleError, match=r"features moon \[1\] are not known.*update") as caught:
        open_bundle(path)
    assert "\n" not in str(caught.value)


def changed(folder: Path, change):
    """Copy the bundle of three features and change its bundle.toml."""
    path = folder / "three-0.1.0"
    shutil.copytree(GOLDEN / "three-0.1.0", path)
    table = tomllib.loads((path / "bundle.toml").read_text("utf-8"))
    change(table)
    (path / "bundle.toml").write_text(tomli_w.dumps(table), "utf-8")
    return list_again(path)


def state_of(table):
    return table["network"][0]["state"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: state_of(t)[1].update(name="r"), "no input r, no output r_next, input c, which"),
        (lambda t: state_of(t).pop(), "input c, which no state tensor is"),
        (lambda t: state_of(t)[1].update(shape=[9]), r"input c of shape \(1, 8\), not \(1, 9\)"),
        (lambda t: state_of(t)[1].update(shape=[2, 4]), r"c of shape \(1, 8\), not \(1, 2, 4\)"),
    ],
)
def test_a_model_without_the_state_that_its_bundle_names_is_rejected(tmp_path, change, problem):
    bundle = open_bundle(changed(tmp_path, change))
    with pytest.raises(BundleError, match=problem) as caught:
        runtime.load(bundle)
    assert "\n" not in str(caught.value) and "model.tflite" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: state_of(t)[1].update(name="age"), "state age: use other names"),
        (lambda t: state_of(t)[1].update(name="h"), "state h, h: use other names"),
        (lambda t: state_of(t)[1].update(name="../c"), "use other names"),
        (lambda t: state_of(t)[1].update(shape=[0]), r"state c has shape \[0\]"),
        (lambda t: t["network"][0].update(head_input="z"), "head_input 'z'"),
        (lambda t: t["network"].append(t["network"][0]), "each with a file of its own"),
        (lambda t: t["network"][0].update(file="other.tflite"), "not listed in MANIFEST"),
        (lambda t: t.update(network=[]), "at least one"),
        (lambda t: t.pop("network"), "network"),
        (lambda t: t["features"].append(t["features"][0]), "each once"),
    ],
)
def test_an_invalid_description_of_networks_is_rejected(tmp_path, change, problem):
    path = changed(tmp_path, change)
    with pytest.raises(BundleError, match=problem) as caught:
        open_bundle(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_bundle_whose_model_has_another_number_of_features_is_rejected(tmp_path):
    path = changed(tmp_path, lambda table: table["features"].pop())
    header, *rows = [row.split(",") for row in (path / "golden.csv").read_text().splitlines()]
    at = header.index("gap")
    lines = [",".join(row[:at] + row[at + 1 :]) for row in (header, *rows)]
    (path / "golden.csv").write_text("\n".join(lines) + "\n")
    bundle = open_bundle(list_again(path))
    with pytest.raises(BundleError, match="takes 3 features and gives 5 outputs, its bundle has 2"):
        runtime.load(bundle)
