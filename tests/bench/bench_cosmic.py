"""COSMIC's fast path beside the published sum, over the reference vectors. `make bench-cosmic`.

Both in one process, one core, medians of several runs; the last line is `key=value`. Without the
reference data the same number of profiles is drawn at random, and that is said.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from epithermal_host.cosmic import neutron_rate

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Median CPU time of one call [s]."""
    work()
    taken = []
    for _ in range(RUNS):
        begin = time.process_time()
        for _ in range(times):
            work()
        taken.append((time.process_time() - begin) / times)
    return statistics.median(taken)


def profiles() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]:
    """Layer bottoms (nl), theta (np, nl), bulk density and lattice water (np), where from."""
    bottom = np.append(np.arange(2.0, 100.0, 2.0), 300.0)
    shared = Path(os.environ.get("EPITHERMAL_SHARED", ROOT.parent / "shared"))
    file = shared / "reference" / "cosmic" / "cosmic_vectors.npz"
    if file.is_file():
        with np.load(file) as vectors:
            density, lattice = vectors["bulk_density"], vectors["lattice_water"]
            rows = [
                t[np.minimum(np.searchsorted(b[np.isfinite(b)], bottom), np.isfinite(b).sum() - 1)]
                for b, t in zip(vectors["layer_bottom_cm"], vectors["theta"], strict=True)
            ]
        return bottom, np.array(rows), density, lattice, "reference vectors"
    rng = np.random.default_rng(1)
    n = 198
    theta = rng.uniform(0.03, 0.5, (n, bottom.size))
    return bottom, theta, rng.uniform(1.0, 1.7, n), rng.uniform(0.0, 0.1, n), "random profiles"


def main() -> None:
    """Print times and errors of both paths."""
    bottom, theta, density, lattice, where = profiles()

    def run(rule: str) -> np.ndarray:
        return neutron_rate(bottom, theta, density[:, None], lattice[:, None], 1000.0, rule=rule)

    exact_s = seconds(lambda: run("exact"))
    fast_s = seconds(lambda: run("fast"), 20)
    error = float(np.max(np.abs(run("fast") / run("exact") - 1.0)))
    print(f"{len(theta)} {where} of {bottom.size} layers; exact: 1 mm x 180 angles")
    print(
        f"exact_us={exact_s / len(theta) * 1e6:.4g} fast_us={fast_s / len(theta) * 1e6:.4g} "
        f"ratio={exact_s / fast_s:.4g} error_max={error:.3g}"
    )


if __name__ == "__main__":
    main()
