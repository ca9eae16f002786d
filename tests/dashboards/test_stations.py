"""Several stations share a broker: their topics are separate, and each record is stored once."""

from __future__ import annotations

import json

import pytest
from tests.bench import bench_stations
from tests.bench.many import attack, make_broker, names
from tests.support.rig import topics_of

from .programs import record_agreement

pytestmark = pytest.mark.slow


def test_every_station_is_stored_exactly_once_and_none_can_write_or_read_anothers(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    report = tmp_path / "report.json"
    arguments = ["--stations", "4", "--days", "3", "--patience", "120", "--report", str(report)]
    assert bench_stations.main(arguments) == 0
    found = json.loads(report.read_text())
    assert found["stored"] == found["records"] == 4 * 72 and found["listed_online"] == 4
    assert (found["foreign_messages_taken"], found["foreign_messages_heard"]) == (0, 0)
    record_agreement("many stations", found["stored"], "records of 4 stations, ends and theta")


def test_an_access_list_without_separation_of_stations_is_detected(tmp_path):
    broker = make_broker(tmp_path, names(2))
    try:
        accepted, heard = attack(broker.port, "field-001", "field-002")
        assert (accepted, heard) == ([], [])
        broker.stop()
        (tmp_path / "acl").write_text("pattern readwrite #\n")
        broker.start()
        accepted, heard = attack(broker.port, "field-001", "field-002")
        topics = topics_of("field-002", commands=True)
        assert sorted(accepted) == sorted(topics)
        assert {topic for topic in topics if topic.startswith("crns/")} <= set(heard)
    finally:
        broker.stop()
