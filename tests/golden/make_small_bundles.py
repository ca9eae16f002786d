"""Write tests/golden/{three,gru,trio}-0.1.0, small bundles of other kinds than bucket.

    python tests/golden/make_small_bundles.py

They are an LSTM of three inputs, a GRU, and an ensemble of two LSTMs and a GRU. Like bucket they
are trained on two leaky buckets, not on soil.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np

from epithermal_host.bundles import release
from epithermal_host.evaluation import evaluate
from epithermal_host.training import kinds, quantize, train

HERE = Path(__file__).resolve().parent
INPUTS = ("theta_inv", "theta_inv_sigma", "gap")
MEMBERS = {"three": ("lstm", 1), "gru": ("gru", 1), "other": ("lstm", 2)}
VERSION = "0.1.0"


def module(path: Path) -> ModuleType:
    """Import a file of the tests as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def main() -> None:
    """Train, quantize, evaluate, release."""
    maker = module(HERE.parent / "host" / "conftest.py")
    kinds.KINDS["gru"] = module(HERE.parent / "support" / "gru.py")
    for name in ("three", "gru", "trio"):
        shutil.rmtree(HERE / f"{name}-{VERSION}", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        series = maker.bucket_series(30, 500, seed=12)
        runs = [Path(folder, name) for name in MEMBERS]
        for run, (kind, seed) in zip(runs, MEMBERS.values(), strict=True):
            run.mkdir()
            np.savez(run / "dataset.npz", **series)
            config = train.TrainConfig(
                network=kind, inputs=INPUTS, hidden=8, epochs=15, batch=10, seed=seed
            )
            train.run(run, config)
            quantize.run(run, quantize.QuantizeConfig(soils=4))
        for run in runs[:2]:
            evaluate.run(run)
            release.run(run, HERE, run.name, VERSION)
        scores = evaluate.report(evaluate.judge(runs)[0])
        release.run(runs[0], HERE, "trio", VERSION, others=runs[1:], scores=scores)


if __name__ == "__main__":
    main()
