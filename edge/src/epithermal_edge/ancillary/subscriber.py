"""Subscribe to topics of other devices, on a second connection that reconnects by itself."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from epithermal_edge.config.station_toml import Mqtt
from epithermal_edge.errors import FrameError
from epithermal_edge.loggers.values import (
    EARLIEST_S,
    LATEST_S,
    YEARS,
    parse_number,
    parse_time,
)
from epithermal_edge.mqtt.connection import cut, is_running, properties

if TYPE_CHECKING:
    from epithermal_edge.mqtt.client import BoundedClient

PAYLOAD_BYTES = 16384  # longest accepted message
PACKET_BYTES = 2 * PAYLOAD_BYTES  # a longer packet ends the connection
SUSPENDED_S = 3600.0  # how long a topic with such a packet is not subscribed
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
        number = float(text)
    except ValueError:
        return parse_time(text, name, "iso", 0.0)
    time_s = number / 1000.0 if abs(number) > MILLISECONDS else number
    if not EARLIEST_S <= time_s < LATEST_S:
        years = f"the years {YEARS[0]} to {YEARS[1]}"
        raise FrameError(f"{name}: {text[:24]} is outside of {years}; set the sender's clock")
    return time_s


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
        self._client: BoundedClient | None = None
        self._start_at = 0.0  # next attempt to start [s, monotonic]
        self._pause_s = float(RETRY_S)
        self._suspended: dict[str, float] = {}  # topics, until when [s, monotonic]
        self._subscribed = self._topics  # the topics of the newest request
        self._is_cut = False  # this connection was ended because of an oversized packet
        self.connected = False
        self.last_error: str | None = None
        self._rejected: list[str] = []  # topics that the broker does not allow

    def start(self) -> None:
        """Connect, and reconnect after each loss until `stop`; log faults and never raise."""
        try:
            self._client = self._make_client()
        except (OSError, ValueError) as fault:
            self._report_failure(f"{fault}; check [weather] or [mqtt]")
            self._start_at = time.monotonic() + RETRY_MAX_S
            return
        limit = None
        if self._broker.version == "5":
            from paho.mqtt.packettypes import PacketTypes

            limit = properties(PacketTypes.CONNECT, MaximumPacketSize=PACKET_BYTES)
        self._client.connect_async(
            self._broker.host,
            self._broker.port,
            keepalive=self._broker.keepalive_s,
            properties=limit,
        )
        self._client.loop_start()

    def poll(self, now: float) -> None:
        """Start again after paho's thread has ended, and subscribe to topics whose pause is over.

        Parameters
        ----------
        now :
            Monotonic clock [s].
        """
        client = self._client
        if client is None:
            if now >= self._start_at:
                self.start()
        elif not is_running(client):
            cut(client)
            self._client, self._start_at = None, now + self._pause_s
            self._pause_s = min(2.0 * self._pause_s, float(RETRY_MAX_S))
            self._handle_loss("the connection's thread ended")
            self._report_failure("the broker sends data that is not MQTT")
        elif any(now >= until for until in self._suspended.values()):
            self._suspended = {name: t for name, t in self._suspended.items() if now < t}
            self._subscribe(client)

    def _make_client(self) -> BoundedClient:
        from epithermal_edge.mqtt.client import build_client

        client = build_client(
            *(self._broker, self._id, PACKET_BYTES, self._on_oversized), reconnects=True
        )
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
        """Return the state of the connection for health.json.

        `rejected` are the topics without a subscription; those of `suspended`, because the station
        has rejected their messages, the others, because the broker rejects the subscription.
        """
        now = time.monotonic()
        suspended = [topic for topic, until in self._suspended.items() if now < until]
        return {
            "host": self._broker.host,
            "port": self._broker.port,
            "connected": self.connected,
            "last_error": self.last_error,
            "rejected": sorted({*self._rejected, *suspended}),
            "suspended": sorted(suspended),
        }

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _props: Any) -> None:
        if reason.is_failure:
            self._report_failure(f"the broker rejects the connection: {reason}")
        else:
            self._is_cut = False
            self._subscribe(client)

    def _subscribe(self, client: Any) -> None:
        now = time.monotonic()
        suspended = {name for name, until in self._suspended.items() if now < until}
        self._subscribed = [topic for topic in self._topics if topic not in suspended]
        if self._subscribed:
            client.subscribe([(topic, 1) for topic in self._subscribed])

    def _on_subscribe(
        self, _client: Any, _data: Any, _mid: Any, reasons: list[Any], _props: Any
    ) -> None:
        pairs = zip(self._subscribed, reasons, strict=False)
        rejected = [(topic, reason) for topic, reason in pairs if reason.is_failure]
        self._rejected = [topic for topic, _ in rejected]
        if rejected:
            topics = ", ".join(f"{topic} ({reason})" for topic, reason in rejected)
            self._report_failure(
                f"the broker rejects the subscription to {topics}; check its access list"
            )
        self.connected, self._pause_s = True, float(RETRY_S)
        log.info("listening to %s:%d", self._broker.host, self._broker.port)
        self._on_link(True)

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, reason: Any, _props: Any
    ) -> None:
        self._handle_loss(f"connection lost: {reason}")

    def _handle_loss(self, why: str) -> None:
        if self.connected:
            self.connected = False
            self._on_link(False)
            if not self._is_cut:  # else the reason is reported already
                self._report_failure(why)

    def _on_oversized(self, topic: str, length: int) -> None:
        """Report a message that is too long; a retained one would end each connection."""
        self._is_cut = True
        if topic in self._topics:
            self._suspended = {**self._suspended, topic: time.monotonic() + SUSPENDED_S}
        self._report_failure(
            f"{topic}: the broker sends a message of {length} bytes, the limit is {PACKET_BYTES};"
            f" not subscribed for {SUSPENDED_S / 60.0:.0f} min"
        )

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        fault = sys.exc_info()[1]  # paho calls back while it handles the exception
        self._report_failure(f"no connection: {fault}" if fault else "no connection")

    def _report_failure(self, text: str) -> None:
        if text != self.last_error:  # log a repeated fault once
            log.warning("weather broker %s:%d: %s", self._broker.host, self._broker.port, text)
        self.last_error = text

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            log.debug("ignored a message whose topic is not UTF-8")
            return
        self._handle(topic, message.payload, bool(message.retain))
