"""PostgreSQL stores every record once, at its own time, in spite of failures."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest
from tests.support.rig import PATIENCE_S, Subscriber, wait_until

from .programs import record_agreement
from .servers import DASHBOARDS, Postgres

pytest.importorskip("psycopg", reason="psycopg is not installed (pip install 'psycopg[binary]')")
pytestmark = pytest.mark.slow
PROGRAM = DASHBOARDS / "postgresql" / "epithermal_postgres.py"
COUNT = "SELECT count(*) AS n FROM crns.observation"


@pytest.fixture(scope="module")
def cluster():
    made = Postgres()
    yield made
    made.close()


@pytest.fixture
def database(cluster):
    cluster.rows("TRUNCATE crns.observation, crns.station, crns.event, crns.refused")
    return cluster


class Sink:
    """Process of the subscriber."""

    def __init__(self, farm, database):
        self.log = farm.folder / "sink.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, PROGRAM, "--host", "127.0.0.1", "--port", str(farm.broker.port),
                 "--database", database.dsn], stderr=log,
            )  # fmt: skip

    def ready(self):
        wait_until(lambda: "connected" in self.log.read_text(), what="the sink's connection")
        return self

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def sink(farm, database):
    started = []

    def start():
        started.append(Sink(farm, database))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.stop()


def stored(database):
    """Return the rows by the end of the record, formatted as in the journal."""
    stamp = """to_char(ends AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
    return {
        row["at"]: row for row in database.rows(f"SELECT *, {stamp} AS at FROM crns.observation")
    }


def compare(database, journal):
    """Check that the database has exactly the records of the journal, with equal numbers."""
    found = stored(database)
    assert found.keys() == journal.keys()
    for end, expected_row in journal.items():
        row = found[end]
        for name, digits in (
            ("theta", 6), ("theta_sigma", 6), ("storage_mm", 2), ("theta_classical", 6),
            ("n_corr_cph", 3),
        ):  # fmt: skip
            value = expected_row[name]
            expected = None if value is None else round(value, digits)
            assert row[name] == expected, (end, name)
        assert row["q"] == int(expected_row["q"])
        assert row["flags"] == expected_row["flags"].split()
    record_agreement("PostgreSQL", len(journal), "records, 5 numbers, q and flags each")


def wait_for(database, count):
    wait_until(lambda: database.rows(COUNT)[0]["n"] >= count, f"{count} rows")


def test_every_record_is_stored_although_sink_and_database_are_killed(farm, database, sink):
    first = sink().ready()
    farm.start()
    farm.send(200)
    wait_for(database, 1)
    first.stop(signal.SIGKILL)
    farm.send(400)
    second = sink()
    wait_for(database, 300)
    database.stop()
    farm.send(700)
    wait_until(lambda: "retry in" in second.log.read_text(), what="an error of the database")
    database.start()
    farm.send(farm.count)
    wait_for(database, farm.count)
    compare(database, farm.journal())
    assert second.stop() == 0
    assert database.rows("SELECT * FROM crns.refused") == []
    latest = database.rows("SELECT * FROM crns.latest")
    assert [(row["station"], row["state"], row["site"]) for row in latest] == [
        ("test-1", "online", "North field")
    ]


def test_messages_sent_without_a_subscriber_are_stored_once_at_their_own_time(farm, database, sink):
    sink().ready().stop()  # from now on the broker stores its session
    listener = Subscriber(farm.broker.port, "crns/v1/test-1/obs/theta")
    farm.start()
    farm.send(farm.count)
    wait_until(lambda: len(listener.messages) >= farm.count, "the station's backlog")
    assert stored(database) == {}
    second = sink().ready()
    wait_for(database, farm.count)
    for topic, body in reversed(listener.messages):
        listener.publish(topic, body)
    listener.publish("crns/v1/test-1/event/gap", json.dumps(
        {"v": 1, "station": "test-1", "kind": "gap", "time": "2026-01-01T00:00:00Z", "text": "last"}
    ))  # fmt: skip
    wait_until(lambda: database.rows("SELECT * FROM crns.event WHERE text = 'last'"))
    compare(database, farm.journal())
    listener.close()
    assert second.stop() == 0
    known = re.search(r" known=(\d+)", second.log.read_text().splitlines()[-1])
    assert int(known[1]) >= farm.count


def payload(database, **changes):
    """Return the payload of a stored record, with changes."""
    row = database.rows("SELECT * FROM crns.observation ORDER BY ends DESC LIMIT 1")[0]
    fields = {
        "v": 1, "id": row["id"], "start": row["starts"].isoformat(), "end": row["ends"].isoformat(),
        "window_end": None, "theta": {"value": 0.1, "sigma": 0.01, "p05": 0.08, "p95": 0.12},
        "layers": [], "met": {}, "q": 1, "flags": [], "time_q": "logger", "rev": 0,
    }  # fmt: skip
    return json.dumps(fields | changes)


def test_a_higher_rev_replaces_an_equal_one_changes_nothing_and_another_station_is_rejected(
    farm, database, sink
):
    sink().ready()
    farm.start()
    farm.send(30)
    wait_for(database, 30)
    theta = "SELECT theta, rev FROM crns.observation ORDER BY ends DESC LIMIT 1"
    before = database.rows(theta)
    client = Subscriber(farm.broker.port)
    client.publish("crns/v1/test-1/obs/theta", payload(database))
    client.publish("crns/v1/test-1/obs/theta", payload(database, id="test-1:00000000:1"))
    for wrong in (payload(database, id="other-2:00000000:1"), "{", b"\xff\x00", "[1]", "null",
                  payload(database, end="never"), payload(database, rev=None)):  # fmt: skip
        client.publish("crns/v1/test-1/obs/theta", wrong)
    wait_until(lambda: len(database.rows("SELECT * FROM crns.refused")) == 7)
    assert database.rows(theta) == before
    client.publish("crns/v1/test-1/obs/theta", payload(database, rev=1))
    wait_until(lambda: database.rows(theta) == [{"theta": 0.1, "rev": 1}])
    assert database.rows(COUNT) == [{"n": 30}]
    client.close()


def test_the_schema_may_be_loaded_again_and_keeps_the_rows(database):
    database.rows("INSERT INTO crns.event VALUES ('test-1', 'gap', now(), 'a gap')")
    database.load_schema()
    assert database.rows("SELECT text FROM crns.event") == [{"text": "a gap"}]


@pytest.mark.parametrize(
    ("fields", "irrigate"),
    [
        ({"irrigate": False, "advice": "Do not."}, False),  # although the top is dry
        ({"irrigate": None, "advice": "No advice."}, None),
        ({}, True),  # of an older station: 0-30 cm decide
    ],
)
def test_the_view_irrigates_by_the_advice_over_the_root_zone(database, fields, irrigate):
    message = {
        "v": 1, "id": "test-1:0:1", "start": "2026-06-01T00:00:00Z", "end": "2026-06-01T01:00:00Z",
        "window_end": None, "theta": {"value": 0.1, "sigma": 0.01, "p05": 0.08, "p95": 0.12},
        "layers": [], "met": {}, "q": 1, "flags": [], "time_q": "logger", "rev": 0,
        "water": {"depletion": {"value": 0.9}, "threshold": 0.5},
        "root_zone": {"depth_cm": 90.0, "depletion": {"value": 0.3}, "threshold": 0.6},
    }  # fmt: skip
    body = json.dumps(message | fields)
    database.rows(f"SELECT crns.take('test-1', 'obs/theta', '{body}')")
    database.rows("INSERT INTO crns.station (station) VALUES ('test-1')")
    (row,) = database.rows("SELECT * FROM crns.latest WHERE station = 'test-1'")
    assert row["irrigate"] is irrigate and row["advice"] == fields.get("advice")
    assert (row["root_depth_cm"], row["root_depletion"], row["root_threshold"]) == (90.0, 0.3, 0.6)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [(("--password-file", "/none"), 2, "check --password-file"),
     (("--ca-file", "/none"), 2, "check --password-file and --ca-file")],
)  # fmt: skip
def test_a_wrong_option_is_reported_in_one_line(options, code, message):
    command = [sys.executable, PROGRAM, "--host", "127.0.0.1", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr
