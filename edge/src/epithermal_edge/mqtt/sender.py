"""To the broker: one connection at a time, the journal's outbox in order, nothing forgotten.

paho keeps no queue that survives a restart, so the journal does; a message leaves it when the
broker has taken it, not when it was sent. After a lost connection everything that was not
acknowledged goes again, and the receiver drops what it has by id.
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
from epithermal_edge.messages.station import session_of
from epithermal_edge.messages.topics import HEALTH, STATUS
from epithermal_edge.mqtt.backoff import Backoff
from epithermal_edge.mqtt.commands import Commands, Verb
from epithermal_edge.mqtt.connection import (
    FAILURE,
    REASONS,
    TAKEN_OVER,
    Acknowledged,
    Down,
    Link,
    Received,
    Subscribed,
    Up,
)
from epithermal_edge.mqtt.delivery import IN_FLIGHT, Delivery
from epithermal_edge.mqtt.inbox import Inbox, LinkEvent, Ordered
from epithermal_edge.mqtt.presence import Presence, Subscriptions
from epithermal_edge.mqtt.republish import Republisher
from epithermal_edge.times import utc

UP_TIMEOUT_S = 60.0  # from opening a connection to being let in
SILENT_S = 1.0  # from the end of paho's thread to giving up on its last word
ACK_TIMEOUT_S = 30.0  # a broker that stays silent so long gets a new connection

log = logging.getLogger(__name__)


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
    discovery :
        What Home Assistant is told, None: nothing.
    commands :
        None: the station takes none.
    wall :
        Unix time [s].
    verbs :
        What the station itself does on command.
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
        self._again = Republisher(journal, identity)
        self._link: Link | None = None
        self._up = False
        self._links = self._entries = 0  # opened, and let in
        self._last_error: str | None = None
        self._since_s = wall()  # connected or not
        self._link_at = 0.0  # when it was opened [s, monotonic]
        self._next_link = 0.0  # when to connect
        self._last_ack = 0.0
        self._last_alive = 0.0  # paho's thread
        self._sessions: deque[str] = deque(maxlen=50)  # of this process, the newest
        self._limit = IN_FLIGHT
        self._health_at = -math.inf
        self._inbox = Inbox(identity, commands, put)
        if commands is not None:
            own = {"ping": self._ping, "announce": self._announce, "republish": self._again.begin}
            commands.verbs = {**own, **(verbs or {})}

    @property
    def accepted(self) -> list[int]:
        """Ids to delete from the outbox."""
        return self.delivery.accepted

    @accepted.setter
    def accepted(self, ids: list[int]) -> None:
        self.delivery.accepted = ids

    def idle(self) -> bool:
        """Whether everything was delivered."""
        return not self._in_flight() and not self.accepted and self._journal.waiting() == 0

    def take_accepted(self) -> list[int]:
        """Ids that the broker has, for the caller to delete in its next transaction."""
        accepted, self.accepted = self.accepted, []
        return accepted

    def _in_flight(self) -> int:
        return self._flying() + len(self._presence.waiting)

    def handle(self, event: LinkEvent, now: float) -> None:
        """Take one of the connection's events; those of an earlier connection say nothing."""
        self._inbox.taken(event)
        if self._link is None or event.link != self._link.number:
            return
        if isinstance(event, Acknowledged):
            self._acknowledged(event, now)
        elif isinstance(event, Up):
            self._let_in(event, now)
        elif isinstance(event, Down):
            self._down(event.reason, now, event.code)
        elif isinstance(event, Subscribed):
            self._subscriptions.answered(event)
        elif isinstance(event, Ordered):
            answer = self._commands.obey(event.command, now) if self._commands else None
            if answer is not None:
                self._presence.waiting.append(answer)
        else:
            self._received(event, now)

    def _let_in(self, event: Up, now: float) -> None:
        log.info("connected to %s:%d", self._config.host, self._config.port)
        self._up, self._since_s = True, self._wall()
        self._entries += 1
        self._last_ack = self._last_alive = now
        self._limit = max(1, min(IN_FLIGHT, event.receive_maximum))
        assert self._link is not None
        self._subscriptions.ask(self._link)
        self._presence.greet("online", self._link.session, self.trouble(now), now)
        self._presence.announce()

    def _received(self, event: Received, now: float) -> None:
        if event.topic == self._birth:
            self._presence.meet(event.payload, now)
        elif event.topic == self._identity.topic(STATUS):
            self._meet_status(event, now)
        elif not event.retained and self._reads_back:
            self.delivery.read_back(event.topic, event.payload)

    def _meet_status(self, event: Received, now: float) -> None:
        """One's own status, unless another had the name since we were let in before.

        mosquitto 2.0.11 cuts a connection that is taken over without the reason that MQTT 5 has
        for it; the other's status tells.
        """
        session = session_of(event.payload)
        is_other = session is not None and session not in self._sessions
        if is_other and (self._entries > 1 or not event.retained):
            self._backoff.taken_over(event.link - 1, now)

    def _down(self, reason: str, now: float, code: int = 0) -> None:
        if code == TAKEN_OVER:
            self._backoff.taken_over(self._links, now)
        pause = self._backoff.lost(now)
        if self._backoff.is_duplicate(now):
            log.error("another client calls itself %s", self._identity.station)
        self._last_error, self._since_s = reason, self._wall()
        self._next_link = now + pause
        if self._link is not None:
            self._link.release()
        self._link, self._up = None, False
        self._presence.clear()
        self._subscriptions.reset()
        self.delivery.reset()
        host, port = self._config.host, self._config.port
        log.warning("no connection to %s:%d: %s; again in %.1f s", host, port, reason, pause)

    def _acknowledged(self, event: Acknowledged, now: float) -> None:
        own = self._presence.in_flight.pop(event.mid, None)
        if own is None and event.mid not in self.delivery.flights:
            return
        self._last_ack = now
        if event.reason < FAILURE:
            self._backoff.well()
        elif own is not None:
            self.delivery.refused += 1
            name = REASONS.get(event.reason, f"reason 0x{event.reason:02x}")
            self.delivery.last_refusal = f"{own}: {name}"
            log.error("the broker refuses %s: %s", own, name)
        self.delivery.acknowledged(event.mid, event.reason, now)

    def _announce(self, _args: dict[str, Any]) -> dict[str, Any]:
        """The verb `announce`: what is constant, once more."""
        self._presence.announce()
        return {}

    def _ping(self, _args: dict[str, Any]) -> dict[str, Any]:
        """The verb `ping`: who answers, and what waits."""
        session = self._link.session if self._link else None
        waiting = self._journal.waiting()
        return {"epoch": self._identity.epoch, "session": session, "waiting": waiting}

    def tell_meta(self, meta: bytes) -> None:
        """What is constant has changed."""
        self._presence.change_meta(meta)
        if self._up:
            self._presence.announce()

    def publish_health(self, health: dict[str, Any]) -> None:
        """Tell what `Station` knows about itself, not more often than `mqtt.health_interval_s`."""
        now = time.monotonic()
        if not self._up or self._link is None:
            return
        if now - self._health_at >= self._config.health_interval_s:
            body = encode({**health, "v": V, "station": self._identity.station})
            if self._link.publish(self._identity.message(HEALTH, body)) is not None:
                self._health_at = now

    def trouble(self, now: float) -> str | None:
        """What keeps messages from being delivered though the broker is there."""
        if self._backoff.is_duplicate(now):
            return f"another client calls itself {self._identity.station}"
        for topic, hold in self.delivery.holds.items():
            return f"{topic}: {hold.why}" if topic else hold.why
        if self._subscriptions.forbidden:
            return f"{min(self._subscriptions.forbidden)}: the broker forbids to subscribe"
        return None

    def health(self) -> dict[str, object]:
        """Plain values for health.json and the health topic."""
        now = time.monotonic()
        found: dict[str, object] = {
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
            found["commands"] = self._commands.health()
        return found

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
                self._open(now)
        elif not self._up:
            if now - self._link_at > UP_TIMEOUT_S:
                self._give_up(f"not let in for {UP_TIMEOUT_S:.0f} s", now)
        elif not self._link.alive() and now - self._last_alive > SILENT_S:
            self._give_up("the broker sends what is not MQTT", now)
        elif self._awaits() and now - self._last_ack > ACK_TIMEOUT_S:
            self._give_up(f"no acknowledgement for {ACK_TIMEOUT_S:.0f} s", now)
        elif self._link.alive():
            self._last_alive = now
            self._again.feed(now)
            self._send(now, wall_s)

    def _open(self, now: float) -> None:
        me = self._identity
        will = (me.topic(STATUS), lambda session: station.status(me, "lost", session))
        self._links += 1
        self._link_at = now
        self._link = Link(self._links, me.station, self._config, will, self._inbox.offer)
        self._sessions.append(self._link.session)  # the broker may know it before we are let in

    def _give_up(self, why: str, now: float) -> None:
        assert self._link is not None
        self._link.abandon()
        self._down(why, now)

    def _awaits(self) -> bool:
        """Whether an acknowledgement is due."""
        flights = self.delivery.flights.values()
        return bool(self._presence.in_flight or self._subscriptions.is_asking) or any(
            f.acknowledged_at == math.inf for f in flights
        )

    def _send(self, now: float, wall_s: float) -> None:
        assert self._link is not None
        self._presence.tell_trouble(self._link.session, self.trouble(now), now)
        if not self._awaits():
            self._last_ack = now
        self.delivery.expire(now)
        flights = self.delivery.flights
        self._presence.send(self._publish, self._limit - len(flights), wall_s)
        if self._subscriptions.hears_itself:
            self.delivery.send(self._publish, self._limit - self._flying(), now, wall_s)

    def _flying(self) -> int:
        return len(self.delivery.flights) + len(self._presence.in_flight)

    def _publish(self, message: Message, expiry_s: int | None) -> int | None:
        assert self._link is not None
        return self._link.publish(message, expiry_s)

    def say_goodbye(self) -> None:
        """The clean end; call `disconnect` when it is acknowledged, or after a moment."""
        if self._link is not None and self._up:
            now = time.monotonic()
            self._presence.keep_answers()
            self._presence.greet("stopped", self._link.session, self.trouble(now), now)
            self._presence.send(self._publish, IN_FLIGHT + 1, self._wall())

    def has_in_flight(self) -> bool:
        """Whether an acknowledgement is awaited."""
        return self._up and self._awaits()

    def disconnect(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.disconnect()
            self._link.release()
            self._link, self._up = None, False
