"""SIGKILL at random moments while reading and publishing: nothing lost, repeated or changed."""

import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import time

from tests.faults.size import size
from tests.support.reference import published, reference
from tests.support.rig import ROOT, Broker, Line, Subscriber, lines, station_toml, wait_until

KILLS = size(5, 1000)
EACH = 12  # records at most between two kills
HEADER, *LINES = lines((KILLS * EACH + 200) / 24.0)

# The imports are done once, so that a station starts fast; each station that is killed is a process
# of its own.
SERVER = """
import os, signal, sys
from epithermal_edge.cli.main import main
import epithermal_edge.station.daemon, epithermal_edge.cli.simulator, paho.mqtt.client, serial
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for toml in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(main(["run", toml.strip()]))
    print(child, flush=True)
"""


class Lives:
    """Successive processes of one station, on a line that loses unread bytes."""

    def __init__(self, folder, port):
        self._folder, self._port = folder, port
        self.line, self._log = Line(), folder / "daemon.log"
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("ab"),
            text=True,
        )
        self.opened = 0
        self.toml = self._new_line()

    def _new_line(self):
        self.line.close()
        self.line.__init__()
        return station_toml(self._folder, url=self.line.name, port=self._port)

    def begin(self):
        self.toml = self._new_line()
        self.opened = self.count_open()
        self._server.stdin.write(f"{self.toml}\n")
        self._server.stdin.flush()
        self._pid = int(self._server.stdout.readline())

    def count_open(self):
        return self._log.read_text().count(" is open")

    def is_open(self):
        return self.count_open() > self.opened

    def end(self):
        os.kill(self._pid, signal.SIGKILL)
        wait_until(lambda: not os.path.exists(f"/proc/{self._pid}"))

    def log(self):
        return self._log.read_text()

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()
        self.line.close()


def live(lives, ears, rng, sent, longest_s):
    """Run one process: the logger sends what is not published yet, then the process is killed.

    Returns also the longest life of the next process, so that half of the processes die during the
    start whatever the speed of the machine.
    """
    lives.begin()
    begin = time.monotonic()
    until = begin + rng.uniform(0.0, longest_s)
    while time.monotonic() < until and not lives.is_open():
        time.sleep(0.005)
    if lives.is_open():
        longest_s = 0.5 * longest_s + 0.5 * longest(time.monotonic() - begin)
    else:
        longest_s *= 1.1
    heard = len(ears.theta_once())
    waiting = collections.deque(LINES[max(heard - 2, 0) : min(heard + EACH, len(LINES))])
    if lives.is_open():
        lives.line.write(HEADER)
        while waiting and time.monotonic() < until:
            lives.line.write(waiting.popleft())
            sent += 1
            time.sleep(rng.uniform(0.0, 0.02))
        time.sleep(max(0.0, until - time.monotonic()) * rng.random())
    lives.end()
    return sent, longest_s


def longest(start_s):
    """Return the longest life of a process [s]: twice the start and a margin."""
    return 2.0 * start_s + 0.3


def test_a_kill_at_any_moment_loses_repeats_and_changes_nothing(tmp_path, seed, record_property):
    rng, sent = random.Random(seed), 0
    broker = Broker(tmp_path)
    ears, lives = Subscriber(broker.port), Lives(tmp_path, broker.port)
    try:
        begin = time.monotonic()
        lives.begin()
        wait_until(lives.is_open, "the port's opening")
        longest_s = longest(time.monotonic() - begin)
        lives.end()
        for _ in range(KILLS):
            sent, longest_s = live(lives, ears, rng, sent, longest_s)
        assert lives.count_open() >= KILLS // 5, lives.log()
        lives.begin()
        wait_until(lives.is_open, lives.log())
        count = len(ears.theta_once()) + 30
        lives.line.write(HEADER + b"".join(LINES[max(count - 60, 0) : count]))
        wait_until(lambda: len(ears.theta_once()) >= count)
        heard = ears.of("obs/theta")
    finally:
        lives.close()
        ears.close()
        broker.stop()
    first = list({p["id"]: p for p in heard}.values())
    expected = reference(lives.toml, [HEADER, *LINES[:count]])
    assert published(first) == expected
    assert [int(p["id"].split(":")[2]) for p in first] == list(range(1, count + 1))
    assert len({p["id"].split(":")[1] for p in first}) == 1
    assert all(p == next(q for q in first if q["id"] == p["id"]) for p in heard[-500:])
    assert "Traceback" not in lives.log() and "damaged" not in lives.log()
    record_property("kills", KILLS)
    record_property("kill_records", count)
    record_property("kill_lines_sent", sent)
    record_property("kill_repeated_on_the_wire", len(heard) - len(first))
    record_property("kill_lost", 0)
