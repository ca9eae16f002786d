"""Provide the demo's surroundings: detector line, broker, dashboard, the daemon's process."""

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

FLUSH_S = 1.0  # pyserial discards pending input when it opens a line


@contextlib.contextmanager
def station(station_toml: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon in its own process; terminate it with SIGTERM, as systemd does."""
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
    """Open a pseudo-terminal; yield the detector's end and the name of the station's end."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    try:
        yield master, name
    finally:
        os.close(master)


def feed(master: int, records: list[RawRecord]) -> None:
    """Write the logger's output once the station has opened the line; its buffer sets the pace."""
    line = select.poll()
    line.register(master, select.POLLHUP)
    with contextlib.suppress(OSError):  # the demo may end while the line is full
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
    """Subscribe to a topic; yield the list to which messages are appended."""
    from paho.mqtt.client import Client, MQTTMessage, MQTTv311
    from paho.mqtt.enums import CallbackAPIVersion

    messages: list[dict[str, Any]] = []
    subscribed = threading.Event()

    def append(_client: Client, _data: object, message: MQTTMessage) -> None:
        messages.append(json.loads(message.payload))

    client = Client(CallbackAPIVersion.VERSION2, client_id="dashboard", protocol=MQTTv311)
    client.on_message = append
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
    """Run an MQTT broker in this process on a free local port; yield the port."""
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise ConfigError(
            "the demo's broker is missing: pip install 'epithermal-host[demo]'"
        ) from error
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)  # it logs its own shutdown as an error
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
