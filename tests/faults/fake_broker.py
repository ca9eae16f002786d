"""Imitate an MQTT 5 broker, for answers that no real broker gives on demand."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from tests.faults.proxy import packet_end

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12
CONNACK = b"\x20\x03\x00\x00\x00"


class FakeBroker:
    """A broker that acknowledges each PUBLISH with the code `reason(topic)`.

    Knobs
    -----
    garbage : bytes
        Sent instead of the next acknowledgement.
    """

    def __init__(self, reason=lambda topic: 0):
        self.reason = reason
        self.garbage = b""
        self.acknowledged = []  # (topic, payload) that were acknowledged without failure
        self.rejected = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        buffer = b""
        with contextlib.suppress(OSError), client:
            while chunk := client.recv(65536):
                buffer += chunk
                while (end := packet_end(buffer)) is not None:
                    packet, buffer = buffer[:end], buffer[end:]
                    answer = self._answer(packet)
                    if answer:
                        client.sendall(answer)

    def _answer(self, packet):
        kind, body = packet[0] >> 4, packet[1:]
        while body[0] >= 0x80:  # the rest of the length
            body = body[1:]
        body = body[1:]
        if kind == CONNECT:
            return CONNACK
        if kind == SUBSCRIBE:
            return b"\x90\x04" + body[:2] + b"\x00\x01"
        if kind == PINGREQ:
            return b"\xd0\x00"
        return self._acknowledge(body) if kind == PUBLISH else b""

    def _acknowledge(self, body):
        if self.garbage:
            garbage, self.garbage = self.garbage, b""
            return garbage
        length = struct.unpack(">H", body[:2])[0]
        topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
        mid, properties = rest[:2], rest[2]
        reason = self.reason(topic)
        if reason < 0x80:
            self.acknowledged.append((topic, rest[3 + properties :]))
        else:
            self.rejected += 1
        return b"\x40\x03" + mid + bytes([reason])

    def close(self):
        self._listener.close()
