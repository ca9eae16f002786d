#!/usr/bin/env python3
"""Store the stations' MQTT messages in PostgreSQL, each record once.

A message is acknowledged to the broker after the database has committed it; the broker queues
messages while this program or the database is not running. The schema detects duplicates.
"""

from __future__ import annotations

import argparse
import logging
import queue
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

NAMES = ("obs/theta", "status", "meta", "event/+")
BATCH = 500  # messages in one transaction at most
QUIET_S = 0.05  # a batch ends when no message arrived for this time
RECEIVE_MAX = 2 * BATCH  # unacknowledged messages that the broker may send
SESSION_S = 30 * 86400  # time for which the broker queues messages
RETRY_S, RETRY_MAX_S = 1.0, 30.0  # first and longest delay before another attempt
TAKE = "SELECT crns.take(%s, %s, %s)"

log = logging.getLogger("epithermal_postgres")


@dataclass(frozen=True, slots=True)
class Received:
    """A message with its connection: its packet id is valid only there."""

    connection: int
    message: MQTTMessage


class Inbox:
    """Persistent session at the broker with manual acknowledgement."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.received: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self.connection = 0
        self._prefix = options.prefix
        self._client = Client(
            CallbackAPIVersion.VERSION2, options.client_id, protocol=MQTTv5, manual_ack=True
        )
        if options.user:
            self._client.username_pw_set(options.user, options.password)
        if options.ca_file:
            self._client.tls_set(str(options.ca_file))
        self._client.reconnect_delay_set(1, 30)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = SESSION_S
        session.ReceiveMaximum = RECEIVE_MAX
        self._client.connect_async(
            options.host, options.port, clean_start=False, properties=session
        )
        self._client.loop_start()

    def _on_connect(
        self, client: Client, _data: Any, flags: ConnectFlags, why: ReasonCode, _more: Any
    ) -> None:
        if why.is_failure:
            log.error("connection rejected by the broker: %s", why)
            return
        log.info("connected, %s session", "resumed" if flags.session_present else "new")
        client.subscribe([(f"{self._prefix}/+/{name}", 1) for name in NAMES])

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: Any, why: ReasonCode, _more: Any
    ) -> None:
        self.connection += 1
        log.warning("connection lost: %s", why)

    @staticmethod
    def _on_subscribe(
        _client: Client, _data: Any, _mid: int, why: list[ReasonCode], _more: Any
    ) -> None:
        if any(reason.is_failure for reason in why):
            log.error("subscription rejected by the broker: %s", ", ".join(map(str, why)))

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.received.put(Received(self.connection, message))

    def batch(self) -> list[Received]:
        """Return the messages that arrive together; empty after a second without any."""
        batch: list[Received] = []
        try:
            while len(batch) < BATCH:
                batch.append(self.received.get(timeout=QUIET_S if batch else 1.0))
        except queue.Empty:
            pass
        return batch

    def row(self, message: MQTTMessage) -> tuple[str, str, str]:
        """Return station, rest of the topic, and payload as text without NUL."""
        station, _, name = message.topic.removeprefix(f"{self._prefix}/").partition("/")
        return station, name, message.payload.decode(errors="replace").replace("\0", "\ufffd")

    def acknowledge(self, messages: list[Received]) -> None:
        """Acknowledge messages, except those of a lost connection, which arrive again."""
        for one in messages:
            if one.connection == self.connection and one.message.qos:
                self._client.ack(one.message.mid, one.message.qos)

    def close(self) -> None:
        """Disconnect; the broker keeps the session."""
        self._client.disconnect()
        self._client.loop_stop()


def store(database: psycopg.Connection[Any], rows: list[tuple[str, str, str]]) -> Counter[str]:
    """Store rows in one transaction; count new, revised, known, ignored, refused ones."""
    with database.transaction(), database.cursor() as cursor:
        cursor.executemany(TAKE, rows, returning=True)
        answers: Counter[str] = Counter()
        while True:
            answers.update(answer for (answer,) in cursor)
            if not cursor.nextset():
                return answers


class Sink:
    """Store messages of the inbox in the database until `stop`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._dsn = options.database
        self._inbox = Inbox(options)
        self._database: psycopg.Connection[Any] | None = None
        self._is_stopping = False
        self.counts: Counter[str] = Counter()

    def stop(self, *_: object) -> None:
        """Request the end; for a signal handler."""
        self._is_stopping = True

    def run(self) -> None:
        """Store batch after batch; what cannot be stored yet is retried, not acknowledged."""
        while not self._is_stopping:
            messages = self._inbox.batch()
            if messages and self._store([self._inbox.row(one.message) for one in messages]):
                self._inbox.acknowledge(messages)
        self._inbox.close()
        if self._database:
            self._database.close()

    def _store(self, rows: list[tuple[str, str, str]]) -> bool:
        pause_s = RETRY_S
        while not self._is_stopping:
            try:
                if self._database is None:
                    self._database = psycopg.connect(self._dsn, autocommit=True)
                    log.info("database opened")
                answers = store(self._database, rows)
            except psycopg.OperationalError as error:
                log.error("database: %s; retry in %.0f s", str(error).strip(), pause_s)
                if self._database:
                    self._database.close()
                self._database = None
                time.sleep(pause_s)
                pause_s = min(2.0 * pause_s, RETRY_MAX_S)
                continue
            if answers["refused"]:
                log.warning("%d messages rejected; see crns.refused", answers["refused"])
            self.counts += answers
            return True
        return False


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    p = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    p.add_argument("--host", required=True, help="name or address of the broker")
    p.add_argument(
        "--port", type=int, default=1883, help="port of the broker (1883); 8884 with TLS"
    )
    p.add_argument("--user", help="user name at the broker")
    p.add_argument("--password-file", type=Path, help="the first line is the password")
    p.add_argument("--ca-file", type=Path, help="CA certificate; enables TLS")
    p.add_argument("--prefix", default="crns/v1", help="first levels of every topic (crns/v1)")
    name = "epithermal-postgres"
    p.add_argument("--client-id", default=name, help=f"client id at the broker ({name})")
    dsn = "libpq connection string (dbname=crns); or set PGHOST, PGUSER, ..."
    p.add_argument("--database", default="dbname=crns", metavar="DSN", help=dsn)
    return p


def main() -> int:
    """Run until SIGTERM; return 2 if an option is wrong, 1 if the schema is missing."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    options = parser().parse_args()
    try:
        file = options.password_file
        options.password = file.read_text().splitlines()[0] if file else None
        sink = Sink(options)
    except (OSError, IndexError) as error:
        print(f"{error}; check --password-file and --ca-file", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, sink.stop)
    signal.signal(signal.SIGINT, sink.stop)
    try:
        sink.run()
    except psycopg.ProgrammingError as error:
        print(f"database: {error}; run schema.sql in it, and grant usage", file=sys.stderr)
        return 1
    log.info("%s", " ".join(f"{name}={count}" for name, count in sorted(sink.counts.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
