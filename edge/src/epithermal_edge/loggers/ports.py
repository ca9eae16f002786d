"""Read bytes from a serial port or terminal server, and reconnect after it was unplugged."""

from __future__ import annotations

import logging
import math
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol
from urllib.parse import urlsplit

from epithermal_edge.errors import SourceError

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 16
CONNECT_S = 5.0  # timeout for a connection to a terminal server
WRITE_S = 5.0  # timeout for sending a query
LONGEST_S = 4.0  # longest wait between two attempts to open a port
KEEPALIVE_S = 60  # silence after which a TCP connection is tested

CUT = b"\xff\n"
"""Ends a line that was interrupted by unplugging, and makes its last field unreadable."""


class Port(Protocol):
    """Interface of an open port; each method raises OSError if the port was unplugged."""

    def receive(self) -> bytes:
        """Return the received bytes; b"" after `timeout_s` of silence."""

    def send(self, data: bytes) -> None:
        """Send all bytes, or raise OSError."""

    def close(self) -> None:
        """Close the port; may be called at any time."""


class _Serial:
    """A device, `rfc2217://` or `loop://`, with pyserial."""

    def __init__(self, url: str, baudrate: int, timeout_s: float) -> None:
        import termios  # the two imports cost 20 ms, which a replay of files does not need

        import serial

        write_s = None if url.startswith("rfc2217:") else WRITE_S  # rfc2217 supports no timeout
        try:
            self._port = serial.serial_for_url(
                url, baudrate=baudrate, timeout=timeout_s, write_timeout=write_s, exclusive=True
            )
        except termios.error as fault:  # unplugged during the opening
            raise OSError(*fault.args) from fault
        self._lost: OSError | None = None

    def receive(self) -> bytes:
        if self._lost is not None:
            raise self._lost
        chunk = bytearray()
        try:
            chunk += self._port.read(1)
            while chunk and len(chunk) < CHUNK_BYTES and (waiting := self._port.in_waiting):
                chunk += self._port.read(waiting)
        except OSError as fault:
            if not chunk:
                raise
            self._lost = fault  # the port was lost after these bytes
        return bytes(chunk)

    def send(self, data: bytes) -> None:
        self._port.write(data)

    def close(self) -> None:
        self._port.close()


class _Tcp:
    """`socket://host:port`; pyserial would read it with one system call per byte."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if not parts.hostname or parts.port is None:
            raise ValueError("write socket://host:port")
        self._socket = socket.create_connection((parts.hostname, parts.port), CONNECT_S)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        self._timeout_s = timeout_s

    def receive(self) -> bytes:
        self._socket.settimeout(self._timeout_s)
        try:
            chunk = self._socket.recv(CHUNK_BYTES)
        except TimeoutError:
            return b""
        if not chunk:
            raise ConnectionResetError("closed by the other side")
        return chunk

    def send(self, data: bytes) -> None:
        self._socket.settimeout(WRITE_S)
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


def open_port(url: str, baudrate: int, timeout_s: float) -> Port:
    """Open a port.

    Raises
    ------
    SourceError
        The port cannot be opened, or is in use.
    """
    try:
        if url.startswith("socket://"):
            return _Tcp(url, timeout_s)
        return _Serial(url, baudrate, timeout_s)
    except (OSError, ValueError) as fault:
        raise SourceError(f"{url}: cannot open ({fault}); check source.url") from fault


def serial_chunks(
    url: str,
    baudrate: int,
    stop: threading.Event,
    timeout_s: float = 0.5,
    silence_s: float = math.inf,
    next_query: Callable[[], bytes] = bytes,
) -> Iterator[bytes]:
    """Yield the bytes that a serial port receives.

    Parameters
    ----------
    url :
        A device (`/dev/serial/by-id/...` survives a reboot, `/dev/ttyUSB0` does not), a terminal
        server (`socket://host:port`, `rfc2217://host:port`) or any other URL of pyserial.
    baudrate : [bit s-1]
    stop :
        Ends the stream when set.
    timeout_s : [s]
        Silence after which b"" is yielded, so that the caller sees that the reader is alive.
    silence_s : [s]
        Silence after which the port is considered dead: a terminal server without power does not
        close the connection, and a USB adapter may hang.
    next_query :
        Called after the port was opened and after each chunk; returns bytes to send to the logger.

    Raises
    ------
    SourceError
        The port cannot be opened, is in use, was disconnected, or was silent for too long.
    """
    port = open_port(url, baudrate, timeout_s)
    received_s = time.monotonic()
    try:
        while not stop.is_set():
            if query := next_query():
                port.send(query)
            chunk = port.receive()
            if chunk:
                received_s = time.monotonic()
            elif time.monotonic() - received_s > silence_s:
                raise SourceError(f"{url}: silent for {silence_s:g} s; check logger and cable")
            yield chunk
    except OSError as fault:
        raise SourceError(f"{url}: disconnected ({fault}); check the cable") from fault
    finally:
        _close(port, url)


def _close(port: Port, url: str) -> None:
    try:
        port.close()
    except OSError as fault:
        logger.info("%s: closing failed: %s", url, fault)


def reconnecting(
    connect: Callable[[], Iterator[bytes]],
    stop: threading.Event,
    first_s: float = 1.0,
    longest_s: float = LONGEST_S,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Iterator[bytes]:
    """Yield a port's chunks until `stop` is set, and reopen the port after each failure.

    Between attempts it waits a random time up to a limit that doubles ("full jitter"), so that
    several stations on one terminal server do not reconnect at the same time. The limit stays low,
    because the lines that a logger sends while the port is closed are lost.

    Parameters
    ----------
    connect :
        Opens the port, such as `lambda: serial_chunks(url, baudrate, stop)`.
    stop :
        Ends the stream when set.
    first_s, longest_s : [s]
        The limit after the first failure, and its maximum.
    uniform :
        Draws the wait from (0, limit).

    Yields
    ------
    bytes
        b"" during silence and waiting; `CUT` after an interrupted line.
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
            if failures & (failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: to limit the log
                logger.warning("%s; failure %d, trying again in %.1f s", fault, failures, pause_s)
            if inside_line:
                inside_line = False
                yield CUT
            yield from _waiting(pause_s, stop)


def _waiting(pause_s: float, stop: threading.Event) -> Iterator[bytes]:
    while pause_s > 0 and not stop.wait(min(pause_s, 1.0)):
        pause_s -= 1.0
        yield b""
