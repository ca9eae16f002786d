"""One connection to the broker, from connect to disconnect, as a stream of events.

paho holds a lock while it calls back that `publish` takes too: the callbacks only hand over.
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

CONNECT_TIMEOUT_S = 10.0
MAX_PACKET_BYTES = 8192  # nothing that a station wants to hear is longer
FAILURE = 0x80  # reason codes from here on are failures
TAKEN_OVER = 0x8E  # another client came with our name
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
class Up:
    """The broker let the station in."""

    link: int
    receive_maximum: int


@dataclass(frozen=True, slots=True)
class Down:
    """The connection could not be made or is lost."""

    link: int
    reason: str
    code: int = 0  # MQTT 5 reason of the broker's DISCONNECT, if it sent one


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker has taken or refused a message."""

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
    """A message that the station subscribed to."""

    link: int
    topic: str
    payload: bytes
    retained: bool


LinkEvent = Up | Down | Acknowledged | Subscribed | Received


class Link:
    """One connection; never used again after `Down`.

    Parameters
    ----------
    number :
        Goes into every event.
    will :
        Topic and a function from the connection's session id to the payload of the last will.
    put :
        Takes the events, from paho's thread.
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
        self._client: Client | None = None
        threading.Thread(target=self._connect, name=f"mqtt-{number}", daemon=True).start()

    def _connect(self) -> None:
        try:
            client = self._make_client()
            self._client = client
            self._open(client)
        except (OSError, ValueError) as error:
            self._put(Down(self.number, str(error) or type(error).__name__))
            return
        if self._abandoned:  # while it was on its way: two clients of one name would fight
            _cut(client)

    def _open(self, client: Client) -> None:
        config, properties = self._config, None
        if self._v5:
            from paho.mqtt.packettypes import PacketTypes

            properties = _properties(PacketTypes.CONNECT, MaximumPacketSize=MAX_PACKET_BYTES)
        client.connect(
            config.host, config.port, keepalive=config.keepalive_s, properties=properties
        )
        client.loop_start()

    def _make_client(self) -> Client:
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        config = self._config
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTv5 if self._v5 else MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(0)  # the caller counts
        if config.user:
            client.username_pw_set(config.user, read_password(config))
        if config.ca_file:
            cert, key = (str(f) if f else None for f in (config.cert_file, config.key_file))
            client.tls_set(str(config.ca_file), cert, key)
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
            self._put(Down(self.number, f"the broker refuses: {reason}"))
        else:
            self._put(Up(self.number, getattr(properties, "ReceiveMaximum", 0xFFFF)))

    def _on_disconnect(
        self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any
    ) -> None:
        code = reason.value if flags.is_disconnect_packet_from_server else 0
        self._put(Down(self.number, str(reason), code))

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
            log.debug("a message whose topic is not UTF-8")
            return
        self._put(Received(self.number, topic, message.payload, bool(message.retain)))

    def alive(self) -> bool:
        """Whether paho's thread runs; it ends without a word on bytes that it cannot decode."""
        return getattr(self._client, "_thread", self) is not None

    def publish(self, message: Message, expiry_s: int | None = None) -> int | None:
        """Send; the packet's id, None when the connection is gone."""
        if self._client is None:
            return None
        properties = None
        if expiry_s is not None and self._v5:
            from paho.mqtt.packettypes import PacketTypes

            properties = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=expiry_s)
        qos, retain = message.kind.qos, message.kind.retain
        info = self._client.publish(message.topic, message.payload, qos, retain, properties)
        return info.mid if info.rc == 0 else None

    def subscribe(self, name: str, retained: bool) -> int | None:
        """Ask for a topic; the packet's id, None when the connection is gone.

        On MQTT 5 without one's own, and with the flag that a message was sent to be retained.

        Parameters
        ----------
        retained :
            Whether what is retained there is wanted; on 3.1.1 it comes in any case.
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
        """Say goodbye, so that the broker does not publish the last will."""
        if self._client is not None:
            self._client.disconnect()

    def abandon(self) -> None:
        """Cut the connection without a word; the last will goes out."""
        self._abandoned = True
        if self._client is not None:
            _cut(self._client)

    def release(self) -> None:
        """Let go of a client that is done: its sockets close now, not at a garbage collection."""
        self._client = None  # the circle of client, callback and link is broken


def _cut(client: Client) -> None:
    """Break its connection."""
    sock: Any = client.socket()
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            log.debug("the socket was closed already")


def _properties(packet: int, **values: int) -> Any:
    """Properties of a packet of MQTT 5."""
    from paho.mqtt.properties import Properties

    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _send_at_once(_client: Any, _data: Any, sock: Any) -> None:
    """Without Nagle's algorithm, which holds a small packet back until the last is confirmed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def read_password(config: Mqtt) -> str | None:
    """First line of the password file."""
    if config.password_file is None:
        return None
    text = config.password_file.read_text("utf-8")
    return text.splitlines()[0] if text else ""
