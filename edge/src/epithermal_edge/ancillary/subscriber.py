"""Subscribe to topics of other devices, on a second connection that reconnects by itself."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from epithermal_edge.config.station_toml import Mqtt
from epithermal_edge.errors import FrameError
from epithermal_edge.loggers.values import parse_number, parse_time
from epithermal_edge.mqtt.connection import read_password

if TYPE_CHECKING:
    from paho.mqtt.client import Client

PAYLOAD_BYTES = 16384  # longest accepted message
RETRY_S, RETRY_MAX_S = 1, 60
MILLISECONDS = 1e11  # a larger time is in milliseconds: as seconds it is the year 5138

_PLAIN_EXPONENT = re.compile(r"(?<=[0-9.][eE])(?=[0-9])")  # 2.15e1; a logger's has a sign

log = logging.getLogger(__name__)


def read_payload(
    payload: bytes, field: str | None, time_field: str | None
) -> tuple[float, float | None]:
    """Return the number in a message and the message's own time.

    Parameters
    ----------
    field, time_field :
        Names in a JSON object, `a.b` for a nested one, `a.0.b` for the first element of an array;
        a name may itself contain dots. Field None: the payload is a plain number without a time.

    Returns
    -------
    number, Unix time [s]
        The number is finite; the time is None if `time_field` is None.

    Raises
    ------
    FrameError
        The number or the time is missing or invalid.
    """
    if len(payload) > PAYLOAD_BYTES:
        raise FrameError(f"longer than {PAYLOAD_BYTES} bytes")
    # Programs in C send the NUL after a text, some others a byte order mark before it.
    text = payload.rstrip(b"\0 \t\r\n").decode("utf-8-sig", "replace").strip()
    if field is None:
        return _finite(text, "payload"), None
    try:
        data = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as fault:
        raise FrameError(f"not JSON: {fault}") from fault
    value = _finite(_member(data, field), field)
    return value, None if time_field is None else _time(_member(data, time_field), time_field)


def _member(data: object, path: str) -> str:
    rest = path
    while rest:
        if isinstance(data, dict) and rest in data:  # also a name that contains dots
            name, rest = rest, ""
        else:
            name, _, rest = rest.partition(".")
        data = _element(data, name)
    if not isinstance(data, str):
        raise FrameError(f"{path}: missing, or neither number nor string")
    return data.strip()


def _element(data: object, name: str) -> object:
    """Return the value of an object's name or of an array's index; None if there is none."""
    if isinstance(data, dict):
        return data.get(name)
    if isinstance(data, list) and re.fullmatch("[0-9]{1,5}", name) and int(name) < len(data):
        return data[int(name)]
    return None


def _finite(text: str, name: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    plain = _PLAIN_EXPONENT.sub("+", text.removeprefix("-"))
    value = parse_number(plain, name, "number")
    if not math.isfinite(value):
        raise FrameError(f"{name}: {text[:24]!r} is not a number")
    return sign * value


def _time(text: str, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        return parse_time(text, name, "iso", 0.0)
    if not math.isfinite(seconds):
        raise FrameError(f"{name}: {text[:24]!r} is not a time")
    return seconds / 1000.0 if seconds > MILLISECONDS else seconds


def _packet_limit() -> Any:
    """Return the MQTT property that makes the broker drop larger messages."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = 2 * PAYLOAD_BYTES
    return properties


class Subscriber:
    """Subscription to topics; the callbacks run in paho's thread.

    Parameters
    ----------
    broker :
        Broker settings; the prefix is not used.
    client_id :
        Must differ from the sender's.
    handle :
        Called with topic, payload and whether it was retained.
    on_link :
        Called with True when the topics are subscribed, False when the connection is lost.
    """

    def __init__(
        self,
        broker: Mqtt,
        client_id: str,
        topics: Iterable[str],
        handle: Callable[[str, bytes, bool], None],
        on_link: Callable[[bool], None],
    ) -> None:
        self._broker, self._id, self._topics = broker, client_id, sorted(set(topics))
        self._handle, self._on_link = handle, on_link
        self._client: Client | None = None
        self.connected = False
        self.last_error: str | None = None

    def start(self) -> None:
        """Connect, and reconnect after each loss until `stop`; log faults and never raise."""
        try:
            self._client = self._make_client()
        except (OSError, ValueError) as fault:
            self._report_failure(f"{fault}; check [weather] or [mqtt]")
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
        """Disconnect from the broker."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()

    def health(self) -> dict[str, object]:
        """Return the state of the connection for health.json."""
        return {
            "host": self._broker.host,
            "port": self._broker.port,
            "connected": self.connected,
            "last_error": self.last_error,
        }

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _props: Any) -> None:
        if reason.is_failure:
            self._report_failure(f"the broker rejects the connection: {reason}")
        else:
            client.subscribe([(topic, 1) for topic in self._topics])

    def _on_subscribe(
        self, _client: Any, _data: Any, _mid: Any, reasons: list[Any], _props: Any
    ) -> None:
        pairs = zip(self._topics, reasons, strict=False)
        rejected = [f"{topic} ({reason})" for topic, reason in pairs if reason.is_failure]
        if rejected:
            topics = ", ".join(rejected)
            self._report_failure(
                f"the broker rejects the subscription to {topics}; check its access list"
            )
        self.connected = True
        log.info("listening to %s:%d", self._broker.host, self._broker.port)
        self._on_link(True)

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, reason: Any, _props: Any
    ) -> None:
        if self.connected:
            self.connected = False
            self._on_link(False)
            self._report_failure(f"connection lost: {reason}")

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._report_failure("no connection")

    def _report_failure(self, text: str) -> None:
        if text != self.last_error:  # log a repeated fault once
            log.warning("weather broker %s:%d: %s", self._broker.host, self._broker.port, text)
        self.last_error = text

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        self._handle(message.topic, message.payload, bool(message.retain))
