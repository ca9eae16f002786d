#!/usr/bin/env python3
"""Stores what stations say over MQTT in PostgreSQL, each record once.

A message is acknowledged to the broker after the database has committed it, and the broker keeps
what comes while this program or the database is away. What comes twice, the schema knows.
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
QUIET_S = 0.05  # a batch ends when nothing came for so long
RECEIVE_MAX = 2 * BATCH  # messages that the broker may send ahead of their acknowledgement
KEPT_S = 30 * 86400  # how long the broker keeps messages while we are away
RETRY_S, RETRY_MAX_S = 1.0, 30.0  # before a database that refused is asked again
TAKE = "SELECT crns.take(%s, %s, %s)"

log = logging.getLogger("epithermal_postgres")


@dataclass(frozen=True, slots=True)
class Heard:
    """A message, and which connection it came over: its number is void on another."""

    connection: int
    message: MQTTMessage


class Inbox:
    """The broker's side: a session that outlives this program, acknowledged by hand."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
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
        self._client.on_connect = self._entered
        self._client.on_disconnect = self._left
        self._client.on_message = self._take
        self._client.on_subscribe = self._granted
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = KEPT_S
        session.ReceiveMaximum = RECEIVE_MAX
        self._client.connect_async(
            options.host, options.port, clean_start=False, properties=session
        )
        self._client.loop_start()

    def _entered(
        self, client: Client, _data: Any, flags: ConnectFlags, why: ReasonCode, _more: Any
    ) -> None:
        if why.is_failure:
            log.error("the broker does not let us in: %s", why)
            return
        log.info("connected, %s session", "the same" if flags.session_present else "a new")
        client.subscribe([(f"{self._prefix}/+/{name}", 1) for name in NAMES])

    def _left(self, _client: Client, _data: Any, _flags: Any, why: ReasonCode, _more: Any) -> None:
        self.connection += 1
        log.warning("the connection ended: %s", why)

    @staticmethod
    def _granted(_client: Client, _data: Any, _mid: int, why: list[ReasonCode], _more: Any) -> None:
        if any(reason.is_failure for reason in why):
            log.error("the broker does not let us read: %s", ", ".join(map(str, why)))

    def _take(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.heard.put(Heard(self.connection, message))

    def batch(self) -> list[Heard]:
        """What came together; nothing when nothing came for a second."""
        found: list[Heard] = []
        try:
            while len(found) < BATCH:
                found.append(self.heard.get(timeout=QUIET_S if found else 1.0))
        except queue.Empty:
            pass
        return found

    def row(self, message: MQTTMessage) -> tuple[str, str, str]:
        """Station, rest of the topic, payload as text that PostgreSQL takes."""
        station, _, name = message.topic.removeprefix(f"{self._prefix}/").partition("/")
        return station, name, message.payload.decode(errors="replace").replace("\0", "\ufffd")

    def acknowledge(self, heard: list[Heard]) -> None:
        """The broker may forget these; not those of a connection that is gone: they come again."""
        for one in heard:
            if one.connection == self.connection and one.message.qos:
                self._client.ack(one.message.mid, one.message.qos)

    def close(self) -> None:
        """Leave; the broker keeps the session."""
        self._client.disconnect()
        self._client.loop_stop()


def store(database: psycopg.Connection[Any], rows: list[tuple[str, str, str]]) -> Counter[str]:
    """One transaction; how many were new, revised, known, ignored, refused."""
    with database.transaction(), database.cursor() as cursor:
        cursor.executemany(TAKE, rows, returning=True)
        answers: Counter[str] = Counter()
        while True:
            answers.update(answer for (answer,) in cursor)
            if not cursor.nextset():
                return answers


class Sink:
    """From the inbox to the database until `stop`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._dsn = options.database
        self._inbox = Inbox(options)
        self._database: psycopg.Connection[Any] | None = None
        self._is_stopping = False
        self.counts: Counter[str] = Counter()

    def stop(self, *_: object) -> None:
        """Ask for the end; for a signal handler."""
        self._is_stopping = True

    def run(self) -> None:
        """Batch after batch; what cannot be stored yet is tried again and not acknowledged."""
        while not self._is_stopping:
            heard = self._inbox.batch()
            if heard and self._keep([self._inbox.row(one.message) for one in heard]):
                self._inbox.acknowledge(heard)
        self._inbox.close()
        if self._database:
            self._database.close()

    def _keep(self, rows: list[tuple[str, str, str]]) -> bool:
        pause_s = RETRY_S
        while not self._is_stopping:
            try:
                if self._database is None:
                    self._database = psycopg.connect(self._dsn, autocommit=True)
                    log.info("database is there")
                answers = store(self._database, rows)
            except psycopg.OperationalError as error:
                log.error("database: %s; again in %.0f s", str(error).strip(), pause_s)
                if self._database:
                    self._database.close()
                self._database = None
                time.sleep(pause_s)
                pause_s = min(2.0 * pause_s, RETRY_MAX_S)
                continue
            if answers["refused"]:
                log.warning("%d messages refused; see crns.refused", answers["refused"])
            self.counts += answers
            return True
        return False


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    p.add_argument("--host", required=True, help="the broker's name or address")
    p.add_argument("--port", type=int, default=1883, help="its port (1883); 8884 with TLS")
    p.add_argument("--user", help="name at the broker")
    p.add_argument("--password-file", type=Path, help="its first line is the password")
    p.add_argument("--ca-file", type=Path, help="certificate of the authority; switches TLS on")
    p.add_argument("--prefix", default="crns/v1", help="first levels of every topic (crns/v1)")
    name = "epithermal-postgres"
    p.add_argument("--client-id", default=name, help=f"of the session at the broker ({name})")
    dsn = "as libpq takes it (dbname=crns); or set PGHOST, PGUSER, ..."
    p.add_argument("--database", default="dbname=crns", metavar="DSN", help=dsn)
    return p


def main() -> int:
    """Run until SIGTERM; 2 where an option is wrong, 1 where the schema is not there."""
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
