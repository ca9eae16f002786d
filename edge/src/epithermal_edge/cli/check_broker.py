"""Whether a broker takes what the station will send: one connection and one message of `check`."""

from __future__ import annotations

import queue
import time
from typing import Any

from epithermal_edge.config.station_toml import Mqtt
from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.messages.message import Identity
from epithermal_edge.messages.station import event
from epithermal_edge.mqtt.connection import FAILURE, read_password

WAIT_S = 5.0
TEXT = "an operator examines the station with epithermal-edge check"


def broker(station: str, config: Mqtt) -> str:
    """Log in as the station and publish `event/check`, as the station would.

    The client's id is another one than the station's, so that nobody is thrown out.

    Raises
    ------
    EpithermalError
        The broker cannot be reached, does not let the station in, or refuses its message.
    ConfigError
        A certificate or the password file cannot be read.
    """
    answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    client = _client(f"{station}-check", config, answers)
    where = f"{config.host}:{config.port}"
    try:
        client.connect(config.host, config.port)
    except OSError as error:
        raise EpithermalError(f"{where}: {error.strerror or error}") from error
    client.loop_start()
    try:
        reason = _answer(answers, "in", where)
        if reason.is_failure:
            raise EpithermalError(f"{where} does not let {station} in: {reason}")
        identity = Identity(station, "", config.prefix, 0.0)
        message = event(identity, "check", time.time(), TEXT)
        client.publish(message.topic, message.payload, message.kind.qos)
        reason = _answer(answers, "taken", where)
        if reason.value >= FAILURE:
            raise EpithermalError(f"{where} lets {station} in and refuses its messages: {reason}")
    finally:
        client.disconnect()
        client.loop_stop()
    if config.version != "5":
        return f"{where} lets {station} in; MQTT 3.1.1 cannot tell whether it keeps the messages"
    return f"{where} lets {station} in and takes its messages"


def _client(name: str, config: Mqtt, answers: queue.SimpleQueue[tuple[str, Any]]) -> Any:
    from paho.mqtt.client import Client, MQTTv5, MQTTv311
    from paho.mqtt.enums import CallbackAPIVersion

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
    client.on_connect = lambda _c, _d, _f, reason, _p: answers.put(("in", reason))
    client.on_publish = lambda _c, _d, _m, reason, _p: answers.put(("taken", reason))
    client.on_disconnect = lambda _c, _d, _f, reason, _p: answers.put(("away", reason))
    return client


def _answer(answers: queue.SimpleQueue[tuple[str, Any]], wanted: str, where: str) -> Any:
    """The reason that comes with an answer."""
    try:
        kind, reason = answers.get(timeout=WAIT_S)
    except queue.Empty:
        raise EpithermalError(f"{where}: no answer within {WAIT_S:g} s") from None
    if kind != wanted:
        raise EpithermalError(f"{where} closes the connection: {reason}")
    return reason
