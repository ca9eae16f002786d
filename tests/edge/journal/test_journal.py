"""Test the journal: one transaction a record, a verified state, an ordered outbox."""

import contextlib
import math
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime

import pytest
from tests.support.rig import BUNDLE, START_S, edge, station_toml

from epithermal_edge.cli import simulator
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.inference.snapshot import StateLostError, to_parts
from epithermal_edge.journal import history, pruning
from epithermal_edge.journal.journal import FILE, MARK, Journal, JournalError
from epithermal_edge.journal.rows import estimate_row
from epithermal_edge.journal.sqlite import WAL_BYTES, Mark
from epithermal_edge.messages import observation, station
from epithermal_edge.messages.message import Identity, Message
from epithermal_edge.messages.topics import EVENT
from epithermal_edge.times import utc


@pytest.fixture(scope="module")
def engine():
    bundle = open_bundle(BUNDLE)
    return Engine(simulator.SITE, bundle, runtime.load(bundle))


@pytest.fixture(scope="module")
def records():
    return list(simulator.records(4.0, 3, START_S))


def commit(journal, engine, records, state=None, now_s=0.0):
    """Commit records as the station does and return the state after the last one."""
    state = state or engines.start(engine)
    me = Identity("test-1", journal.epoch, "crns/v1", 3600.0)
    for record in records:
        seq = journal.last_seq() + 1
        state, out = engines.advance(engine, state, record)
        payload = observation.obs_theta(me, seq, record, out.corrected, out.estimate, engine.bundle)
        sent = observation.obs_messages(me, payload, record.end_s, now_s or record.end_s)
        journal.commit(seq, record, state, engine.fingerprint(), sent)
    return state


def equal(engine, one, other):
    """Return whether two states are equal, bit for bit."""
    return to_parts(one, engine.fingerprint()) == to_parts(other, engine.fingerprint())


def test_state_records_and_numbers_survive_a_reopening(tmp_path, engine, records):
    journal = Journal(tmp_path)
    state = commit(journal, engine, records)
    epoch = journal.epoch
    journal.close()
    reopened = Journal(tmp_path)
    assert reopened.epoch == epoch and reopened.last_seq() == len(records)
    assert equal(engine, reopened.load_state(engine.fingerprint(), engines.start(engine)), state)
    assert [r.end_s for r in reopened.records()] == [r.end_s for r in records]
    assert reopened.has_end(records[5].end_s) and not reopened.has_end(records[5].end_s + 1)


def test_the_state_computed_again_from_raw_records_is_equal_bit_for_bit(tmp_path, engine, records):
    shuffled = [*records[:50], *records[60:], *records[50:60]]  # ten of them late
    journal = Journal(tmp_path)
    state = commit(journal, engine, shuffled)
    assert equal(engine, engines.rebuild(engine, journal.records()), state)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("UPDATE state SET data = zeroblob(length(data)) WHERE part = 'phase 07'", "damaged"),
        ("UPDATE state SET crc32 = crc32 + 1 WHERE part = 'pipeline'", "damaged"),
        ("UPDATE state SET layout = '[]' WHERE part = 'newest'", "another shape"),
        ("DELETE FROM state WHERE part = 'phase 23'", "no phase 23"),
    ],
)
def test_a_state_that_does_not_fit_is_rejected_with_the_reason(
    tmp_path, engine, records, damage, reason
):
    journal = Journal(tmp_path)
    commit(journal, engine, records[:30])
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute(damage)
    with pytest.raises(StateLostError, match=reason):
        journal.load_state(engine.fingerprint(), engines.start(engine))


def test_a_state_computed_again_leaves_no_part_of_the_lost_one(tmp_path, engine, records):
    journal = Journal(tmp_path)
    state = commit(journal, engine, records[:30])
    journal.close()
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("UPDATE state SET part = 'phase 77' WHERE part = 'phase 07'")
    journal = Journal(tmp_path)
    with pytest.raises(StateLostError, match="no phase 07"):
        journal.load_state(engine.fingerprint(), engines.start(engine))
    journal.store_state(state, engine.fingerprint(), [])
    journal.close()
    journal = Journal(tmp_path)
    assert equal(engine, journal.load_state(engine.fingerprint(), engines.start(engine)), state)
    journal.close()


def test_a_part_of_an_older_state_is_not_the_state_after_the_last_record(tmp_path, engine, records):
    journal = Journal(tmp_path)
    state = commit(journal, engine, records[:30])
    with sqlite3.connect(tmp_path / FILE) as other:
        (older,) = other.execute("SELECT * FROM state WHERE part = 'pipeline'").fetchall()
    commit(journal, engine, records[30:31], state)
    with sqlite3.connect(tmp_path / FILE) as other:
        places = ", ".join("?" * len(older))
        other.execute(f"INSERT OR REPLACE INTO state VALUES ({places})", older)
    with pytest.raises(StateLostError, match="does not belong to the last record"):
        journal.load_state(engine.fingerprint(), engines.start(engine))


def test_values_are_stored_with_their_record(tmp_path, engine, records):
    journal = Journal(tmp_path)
    state = engines.start(engine)
    values = {"clock state": "1", "clock held": "2"}
    journal.commit(1, records[0], state, engine.fingerprint(), (), values=values)
    assert journal.get_values("clock ") == values
    journal.commit(2, records[1], state, engine.fingerprint(), (), values={"clock held": None})
    journal.close()
    assert Journal(tmp_path).get_values("clock ") == {"clock state": "1"}


def test_a_state_of_another_model_or_site_is_rejected(tmp_path, engine, records):
    journal = Journal(tmp_path)
    commit(journal, engine, records[:30])
    with pytest.raises(StateLostError, match="another model or site"):
        journal.load_state("f" * 64, engines.start(engine))


def test_a_replaced_state_and_its_messages_outlive_a_reopening(tmp_path, engine, records):
    journal = Journal(tmp_path)
    old = commit(journal, engine, records[:30])
    new, other_model = engines.rebuild(engine, iter(records[10:30])), "f" * 64
    assert not equal(engine, new, old)
    waiting = journal.count_waiting()
    me = Identity("test-1", journal.epoch, "crns/v1", 3600.0)
    event = station.event(me, "start", records[29].end_s, "")
    journal.store_state(new, other_model, [event])
    journal.close()
    reopened = Journal(tmp_path)
    restored = reopened.load_state(other_model, engines.start(engine))
    assert equal(engine, restored, new) and reopened.state_seq == 30
    assert reopened.count_waiting() == waiting + 1
    reopened.close()


def test_a_commit_that_fails_leaves_no_trace(tmp_path, engine, records):
    journal = Journal(tmp_path)
    state = commit(journal, engine, records[:3])
    before = [list(sqlite3.connect(tmp_path / FILE).execute(f"SELECT * FROM {t}"))
              for t in ("record", "state", "outbox")]  # fmt: skip
    with pytest.raises(JournalError, match="UNIQUE"):
        journal.commit(4, records[2], state, engine.fingerprint(), ())
    after = [list(sqlite3.connect(tmp_path / FILE).execute(f"SELECT * FROM {t}"))
             for t in ("record", "state", "outbox")]  # fmt: skip
    assert before == after and journal.last_seq() == 3
    health = journal.health()
    assert health["writable"] is False and "UNIQUE" in health["last_error"]
    commit(journal, engine, records[3:4], state)
    assert journal.health()["writable"] is True and journal.health()["last_error"] is None


def test_the_outbox_preserves_order_and_only_the_newest_live_value(tmp_path, engine, records):
    journal = Journal(tmp_path)
    commit(journal, engine, records[:20])
    queued = journal.next_outgoing(0, 100, newest=False)
    assert [o.message.payload.split(b":")[4].split(b'"')[0] for o in queued] == [
        str(i).encode() for i in range(1, 21)
    ]
    (newest,) = journal.next_outgoing(0, 100, newest=True)
    assert newest.message.payload == queued[-1].message.payload and newest.message.kind.retain
    assert [o.id for o in journal.next_outgoing(queued[4].id, 2, newest=False)] == [
        o.id for o in queued[5:7]
    ]
    journal.delete_outgoing([o.id for o in queued])
    assert journal.count_waiting() == 1


def test_health_reports_since_when_messages_wait_and_how_large_the_file_may_be(
    tmp_path, engine, records
):
    journal = Journal(tmp_path)
    assert journal.health()["oldest_waiting"] is None and journal.health()["salvaged"] is None
    assert journal.health()["max_bytes"] == pytest.approx(512e6, rel=1e-4)
    me = Identity("test-1", journal.epoch, "crns/v1", 3600.0)
    journal.post([station.event(me, "start", records[0].end_s - 5.0, "")])
    event_s = utc(records[0].end_s - 5.0)
    assert journal.health()["oldest_waiting"] == event_s
    journal.delete_outgoing([out.id for out in journal.next_outgoing(0, 9, newest=False)])
    commit(journal, engine, records[:3], now_s=records[2].end_s + 9.0)
    assert journal.health()["oldest_waiting"] == utc(records[0].end_s)


def test_a_message_damaged_on_the_disk_is_dropped_and_counted(tmp_path, engine, records):
    journal = Journal(tmp_path)
    commit(journal, engine, records[:3])
    queued = journal.next_outgoing(0, 9, newest=False)
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("UPDATE outbox SET payload = '{}' WHERE id = ?", (queued[1].id,))
    assert journal.next_outgoing(0, 9, newest=False) == [queued[0], queued[2]]
    assert journal.count_waiting() == 3  # two of obs/theta, the newest value
    assert journal.health()["dropped"]["damaged"] == 1


def test_numbers_are_not_reused_after_pruning(tmp_path, engine, records):
    journal = Journal(tmp_path)
    commit(journal, engine, records[:10])
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("DELETE FROM record")
    assert journal.last_seq() == 10


def test_numbers_of_commits_that_the_disk_lost_are_not_used_twice_at_any_reopening(
    tmp_path, engine, records
):
    journal = Journal(tmp_path)
    commit(journal, engine, records[:5])
    first = journal.epoch
    journal.close()
    Mark(tmp_path / MARK).write(first, 7)  # as after commits 6 and 7, which are not in the file
    journal = Journal(tmp_path)
    second = journal.epoch
    assert second != first and journal.base == 5 and journal.has_notes
    journal.close()
    again = Journal(tmp_path)
    assert (again.epoch, again.base, again.has_notes) == (second, 5, True)
    posted = []
    again.post_notes(lambda *note: posted.append(note) or Message("t", b"", EVENT))
    lost = "the last 2 records were lost on the disk; numbering starts again"
    assert posted == [("journal_salvaged", lost)]
    again.close()


def test_the_oldest_raw_records_are_dropped_to_stay_below_the_cap(tmp_path, engine, monkeypatch):
    monkeypatch.setattr("epithermal_edge.journal.pruning.PRUNE_ROWS", 20)
    many = list(simulator.records(25.0, 3, START_S))
    journal, state = Journal(tmp_path, max_mb=0.2), None  # 48 pages
    for i in range(0, 600, 10):
        state = commit(journal, engine, many[i : i + 10], state)
        journal.delete_outgoing([o.id for o in journal.next_outgoing(0, 100, newest=False)])
    stored = [r.end_s for r in journal.records()]
    assert 50 < len(stored) < 600
    assert stored == [r.end_s for r in many[600 - len(stored) :]]


def flipped(folder, table, column, seq, bit=61):
    """Flip a bit of a stored number, as a worn disk does; SQLite does not notice it."""
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db:
        (value,) = db.execute(f"SELECT {column} FROM {table} WHERE seq = ?", (seq,)).fetchone()
        (bits,) = struct.unpack(">Q", struct.pack(">d", value))
        (wrong,) = struct.unpack(">d", struct.pack(">Q", bits ^ 1 << bit))
        db.execute(f"UPDATE {table} SET {column} = ? WHERE seq = ?", (wrong, seq))
        db.commit()
    return wrong


def test_a_damaged_end_does_not_hide_all_later_records_after_pruning(tmp_path, engine, monkeypatch):
    """Records up to the newest pruned end count as stored: a huge one would reject all new ones."""
    monkeypatch.setattr(pruning, "PRUNE_ROWS", 3)
    stream = list(simulator.records(1.0, 3, START_S))
    journal = Journal(tmp_path)
    commit(journal, engine, stream[:5])
    assert flipped(tmp_path, "record", "end_s", 2) > 1e100
    database, metadata = journal._db, journal._metadata
    assert pruning.drop_oldest(database, metadata, "record") == 3
    assert journal.has_end(stream[2].end_s) and not journal.has_end(stream[5].end_s)
    journal.close()


def test_damaged_rows_give_neither_rain_nor_a_window(tmp_path, engine):
    stream = [replace(r, rain_mm=2.5) for r in simulator.records(3.0, 3, START_S)]
    journal, state = Journal(tmp_path), engines.start(engine)
    for seq, record in enumerate(stream, 1):
        state, out = engines.advance(engine, state, record)
        row = estimate_row(seq, out, "m 1")
        journal.commit(seq, record, state, engine.fingerprint(), (), estimate=row)
    journal.close()

    def rain_by_window():
        with contextlib.closing(history.open_readonly(tmp_path / FILE)) as db:
            windows = history.read_windows(db, 0.0)
            return {entry.outcome.estimate.window_end_s: rain for entry, rain in windows}

    whole = rain_by_window()
    assert len(whole) > 24 and all(math.isfinite(end_s) for end_s in whole)
    assert flipped(tmp_path, "record", "rain_mm", len(stream)) > 1e100
    assert flipped(tmp_path, "estimate", "window_end_s", len(stream) - 1) > 1e100
    assert rain_by_window() == {end_s: whole[end_s] for end_s in list(whole)[:-2]}


def test_a_file_in_place_of_the_folder_is_an_error_of_one_line(tmp_path):
    folder = tmp_path / "state"
    folder.write_text("a file, not a folder")
    with pytest.raises(JournalError, match="state_dir") as caught:
        Journal(folder)
    assert "\n" not in str(caught.value) and not caught.value.passing


def test_a_file_that_is_no_database_is_renamed_unchanged(tmp_path, engine, records):
    content = b"not a database, but long enough to be read" * 30
    (tmp_path / FILE).write_bytes(content)
    journal = Journal(tmp_path)
    commit(journal, engine, records[:3])
    assert journal.last_seq() == 3
    (aside,) = tmp_path.glob(FILE + ".damaged-*")
    assert aside.read_bytes() == content


def test_the_note_of_a_salvage_is_posted_once_and_health_reports_when(tmp_path):
    (tmp_path / FILE).write_bytes(b"not a database, but long enough to be read" * 30)
    journal = Journal(tmp_path)
    salvaged = datetime.fromisoformat(journal.health()["salvaged"])
    assert abs(time.time() - salvaged.timestamp()) < 60.0
    posted = []
    for _ in range(2):
        journal.post_notes(lambda kind, text: posted.append(kind) or Message("t", b"", EVENT))
        assert not journal.has_notes
    assert posted == ["journal_salvaged"] and journal.count_waiting() == 1


@pytest.mark.parametrize("name", [b"tablerecordrecord", b"indexoutbox_kind", b"tableaboutabout"])
def test_invalid_utf8_in_a_table_name_is_handled_as_damage(tmp_path, engine, records, name):
    journal = Journal(tmp_path)
    commit(journal, engine, records[:3])
    journal.close()
    content = bytearray((tmp_path / FILE).read_bytes())
    at = content.find(name)
    content[at + 7], content[at + 14] = 0xC7, 0  # SQLite quotes the name in its message
    (tmp_path / FILE).write_bytes(content)
    toml = station_toml(tmp_path)
    toml.write_text(toml.read_text().replace('"state"', f'"{tmp_path}"'))
    done = edge("status", toml)
    assert "repairs a damaged journal itself" in done.stdout and "Traceback" not in done.stderr
    done = edge("tail", toml, "--no-follow")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    journal = Journal(tmp_path)
    assert journal.last_seq() >= 0 and journal.has_notes
    assert len(list(tmp_path.glob(FILE + ".damaged-*"))) == 1


def test_a_journal_of_a_later_version_is_rejected(tmp_path):
    journal = Journal(tmp_path)
    journal._db.transaction(lambda: journal._metadata.put(schema="99"))
    journal._db.rows("PRAGMA user_version = 99")
    journal.close()
    with pytest.raises(JournalError, match="schema 99"):
        Journal(tmp_path)


KILLED = """
import sys
from pathlib import Path
from epithermal_edge.journal.journal import Journal
from epithermal_edge.messages.message import Message
from epithermal_edge.messages.topics import OBS_THETA
journal = Journal(Path(sys.argv[1]))
journal._db.execute("BEGIN IMMEDIATE")
journal._outbox.post([Message("t", b"half", OBS_THETA)])
print("in transaction", flush=True)
sys.stdin.read()
"""


def test_a_kill_in_mid_transaction_leaves_what_was_committed(tmp_path, engine, records):
    journal = Journal(tmp_path)
    state = commit(journal, engine, records[:30])
    journal.close()
    victim = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert victim.stdout.readline() == b"in transaction\n"
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    victim.stdin.close()
    victim.stdout.close()
    reopened = Journal(tmp_path)
    assert reopened.last_seq() == 30 and reopened.count_waiting() == 31
    assert equal(engine, reopened.load_state(engine.fingerprint(), engines.start(engine)), state)


def test_the_wal_shrinks_once_a_long_reader_has_gone(tmp_path, engine, records):
    journal = Journal(tmp_path)
    state = commit(journal, engine, records[:1])
    reader = sqlite3.connect(tmp_path / FILE)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM record").fetchall()
    big = {"filler": "x" * 500_000}
    for number in range(20):
        journal.put_values({**big, "number": str(number)})
    wal = tmp_path / f"{FILE}-wal"
    assert wal.stat().st_size > 2 * WAL_BYTES
    reader.close()
    commit(journal, engine, records[1:20], state)
    assert wal.stat().st_size <= WAL_BYTES
    journal.close()


@pytest.mark.timeout(60)
def test_a_write_that_never_fits_is_refused_and_not_tried_for_ever(tmp_path):
    journal = Journal(tmp_path, max_mb=0.3)
    with pytest.raises(JournalError, match="full") as refused:
        journal.put_values({"filler": "x" * 1_000_000})
    assert refused.value.passing and not journal.health()["writable"]
    journal.put_values({"filler": "x"})
    assert journal.get_values("filler") == {"filler": "x"} and journal.health()["writable"]
    journal.close()


@pytest.mark.parametrize("target", ["estimate", "record", "outbox"])
def test_a_planted_trigger_or_view_is_dropped_and_reported(tmp_path, engine, records, target):
    journal = Journal(tmp_path)
    state = commit(journal, engine, records[:5])
    journal.close()
    with sqlite3.connect(tmp_path / FILE) as planted:
        planted.execute(
            f'CREATE TRIGGER "it\'s" AFTER INSERT ON {target} BEGIN DELETE FROM record; END'
        )
        planted.execute("CREATE VIEW mirror AS SELECT * FROM record")
    journal = Journal(tmp_path)
    commit(journal, engine, records[5:10], state)
    assert [r.end_s for r in journal.records()] == [r.end_s for r in records[:10]]
    journal.post_notes(lambda kind, text: Message("event", f"{kind}: {text}".encode(), EVENT))
    (note,) = (
        o.message.payload
        for o in journal.next_outgoing(0, 100, newest=False)
        if o.message.topic == "event"
    )
    assert note.startswith(b"journal_salvaged") and b"trigger it's, view mirror" in note


def test_a_journal_that_opens_is_still_salvaged_when_it_is_suspect(tmp_path, engine, records):
    journal = Journal(tmp_path)
    commit(journal, engine, records[:10])
    journal.close()
    journal = Journal(tmp_path, suspect="read errors while open")
    assert journal.health()["salvaged"] is not None and journal.last_seq() == 10
    posted = []
    journal.post_notes(lambda kind, text: posted.append((kind, text)) or Message("t", b"", EVENT))
    ((kind, text),) = posted
    assert kind == "journal_salvaged" and "read errors while open" in text
    assert len(list(tmp_path.glob(FILE + ".damaged-*"))) == 1
    journal.close()


def test_what_was_late_only_after_a_record_set_aside_is_published_again(tmp_path, engine, records):
    far = replace(records[8], end_s=records[8].end_s + 100 * 86400.0)
    journal, state = Journal(tmp_path), engines.start(engine)
    me = Identity("test-1", journal.epoch, "crns/v1", 3600.0)
    for seq, record in enumerate([*records[:8], far, *records[9:11]], 1):
        state, out = engines.advance(engine, state, record)
        payload = observation.obs_theta(me, seq, record, out.corrected, out.estimate, engine.bundle)
        sent = observation.obs_messages(me, payload, record.end_s, record.end_s)
        row = estimate_row(seq, out, "m 1")
        journal.commit(seq, record, state, engine.fingerprint(), sent, estimate=row)
    assert journal.unestimated(10) is None
    journal.set_aside([9], records[10].end_s)
    marks = {seq: journal.unestimated(seq) for seq in range(1, 12)}
    assert [seq for seq, mark in marks.items() if mark] == [10, 11]
    assert [(marks[seq].epoch, marks[seq].number, marks[seq].rev) for seq in (10, 11)] == [
        (journal.epoch, 10, 1),
        (journal.epoch, 11, 1),
    ]
    assert [marks[seq].before_s for seq in (10, 11)] == [records[7].end_s, records[9].end_s]
    journal.close()


def test_records_set_aside_survive_a_salvage_and_can_be_restored(tmp_path, engine, records):
    journal = Journal(tmp_path)
    commit(journal, engine, records[:10])
    journal.set_aside([9, 10], records[7].end_s)
    assert journal.newest_end_s() == records[7].end_s and journal.last_seq() == 10
    with pytest.raises(StateLostError):
        journal.load_state(engine.fingerprint(), engines.start(engine))
    journal.close()
    journal = Journal(tmp_path, suspect="test")
    assert journal.health()["set_aside"] == 2 and journal.last_seq() == 10
    assert journal.restore_set_aside() == 2 and journal.health()["set_aside"] == 0
    assert [r.end_s for r in journal.records()] == [r.end_s for r in records[:10]]
    journal.close()
