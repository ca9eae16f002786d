"""Bytes from a serial port of any kind, however often it is unplugged."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator

from epithermal_edge.errors import SourceError

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 16

CUT = b"\xff\n"
"""Ends a line that an unplugged cable cut, and makes the field it was cut in unreadable."""


def serial_chunks(
    url: str,
    baudrate: int,
    stop: threading.Event,
    timeout_s: float = 0.5,
    silence_s: float = math.inf,
) -> Iterator[bytes]:
    """What a serial port receives, as it comes.

    Parameters
    ----------
    url :
        A device (`/dev/serial/by-id/...` survives a reboot, `/dev/ttyUSB0` does not) or any URL of
        pyserial: `socket://host:port`, `rfc2217://host:port`, `loop://`.
    baudrate : [bit s-1]
    stop :
        Ends the stream when set.
    timeout_s : [s]
        Of silence, after which b"" is given: the reader is alive.
    silence_s : [s]
        After which the port is taken for dead: a terminal server that lost its power does not
        close the connection.

    Raises
    ------
    SourceError
        The port cannot be opened, is in use, went away, or was silent for too long.
    """
    import serial  # 20 ms that a replay of files need not pay

    try:
        port = serial.serial_for_url(url, baudrate=baudrate, timeout=timeout_s, exclusive=True)
    except (OSError, ValueError) as fault:
        raise SourceError(f"{url}: cannot open ({fault}); check source.url") from fault
    heard_s = time.monotonic()
    with port:
        while not stop.is_set():
            chunk = bytearray()
            try:
                chunk += port.read(1)
                while chunk and len(chunk) < CHUNK_BYTES and (waiting := port.in_waiting):
                    chunk += port.read(waiting)
            except OSError as fault:
                if chunk:  # the handler may have lost the port after it gave these
                    yield bytes(chunk)
                raise SourceError(f"{url}: went away ({fault}); check the cable") from fault
            if chunk:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > silence_s:
                raise SourceError(f"{url}: silent for {silence_s:g} s; check logger and cable")
            yield bytes(chunk)


def reconnecting(
    connect: Callable[[], Iterator[bytes]],
    stop: threading.Event,
    first_s: float = 1.0,
    longest_s: float = 60.0,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Iterator[bytes]:
    """A port's chunks for as long as the station runs, however often it is unplugged.

    Between attempts it waits a random time up to a limit that doubles ("full jitter"), so that a
    field of stations on one terminal server does not come back all at once.

    Parameters
    ----------
    connect :
        Opens the port anew, such as `lambda: serial_chunks(url, baudrate, stop)`.
    stop :
        Ends the stream when set.
    first_s, longest_s : [s]
        The limit after the first failure, and where the doubling ends.
    uniform :
        Draws the wait from (0, limit).

    Yields
    ------
    bytes
        b"" in silence and while it waits; `CUT` where a line was cut.
    """
    failures = 0
    inside_line = False
    while not stop.is_set():
        try:
            for chunk in connect():
                if chunk:
                    failures = 0
                    inside_line = chunk[-1:] not in b"\r\n"
                yield chunk
        except SourceError as fault:
            failures += 1
            pause_s = uniform(0.0, min(longest_s, first_s * 2.0 ** min(failures - 1, 30)))
            level = logging.WARNING if failures == 1 else logging.INFO
            logger.log(level, "%s; trying again in %.1f s", fault, pause_s)
            if inside_line:
                inside_line = False
                yield CUT
            yield from _waiting(pause_s, stop)


def _waiting(pause_s: float, stop: threading.Event) -> Iterator[bytes]:
    while pause_s > 0 and not stop.wait(min(pause_s, 1.0)):
        pause_s -= 1.0
        yield b""
