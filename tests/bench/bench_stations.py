"""Run many stations with one broker and one database, all real processes on this machine.

    python -m tests.bench.bench_stations --stations 200 --days 30

Every station has its own process, journal, password and simulated detector. The broker uses the
access list of deploy/, the database the schema and the subscriber. Exit code 1: a record is
missing, stored twice or different from the journal, or a station can write or read topics of
another.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from tests.bench.many import (
    READER,
    Detectors,
    Stations,
    attack,
    make_broker,
    memory_mb,
    names,
    password,
    pss_mb,
)
from tests.dashboards.servers import DASHBOARDS, Postgres

from epithermal_edge.times import utc


class World:
    """Broker, database with its subscriber, detectors and stations."""

    def __init__(self, folder, count, days):
        self.names = names(count)
        self._closing = contextlib.ExitStack()
        self.database = Postgres()
        self._closing.callback(self.database.close)
        self.broker = make_broker(folder, self.names)
        self._closing.callback(self.broker.stop)
        self.detectors = Detectors(self.names, days)
        self._closing.callback(self.detectors.close)
        self.sink = self._start_sink(folder)
        self.stations = Stations(folder, self.names, self.detectors.ports, self.broker.port)
        self._closing.callback(self.stations.stop)

    def _start_sink(self, folder):
        (folder / "password").write_text(password(READER))
        with (folder / "sink.log").open("ab") as log:
            sink = subprocess.Popen(
                [sys.executable, DASHBOARDS / "postgresql" / "epithermal_postgres.py",
                 "--host", "127.0.0.1", "--port", str(self.broker.port), "--user", READER,
                 "--password-file", folder / "password", "--database", self.database.dsn],
                stderr=log,
            )  # fmt: skip
        self._closing.callback(sink.wait, 60)
        self._closing.callback(sink.terminate)
        while "connected" not in (folder / "sink.log").read_text():
            assert sink.poll() is None, (folder / "sink.log").read_text()
            time.sleep(0.1)
        return sink

    def stored(self):
        return self.database.rows("SELECT count(*) AS n FROM crns.observation")[0]["n"]

    def close(self):
        self._closing.close()


def differences(world):
    """Describe each station whose records in the database differ from its journal."""
    query = """SELECT extract(epoch FROM ends)::float8 AS ends, theta FROM crns.observation
               WHERE station = %s ORDER BY ends"""
    wrong = []
    for name in world.names:
        rows = [(row["ends"], row["theta"]) for row in world.database.rows(query, name)]
        journal = world.stations.estimates(name)
        if rows != journal or len(journal) != world.detectors.hours:
            wrong.append(f"{name}: {len(rows)} rows, {len(journal)} in the journal")
    return wrong


def start(world, at_once, patience_s):
    """Start the stations one by one; at most `at_once` have messages to deliver at a time.

    Two cores cannot start 200 stations at the same time.
    """
    still = set()
    for name in world.names:
        until = time.monotonic() + patience_s
        while len(still) >= at_once:
            still = {one for one in still if not is_done(world, one)}
            if time.monotonic() > until or len(world.stations.alive()) < len(
                world.stations.processes
            ):
                sys.exit(
                    f"{min(still)} did not deliver its records:\n{world.stations.log(min(still))}"
                )
            time.sleep(0.1)
        world.stations.start(name)
        still.add(name)
        yield name


def is_done(world, name):
    """Check whether a station has stored all records and the broker has all messages."""
    return world.stations.counts(name) == (world.detectors.hours, 0)


def run(world, at_once, patience_s, log):
    """Start all stations and wait until all records are stored; return the measurements."""
    wanted = len(world.names) * world.detectors.hours
    started = time.monotonic()
    for number, name in enumerate(start(world, at_once, patience_s), 1):
        if number % 10 == 0:
            log(f"{name} started after {time.monotonic() - started:.0f} s")
    until = time.monotonic() + patience_s
    while not all(is_done(world, name) for name in world.names) or world.stored() < wanted:
        if time.monotonic() > until:
            sys.exit(f"{world.stored()} of {wanted} records stored, no progress")
        time.sleep(0.5)
    stored = world.stored()
    seconds = time.monotonic() - started
    postgres = psutil.Process(world.database.pid)
    cluster = [postgres.pid, *(child.pid for child in postgres.children(recursive=True))]
    alive = world.stations.alive()
    return {
        "stations": len(world.names),
        "records": wanted,
        "stored": stored,
        "with_a_backlog_at_once": at_once,
        "wall_s": round(seconds, 1),
        "records_per_s": round(wanted / seconds, 1),
        "stations_running_at_the_end": len(alive),
        "listed_online": world.database.rows(
            "SELECT count(*) AS n FROM crns.latest WHERE state = 'online'"
        )[0]["n"],
        "broker_peak_mb": round(memory_mb(world.broker.pid), 1),
        "database_mb": round(pss_mb(cluster), 1),
        "database_on_disk_mb": round(
            world.database.rows("SELECT pg_total_relation_size('crns.observation') AS n")[0]["n"]
            / 1e6,
            1,
        ),
        "subscriber_peak_mb": round(memory_mb(world.sink.pid), 1),
        "stations_mb_in_all": round(
            pss_mb([world.stations.processes[name].pid for name in alive]), 1
        ),
    }


def trespass(world):
    """Check each station's access to the next one; count what the broker allowed."""
    accepted, heard = [], []
    for thief, victim in zip(world.names, [*world.names[1:], world.names[0]], strict=True):
        of_victim = attack(world.broker.port, thief, victim)
        accepted += of_victim[0]
        heard += of_victim[1]
    return {"foreign_messages_taken": len(accepted), "foreign_messages_heard": len(heard)}


def judge(result, world):
    """Describe each fault; return an empty list without faults."""
    wrong = differences(world)
    if result["stations_running_at_the_end"] != result["stations"]:
        wrong.append("stations stopped")
    if result["listed_online"] != result["stations"]:
        wrong.append(f"{result['listed_online']} stations are listed as online")
    if result["foreign_messages_taken"] or result["foreign_messages_heard"]:
        wrong.append("a station wrote or read topics of another station")
    refused = world.database.rows("SELECT count(*) AS n FROM crns.refused")[0]["n"]
    if refused:
        wrong.append(f"the database rejected {refused} messages")
    return wrong


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stations", type=int, default=200)
    parser.add_argument("--days", type=float, default=30.0, help="of hourly records up to now")
    parser.add_argument("--report", type=Path, help="write the results as JSON")
    parser.add_argument("--stay", action="store_true", help="leave all running until Ctrl-C")
    at_once = "stations that start or have a backlog at the same time; all stay connected (8)"
    parser.add_argument("--at-once", type=int, default=8, help=at_once)
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    own = "folder of the journals (/dev/shm): real stations share no disk; the database is always"
    parser.add_argument("--dir", type=Path, default=memory, help=f"{own} on the disk")
    parser.add_argument("--patience", type=float, default=600.0, help="longest wait [s]")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="epithermal-stations-", dir=options.dir) as folder:
        world = World(Path(folder), options.stations, options.days)
        try:
            result = run(
                world, options.at_once, options.patience, lambda text: print(text, file=sys.stderr)
            )
            result |= trespass(world)
            wrong = judge(result, world)
            result |= {"differences_from_journals": len(wrong), "ended": utc(time.time() // 1)}
            print(json.dumps(result, indent=2), *wrong, sep="\n")
            if options.report:
                options.report.write_text(json.dumps(result, indent=2))
            if options.stay:
                print(f"broker 127.0.0.1:{world.broker.port}, websockets :{world.broker.web_port},")
                print(f"user {READER}, password {password(READER)}; database {world.database.dsn}")
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
        finally:
            world.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
