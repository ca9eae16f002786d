"""Extra channels in the journal: stored beside the record, and never at its cost."""

from __future__ import annotations

import csv
import io
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import islice

import pytest
from tests.edge.journal.test_journal import commit
from tests.support.rig import BUNDLE, START_S, edge, station_toml

from epithermal_edge.cli import simulator
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.inference.snapshot import to_parts
from epithermal_edge.journal import history
from epithermal_edge.journal.checksum import CHANNELS as CHANNEL_COLUMNS
from epithermal_edge.journal.journal import FILE, Journal
from epithermal_edge.journal.rows import estimate_row, record_row
from epithermal_edge.loggers.files import read_records
from epithermal_edge.records import NUMBERS

CHANNELS = {"muon_counts": 7805.0, "tube_2_counts": 431.0, "housing_temperature_c": -10.25}


@pytest.fixture(scope="module")
def engine():
    bundle = open_bundle(BUNDLE)
    return Engine(simulator.SITE, bundle, runtime.load(bundle))


@pytest.fixture(scope="module")
def plain():
    return list(islice(simulator.records(4.0, 3, START_S), 60))


@pytest.fixture(scope="module")
def records(plain):
    """Sixty records, of which every second has extra channels and a battery voltage."""
    return [
        replace(r, channels=CHANNELS, battery_v=12.5) if k % 2 else r for k, r in enumerate(plain)
    ]


def stored_channels(folder):
    journal = Journal(folder)
    found = [dict(record.channels) for record in journal.records()]
    journal.close()
    return found


def stored_by_an_older_version(folder, engine, records):
    """Store records in a journal without the columns of the channels, as version 0.1.0 has them."""
    journal = Journal(folder)
    state = commit(journal, engine, records)
    journal.close()
    with sqlite3.connect(folder / FILE) as db:
        db.execute("ALTER TABLE record DROP COLUMN channels")
        db.execute("ALTER TABLE record DROP COLUMN channels_crc32")
    db.close()
    return state


def test_records_come_back_with_their_channels_and_no_others(tmp_path, engine, records):
    journal = Journal(tmp_path)
    commit(journal, engine, records)
    journal.close()
    assert stored_channels(tmp_path) == [r.channels for r in records]


def test_a_record_without_channels_has_nothing_in_their_columns(tmp_path, engine, plain):
    journal = Journal(tmp_path)
    commit(journal, engine, plain[:5])
    journal.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute("SELECT DISTINCT channels, channels_crc32 FROM record").fetchall() == [
            (None, None)
        ]
    db.close()


def test_channels_change_no_bit_of_any_estimate(engine, plain, records):
    one, other = engines.start(engine), engines.start(engine)
    for bare, rich in zip(plain, records, strict=True):
        one, expected = engines.advance(engine, one, bare)
        other, found = engines.advance(engine, other, rich)
        assert repr(found.estimate) == repr(expected.estimate)
        assert repr(found.corrected) == repr(expected.corrected)
    assert to_parts(one, engine.fingerprint()) == to_parts(other, engine.fingerprint())


def test_a_journal_of_an_older_version_goes_on_with_channels(tmp_path, engine, records, plain):
    state = stored_by_an_older_version(tmp_path, engine, plain[:20])
    journal = Journal(tmp_path)
    assert journal.last_seq() == 20
    loaded = journal.load_state(engine.fingerprint(), engines.start(engine))
    assert to_parts(loaded, engine.fingerprint()) == to_parts(state, engine.fingerprint())
    commit(journal, engine, records[20:24], loaded)
    journal.close()
    assert stored_channels(tmp_path) == [{}] * 20 + [{}, CHANNELS, {}, CHANNELS]


def test_a_journal_of_an_older_version_is_exported_before_the_station_opens_it(
    tmp_path, engine, plain
):
    (tmp_path / "state").mkdir()
    stored_by_an_older_version(tmp_path / "state", engine, plain[:20])
    done = edge("export", station_toml(tmp_path))
    assert (done.returncode, done.stderr) == (0, "records=20\n")


def test_a_journal_of_an_older_version_is_drawn_before_the_station_opens_it(tmp_path, engine):
    stored_by_an_older_version(tmp_path, engine, [])
    stream = list(simulator.records(2.0, 3, START_S))
    state = engines.start(engine)
    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:
        for seq, record in enumerate(stream, 1):
            state, out = engines.advance(engine, state, record)
            rows = (record_row(seq, record)[: -len(CHANNEL_COLUMNS)], estimate_row(seq, out, "m 1"))
            for table, row in zip(("record", "estimate"), rows, strict=True):
                db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    with closing(history.open_readonly(tmp_path / FILE)) as db:
        *_, (newest, _) = history.read_windows(db, 0.0)
        assert newest.seq == len(stream) and history.optional_columns(db) == ()


def test_an_older_version_reads_the_records_of_this_one(tmp_path, engine, records):
    journal = Journal(tmp_path)
    commit(journal, engine, records[:4])
    journal.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("ALTER TABLE record DROP COLUMN channels")  # it neither reads nor checks them
        db.execute("ALTER TABLE record DROP COLUMN channels_crc32")
    db.close()
    journal = Journal(tmp_path)
    found = list(journal.records())
    journal.close()
    numbers = [[getattr(r, name) for name in NUMBERS] for r in records[:4]]
    assert repr([[getattr(r, name) for name in NUMBERS] for r in found]) == repr(numbers)


@pytest.mark.parametrize(
    "damage",
    [
        "channels = replace(channels, '7805', '7905')",
        "channels = NULL",
        "channels = CAST(channels AS BLOB)",
        "channels = CAST(x'ff7b' AS TEXT)",
        "channels_crc32 = channels_crc32 + 1",
        "channels_crc32 = NULL",
    ],
)
def test_damage_of_channels_costs_only_them(tmp_path, engine, records, damage, caplog):
    (tmp_path / "state").mkdir()
    journal = Journal(tmp_path / "state")
    commit(journal, engine, records[:4])
    journal.close()
    with sqlite3.connect(tmp_path / "state" / FILE) as db:
        db.execute(f"UPDATE record SET {damage} WHERE seq = 2")
    db.close()
    assert stored_channels(tmp_path / "state") == [{}, {}, {}, CHANNELS]
    assert "the extra channels of record 2 are damaged on the disk" in caplog.text
    table = list(csv.DictReader(io.StringIO(edge("export", station_toml(tmp_path)).stdout)))
    assert [row["muon_counts"] for row in table] == ["", "", "", "7805"]


def test_a_salvaged_journal_keeps_the_channels(tmp_path, engine, records):
    journal = Journal(tmp_path)
    commit(journal, engine, records)
    journal.close()
    Journal(tmp_path, suspect="for the test").close()
    assert stored_channels(tmp_path) == [r.channels for r in records]


def test_an_export_read_as_records_has_the_same_channels(tmp_path, engine, records):
    (tmp_path / "state").mkdir()
    journal = Journal(tmp_path / "state")
    commit(journal, engine, records)
    journal.close()
    out = tmp_path / "records.csv"
    toml = station_toml(tmp_path)
    assert edge("export", toml, "--csv", out).returncode == 0
    found = read_records([out], "records")
    assert (found.damaged, len(found.records)) == (0, 60)
    assert [r.channels for r in found.records] == [r.channels for r in records]
    assert [r.battery_v for r in found.records[1::2]] == [12.5] * 30
    replayed = [edge("replay", toml, *files).stdout for files in ((), (out,))]
    assert replayed[0] == replayed[1] and "muon_counts" in replayed[0].splitlines()[0]
    out.write_bytes(out.read_bytes().replace(b",7805,", b",7806,", 1))
    assert read_records([out], "records").damaged == 1


def test_an_export_without_any_has_no_column_of_theirs(tmp_path, engine, plain):
    (tmp_path / "state").mkdir()
    journal = Journal(tmp_path / "state")
    commit(journal, engine, plain[:3])
    db = history.open_readonly(journal.path)
    assert history.optional_columns(db) == ()
    db.close()
    journal.close()
    header = edge("export", station_toml(tmp_path)).stdout.splitlines()[0]
    assert header.endswith(",q,flags,model,crc32")
