"""What stands around the demo's station: detector line, broker, dashboard, the daemon's process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.loggers import parser
from epithermal_edge.records import RawRecord

FLUSH_S = 1.0  # pyserial empties a line's input when it opens it


@contextlib.contextmanager
def station(station_toml: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon in a process of its own; ended by SIGTERM, as systemd does."""
    with (station_toml.parent / "station.log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "epithermal_edge", "run", str(station_toml)], stderr=log
        )
        try:
            yield daemon
        finally:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal: the detector's end and the name of the station's end."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    try:
        yield master, name
    finally:
        os.close(master)


def feed(master: int, records: list[RawRecord]) -> None:
    """Write what the logger would, once the station listens; the line's buffer sets the pace."""
    line = select.poll()
    line.register(master, select.POLLHUP)
    with contextlib.suppress(OSError):  # the demo ended while the line was full
        while line.poll(0):
            time.sleep(0.05)
        time.sleep(FLUSH_S)
        os.write(master, parser.RECORDS_HEADER)
        for record in records:
            data = parser.format_record(record)
            while data:
                data = data[os.write(master, data) :]


@contextlib.contextmanager
def dashboard(port: int, topic: str) -> Iterator[list[dict[str, Any]]]:
    """A subscriber; the list grows as messages come."""
    from paho.mqtt.client import Client, MQTTMessage, MQTTv311
    from paho.mqtt.enums import CallbackAPIVersion

    messages: list[dict[str, Any]] = []
    subscribed = threading.Event()

    def take(_client: Client, _data: object, message: MQTTMessage) -> None:
        messages.append(json.loads(message.payload))

    client = Client(CallbackAPIVersion.VERSION2, client_id="dashboard", protocol=MQTTv311)
    client.on_message = take
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.subscribe(topic, qos=1)
    client.loop_start()
    try:
        if not subscribed.wait(10.0):
            raise EpithermalError("the demo's broker does not answer")
        yield messages
    finally:
        client.disconnect()
        client.loop_stop()


@contextlib.contextmanager
def broker() -> Iterator[int]:
    """An MQTT broker inside this process, on a free local port; yields the port."""
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise ConfigError(
            "the demo's broker is missing: pip install 'epithermal-host[demo]'"
        ) from error
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)  # it reports its own shutdown as error
    loop = asyncio.new_event_loop()
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Broker(config, loop=loop)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(broker.start(), loop).result(10.0)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(broker.shutdown(), loop).result(10.0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5.0)
        loop.close()
