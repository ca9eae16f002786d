"""Run a station and block or end one of its parts at SIGUSR1: blockable.py PART STATION.toml.

What blocks prints its time [s, monotonic, that of all processes]: on a busy machine it is later
than the signal.
"""

import gc
import os
import signal
import sys
import threading
import time

import serial

from epithermal_edge.ancillary import merge, poller
from epithermal_edge.cli.main import main
from epithermal_edge.page import server


def forever(*_):
    os.write(2, b"blocked at %.3f\n" % time.monotonic())
    time.sleep(1e6)


class HangingLock:
    """A lock that another thread never releases; the station's main thread waits for it."""

    def acquire(self, *_):
        if threading.current_thread() is threading.main_thread():
            forever()
        time.sleep(1e6)

    __enter__ = acquire

    def __exit__(self, *_):
        """Is never reached."""


def hang_pahos_lock():
    from paho.mqtt.client import Client

    for client in (o for o in gc.get_objects() if isinstance(o, Client)):
        client._out_message_mutex = HangingLock()


def fail(*_):
    raise KeyError("as a fault in the program")


def block(*_):
    os.write(2, b"the signal has arrived\n")
    if sys.argv[1] == "reader":  # as a driver that hangs
        serial.Serial.read = forever
    elif sys.argv[1] == "sender":  # as a connection whose thread hangs
        hang_pahos_lock()
    elif sys.argv[1] == "engine":
        forever()
    elif sys.argv[1] == "incoming":
        poller.Poller.poll_once = fail
    elif sys.argv[1] == "page":
        server.Server.handle_request = fail


merge.FILE_EVERY_S = 0.2
signal.signal(signal.SIGUSR1, block)
sys.exit(main(["run", sys.argv[2]]))
