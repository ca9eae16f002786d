"""Check that a broker accepts the station: connect once and publish one message."""

from __future__ import annotations

import queue
import time
from typing import Any

from epithermal_edge.config.station_toml import Mqtt
from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.messages.message import Identity
from epithermal_edge.messages.station import event
from epithermal_edge.mqtt.connection import FAILURE

WAIT_S = 5.0
TEXT = "an operator runs epithermal-edge check on this station"


def publish_test(station: str, config: Mqtt) -> str:
    """Log in as the station, publish `event/check` and return the result as text.

    The client id differs from that of every station, because a broker disconnects the older of two
    clients with the same id; a station's id has no `_`.

    Raises
    ------
    EpithermalError
        The broker cannot be reached, or rejects the login or the message.
    ConfigError
        A certificate or the password file cannot be read.
    """
    answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    client = _client(f"{station}_check", config, answers)
    where = f"{config.host}:{config.port}"
    try:
        client.connect(config.host, config.port)
    except OSError as error:
        raise EpithermalError(f"{where}: {error.strerror or error}") from error
    client.loop_start()
    try:
        reason = _wait_for(answers, "connected", where)
        if reason.is_failure:
            raise EpithermalError(f"{where} rejects the login of {station}: {reason}")
        identity = Identity(station, "", config.prefix, 0.0)
        message = event(identity, "check", time.time(), TEXT)
        client.publish(message.topic, message.payload, message.kind.qos)
        reason = _wait_for(answers, "published", where)
        if reason.value >= FAILURE:
            raise EpithermalError(f"{where} accepts {station} but rejects its messages: {reason}")
    finally:
        client.disconnect()
        client.loop_stop()
    if config.version != "5":
        return f"{where} accepts {station}; MQTT 3.1.1 does not report rejected messages"
    return f"{where} accepts {station} and its messages"


def _client(name: str, config: Mqtt, answers: queue.SimpleQueue[tuple[str, Any]]) -> Any:
    from paho.mqtt.client import Client, MQTTv5, MQTTv311
    from paho.mqtt.enums import CallbackAPIVersion

    from epithermal_edge.mqtt.client import read_password

    protocol = MQTTv5 if config.version == "5" else MQTTv311
    client = Client(
        CallbackAPIVersion.VERSION2, name, protocol=protocol, reconnect_on_failure=False
    )
    client.connect_timeout = WAIT_S
    try:
        if config.user:
            client.username_pw_set(config.user, read_password(config))
        if config.ca_file:
            cert, key = (str(f) if f else None for f in (config.cert_file, config.key_file))
            client.tls_set(str(config.ca_file), cert, key)
    except (OSError, ValueError) as error:
        raise ConfigError(f"password or certificates cannot be used: {error}") from error
    client.on_connect = lambda _c, _d, _f, reason, _p: answers.put(("connected", reason))
    client.on_publish = lambda _c, _d, _m, reason, _p: answers.put(("published", reason))
    client.on_disconnect = lambda _c, _d, _f, reason, _p: answers.put(("disconnected", reason))
    return client


def _wait_for(answers: queue.SimpleQueue[tuple[str, Any]], wanted: str, where: str) -> Any:
    """Wait for an answer of the broker and return its reason code."""
    try:
        kind, reason = answers.get(timeout=WAIT_S)
    except queue.Empty:
        raise EpithermalError(f"{where}: no answer within {WAIT_S:g} s") from None
    if kind != wanted:
        raise EpithermalError(f"{where} closes the connection: {reason}")
    return reason
