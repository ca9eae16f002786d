"""Run a real broker and a real station on a simulated port, with its journal as the reference."""

from __future__ import annotations

import csv
import io
import sqlite3
import time

from tests.support.rig import MOSQUITTO, ROOT, Broker, Daemon, Line, edge, free_port, station_toml
from tests.support.sites import WATERED

from epithermal_edge.cli import simulator
from epithermal_edge.times import HOUR_S, utc

from .programs import first_line, starting

BUNDLE = ROOT / "models" / "rootzone-1.0.0"
SITE = f'name = "North field"\n{WATERED}'
SOURCE = 'dialect = "records"\nstamps = "unchecked"\n'


class Farm:
    """One station, `test-1`, whose records end at the present hour."""

    def __init__(self, folder, days=40, site=SITE):
        self.folder, self.site = folder, site
        self.web_port = free_port()
        rules = f"allow_anonymous true\nlistener {self.web_port} 127.0.0.1\nprotocol websockets\n"
        with starting("mosquitto", first_line(MOSQUITTO or "mosquitto", "-h")):
            self.broker = Broker(folder, rules)
        self.line, self.daemon = Line(), None
        start_s = (time.time() // HOUR_S - 24 * days - 1) * HOUR_S
        records = list(simulator.records(days + 1, 7, start_s))
        self._ends = [record.end_s for record in records]
        self._lines = list(simulator.lines("records", records))
        self._sent = 0
        self.count = 24 * days  # records up to the present hour
        self.toml = station_toml(
            folder, url=self.line.name, port=self.broker.port, site=site, bundle=BUNDLE,
            source=SOURCE, mqtt="backlog_per_s = 0\n",
        )  # fmt: skip

    def start(self):
        """Start the daemon and wait until it reads."""
        self.daemon = Daemon(
            self.toml
        )  # assigned first, so that `close` stops it even if it never gets ready
        self.daemon.ready()

    def send(self, until):
        """Send the logger's lines up to a record's number; the first line is the header."""
        for line in self._lines[self._sent : until + 1]:
            self.line.write(line)
        self._sent = max(self._sent, until + 1)

    def end(self, number):
        """Return the end of a record, formatted as in messages."""
        return utc(self._ends[number - 1])

    def journal(self):
        """Return the station's estimates by the end of each record, the reference of these tests.

        Numbers are those of the journal's table, q and flags those printed by `export`.
        """
        rows = csv.DictReader(io.StringIO(edge("export", self.toml).stdout))
        exported = {row["seq"]: row for row in rows}
        with sqlite3.connect(f"file:{self.folder}/state/journal.sqlite3?mode=ro", uri=True) as db:
            db.row_factory = sqlite3.Row
            numbers = db.execute("SELECT * FROM estimate").fetchall()
        return {
            exported[str(row["seq"])]["time_utc"]: exported[str(row["seq"])] | dict(row)
            for row in numbers
            if str(row["seq"]) in exported  # a record may arrive in between
        }

    def close(self):
        if self.daemon is not None and self.daemon.process.poll() is None:
            self.daemon.stop()
        self.broker.stop()
        self.line.close()
