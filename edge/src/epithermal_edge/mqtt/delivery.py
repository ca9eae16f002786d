"""Publish the journal's outbox: how many messages at once, how fast, and when one is delivered.

A message is delivered when the broker has acknowledged it without a failure reason and, with MQTT
3.1.1, which has no reasons, when the station has read it back. A refused message stays in the
outbox, is retried later and alone, and blocks only its own topic.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from epithermal_edge.journal.journal import Journal, Outgoing
from epithermal_edge.messages.message import Message
from epithermal_edge.mqtt.connection import FAILURE, REASONS

IN_FLIGHT = 16  # most messages that are sent and not acknowledged
REFUSED_PAUSE_S, REFUSED_PAUSE_MAX_S = 30.0, 600.0  # before a refused message is retried
READ_BACK_S = 10.0  # longest wait for the own message after its acknowledgement, on 3.1.1
BURST_S = 1.0  # burst, as time at the backlog's rate
LOOK_AHEAD = 64  # outbox rows read at a time while some topics are on hold
OF_TOPIC = (0x87, 0x90, 0x99)  # reasons about one topic; all others concern the whole station
EVERYTHING = ""  # key of a hold on all topics
UNREAD = "acknowledged, but not read back: the broker drops it or forbids reading it"

Publish = Callable[[Message, int | None], int | None]
"""Maps message and time to expiry [s] to a packet id; None without a connection."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Flight:
    """A message that was sent."""

    id: int
    message: Message
    acknowledged_at: float = math.inf  # [s, monotonic]
    read_back: bool = False


@dataclass(slots=True)
class Hold:
    """A hold on a topic: publishes nothing until a time, then one message as a probe."""

    why: str
    until: float
    first: int  # id of the first refused message
    newest: bool  # whether that message is of a `newest_only` topic
    refusals: int = 1
    probe: int | None = None  # packet id of the probe under way


@dataclass(slots=True)
class Delivery:
    """Delivery of the outbox to the broker, for the thread that owns the journal.

    Parameters
    ----------
    backlog_per_s :
        Rate limit of all messages except the newest values [s-1]; 0: no limit.
    must_read_back :
        Whether a message counts as delivered only after the station has read it back.
    """

    journal: Journal
    backlog_per_s: float = 0.0
    must_read_back: bool = False
    accepted: list[int] = field(default_factory=list)  # to delete from the outbox
    flights: dict[int, Flight] = field(default_factory=dict)  # by packet
    holds: dict[str, Hold] = field(default_factory=dict)  # by topic
    sent: int = 0
    refused: int = 0
    last_refusal: str | None = None
    _cursor: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    _tokens: float = 0.0
    _filled_at: float = 0.0

    def reset(self) -> None:
        """Prepare a new connection: unacknowledged and refused messages are sent again."""
        self.flights.clear()
        self._rewind()
        for hold in self.holds.values():
            hold.until, hold.probe = 0.0, None

    def _rewind(self) -> None:
        self._cursor = {True: 0, False: 0}

    def handle_acknowledgement(self, mid: int, reason: int, now: float) -> None:
        """Handle the broker's answer to a packet: delivered, or refused with a reason."""
        flight = self.flights.get(mid)
        if flight is None:
            return
        if reason >= FAILURE:
            name = REASONS.get(reason, f"reason 0x{reason:02x}")
            topic = flight.message.topic if reason in OF_TOPIC else EVERYTHING
            self._hold(mid, name, topic, now)
        else:
            flight.acknowledged_at = now
            self._complete(mid, flight)

    def handle_own_message(self, topic: str, payload: bytes) -> None:
        """Handle a message of the station itself that the broker sent back."""
        for mid, flight in self.flights.items():
            own = flight.message
            if not flight.read_back and own.topic == topic and own.payload == payload:
                flight.read_back = True
                self._complete(mid, flight)
                return

    def _complete(self, mid: int, flight: Flight) -> None:
        acknowledged = flight.acknowledged_at < math.inf
        if not acknowledged or (self.must_read_back and not flight.read_back):
            return
        del self.flights[mid]
        self.sent += 1
        self.accepted.append(flight.id)
        if any(hold.probe == mid for hold in self.holds.values()):
            for key in (flight.message.topic, EVERYTHING):
                self.holds.pop(key, None)
            self._rewind()

    def _hold(self, mid: int, why: str, key: str, now: float) -> None:
        flight = self.flights.pop(mid)
        self.refused += 1
        self.last_refusal = f"{flight.message.topic}: {why}"
        is_newest = flight.message.kind.newest_only
        for other, tried in self.holds.items():
            if tried.probe == mid and other != key:  # refused for another reason than last time
                tried.probe, tried.until = None, now + REFUSED_PAUSE_S
        hold = self.holds.get(key)
        if hold is None:
            log.error(
                "the broker refuses %s: %s; the message stays in the journal",
                flight.message.topic,
                why,
            )
            self.holds[key] = Hold(why, now + REFUSED_PAUSE_S, flight.id, is_newest)
        elif hold.probe == mid:
            hold.refusals += 1
            pause = REFUSED_PAUSE_S * 2.0 ** min(hold.refusals - 1, 10)
            hold.why, hold.until = why, now + min(pause, REFUSED_PAUSE_MAX_S)
            hold.probe = None
        elif flight.id < hold.first:
            hold.first, hold.newest = flight.id, is_newest

    def expire_unread(self, now: float) -> None:
        """Treat messages that were not read back in time as refused."""
        for mid, flight in list(self.flights.items()):
            if now - flight.acknowledged_at > READ_BACK_S:
                self._hold(mid, UNREAD, flight.message.topic, now)

    def send(self, publish: Publish, room: int, now: float, wall_s: float) -> None:
        """Publish as many messages as allowed, the newest values first.

        Parameters
        ----------
        room :
            Number of messages that may be sent.
        now, wall_s :
            Monotonic clock and Unix time [s].
        """
        self._refill_tokens(now)
        room -= self._send_probes(publish, room, now, wall_s)
        for newest in (True, False):
            room -= self._send(publish, newest, room, now, wall_s)

    def _refill_tokens(self, now: float) -> None:
        rate = self.backlog_per_s
        top = max(rate * BURST_S, IN_FLIGHT) if rate else math.inf
        self._tokens = min(top, self._tokens + rate * (now - self._filled_at)) if rate else top
        self._filled_at = now

    def _send(self, publish: Publish, newest: bool, room: int, now: float, wall_s: float) -> int:
        if not newest:
            room = int(min(room, self._tokens))
        if room <= 0 or EVERYTHING in self.holds:
            return 0
        after, count = self._cursor[newest], 0
        under_way = {f.id for f in self.flights.values()} | set(self.accepted)
        skip = sum(i > after for i in under_way)
        limit = max(room + skip, LOOK_AHEAD if self.holds else 0)
        for out in self.journal.next_outgoing(after, limit, newest):
            if count >= room:
                break
            if out.id not in under_way and not self._is_held(out.message.topic):
                mid = self._publish(publish, out, wall_s)
                if mid is None:
                    break
                count += mid > 0
            self._cursor[newest] = out.id
        if not newest:
            self._tokens -= count
        return count

    def _is_held(self, topic: str) -> bool:
        """Return whether a topic is on hold."""
        return topic in self.holds or EVERYTHING in self.holds

    def _send_probes(self, publish: Publish, room: int, now: float, wall_s: float) -> int:
        """Send a probe for each hold whose pause is over; return the number of probes."""
        count = 0
        for key, hold in list(self.holds.items()):
            waits = hold.probe is not None or now < hold.until or count >= room
            if waits or (key != EVERYTHING and EVERYTHING in self.holds):
                continue
            first = self.journal.next_outgoing(hold.first - 1, 1, hold.newest)
            mid: int | None = 0
            is_gone = not first or first[0].id in self.accepted
            if not is_gone and key in (EVERYTHING, first[0].message.topic):
                mid = self._publish(publish, first[0], wall_s)
            if mid is None:
                break
            if mid > 0:
                hold.probe, count = mid, count + 1
            else:  # the message was delivered, dropped, or has expired
                del self.holds[key]
                self._rewind()
        return count

    def _publish(self, publish: Publish, out: Outgoing, wall_s: float) -> int | None:
        """Publish; return the packet id, 0 for an expired message, None without a connection."""
        message, expiry_s = out.message, None
        if message.expires_s is not None:
            expiry_s = math.ceil(message.expires_s - wall_s)
            if expiry_s <= 0:
                self.accepted.append(out.id)
                return 0
        mid = publish(message, expiry_s)
        if mid is not None:
            self.flights[mid] = Flight(out.id, message)
        return mid
