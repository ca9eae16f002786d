"""Provide the real surroundings of a station under test: broker, subscriber, port, process."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tty
from pathlib import Path

import jsonschema
import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from tests.support.sites import SITE

from epithermal_edge.cli import simulator
from epithermal_edge.loggers.records_csv import seal
from epithermal_edge.messages.topics import TOPICS

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "tests" / "golden" / "bucket-0.1.0"
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
START_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def lines(days, seed=1, dialect="records", interval_s=3600.0):
    """Return the simulated detector's lines, header first."""
    return list(simulator.lines(dialect, simulator.records(days, seed, START_S, interval_s)))


def sealed_again(line):
    """Return a changed line of the dialect `records` with the right checksum."""
    return seal(line.decode().rpartition(",")[0]).encode() + b"\n"


def station_toml(
    folder, *, url=None, port=None, site=SITE, bundle=BUNDLE, source="", mqtt="", model=""
):
    """Write station.toml into the folder and return its path; the journal goes beside it."""
    text = f'[station]\nid = "test-1"\nstate_dir = "state"\n[site]\n{site}\n[source]\n'
    text += source or 'dialect = "records"\n'
    if url is not None:
        text += f'url = "{url}"\n'
    text += f'[model]\nbundle = "{bundle}"\n{model}'
    if port is not None:
        text += f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n{mqtt}'
    path = folder / "station.toml"
    path.write_text(text)
    return path


def validator(name):
    """Return the validator of a schema in docs/mqtt."""
    schema = json.loads((ROOT / "docs" / "mqtt" / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(_inlined(schema, schema.get("$defs", {})))


def _inlined(schema, definitions):
    """Return the schema without references, which take half of the time."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return {k: _inlined(v, definitions) for k, v in schema.items() if k != "$defs"}
    return [_inlined(v, definitions) for v in schema] if isinstance(schema, list) else schema


def schema_of(topic):
    """Name the schema in docs/mqtt for the messages of a topic."""
    (row,) = (row for row in TOPICS if re.fullmatch(_expression(row), topic))
    return row.schema


def _expression(row, station="[a-z0-9-]{3,32}", word="[a-z_]+"):
    """Return the regular expression of a row's topics."""
    return row.fill(word, prefix="crns/v1", homeassistant="homeassistant", station=station)


def topics_of(station, commands=False):
    """List the topics that a station publishes, with `commands` also those it receives."""
    rows = (row for row in TOPICS if commands or row.published)
    return [_expression(row, station, "ping") for row in rows]


def validate_by_topic(messages):
    """Validate every message against the schema of its topic."""
    validators = {}
    for topic, payload in messages:
        name = schema_of(topic)
        if name not in validators:
            validators[name] = validator(name)
        validators[name].validate(json.loads(payload))


def free_port():
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# One limit for everything that must happen: waiting ends with the event, so that a passing test
# does not depend on the machine's speed, and only a failing one waits so long.
PATIENCE_S = 300.0


def wait_until(holds, what="condition"):
    """Poll until the condition holds."""
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.02)


BEGUN: list[subprocess.Popen] = []


def begin(command, **options):
    """Start a process that ends with its module of tests at the latest, even if a test fails."""
    BEGUN.append(subprocess.Popen(command, **options))
    return BEGUN[-1]


def end_all():
    """Kill what is still running."""
    while BEGUN:
        process = BEGUN.pop()
        if process.poll() is None:
            process.kill()
            process.wait()


class Broker:
    """mosquitto on a free port; a restart loses its messages."""

    def __init__(self, folder, rules=""):
        if MOSQUITTO is None:
            pytest.skip("mosquitto is not installed (apt install mosquitto)")
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"user {getpass.getuser()}\n"  # else it drops root and cannot read its files
            f"listener {self.port} 127.0.0.1\nset_tcp_nodelay true\n"
            # 0 is no limit, but 2.0.11 then disconnects instead of rejecting a message
            "max_queued_messages 1000000\nmax_inflight_messages 1000\n"
            + (rules or "allow_anonymous true\n")
        )
        self._process = None
        self.start()

    def start(self):
        self._process = begin(
            [MOSQUITTO, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, what="the broker's port")

    def _answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    @property
    def pid(self):
        return self._process.pid

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None


class Subscriber:
    """An independent client that stores messages in order of arrival."""

    def __init__(self, port, topic="crns/v1/test-1/#"):
        self.messages = []  # (topic, payload)
        self.retained = []
        ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.on_message = self._take
        self._client.on_connect = lambda *_: self._client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_socket_open = lambda _c, _d, sock: sock.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(PATIENCE_S)

    def _take(self, _client, _data, message):
        self.messages.append((message.topic, message.payload))
        if message.retain:
            self.retained.append(message.topic)

    def of(self, name):
        """Return the payloads of one topic of the station."""
        return [json.loads(p) for t, p in self.messages if t == f"crns/v1/test-1/{name}"]

    def theta_once(self):
        """Return obs/theta without repeated ids, in order of first arrival."""
        return list({p["id"]: p for p in self.of("obs/theta")}.values())

    def publish(self, topic, payload, retain=False):
        """Publish a message."""
        return self._client.publish(topic, payload, qos=1, retain=retain)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


class Timed(Subscriber):
    """A subscriber that records the arrival time of each message."""

    def __init__(self, port):
        self.at = []  # (topic, monotonic)
        super().__init__(port)

    def _take(self, client, data, message):
        self.at.append((message.topic.partition("test-1/")[2], time.monotonic()))
        super()._take(client, data, message)

    def count(self, name):
        return sum(topic == name for topic, _ in self.at)

    def first(self, name):
        return next(at for topic, at in self.at if topic == name)

    def last(self, name):
        return [at for topic, at in self.at if topic == name][-1]


class Line:
    """A pseudo-terminal: the test is the logger, the station opens `name`.

    `name` is a link of its own: the kernel reuses numbers of closed terminals, and a station that
    waits for its port would open that of another test.
    """

    def __init__(self):
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self._folder = tempfile.mkdtemp(prefix="line-")
        self.name = f"{self._folder}/port"
        os.symlink(os.ttyname(self._theirs), self.name)

    def write(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(self._ours, view[:4096]) :]

    def close(self):
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._ours)
        os.close(self._theirs)


class Daemon:
    """`epithermal-edge run` in a process of its own."""

    def __init__(self, toml, *options):
        self._errors = toml.parent / "daemon.log"
        self._opened = self.log().count(" is open") if self._errors.exists() else 0
        with self._errors.open("ab") as errors:
            self.process = begin(
                [sys.executable, "-m", "epithermal_edge", "run", str(toml), *options],
                stderr=errors,
            )

    def ready(self):
        """Wait until the port is open; opening discards bytes written before."""
        try:
            wait_until(lambda: self.log().count(" is open") > self._opened, "an open port")
        except AssertionError:
            self.kill()  # else it would open the terminals of later tests
            raise
        return self

    def log(self):
        return self._errors.read_text()

    def counts(self):
        """Return the counts of the summary line by name."""
        last = self.log().splitlines()[-1]
        return {name: int(value) for name, value in (pair.split("=") for pair in last.split())}

    def stop(self):
        """Send SIGTERM, as systemd does, and return the exit code."""
        self.process.terminate()
        return self.wait()

    def kill(self):
        """Send SIGKILL, for a process the nearest to a power cut."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def wait(self):
        """Wait until the process has ended and return the exit code."""
        return self.process.wait(PATIENCE_S)


def edge(*arguments, **options):
    """Run `epithermal-edge` and capture its output."""
    return subprocess.run(
        [sys.executable, "-m", "epithermal_edge", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        **options,
    )
