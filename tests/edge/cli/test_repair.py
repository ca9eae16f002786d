"""`repair` on a stopped station: records that end in the future are set aside, or restored."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sqlite3

import pytest
from tests.support.rig import START_S, edge, station_toml

from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.cli import simulator
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference import engine as engines
from epithermal_edge.journal.journal import FILE
from epithermal_edge.journal.sqlite import lock_folder
from epithermal_edge.records import RawRecord
from epithermal_edge.rollout.loading import load_engine
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.intake import Intake
from epithermal_edge.station.reader import Read
from epithermal_edge.times import HOUR_S, utc

RECORDS = list(simulator.records(2.0, 1, START_S))
AHEAD = [RawRecord(r.end_s + 7e8, r.duration_s, r.counts) for r in RECORDS[20:23]]


def hear(toml, records):
    """Let a station with `stamps = "unchecked"` process records; return its newest outcomes."""
    config = read_config(toml)
    intake = Intake(config, load_engine(config), Clock(), AncillaryData(config), lambda: None)
    journal, _ = intake.open()
    while intake.is_behind:
        intake.catch_up(0.0)
    for record in records:
        intake.add(Read(record, 0.0))
        while intake.waiting():
            intake.process_next([])
    intake.post_notes()
    sent = [json.loads(o.message.payload) for o in journal.next_outgoing(0, 1000, newest=False)]
    state, counts = intake.state, intake.counts
    intake.close()
    return [p for p in sent if "theta" in p], sent, state, counts


@pytest.fixture
def toml(tmp_path):
    source = 'dialect = "records"\nstamps = "unchecked"\n'
    return station_toml(tmp_path, url="loop://", source=source)


def test_repair_sets_aside_what_ends_after_a_time_and_restore_undoes_it(toml):
    hear(toml, [*RECORDS[:20], *AHEAD])
    exported = edge("export", toml).stdout
    done = edge("repair", toml, "--after", utc(RECORDS[19].end_s))
    assert done.returncode == 0 and done.stdout.startswith("3 records that end after 2026-01-01T20")
    aside = list(csv.DictReader(io.StringIO(edge("export", toml, "--set-aside").stdout)))
    assert [float(row["counts"]) for row in aside] == [r.counts for r in AHEAD]
    assert all(row["model"] == "bucket 0.1.0" for row in aside)  # with the published estimates
    assert edge("repair", toml, "--restore").stdout.startswith("3 records were restored")
    assert edge("export", toml).stdout == exported
    _, _, state, _ = hear(toml, [])
    assert state.pipeline.last_end_s == AHEAD[-1].end_s


def test_the_next_start_goes_on_as_if_the_records_had_never_been_there(toml):
    hear(toml, [*RECORDS[:20], *AHEAD])
    assert edge("repair", toml, "--after", utc(RECORDS[19].end_s)).returncode == 0
    thetas, sent, state, counts = hear(toml, RECORDS[20:40])
    expected = engines.rebuild(load_engine(read_config(toml)), RECORDS[:40])
    assert counts.late == 0 and state.pipeline.last_end_s == expected.pipeline.last_end_s
    assert all(
        (a == b).all() for a, b in zip(state.network.tensors, expected.network.tensors, strict=True)
    )
    assert [p["id"].split(":")[2] for p in thetas][-20:] == [str(n) for n in range(24, 44)]
    assert "3 records" in next(p["text"] for p in sent if p.get("kind") == "clock_step")
    path = toml.parent / "state" / FILE
    with contextlib.closing(sqlite3.connect(path)) as db:
        (stored,) = db.execute("SELECT value FROM about WHERE key = 'clock state'").fetchone()
    assert json.loads(stored)["last_end_s"] == RECORDS[39].end_s


def test_repair_refuses_a_station_that_runs(toml):
    hear(toml, RECORDS[:5])
    lock = lock_folder(toml.parent / "state")
    done = edge("repair", toml, "--after", utc(START_S))
    os.close(lock)
    assert done.returncode == 1 and "in use by another process; stop it" in done.stderr
    assert edge("repair", toml, "--after", utc(START_S + 9 * HOUR_S)).stdout.startswith("no record")
