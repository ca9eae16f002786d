"""Many stations at one broker and one database: all of them real processes on this machine.

    python -m tests.bench.bench_stations --stations 200 --days 30

Every station has its own process, journal, password and simulated detector; the broker has
deploy's access list, the database its schema and subscriber. Ends with 1 where a record is missing,
is there twice or differs from the journal, or where a station can write or read another's.
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
    """Broker, database, its subscriber, detectors, stations."""

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
    """Records that the database and the journals do not have alike."""
    query = """SELECT extract(epoch FROM ends)::float8 AS ends, theta FROM crns.observation
               WHERE station = %s ORDER BY ends"""
    wrong = []
    for name in world.names:
        rows = [(row["ends"], row["theta"]) for row in world.database.rows(query, name)]
        told = world.stations.told(name)
        if rows != told or len(told) != world.detectors.hours:
            wrong.append(f"{name}: {len(rows)} rows, {len(told)} in the journal")
    return wrong


def start(world, at_once, patience_s):
    """Switch the stations on; no more of them at once have something to deliver.

    Some seconds apart as in a field, for a reason of this machine: two cores are not 200 stations.
    """
    still = set()
    for name in world.names:
        until = time.monotonic() + patience_s
        while len(still) >= at_once:
            still = {one for one in still if not is_done(world, one)}
            if time.monotonic() > until or len(world.stations.alive()) < len(
                world.stations.processes
            ):
                sys.exit(f"{min(still)} does not come to an end:\n{world.stations.log(min(still))}")
            time.sleep(0.1)
        world.stations.start(name)
        still.add(name)
        yield name


def is_done(world, name):
    """Whether a station has told all and the broker has it."""
    return world.stations.counts(name) == (world.detectors.hours, 0)


def run(world, at_once, patience_s, tell):
    """Start all, wait until all is stored; what was measured."""
    wanted = len(world.names) * world.detectors.hours
    began = time.monotonic()
    for number, name in enumerate(start(world, at_once, patience_s), 1):
        if number % 10 == 0:
            tell(f"{name} started after {time.monotonic() - began:.0f} s")
    until = time.monotonic() + patience_s
    while not all(is_done(world, name) for name in world.names) or world.stored() < wanted:
        if time.monotonic() > until:
            sys.exit(f"{world.stored()} of {wanted}, no more came")
        time.sleep(0.5)
    stored = world.stored()
    seconds = time.monotonic() - began
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
    """Each station tries its neighbour; what it was let do."""
    taken, heard = [], []
    for thief, victim in zip(world.names, [*world.names[1:], world.names[0]], strict=True):
        of_victim = attack(world.broker.port, thief, victim)
        taken += of_victim[0]
        heard += of_victim[1]
    return {"foreign_messages_taken": len(taken), "foreign_messages_heard": len(heard)}


def judge(found, world):
    """Sentences of what is wrong; none where all is well."""
    wrong = differences(world)
    if found["stations_running_at_the_end"] != found["stations"]:
        wrong.append("stations ended")
    if found["listed_online"] != found["stations"]:
        wrong.append(f"{found['listed_online']} stations are listed as online")
    if found["foreign_messages_taken"] or found["foreign_messages_heard"]:
        wrong.append("a station wrote or read what is another's")
    refused = world.database.rows("SELECT count(*) AS n FROM crns.refused")[0]["n"]
    if refused:
        wrong.append(f"the database refused {refused} messages")
    return wrong


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stations", type=int, default=200)
    parser.add_argument("--days", type=float, default=30.0, help="of hourly records up to now")
    parser.add_argument("--report", type=Path, help="write what was measured as JSON")
    parser.add_argument("--stay", action="store_true", help="leave all running until Ctrl-C")
    at_once = "stations that start or have a backlog at the same time; all stay connected (8)"
    parser.add_argument("--at-once", type=int, default=8, help=at_once)
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    own = "folder for the stations' journals (/dev/shm): real ones share no disk; the database's is"
    parser.add_argument("--dir", type=Path, default=memory, help=f"{own} on the disk")
    parser.add_argument("--patience", type=float, default=600.0, help="s without an end")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="epithermal-stations-", dir=options.dir) as folder:
        world = World(Path(folder), options.stations, options.days)
        try:
            found = run(
                world, options.at_once, options.patience, lambda text: print(text, file=sys.stderr)
            )
            found |= trespass(world)
            wrong = judge(found, world)
            found |= {"differences_from_journals": len(wrong), "ended": utc(time.time() // 1)}
            print(json.dumps(found, indent=2), *wrong, sep="\n")
            if options.report:
                options.report.write_text(json.dumps(found, indent=2))
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
