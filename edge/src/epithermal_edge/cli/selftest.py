"""Verify a bundle on every installed TFLite runtime, each in its own process.

Each needs its own process: memory and import time can only be measured in a new one, and two
runtimes, or one and TensorFlow, may not load into the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from epithermal_edge.errors import BundleError, EpithermalError

STEPS = 2000  # the latency is their median


def report(bundle: Path) -> Iterator[str]:
    """Yield one line per runtime, then one line of key=value.

    Raises
    ------
    BundleError
        The bundle is damaged, its golden vectors fail on a runtime, or no runtime is installed.
    """
    from epithermal_edge.inference import runtime
    from epithermal_edge.inference.bundle import open_bundle

    opened = open_bundle(bundle)
    yield f"bundle {opened.name} {opened.version} sha256 {opened.sha256}"
    figures, faults = [f"tolerance={opened.golden_tolerance:.3g}"], []
    names = runtime.available()
    for name in names:
        result = _measure_in_process(bundle, name)
        if isinstance(result, str):
            faults.append(name)
            yield f"FAULT {name}: {result}"
            continue
        figures += [f"{name}_{key}={value:.3g}" for key, value in result.items()]
        yield (
            f"ok    {name}: golden vectors within {result['error']:.2g} m3/m3,"
            f" step {result['step_us']:.1f} us, import {result['import_ms']:.0f} ms,"
            f" resident {result['rss_mb']:.0f} MB"
        )
    if not names:
        raise BundleError("no TFLite runtime: install tflite-runtime or ai-edge-litert")
    if faults:
        raise BundleError(f"{bundle}: fails on {' and '.join(faults)}; see the lines above")
    yield " ".join(figures)


def _measure_in_process(bundle: Path, name: str) -> dict[str, float] | str:
    """Run `measure` in a new process; return its figures, or the reason why it failed."""
    command = [sys.executable, "-m", "epithermal_edge.cli.selftest", str(bundle), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        result: dict[str, float] | str = json.loads(done.stdout)
    except ValueError:
        return f"process failed with {done.returncode}: {done.stderr.strip()[-200:]}"
    return result


def measure(bundle: Path, name: str) -> dict[str, float]:
    """Measure golden error, latency, import time and memory of a runtime, in a new process."""
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
        "step_us": 1e6 * sorted(times)[len(times) // 2],
        "import_ms": import_ms,
        "rss_mb": resident_mb(),
    }


def resident_mb() -> float:
    """Return the resident memory of this process [MB]; NaN if the system has no /proc."""
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
