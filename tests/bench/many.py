"""Start many stations at one broker with the access list of deploy/, each in its own process."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from tests.support.rig import PATIENCE_S, ROOT, Broker, free_port, topics_of, wait_until
from tests.support.sites import WATERED

from epithermal_edge.cli import simulator
from epithermal_edge.times import HOUR_S

BUNDLE = ROOT / "models" / "rootzone-1.0.0"
READER = "dashboard"  # the user of deploy/mosquitto/acl that may read all stations
TOML = """
[station]
id = "{name}"
state_dir = "state"
[site]
name = "Field {number}"
{site}
[source]
dialect = "records"
stamps = "unchecked"
url = "socket://127.0.0.1:{line}"
[model]
bundle = "{bundle}"
[mqtt]
host = "127.0.0.1"
port = {port}
user = "{name}"
password_file = "password"
backlog_per_s = 0
"""


def password(name):
    """Return the password of a user of the broker."""
    return f"of-{name}"


def names(count):
    """List the ids of the stations."""
    return [f"field-{i:03d}" for i in range(1, count + 1)]


def make_broker(folder, stations):
    """Start mosquitto with deploy's access list and a password for each user, without TLS."""
    passwords = folder / "passwd"
    passwords.write_text("".join(f"{n}:{password(n)}\n" for n in [READER, *stations]))
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
    shutil.copy(ROOT / "deploy" / "mosquitto" / "acl", folder / "acl")
    web = free_port()
    rules = f"password_file {passwords}\nacl_file {folder / 'acl'}\nallow_anonymous false\n"
    broker = Broker(folder, f"{rules}listener {web} 127.0.0.1\nprotocol websockets\n")
    broker.web_port = web
    return broker


class Detectors:
    """One port for each station, which sends simulated lines with its own seed."""

    def __init__(self, stations, days):
        self.hours = round(24 * days)
        start_s = (time.time() // HOUR_S - self.hours) * HOUR_S
        self._lines = {
            name: b"".join(simulator.lines("records", simulator.records(days, seed, start_s)))
            for seed, name in enumerate(stations, 1)
        }
        self.ports, ready = {}, threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        assert ready.wait(PATIENCE_S)

    def _run(self, ready):
        async def serve():
            for name, lines in self._lines.items():
                server = await asyncio.start_server(self._player(lines), "127.0.0.1", 0)
                self.ports[name] = server.sockets[0].getsockname()[1]
            ready.set()

        self._loop.create_task(serve())
        self._loop.run_forever()

    @staticmethod
    def _player(lines):
        async def play(reader, writer):
            writer.write(lines)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
                await reader.read()  # until the station disconnects

        return play

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)


class Stations:
    """Processes of `epithermal-edge run`, each with its own journal."""

    def __init__(self, folder, stations, lines, port):
        self.folders = {name: folder / name for name in stations}
        self.processes = {}
        for number, (name, own) in enumerate(self.folders.items(), 1):
            own.mkdir()
            (own / "password").write_text(password(name))
            (own / "station.toml").write_text(
                TOML.format(
                    name=name,
                    number=number,
                    site=WATERED,
                    line=lines[name],
                    port=port,
                    bundle=BUNDLE,
                )
            )

    def start(self, name):
        own = self.folders[name]
        with (own / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "epithermal_edge", "run", own / "station.toml"],
                stderr=log,
            )

    def alive(self):
        return [name for name, process in self.processes.items() if process.poll() is None]

    def log(self, name):
        """Return the end of a station's log."""
        return (self.folders[name] / "log").read_text()[-2000:]

    def counts(self, name):
        """Count the records in a station's journal, and its undelivered messages."""
        if not self._file(name).exists():
            return 0, 0
        query = "SELECT (SELECT count(*) FROM record), (SELECT count(*) FROM outbox)"
        try:
            with contextlib.closing(self._journal(name)) as db:
                return db.execute(query).fetchone()
        except sqlite3.OperationalError:  # the journal is being created
            return 0, 0

    def estimates(self, name):
        """List (end [s, Unix time], theta) of each record in the journal."""
        query = "SELECT end_s, theta FROM record JOIN estimate USING (seq) ORDER BY end_s"
        with contextlib.closing(self._journal(name)) as db:
            return [(end, None if t is None else round(t, 6)) for end, t in db.execute(query)]

    def _journal(self, name):
        return sqlite3.connect(f"file:{self._file(name)}?mode=ro", uri=True)

    def _file(self, name):
        return self.folders[name] / "state" / "journal.sqlite3"

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(PATIENCE_S)


def attack(port, thief, victim):
    """Publish and subscribe to another station's topics; return those accepted and those received.

    A message to its own topic proves that the station is connected.
    """
    heard, answers, done = [], {}, threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, f"thief-{thief}", protocol=MQTTv5)
    client.username_pw_set(thief, password(thief))
    client.on_message = lambda _c, _d, m: heard.append(m.topic)
    client.on_publish = lambda _c, _d, mid, why, _p: answers.__setitem__(mid, not why.is_failure)
    client.on_connect = lambda *_: done.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert done.wait(PATIENCE_S)
    hears = ["#", "crns/v1/+/+/+", f"crns/v1/{victim}/#", f"crns/v1/{victim}/obs/theta"]
    client.subscribe([(topic, 1) for topic in hears])
    topics = topics_of(victim, commands=True)
    tries = {client.publish(topic, "stolen", qos=1, retain=True).mid: topic for topic in topics}
    own = f"crns/v1/{thief}/obs/check"  # sent last: when it arrives, all others have
    own_mid = client.publish(own, "{}", qos=1).mid
    wait_until(lambda: len(answers) == len(tries) + 1 and own in heard, "its own message")
    client.disconnect()
    client.loop_stop()
    assert answers.pop(own_mid), f"{thief} may not publish its own topic"
    mine = (f"crns/v1/{thief}/", "homeassistant/status")
    return [tries[mid] for mid, accepted in answers.items() if accepted], [
        topic for topic in heard if not topic.startswith(mine)
    ]


def memory_mb(pid, what="VmHWM"):
    """Return the peak (VmHWM) or current (VmRSS) resident memory of a process [MB]."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024.0
    raise LookupError(what)


def pss_mb(pids):
    """Return the memory of several processes [MB], with shared memory counted once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total / 1024.0
