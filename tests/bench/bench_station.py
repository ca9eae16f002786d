"""Measure the station: import, memory, step, status, idling, replay. `make bench-station`.

Each result is the median of several new processes or runs; the last line is `key=value`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tty
from pathlib import Path

import numpy as np

from epithermal_edge.inference import runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.loggers import parser
from epithermal_edge.records import RawRecord

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.faults import wire  # noqa: E402
from tests.support.sites import SITE  # noqa: E402

BUNDLE = ROOT / "tests" / "golden" / "bucket-0.1.0"
RUNS = 5
IDLE_AFTER_S, IDLE_S = 10.0, 60.0  # after the start; duration of the measurement
STATION = f"""
[station]
id = "bench-01"
state_dir = "{{folder}}"
[site]{SITE}[source]
dialect = "records"
[model]
bundle = "{{bundle}}"
"""
FRESH = """
import json, os, sys, time
t = time.perf_counter()
import epithermal_edge.station.daemon, epithermal_edge.mqtt.sender, epithermal_edge.journal.journal
import serial, paho.mqtt.client
seconds = time.perf_counter() - t
from pathlib import Path
from epithermal_edge.inference import runtime
from epithermal_edge.inference.bundle import open_bundle
bundle = open_bundle(Path(sys.argv[1]))
runtime.load(bundle, sys.argv[2])
rss = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
print(json.dumps({"import_ms": seconds * 1e3, "rss_mb": int(rss.split()[1]) / 1024}))
"""


def fresh_process(name: str) -> dict[str, float]:
    """Measure import time [ms] and resident memory [MB] of a station with its model loaded."""
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", FRESH, str(BUNDLE), name],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for _ in range(RUNS)
    ]
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def step_us(name: str) -> float:
    """Measure the median time of a network step [us] over 2000 steps."""
    bundle = open_bundle(BUNDLE)
    step = runtime.load(bundle, name)
    x, state = bundle.golden_inputs[0], bundle.cold_state()
    times = []
    for _ in range(2000):
        t = time.perf_counter()
        _, state = step(x, state)
        times.append(time.perf_counter() - t)
    return statistics.median(times) * 1e6


def replay_per_s(hours: int = 8760) -> float:
    """Measure the records per second of `epithermal-edge replay`, start to end."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "records.csv")
        with path.open("wb") as out:
            out.write(parser.RECORDS_HEADER + b"\n")
            for i in range(hours):
                end_s = 1_700_002_800.0 + 3600.0 * i
                counts = float(rng.poisson(1500))
                record = RawRecord(end_s, 3600.0, counts, 1005.0, 12.0, 70.0)
                out.write(parser.format_record(record))
        toml = station(folder)
        t = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "epithermal_edge",
                "replay",
                str(toml),
                str(path),
                "--format",
                "records",
                "--out",
                str(Path(folder, "est.csv")),
            ],
            check=True,
            capture_output=True,
        )
        return hours / (time.perf_counter() - t)


def station(folder: str) -> Path:
    """Write a station's configuration into a folder."""
    path = Path(folder, "station.toml")
    path.write_text(STATION.format(folder=folder, bundle=BUNDLE))
    return path


def status_ms() -> float:
    """Measure the median time of `epithermal-edge status`, start to end [ms]."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "epithermal_edge", "status", str(station(folder))]
        times = []
        for _ in range(2 * RUNS):
            t = time.perf_counter()
            subprocess.run(command, check=False, capture_output=True)
            times.append(time.perf_counter() - t)
        return statistics.median(times) * 1e3


def idle_cpu_pct() -> float:
    """Measure the processor time of an idle station [% of one processor].

    It is connected to mosquitto; where that is not installed, it keeps trying to connect.
    """
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    broker = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:

        def start(*command: str) -> subprocess.Popen[bytes]:
            quiet = subprocess.DEVNULL
            process = running.enter_context(subprocess.Popen(command, stdout=quiet, stderr=quiet))
            running.callback(process.terminate)
            return process

        if broker:
            start(broker, "-p", str(port))
        path = station(folder)
        text = path.read_text().replace("[source]", f'[source]\nurl = "{os.ttyname(theirs)}"')
        path.write_text(f'{text}[mqtt]\nhost = "127.0.0.1"\nport = {port}\n')
        process = start(sys.executable, "-m", "epithermal_edge", "run", str(path))
        time.sleep(IDLE_AFTER_S)
        before, begin = cpu_s(process.pid), time.perf_counter()
        time.sleep(IDLE_S)
        used, seconds = cpu_s(process.pid) - before, time.perf_counter() - begin
    os.close(ours)
    os.close(theirs)
    return 100.0 * used / seconds


def cpu_s(pid: int) -> float:
    """Return the processor time used by a process [s]."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def framer_per_s(dialect: str, rows: int = 20_000) -> float:
    """Measure the lines per second from bytes, in pieces as read from a port, to records."""
    rng = random.Random(1)
    context = wire.ready(dialect)
    data = b"".join(wire.row(dialect, k, rng) + b"\r\n" for k in range(rows))
    records, buffer, t = 0, b"", time.perf_counter()
    for at in range(0, len(data), 4096):
        piece = data[at : at + 4096]
        buffer, lines = parser.split(buffer, piece, context.dialect.line_bytes)
        for line in lines:
            context, record = parser.parse(context, line)
            records += record is not None
    seconds = time.perf_counter() - t
    assert records == rows, f"{dialect}: {records} of {rows}"
    return rows / seconds


def main() -> None:
    """Print the results, one line for each runtime, then one line of all."""
    figures: dict[str, float] = {}
    for name in runtime.available():
        fresh = fresh_process(name) | {"step_us": step_us(name)}
        print(f"{name}: " + ", ".join(f"{key} {value:.1f}" for key, value in fresh.items()))
        figures |= {f"{name}_{key}": value for key, value in fresh.items()}
    figures["status_ms"] = status_ms()
    figures["idle_cpu_pct"] = idle_cpu_pct()
    figures["replay_records_per_s"] = statistics.median(replay_per_s() for _ in range(3))
    figures["year_of_hours_s"] = 8760 / figures["replay_records_per_s"]
    framed = {
        dialect: statistics.median(framer_per_s(dialect) for _ in range(3))
        for dialect in sorted(wire.LOGGERS)
    }
    print("lines/s: " + ", ".join(f"{dialect} {value:.0f}" for dialect, value in framed.items()))
    figures["framer_lines_per_s_least"] = min(framed.values())
    print(" ".join(f"{key}={value:.4g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
