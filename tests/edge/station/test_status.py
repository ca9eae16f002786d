"""`status`: each problem that it reports, its exit code and its speed."""

import contextlib
import json
import os
import resource
import sqlite3
import statistics
import struct
from datetime import UTC, datetime

import pytest
from tests.support.rig import Broker, Daemon, Line, edge, lines, station_toml, wait_until

from epithermal_edge.config import schema
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.journal.journal import Journal
from epithermal_edge.journal.rows import record_columns, record_row
from epithermal_edge.page import data
from epithermal_edge.records import RawRecord
from epithermal_edge.station import status

NOW_S = 1_780_000_000.0


def utc(time_s):
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def well():
    """Return the health of a station without problems."""
    return {
        "v": 1,
        "pid": os.getpid(),
        "station": "test-1",
        "started": utc(NOW_S - 86400),
        "updated": utc(NOW_S - 3),
        "reader": {"opened": 1, "damaged": 0, "records": 24, "open": True,
                   "last_read": utc(NOW_S - 900), "last_error": None},
        "engine": {"records": 24},
        "sender": {"connected": True, "host": "b", "port": 8883, "since": utc(NOW_S - 86400),
                   "in_flight": 0, "sent": 24, "refused": 0, "last_refusal": None, "failures": 0,
                   "last_error": None, "duplicate_client": False, "trouble": None},
        "journal": {"records": 24, "waiting": 0, "oldest_waiting": None, "bytes": 4096,
                    "max_bytes": 5e8, "dropped": {"raw": 0, "theta": 0}, "salvaged": False,
                    "writable": True, "last_error": None},
        "clock": {"synchronised": True, "boot": "a", "offset_s": 0.0, "held": 0, "steps": 0},
    }  # fmt: skip


def read_status(folder, health, port=1883):
    toml = station_toml(folder, url="/dev/null", port=port)
    state = folder / "state"
    state.mkdir(exist_ok=True)
    (state / "health.json").write_text(health if isinstance(health, str) else json.dumps(health))
    return status.read_status(toml, NOW_S)


def journal_with(folder, ends, channels=None):
    """Write a journal with records: number to end."""
    journal = Journal(folder / "state")
    for seq, end_s in ends.items():
        row = record_row(seq, RawRecord(end_s, 3600.0, 1000.0, 985.0, channels=channels or {}))
        marks = ", ".join("?" * len(row))
        sql = f"INSERT INTO record ({record_columns()}) VALUES ({marks})"
        journal._db.transaction(lambda sql=sql, row=row: journal._db.execute(sql, row))
    journal.close()


def flip(folder, seq, bit):
    """Flip one bit of a stored end, as a worn disk does; the page's structure stays sound."""
    with contextlib.closing(sqlite3.connect(folder / "state" / "journal.sqlite3")) as db:
        (end_s,) = db.execute("SELECT end_s FROM record WHERE seq = ?", (seq,)).fetchone()
        bits = struct.unpack(">Q", struct.pack(">d", end_s))[0] ^ (1 << bit)
        flipped = struct.unpack(">d", struct.pack(">Q", bits))[0]
        db.execute("UPDATE record SET end_s = ? WHERE seq = ?", (flipped, seq))
        db.commit()


def test_a_station_without_problems_is_well(tmp_path):
    result = read_status(tmp_path, well())
    assert (result.state, result.troubles) == ("well", ())
    assert result.health["sender"]["sent"] == 24


def test_plant_available_water_is_shown_with_its_interval(tmp_path):
    health = well()
    health["engine"]["water"] = {
        "available_mm": {"value": 45.0, "p05": 35.1, "p95": 54.9},
        "depletion": {"value": 0.25, "p05": 0.085, "p95": 0.415},
        "capacity_mm": 60.0, "threshold": 0.5, "rate_mm_d": 2.1, "days_to_threshold": None,
    }  # fmt: skip
    (line,) = (x for x in status.as_text(read_status(tmp_path, health)) if x.startswith("water"))
    assert "available_mm=45 (35.1 to 54.9) depletion=0.25 (0.085 to 0.415)" in line
    assert "threshold=0.5 rate_mm_d=2.1" in line and "days" not in line
    health["engine"]["advice"] = {"irrigate": None, "text": "No advice: there is no estimate."}
    lines = list(status.as_text(read_status(tmp_path, health)))
    assert "advice    No advice: there is no estimate." in lines
    health["engine"]["water"] = None
    assert not [x for x in status.as_text(read_status(tmp_path, health)) if x.startswith("water")]


@pytest.mark.parametrize(
    ("part", "key", "value", "what", "words"),
    [
        ("reader", "open", False, "source", "not open"),
        ("reader", "last_read", utc(NOW_S - 9001), "source", "nothing has been read since"),
        ("sender", "connected", False, "broker", "b:8883: not connected"),
        (
            "sender",
            "trouble",
            "obs/theta: not authorized",
            "broker",
            "rejects messages: obs/theta: not",
        ),
        ("sender", "duplicate_client", True, "broker", "another client"),
        ("journal", "writable", False, "journal", "cannot be written"),
        ("journal", "dropped", {"raw": 2000, "theta": 0}, "journal", "dropped 2000 raw"),
        ("journal", "salvaged", "2026-05-01T00:00:00Z", "journal", "was damaged"),
        ("journal", "oldest_waiting", utc(NOW_S - 10801), "outbox", "messages wait"),
        ("clock", "held", 3, "clock", "not synchronised; 3 records wait"),
        ("clock", "ahead_s", 7200.0, "clock", "ends 2.0 h after the present time"),
        ("engine", "rebuilding", {"done": 12, "of": 87}, "engine", "the state: 12 of 87 records"),
        ("engine", "late_in_row", 3, "engine", "the last 3 records end before an earlier one"),
    ],
)
def test_each_thing_that_is_wrong_is_named_with_its_remedy(tmp_path, part, key, value, what, words):
    health = well()
    health[part][key] = value
    health["clock"]["synchronised"] = key != "held"
    result = read_status(tmp_path, health)
    (trouble,) = result.troubles
    assert result.state == "degraded"
    assert trouble.what == what and words in trouble.why and len(trouble.remedy) > 10


def test_an_unsynchronised_clock_is_a_warning_until_records_wait_for_it(tmp_path):
    health = well()
    health["clock"]["synchronised"] = False
    result = read_status(tmp_path, health)
    (trouble,) = result.troubles
    assert (result.state, trouble.what, trouble.state) == ("well", "clock", "warning")
    assert "\nwarning   clock: not synchronised" in "\n".join(status.as_text(result))
    health["clock"]["held"] = 3
    result = read_status(tmp_path, health)
    assert result.state == "degraded" and "3 records wait" in result.troubles[0].why


HOURS = {"started": utc(NOW_S - 9001), "last_record": None, "last_fault": "no header", "records": 0,
         "recent": 2, "recent_damaged": 2, "remedy": "set source.dialect"}  # fmt: skip


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        (HOURS, "no record since the start, "),
        (HOURS | {"last_record": utc(NOW_S - 9001), "records": 9}, "no record since 2026"),
        (HOURS | {"started": utc(NOW_S - 60), "recent": 3}, "2 of the last 3 lines are damaged"),
        (HOURS | {"last_read": None, "recent": 0}, "nothing has been read since the start"),
    ],
)
def test_bytes_that_give_no_records_are_told_with_fault_and_remedy(tmp_path, reader, words):
    health = well()
    health["reader"] |= reader
    (trouble,) = read_status(tmp_path, health).troubles
    assert trouble.what == "source" and words in trouble.why
    if reader.get("last_read", "") is not None:
        assert "no header" in trouble.why and trouble.remedy == "set source.dialect"


@pytest.mark.parametrize(
    "reader",
    [
        HOURS | {"started": utc(NOW_S - 8999)},
        HOURS | {"last_record": utc(NOW_S - 60), "recent": 8, "recent_damaged": 4},
        HOURS | {"last_record": utc(NOW_S - 60), "recent": 2, "recent_damaged": 2},
    ],
)
def test_some_damage_is_no_trouble_yet(tmp_path, reader):
    health = well()
    health["reader"] |= reader
    assert read_status(tmp_path, health).troubles == ()


FILE = {"source": "file", "newest": utc(NOW_S - 60), "max_age_s": 21600.0, "ref": 159.0,
        "unlike": None, "last_error": None}  # fmt: skip
LINK = {"host": "b", "port": 1883, "connected": True, "last_error": None, "rejected": [],
        "since": utc(NOW_S - 7200)}  # fmt: skip
AIR = {"table": "weather.temperature", "topic": "yard/air", "max_age_s": 3600.0, "refused": 0,
       "last_refusal": None, "newest": utc(NOW_S - 60)}  # fmt: skip


@pytest.mark.parametrize(
    ("surroundings", "what", "words"),
    [
        ({"incoming": FILE}, None, ""),
        ({"incoming": FILE | {"last_error": "x.txt: No such file"}}, "incoming", "No such file"),
        ({"incoming": FILE | {"newest": None}}, "incoming", "the file has no count"),
        ({"incoming": FILE | {"unlike": 395.0}}, "incoming", "395 is not near site.incoming.ref"),
        ({"incoming": FILE | {"newest": utc(NOW_S - 21601)}}, "incoming", "older than"),
        ({"incoming": FILE | {"source": "nmdb", "last_error": "timed out"}}, None, ""),
        ({"incoming": FILE | {"source": "nmdb", "last_error": "timed out", "newest": None}},
         "incoming", "timed out"),
        ({"link": LINK, "topics": [AIR]}, None, ""),
        ({"link": LINK | {"connected": False, "last_error": "bad certificate"}, "topics": [AIR]},
         "weather", "b:1883: not connected: bad certificate"),
        ({"link": LINK | {"rejected": ["yard/air"]}, "topics": [AIR | {"newest": None}]},
         "weather", "rejects the subscription to yard/air"),
        ({"link": LINK | {"rejected": ["yard/air"], "suspended": ["yard/air"], "connected": False,
                          "last_error": "yard/air: too long"}, "topics": [AIR | {"newest": None}]},
         "weather", "not subscribed to yard/air: its messages are too long"),
        ({"link": LINK, "topics": [AIR | {"newest": None}]}, "weather", "yard/air: no message yet"),
        ({"link": LINK, "topics": [AIR | {"newest": utc(NOW_S - 3601)}]},
         "weather", "no message since"),
        ({"link": LINK | {"since": utc(NOW_S - 3599)}, "topics": [AIR | {"newest": None}]},
         None, ""),
        ({"link": LINK, "topics": [AIR | {"refused": 1, "last_refusal": "t: missing"}]}, None, ""),
        ({"link": LINK, "topics": [AIR | {"refused": 2, "last_refusal": "t: missing"}]},
         "weather", "the last 2 messages are refused: t: missing"),
        ({"link": LINK, "topics": [AIR | {"table": "incoming", "newest": None}]},
         "incoming", "yard/air: no message yet"),
        ({"link": 7, "topics": [3], "incoming": []}, None, ""),
    ],
)  # fmt: skip
def test_counts_and_weather_that_do_not_come_are_told(tmp_path, surroundings, what, words):
    result = read_status(tmp_path, well() | {"surroundings": surroundings})
    assert [t.what for t in result.troubles] == ([what] if what else [])
    assert all(words in t.why and len(t.remedy) > 10 for t in result.troubles)


def test_an_error_that_names_its_remedy_has_no_second_one(tmp_path):
    error = "x.txt: 'a; b; set incoming' of 2 monitors (JUNG, OULU); set incoming.monitor to one"
    incoming = FILE | {"last_error": error}
    (trouble,) = read_status(tmp_path, well() | {"surroundings": {"incoming": incoming}}).troubles
    assert f"{trouble.why}; {trouble.remedy}" == error
    assert trouble.remedy == "set incoming.monitor to one"


def test_refusals_that_are_over_are_counted_and_no_trouble(tmp_path):
    health = well()
    health["sender"] |= {"refused": 7, "last_refusal": "quota exceeded", "trouble": None}
    result = read_status(tmp_path, health)
    assert result.state == "well" and "refused=7" in "\n".join(status.as_text(result))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pid": 2**22 + 1}, "not running since"),
        ({"updated": utc(NOW_S - 121)}, "has not updated health.json since"),
        ({"updated": None}, "has not updated health.json since"),
        ({"pid": None}, "not running"),
    ],
)
def test_a_process_that_is_gone_or_silent_is_down(tmp_path, change, words):
    result = read_status(tmp_path, well() | change)
    assert result.state == "down" and words in result.troubles[0].why


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "\0\0", '{"pid":[],"reader":7,"clock":[]}'])
def test_a_damaged_health_file_is_down_and_no_traceback(tmp_path, text):
    assert read_status(tmp_path, text).state == "down"


def test_without_a_broker_in_the_file_nobody_misses_it(tmp_path):
    health = well()
    health["sender"] = {"connected": False}
    assert read_status(tmp_path, health, port=None).state == "well"


def test_a_record_that_is_too_old_is_noticed_in_the_journal(tmp_path):
    journal_with(tmp_path, {7: NOW_S - 9001})
    result = read_status(tmp_path, well())
    assert result.journal == {"last_seq": 7, "last_end": utc(NOW_S - 9001), "waiting": 0}
    assert [t.what for t in result.troubles] == ["source"]


def test_records_with_extra_channels_are_intact(tmp_path):
    journal_with(tmp_path, {1: NOW_S - 7200, 2: NOW_S - 3600}, {"muons": 512.0})
    result = read_status(tmp_path, well())
    assert result.state == "well" and result.journal["last_end"] == utc(NOW_S - 3600)


@pytest.mark.parametrize("bit", [62, 61, 57, 52, 40])
def test_a_flipped_bit_of_an_end_is_neither_believed_nor_a_traceback(tmp_path, bit):
    """Bit 62 gives an end of 1e-299 s, bit 61 one of 1e163 s, bit 40 one 12 days away."""
    journal_with(tmp_path, {1: NOW_S - 7200, 2: NOW_S - 3600})
    flip(tmp_path, 2, bit)
    result = read_status(tmp_path, well())
    assert result.journal["last_end"] == utc(NOW_S - 7200)
    shown = data.current(read_config(tmp_path / "station.toml"), NOW_S)
    assert shown["status"]["journal"]["last_end"] == utc(NOW_S - 7200)
    journal = Journal(tmp_path / "state")
    assert journal.newest_end_s() == NOW_S - 7200, "the daemon would call each new record late"
    journal.close()


def test_a_damaged_journal_is_reported(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.sqlite3").write_bytes(os.urandom(9000))
    assert "journal" in [t.what for t in read_status(tmp_path, well()).troubles]


def test_its_defaults_are_those_of_the_configuration():
    (interval,) = (k for k in schema.TABLES["source"] if k.name == "interval_s")
    assert interval.default == status.INTERVAL_S


def test_a_station_that_never_ran_is_exit_2_with_what_to_do(tmp_path):
    done = edge("status", station_toml(tmp_path, url="/dev/null"))
    assert done.returncode == 2 and done.stderr == ""
    assert (
        done.stdout.startswith("test-1: down\n") and "do: it has never run: start it" in done.stdout
    )
    assert edge("status", tmp_path / "none.toml").returncode == 2
    (tmp_path / "bad.toml").write_text("[station]\nid = 3\n")
    done = edge("status", tmp_path / "bad.toml")
    assert done.returncode == 2 and "station.id" in done.stderr and "Traceback" not in done.stderr


def test_status_answers_within_150_ms_of_processor_time(tmp_path):
    """Measure processor time, since wall time depends on other load; see bench."""
    read_status(tmp_path, well())
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = edge("status", tmp_path / "station.toml", "--json")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert json.loads(done.stdout)["state"] == "down"  # by today's clock it is stale
    assert statistics.median(times) < 0.15, times


def test_the_daemon_is_seen_well_then_without_broker_then_down(tmp_path):
    broker, line = Broker(tmp_path), Line()
    toml = station_toml(tmp_path, url=line.name, port=broker.port)
    daemon = Daemon(toml).ready()
    try:
        line.write(b"".join(lines(1.0)))

        def state():
            return json.loads(edge("status", toml, "--json").stdout)

        def broker_is_well():
            result = state()
            return result["health"] and not [t for t in result["troubles"] if t["what"] == "broker"]

        wait_until(broker_is_well, "a connected station")
        wait_until(lambda: state()["journal"]["last_seq"] == 24)
        assert edge("status", toml).returncode == 1  # its records are of last year
        broker.stop()
        wait_until(lambda: any(t["what"] == "broker" for t in state()["troubles"]))
        daemon.kill()
        done = edge("status", toml)
        assert done.returncode == 2 and "not running since" in done.stdout
    finally:
        daemon.process.kill()
        broker.stop()
        line.close()
