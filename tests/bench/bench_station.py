"""Measure the station: import, memory, step, status, idling, records, replay. `make bench-station`.

Each result is the median of several new processes or runs; the last line is `key=value`. Replay is
compared with crnpy on the same file, in turns, in processor time after import; CRNPY_PYTHON names
an interpreter that has crnpy where this one has not.
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

from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.cli import simulator
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference import runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.loggers import parser
from epithermal_edge.records import RawRecord
from epithermal_edge.rollout.loading import load_engine
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.intake import Intake
from epithermal_edge.station.reader import Read

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.faults import wire  # noqa: E402
from tests.support.sites import SITE  # noqa: E402

BUNDLE = ROOT / "tests" / "golden" / "bucket-0.1.0"
RELEASED = ROOT / "models" / "rootzone-1.0.0"
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


REPLAY = """
import io, json, sys, time
from pathlib import Path
from epithermal_edge.cli import replay
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference import engine as engines
from epithermal_edge.rollout.loading import load_engine
config = read_config(Path(sys.argv[1]))
engine = load_engine(config)
begin, cpu = time.perf_counter(), time.process_time()
records = replay.read(config, [Path(sys.argv[2])], "records").records
count = replay.write(engines.play(engine, records), io.StringIO())
print(json.dumps({"cpu_s": time.process_time() - cpu, "s": time.perf_counter() - begin}))
"""
CRNPY = """
import io, json, sys, time
try:
    import pandas as pd
    from crnpy import crnpy
except ImportError as missing:
    sys.exit(f"crnpy is not compared: {missing}")
cpu = time.process_time()
df = pd.read_csv(sys.argv[2], parse_dates=["time_utc"])
df["fp"] = crnpy.correction_pressure(df["pressure_hpa"], Pref=1005.0, L=130.0)
df["ah"] = crnpy.abs_humidity(df["relative_humidity_pct"], df["temperature_c"])
df["fw"] = crnpy.correction_humidity(df["ah"], Aref=0.0)
df["corrected"] = df["counts"] * df["fw"] / df["fp"]
df["smooth"] = crnpy.smooth_1d(df["corrected"], window=11, order=3, method="savitzky_golay")
df["vwc"] = crnpy.counts_to_vwc(df["smooth"], 3000.0, 0.03, 0.01, 1.4)
df["sigma"] = crnpy.uncertainty_vwc(df["counts"], 3000.0, 1.4, fp=df["fp"], fw=df["fw"])
df.to_csv(io.StringIO(), index=False)
print(json.dumps({"cpu_s": time.process_time() - cpu}))
"""


def write_records(folder: str, hours: int) -> Path:
    """Write hourly records with weather as records.csv."""
    rng = np.random.default_rng(1)
    path = Path(folder, f"records-{hours}.csv")
    with path.open("wb") as out:
        out.write(parser.RECORDS_HEADER + b"\n")
        for i in range(hours):
            end_s = 1_400_000_400.0 + 3600.0 * i
            counts, rain_mm = float(rng.poisson(1500)), 1.2 * float(rng.random() < 0.05)
            air = (rng.normal(1005.0, 5.0), rng.normal(12.0, 4.0), rng.uniform(50.0, 90.0))
            record = RawRecord(end_s, 3600.0, counts, *np.round(air, 2).tolist(), rain_mm)
            out.write(parser.format_record(record))
    return path


def measured(code: str, *arguments: Path, python: str = sys.executable) -> dict[str, float]:
    """Run code in a new process and return what it measures; empty where it cannot run."""
    command = [python, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1])
        return {}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def replay_figures() -> dict[str, float]:
    """Measure the replay of a year and of ten years of hours with the released model."""
    with tempfile.TemporaryDirectory() as folder:
        toml = station(folder, RELEASED)
        year, decade = write_records(folder, 8760), write_records(folder, 87_600)
        python = os.environ.get("CRNPY_PYTHON", sys.executable)
        ours, theirs = [], []
        for _ in range(RUNS):
            ours.append(measured(REPLAY, toml, year))
            theirs.append(measured(CRNPY, toml, year, python=python))
            if not theirs[-1]:
                break
        ten = measured(REPLAY, toml, decade)
    cpu_s = statistics.median(run["cpu_s"] for run in ours)
    figures = {
        "replay_records_per_s": 8760 / statistics.median(run["s"] for run in ours),
        "replay_records_per_cpu_s": 8760 / cpu_s,
        "replay_ten_years_s": ten["s"],
        "replay_ten_years_cpu_s": ten["cpu_s"],
    }
    if theirs[-1]:
        crnpy_s = statistics.median(run["cpu_s"] for run in theirs)
        figures |= {"crnpy_year_cpu_s": crnpy_s, "replay_over_crnpy": cpu_s / crnpy_s}
    return figures


def live_record_ms(hours: int = 600) -> float:
    """Measure the processor time of a record from the port to the commit [ms], the median.

    With weather, the released model, quality control, messages and SQLite; without waiting for
    the disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = read_config(station(folder, RELEASED))
        clock = Clock()
        intake = Intake(config, load_engine(config), clock, AncillaryData(config), int)
        intake.open()
        times = []
        for record in simulator.records(hours / 24.0, 1, 1_400_000_400.0):
            begin = time.process_time()
            intake.add(Read(record, 0.0))
            while intake.waiting():
                intake.process_next([])
            times.append(time.process_time() - begin)
        intake.close()
    return 1e3 * statistics.median(times)


def station(folder: str, bundle: Path = BUNDLE) -> Path:
    """Write a station's configuration into a folder."""
    path = Path(folder, "station.toml")
    path.write_text(STATION.format(folder=folder, bundle=bundle))
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
    figures["live_record_ms"] = live_record_ms()
    figures |= replay_figures()
    framed = {
        dialect: statistics.median(framer_per_s(dialect) for _ in range(3))
        for dialect in sorted(wire.LOGGERS)
    }
    print("lines/s: " + ", ".join(f"{dialect} {value:.0f}" for dialect, value in framed.items()))
    figures["framer_lines_per_s_least"] = min(framed.values())
    print(" ".join(f"{key}={value:.4g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
