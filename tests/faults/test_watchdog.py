"""Notifications to systemd's watchdog: none while reader, engine or sender is blocked."""

import contextlib
import operator
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.faults.size import size
from tests.support.rig import (
    ROOT,
    Broker,
    Line,
    Subscriber,
    begin,
    free_port,
    lines,
    station_toml,
    wait_until,
)
from tests.support.sites import SITE

from epithermal_edge.station.systemd import Notifier

WATCHDOG_S = 1.6
HEADER, *LINES = lines(4.0)

BLOCKABLE = Path(__file__).with_name("blockable.py")


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, folder, abstract=False):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = f"@epithermal-{os.getpid()}" if abstract else str(folder / "notify")
        self._socket.bind(self.address.replace("@", "\0", 1))
        self._socket.settimeout(0.1)
        self._open = True
        self.heard = []  # (time, text)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self):
        while self._open:
            with contextlib.suppress(TimeoutError):
                text = self._socket.recv(4096).decode()
                self.heard += [(time.monotonic(), part) for part in text.splitlines()]

    def has(self, text):
        return any(text in part for _, part in self.heard)

    def feeds(self):
        return [at for at, part in self.heard if part == "WATCHDOG=1"]

    def close(self):
        self._open = False
        self._thread.join()
        self._socket.close()


class Watched:
    """A station in a folder of its own, with its port and its systemd."""

    def __init__(self, folder, what, port=None, tables="", site=SITE):
        folder.mkdir()
        self.line, self.systemd = Line(), Systemd(folder)
        self._log = folder / "daemon.log"
        toml = station_toml(folder, url=self.line.name, port=port, site=site)
        toml.write_text(toml.read_text().replace('id = "test-1"', f'id = "test-{what}"') + tables)
        environ = {**os.environ, "NOTIFY_SOCKET": self.systemd.address}
        environ["WATCHDOG_USEC"] = str(int(WATCHDOG_S * 1e6))
        command = [sys.executable, str(BLOCKABLE), what, str(toml)]
        with self._log.open("wb") as log:
            self.process = begin(command, cwd=ROOT, env=environ, stderr=log)

    def log(self):
        return self._log.read_text()

    def blocked_s(self):
        """Return when its part blocked [s, monotonic]; None: not yet."""
        found = re.search(r"blocked at ([\d.]+)", self.log())
        return float(found[1]) if found else None

    def close(self):
        self.process.kill()
        self.process.wait()
        self.systemd.close()
        with contextlib.suppress(OSError):
            self.line.close()


@pytest.fixture
def stations(tmp_path):
    broker = Broker(tmp_path)
    parts = ("reader", "engine", "sender", "none")
    running = {what: Watched(tmp_path / what, what, broker.port) for what in parts}
    yield running, broker
    for station in running.values():
        station.close()
    broker.stop()


def test_the_feed_stops_when_a_part_is_blocked_and_only_then(stations, record_property):
    running, broker = stations
    ears = Subscriber(broker.port, "crns/v1/+/obs/theta")
    for station in running.values():
        wait_until(lambda station=station: " is open" in station.log(), what=station.log())
        for notice in ("READY=1", "records, newest "):  # they come beside the port, in no order
            wait_until(lambda s=station, n=notice: s.systemd.has(n), what=notice)
        station.line.write(HEADER + b"".join(LINES[:5]))
    wait_until(lambda: len(ears.messages) == 20)
    time.sleep(size(0, 20) * WATCHDOG_S)
    for station in running.values():  # more often than systemd requires
        wait_until(lambda station=station: len(station.systemd.feeds()) >= 3)
    for station in running.values():
        os.kill(station.process.pid, signal.SIGUSR1)
    for station in running.values():
        wait_until(lambda station=station: "the signal has arrived" in station.log())
    running["sender"].line.write(LINES[5])  # the sender blocks once it has something to send
    for what in ("reader", "engine", "sender"):
        wait_until(lambda what=what: running[what].blocked_s() is not None, what=what)
    running["none"].line.close()  # neither an unplugged cable ...
    broker.stop()  # ... nor a missing broker blocks a part
    latest = max(running[what].blocked_s() for what in ("reader", "engine", "sender"))
    healthy, count = running["none"].systemd, size(6, 34)  # feeds last until 0.9, one every 0.25
    wait_until(lambda: sum(at > latest for at in healthy.feeds()) >= count, "feeds of the others")
    late_s = max(map(operator.sub, healthy.feeds()[1:], healthy.feeds())) - WATCHDOG_S / 4
    for what in ("reader", "engine", "sender"):
        fed_s = max(running[what].systemd.feeds()) - running[what].blocked_s()
        # systemd ends the station within two time-outs; the machine delays a healthy one, too
        assert fed_s < 0.9 * WATCHDOG_S + max(late_s, 0.0)
        assert running[what].process.poll() is None
        record_property(f"watchdog_fed_after_{what}_blocked_s", round(fed_s, 2))
    wait_until(lambda: "blocked: reader" in running["reader"].log(), "the reader's notice")
    running["none"].process.terminate()
    assert running["none"].process.wait() == 0
    wait_until(lambda: running["none"].systemd.has("STOPPING=1"))
    ears.close()


@pytest.mark.parametrize("what", ["incoming", "page"])
def test_the_feed_stops_when_a_thread_has_ended(tmp_path, what):
    """The thread ends by an exception that nobody expects; the station measures on without it."""
    tables = f'[page]\nport = {free_port()}\n[incoming]\nsource = "file"\nfile = "jung.txt"\n'
    site = f'{SITE}[site.incoming]\nform = "plain"\nref = 150.0\n'
    station = Watched(tmp_path / what, what, tables=tables, site=site)
    try:
        wait_until(
            lambda: " is open" in station.log() and "page: on" in station.log(), what="start"
        )
        wait_until(lambda: len(station.systemd.feeds()) >= 2, what="feeds")
        assert "have ended" not in station.log()
        os.kill(station.process.pid, signal.SIGUSR1)
        wait_until(lambda: f"threads that have ended: {what}" in station.log(), what="the log")
        ended = time.monotonic()
        time.sleep(WATCHDOG_S)  # a feed is due every quarter
        assert sum(at > ended for at in station.systemd.feeds()) <= 1  # that was on its way
        assert station.process.poll() is None
    finally:
        station.close()


def test_an_abstract_socket_and_no_socket_are_served(tmp_path):
    systemd = Systemd(tmp_path, abstract=True)
    Notifier({"NOTIFY_SOCKET": systemd.address}).notify_ready()
    wait_until(lambda: systemd.has("READY=1"))
    systemd.close()
    Notifier({}).notify_ready()
    foreign = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    Notifier(foreign).notify_ready()
    assert Notifier(foreign).watchdog_s == 0.0
