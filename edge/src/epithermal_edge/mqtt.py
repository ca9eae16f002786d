"""To the broker: one connection at a time, the journal's outbox in order, nothing forgotten.

paho keeps no queue that survives a restart, so the journal does; a message leaves it when the
broker has taken it, not when it was sent. After a lost connection everything that was not
acknowledged goes again, and the receiver drops what it has by id.
"""

from __future__ import annotations

import logging
import math
import random
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from epithermal_edge import messages
from epithermal_edge.config import Mqtt
from epithermal_edge.journal import Journal, Outgoing
from epithermal_edge.messages import Identity, Message

if TYPE_CHECKING:
    from paho.mqtt.client import Client

IN_FLIGHT = 16  # sent and not acknowledged
CONNECT_TIMEOUT_S = 10.0
ACK_TIMEOUT_S = 30.0  # a broker that stays silent so long gets a new connection
REFUSED_PAUSE_S = 30.0  # before a refused message is tried again
BACKOFF_S, BACKOFF_MAX_S = 1.0, 60.0
FAILURE = 0x80  # MQTT 5 reason codes from here on are failures

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


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker has taken or refused a message."""

    link: int
    mid: int
    reason: int


LinkEvent = Up | Down | Acknowledged


class Link:
    """One connection, from connect to disconnect; never used again.

    paho holds a lock while it calls back that `publish` takes too: the callbacks only hand over.
    """

    def __init__(
        self, number: int, config: Mqtt, identity: Identity, put: Callable[[LinkEvent], None]
    ) -> None:
        self.number = number
        self.session = secrets.token_hex(4)
        self._config = config
        self._identity = identity
        self._put = put
        self._client: Client | None = None
        threading.Thread(target=self._connect, name=f"mqtt-{number}", daemon=True).start()

    def _connect(self) -> None:
        try:
            client = self._make_client()
            self._client = client
            config = self._config
            client.connect(config.host, config.port, keepalive=config.keepalive_s)
            client.loop_start()
        except (OSError, ValueError) as error:
            self._put(Down(self.number, str(error) or type(error).__name__))

    def _make_client(self) -> Client:
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        config, identity = self._config, self._identity
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=identity.station,
            protocol=MQTTv5 if config.version == "5" else MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(IN_FLIGHT + 4)
        if config.user:
            client.username_pw_set(config.user, read_password(config))
        if config.ca_file:
            cert, key = (str(f) if f else None for f in (config.cert_file, config.key_file))
            client.tls_set(str(config.ca_file), cert, key)
        lost = messages.status(identity, "lost", self.session)
        client.will_set(identity.topic("status"), lost, qos=1, retain=True)
        client.on_socket_open = _send_at_once
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _on_connect(
        self, _client: Any, _data: Any, _flags: Any, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            self._put(Down(self.number, f"the broker refuses: {reason}"))
        else:
            maximum = getattr(properties, "ReceiveMaximum", IN_FLIGHT + 2)
            self._put(Up(self.number, maximum))

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        self._put(Down(self.number, str(reason)))

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _props: Any) -> None:
        self._put(Acknowledged(self.number, mid, reason.value))

    def publish(
        self, topic: str, payload: bytes, retain: bool, expiry_s: int | None = None
    ) -> int | None:
        """Send with QoS 1; the packet's id, None when the connection is gone."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        if self._client is None:
            return None
        properties = None
        if expiry_s is not None and self._config.version == "5":
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = expiry_s
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        return info.mid if info.rc == 0 else None

    def disconnect(self) -> None:
        """Say goodbye, so that the broker does not publish the last will."""
        if self._client is not None:
            self._client.disconnect()

    def release(self) -> None:
        """Let go of a client that is done: its sockets close now, not at a garbage collection."""
        self._client = None  # the circle of client, callback and link is broken

    def abandon(self) -> None:
        """Cut the connection without a word; the last will goes out."""
        sock: Any = self._client.socket() if self._client is not None else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("the socket was closed already")


def _send_at_once(_client: Any, _data: Any, sock: Any) -> None:
    """Without Nagle's algorithm, which holds a small packet back until the last is confirmed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def read_password(config: Mqtt) -> str | None:
    """First line of the password file."""
    if config.password_file is None:
        return None
    text = config.password_file.read_text("utf-8")
    return text.splitlines()[0] if text else ""


class Sender:
    """Empties the journal's outbox. Lives in the thread that owns the journal.

    Parameters
    ----------
    meta :
        Payload of the meta topic.
    put :
        Takes the connection's events from any thread; the owner hands them to `handle`.
    jitter :
        Draws the pause before a new connection between 0 and its argument.
    """

    def __init__(
        self,
        config: Mqtt,
        identity: Identity,
        meta: bytes,
        journal: Journal,
        put: Callable[[LinkEvent], None],
        jitter: Callable[[float], float] = lambda top: random.uniform(0.0, top),
    ) -> None:
        self._config, self._identity, self._meta = config, identity, meta
        self._journal, self._put, self._jitter = journal, put, jitter
        self._link: Link | None = None
        self._up = False
        self._links = 0
        self._failures = 0
        self._next_link = 0.0  # when to connect [s, monotonic]
        self._paused_until = 0.0
        self._limit = IN_FLIGHT
        self._in_flight: dict[int, int | None] = {}  # packet -> outbox id, None: birth or meta
        self._last_ack = 0.0
        self._cursor = {True: 0, False: 0}  # last id under way, newest values and the others
        self.accepted: list[int] = []  # ids to delete from the outbox
        self.count_sent = 0
        self.count_refused = 0

    def idle(self) -> bool:
        """Whether everything was delivered."""
        return not self._in_flight and not self.accepted and self._journal.waiting() == 0

    def take_accepted(self) -> list[int]:
        """Ids that the broker has, for the caller to delete in its next transaction."""
        accepted, self.accepted = self.accepted, []
        return accepted

    def handle(self, event: LinkEvent, now: float) -> None:
        """Take one of the connection's events; those of an earlier connection say nothing."""
        if self._link is None or event.link != self._link.number:
            return
        if isinstance(event, Acknowledged):
            self._acknowledged(event, now)
        elif isinstance(event, Up):
            log.info("connected to %s:%d", self._config.host, self._config.port)
            self._up = True
            self._last_ack = now
            self._limit = max(1, min(IN_FLIGHT, event.receive_maximum))
            self._greet("online")
        else:
            self._down(event.reason, now)

    def _down(self, reason: str, now: float) -> None:
        ceiling = min(BACKOFF_S * 2.0 ** min(self._failures, 10), BACKOFF_MAX_S)
        pause = self._jitter(ceiling)
        self._failures += 1
        self._next_link = now + pause
        if self._link is not None:
            self._link.release()
        self._link, self._up = None, False
        self._in_flight.clear()
        self._cursor = {True: 0, False: 0}
        host, port = self._config.host, self._config.port
        log.warning("no connection to %s:%d: %s; again in %.1f s", host, port, reason, pause)

    def _acknowledged(self, event: Acknowledged, now: float) -> None:
        outbox_id = self._in_flight.pop(event.mid, None)
        self._last_ack = now
        if event.reason >= FAILURE:
            self.count_refused += 1
            self._paused_until = now + REFUSED_PAUSE_S
            log.error("the broker refuses a message: reason 0x%02x; kept", event.reason)
            self._cursor = {True: 0, False: 0}
        else:
            self._failures = 0
            if outbox_id is not None:
                self.count_sent += 1
                self.accepted.append(outbox_id)

    def _greet(self, state: str) -> None:
        assert self._link is not None
        body = messages.status(self._identity, state, self._link.session)
        greetings = [("status", body)]
        if state == "online":
            greetings.append(("meta", self._meta))
        for topic, payload in greetings:
            mid = self._link.publish(self._identity.topic(topic), payload, retain=True)
            if mid is not None:
                self._in_flight[mid] = None

    def pump(self, now: float, wall_s: float) -> None:
        """Connect when it is time, and send what may be sent.

        Parameters
        ----------
        now :
            Monotonic clock [s].
        wall_s :
            Unix time [s], for the expiry of live values.
        """
        if self._link is None:
            if now >= self._next_link:
                self._links += 1
                self._link = Link(self._links, self._config, self._identity, self._put)
            return
        if not self._up:
            return
        if self._in_flight and now - self._last_ack > ACK_TIMEOUT_S:
            self._link.abandon()
            self._down(f"no acknowledgement for {ACK_TIMEOUT_S:.0f} s", now)
        elif now >= self._paused_until:
            for newest in (True, False):
                self._send(newest, now, wall_s)

    def _send(self, newest: bool, now: float, wall_s: float) -> None:
        free = self._limit - len(self._in_flight)
        if free <= 0 or self._link is None:
            return
        under_way = {i for i in self._in_flight.values() if i is not None} | set(self.accepted)
        if not self._in_flight:
            self._last_ack = now
        for out in self._journal.outgoing(self._cursor[newest], free + len(under_way), newest):
            if out.id in under_way:
                continue
            if len(self._in_flight) >= self._limit or not self._publish(out, wall_s):
                break
            self._cursor[newest] = out.id

    def _publish(self, out: Outgoing, wall_s: float) -> bool:
        """Send one; False when the connection is gone."""
        assert self._link is not None
        message: Message = out.message
        expiry_s = None
        if message.expires_s is not None:
            expiry_s = math.ceil(message.expires_s - wall_s)
            if expiry_s <= 0:
                self.accepted.append(out.id)
                return True
        mid = self._link.publish(message.topic, message.payload, message.retain, expiry_s)
        if mid is not None:
            self._in_flight[mid] = out.id
        return mid is not None

    def health(self) -> dict[str, object]:
        """Counts since the start."""
        return {"connected": self._up, "sent": self.count_sent, "refused": self.count_refused}

    def publish_health(self, health: dict[str, object]) -> None:
        """Tell how the station is."""

    def say_goodbye(self) -> None:
        """The clean end; call `disconnect` when it is acknowledged, or after a moment."""
        if self._link is not None and self._up:
            self._greet("stopped")

    def has_in_flight(self) -> bool:
        """Whether an acknowledgement is awaited."""
        return self._up and bool(self._in_flight)

    def disconnect(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.disconnect()
            self._link.release()
            self._link, self._up = None, False
