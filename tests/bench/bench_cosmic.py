"""Time COSMIC's fast path against the published sum (1 mm layers, 180 angles). `make bench-cosmic`.

The last line is `key=value`. Where the reference vectors are available, compare with them too.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import numpy as np

from epithermal_host.neutrons import cosmic
from epithermal_host.validation.cosmic import validate_cosmic

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
PROFILES, EXACT_PROFILES = 5000, 20


def cpu_us(theta: np.ndarray, bottom_cm: np.ndarray, rule: cosmic.Rule) -> float:
    """Measure the median processor time of a profile [us]."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        cosmic.neutron_rate(bottom_cm, theta, 1.4, 0.03, 1000.0, rule=rule)
        times.append(1e6 * (time.process_time() - start) / theta.shape[0])
    return statistics.median(times)


def main() -> None:
    """Print both times and their ratio."""
    bottom_cm = cosmic.node_layer_bottoms(np.linspace(0.0, 100.0, 101))
    theta = np.random.default_rng(1).uniform(0.05, 0.4, (PROFILES, 101))
    cosmic.neutron_rate(bottom_cm, theta[:2], 1.4)  # compile
    fast_us = cpu_us(theta, bottom_cm, "fast")
    exact_us = cpu_us(theta[:EXACT_PROFILES], bottom_cm, "exact")
    print(f"profiles of 101 layers, processor time each, median of {RUNS}")
    print(f"fast path {fast_us:10.2f} us")
    print(f"exact     {exact_us:10.2f} us")
    folder = Path(os.environ.get("EPITHERMAL_SHARED", ROOT.parent / "shared")) / "reference/cosmic"
    worst = float("nan")
    if folder.is_dir():
        rows = validate_cosmic(
            folder / "cosmic_vectors.csv", folder / "cosmic_vectors_profiles.csv"
        )
        worst = max(row.fast for row in rows)
        print(f"fast path against {sum(row.count for row in rows)} vectors: {worst:.1e} at most")
    print(f"ratio={exact_us / fast_us:.0f} fast_us={fast_us:.2f} worst_relative={worst:.1e}")


if __name__ == "__main__":
    main()
