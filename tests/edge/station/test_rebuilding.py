"""A station reads its port while its state is rebuilt; the estimates follow, bit for bit."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import subprocess
import sys

import pytest
from tests.support.reference import published, reference
from tests.support.rig import (
    ROOT,
    Broker,
    Daemon,
    Line,
    Subscriber,
    station_toml,
    validate_by_topic,
    wait_until,
)

from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.cli import simulator
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference import engine as engines
from epithermal_edge.journal import pruning
from epithermal_edge.journal.journal import FILE, Journal
from epithermal_edge.journal.rows import record_columns, record_row
from epithermal_edge.journal.unestimated import PREFIX
from epithermal_edge.rollout.loading import load_engine
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.intake import Intake
from epithermal_edge.station.reader import Read
from epithermal_edge.station.status import read_status

MODEL = ROOT / "models" / "rootzone-1.0.0"
OLD, NEW = 12_000, 24  # a rebuild of seconds
START_S = 1_767_225_600.0
RECORDS = list(simulator.records(60 / 24.0, 1, START_S))  # the first of the same history


def store_without_state(folder, records):
    """Store records as a journal whose state was lost."""
    Journal(folder).close()
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db, db:
        rows = [record_row(seq, record) for seq, record in enumerate(records, 1)]
        marks = ", ".join("?" * len(rows[0]))
        db.executemany(f"INSERT INTO record ({record_columns()}) VALUES ({marks})", rows)


def rebuilding(toml):
    """Return what `status` reports of the rebuild; health.json may be that of a killed process."""
    return "".join(t.why for t in read_status(toml, START_S).troubles if t.what == "engine")


def query(folder, sql):
    with contextlib.closing(sqlite3.connect(folder / FILE, timeout=5.0)) as db:
        return db.execute(sql).fetchone()[0]


def stored(folder):
    return query(folder, "SELECT count(*) FROM record")


def unestimated(folder):
    return query(folder, f"SELECT count(*) FROM about WHERE key LIKE '{PREFIX}%'")


@pytest.fixture
def surroundings(tmp_path):
    broker, line = Broker(tmp_path), Line()
    ears = Subscriber(broker.port)
    daemons = []
    yield broker, line, ears, daemons
    for daemon in daemons:
        if daemon.process.poll() is None:
            daemon.kill()
    ears.close()
    line.close()
    broker.stop()


def test_what_the_logger_sends_during_a_rebuild_is_stored_over_kills_and_estimated_in_order(
    tmp_path, surroundings
):
    broker, line, ears, daemons = surroundings
    state = tmp_path / "state"
    records = list(simulator.records((OLD + NEW) / 24.0, 1, START_S))
    header, *sent = simulator.lines("records", records)
    store_without_state(state, records[:OLD])
    toml = station_toml(tmp_path, url=line.name, port=broker.port, bundle=MODEL)
    for begin in range(0, NEW, 8):
        daemons.append(Daemon(toml))
        daemons[-1].ready()
        line.write(header + b"".join(sent[OLD + begin : OLD + begin + 8]))
        wait_until(lambda begin=begin: stored(state) == OLD + begin + 8)
        assert unestimated(state) == begin + 8  # no estimate yet: the history comes first
        daemons[-1].kill()
    daemons.append(Daemon(toml))
    wait_until(lambda: f"of {OLD + NEW} records" in rebuilding(toml))
    assert rebuilding(toml).startswith("rebuilding the state: ")
    wait_until(lambda: len(ears.theta_once()) == NEW)
    wait_until(lambda: json.loads((state / "health.json").read_text())["engine"]["theta"])
    assert daemons[-1].stop() == 0
    messages = ears.of("obs/theta")
    assert published(messages) == reference(toml, [header, *sent])[OLD:]
    assert [int(m["id"].split(":")[2]) for m in messages] == list(range(OLD + 1, OLD + NEW + 1))
    assert len(ears.of("event/state_rebuilt")) == 1
    validate_by_topic(ears.messages)
    assert unestimated(state) == 0


def open_intake(folder, engine):
    config = read_config(folder / "station.toml")
    intake = Intake(config, engine, Clock(), AncillaryData(config), lambda: None)
    journal, _ = intake.open()
    return intake, journal


def hear(intake, records):
    for record in records:
        intake.add(Read(record, 0.0))
        while intake.waiting():
            intake.process_next([])


def payloads(journal):
    sent = journal.next_outgoing(0, 100_000, newest=False)
    bodies = [json.loads(o.message.payload) for o in sent]
    return [body for body in bodies if "theta" in body]


@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_a_stop_between_two_late_estimates_neither_repeats_nor_skips_one(tmp_path, stop):
    (tmp_path / "station").mkdir()
    (tmp_path / "whole").mkdir()
    for folder in (tmp_path / "station", tmp_path / "whole"):
        station_toml(folder, url="loop://")
    engine = load_engine(read_config(tmp_path / "station" / "station.toml"))
    whole, of_whole = open_intake(tmp_path / "whole", engine)
    hear(whole, RECORDS[:55])
    store_without_state(tmp_path / "station" / "state", RECORDS[:50])
    intake, journal = open_intake(tmp_path / "station", engine)
    hear(intake, RECORDS[50:55])
    assert intake.is_behind and intake.counts.records == 5 and payloads(journal) == []
    for _ in range(50 + stop):
        intake.catch_up(-math.inf)
    assert len(payloads(journal)) == stop
    intake.close()  # the state is that of a record before the last
    intake, journal = open_intake(tmp_path / "station", engine)
    hear(intake, [RECORDS[54]])  # sent again
    assert intake.counts.duplicates == 1
    intake.catch_up(math.inf)
    assert not intake.is_behind
    numbers = [{**p, "id": p["id"].rpartition(":")[2]} for p in payloads(journal)]
    expected = [{**p, "id": p["id"].rpartition(":")[2]} for p in payloads(of_whole)[50:]]
    assert numbers == expected
    state = engines.rebuild(engine, RECORDS[:55])
    assert intake.state.pipeline.last_end_s == state.pipeline.last_end_s
    assert all(
        (a == b).all()
        for a, b in zip(intake.state.network.tensors, state.network.tensors, strict=True)
    )


def test_a_record_whose_estimate_waits_is_never_pruned(tmp_path):
    station_toml(tmp_path, url="loop://")
    engine = load_engine(read_config(tmp_path / "station.toml"))
    store_without_state(tmp_path / "state", RECORDS[:20])
    intake, journal = open_intake(tmp_path, engine)
    hear(intake, RECORDS[20:30])
    while pruning.drop_oldest(journal._db, journal._metadata, "record"):
        pass
    assert [r.end_s for r in journal.records()] == [r.end_s for r in RECORDS[20:30]]
    intake.catch_up(math.inf)
    assert len(payloads(journal)) == 10


def test_memory_stays_bounded_while_a_large_journal_is_rebuilt(tmp_path):
    """Read 10,000 records with less than 30 MB above a start with 400."""
    station_toml(tmp_path, url="loop://")
    records = list(simulator.records(10_000 / 1440.0, 1, START_S, 60.0))
    code = (
        "import sys, resource\n"
        "from epithermal_edge.journal.journal import Journal\n"
        "from epithermal_edge.station.catch_up import CatchUp\n"
        "from pathlib import Path\n"
        "ahead = CatchUp(Journal(Path(sys.argv[1])), 0)\n"
        "while (entry := ahead.peek()) is not None:\n"
        "    ahead.take(entry[0])\n"
        "assert ahead.progress()['done'] == int(sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for count in (400, 10_000):
        folder = tmp_path / str(count)
        store_without_state(folder, records[:count])
        call = [sys.executable, "-c", code, str(folder), str(count)]
        peaks.append(int(subprocess.run(call, capture_output=True, check=True, text=True).stdout))
    assert peaks[1] - peaks[0] < 30_000
