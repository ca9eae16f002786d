"""List the kinds of network, and build the graphs of trained weights.

To add a kind, write a module like `lstm` that implements `Kind`, and list it in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import StateTensor
from epithermal_host.arrays import Array32
from epithermal_host.compute.damage import DAMAGE
from epithermal_host.training import lstm
from epithermal_host.training.frameworks import load
from epithermal_host.training.network import WEIGHTS, Weights, columns
from epithermal_host.training.scaling import Scaling

PARTS_AT_ONCE = 2
AGAIN = "train again"


class Kind(Protocol):
    """Interface of the module of a kind."""

    TITLE: str  # "an LSTM"
    WEIGHT_NAMES: tuple[str, ...]  # of the sequence graph's arrays, in its order
    HEAD_INPUT: str  # the state tensor that a linear head multiplies; empty: none

    def hidden(self, weights: Weights) -> int:
        """Return the width of the weights, as in [train] hidden."""

    def state_tensors(self, weights: Weights) -> tuple[StateTensor, ...]:
        """List the state tensors of the step graph."""

    def build(
        self,
        hidden: int,
        inputs: tuple[str, ...],
        scaling: Scaling,
        seed: int,
        sigma_scale: tuple[float, float] = (1.0, 1.0),
    ) -> Any:
        """Build the sequence graph in Keras, [x (B, T, F), *state] to [y (B, T, K), *state]."""

    def step_module(self, weights: Weights) -> tuple[Any, Any]:
        """Return tf.Module and concrete function of one step.

        Its arguments are x and each state tensor by name; it returns a dict of y and `<name>_next`.
        """

    def states(self, weights: Weights, x: Array32) -> tuple[Array32, ...]:
        """Return the state tensors (T, ...) before each step of x (T, F), from a cold start."""


KINDS: dict[str, Kind] = {"lstm": lstm}


def kind(name: str) -> Kind:
    """Return the module of a kind.

    Raises
    ------
    ConfigError
        The name is unknown.
    """
    if name not in KINDS:
        raise ConfigError(f"unknown kind of network {name!r}: use {' or '.join(KINDS)}")
    return KINDS[name]


def state_tensors(weights: Weights) -> tuple[StateTensor, ...]:
    """List the state tensors of the step graph of a network.

    Raises
    ------
    ConfigError
        An array of the weights is missing or has an impossible shape.
    """
    own = kind(weights.kind)
    try:
        if set(weights.arrays) != set(own.WEIGHT_NAMES):
            raise ValueError(f"arrays {', '.join(weights.arrays)}")
        return own.state_tensors(weights)
    except DAMAGE as fault:
        raise ConfigError(
            f"{WEIGHTS}: not the network of {own.TITLE} ({fault}): {AGAIN}"
        ) from fault


def title(weights: Weights) -> str:
    """Describe a network in words: "an LSTM of 32 units"."""
    own = kind(weights.kind)
    return f"{own.TITLE} of {own.hidden(weights)} units"


def weights_from_arrays(
    name: str,
    inputs: tuple[str, ...],
    values: Sequence[Array32],
    scaling: Scaling,
    sigma_scale: tuple[float, float] = (1.0, 1.0),
) -> Weights:
    """Create weights from the arrays of a sequence graph, in its order."""
    arrays = dict(zip(kind(name).WEIGHT_NAMES, values, strict=True))
    return Weights(name, inputs, arrays, scaling, sigma_scale)


def sequence_graph(weights: Weights) -> Any:
    """Build the sequence graph of trained weights.

    Raises
    ------
    ConfigError
        An array of the weights is missing or has an impossible shape.
    """
    state_tensors(weights)
    own = kind(weights.kind)
    hidden, inputs = own.hidden(weights), weights.inputs
    model = own.build(hidden, inputs, weights.scaling, 0, weights.sigma_scale)
    try:
        model.set_weights(list(weights.arrays.values()))
    except ValueError as fault:
        text = str(fault).splitlines()[0]
        raise ConfigError(f"{WEIGHTS}: not the network of {own.TITLE} ({text}): {AGAIN}") from fault
    return model


def cold_state(model: Any, series: int) -> list[Array32]:
    """Return the cold state of a sequence graph for a number of series."""
    return [np.zeros((series, *tensor.shape[1:]), dtype=np.float32) for tensor in model.inputs[1:]]


def sequence_function(
    model: Any, inputs: Sequence[str], batch: int = 64
) -> Callable[[Array32], Array32]:
    """Build a function that runs a sequence graph over whole series from cold states.

    Returns
    -------
    function
        Maps all features (S, T, len(NAMES)) to outputs (S, T, K) [m3 m-3]. It uses the weights that
        the model has at the time of the call.
    """
    _, tf = load()
    selected = columns(inputs)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None, None, len(inputs)), tf.float32),
            *(tf.TensorSpec(tensor.shape, tf.float32) for tensor in model.inputs[1:]),
        ]
    )
    def forward(x: Any, *state: Any) -> Any:
        return model([x, *state], training=False)[0]

    def estimate(features: Array32) -> Array32:
        y: Array32 = forward(features[..., selected], *cold_state(model, len(features))).numpy()
        return y

    def run(features: Array32) -> Array32:
        parts = [features[i : i + batch] for i in range(0, len(features), batch)]
        with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:  # one thread for each part
            return np.concatenate(list(pool.map(estimate, parts)))

    return run


def sequence(weights: Weights) -> Callable[[Array32], Array32]:
    """Build a function that runs trained weights over whole series, see `sequence_function`."""
    return sequence_function(sequence_graph(weights), weights.inputs)
