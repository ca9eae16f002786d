"""Build the LSTM: a sequence graph to train, a one-step graph to release, one set of weights.

Both take features in physical units; their scaling is a constant of the graph:

    z = W s(x) + U h + b;  i, f, g, o = split(z)          (Keras' order i, f, c, o)
    c' = sigma(f) c + sigma(i) tanh(g);  h' = sigma(o) tanh(c');  d = V h' + v

d goes into `head.outputs`.

References
----------
Hochreiter and Schmidhuber 1997; with the forget gate of Gers, Schmidhuber and Cummins 2000.
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

TITLE = "an LSTM"
HEAD_INPUT = "h"
WEIGHT_NAMES: tuple[str, ...] = ("kernel", "recurrent", "bias", "head", "head_bias")
"""W (F, 4H), U (H, 4H), b (4H,), V (H, UNITS), v (UNITS,)."""
LEFT_IN_FLOAT = 900  # elements; 1024 and more would become 8 bits


def hidden(weights: Weights) -> int:
    """Return the width H of h and of c."""
    return int(weights.arrays["recurrent"].shape[0])


def state_tensors(weights: Weights) -> tuple[StateTensor, ...]:
    """List h and c, (H,) each."""
    return tuple(StateTensor(name, (hidden(weights),)) for name in ("h", "c"))


def build(
    hidden: int,
    inputs: tuple[str, ...],
    scaling: Scaling,
    seed: int,
    sigma_scale: tuple[float, float] = (1.0, 1.0),
) -> Any:
    """Build the sequence graph: a Keras model of x (B, T, F), h (B, H), c (B, H) to y, h', c'.

    Parameters
    ----------
    hidden :
        Width H of the state.
    inputs :
        Names of the features x.
    scaling :
        Of the inputs.
    seed :
        Of the initial weights.

    Returns
    -------
    keras.Model
        y is (B, T, K), in the order of `epithermal_edge.inference.bundle.OUTPUTS` [m3 m-3].
    """
    keras, _ = load()
    x = keras.Input((None, len(inputs)), name="x")
    h = keras.Input((hidden,), name="h")
    c = keras.Input((hidden,), name="c")
    scaled = (x - scaling.offset) * scaling.scale
    lstm = keras.layers.LSTM(
        hidden,
        return_sequences=True,
        return_state=True,
        use_cudnn=False,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seed + 1),
        name="lstm",
    )
    sequence, h_next, c_next = lstm(scaled, initial_state=[h, c])
    head = keras.layers.Dense(UNITS, kernel_initializer="zeros", name="head")(sequence)
    y = keras.ops.concatenate(
        outputs(x, head, inputs, sigma_scale, keras.ops.sqrt, keras.ops.minimum), axis=-1
    )
    return keras.Model([x, h, c], [y, h_next, c_next])


def states(weights: Weights, x: Array32) -> tuple[Array32, ...]:
    """Return h and c (T, H) [1] before each step of a series x (T, F), begun cold, in NumPy."""
    w = weights.arrays
    s = (x - weights.scaling.offset) * weights.scaling.scale
    h = c = np.zeros(hidden(weights), dtype=np.float32)
    hs, cs = [], []
    for row in s @ w["kernel"] + w["bias"]:
        hs.append(h)
        cs.append(c)
        i, f, g, o = np.split(row + h @ w["recurrent"], 4)
        c = _logistic(f) * c + _logistic(i) * np.tanh(g)
        h = _logistic(o) * np.tanh(c)
    return np.array(hs, dtype=np.float32), np.array(cs, dtype=np.float32)


def _logistic(z: Array32) -> Array32:
    tanh: Array32 = np.tanh(0.5 * z)  # never overflows
    return np.float32(0.5) * (np.float32(1.0) + tanh)


def step_module(weights: Weights) -> tuple[Any, Any]:
    """Build the one-step graph by hand: explicit state tensors, x and h multiplied apart.

    Shaped by what 8 bits do to it, with every constant exact in float:

    * x and h apart, because one scale for both would let a rain spike wreck h;
    * W in parts of columns: the converter leaves constants of less than 1024 elements in float,
      and W in 8 bits was off by 0.08 m3/m3;
    * the columns of U have a largest element of 1 and the sum is multiplied back, so that one
      scale for all, which every runtime knows, is as good as one a column. It must be the sum:
      a factor that follows one product is folded back into its weights.

    Returns
    -------
    tf.Module, concrete function
        `step(x (1, F), h (1, H), c (1, H)) -> {y (1, K), h_next, c_next}`.
    """
    _, tf = load()
    w, width = weights.arrays, hidden(weights)
    column = np.maximum(np.max(np.abs(w["recurrent"]), axis=0), np.float32(1e-6))
    u, parts = w["recurrent"] / column, _in_parts(w["kernel"] / column)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((1, len(weights.inputs)), tf.float32, name="x"),
            tf.TensorSpec((1, width), tf.float32, name="h"),
            tf.TensorSpec((1, width), tf.float32, name="c"),
        ]
    )
    def step(x: Any, h: Any, c: Any) -> dict[str, Any]:
        s = (x - weights.scaling.offset) * weights.scaling.scale
        wx = tf.concat([tf.matmul(s, part) for part in parts], axis=1)
        z = (wx + tf.matmul(h, u)) * column + w["bias"]
        i, f, g, o = tf.split(z, 4, axis=1)
        c_next = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h_next = tf.sigmoid(o) * tf.tanh(c_next)
        d = tf.matmul(h_next, w["head"]) + w["head_bias"]
        y = outputs(x, d, weights.inputs, weights.sigma_scale, tf.sqrt, tf.minimum)
        return {"y": tf.concat(y, axis=1), "h_next": h_next, "c_next": c_next}

    module = tf.Module()
    module.step = step
    return module, step.get_concrete_function()


def _in_parts(kernel: Array32) -> list[Array32]:
    """Split a kernel (F, 4H) by columns into parts, each small enough to stay in float."""
    return np.array_split(kernel, max(4, -(-kernel.size // LEFT_IN_FLOAT)), axis=1)
