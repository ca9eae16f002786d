"""Write tests/golden/bucket-0.1.0, a real bundle of a network trained on two leaky buckets.

    python tests/golden/make_bucket_bundle.py

The tests of the station use it, since they have no TensorFlow. It is not trained on soil.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path

import numpy as np

from epithermal_host.bundles import release
from epithermal_host.evaluation import evaluate
from epithermal_host.training import quantize, train

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Train, quantize, evaluate, release."""
    spec = importlib.util.spec_from_file_location("maker", HERE.parent / "host" / "conftest.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    shutil.rmtree(HERE / "bucket-0.1.0", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        np.savez(run / "dataset.npz", **maker.bucket_series(60, 900, seed=11))
        train.run(run, train.TrainConfig(epochs=40, batch=12))
        quantize.run(run, quantize.QuantizeConfig())
        evaluate.run(run)
        release.run(run, HERE, "bucket", "0.1.0")


if __name__ == "__main__":
    main()
