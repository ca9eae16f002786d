"""One step of the optimizer: loss of a chunk, its gradient, the moving average of the weights."""

from __future__ import annotations

from typing import Any

from epithermal_edge.inference.bundle import OUTPUTS
from epithermal_host.config.learning import TrainConfig
from epithermal_host.training import lstm as network
from epithermal_host.training.lstm import tf
from epithermal_host.training.series import NAMES

OUTPUT_NAMES = tuple(name for name, _ in OUTPUTS)
N_SIGMA = NAMES.index("cosmic_n_sigma")
HELD = ("theta_0_30", "theta_0_10", "theta_30_60")  # outputs that the loss holds to labels


def _halves(model: Any, x: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
    """The model over a batch as two, whose steps in time run at once, each on its processor."""
    half = tf.shape(x)[0] // 2
    parts = [
        model([x[rows], h[rows], c[rows]], training=True)
        for rows in (slice(None, half), slice(half, None))
    ]
    y, h_next, c_next = (tf.concat(both, axis=0) for both in zip(*parts, strict=True))
    return y, h_next, c_next


def update_function(model: Any, average: Any, optimizer: Any, config: TrainConfig) -> Any:
    """One step of the optimizer on one chunk: loss and the carried state."""
    columns = [OUTPUT_NAMES.index(name) for name in HELD]

    def rho(error: Any) -> Any:
        """Square of the error; beyond `huber` its tangent."""
        if config.huber == 0.0:
            return error**2
        size = tf.abs(error)
        near = tf.minimum(size, config.huber)
        return near * (2.0 * size - near)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None, None, len(NAMES)), tf.float32),
            tf.TensorSpec((None, None, len(HELD)), tf.float32),
            tf.TensorSpec((None, None, len(HELD)), tf.float32),
            tf.TensorSpec((None, config.hidden), tf.float32),
            tf.TensorSpec((None, config.hidden), tf.float32),
        ]
    )
    def update(x: Any, label: Any, weight: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        with tf.GradientTape() as tape:
            y, h_next, c_next = _halves(model, x, h, c)
            errors = (tf.gather(y, columns, axis=-1) - label) / network.RESIDUAL
            error, whole = errors[..., 0], weight[..., 0]
            sigma = y[..., 1] / network.RESIDUAL
            fixed = tf.stop_gradient(error)  # sigma learns the error, it does not excuse it
            likelihood = tf.math.log(sigma) + 0.5 * (fixed / sigma) ** 2
            days = tf.maximum(tf.reduce_sum(whole, axis=1, keepdims=True), 1e-6)
            mean = tf.reduce_sum(whole * error, axis=1, keepdims=True) / days
            unsure = tf.cast(x[:, :1, N_SIGMA] > 0.0, tf.float32)  # else its level is to be told
            error -= config.anomaly * unsure * mean
            known = tf.stop_gradient(sigma) ** -config.sigma_power
            total = tf.maximum(tf.reduce_sum(whole), 1.0)
            known /= tf.maximum(tf.reduce_sum(whole * known) / total, 1e-6)  # 1 in the mean
            terms = known * rho(error) + config.sigma_weight * likelihood
            loss = tf.reduce_sum(whole * terms) / total
            layers = weight[..., 1:] * known[..., None] * rho(errors[..., 1:])
            weights = tf.maximum(tf.reduce_sum(weight[..., 1:]), 1.0)
            loss += config.layers_weight * tf.reduce_sum(layers) / weights
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        done = tf.cast(optimizer.iterations, tf.float32)
        decay = tf.minimum(config.average, (1.0 + done) / (10.0 + done))  # short at the start
        for mean_of, variable in zip(average.trainable_variables, variables, strict=True):
            mean_of.assign(decay * mean_of + (1.0 - decay) * variable)
        return loss, h_next, c_next

    return update
