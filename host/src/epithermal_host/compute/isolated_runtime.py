"""Run a model file on a TFLite runtime in a separate process.

tflite-runtime cannot run in a process that has loaded TensorFlow, and a runtime may crash its
process on a model that it does not support.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from epithermal_edge.errors import BundleError, EpithermalError
from epithermal_edge.inference import estimator, runtime
from epithermal_edge.inference.bundle import StateTensor, StepFn, open_bundle, zeros
from epithermal_host.arrays import Array32

TIMEOUT_S = 3600.0


def answer(
    model: Path, name: str, series: Array32, states: Sequence[StateTensor] | None = None
) -> Array32:
    """Stream series through a model, each from a cold state.

    Parameters
    ----------
    model :
        A bundle's folder; or a TFLite file, with `states`.
    name :
        Of the runtime, "tflite" or "litert".
    series : (S, T, F)
        Features in physical units, those that the model wants.
    states :
        State tensors of a model file.

    Returns
    -------
    (S, T, K) [m3 m-3]

    Raises
    ------
    BundleError
        The runtime cannot run it; one line.
    """
    with tempfile.TemporaryDirectory(prefix="epithermal-") as folder:
        questions, answers = Path(folder) / "questions.npy", Path(folder) / "answers.npy"
        np.save(questions, series)
        tensors = None if states is None else [(state.name, state.shape) for state in states]
        command = [sys.executable, "-m", __name__, str(model), name, json.dumps(tensors)]
        done = subprocess.run(
            [*command, str(questions), str(answers)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"it died with {done.returncode}"]
            raise BundleError(lines[-1])
        out: Array32 = np.load(answers)
    return out


def _main(model: str, name: str, states: str, questions: str, answers: str) -> None:
    try:
        step: StepFn
        tensors = json.loads(states)
        if tensors is None:
            bundle = open_bundle(Path(model))
            step, cold = runtime.load(bundle, name), bundle.cold_state()
        else:
            named = [StateTensor(key, tuple(shape)) for key, shape in tensors]
            step, cold = runtime.load_model(Path(model), named, name), zeros(named)
        out = np.stack([estimator.stream(step, cold, x) for x in np.load(questions)])
    except (EpithermalError, RuntimeError, ValueError) as fault:
        sys.exit(str(fault))
    np.save(answers, out)


if __name__ == "__main__":
    _main(*sys.argv[1:])
