"""Test the sender against a real broker: in order, and only acknowledged messages are deleted."""

import json
import time

import pytest
from tests.support.rig import Broker, Subscriber, free_port, validate_by_topic, wait_until
from tests.support.sender import ME, SenderRig, settings

from epithermal_edge.messages.message import Message
from epithermal_edge.messages.topics import STATE_THETA
from epithermal_edge.mqtt import presence, sender
from epithermal_edge.mqtt.connection import Acknowledged, Disconnected


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def rigs():
    made = []
    yield lambda *arguments, **options: made.append(SenderRig(*arguments, **options)) or made[-1]
    for rig in made:
        rig.close()


def test_everything_arrives_once_and_in_order(tmp_path, broker, rigs):
    ears, rig = Subscriber(broker.port), rigs(tmp_path, settings(broker.port))
    rig.post(*range(500))
    rig.turn_until(rig.connected)
    wait_until(lambda: len(ears.of("obs/theta")) == 500)
    assert ears.of("obs/theta") == list(range(500))
    assert not any("obs/theta" in topic for topic in ears.retained)
    ears.close()


def test_never_more_than_sixteen_are_in_flight(tmp_path, broker, rigs):
    rig = rigs(tmp_path, settings(broker.port))
    rig.turn_until(rig.connected)
    rig.post(*range(100))
    for _ in range(5):
        rig.sender.poll(time.monotonic(), time.time())  # without hearing any acknowledgement
    assert rig.sender._count_pending() == sender.IN_FLIGHT


def test_unacknowledged_messages_are_sent_again_after_a_broker_restart(tmp_path, broker, rigs):
    rig = rigs(tmp_path, settings(broker.port))
    rig.turn_until(rig.connected)
    broker.stop()
    rig.post(*range(50))
    for _ in range(10):
        rig.turn()
    assert rig.journal.count_waiting() == 50
    broker.start()
    ears = Subscriber(broker.port)
    rig.turn_until(rig.connected)
    wait_until(lambda: len(set(ears.of("obs/theta"))) == 50)
    assert list(dict.fromkeys(ears.of("obs/theta"))) == list(range(50))
    ears.close()


def test_birth_will_and_meta_are_retained_and_share_the_session(tmp_path, broker, rigs):
    ears, rig = Subscriber(broker.port), rigs(tmp_path, settings(broker.port))
    rig.turn_until(lambda: rig.connected() and len(ears.messages) == 2)
    assert ears.of("status")[0]["state"] == "online" and ears.of("meta") == [{"meta": 1}]
    rig.sender._link.abandon()
    wait_until(lambda: len(ears.of("status")) == 2)
    born, lost = ears.of("status")
    assert lost["state"] == "lost" and lost["session"] == born["session"]
    validate_by_topic([(t, p) for t, p in ears.messages if t.endswith("status")])
    rig.turn_until(lambda: len(ears.of("status")) == 3)
    assert ears.of("status")[2]["session"] != born["session"]
    later = Subscriber(broker.port)
    wait_until(lambda: len(later.retained) == 2)
    assert sorted(topic.rpartition("/")[2] for topic in later.retained) == ["meta", "status"]
    ears.close()
    later.close()


def test_a_live_value_is_retained_and_goes_before_the_backlog(tmp_path, broker, rigs):
    ears, rig = Subscriber(broker.port), rigs(tmp_path, settings(broker.port))
    rig.post(*range(100))
    state = Message(ME.topic(STATE_THETA), b"7", STATE_THETA, time.time() + 100.0)
    rig.put(state)
    rig.turn_until(rig.connected)
    wait_until(lambda: len(ears.of("obs/theta")) == 100)
    order = [topic.partition("test-1/")[2] for topic, _ in ears.messages]
    assert order.index("state/theta") < order.index("obs/theta")
    later = Subscriber(broker.port)
    wait_until(lambda: later.of("state/theta") == [7])
    ears.close()
    later.close()


def test_a_live_value_that_is_out_of_date_is_not_sent(tmp_path, broker, rigs):
    ears, rig = Subscriber(broker.port), rigs(tmp_path, settings(broker.port))
    old = Message(ME.topic(STATE_THETA), b"7", STATE_THETA, time.time() - 1.0)
    rig.put(old)
    rig.post(1)
    rig.turn_until(rig.connected)
    wait_until(lambda: ears.of("obs/theta") == [1])
    assert ears.of("state/theta") == []
    ears.close()


def test_messages_that_the_broker_forbids_stay_in_the_journal(tmp_path, rigs):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite crns/v1/test-1/status\n")
    broker = Broker(tmp_path, f"allow_anonymous true\nacl_file {acl}\n")
    rig = rigs(tmp_path, settings(broker.port))
    rig.post(1, 2, 3)
    rig.turn_until(lambda: rig.sender.delivery.refused >= 4)  # three and meta
    assert rig.journal.count_waiting() == 3 and not rig.sender.accepted
    refused = [e for e in rig.seen if isinstance(e, Acknowledged) and e.reason == 0x87]
    assert len(refused) == 4
    broker.stop()


def test_a_wrong_password_is_reported_and_retried(tmp_path, rigs):
    (tmp_path / "wrong").write_text("secret\n")
    (tmp_path / "users").write_text("")
    (tmp_path / "users").chmod(0o700)
    broker = Broker(tmp_path, f"allow_anonymous false\npassword_file {tmp_path / 'users'}\n")
    rig = rigs(tmp_path, settings(broker.port, user="test-1", password_file=tmp_path / "wrong"))
    rig.turn_until(lambda: sum(isinstance(event, Disconnected) for event in rig.seen) >= 2)
    assert "Not authorized" in rig.seen[0].reason
    broker.stop()


def test_the_pause_between_attempts_grows_with_full_jitter(tmp_path, rigs):
    ceilings = []
    rig = rigs(tmp_path, settings(free_port()), lambda top: ceilings.append(top) or 0.0)
    rig.turn_until(lambda: len(ceilings) >= 9)
    assert ceilings[:9] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_a_broker_that_never_acknowledges_gets_a_new_connection(
    tmp_path, broker, rigs, monkeypatch
):
    monkeypatch.setattr(sender, "ACK_TIMEOUT_S", 0.3)
    rig = rigs(tmp_path, settings(broker.port))
    rig.turn_until(rig.connected)
    rig.post(1)
    rig.sender.poll(time.monotonic(), time.time())
    wait_until(lambda: not rig.events.empty())
    rig.events.get()  # the acknowledgement is swallowed
    rig.turn_until(lambda: rig.sender._links == 2 and rig.connected())


def test_a_broker_without_mqtt_5_is_served_too(tmp_path, broker, rigs):
    ears, rig = Subscriber(broker.port), rigs(tmp_path, settings(broker.port, version="3.1.1"))
    rig.post(*range(40))
    rig.turn_until(rig.connected)
    wait_until(lambda: ears.of("obs/theta") == list(range(40)))
    ears.close()


def test_payloads_are_bytes_of_json(tmp_path, broker, rigs):
    ears, rig = Subscriber(broker.port), rigs(tmp_path, settings(broker.port))
    rig.turn_until(lambda: rig.connected() and len(ears.messages) == 2)
    assert all(json.loads(payload) for _, payload in ears.messages)
    ears.close()


def test_a_retained_status_of_another_client_does_not_stay(tmp_path, broker, rigs, monkeypatch):
    monkeypatch.setattr(presence, "TROUBLE_EACH_S", 0.2)
    rig, ears = rigs(tmp_path, settings(broker.port)), Subscriber(broker.port)
    rig.turn_until(rig.connected)
    rig.turn_until(lambda: len(ears.of("status")) == 1)
    foreign = b'{"state":"lost","session":"somebody"}'
    ears.publish("crns/v1/test-1/status", foreign, retain=True).wait_for_publish(5.0)
    rig.turn_until(lambda: len(ears.of("status")) == 3)
    rig.turn_for(1.0)
    assert ears.of("status")[::2] == [ears.of("status")[0]] * 2 and len(ears.of("status")) == 3
    later = Subscriber(broker.port)
    wait_until(lambda: bool(later.of("status")))
    assert (
        later.of("status") == ears.of("status")[:1] and later.of("status")[0]["state"] == "online"
    )
    later.close()
    ears.close()
