"""The table of topics against the daemon's messages, the journal and docs/mqtt.md."""

import re
import time
import zlib

import pytest
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
from tests.support.signing import Signer

from epithermal_edge.cli import simulator
from epithermal_edge.journal.journal import Journal
from epithermal_edge.journal.rows import message_of, message_row
from epithermal_edge.messages.message import Identity, Message
from epithermal_edge.messages.topics import (
    DISCOVERY,
    EVENT,
    OBS_RAW,
    OBS_THETA,
    STATE_THETA,
    STORED,
    TOPICS,
)

ME = Identity("test-1", "0123abcd", "crns/v1", 3600.0)

TREE = {
    "crns/v1/test-1/status",
    "crns/v1/test-1/meta",
    "crns/v1/test-1/obs/theta",
    "crns/v1/test-1/obs/raw",
    "crns/v1/test-1/state/theta",
    "crns/v1/test-1/health",
    "crns/v1/test-1/cmd/ping",
    "crns/v1/test-1/res/ping",
    "homeassistant/device/crns_test-1/config",
}


def test_every_topic_is_published_and_every_message_is_valid(tmp_path):
    broker, line, signer = Broker(tmp_path), Line(), Signer(tmp_path)
    ears = Subscriber(broker.port, "#")
    toml = station_toml(
        tmp_path,
        url=line.name,
        port=broker.port,
        mqtt=f'raw = true\nhealth_interval_s = 5\ncommand_key_file = "{signer.public}"\n',
    )
    daemon = Daemon(toml).ready()
    start_s = time.time() // 3600 * 3600 - 4 * 3600.0
    line.write(b"".join(simulator.lines("records", simulator.records(4 / 24, 1, start_s))))
    wait_until(lambda: len(ears.of("obs/raw")) == 4 and len(ears.of("status")) == 1)
    ears.publish("crns/v1/test-1/cmd/ping", signer.command())
    wait_until(lambda: {topic for topic, _ in ears.messages} >= TREE)
    assert daemon.stop() == 0
    validate_by_topic(ears.messages)
    assert {topic for topic, _ in ears.messages} == TREE
    raw, theta = ears.of("obs/raw"), ears.of("obs/theta")
    assert [m["id"] for m in raw] == [m["id"] for m in theta]
    assert [m["counts"] for m in raw] == [m["n"]["counts"] for m in theta]
    (answer,) = ears.of("res/ping")
    assert answer["result"]["session"] == ears.of("status")[0]["session"]
    health = ears.of("health")[-1]
    assert health["sender"]["connected"] and health["sender"]["duplicate_client"] is False
    retained = {"status", "meta", "theta", "config"}
    later = Subscriber(broker.port, "#")
    wait_until(lambda: len(later.retained) == len(retained))
    assert {topic.rpartition("/")[2] for topic in later.retained} == retained
    later.close()
    ears.close()
    line.close()
    broker.stop()


def test_the_page_has_every_topic_with_its_delivery_and_its_schema():
    row = re.compile(
        r"^\| `([^`]+)` \| (\d) \| (\w+) \| .*? \| \[[\w-]+\]\(mqtt/([\w-]+)\.schema\.json\)"
    )
    lines = (ROOT / "docs" / "mqtt.md").read_text().splitlines()
    documented = [found.groups() for found in map(row.match, lines) if found]
    names = {"prefix": "", "station": "<station>", "homeassistant": "homeassistant"}
    expected = []
    for topic in TOPICS:
        name = topic.fill("<kind>" if topic == EVENT else "<verb>", **names)
        retained = "yes" if topic.retain else "no" if topic.published else "never"
        expected.append((name.removeprefix("/<station>/"), str(topic.qos), retained, topic.schema))
    assert documented == expected
    for topic in TOPICS:
        assert (ROOT / "docs" / "mqtt" / f"{topic.schema}.schema.json").exists()


def test_the_words_and_the_order_that_journals_have_do_not_change():
    assert [(t.word, t.drop_order) for t in STORED] == [
        ("obs", None), ("raw", 1), ("state", 2), ("event", 3)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "row"),
    [
        (ME.message(OBS_THETA, b"{}"), ("obs", "crns/v1/test-1/obs/theta", b"{}", 0, None)),
        (ME.message(OBS_RAW, b"{}"), ("raw", "crns/v1/test-1/obs/raw", b"{}", 0, None)),
        (ME.message(EVENT, b"{}", "gap"), ("event", "crns/v1/test-1/event/gap", b"{}", 0, None)),
        (
            ME.message(STATE_THETA, b"{}", instant_s=1e9),
            ("state", "crns/v1/test-1/state/theta", b"{}", 1, 1e9 + 9000.0),
        ),
    ],
)
def test_a_message_is_stored_as_ever(message, row):
    stored = (*row, zlib.crc32(repr(row).encode()))
    assert message_row(message) == stored
    assert message_of(stored) == message


def test_a_word_of_a_later_software_is_delivered_as_it_was_stored(tmp_path):
    row = ("image", "crns/v1/test-1/image", b"{}", 1, None)
    later = message_of((*row, zlib.crc32(repr(row).encode())))
    assert isinstance(later, Message) and later.kind.retain and later.kind.qos == 1
    journal = Journal(tmp_path)
    journal.post([later])
    assert [o.message for o in journal.next_outgoing(0, 9, newest=False)] == [later]
    journal.close()


def test_the_topic_of_discovery_is_the_integration_s_and_not_the_station_s():
    topic = DISCOVERY.fill(homeassistant="ha", station="test-1")
    assert topic == "ha/device/crns_test-1/config"
