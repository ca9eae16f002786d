"""The whole tree of topics as a daemon tells it: complete, and each message held to its schema."""

import time

from tests.support.rig import (
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


def test_every_topic_is_told_and_every_message_is_valid(tmp_path):
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
    wait_until(lambda: {topic for topic, _ in ears.messages} >= TREE, 30.0)
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
