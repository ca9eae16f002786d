"""Build the sequence graph for training and the one-step graph for release of one LSTM.

Inputs of both are features in physical units; their scaling is a constant of the graph:

    z = W s(x) + U h + b;  i, f, g, o = split(z)          (Keras' order i, f, c, o)
    c' = sigma(f) c + sigma(i) tanh(g);  h' = sigma(o) tanh(c');  d = V h' + v

`head.outputs` computes the outputs from d.

References
----------
Hochreiter and Schmidhuber 1997; with the forget gate of Gers, Schmidhuber and Cummins 2000.
"""

from __future__ import annotations

import functools
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
LEFT_IN_FLOAT = 900  # elements; the converter quantizes constants of 1024 or more to 8 bits


def hidden(weights: Weights) -> int:
    """Return the width H of h and of c."""
    return int(weights.arrays["recurrent"].shape[0])


def state_tensors(weights: Weights) -> tuple[StateTensor, ...]:
    """List the state tensors h and c, (H,) each."""
    return tuple(StateTensor(name, (hidden(weights),)) for name in ("h", "c"))


def build(
    hidden: int,
    inputs: tuple[str, ...],
    scaling: Scaling,
    seed: int,
    sigma_scale: tuple[float, float] = (1.0, 1.0),
) -> Any:
    """Build the sequence graph, a Keras model from x (B, T, F), h (B, H), c (B, H) to y, h', c'.

    Parameters
    ----------
    hidden :
        Width H of the state.
    inputs :
        Names of the features x.
    scaling :
        Scaling of the inputs.
    seed :
        Seed of the initial weights.

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
    lstm = _fused_layer()(
        hidden,
        return_sequences=True,
        return_state=True,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seed + 1),
        name="lstm",
    )
    sequence, h_next, c_next = lstm(keras.ops.transpose(scaled, (1, 0, 2)), h, c)
    units = keras.layers.Dense(UNITS, kernel_initializer="zeros", name="head")(sequence)
    head = keras.ops.transpose(units, (1, 0, 2))
    y = keras.ops.concatenate(
        outputs(x, head, inputs, sigma_scale, keras.ops.sqrt, keras.ops.minimum), axis=-1
    )
    return keras.Model([x, h, c], [y, h_next, c_next])


@functools.cache
def _fused_layer() -> Any:
    """Define Keras' LSTM layer over a time-major sequence, computed by one fused operation.

    It has Keras' variables and initial values. TensorFlow computes all steps in one kernel and all
    their gradients in another, on processors and on GPUs, instead of a loop of a dozen operations.
    """
    keras, _ = load()

    class FusedLSTM(keras.layers.LSTM):  # type: ignore[misc,name-defined]
        def build(self, sequences_shape: Any, *_: Any) -> None:
            time, series, width = sequences_shape
            super().build((series, time, width))

        def compute_output_spec(self, sequences: Any, h: Any, c: Any) -> Any:
            shape = (*sequences.shape[:2], self.units)
            return keras.KerasTensor(shape), keras.KerasTensor(h.shape), keras.KerasTensor(c.shape)

        def call(self, sequences: Any, h: Any, c: Any) -> Any:
            """Map x (T, B, F), h (B, H), c (B, H) to all h (T, B, H), and the last h and c."""
            cell = self.cell
            all_h, all_c = _run_block(
                sequences, h, c, cell.kernel, cell.recurrent_kernel, cell.bias
            )
            return all_h, all_h[-1], all_c[-1]

    return FusedLSTM


def _run_block(x: Any, h: Any, c: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Compute all h and c (T, B, H) of x (T, B, F) in one operation, and likewise their gradients.

    The gradient is requested here because the one that TensorFlow (2.21) registers for BlockLSTMV2
    is that of version 1, whose gates have another order.
    """
    _, tf = load()

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def block(x: Any, h: Any, c: Any, w: Any, b: Any) -> Any:
        unused = tf.zeros_like(c[0])  # weights of peepholes
        inputs = {
            "seq_len_max": tf.shape(x, tf.int64)[0],
            **{"x": x, "cs_prev": c, "h_prev": h, "w": w, "b": b},
            **{"wci": unused, "wcf": unused, "wco": unused, "use_peephole": False},
        }
        done = tf.raw_ops.BlockLSTMV2(**inputs, cell_clip=0.0)

        def gradient(h_grad: Any, cs_grad: Any) -> Any:
            back = tf.raw_ops.BlockLSTMGradV2(
                **inputs, **done._asdict(), h_grad=h_grad, cs_grad=cs_grad
            )
            return back.x_grad, back.h_prev_grad, back.cs_prev_grad, back.w_grad, back.b_grad

        return (done.h, done.cs), gradient

    weights = tf.concat([kernel, recurrent], axis=0)
    return block(x, h, c, weights, tf.convert_to_tensor(bias))


def states(weights: Weights, x: Array32) -> tuple[Array32, ...]:
    """Compute h and c (T, H) [1] in NumPy before each step of x (T, F), from a cold start."""
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
    tanh: Array32 = np.tanh(0.5 * z)  # does not overflow, unlike exp
    return np.float32(0.5) * (np.float32(1.0) + tanh)


def step_module(weights: Weights) -> tuple[Any, Any]:
    """Build the one-step graph with explicit state tensors, arranged for 8-bit weights.

    * x and h are multiplied separately: with one 8-bit scale for both, heavy rain spoils h.
    * W is split by columns: the converter leaves constants of less than 1024 elements in float,
      and W in 8 bits caused errors of 0.08 m3/m3.
    * The columns of U are divided by their largest element, and the sum is multiplied by it, so
      that one scale for all columns, which every runtime supports, is as accurate as one for each.
      The factor must follow the sum: the converter folds a factor of one product into its weights.

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
    """Split a kernel (F, 4H) by columns into parts that the converter leaves in float."""
    return np.array_split(kernel, max(4, -(-kernel.size // LEFT_IN_FLOAT)), axis=1)
