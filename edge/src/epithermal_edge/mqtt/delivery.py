"""What of the journal's outbox is under way: how much, how fast, and what counts as delivered.

A message is delivered when the broker has acknowledged it with a reason that is no failure and,
where MQTT cannot say so (3.1.1), when it was read back as well. What is refused stays, is tried
again later and one at a time, and holds up only its own topic.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from epithermal_edge.journal.journal import Journal, Outgoing
from epithermal_edge.messages.message import Message
from epithermal_edge.mqtt.connection import FAILURE, REASONS

IN_FLIGHT = 16  # sent and not acknowledged
REFUSED_PAUSE_S, REFUSED_PAUSE_MAX_S = 30.0, 600.0  # before what was refused is tried again
READ_BACK_S = 10.0  # from the acknowledgement to one's own message, on 3.1.1
BURST_S = 1.0  # so much of the backlog's rate may go at once
LOOK_AHEAD = 64  # outbox rows passed over at a time while some topics wait
OF_TOPIC = (0x87, 0x90, 0x99)  # reasons that speak of one topic; the others of the whole station
EVERYTHING = ""  # key of a hold on all topics
UNREAD = "acknowledged, but not read back: the broker drops it or forbids to read it"

Publish = Callable[[Message, int | None], int | None]
"""Message and seconds until it expires to the packet's id; None: the connection is gone."""

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
    """What was refused: nothing until a time, then the first of it alone until that is taken."""

    why: str
    until: float
    first: int  # id of the first message that was refused
    newest: bool  # that is one of the newest values
    refusals: int = 1
    probe: int | None = None  # packet that tries


@dataclass(slots=True)
class Delivery:
    """The way of the outbox to the broker. For the thread that owns the journal.

    Parameters
    ----------
    backlog_per_s :
        Messages a second beside the newest values; 0: as fast as it goes.
    must_read_back :
        An acknowledgement alone proves nothing.
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
        """After a lost connection: what was not acknowledged goes again, what was refused too."""
        self.flights.clear()
        self._rewind()
        for hold in self.holds.values():
            hold.until, hold.probe = 0.0, None

    def _rewind(self) -> None:
        self._cursor = {True: 0, False: 0}

    def acknowledged(self, mid: int, reason: int, now: float) -> None:
        """The broker's answer to a packet."""
        flight = self.flights.get(mid)
        if flight is None:
            return
        if reason >= FAILURE:
            name = REASONS.get(reason, f"reason 0x{reason:02x}")
            topic = flight.message.topic if reason in OF_TOPIC else EVERYTHING
            self._refuse(mid, name, topic, now)
        else:
            flight.acknowledged_at = now
            self._settle(mid, flight)

    def read_back(self, topic: str, payload: bytes) -> None:
        """One's own message came back."""
        for mid, flight in self.flights.items():
            own = flight.message
            if not flight.read_back and own.topic == topic and own.payload == payload:
                flight.read_back = True
                self._settle(mid, flight)
                return

    def _settle(self, mid: int, flight: Flight) -> None:
        known = flight.acknowledged_at < math.inf
        if not known or (self.must_read_back and not flight.read_back):
            return
        del self.flights[mid]
        self.sent += 1
        self.accepted.append(flight.id)
        if any(hold.probe == mid for hold in self.holds.values()):
            for key in (flight.message.topic, EVERYTHING):
                self.holds.pop(key, None)
            self._rewind()

    def _refuse(self, mid: int, why: str, key: str, now: float) -> None:
        flight = self.flights.pop(mid)
        self.refused += 1
        self.last_refusal = f"{flight.message.topic}: {why}"
        is_newest = flight.message.kind.newest_only
        for other, tried in self.holds.items():
            if tried.probe == mid and other != key:  # refused for another reason than before
                tried.probe, tried.until = None, now + REFUSED_PAUSE_S
        hold = self.holds.get(key)
        if hold is None:
            log.error("the broker refuses %s: %s; kept", flight.message.topic, why)
            self.holds[key] = Hold(why, now + REFUSED_PAUSE_S, flight.id, is_newest)
        elif hold.probe == mid:
            hold.refusals += 1
            pause = REFUSED_PAUSE_S * 2.0 ** min(hold.refusals - 1, 10)
            hold.why, hold.until = why, now + min(pause, REFUSED_PAUSE_MAX_S)
            hold.probe = None
        elif flight.id < hold.first:
            hold.first, hold.newest = flight.id, is_newest

    def expire(self, now: float) -> None:
        """Give up on what was acknowledged and does not come back."""
        for mid, flight in list(self.flights.items()):
            if now - flight.acknowledged_at > READ_BACK_S:
                self._refuse(mid, UNREAD, flight.message.topic, now)

    def send(self, publish: Publish, room: int, now: float, wall_s: float) -> None:
        """Send what may be sent, the newest values first.

        Parameters
        ----------
        room :
            How many more may be in flight.
        now, wall_s :
            Monotonic clock and Unix time [s].
        """
        self._fill(now)
        room -= self._try(publish, room, now, wall_s)
        for newest in (True, False):
            room -= self._send(publish, newest, room, now, wall_s)

    def _fill(self, now: float) -> None:
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
        for out in self.journal.outgoing(after, limit, newest):
            if count >= room:
                break
            if out.id not in under_way and not self._held(out.message.topic):
                mid = self._publish(publish, out, wall_s)
                if mid is None:
                    break
                count += mid > 0
            self._cursor[newest] = out.id
        if not newest:
            self._tokens -= count
        return count

    def _held(self, topic: str) -> bool:
        """Whether a topic has to wait."""
        return topic in self.holds or EVERYTHING in self.holds

    def _try(self, publish: Publish, room: int, now: float, wall_s: float) -> int:
        """Send the first of what was refused, where its pause is over; how many were sent."""
        count = 0
        for key, hold in list(self.holds.items()):
            waits = hold.probe is not None or now < hold.until or count >= room
            if waits or (key != EVERYTHING and EVERYTHING in self.holds):
                continue
            found = self.journal.outgoing(hold.first - 1, 1, hold.newest)
            mid: int | None = 0
            is_gone = not found or found[0].id in self.accepted
            if not is_gone and key in (EVERYTHING, found[0].message.topic):
                mid = self._publish(publish, found[0], wall_s)
            if mid is None:
                break
            if mid > 0:
                hold.probe, count = mid, count + 1
            else:  # it is gone, or nobody wants it any more
                del self.holds[key]
                self._rewind()
        return count

    def _publish(self, publish: Publish, out: Outgoing, wall_s: float) -> int | None:
        """The packet's id; 0: nobody wants it any more; None: the connection is gone."""
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
