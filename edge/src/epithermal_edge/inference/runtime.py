"""The one place that knows a TFLite runtime: a model file in, a pure step function out.

Two packages run TFLite files and neither serves every Python and processor, so both are tried.
A package that imports may still fail to build an interpreter (tflite-runtime 2.14 under numpy 2)
or refuse a model's operators: a candidate counts only after it has run one step.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import BundleError, ConfigError

Vector = NDArray[np.float32]

MODULES = {"tflite": "tflite_runtime.interpreter", "litert": "ai_edge_litert.interpreter"}
RUNTIME_VARIABLE = "EPITHERMAL_RUNTIME"  # tflite or litert: use this one and no other
INPUTS = ("x", "h", "c")
OUTPUTS = ("y", "h_next", "c_next")

# what importing a foreign binary, building an interpreter and running it were seen to raise
_FAULTS = (
    ImportError,
    OSError,
    ValueError,
    RuntimeError,
    AttributeError,
    TypeError,
    KeyError,
    SystemError,
    MemoryError,
)


class Step:
    """One step of a model: `step(x, h, c) -> y, h_next, c_next`, float32 vectors.

    The interpreter holds buffers only. What the network remembers goes in and comes out, and
    the outputs are copies: calling it does not change what it returned before.

    Parameters
    ----------
    runtime :
        A key of `MODULES`.
    model_path :
        A TFLite file whose signature has `INPUTS` and `OUTPUTS`.
    """

    def __init__(self, runtime: str, model_path: Path) -> None:
        if (
            runtime == "tflite"
            and "tensorflow" in sys.modules
            and MODULES[runtime] not in sys.modules
        ):
            # it binds to symbols of the same name in TensorFlow's libraries: bad_alloc, or worse
            raise ImportError("cannot live in a process that has loaded TensorFlow before it")
        module = importlib.import_module(MODULES[runtime])
        # Without delegates: XNNPACK, which both packages would add, rounds differently in each
        # version, and a quantized model then drifts apart between them; it gains 4 us a step.
        plain = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter: Any = module.Interpreter(
            model_content=model_path.read_bytes(),
            num_threads=1,
            experimental_op_resolver_type=plain,
        )
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        del runner  # it borrows the interpreter, which then refuses to run
        self.runtime = runtime
        self._interpreter = interpreter
        self._inputs = tuple((inputs[k]["index"], tuple(inputs[k]["shape"])) for k in INPUTS)
        self._outputs = tuple(outputs[k]["index"] for k in OUTPUTS)
        self.n_features, self.hidden = (shape[1] for _, shape in self._inputs[:2])

    def __call__(self, x: Vector, h: Vector, c: Vector) -> tuple[Vector, Vector, Vector]:
        """Answer and new state.

        Parameters
        ----------
        x : (F,)
            Features in physical units.
        h, c : (H,) [1]
            Hidden and cell state; zeros at a cold start.

        Returns
        -------
        y : (K,)
            In the order of the bundle's outputs.
        h_next, c_next : (H,) [1]

        Raises
        ------
        ValueError
            A shape is not the model's.
        """
        run = self._interpreter
        for (index, shape), value in zip(self._inputs, (x, h, c), strict=True):
            run.set_tensor(index, np.asarray(value, dtype=np.float32).reshape(shape))
        run.invoke()
        y, h_next, c_next = (run.get_tensor(index)[0] for index in self._outputs)
        return y, h_next, c_next


def available() -> tuple[str, ...]:
    """Runtimes that are installed, by name and in the order of trial; none of them is run."""
    return tuple(
        name
        for name, module in MODULES.items()
        if importlib.util.find_spec(module.partition(".")[0]) is not None
    )


def load(model_path: Path, runtime: str | None = None) -> Step:
    """The model on the first runtime that can run a step of it.

    Parameters
    ----------
    model_path :
        A TFLite file.
    runtime :
        "tflite" or "litert": only this one; None: as EPITHERMAL_RUNTIME says, else each in turn.

    Raises
    ------
    ConfigError
        The name of the runtime is unknown.
    BundleError
        No runtime runs the model; the text names each with its reason.
    """
    asked = runtime or os.environ.get(RUNTIME_VARIABLE) or None
    if asked is not None and asked not in MODULES:
        names = " or ".join(MODULES)
        raise ConfigError(f"runtime {asked!r} is unknown: set {RUNTIME_VARIABLE} to {names}")
    if not model_path.is_file():
        raise BundleError(f"{model_path}: no such model file: install the bundle again")
    reasons = []
    for name in (asked,) if asked else MODULES:
        try:
            return _probed(Step(name, model_path))
        except _FAULTS as fault:
            lines = str(fault).strip().splitlines() or [type(fault).__name__]
            reasons.append(f"{name}: {lines[0]}")
    raise BundleError(
        f"{model_path}: no TFLite runtime runs it ({'; '.join(reasons)}):"
        " install tflite-runtime or ai-edge-litert, or take another bundle"
    )


def _probed(step: Step) -> Step:
    """The step itself, if it answers zeros with finite numbers of the right shapes."""
    zero = np.zeros(step.hidden, dtype=np.float32)
    y, h, c = step(np.zeros(step.n_features, dtype=np.float32), zero, zero)
    if h.shape != zero.shape or c.shape != zero.shape or y.ndim != 1:
        raise ValueError(f"state shapes {h.shape}, {c.shape} do not match {zero.shape}")
    if not all(np.isfinite(v).all() for v in (y, h, c)):
        raise ValueError("a step from zero gives values that are not finite")
    return step
