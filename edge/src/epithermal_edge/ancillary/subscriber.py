"""Topics of others: a second, listening connection that comes back by itself."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from epithermal_edge.config.station_toml import Mqtt
from epithermal_edge.errors import FrameError
from epithermal_edge.loggers.values import number, unix_time
from epithermal_edge.mqtt.connection import read_password

if TYPE_CHECKING:
    from paho.mqtt.client import Client

PAYLOAD_BYTES = 16384  # a longer message is no weather
RETRY_S, RETRY_MAX_S = 1, 60
MILLISECONDS = 1e11  # a time above it is not in seconds: the year 5138

log = logging.getLogger(__name__)


def read_payload(
    payload: bytes, field: str | None, time_field: str | None
) -> tuple[float, float | None]:
    """The number in a message, and its own time.

    Parameters
    ----------
    field, time_field :
        Names in a JSON object, `a.b` for one inside; None: the payload is a plain number, and it
        has no time.

    Returns
    -------
    number, Unix time [s]
        The number is finite; the time is None where `time_field` is.

    Raises
    ------
    FrameError
        There is no such number, or no such time.
    """
    if len(payload) > PAYLOAD_BYTES:
        raise FrameError(f"longer than {PAYLOAD_BYTES} bytes")
    text = payload.decode("utf-8", "replace").strip()
    if field is None:
        return _finite(text, "payload"), None
    try:
        data = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as fault:
        raise FrameError(f"not JSON: {fault}") from fault
    value = _finite(_member(data, field), field)
    return value, None if time_field is None else _time(_member(data, time_field), time_field)


def _member(data: object, path: str) -> str:
    for name in path.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    if not isinstance(data, str):
        raise FrameError(f"{path}: not there, or neither number nor text")
    return data.strip()


def _finite(text: str, name: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    value = number(text.removeprefix("-"), name, "number")
    if not math.isfinite(value):
        raise FrameError(f"{name}: {text[:24]!r} is not a number")
    return sign * value


def _time(text: str, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        return unix_time(text, name, "iso", 0.0)
    if not math.isfinite(seconds):
        raise FrameError(f"{name}: {text[:24]!r} is not a time")
    return seconds / 1000.0 if seconds > MILLISECONDS else seconds


def _packet_limit() -> Any:
    """Tells the broker not to send what would only fill the memory."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = 2 * PAYLOAD_BYTES
    return properties


class Subscriber:
    """Listens to topics; paho's thread calls back.

    Parameters
    ----------
    broker :
        Its prefix is not used.
    client_id :
        Another than the sender's.
    take :
        Gets topic, payload and whether it was retained.
    link :
        Told True when the topics are subscribed, False when the connection is lost.
    """

    def __init__(
        self,
        broker: Mqtt,
        client_id: str,
        topics: Iterable[str],
        take: Callable[[str, bytes, bool], None],
        link: Callable[[bool], None],
    ) -> None:
        self._broker, self._id, self._topics = broker, client_id, sorted(set(topics))
        self._take, self._link = take, link
        self._client: Client | None = None
        self.connected = False
        self.last_error: str | None = None

    def start(self) -> None:
        """Connect, and again after each loss, until `stop`. Faults are told, measuring goes on."""
        try:
            self._client = self._make_client()
        except (OSError, ValueError) as fault:
            self._failed(f"{fault}; check [weather] or [mqtt]")
            return
        limit = _packet_limit() if self._broker.version == "5" else None
        self._client.connect_async(
            self._broker.host,
            self._broker.port,
            keepalive=self._broker.keepalive_s,
            properties=limit,
        )
        self._client.loop_start()

    def _make_client(self) -> Client:
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        broker = self._broker
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._id,
            protocol=MQTTv5 if broker.version == "5" else MQTTv311,
        )
        if broker.user:
            client.username_pw_set(broker.user, read_password(broker))
        if broker.ca_file:
            cert, key = (str(f) if f else None for f in (broker.cert_file, broker.key_file))
            client.tls_set(str(broker.ca_file), cert, key)
        client.reconnect_delay_set(RETRY_S, RETRY_MAX_S)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = self._on_connect_fail
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def stop(self) -> None:
        """Part from the broker."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()

    def health(self) -> dict[str, object]:
        """The connection, for an operator."""
        return {
            "host": self._broker.host,
            "port": self._broker.port,
            "connected": self.connected,
            "last_error": self.last_error,
        }

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _props: Any) -> None:
        if reason.is_failure:
            self._failed(f"the broker refuses: {reason}")
        else:
            client.subscribe([(topic, 1) for topic in self._topics])

    def _on_subscribe(
        self, _client: Any, _data: Any, _mid: Any, reasons: list[Any], _props: Any
    ) -> None:
        pairs = zip(self._topics, reasons, strict=False)
        refused = [f"{topic} ({reason})" for topic, reason in pairs if reason.is_failure]
        if refused:
            self._failed(f"the broker refuses to tell {', '.join(refused)}; see its access list")
        self.connected = True
        log.info("listening to %s:%d", self._broker.host, self._broker.port)
        self._link(True)

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, reason: Any, _props: Any
    ) -> None:
        if self.connected:
            self.connected = False
            self._link(False)
            self._failed(f"connection lost: {reason}")

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._failed("no connection")

    def _failed(self, text: str) -> None:
        if text != self.last_error:  # a broker that is away all night is told once
            log.warning("weather from %s:%d: %s", self._broker.host, self._broker.port, text)
        self.last_error = text

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        self._take(message.topic, message.payload, bool(message.retain))
