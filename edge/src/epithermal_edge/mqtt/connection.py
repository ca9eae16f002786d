"""Run one connection to the broker, from connect to disconnect, as a stream of events.

paho calls back while it holds a lock that `publish` also needs: callbacks only queue events.
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from epithermal_edge.config.station_toml import Mqtt
from epithermal_edge.messages.message import Message
from epithermal_edge.messages.topics import STATUS

if TYPE_CHECKING:
    from paho.mqtt.client import Client

    from epithermal_edge.mqtt.client import BoundedClient

CONNECT_TIMEOUT_S = 10.0
MAX_PACKET_BYTES = 8192  # longer than any message for a station
REJECTED_BYTES = 65536  # a longer packet ends the connection: the broker ignores MAX_PACKET_BYTES
FAILURE = 0x80  # reason codes from here on are failures
TAKEOVER = 0x8E  # another client connected with the same id
REASONS = {  # MQTT 5.0 (2019), table 2-6, those of PUBACK
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorized",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted the connection."""

    link: int
    receive_maximum: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection failed or was lost."""

    link: int
    reason: str
    code: int = 0  # MQTT 5 reason of the broker's DISCONNECT, if it sent one


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker acknowledged or refused a message."""

    link: int
    mid: int
    reason: int


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The broker's answer to a subscription."""

    link: int
    mid: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A message on a subscribed topic."""

    link: int
    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Oversized:
    """The broker sends a message that is too long; `Disconnected` follows."""

    link: int
    topic: str
    length: int  # bytes


LinkEvent = Connected | Disconnected | Acknowledged | Subscribed | Received | Oversized


class Link:
    """One connection; not to be used after `Disconnected`.

    Parameters
    ----------
    number :
        Number of the connection, repeated in each of its events.
    client_id :
        MQTT client id.
    will :
        Topic of the last will, and a function from session id to its payload.
    put :
        Receives the events, from paho's thread.
    """

    def __init__(
        self,
        number: int,
        client_id: str,
        config: Mqtt,
        will: tuple[str, Callable[[str], bytes]],
        put: Callable[[LinkEvent], None],
    ) -> None:
        self.number = number
        self.session = secrets.token_hex(4)
        self._client_id, self._config, self._will, self._put = client_id, config, will, put
        self._v5 = config.version == "5"
        self._abandoned = False
        self._client: BoundedClient | None = None
        threading.Thread(target=self._connect, name=f"mqtt-{number}", daemon=True).start()

    def _connect(self) -> None:
        try:
            client = self._make_client()
            self._client = client
            self._open(client)
        except (OSError, ValueError) as error:
            self._put(Disconnected(self.number, str(error) or type(error).__name__))
            return
        if self._abandoned:  # while connecting: two clients with the same id disconnect each other
            cut(client)

    def _open(self, client: BoundedClient) -> None:
        config, limit = self._config, None
        if self._v5:
            from paho.mqtt.packettypes import PacketTypes

            limit = properties(PacketTypes.CONNECT, MaximumPacketSize=MAX_PACKET_BYTES)
        client.connect(config.host, config.port, keepalive=config.keepalive_s, properties=limit)
        client.loop_start()

    def _make_client(self) -> BoundedClient:
        from epithermal_edge.mqtt.client import build_client

        client = build_client(
            *(self._config, self._client_id, REJECTED_BYTES, self._on_oversized), reconnects=False
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(0)  # no limit here: the caller counts
        topic, payload = self._will
        client.will_set(topic, payload(self.session), STATUS.qos, STATUS.retain)
        client.on_socket_open = _send_at_once
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, client: Any, _data: Any, _flags: Any, reason: Any, properties: Any
    ) -> None:
        if self._abandoned:
            client.disconnect()
        elif reason.is_failure:
            self._put(Disconnected(self.number, f"the broker refuses: {reason}"))
        else:
            self._put(Connected(self.number, getattr(properties, "ReceiveMaximum", 0xFFFF)))

    def _on_disconnect(
        self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any
    ) -> None:
        code = reason.value if flags.is_disconnect_packet_from_server else 0
        self._put(Disconnected(self.number, str(reason), code))

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _props: Any) -> None:
        self._put(Acknowledged(self.number, mid, reason.value))

    def _on_subscribe(
        self, _client: Any, _data: Any, mid: int, reasons: Sequence[Any], _props: Any
    ) -> None:
        self._put(Subscribed(self.number, mid, any(r.value >= FAILURE for r in reasons)))

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            log.debug("ignored a message whose topic is not UTF-8")
            return
        self._put(Received(self.number, topic, message.payload, bool(message.retain)))

    def _on_oversized(self, topic: str, length: int) -> None:
        self._put(Oversized(self.number, topic, length))

    def alive(self) -> bool:
        """Return whether paho's thread runs; True before the connection is open."""
        return self._client is None or is_running(self._client)

    def publish(self, message: Message, expiry_s: int | None = None) -> int | None:
        """Publish a message; return the packet id, None without a connection."""
        if self._client is None:
            return None
        expiry = None
        if expiry_s is not None and self._v5:
            from paho.mqtt.packettypes import PacketTypes

            expiry = properties(PacketTypes.PUBLISH, MessageExpiryInterval=expiry_s)
        qos, retain = message.kind.qos, message.kind.retain
        info = self._client.publish(message.topic, message.payload, qos, retain, expiry)
        return info.mid if info.rc == 0 else None

    def subscribe(self, name: str, retained: bool) -> int | None:
        """Subscribe to a topic; return the packet id, None without a connection.

        On MQTT 5, without the station's own messages, and with the retain flag as published.

        Parameters
        ----------
        name :
            Topic filter.
        retained :
            Whether to receive retained messages; MQTT 3.1.1 always sends them.
        """
        if self._client is None:
            return None
        if self._v5:
            from paho.mqtt.subscribeoptions import SubscribeOptions

            options = SubscribeOptions(
                qos=1, noLocal=True, retainAsPublished=True, retainHandling=0 if retained else 2
            )
            result, mid = self._client.subscribe(name, options=options)
        else:
            result, mid = self._client.subscribe(name, 1)
        return mid if result == 0 else None

    def disconnect(self) -> None:
        """Disconnect in order, so that the broker does not publish the last will."""
        if self._client is not None:
            self._client.disconnect()

    def abandon(self) -> None:
        """Close the socket without DISCONNECT, so that the broker publishes the last will."""
        self._abandoned = True
        if self._client is not None:
            cut(self._client)

    def release(self) -> None:
        """Release the client, so that its sockets close now and not at garbage collection."""
        self._client = None  # breaks the reference cycle of client, callback and link


def _send_at_once(_client: Any, _data: Any, sock: Any) -> None:
    """Disable Nagle's algorithm, which delays a small packet until the last is confirmed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def is_running(client: Client) -> bool:
    """Return whether paho's thread runs; it ends silently on bytes that it cannot decode."""
    return getattr(client, "_thread", None) is not None


def cut(client: Client) -> None:
    """Shut down the socket of a client without DISCONNECT."""
    sock: Any = client.socket()
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            log.debug("the socket was closed already")


def properties(packet: int, **values: int) -> Any:
    """Build the properties of an MQTT 5 packet."""
    from paho.mqtt.properties import Properties

    built = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(built, name, value)
    return built
