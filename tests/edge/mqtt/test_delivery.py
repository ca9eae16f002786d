"""Test delivery to brokers that set limits, refuse topics, send garbage or stop responding."""

import time

import pytest
from tests.faults.fake_broker import FakeBroker
from tests.faults.proxy import Proxy
from tests.support.rig import Broker, Subscriber, Timed, wait_until
from tests.support.sender import ME, SenderRig, settings

from epithermal_edge.journal.journal import Journal
from epithermal_edge.messages.message import Message
from epithermal_edge.messages.topics import EVENT, OBS_THETA, STATE_THETA
from epithermal_edge.mqtt import delivery, presence
from epithermal_edge.mqtt.connection import Connected, Disconnected


@pytest.fixture
def closing():
    """Close all things at the end, the last one first."""
    things = []
    yield lambda thing: things.append(thing) or thing
    for thing in reversed(things):
        (getattr(thing, "close", None) or thing.stop)()


@pytest.fixture
def hurried(monkeypatch):
    """Shorten the pauses a hundredfold."""
    monkeypatch.setattr(delivery, "REFUSED_PAUSE_S", 0.3)
    monkeypatch.setattr(delivery, "REFUSED_PAUSE_MAX_S", 0.6)
    monkeypatch.setattr(delivery, "READ_BACK_S", 0.3)
    monkeypatch.setattr(presence, "TROUBLE_EACH_S", 0.1)


class Answers:
    """A broker's answers to a delivery, given by the test: what was sent, and what is refused."""

    def __init__(self, folder):
        self.journal, self.sent = Journal(folder / "state"), []
        self.delivery = delivery.Delivery(self.journal)

    def publish(self, message, expiry_s):
        self.sent.append(message)
        return len(self.sent)

    def send(self, room, now):
        """Let the delivery send; return the messages that it sent."""
        before = len(self.sent)
        self.delivery.send(self.publish, room, now, 0.0)
        return self.sent[before:]


@pytest.mark.parametrize("reason", [0x87, 0x90, 0x99])  # of MQTT 5: about the topic or its form
def test_a_refused_topic_delays_no_other(tmp_path, reason):
    broker = Answers(tmp_path)
    refused = [ME.message(OBS_THETA, b"%d" % i) for i in range(20)]
    broker.journal.post([*refused, ME.message(EVENT, b"other", "start")])
    assert broker.send(1, 0.0) == refused[:1]
    broker.delivery.handle_acknowledgement(1, reason, 0.0)
    assert [message.payload for message in broker.send(1, 0.0)] == [b"other"]
    broker.journal.close()


def test_a_refused_topic_is_tried_again_after_30_s_and_then_ever_later_up_to_10_min(tmp_path):
    broker = Answers(tmp_path)
    broker.journal.post([ME.message(OBS_THETA, b"%d" % i) for i in range(3)])
    broker.send(1, 0.0)
    now = 0.0
    for number, pause_s in enumerate((30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0), 1):
        broker.delivery.handle_acknowledgement(number, 0x87, now)
        assert broker.send(16, now + pause_s - 0.1) == []
        now += pause_s
        assert [message.payload for message in broker.send(16, now)] == [b"0"]
    broker.journal.close()


def test_a_message_that_is_not_read_back_within_10_s_of_its_acknowledgement_is_refused(tmp_path):
    broker = Answers(tmp_path)
    broker.delivery.must_read_back = True
    broker.journal.post([ME.message(OBS_THETA, b"1")])
    broker.send(1, 0.0)
    broker.delivery.handle_acknowledgement(1, 0, 5.0)
    for now, refused in ((5.0, 0), (15.0, 0), (15.1, 1)):
        broker.delivery.expire_unread(now)
        assert broker.delivery.refused == refused and broker.delivery.sent == 0
    broker.journal.close()


def test_messages_under_way_take_no_room_from_those_behind_them(tmp_path):
    broker = Answers(tmp_path)
    messages = [ME.message(OBS_THETA, b"%d" % i) for i in range(9)]
    broker.journal.post(messages)
    assert broker.send(6, 0.0) == messages[:6]
    for packet in range(1, 7):
        broker.delivery.handle_acknowledgement(packet, 0, 0.0)
    broker.delivery.reset()  # before the journal has deleted what was acknowledged
    assert broker.send(3, 0.0) == messages[6:]
    broker.journal.close()


def test_without_room_nothing_is_sent(tmp_path):
    broker = Answers(tmp_path)
    broker.journal.post([ME.message(OBS_THETA, b"1")])
    assert broker.send(0, 0.0) == [] and broker.send(-3, 0.0) == []
    assert len(broker.send(16, 0.0)) == 1
    broker.journal.close()


def test_a_message_that_finds_no_connection_is_sent_first_with_the_next_one(tmp_path):
    broker = Answers(tmp_path)
    messages = [ME.message(OBS_THETA, b"%d" % i) for i in range(3)]
    broker.journal.post(messages)
    tried = []
    broker.delivery.send(lambda message, expiry_s: tried.append(message), 16, 0.0, 0.0)
    assert tried == messages[:1]
    assert broker.send(16, 0.0) == messages and broker.journal.count_waiting() == 3
    broker.journal.close()


def test_a_broker_that_forbids_reading_back_loses_nothing(tmp_path, closing, hurried):
    acl = tmp_path / "acl"
    acl.write_text("topic write crns/v1/test-1/#\n")
    broker = closing(Broker(tmp_path, f"allow_anonymous true\nacl_file {acl}\n"))
    rig = closing(SenderRig(tmp_path, settings(broker.port, version="3.1.1")))
    rig.post(1, 2, 3)
    rig.turn_until(lambda: rig.sender.health()["trouble"])
    rig.turn_for(0.5)
    assert rig.journal.count_waiting() == 3
    assert "not read back" in rig.sender.health()["trouble"]


def test_a_topic_that_is_forbidden_and_then_over_quota_is_retried(tmp_path, closing, hurried):
    reasons = [0x87, 0x97, 0x97, 0x87]
    broker = closing(
        FakeBroker(lambda topic: reasons.pop(0) if topic.endswith("theta") and reasons else 0)
    )
    rig = closing(SenderRig(tmp_path, settings(broker.port)))
    rig.turn_until(rig.connected)
    rig.post(1)
    rig.turn_until(lambda: broker.rejected == 4)
    rig.turn_until(rig.connected)
    assert [p for t, p in broker.acknowledged if t.endswith("theta")] == [b"1"]
    assert rig.sender.health()["refused"] == 4 and rig.sender.health()["trouble"] is None


def test_the_reason_code_of_a_takeover_is_handled(tmp_path, closing):
    broker = closing(FakeBroker())
    rig = closing(SenderRig(tmp_path, settings(broker.port), lambda top: 0.01))
    for i in range(2):
        rig.turn_until(lambda i=i: rig.sender._links == i + 1 and rig.connected())
        assert not rig.sender.health()["duplicate_client"]
        broker.garbage = b"\xe0\x02\x8e\x00"
        rig.post(1)
        rig.turn_until(lambda i=i: rig.sender.health()["failures"] == i + 1)
    assert rig.sender.health()["duplicate_client"]
    assert "aken over" in rig.sender.health()["last_error"]
    assert rig.sender._next_link - time.monotonic() > 25.0


def test_a_broker_that_sends_garbage_gets_a_new_connection(tmp_path, closing):
    broker = closing(FakeBroker())
    rig = closing(SenderRig(tmp_path, settings(broker.port)))
    rig.turn_until(rig.connected)
    for garbage in (b"\x40\x03\x00\x01\x55", b"\x40\x00", b"\xf0" * 40, b"\x30\x02\xff\xff"):
        links = rig.sender._links
        broker.garbage = garbage
        rig.post(1)
        rig.turn_until(lambda links=links: rig.sender._links > links and rig.sender.is_idle())
    assert rig.journal.count_waiting() == 0


def test_keepalive_detects_a_silently_dead_connection(tmp_path, closing):
    broker = closing(Broker(tmp_path))
    proxy = closing(Proxy(broker.port))
    rig = closing(SenderRig(tmp_path, settings(proxy.port, keepalive_s=1)))
    rig.turn_until(rig.connected)
    proxy.drop = lambda kind, up: True
    rig.turn_until(lambda: any(isinstance(event, Disconnected) for event in rig.seen))
    assert rig.sender.health()["connected"] is False
    proxy.drop = None
    rig.turn_until(lambda: rig.sender.health()["connected"])


def test_the_backlog_is_throttled_and_the_live_value_is_not(tmp_path, closing):
    broker = closing(Broker(tmp_path))
    ears = closing(Timed(broker.port))
    rig = closing(SenderRig(tmp_path, settings(broker.port, backlog_per_s=100.0)))
    rig.post(*range(300))
    rig.turn_for(0.5)
    sent = rig.sender.health()["sent"]
    rig.put(Message(ME.topic(STATE_THETA), b"7", STATE_THETA, time.time() + 100.0))
    rig.turn_until(lambda: ears.count("state/theta") == 1)
    before = [
        topic for topic, _ in ears.at[: ears.at.index(("state/theta", ears.first("state/theta")))]
    ]
    assert before.count("obs/theta") <= min(sent + 100, 289)  # a second's worth at most went first
    rig.turn_until(rig.connected)
    wait_until(lambda: ears.count("obs/theta") == 300)
    took_s = ears.last("obs/theta") - ears.first("obs/theta")
    assert took_s >= 1.8  # 100 at once, then 100/s
    assert ears.of("obs/theta") == list(range(300))


def test_a_broker_with_receive_maximum_1_gets_one_message_at_a_time(tmp_path, closing):
    rules = "allow_anonymous true\nmax_inflight_messages 1\n"
    broker = closing(Broker(tmp_path, rules))
    ears = closing(Subscriber(broker.port))
    rig = closing(SenderRig(tmp_path, settings(broker.port)))
    rig.post(*range(100))
    rig.turn_until(rig.connected)
    (up,) = (event for event in rig.seen if isinstance(event, Connected))
    assert up.receive_maximum == 1 and not any(isinstance(e, Disconnected) for e in rig.seen)
    wait_until(lambda: ears.of("obs/theta") == list(range(100)))
