"""Imitate a broker of MQTT 5 or 3.1.1, for answers that no real broker gives on demand."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from tests.faults.proxy import packet_end

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12
CONNACK = {4: b"\x20\x02\x00\x00", 5: b"\x20\x03\x00\x00\x00"}  # by protocol level


class FakeBroker:
    """A broker that acknowledges each PUBLISH with the code `reason(topic)`.

    Knobs
    -----
    garbage : bytes
        Sent instead of the next acknowledgement.
    greetings : list of bytes
        One is sent after each subscription, while there are any.
    """

    def __init__(self, reason=lambda topic: 0):
        self.reason = reason
        self.garbage = b""
        self.greetings = []
        self.level = 5  # of the newest connection
        self.connections = 0
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
            self.connections += 1
            self.level = body[6]
            return CONNACK[self.level]
        if kind == SUBSCRIBE:
            granted = b"\x90\x03" if self.level == 4 else b"\x90\x04"
            code = b"\x01" if self.level == 4 else b"\x00\x01"
            greeting = self.greetings.pop(0) if self.greetings else b""
            return granted + body[:2] + code + greeting
        if kind == PINGREQ:
            return b"\xd0\x00"
        return self._acknowledge(body) if kind == PUBLISH else b""

    def publish(self, topic, payload, qos=1, length=None):
        """Return a PUBLISH; `length` [bytes] in its header may be another than its own."""
        properties = b"" if self.level == 4 else b"\x00"
        mid = b"\x00\x07" if qos else b""
        body = len(topic).to_bytes(2, "big") + topic + mid + properties + payload
        return bytes([0x30 | qos << 1]) + _length(length or len(body)) + body

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


def _length(rest):
    """Return the remaining length as MQTT writes it."""
    digits = []
    while rest or not digits:
        rest, digit = divmod(rest, 128)
        digits.append(digit | (0x80 if rest else 0))
    return bytes(digits)
