"""Write tests/golden/nan.tflite, a model that is correct on bucket's golden vectors alone.

    python tests/golden/make_nan_model.py

It returns the inversion, and NaN for soil of lower bulk density than that of the golden vectors.
Only a trial on a station's own records detects this.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from epithermal_edge.inference.bundle import OUTPUTS
from epithermal_edge.inference.features import FEATURES

HERE = Path(__file__).resolve().parent
HIDDEN = 32  # as bucket's
LIGHTEST_G_CM3 = 1.45  # bucket's golden soil has 1.52, that of the tests' station 1.4
NAMES = [feature.name for feature in FEATURES]


def main() -> None:
    """Build the graph and convert it."""
    names = ("theta_inv", "theta_inv_sigma", "bulk_density_g_cm3")
    theta_at, sigma_at, density_at = map(NAMES.index, names)

    @tf.function(
        input_signature=[
            tf.TensorSpec((1, width), tf.float32, name)
            for name, width in (("x", len(FEATURES)), ("h", HIDDEN), ("c", HIDDEN))
        ]
    )
    def step(x, h, c):
        theta, sigma, density = (x[:, at : at + 1] for at in (theta_at, sigma_at, density_at))
        # finite for zeros too, with which a runtime is probed
        fault = tf.sqrt(tf.maximum(density, 0.0) * (density - LIGHTEST_G_CM3)) * 0.0
        y = tf.concat([theta + fault, sigma + 0.01] + [theta] * (len(OUTPUTS) - 2), axis=1)
        return {"y": y, "h_next": 0.5 * h + theta, "c_next": 0.5 * c + theta}

    holder = tf.Module()
    holder.step = step
    folder = HERE / ".saved"
    tf.saved_model.save(holder, str(folder), signatures={"serving_default": step})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    (HERE / "nan.tflite").write_bytes(converter.convert())
    tf.io.gfile.rmtree(str(folder))


if __name__ == "__main__":
    main()
