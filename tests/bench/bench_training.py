"""Measure an epoch of training, and its memory for two sizes of data set. `make bench-training`.

The data sets are random numbers with the shapes of a campaign: three years, 17 of 20 soils for
training. Each size is trained in a process of its own; the first epoch, which also builds the
graph, is not timed. Cost is proportional to the soils, so it is reported for 7,200 training soils.

    python tests/bench/bench_training.py --soils 16000 50000 --epochs 2

measures other sizes. `--onednn` allows oneDNN, whose rounding depends on the processor. The last
line is `key=value`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from math import nan
from pathlib import Path

import numpy as np

from epithermal_edge.inference.features import FEATURES
from epithermal_host.training.series import DATASET, LAYERS, TEST, TRAIN, VALIDATION

DAYS = 3 * 365
SOILS = (1500, 4500)
HIDDEN, BATCH = 48, 128
REFERENCE = 7200  # training soils to which seconds are scaled
NAMES = [feature.name for feature in FEATURES]


def write_dataset(folder: Path, soils: int) -> None:
    """Write a data set of random numbers, one array after the other."""
    rng = np.random.default_rng(soils)
    features = rng.standard_normal((soils, DAYS, len(NAMES)), dtype=np.float32)
    flags = [i for i, name in enumerate(NAMES) if name.endswith("_known")]
    features[..., flags] = rng.random((soils, 1, len(flags)), dtype=np.float32) < 0.7
    theta = 0.25 + 0.05 * np.tanh(np.cumsum(rng.standard_normal((soils, DAYS)), axis=1) / 30.0)
    noise = features[..., NAMES.index("theta_inv")]
    features[..., NAMES.index("theta_inv")] = theta + 0.02 * noise
    share = np.arange(soils) % 20
    np.savez(
        folder / DATASET,
        features=features,
        theta=theta,
        theta_classical=theta,
        snow_mm=np.zeros((soils, DAYS)),
        **dict.fromkeys(LAYERS, theta),
        split=np.select([share < 2, share == 2], [VALIDATION, TEST], TRAIN).astype(np.int8),
        scenario=np.arange(soils),
        day_end_s=86400.0 * np.arange(1, DAYS + 1),
        feature_names=np.array(NAMES),
        data_hash=np.array(str(soils)),
    )


def train(folder: Path, epochs: int, hidden: int) -> dict[str, float]:
    """Train; return processor and wall time of the fastest epoch after the first, and memory."""
    from epithermal_host.training import frameworks, train
    from epithermal_host.training.series import open_dataset

    frameworks.load()
    config = train.TrainConfig(hidden=hidden, batch=BATCH)
    imported_mb = peak_mb()
    dataset = open_dataset(folder)
    trainer = train._Trainer(config, dataset)
    now = trainer.epoch(trainer.start())
    times = []
    for _ in range(epochs):
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        now = trainer.epoch(now)
        times.append((time.process_time() - cpu_s, time.perf_counter() - wall_s))
    trainer.finish(now)
    cpu_s, wall_s = map(min, zip(*times or [(nan, nan)], strict=True))
    soils = float(len(trainer.rows))
    return {
        "soils": soils,
        "cpu_s": cpu_s,
        "wall_s": wall_s,
        "imported_mb": imported_mb,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """Return the peak of this process's resident memory, without that of its parent."""
    status = Path("/proc/self/status").read_text("ascii")
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(soils: int, args: argparse.Namespace) -> dict[str, float]:
    """Train on a data set of one size in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), soils)
        size = (Path(folder) / DATASET).stat().st_size
        done = subprocess.run(
            [
                *(sys.executable, __file__, "--child", folder),
                *("--epochs", str(args.epochs), "--hidden", str(args.hidden)),
            ],
            env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": str(int(args.onednn))},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    out: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{soils} soils x 3 years, {size / 1e6:.0f} MB: an epoch of the {out['soils']:.0f} for "
        f"training {out['wall_s']:.2f} s, {out['cpu_s']:.2f} s of processors; peak memory "
        f"{out['peak_mb']:.0f} MB, of it {out['imported_mb']:.0f} for Python and TensorFlow",
        flush=True,
    )
    return out | {"disk": size / soils, "all": soils}


def main() -> None:
    """Print a line for each size and the line of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soils", nargs=2, type=int, default=SOILS, metavar="N")
    parser.add_argument("--epochs", type=int, default=1, help="timed epochs; 0: memory alone")
    parser.add_argument("--hidden", type=int, default=HIDDEN, help="units of the network")
    parser.add_argument("--onednn", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(train(args.child, args.epochs, args.hidden)))
        return
    small, large = (measure(soils, args) for soils in args.soils)
    growth = 2**20 * (large["peak_mb"] - small["peak_mb"]) / (large["all"] - small["all"])
    scale = REFERENCE / large["soils"]
    print(
        f"epoch_s={scale * large['wall_s']:.1f} epoch_cpu_s={scale * large['cpu_s']:.1f} "
        f"disk_bytes_per_soil={large['disk']:.0f} memory_bytes_per_soil={growth:.0f} "
        f"peak_small_mb={small['peak_mb']:.0f} peak_large_mb={large['peak_mb']:.0f}"
    )


if __name__ == "__main__":
    main()
