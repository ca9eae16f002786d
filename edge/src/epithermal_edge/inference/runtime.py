"""Run model files on a TFLite runtime: a model file in, a pure step function out.

Two packages run TFLite files and neither serves every Python and processor, so both are tried.
A package that imports may still fail to build an interpreter (tflite-runtime 2.14 under numpy 2)
or refuse a model's operators: a candidate counts only after it has run one step.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.inference.bundle import (
    REMEDY,
    Bundle,
    State,
    StateTensor,
    StepFn,
    Vector,
    zeros,
)

SIGMA = 1  # of the outputs
MODULES = {"tflite": "tflite_runtime.interpreter", "litert": "ai_edge_litert.interpreter"}
RUNTIME_VARIABLE = "EPITHERMAL_RUNTIME"  # tflite or litert: use this one and no other
NEXT = "_next"  # an output of this ending is the new state of the input without it

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
    """Run one step of a model: `step(x, state) -> y, new state`, float32.

    The interpreter holds buffers only. The state goes in and comes out, and the outputs are
    copies: calling it does not change what it returned before.

    Parameters
    ----------
    runtime :
        A key of `MODULES`.
    model_path :
        A TFLite file whose signature takes x (1, F) and each state tensor (1, ...) by its name,
        and gives y (1, K) and `<name>_next`.
    states :
        The state tensors, in the order in which the state holds them.

    Raises
    ------
    BundleError
        The model has other state tensors, or of another shape.
    """

    def __init__(self, runtime: str, model_path: Path, states: Sequence[StateTensor]) -> None:
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
        _check_signature(model_path, states, inputs, outputs)
        names = [state.name for state in states]
        self.runtime = runtime
        self.states = tuple(states)
        self._interpreter = interpreter
        self._inputs = tuple((inputs[k]["index"], tuple(inputs[k]["shape"])) for k in ("x", *names))
        self._outputs = tuple(outputs[k]["index"] for k in ("y", *(n + NEXT for n in names)))
        self.n_features, self.n_outputs = inputs["x"]["shape"][1], outputs["y"]["shape"][1]

    def __call__(self, x: Vector, state: State) -> tuple[Vector, State]:
        """Return answer and new state.

        Parameters
        ----------
        x : (F,)
            Features in physical units.
        state :
            One array for each state tensor; zeros at a cold start.

        Returns
        -------
        y : (K,)
            In the order of the bundle's outputs.
        new state

        Raises
        ------
        ValueError
            A shape is not the model's.
        """
        run = self._interpreter
        for (index, shape), value in zip(self._inputs, (x, *state), strict=True):
            run.set_tensor(index, np.asarray(value, dtype=np.float32).reshape(shape))
        run.invoke()
        y, *after = (run.get_tensor(index)[0] for index in self._outputs)
        return y, tuple(after)


def _check_signature(
    path: Path, states: Sequence[StateTensor], inputs: dict[str, Any], outputs: dict[str, Any]
) -> None:
    """Raise BundleError where a model's signature is not that of these state tensors."""
    takes, gives = (
        {k: tuple(map(int, d["shape"])) for k, d in v.items()} for v in (inputs, outputs)
    )
    wanted = {state.name: (1, *state.shape) for state in states}
    pairs = [("input", name, takes.get(name), shape) for name, shape in wanted.items()]
    pairs += [("output", n + NEXT, gives.get(n + NEXT), shape) for n, shape in wanted.items()]
    problems = [
        f"no {what} {name}" if found is None else f"{what} {name} of shape {found}, not {shape}"
        for what, name, found, shape in pairs
        if found != shape
    ]
    problems += [
        f"input {name}, which no state tensor is" for name in sorted(takes.keys() - {"x", *wanted})
    ]
    for what, name, found in (("input", "x", takes.get("x")), ("output", "y", gives.get("y"))):
        if found is None or len(found) != 2:
            problems.append(f"{what} {name} of shape {found}, not (1, n)")
    if problems:
        raise BundleError(
            f"{path}: not the model that its bundle describes: {', '.join(problems)}: {REMEDY}"
        )


def available() -> tuple[str, ...]:
    """List the installed runtimes by name, in the order of trial, without running them."""
    return tuple(
        name
        for name, module in MODULES.items()
        if importlib.util.find_spec(module.partition(".")[0]) is not None
    )


def load(bundle: Bundle, runtime: str | None = None) -> Step | Ensemble:
    """Load the networks of a bundle on the first runtime that can run a step of each.

    Parameters
    ----------
    runtime :
        "tflite" or "litert": only this one; None: the one of EPITHERMAL_RUNTIME, else each in turn.

    Returns
    -------
    Step | Ensemble
        A step function; its `runtime` is the name of the one it runs on.

    Raises
    ------
    ConfigError
        The name of the runtime is unknown.
    BundleError
        No runtime runs a model, and the text names each with its reason; or a model is not what
        the bundle describes.
    """
    steps = _load([(bundle.path / n.file, n.states) for n in bundle.networks], runtime)
    for step, network in zip(steps, bundle.networks, strict=True):
        widths = (step.n_features, step.n_outputs)
        if widths != (len(bundle.features), len(bundle.outputs)):
            raise BundleError(
                f"{bundle.path / network.file}: takes {widths[0]} features and gives {widths[1]}"
                f" outputs, its bundle has {len(bundle.features)} and {len(bundle.outputs)}:"
                f" {REMEDY}"
            )
    if len(steps) == 1:
        return steps[0]
    sizes = tuple(len(step.states) for step in steps)
    return Ensemble(tuple(steps), sizes, steps[0].runtime)


def load_model(model_path: Path, states: Sequence[StateTensor], runtime: str | None = None) -> Step:
    """Load one model file that is in no bundle yet; otherwise as `load`."""
    return _load([(model_path, states)], runtime)[0]


def _load(models: Sequence[tuple[Path, Sequence[StateTensor]]], runtime: str | None) -> list[Step]:
    """Load model files with their state tensors, all on one runtime."""
    asked = runtime or os.environ.get(RUNTIME_VARIABLE) or None
    if asked is not None and asked not in MODULES:
        names = " or ".join(MODULES)
        raise ConfigError(f"runtime {asked!r} is unknown: set {RUNTIME_VARIABLE} to {names}")
    for path, _ in models:
        if not path.is_file():
            raise BundleError(f"{path}: no such model file: {REMEDY}")
    reasons = []
    for name in (asked,) if asked else MODULES:
        at = models[0][0]
        steps = []
        try:
            for at, states in models:
                steps.append(_probed(Step(name, at, states)))
        except _FAULTS as fault:
            lines = str(fault).strip().splitlines() or [type(fault).__name__]
            reasons.append(f"{name}: {lines[0]}")
        else:
            return steps
    raise BundleError(
        f"{at}: no TFLite runtime runs it ({'; '.join(reasons)}):"
        " install tflite-runtime or ai-edge-litert, or take another bundle"
    )


def _probed(step: Step) -> Step:
    """Check that a step from zeros gives finite numbers of the right shapes; return the step."""
    cold = zeros(step.states)
    y, state = step(np.zeros(step.n_features, dtype=np.float32), cold)
    if [array.shape for array in state] != [array.shape for array in cold] or y.ndim != 1:
        raise ValueError(f"y of shape {y.shape}, state of shapes {[a.shape for a in state]}")
    if not all(np.isfinite(v).all() for v in (y, *state)):
        raise ValueError("a step from zero gives values that are not finite")
    return step


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Join several step functions, each with state tensors of its own, into one."""

    members: tuple[StepFn, ...]
    sizes: tuple[int, ...]  # number of state tensors of each member
    runtime: str  # that they run on

    def __call__(self, x: Vector, state: State) -> tuple[Vector, State]:
        """Return joined answer and new state; the state lists the members' tensors in order."""
        answers: list[Vector] = []
        after: list[Vector] = []
        at = 0
        for step, size in zip(self.members, self.sizes, strict=True):
            y, new = step(x, state[at : at + size])
            answers.append(y)
            after += new
            at += size
        if at != len(state):
            raise ValueError(f"a state of {at} arrays, not of {len(state)}")
        return joined(np.stack(answers)), tuple(after)


def joined(answers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Join the answers of the members of an ensemble.

    Parameters
    ----------
    answers : (M, ..., K) [m3 m-3]
        Of each member, in the order of the bundle's outputs.

    Returns
    -------
    (..., K) [m3 m-3]
        Means; sigma^2 is the mean of the members' sigma^2 plus the variance of their theta: that
        of a mixture of equal parts.

    References
    ----------
    Lakshminarayanan, Pritzel and Blundell (2017), section 2.4.
    """
    y = answers.astype(np.float64)
    out: NDArray[np.float64] = y.mean(axis=0)
    out[..., SIGMA] = np.sqrt(np.mean(y[..., SIGMA] ** 2, axis=0) + y[..., 0].var(axis=0))
    return out.astype(np.float32)
