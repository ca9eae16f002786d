"""Build the optimizer step: loss of a chunk, its gradient, moving average of the weights."""

from __future__ import annotations

from typing import Any

from epithermal_edge.inference.bundle import OUTPUTS
from epithermal_host.config.learning import TrainConfig
from epithermal_host.training.frameworks import load
from epithermal_host.training.head import RESIDUAL
from epithermal_host.training.network import columns
from epithermal_host.training.series import NAMES

OUTPUT_NAMES = tuple(name for name, _ in OUTPUTS)
N_SIGMA = NAMES.index("cosmic_n_sigma")
LABELED = ("theta_0_30", "theta_0_10", "theta_30_60")  # outputs with a label in the loss


def _halves(model: Any, x: Any, state: tuple[Any, ...]) -> list[Any]:
    """Run the model on the two halves of a batch, which TensorFlow executes in parallel."""
    _, tf = load()
    half = tf.shape(x)[0] // 2
    parts = [
        model([x[rows], *(tensor[rows] for tensor in state)], training=True)
        for rows in (slice(None, half), slice(half, None))
    ]
    return [tf.concat(both, axis=0) for both in zip(*parts, strict=True)]


def update_function(model: Any, average: Any, optimizer: Any, config: TrainConfig) -> Any:
    """Build the function that trains on one chunk and returns its loss and the new state.

    Its arguments are all features (B, T, len(NAMES)), labels and their weights
    (B, T, len(LABELED)), and the state tensors of the model. The model gets its inputs alone.
    """
    _, tf = load()
    labeled = [OUTPUT_NAMES.index(name) for name in LABELED]
    inputs = columns(config.inputs)

    def rho(error: Any) -> Any:
        """Return the squared error, continued by its tangent beyond `huber`."""
        if config.huber == 0.0:
            return error**2
        size = tf.abs(error)
        near = tf.minimum(size, config.huber)
        return near * (2.0 * size - near)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None, None, len(NAMES)), tf.float32),
            tf.TensorSpec((None, None, len(LABELED)), tf.float32),
            tf.TensorSpec((None, None, len(LABELED)), tf.float32),
            *(tf.TensorSpec(tensor.shape, tf.float32) for tensor in model.inputs[1:]),
        ]
    )
    def update(x: Any, label: Any, weight: Any, *state: Any) -> tuple[Any, ...]:
        selected = tf.gather(x, inputs, axis=-1) if inputs else x
        with tf.GradientTape() as tape:
            y, *after = _halves(model, selected, state)
            errors = (tf.gather(y, labeled, axis=-1) - label) / RESIDUAL
            error, whole = errors[..., 0], weight[..., 0]
            sigma = y[..., 1] / RESIDUAL
            fixed = tf.stop_gradient(error)  # sigma follows the error and does not change it
            likelihood = tf.math.log(sigma) + 0.5 * (fixed / sigma) ** 2
            days = tf.maximum(tf.reduce_sum(whole, axis=1, keepdims=True), 1e-6)
            mean = tf.reduce_sum(whole * error, axis=1, keepdims=True) / days
            unsure = tf.cast(
                x[:, :1, N_SIGMA] > 0.0, tf.float32
            )  # with an exact N the level counts
            error -= config.anomaly * unsure * mean
            known = tf.stop_gradient(sigma) ** -config.sigma_power
            total = tf.maximum(tf.reduce_sum(whole), 1.0)
            known /= tf.maximum(tf.reduce_sum(whole * known) / total, 1e-6)  # mean of 1
            terms = known * rho(error) + config.sigma_weight * likelihood
            loss = tf.reduce_sum(whole * terms) / total
            layers = weight[..., 1:] * known[..., None] * rho(errors[..., 1:])
            weights = tf.maximum(tf.reduce_sum(weight[..., 1:]), 1.0)
            loss += config.layers_weight * tf.reduce_sum(layers) / weights
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        done = tf.cast(optimizer.iterations, tf.float32)
        decay = tf.minimum(
            config.average, (1.0 + done) / (10.0 + done)
        )  # shorter memory at the start
        for mean_of, variable in zip(average.trainable_variables, variables, strict=True):
            mean_of.assign(decay * mean_of + (1.0 - decay) * variable)
        return loss, *after

    return update
