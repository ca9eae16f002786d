"""Publish the journal's outbox in order over one connection at a time, without losing a message.

paho has no queue that survives a restart, so the journal stores the messages; a message is deleted
when the broker has acknowledged it, not when it was sent. After a lost connection all
unacknowledged messages are sent again, and the receiver drops duplicates by id.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from epithermal_edge.config.station_toml import Mqtt
from epithermal_edge.journal.journal import Journal
from epithermal_edge.messages import station
from epithermal_edge.messages.message import Identity, Message, V, encode
from epithermal_edge.messages.station import read_session
from epithermal_edge.messages.topics import HEALTH, STATUS
from epithermal_edge.mqtt.backoff import Backoff
from epithermal_edge.mqtt.commands import Commands, Verb
from epithermal_edge.mqtt.connection import (
    FAILURE,
    REASONS,
    TAKEOVER,
    Acknowledged,
    Connected,
    Disconnected,
    Link,
    Oversized,
    Received,
    Subscribed,
)
from epithermal_edge.mqtt.delivery import IN_FLIGHT, Delivery
from epithermal_edge.mqtt.inbox import CommandReceived, Inbox, LinkEvent
from epithermal_edge.mqtt.presence import Presence, Subscriptions
from epithermal_edge.mqtt.republish import Republisher
from epithermal_edge.times import utc

UP_TIMEOUT_S = 60.0  # longest time from opening a connection to its acceptance
SILENT_S = 1.0  # longest wait for the last event after paho's thread has ended
ACK_TIMEOUT_S = 30.0  # without an acknowledgement for so long, reconnect
OVERSIZED_S = 3600.0  # how long a topic with an oversized message is reported and not subscribed

log = logging.getLogger(__name__)


class Sender:
    """Sender of the journal's outbox, for the thread that owns the journal.

    Parameters
    ----------
    meta :
        Payload of the meta topic.
    put :
        Queues the connection's events, from any thread; the owner passes them to `handle`.
    jitter :
        Draws a random pause between 0 and its argument [s].
    discovery :
        Discovery message for Home Assistant; None: no discovery.
    commands :
        Validates and executes commands; None: the station accepts no commands.
    wall :
        Returns the Unix time [s].
    verbs :
        Commands that the station adds to `ping`, `announce` and `republish`.
    """

    def __init__(
        self,
        config: Mqtt,
        identity: Identity,
        meta: bytes,
        journal: Journal,
        put: Callable[[LinkEvent], None],
        jitter: Callable[[float], float] = lambda top: random.uniform(0.0, top),
        discovery: Message | None = None,
        commands: Commands | None = None,
        wall: Callable[[], float] = time.time,
        verbs: Mapping[str, Verb] | None = None,
    ) -> None:
        self._config, self._identity = config, identity
        self._journal, self._backoff = journal, Backoff(jitter)
        self._commands, self._wall = commands, wall
        self._birth = f"{config.discovery_prefix}/status" if discovery else None
        self._presence = Presence(identity, meta, discovery)
        self._reads_back = config.version != "5"
        self._subscriptions = Subscriptions(
            identity, self._birth, commands is not None, self._reads_back
        )
        self.delivery = Delivery(journal, config.backlog_per_s, self._reads_back)
        self._republisher = Republisher(journal, identity)
        self._link: Link | None = None
        self._up = False
        self._links = self._connects = 0  # opened and accepted connections
        self._last_error: str | None = None
        self._since_s = wall()  # time of the last change of `_up`
        self._link_at = 0.0  # time of its opening [s, monotonic]
        self._next_link = 0.0  # earliest time of the next connection [s, monotonic]
        self._last_ack = 0.0
        self._last_alive = 0.0  # last time that paho's thread was running
        self._sessions: deque[str] = deque(maxlen=50)  # of the newest connections
        self._limit = IN_FLIGHT
        self._oversized, self._oversized_at = "", -math.inf  # report and time [s, monotonic]
        self._health_at = -math.inf
        self._inbox = Inbox(identity, commands, put)
        self.station_trouble: str | None = None  # of the values that the station publishes
        if commands is not None:
            start = self._republisher.start
            own = {"ping": self._ping, "announce": self._announce, "republish": start}
            commands.verbs = {**own, **(verbs or {})}

    @property
    def accepted(self) -> list[int]:
        """Ids of acknowledged messages, to delete from the outbox."""
        return self.delivery.accepted

    @accepted.setter
    def accepted(self, ids: list[int]) -> None:
        self.delivery.accepted = ids

    def is_idle(self) -> bool:
        """Return whether every message was delivered and deleted."""
        pending = self._count_pending() or self.accepted
        return not pending and self._journal.count_waiting() == 0

    def take_accepted(self) -> list[int]:
        """Return and clear the ids of acknowledged messages; the caller deletes them."""
        accepted, self.accepted = self.accepted, []
        return accepted

    def _count_pending(self) -> int:
        return self._count_in_flight() + len(self._presence.waiting)

    def handle(self, event: LinkEvent, now: float) -> None:
        """Handle an event of the connection; ignore events of earlier connections."""
        self._inbox.release_slot(event)
        if self._link is None or event.link != self._link.number:
            return
        if isinstance(event, Acknowledged):
            self._handle_acknowledgement(event, now)
        elif isinstance(event, Connected):
            self._handle_connected(event, now)
        elif isinstance(event, Disconnected):
            self._handle_disconnected(event.reason, now, event.code)
        elif isinstance(event, Subscribed):
            self._subscriptions.handle_answer(event)
        elif isinstance(event, Oversized):
            self._handle_oversized(event, now)
        elif isinstance(event, CommandReceived):
            answer = self._commands.execute(event.command, now) if self._commands else None
            if answer is not None:
                self._presence.waiting.append(answer)
        else:
            self._handle_received(event, now)

    def _handle_connected(self, event: Connected, now: float) -> None:
        log.info("connected to %s:%d", self._config.host, self._config.port)
        self._up, self._since_s = True, self._wall()
        self._connects += 1
        self._last_ack = self._last_alive = now
        self._limit = max(1, min(IN_FLIGHT, event.receive_maximum))
        assert self._link is not None
        self._subscriptions.subscribe(self._link, now)
        self._presence.queue_status("online", self._link.session, self._reported_trouble(now), now)
        self._presence.queue_announcement()

    def _handle_received(self, event: Received, now: float) -> None:
        if event.topic == self._birth:
            self._presence.handle_birth(event.payload, now)
        elif event.topic == self._identity.topic(STATUS):
            self._check_status(event, now)
        elif not event.retained and self._reads_back:
            self.delivery.handle_own_message(event.topic, event.payload)

    def _handle_oversized(self, event: Oversized, now: float) -> None:
        text = (
            f"{event.topic}: the broker sends a message of {event.length} bytes; clear this topic"
        )
        log.error("%s", text)
        self._oversized, self._oversized_at = text, now
        self._subscriptions.suspend(event.topic, now + OVERSIZED_S)

    def _check_status(self, event: Received, now: float) -> None:
        """Record a takeover if the status comes from another client with the same id.

        mosquitto 2.0.11 closes a connection that is taken over without the MQTT 5 reason code, so
        the other client's status is the only evidence.
        """
        self._presence.handle_status(event.payload)
        session = read_session(event.payload)
        is_other = session is not None and session not in self._sessions
        if is_other and (self._connects > 1 or not event.retained):
            self._backoff.record_takeover(event.link - 1, now)

    def _handle_disconnected(self, reason: str, now: float, code: int = 0) -> None:
        if code == TAKEOVER:
            self._backoff.record_takeover(self._links, now)
        pause = self._backoff.record_failure(now)
        if self._backoff.is_duplicate(now):
            log.error("another client uses the id %s", self._identity.station)
        self._last_error, self._since_s = reason, self._wall()
        self._next_link = now + pause
        if self._link is not None:
            self._link.release()
        self._link, self._up = None, False
        self._presence.clear()
        self._subscriptions.reset()
        self.delivery.reset()
        host, port = self._config.host, self._config.port
        log.warning("no connection to %s:%d: %s; retrying in %.1f s", host, port, reason, pause)

    def _handle_acknowledgement(self, event: Acknowledged, now: float) -> None:
        own = self._presence.in_flight.pop(event.mid, None)
        if own is None and event.mid not in self.delivery.flights:
            return
        self._last_ack = now
        if event.reason < FAILURE:
            self._backoff.reset()
        elif own is not None:
            self.delivery.refused += 1
            name = REASONS.get(event.reason, f"reason 0x{event.reason:02x}")
            self.delivery.last_refusal = f"{own}: {name}"
            log.error("the broker refuses %s: %s", own, name)
        self.delivery.handle_acknowledgement(event.mid, event.reason, now)

    def _announce(self, _args: dict[str, Any]) -> dict[str, Any]:
        """Execute the command `announce`: publish meta and discovery again."""
        self._presence.queue_announcement()
        return {}

    def _ping(self, _args: dict[str, Any]) -> dict[str, Any]:
        """Execute the command `ping`: return epoch, session and number of waiting messages."""
        session = self._link.session if self._link else None
        waiting = self._journal.count_waiting()
        return {"epoch": self._identity.epoch, "session": session, "waiting": waiting}

    def update_meta(self, meta: bytes) -> None:
        """Replace the payload of the meta topic, and publish it if connected."""
        self._presence.set_meta(meta)
        if self._up:
            self._presence.queue_announcement()

    def publish_health(self, health: dict[str, Any]) -> None:
        """Publish the station's health, at most once per `mqtt.health_interval_s`."""
        now = time.monotonic()
        if not self._up or self._link is None:
            return
        if now - self._health_at >= self._config.health_interval_s:
            body = encode({**health, "v": V, "station": self._identity.station})
            if self._link.publish(self._identity.message(HEALTH, body)) is not None:
                self._health_at = now

    def trouble(self, now: float) -> str | None:
        """Return why a connected broker does not accept all messages; None if it does."""
        if self._backoff.is_duplicate(now):
            return f"another client uses the id {self._identity.station}"
        for topic, hold in self.delivery.holds.items():
            return f"{topic}: {hold.why}" if topic else hold.why
        if self._subscriptions.forbidden:
            return f"{min(self._subscriptions.forbidden)}: the broker forbids the subscription"
        return self._oversized if now - self._oversized_at < OVERSIZED_S else None

    def _reported_trouble(self, now: float) -> str | None:
        """Return the trouble for the topic `status`: of messages, else of their sources."""
        return self.trouble(now) or self.station_trouble

    def health(self) -> dict[str, object]:
        """Return the sender's part of health.json and of the health topic."""
        now = time.monotonic()
        health: dict[str, object] = {
            "connected": self._up,
            "host": self._config.host,
            "port": self._config.port,
            "since": utc(self._since_s),
            "in_flight": len(self.delivery.flights),
            "sent": self.delivery.sent,
            "refused": self.delivery.refused,
            "last_refusal": self.delivery.last_refusal,
            "failures": self._backoff.total,
            "last_error": self._last_error,
            "duplicate_client": self._backoff.is_duplicate(now),
            "trouble": self.trouble(now),
        }
        if self._commands is not None:
            health["commands"] = self._commands.health()
        return health

    def poll(self, now: float, wall_s: float) -> None:
        """Connect when it is time, send messages, and reconnect after a timeout.

        Parameters
        ----------
        now :
            Monotonic clock [s].
        wall_s :
            Unix time [s], for the expiry of live values.
        """
        if self._link is None:
            if now >= self._next_link:
                self._open(now)
        elif not self._up:
            if now - self._link_at > UP_TIMEOUT_S:
                self._abandon(f"not accepted within {UP_TIMEOUT_S:.0f} s", now)
        elif not self._link.alive() and now - self._last_alive > SILENT_S:
            self._abandon("the broker sends data that is not MQTT", now)
        elif self._is_awaiting() and now - self._last_ack > ACK_TIMEOUT_S:
            self._abandon(f"no acknowledgement for {ACK_TIMEOUT_S:.0f} s", now)
        elif self._link.alive():
            self._last_alive = now
            self._republisher.post_portion(now)
            self._send(now, wall_s)

    def _open(self, now: float) -> None:
        me = self._identity
        will = (me.topic(STATUS), lambda session: station.status(me, "lost", session))
        self._links += 1
        self._link_at = now
        self._link = Link(self._links, me.station, self._config, will, self._inbox.put)
        # now, because the broker may publish the session before it accepts the connection
        self._sessions.append(self._link.session)

    def _abandon(self, why: str, now: float) -> None:
        assert self._link is not None
        self._link.abandon()
        self._handle_disconnected(why, now)

    def _is_awaiting(self) -> bool:
        """Return whether an acknowledgement of the broker is missing."""
        flights = self.delivery.flights.values()
        return bool(self._presence.in_flight or self._subscriptions.is_pending) or any(
            f.acknowledged_at == math.inf for f in flights
        )

    def _send(self, now: float, wall_s: float) -> None:
        assert self._link is not None
        self._presence.queue_trouble(self._link.session, self._reported_trouble(now), now)
        if not self._is_awaiting():
            self._last_ack = now
        self.delivery.expire_unread(now)
        flights = self.delivery.flights
        self._presence.send(self._publish, self._limit - len(flights), wall_s)
        if self._subscriptions.can_read_back:
            self.delivery.send(self._publish, self._limit - self._count_in_flight(), now, wall_s)

    def _count_in_flight(self) -> int:
        return len(self.delivery.flights) + len(self._presence.in_flight)

    def _publish(self, message: Message, expiry_s: int | None) -> int | None:
        assert self._link is not None
        return self._link.publish(message, expiry_s)

    def publish_stopped(self) -> None:
        """Publish the status `stopped`; call `disconnect` once it is acknowledged."""
        if self._link is not None and self._up:
            now = time.monotonic()
            self._presence.drop_all_but_answers()
            self._presence.queue_status(
                "stopped", self._link.session, self._reported_trouble(now), now
            )
            self._presence.send(self._publish, IN_FLIGHT + 1, self._wall())

    def has_in_flight(self) -> bool:
        """Return whether a connected broker still has to acknowledge messages."""
        return self._up and self._is_awaiting()

    def disconnect(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.disconnect()
            self._link.release()
            self._link, self._up = None, False
