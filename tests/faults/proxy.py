"""Disturb the link between station and broker: a TCP proxy that parses MQTT packets.

It needs no netem, which many kernels lack, and it is deterministic.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

PUBLISH, PUBACK = 3, 4


class Proxy:
    """A proxy that forwards whole MQTT packets; its knobs may be changed while it runs.

    Knobs
    -----
    accepts : bool
        Whether new connections are forwarded; else they are closed at once.
    drop : callable or None
        Function of a packet's type and whether it goes to the broker; True drops the packet.
    per_s : float
        Limit of PUBLISH packets per second to the broker; 0: no limit.
    """

    def __init__(self, target):
        self.accepts, self.drop, self.per_s = True, None, 0.0
        self.connections = 0
        self.swallowed = 0
        self._target = target
        self._pairs = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._join(near)

    def _join(self, near):
        if not self.accepts:
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._target), 5.0)
        except OSError:
            near.close()
            return
        self.connections += 1
        self._pairs = [pair for pair in self._pairs if pair[0].fileno() >= 0]
        self._pairs.append((near, far))
        for source, sink, up in ((near, far, True), (far, near, False)):
            for end in (source, sink):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._forward, args=(source, sink, up), daemon=True).start()

    def _forward(self, source, sink, up):
        buffer = b""
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                buffer += chunk
                while (end := packet_end(buffer)) is not None:
                    packet, buffer = buffer[:end], buffer[end:]
                    self._pass(packet, sink, up)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _pass(self, packet, sink, up):
        kind = packet[0] >> 4
        if self.drop is not None and self.drop(kind, up):
            self.swallowed += 1
            return
        if up and self.per_s and kind == PUBLISH:
            time.sleep(1.0 / self.per_s)
        sink.sendall(packet)

    def cut(self):
        """Break every connection immediately."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.close()
        self.cut()


def packet_end(buffer):
    """Return the length of the first packet, None while incomplete (MQTT 5.0, section 2.1)."""
    length = 0
    for i in range(1, min(len(buffer), 5)):
        length |= (buffer[i] & 0x7F) << 7 * (i - 1)
        if buffer[i] < 0x80:
            end = i + 1 + length
            return end if end <= len(buffer) else None
    return None
