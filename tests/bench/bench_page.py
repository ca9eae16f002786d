"""Measure the cost of the station's page: import, memory, response time. `make bench-page`.

The last line is `key=value`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.support.page import PageStation, running  # noqa: E402

from epithermal_edge.page.server import LISTENERS  # noqa: E402

REQUESTS = 3000
IMPORT = """
import time
import epithermal_edge.station.daemon, epithermal_edge.mqtt.sender, epithermal_edge.journal.journal
import serial, paho.mqtt.client
t = time.process_time()
import epithermal_edge.page.server
print((time.process_time() - t) * 1e3)
"""


def import_cpu_ms() -> float:
    """Measure the processor time of importing it [ms], median of new processes."""
    runs = [
        float(
            subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True).stdout
        )
        for _ in range(5)
    ]
    return statistics.median(runs)


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process [MB]."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def load(station: PageStation, requests: int) -> list[float]:
    """Request all parts of a page in turn; return the time of each request [ms]."""
    times = []
    names = ("", "page.js", "now.json", "history.json")
    for k in range(requests):
        t = time.perf_counter()
        with urllib.request.urlopen(station.url(names[k % 4]), timeout=30) as answer:
            answer.read()
        times.append((time.perf_counter() - t) * 1e3)
    return times


def listen(station: PageStation) -> None:
    """Receive events until the station stops."""
    with urllib.request.urlopen(station.url("events"), timeout=60) as answer:
        while answer.readline():
            pass


def main() -> None:
    """Print the results."""
    figures = {"page_import_cpu_ms": import_cpu_ms()}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as station:
        pid = station.daemon.process.pid
        figures["rss_start_mb"] = rss_mb(pid)
        load(station, 4)
        figures["rss_first_page_mb"] = rss_mb(pid)
        for _ in range(LISTENERS):
            threading.Thread(target=listen, args=(station,), daemon=True).start()
        load(station, REQUESTS // 2)
        figures["rss_half_mb"] = rss_mb(pid)
        times = load(station, REQUESTS // 2)
        figures["rss_end_mb"] = rss_mb(pid)
        figures["answer_ms"] = statistics.median(times)
        figures["answer_p99_ms"] = statistics.quantiles(times, n=100)[-1]
    print(" ".join(f"{key}={value:.4g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
