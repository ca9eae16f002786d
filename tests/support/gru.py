"""Define a second kind of network, a GRU, as `epithermal_host.training.kinds.Kind` requires.

    z = sigma(W_z s(x) + U_z h + b_z);  r likewise;  g = tanh(W_g s(x) + b_g + r (U_g h + c_g))
    h' = z h + (1 - z) g;  d = V h' + v

References
----------
Cho et al. 2014; with the reset gate after the product, as Keras has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from epithermal_edge.inference.bundle import StateTensor
from epithermal_host.arrays import Array32
from epithermal_host.training.frameworks import load
from epithermal_host.training.head import UNITS, outputs
from epithermal_host.training.network import Weights
from epithermal_host.training.scaling import Scaling

TITLE = "a GRU"
HEAD_INPUT = "h"
WEIGHT_NAMES: tuple[str, ...] = ("kernel", "recurrent", "bias", "head", "head_bias")
"""W (F, 3H), U (H, 3H), biases of both (2, 3H), V (H, UNITS), v (UNITS,)."""


def hidden(weights: Weights) -> int:
    """Return the width H of h."""
    return int(weights.arrays["recurrent"].shape[0])


def state_tensors(weights: Weights) -> tuple[StateTensor, ...]:
    """Return the state tensor h (H,)."""
    return (StateTensor("h", (hidden(weights),)),)


def build(
    hidden: int,
    inputs: tuple[str, ...],
    scaling: Scaling,
    seed: int,
    sigma_scale: tuple[float, float] = (1.0, 1.0),
) -> Any:
    """Build the sequence graph: a Keras model of x (B, T, F), h (B, H) to y, h'."""
    keras, _ = load()
    x, h = keras.Input((None, len(inputs)), name="x"), keras.Input((hidden,), name="h")
    gru = keras.layers.GRU(
        hidden,
        return_sequences=True,
        return_state=True,
        use_cudnn=False,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seed + 1),
    )
    sequence, h_next = gru((x - scaling.offset) * scaling.scale, initial_state=h)
    head = keras.layers.Dense(UNITS, kernel_initializer="zeros")(sequence)
    y = outputs(x, head, inputs, sigma_scale, keras.ops.sqrt, keras.ops.minimum)
    return keras.Model([x, h], [keras.ops.concatenate(y, axis=-1), h_next])


def states(weights: Weights, x: Array32) -> tuple[Array32, ...]:
    """Return h (T, H) before each step of one series x (T, F) from a cold start."""
    w, h, before = weights.arrays, np.zeros(hidden(weights), dtype=np.float32), []
    for row in (x - weights.scaling.offset) * weights.scaling.scale:
        before.append(h)
        (a_z, a_r, a_g), (b_z, b_r, b_g) = (
            np.split(value, 3)
            for value in (row @ w["kernel"] + w["bias"][0], h @ w["recurrent"] + w["bias"][1])
        )
        z, r = 1.0 / (1.0 + np.exp(-a_z - b_z)), 1.0 / (1.0 + np.exp(-a_r - b_r))
        h = z * h + (1.0 - z) * np.tanh(a_g + r * b_g)
    return (np.array(before, dtype=np.float32),)


def step_module(weights: Weights) -> tuple[Any, Any]:
    """Return a module with `step(x (1, F), h (1, H)) -> {y (1, K), h_next}`."""
    _, tf = load()
    w = weights.arrays

    @tf.function(
        input_signature=[
            tf.TensorSpec((1, len(weights.inputs)), tf.float32, name="x"),
            tf.TensorSpec((1, hidden(weights)), tf.float32, name="h"),
        ]
    )
    def step(x: Any, h: Any) -> dict[str, Any]:
        s = (x - weights.scaling.offset) * weights.scaling.scale
        a_z, a_r, a_g = tf.split(tf.matmul(s, w["kernel"]) + w["bias"][0], 3, axis=1)
        b_z, b_r, b_g = tf.split(tf.matmul(h, w["recurrent"]) + w["bias"][1], 3, axis=1)
        z, r = tf.sigmoid(a_z + b_z), tf.sigmoid(a_r + b_r)
        h_next = z * h + (1.0 - z) * tf.tanh(a_g + r * b_g)
        d = tf.matmul(h_next, w["head"]) + w["head_bias"]
        y = outputs(x, d, weights.inputs, weights.sigma_scale, tf.sqrt, tf.minimum)
        return {"y": tf.concat(y, axis=1), "h_next": h_next}

    module = tf.Module()
    module.step = step
    return module, step.get_concrete_function()
