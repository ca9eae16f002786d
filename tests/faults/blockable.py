"""Run a station and block one of its parts at SIGUSR1: blockable.py PART STATION.toml."""

import gc
import signal
import sys
import threading
import time

import serial

from epithermal_edge.cli.main import main


def forever(*_):
    time.sleep(1e6)


def hold_pahos_lock():
    from paho.mqtt.client import Client

    for client in (o for o in gc.get_objects() if isinstance(o, Client)):
        client._out_message_mutex.acquire()
    forever()


def block(*_):
    if sys.argv[1] == "reader":  # as a driver that hangs
        serial.Serial.read = forever
    elif sys.argv[1] == "sender":  # as a connection whose thread hangs
        threading.Thread(target=hold_pahos_lock, daemon=True).start()
    elif sys.argv[1] == "engine":
        forever()


signal.signal(signal.SIGUSR1, block)
sys.exit(main(["run", sys.argv[2]]))
