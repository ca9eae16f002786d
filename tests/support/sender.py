"""Drive a sender with a journal step by step, so that a test can observe and delay each event."""

from __future__ import annotations

import collections
import contextlib
import queue
import time

from tests.support.rig import wait_until

from epithermal_edge.config.schema import TABLES
from epithermal_edge.config.station_toml import Mqtt
from epithermal_edge.journal.journal import Journal
from epithermal_edge.messages.message import Identity
from epithermal_edge.messages.topics import OBS_THETA
from epithermal_edge.mqtt.sender import Sender
from epithermal_edge.station.daemon import DELETE_BATCH

ME = Identity("test-1", "0123abcd", "crns/v1", 3600.0)


def settings(port, **others):
    given = {key.name: key.default for key in TABLES["mqtt"]}
    return Mqtt(**{**given, "host": "127.0.0.1", "port": port, "backlog_per_s": 0.0, **others})


class SenderRig:
    """A sender with its journal and event queue, driven by the test."""

    def __init__(self, folder, config, jitter=lambda top: 0.05, **options):
        self.journal = Journal(folder / "state")
        self.events = queue.SimpleQueue()
        self.sender = Sender(
            config, ME, b'{"meta":1}', self.journal, self.events.put, jitter, **options
        )
        self.seen = collections.deque(maxlen=1000)

    def turn(self):
        with contextlib.suppress(queue.Empty):
            while True:
                event = self.events.get(timeout=0.005)
                self.seen.append(event)
                self.sender.handle(event, time.monotonic())
                self.sender.poll(time.monotonic(), time.time())
                if len(self.sender.accepted) >= DELETE_BATCH:
                    self.journal.delete_outgoing(self.sender.take_accepted())
        self.sender.poll(time.monotonic(), time.time())
        self.journal.delete_outgoing(self.sender.take_accepted())

    def connected(self):
        """Check whether the sender is connected and has delivered everything."""
        return self.sender._up and self.sender.is_idle()

    def turn_for(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn()

    def turn_until(self, holds):
        def step():
            self.turn()
            return holds()

        wait_until(step)

    def post(self, *numbers):
        self.put(*(ME.message(OBS_THETA, b"%d" % number) for number in numbers))

    def put(self, *messages):
        self.journal.post(messages)

    def close(self):
        self.sender.disconnect()
        self.journal.close()
