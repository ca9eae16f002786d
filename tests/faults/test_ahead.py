"""Stamps far ahead of the true time: the station goes on once UTC is known, and nothing is lost.

The station runs in a process of its own, with clocks that the test sets in a file, so that it can
be killed at any moment and started again.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sqlite3
import sys
from dataclasses import replace

import pytest
from tests.support.reference import published, reference
from tests.support.rig import (
    ROOT,
    START_S,
    Broker,
    Line,
    Subscriber,
    begin,
    edge,
    lines,
    station_toml,
    validate_by_topic,
    wait_until,
)

from epithermal_edge.loggers import parser
from epithermal_edge.station.status import read_status
from epithermal_edge.times import DAY_S, HOUR_S, utc

HEADER, *LINES = lines(1.0)
S_2036, S_2099 = 2_085_978_496.0, 4_070_908_800.0
PROCESS = """
import json, signal, sys
from pathlib import Path
from epithermal_edge.cli import logs
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.daemon import Station
times = Path(sys.argv[2])
logs.to_stderr(sys.stderr, False)
def read(name):
    return lambda: json.loads(times.read_text())[name]
clock = Clock(wall=read("wall"), boottime=read("boottime"), synchronised=read("synchronised"),
              boot_id=read("boot_id"))
station = Station(read_config(Path(sys.argv[1])), clock=clock)
signal.signal(signal.SIGTERM, lambda *_: station.stop())
station.run()
"""


def record_of(text):
    context, _ = parser.parse(parser.start("records"), HEADER[:-1])
    return parser.parse(context, text.rstrip(b"\n"))[1]


def at(text, end_s):
    """Return a line of the logger with another time stamp."""
    return parser.format_record(replace(record_of(text), end_s=end_s))


class World:
    """A station with a broker, a logger and clocks that the test sets."""

    def __init__(self, folder):
        self.folder, self.times = folder, folder / "times.json"
        self.broker, self.line = Broker(folder), Line()
        self.ears = Subscriber(self.broker.port)
        self.process, self.boot, self.booted_h = None, 1, -1.0
        self.hour, self.synchronised = 0.0, False
        self.set_clock(0.0, synchronised=False)
        self.configure()

    def configure(self, stamps="logger"):
        source = f'dialect = "records"\nstamps = "{stamps}"\n'
        url, port = self.line.name, self.broker.port
        self.toml = station_toml(self.folder, url=url, port=port, source=source)

    def set_clock(self, hour, synchronised=None):
        """Set the true time [h since START_S]; without synchronisation the wall clock is behind."""
        self.hour = hour
        if synchronised is not None:
            self.synchronised = synchronised
        true_s = START_S + hour * HOUR_S
        times = {
            "wall": true_s if self.synchronised else true_s - 400 * DAY_S,
            "boottime": (hour - self.booted_h) * HOUR_S,
            "synchronised": self.synchronised,
            "boot_id": f"boot {self.boot}",
        }
        new = self.times.with_suffix(".new")
        new.write_text(json.dumps(times))
        os.replace(new, self.times)

    def log(self):
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def begin(self):
        opened = self.log().count(" is open")
        call = [sys.executable, "-c", PROCESS, str(self.toml), str(self.times)]
        with (self.folder / "log").open("ab") as errors:
            self.process = begin(call, stderr=errors, cwd=ROOT)
        wait_until(lambda: self.log().count(" is open") > opened, "the port")
        self.line.write(HEADER)
        wait_until(lambda: self.health("pid", None) == self.process.pid, "health")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.kill()
        self.begin()

    def close(self):
        if self.process is not None:
            self.kill()
        self.ears.close()
        self.line.close()
        self.broker.stop()

    def health(self, part, key):
        path = self.folder / "state" / "health.json"
        if not path.exists():
            return None
        health = json.loads(path.read_text())
        return health[part] if key is None else health[part][key]

    def send(self, text):
        self.line.write(text)

    def send_hours(self, begin, end, ahead_s=0.0):
        """Play the hours of the logger; its stamps are ahead of the true time."""
        for hour in range(begin, end):
            before = self.received()
            self.set_clock(float(hour))
            self.send(at(LINES[hour - 1], START_S + hour * HOUR_S + ahead_s))
            wait_until(lambda before=before: self.received() > before, "a record")

    def received(self):
        """Return the number of records that the station has stored or holds, over its lives."""
        stored, held, _ = self.count()
        return stored + held

    def count(self):
        """Return the numbers of records: ever stored, held, set aside."""
        path = self.folder / "state" / "journal.sqlite3"
        last = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'record'), 0)"
        held = "(SELECT count(*) FROM about WHERE key LIKE 'clock held %')"
        sql = f"SELECT {last}, {held}, (SELECT count(*) FROM set_aside)"
        with contextlib.closing(sqlite3.connect(path, timeout=5.0)) as db:
            return db.execute(sql).fetchone()

    def newest(self):
        """Return the newest revision of each interval, as a database keeps them."""
        by_end = {}
        for p in self.ears.theta_once() + self.ears.of("obs/theta"):
            if p["end"] not in by_end or p["rev"] > by_end[p["end"]]["rev"]:
                by_end[p["end"]] = p
        return [by_end[end] for end in sorted(by_end)]


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


def in_2026(payloads):
    return [p for p in payloads if p["end"].startswith("2026")]


@pytest.mark.parametrize("kills", ["never", "before UTC is known", "at once after it"])
@pytest.mark.parametrize("wrong_s", [S_2036, S_2099], ids=["2036", "2099"])
def test_two_lines_of_a_wrong_century_do_not_make_the_station_deaf(world, wrong_s, kills):
    world.begin()
    world.send_hours(1, 6)
    world.send(at(LINES[0], wrong_s) + at(LINES[1], wrong_s + 60.0))  # a burst
    wait_until(lambda: world.received() == 7)
    world.send_hours(6, 12)  # right records, after a stamp that is far ahead
    if kills == "before UTC is known":
        world.restart()
    world.set_clock(11.5, synchronised=True)
    if kills == "at once after it":
        wait_until(lambda: world.count()[2] > 0, "set aside")
        world.restart()
    right = [utc(START_S + hour * HOUR_S) for hour in range(1, 12)]
    wait_until(lambda: [p["end"] for p in in_2026(world.newest())] == right)
    world.send_hours(12, 25)
    wait_until(lambda: len(in_2026(world.newest())) == 24)
    got = in_2026(world.newest())
    assert published(got) == reference(world.toml, [HEADER, *LINES])
    assert not any("late" in p["flags"] for p in got)
    assert {p["time_q"] for p in got[5:11]} == {"back_stamped"}
    assert {p["time_q"] for p in got[11:]} == {"logger"}
    (event,) = (e for e in world.ears.of("event/clock_step") if "set aside" in e["text"])
    ahead = [p["id"] for p in world.ears.theta_once() if not p["end"].startswith("2026")]
    assert ahead[0] in event["text"] and ahead[-1] in event["text"]
    validate_by_topic(world.ears.messages)
    wait_until(lambda: world.health("clock", "ahead_s") is None)
    assert world.count()[2] == len(ahead)
    out = world.folder / "aside.csv"
    assert edge("export", world.toml, "--set-aside", "--csv", out).returncode == 0
    with out.open() as table:
        counts = [float(row["counts"]) for row in csv.DictReader(table)]
    burst = [record_of(text).counts for text in LINES[:2]]
    assert counts[:2] == burst and len(counts) == len(ahead)  # nothing is lost


def test_a_logger_a_month_ahead_at_the_first_boot_costs_no_month(world):
    world.begin()
    world.send_hours(1, 7, ahead_s=30 * DAY_S)
    world.set_clock(6.5, synchronised=True)
    wait_until(lambda: world.count()[2] == 6, "set aside")
    world.send_hours(7, 25, ahead_s=30 * DAY_S)
    ends = [utc(START_S + hour * HOUR_S) for hour in range(7, 25)]
    wait_until(lambda: [p["end"] for p in world.newest() if p["end"] < "2026-01-20"] == ends)
    got = [p for p in world.newest() if p["end"] in ends]
    assert {p["time_q"] for p in got} == {"synced"}
    assert published(got) == reference(world.toml, [HEADER, *LINES[6:]])


def test_a_journal_that_has_been_deaf_for_long_is_healed_by_the_next_start(world):
    world.configure("unchecked")
    world.begin()
    world.send_hours(1, 4)
    world.send(at(LINES[0], S_2099))
    wait_until(lambda: world.received() == 4)
    world.send_hours(4, 20)
    wait_until(lambda: len(world.newest()) == 20)
    assert sum("late" in p["flags"] for p in world.newest()) == 16
    world.kill()
    world.configure("logger")
    world.set_clock(19.5, synchronised=True)
    world.begin()
    wait_until(lambda: sum(p["rev"] == 1 for p in world.newest()) == 16)
    world.send_hours(20, 25)
    wait_until(lambda: len(in_2026(world.newest())) == 24)
    assert published(in_2026(world.newest())) == reference(world.toml, [HEADER, *LINES])
    validate_by_topic(world.ears.messages)


def test_stamps_that_a_synchronised_clock_has_confirmed_are_never_set_aside(world):
    """Start with a time server that is ten days behind, after a day with a right one."""
    world.set_clock(0.0, synchronised=True)
    world.begin()
    world.send_hours(1, 13)
    wait_until(lambda: len(world.newest()) == 12)
    world.kill()
    world.boot, world.booted_h = 2, 12.1
    times = {"wall": START_S - 10 * DAY_S, "boottime": 60.0, "synchronised": True}
    world.times.write_text(json.dumps({**times, "boot_id": "boot 2"}))
    world.begin()
    wait_until(lambda: world.health("clock", "ahead_s"))
    status = read_status(world.toml, START_S - 10 * DAY_S)
    (trouble,) = (t for t in status.troubles if t.what == "clock")
    assert status.state == "degraded" and "h after the present time" in trouble.why
    assert world.count()[2] == 0
