"""List the kinds of network, and build the graphs of trained weights.

A new kind is a module beside `lstm` that has what `Kind` lists, and a line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import StateTensor
from epithermal_host.arrays import Array32
from epithermal_host.training import lstm
from epithermal_host.training.frameworks import load
from epithermal_host.training.network import Weights, columns
from epithermal_host.training.scaling import Scaling

PARTS_AT_ONCE = 2


class Kind(Protocol):
    """List what the module of a kind has."""

    TITLE: str  # "an LSTM"
    WEIGHT_NAMES: tuple[str, ...]  # of the sequence graph's arrays, in its order
    HEAD_INPUT: str  # the state tensor that a linear head multiplies; empty: there is none

    def hidden(self, weights: Weights) -> int:
        """Return the value of [train] hidden that the weights have."""

    def state_tensors(self, weights: Weights) -> tuple[StateTensor, ...]:
        """List what the step graph carries from step to step."""

    def build(
        self,
        hidden: int,
        inputs: tuple[str, ...],
        scaling: Scaling,
        seed: int,
        sigma_scale: tuple[float, float] = (1.0, 1.0),
    ) -> Any:
        """Build the sequence graph: Keras, [x (B, T, F), *state] to [y (B, T, K), *state]."""

    def step_module(self, weights: Weights) -> tuple[Any, Any]:
        """Return tf.Module and concrete function of one step.

        x and each state tensor by its name go in; a dict of y and each `<name>_next` comes out.
        """

    def states(self, weights: Weights, x: Array32) -> tuple[Array32, ...]:
        """Return the state tensors (T, ...) before each step of a series x (T, F), begun cold."""


KINDS: dict[str, Kind] = {"lstm": lstm}


def kind(name: str) -> Kind:
    """Return the module of a kind.

    Raises
    ------
    ConfigError
        There is none of that name.
    """
    if name not in KINDS:
        raise ConfigError(f"network {name!r} is of no known kind: use {' or '.join(KINDS)}")
    return KINDS[name]


def state_tensors(weights: Weights) -> tuple[StateTensor, ...]:
    """List what the step graph of a network carries from step to step."""
    return kind(weights.kind).state_tensors(weights)


def title(weights: Weights) -> str:
    """Describe a network for people: "an LSTM of 32 units"."""
    own = kind(weights.kind)
    return f"{own.TITLE} of {own.hidden(weights)} units"


def named(name: str, inputs: tuple[str, ...], values: Sequence[Array32], scaling: Scaling,
          sigma_scale: tuple[float, float] = (1.0, 1.0)) -> Weights:  # fmt: skip
    """Make weights from the arrays of a sequence graph, in its order."""
    arrays = dict(zip(kind(name).WEIGHT_NAMES, values, strict=True))
    return Weights(name, inputs, arrays, scaling, sigma_scale)


def sequence_graph(weights: Weights) -> Any:
    """Build the sequence graph of trained weights."""
    own = kind(weights.kind)
    model = own.build(own.hidden(weights), weights.inputs, weights.scaling, 0, weights.sigma_scale)
    model.set_weights(list(weights.arrays.values()))
    return model


def cold_state(model: Any, series: int) -> list[Array32]:
    """Return the state of a sequence graph before the first step of so many series."""
    return [np.zeros((series, *tensor.shape[1:]), dtype=np.float32) for tensor in model.inputs[1:]]


def sequence_function(
    model: Any, inputs: Sequence[str], batch: int = 256
) -> Callable[[Array32], Array32]:
    """Make a sequence graph a function over whole series, each from a cold state.

    Returns
    -------
    function
        Of all features (S, T, len(NAMES)), gives (S, T, K) [m3 m-3]. It follows the weights of the
        model.
    """
    _, tf = load()
    picked = columns(inputs)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None, None, len(inputs)), tf.float32),
            *(tf.TensorSpec(tensor.shape, tf.float32) for tensor in model.inputs[1:]),
        ]
    )
    def forward(x: Any, *state: Any) -> Any:
        return model([x, *state], training=False)[0]

    def answer(features: Array32) -> Array32:
        y: Array32 = forward(features[..., picked], *cold_state(model, len(features))).numpy()
        return y

    def run(features: Array32) -> Array32:
        parts = [features[i : i + batch] for i in range(0, len(features), batch)]
        with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:  # each part in one thread
            return np.concatenate(list(pool.map(answer, parts)))

    return run


def sequence(weights: Weights) -> Callable[[Array32], Array32]:
    """Make trained weights a function over whole series, see `sequence_function`."""
    return sequence_function(sequence_graph(weights), weights.inputs)
