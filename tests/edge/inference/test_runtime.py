"""One adapter for two runtimes: tried by running, equal in what they answer.

Each runtime is tried in an interpreter of its own, because tflite-runtime cannot be loaded where
another test has loaded TensorFlow.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.inference import runtime
from epithermal_edge.inference.bundle import StateTensor, open_bundle, zeros

BUCKET = Path(__file__).resolve().parents[2] / "golden" / "bucket-0.1.0"
MODEL = BUCKET / "model.tflite"
STATES = open_bundle(BUCKET).states

GOLDEN = """
import json, sys
from pathlib import Path
from epithermal_edge.inference import bundle
from epithermal_edge.inference import estimator
from epithermal_edge.inference import runtime
b = bundle.open_bundle(Path(sys.argv[1]))
step = runtime.load(b)
error = estimator.check_golden(b, step)
answers = estimator.stream(step, b.cold_state(), b.golden_inputs)
print(json.dumps([step.runtime, error, answers.tolist()]))
"""


def run(code, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def golden_on(name):
    if name not in runtime.available():
        pytest.skip(f"{name} is not installed")
    done = run(GOLDEN, BUCKET, EPITHERMAL_RUNTIME=name)
    assert done.returncode == 0, done.stderr
    used, error, answers = json.loads(done.stdout)
    assert used == name
    return error, np.array(answers)


@pytest.mark.parametrize("name", runtime.MODULES)
def test_the_golden_vectors_hold_on_each_runtime_that_the_variable_asks_for(name):
    error, answers = golden_on(name)
    assert error <= 1e-4 and answers.shape == (400, 5)


def test_both_runtimes_answer_the_same():
    (_, tflite), (_, litert) = golden_on("tflite"), golden_on("litert")
    np.testing.assert_allclose(tflite, litert, rtol=0, atol=1e-5)  # what ships had to


@pytest.mark.parametrize(
    ("broken", "other"), [("tflite_runtime.interpreter", "litert"), ("ai_edge_litert", "tflite")]
)
def test_a_runtime_that_is_not_installed_gives_way_to_the_other(broken, other):
    code = f"import sys; sys.modules[{broken!r}] = None\n" + GOLDEN
    done = run(code, BUCKET, EPITHERMAL_RUNTIME="")
    if other in runtime.available():
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[0] == other
    else:
        assert done.returncode != 0
        assert "BundleError" in done.stderr and f"{other}: " in done.stderr


def test_a_runtime_that_imports_but_cannot_build_an_interpreter_gives_way_too():
    if "litert" not in runtime.available():
        pytest.skip("litert is not installed")
    code = "import sys, types; sys.modules['tflite_runtime.interpreter'] = types.ModuleType('x')\n"
    done = run(code + GOLDEN, BUCKET, EPITHERMAL_RUNTIME="")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0] == "litert"


def test_a_runtime_that_is_asked_for_and_fails_is_not_replaced():
    code = "import sys; sys.modules['ai_edge_litert'] = None\n" + GOLDEN
    done = run(code, BUCKET, EPITHERMAL_RUNTIME="litert")
    assert done.returncode != 0
    assert "BundleError" in done.stderr and "litert: " in done.stderr


@pytest.mark.parametrize("content", [b"", b"TFL3", b"no model at all" * 100])
def test_a_file_that_is_no_model_is_refused_in_one_line_that_names_each_runtime(tmp_path, content):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(BundleError) as caught:
        runtime.load_model(path, STATES)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert all(f"{name}: " in str(caught.value) for name in runtime.MODULES)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"nothing\.tflite"):
        runtime.load_model(tmp_path / "nothing.tflite", STATES)


def test_an_unknown_runtime_is_a_fault_of_the_configuration(monkeypatch):
    monkeypatch.setenv("EPITHERMAL_RUNTIME", "tensorrt")
    with pytest.raises(ConfigError, match="tflite or litert"):
        runtime.load_model(MODEL, STATES)


def test_the_state_goes_in_and_comes_out_and_nothing_stays_inside():
    step = runtime.load_model(MODEL, STATES)
    rng = np.random.default_rng(1)
    x = rng.random(step.n_features).astype(np.float32)
    h, c = rng.standard_normal((2, 32)).astype(np.float32)
    y, state = step(x, (h, c))
    first = (y, *state)
    kept = [v.copy() for v in first]
    step(x + 1, (-h, c))
    y, state = step(x, (h, c))
    for a, b, k in zip(first, (y, *state), kept, strict=True):
        np.testing.assert_array_equal(a, k)  # what it gave is not overwritten
        np.testing.assert_array_equal(a, b)
    assert [v.dtype for v in first] == [np.float32] * 3
    assert [v.shape for v in first] == [(5,), (32,), (32,)]


def test_a_vector_of_another_width_is_refused():
    step = runtime.load_model(MODEL, STATES)
    with pytest.raises(ValueError, match="reshape"):
        step(np.zeros(step.n_features + 1, dtype=np.float32), zeros(STATES))


@pytest.mark.parametrize(
    ("states", "problem"),
    [
        ([("h", (32,)), ("r", (32,))], r"no input r, no output r_next, input c, which no state"),
        ([("h", (32,))], "input c, which no state tensor is"),
        ([("h", (32,)), ("c", (16, 2))], r"input c of shape \(1, 32\), not \(1, 16, 2\)"),
    ],
)
def test_a_model_with_other_state_tensors_than_named_is_refused_and_they_are_named(states, problem):
    with pytest.raises(BundleError, match=problem) as caught:
        runtime.load_model(MODEL, [StateTensor(*state) for state in states])
    assert "\n" not in str(caught.value)
