"""Build paho clients that reject a packet by its header, before its content is read.

MQTT 3.1.1 has no maximum packet size, and a broker of MQTT 5 may ignore it. Import this module
inside functions only: paho takes time and memory at the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from epithermal_edge.config.station_toml import Mqtt

PUBLISH, PUBLISH_QOS_2 = 0x30, 0x04  # in the first byte of a packet
HEAD_BYTES = 4096  # part of an oversized packet that is read, for its topic


class BoundedClient(Client):
    """Client that closes the connection at a packet that is too long or of QoS 2.

    Stations subscribe with QoS 1. Messages of QoS 2 would be stored until the broker releases them,
    without a limit.

    Parameters
    ----------
    max_bytes :
        Longest accepted packet, without its header.
    on_oversized :
        Called with the topic and the length [bytes] of a longer packet, before the disconnection.
    options :
        As for paho's Client.
    """

    def __init__(
        self, max_bytes: int, on_oversized: Callable[[str, int], None], **options: Any
    ) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **options)
        self._max_bytes, self._on_oversized = max_bytes, on_oversized

    def _sock_recv(self, bufsize: int) -> bytes:
        """Receive bytes; paho requests the whole rest of a packet at once."""
        if bufsize <= self._max_bytes:
            return super()._sock_recv(bufsize)
        head = super()._sock_recv(HEAD_BYTES)
        if head:  # else the broker has disconnected
            self._on_oversized(_topic(self._in_packet["command"], head), bufsize)
        raise ConnectionError(f"a packet of {bufsize} bytes is longer than {self._max_bytes}")

    def _handle_publish(self) -> MQTTErrorCode:
        if self._in_packet["command"] & PUBLISH_QOS_2:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._handle_publish()


def _topic(command: int, head: bytes) -> str:
    """Return the topic at the beginning of a PUBLISH; a description of any other packet."""
    if command & 0xF0 != PUBLISH:
        return f"a packet of type {command >> 4}"
    length = int.from_bytes(head[:2], "big")
    return head[2 : 2 + length].decode("utf-8", "backslashreplace")


def build_client(
    config: Mqtt,
    client_id: str,
    max_bytes: int,
    on_oversized: Callable[[str, int], None],
    reconnects: bool,
) -> BoundedClient:
    """Build a client with the credentials and certificates of a broker's settings.

    Parameters
    ----------
    max_bytes, on_oversized :
        As for `BoundedClient`.
    reconnects :
        Whether paho reconnects by itself.

    Raises
    ------
    OSError, ValueError
        The password file or a certificate cannot be read.
    """
    client = BoundedClient(
        max_bytes,
        on_oversized,
        client_id=client_id,
        protocol=MQTTv5 if config.version == "5" else MQTTv311,
        reconnect_on_failure=reconnects,
    )
    if config.user:
        client.username_pw_set(config.user, read_password(config))
    if config.ca_file:
        cert, key = (str(f) if f else None for f in (config.cert_file, config.key_file))
        client.tls_set(str(config.ca_file), cert, key)
    return client


def read_password(config: Mqtt) -> str | None:
    """Read the first line of the password file; None if no file is configured."""
    if config.password_file is None:
        return None
    text = config.password_file.read_text("utf-8")
    return text.splitlines()[0] if text else ""
