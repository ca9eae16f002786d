"""Proof of a bundle on every TFLite runtime that is installed, each in a process of its own.

In its own, because what a runtime costs shows only in a fresh process, and because two of them,
or one and TensorFlow, may not live together.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from epithermal_edge.errors import BundleError, EpithermalError

STEPS = 2000  # of which the latency is the median


def report(bundle: Path) -> Iterator[str]:
    """One line a runtime, then one of key=value.

    Raises
    ------
    BundleError
        The bundle is damaged, its golden vectors fail on a runtime, or none runs it.
    """
    from epithermal_edge.inference import runtime
    from epithermal_edge.inference.bundle import open_bundle

    opened = open_bundle(bundle)
    yield f"bundle {opened.name} {opened.version} sha256 {opened.sha256}"
    figures, faults = [f"tolerance={opened.golden_tolerance:.3g}"], []
    names = runtime.available()
    for name in names:
        found = _fresh(bundle, name)
        if isinstance(found, str):
            faults.append(name)
            yield f"FAULT {name}: {found}"
            continue
        figures += [f"{name}_{key}={value:.3g}" for key, value in found.items()]
        yield (
            f"ok    {name}: golden vectors within {found['error']:.2g} m3/m3,"
            f" step {found['step_us']:.1f} us, import {found['import_ms']:.0f} ms,"
            f" resident {found['rss_mb']:.0f} MB"
        )
    if not names:
        raise BundleError("no TFLite runtime: install tflite-runtime or ai-edge-litert")
    if faults:
        raise BundleError(f"{bundle}: fails on {' and '.join(faults)}, see above")
    yield " ".join(figures)


def _fresh(bundle: Path, name: str) -> dict[str, float] | str:
    """The figures of `measure`, or what went wrong."""
    command = [sys.executable, "-m", "epithermal_edge.cli.selftest", str(bundle), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: dict[str, float] | str = json.loads(done.stdout)
    except ValueError:
        return f"died with {done.returncode}: {done.stderr.strip()[-200:]}"
    return found


def measure(bundle: Path, name: str) -> dict[str, float]:
    """What a station on this runtime would cost, and its golden error; call it in a new process."""
    begin = time.perf_counter()
    import paho.mqtt.client  # noqa: F401
    import serial  # noqa: F401

    import epithermal_edge.station.daemon  # noqa: F401

    import_ms = 1e3 * (time.perf_counter() - begin)
    from epithermal_edge.inference import estimator, runtime
    from epithermal_edge.inference.bundle import open_bundle

    opened = open_bundle(bundle)
    step = runtime.load(opened, name)
    error = estimator.check_golden(opened, step)
    x, state = opened.golden_inputs[0], opened.cold_state()
    times = []
    for _ in range(STEPS):
        begin = time.perf_counter()
        _, state = step(x, state)
        times.append(time.perf_counter() - begin)
    return {
        "error": error,
        "step_us": 1e6 * statistics.median(times),
        "import_ms": import_ms,
        "rss_mb": resident_mb(),
    }


def resident_mb() -> float:
    """Resident memory of this process [MB]; NaN where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    try:
        answer: dict[str, float] | str = measure(Path(sys.argv[1]), sys.argv[2])
    except EpithermalError as fault:
        answer = str(fault)
    sys.stdout.write(json.dumps(answer))
