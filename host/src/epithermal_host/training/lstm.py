"""The LSTM: a sequence graph to train, a one-step graph to ship, one set of weights.

Both take features in physical units; their scaling is a constant of the graph. The answer is the
inversion plus a correction, so that an untrained network is the inversion:

    z = W s(x) + U h + b;  i, f, g, o = split(z)          (Keras' order i, f, c, o)
    c' = sigma(f) c + sigma(i) tanh(g);  h' = sigma(o) tanh(c')
    theta_0_30 = theta_inv + r d_1;  theta_0_10, theta_30_60 likewise of d_3, d_4;  d = V h' + v
    sigma = floor + r k (e + sqrt(e^2 + 1)) / 2,  e = d_2 - 1
    theta_10_30 = 1.5 theta_0_30 - 0.5 theta_0_10

so that the layers add up to 0-30 cm by construction. k is fitted after training, apart for stations
whose N is known without error and for all others.

References
----------
Hochreiter and Schmidhuber 1997; with the forget gate of Gers, Schmidhuber and Cummins 2000.
The rectifier of sigma: squareplus, Barron 2021, eq. 1 with b = 1. In place of softplus, whose
logarithm in 16 bits tflite-runtime 2.14 does not know.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.bundle import StateTensor
from epithermal_host.training.scaling import Scaling as Scaling
from epithermal_host.training.scaling import fit_scaling as fit_scaling
from epithermal_host.training.series import NAMES

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its rounding depends on the processor
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """TensorFlow's notes, many of them written past sys.stderr, go nowhere inside this block."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with (
            open(os.devnull, "wb") as nowhere,
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


with quiet():
    import keras
    import tensorflow as tf

    # products as small as ours gain nothing from two threads: `train` runs two halves at once
    tf.config.threading.set_intra_op_parallelism_threads(1)

__all__ = ["keras", "tf"]  # imported from here alone, so that they are quiet everywhere

Array = NDArray[np.float32]

RESIDUAL = 0.05  # r: size of a usual correction and error [m3 m-3]
SIGMA_FLOOR = 0.001  # [m3 m-3]
THETA_INV, N_SIGMA = NAMES.index("theta_inv"), NAMES.index("cosmic_n_sigma")
N_KNOWN_BELOW = 0.001  # cosmic_n_sigma from which on k is wholly that of an uncertain N
PARTS_AT_ONCE = 2
LEFT_IN_FLOAT = 900  # elements; 1024 and more would become 8 bits
UNITS = 4  # of the head: theta_0_30, sigma, theta_0_10, theta_30_60
WEIGHT_NAMES = ("kernel", "recurrent", "bias", "head", "head_bias")


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Everything that the network is."""

    kernel: Array  # (F, 4H)  W
    recurrent: Array  # (H, 4H)  U
    bias: Array  # (4H,)  b
    head: Array  # (H, UNITS)  V
    head_bias: Array  # (UNITS,)  v
    scaling: Scaling
    sigma_scale: tuple[float, float] = (1.0, 1.0)  # k where N is known without error, and elsewhere

    @property
    def hidden(self) -> int:
        """Width H of the state."""
        return int(self.recurrent.shape[0])


def state_tensors(weights: Weights) -> tuple[StateTensor, ...]:
    """What the step graph carries from step to step."""
    return tuple(StateTensor(name, (weights.hidden,)) for name in ("h", "c"))


def build(
    hidden: int, scaling: Scaling, seed: int, sigma_scale: tuple[float, float] = (1.0, 1.0)
) -> Any:
    """The sequence graph: a Keras model of x (B, T, F), h (B, H), c (B, H) to y, h', c'.

    Parameters
    ----------
    hidden :
        Width H of the state.
    seed :
        Of the initial weights.

    Returns
    -------
    keras.Model
        y is (B, T, K), in the order of `epithermal_edge.inference.bundle.OUTPUTS` [m3 m-3].
    """
    x = keras.Input((None, len(NAMES)), name="x")
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
        _outputs(x, head, sigma_scale, keras.ops.sqrt, keras.ops.minimum), axis=-1
    )
    return keras.Model([x, h, c], [y, h_next, c_next])


def _outputs(
    x: Any,
    d: Any,
    sigma_scale: tuple[float, float],
    sqrt: Callable[[Any], Any],
    minimum: Callable[[Any, float], Any],
) -> list[Any]:
    """Outputs (..., 1) of features x (..., F) and the head's units d (..., UNITS), in order."""
    inverted = x[..., THETA_INV : THETA_INV + 1]
    theta_0_30 = inverted + RESIDUAL * d[..., 0:1]
    theta_0_10 = inverted + RESIDUAL * d[..., 2:3]
    theta_30_60 = inverted + RESIDUAL * d[..., 3:4]
    theta_10_30 = 1.5 * theta_0_30 - 0.5 * theta_0_10  # 30 cm of water = 10 cm + 20 cm
    e = d[..., 1:2] - 1.0
    squareplus = 0.5 * (e + sqrt(e * e + 1.0))
    known, uncertain = sigma_scale
    share = minimum(x[..., N_SIGMA : N_SIGMA + 1] / N_KNOWN_BELOW, 1.0)
    sigma = SIGMA_FLOOR + RESIDUAL * (known + (uncertain - known) * share) * squareplus
    return [theta_0_30, sigma, theta_0_10, theta_10_30, theta_30_60]


def get_weights(model: Any, scaling: Scaling) -> Weights:
    """The weights of a sequence graph."""
    return named([np.array(v, dtype=np.float32) for v in model.get_weights()], scaling)


def named(
    values: list[Array], scaling: Scaling, sigma_scale: tuple[float, float] = (1.0, 1.0)
) -> Weights:
    """Weights from a graph's arrays, in its order."""
    kernel, recurrent, bias, head, head_bias = values
    return Weights(kernel, recurrent, bias, head, head_bias, scaling, sigma_scale)


def set_weights(model: Any, weights: Weights) -> None:
    """Give a sequence graph its weights; the scaling is its own already."""
    model.set_weights([getattr(weights, name) for name in WEIGHT_NAMES])


def from_weights(weights: Weights) -> Any:
    """The sequence graph of finished weights."""
    model = build(weights.hidden, weights.scaling, seed=0, sigma_scale=weights.sigma_scale)
    set_weights(model, weights)
    return model


def sequence_function(model: Any, batch: int = 256) -> Callable[[Array], Array]:
    """The sequence graph as a function over whole series, each from a cold state.

    Returns
    -------
    function
        Of features (S, T, F), gives (S, T, K) [m3 m-3]. It follows the weights of the model.
    """
    hidden = model.inputs[1].shape[1]

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None, None, len(NAMES)), tf.float32),
            tf.TensorSpec((None, hidden), tf.float32),
        ]
    )
    def forward(x: Any, zero: Any) -> Any:
        return model([x, zero, zero], training=False)[0]

    def answer(x: Array) -> Array:
        answered: Array = forward(x, np.zeros((len(x), hidden), dtype=np.float32)).numpy()
        return answered

    def run(features: Array) -> Array:
        parts = [features[i : i + batch] for i in range(0, len(features), batch)]
        with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:  # each part in one thread
            return np.concatenate(list(pool.map(answer, parts)))

    return run


def states(weights: Weights, x: Array) -> tuple[Array, Array]:
    """States before each step of one series from a cold start, in NumPy: h, c (T, H) [1].

    Parameters
    ----------
    x : (T, F)
    """
    s = (x - weights.scaling.offset) * weights.scaling.scale
    h = c = np.zeros(weights.hidden, dtype=np.float32)
    hs, cs = [], []
    for row in s @ weights.kernel + weights.bias:
        hs.append(h)
        cs.append(c)
        i, f, g, o = np.split(row + h @ weights.recurrent, 4)
        c = _logistic(f) * c + _logistic(i) * np.tanh(g)
        h = _logistic(o) * np.tanh(c)
    return np.array(hs, dtype=np.float32), np.array(cs, dtype=np.float32)


def _logistic(z: Array) -> Array:
    tanh: Array = np.tanh(0.5 * z)  # never overflows
    return np.float32(0.5) * (np.float32(1.0) + tanh)


def step_module(weights: Weights) -> tuple[Any, Any]:
    """The one-step graph by hand: explicit state tensors, x and h multiplied apart.

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
    n, width = len(NAMES), weights.hidden
    column = np.maximum(np.max(np.abs(weights.recurrent), axis=0), np.float32(1e-6))
    u, parts = weights.recurrent / column, _in_parts(weights.kernel / column)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((1, n), tf.float32, name="x"),
            tf.TensorSpec((1, width), tf.float32, name="h"),
            tf.TensorSpec((1, width), tf.float32, name="c"),
        ]
    )
    def step(x: Any, h: Any, c: Any) -> dict[str, Any]:
        s = (x - weights.scaling.offset) * weights.scaling.scale
        wx = tf.concat([tf.matmul(s, part) for part in parts], axis=1)
        z = (wx + tf.matmul(h, u)) * column + weights.bias
        i, f, g, o = tf.split(z, 4, axis=1)
        c_next = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h_next = tf.sigmoid(o) * tf.tanh(c_next)
        d = tf.matmul(h_next, weights.head) + weights.head_bias
        y = tf.concat(_outputs(x, d, weights.sigma_scale, tf.sqrt, tf.minimum), axis=1)
        return {"y": y, "h_next": h_next, "c_next": c_next}

    module = tf.Module()
    module.step = step
    return module, step.get_concrete_function()


def _in_parts(kernel: Array) -> list[Array]:
    """A kernel (F, 4H) in parts of columns, each small enough to be left in float."""
    return np.array_split(kernel, max(4, -(-kernel.size // LEFT_IN_FLOAT)), axis=1)


def save_bytes(weights: Weights) -> bytes:
    """Weights as the content of an npz file."""
    buffer = io.BytesIO()
    arrays = {name: getattr(weights, name) for name in WEIGHT_NAMES}
    np.savez(
        buffer,
        offset=weights.scaling.offset,
        scale=weights.scaling.scale,
        sigma_scale=np.array(weights.sigma_scale, dtype=np.float32),
        **arrays,
    )
    return buffer.getvalue()


def load_weights(content: bytes) -> Weights:
    """What `save_bytes` wrote.

    Raises
    ------
    ValueError, KeyError
        Not such a file.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        scaling = Scaling(offset=file["offset"], scale=file["scale"])
        known, uncertain = np.broadcast_to(file["sigma_scale"], 2).tolist()
        return Weights(
            **{name: file[name] for name in WEIGHT_NAMES},
            scaling=scaling,
            sigma_scale=(known, uncertain),
        )
