"""A link that breaks in every way: nothing is deleted that the broker has not acknowledged."""

import dataclasses
import json
import random
import sqlite3
import time

import psutil
import pytest
from tests.faults.fake_broker import FakeBroker
from tests.faults.proxy import PUBACK, Proxy
from tests.faults.size import size
from tests.support.reference import published, reference
from tests.support.rig import (
    Broker,
    Daemon,
    Line,
    Subscriber,
    Timed,
    station_toml,
    validate_by_topic,
    wait_until,
)
from tests.support.sender import ME, SenderRig, settings

from epithermal_edge.cli import simulator
from epithermal_edge.messages.topics import EVENT
from epithermal_edge.mqtt import backoff, delivery, presence, sender

SEED = 5
FLAT_BYTES = 2_000_000  # accepted growth of resident memory


@pytest.fixture
def closing():
    """Close things at the end, the last one first."""
    things = []
    yield lambda thing: things.append(thing) or thing
    for thing in reversed(things):
        end = [getattr(thing, name, None) for name in ("close", "kill", "stop")]
        next(filter(None, end))()


@pytest.fixture
def broker(tmp_path, closing):
    return closing(Broker(tmp_path))


def in_order_of_arrival(ears):
    """Return obs/theta without repetitions."""
    return list(dict.fromkeys(ears.of("obs/theta")))


def committed(folder):
    path = folder / "state" / "journal.sqlite3"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return database.execute("SELECT count(*) FROM record").fetchone()[0]


def rss():
    return psutil.Process().memory_info().rss


@pytest.mark.parametrize(
    ("what", "interval_s", "short", "full"),
    [("minutes_7_d", 60.0, 200, 7 * 1440), ("hours_90_d", 3600.0, 0, 90 * 24)],
)
def test_all_of_a_long_absence_is_delivered_in_order_and_the_live_value_at_once(
    tmp_path, closing, record_property, what, interval_s, short, full
):
    count = size(short, full)
    if not count:
        pytest.skip("in full size only: the code path is that of the minutes")
    start_s = time.time() // 60 * 60 - count * interval_s
    measured = list(simulator.records(count * interval_s / 86400.0, SEED, start_s, interval_s))
    count, lines = len(measured), list(simulator.lines("records", measured[:-1]))
    broker, line = closing(Broker(tmp_path)), closing(Line())
    broker.stop()
    toml = station_toml(
        tmp_path,
        url=line.name,
        port=broker.port,
        source=f'dialect = "records"\ninterval_s = {interval_s}\n',
        mqtt="backlog_per_s = 0\n",
    )
    daemon = closing(Daemon(toml)).ready()
    line.write(b"".join(lines))
    wait_until(lambda: committed(tmp_path) == count - 1)
    live = dataclasses.replace(measured[-1], end_s=time.time() // 60 * 60)
    lines += simulator.lines("records", [live])
    line.write(b"".join(lines[-2:]))
    wait_until(lambda: committed(tmp_path) == count)
    assert daemon.stop() == 0
    assert daemon.counts()["records"] == count and daemon.counts()["delivered"] == 0
    broker.start()
    ears = closing(Timed(broker.port))
    daemon = closing(Daemon(toml)).ready()
    wait_until(lambda: ears.count("obs/theta") >= count)
    ended = psutil.Process(daemon.process.pid).cpu_times()
    cpu_s = ended.user + ended.system  # start included
    assert daemon.stop() == 0
    wait_until(lambda: ears.of("status")[-1]["state"] == "stopped")
    birth = ears.first("status")
    drained_s, live_s = ears.last("obs/theta") - birth, ears.first("state/theta") - birth
    record_property("seed", SEED)
    record_property(f"{what}_records", count)
    record_property(f"{what}_drained_s", round(drained_s, 2))
    record_property(f"{what}_cpu_s", round(cpu_s, 2))
    record_property(f"{what}_live_after_s", round(live_s, 3))
    messages = ears.of("obs/theta")
    assert published(messages) == reference(toml, lines)
    assert ears.of("state/theta") == messages[-1:]
    assert live_s <= 0.5 * drained_s and cpu_s <= 10.0  # in turn it would be the last
    validate_by_topic(ears.messages[:: max(1, count // 500)])


def test_swallowed_acknowledgements_delete_nothing(
    tmp_path, broker, closing, monkeypatch, record_property
):
    monkeypatch.setattr(sender, "ACK_TIMEOUT_S", 0.3)
    count, rng = size(100, 2000), random.Random(SEED)
    proxy, ears = closing(Proxy(broker.port)), closing(Subscriber(broker.port))
    rig = closing(SenderRig(tmp_path, settings(proxy.port)))
    rig.post(*range(count))
    proxy.drop = lambda kind, up: kind == PUBACK and not up
    rig.turn_until(lambda: proxy.connections >= 4)
    assert rig.journal.count_waiting() == count and rig.sender.health()["sent"] == 0
    assert "no acknowledgement" in rig.sender.health()["last_error"]
    proxy.drop = lambda kind, up: kind == PUBACK and not up and rng.random() < 0.02
    rig.turn_until(rig.connected)
    wait_until(lambda: len(set(ears.of("obs/theta"))) == count)
    assert in_order_of_arrival(ears) == list(range(count))
    record_property("seed", SEED)
    record_property("pubacks_swallowed", proxy.swallowed)


def test_a_link_that_flaps_loses_nothing_and_takes_no_memory(
    tmp_path, broker, closing, record_property
):
    """Break the link as if every 5 s for 10 min, twenty times as fast."""
    cuts, count, rng = size(7, 120), 0, random.Random(SEED)
    proxy, ears = closing(Proxy(broker.port)), closing(Subscriber(broker.port))
    rig = closing(SenderRig(tmp_path, settings(proxy.port), lambda top: rng.uniform(0.0, 0.05)))
    before = None
    for cut in range(cuts):
        proxy.accepts = cut % 3 != 2  # every third time the link stays down
        until = time.monotonic() + 0.25
        while time.monotonic() < until:
            rig.post(*range(count, count + 5))
            count += 5
            rig.turn()
        proxy.cut()
        if cut == cuts // 3:
            before, files = rss(), psutil.Process().num_fds()
    proxy.accepts = True
    rig.turn_until(rig.connected)
    grown = rss() - before
    wait_until(lambda: len(set(ears.of("obs/theta"))) == count)
    assert in_order_of_arrival(ears) == list(range(count))
    assert rig.sender.health()["failures"] >= cuts // 3
    assert not rig.sender.health()["duplicate_client"]
    record_property("seed", SEED)
    record_property("flaps", cuts)
    record_property("flaps_rss_growth_bytes", grown)
    assert grown < FLAT_BYTES
    assert psutil.Process().num_fds() <= files + 6  # the proxy's last two connections


def test_a_broker_that_forgets_everything_gets_everything_again(
    tmp_path, broker, closing, record_property
):
    """Stop the broker when the subscriber has all acknowledged messages, as these may be lost."""
    restarts, count, heard = size(2, 20), 0, set()
    proxy = closing(Proxy(broker.port))
    rig = closing(SenderRig(tmp_path, settings(proxy.port)))
    for _ in range(restarts):
        ears = Subscriber(broker.port)
        rig.post(*range(count, count + 50))
        count += 50
        rig.turn_until(lambda ears=ears: len(ears.of("obs/theta")) >= 20)
        proxy.accepts = False
        proxy.cut()  # some messages are in flight
        rig.post(*range(count, count + 20))
        count += 20
        rig.turn_for(0.1)
        acknowledged = rig.sender.health()["sent"]
        wait_until(lambda e=ears, t=acknowledged: len(heard | set(e.of("obs/theta"))) >= t)
        heard.update(ears.of("obs/theta"))
        ears.close()
        broker.stop()
        broker.start()
        proxy.accepts = True
    ears = closing(Subscriber(broker.port))
    rig.turn_until(rig.connected)
    wait_until(lambda: heard | set(ears.of("obs/theta")) == set(range(count)))
    states = closing(Subscriber(broker.port))
    wait_until(lambda: len(states.retained) == 2)  # status and meta are published again
    record_property("broker_restarts", restarts)


def test_a_broker_of_one_message_a_second_is_waited_for(tmp_path, broker, closing, record_property):
    """Limit the broker to one message per second (five in the short form)."""
    per_s, seconds = size(5, 1), size(2, 90)
    proxy, ears = closing(Proxy(broker.port)), closing(Subscriber(broker.port))
    proxy.per_s = float(per_s)
    rig = closing(SenderRig(tmp_path, settings(proxy.port)))
    rig.post(*range(1000))
    rig.turn_for(2.5 / per_s)
    before, already = rss(), rig.sender.health()["sent"]
    rig.turn_for(seconds)
    grown, acknowledged = rss() - before, rig.sender.health()["sent"] - already
    record_property("slow_broker_rss_growth_bytes", grown)
    assert rig.sender.health()["in_flight"] <= delivery.IN_FLIGHT
    assert proxy.connections == 1 and grown < FLAT_BYTES
    assert 0 < acknowledged <= seconds * per_s + 2
    assert rig.journal.count_waiting() >= 1000 - already - acknowledged
    proxy.per_s = 0.0
    rig.turn_until(rig.connected)
    wait_until(lambda: len(ears.of("obs/theta")) == 1000)
    assert ears.of("obs/theta") == list(range(1000))


@pytest.fixture
def hurried(monkeypatch):
    """Shorten the pauses a hundred times."""
    monkeypatch.setattr(delivery, "REFUSED_PAUSE_S", 0.3)
    monkeypatch.setattr(delivery, "REFUSED_PAUSE_MAX_S", 0.6)
    monkeypatch.setattr(delivery, "READ_BACK_S", 0.3)
    monkeypatch.setattr(presence, "TROUBLE_EACH_S", 0.1)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_what_the_broker_forbids_is_kept_named_and_delivered_when_it_is_allowed(
    tmp_path, closing, hurried, record_property, version
):
    """On 3.1.1 the broker acknowledges forbidden messages; only reading back shows the loss."""
    acl, count = tmp_path / "acl", size(40, 2000)
    allowed = [f"topic readwrite crns/v1/test-1/{x}\n" for x in ("status", "meta", "event/#")]
    acl.write_text("".join(allowed) + "topic read #\n")
    broker = closing(Broker(tmp_path, f"allow_anonymous true\nacl_file {acl}\n"))
    ears = closing(Subscriber(broker.port))
    rig = closing(SenderRig(tmp_path, settings(broker.port, version=version)))
    rig.post(*range(count))
    rig.put(ME.message(EVENT, b'{"gap":1}', "gap"))
    rig.turn_until(lambda: len(ears.of("event/gap")) == 1 and rig.journal.count_waiting() == count)
    rig.turn_for(0.7)  # some more attempts
    assert rig.journal.count_waiting() == count and ears.of("obs/theta") == []
    why = "not authorized" if version == "5" else "not read back"
    health = rig.sender.health()
    assert why in health["trouble"] and why in health["last_refusal"] and health["connected"]
    assert why in ears.of("status")[-1]["trouble"]
    tries = health["refused"]
    assert tries <= delivery.IN_FLIGHT + 10  # few attempts
    validate_by_topic([(t, p) for t, p in ears.messages if t.endswith("status")])
    ears.close()
    broker.stop()
    acl.write_text("topic readwrite #\n")
    broker.start()
    ears = closing(Subscriber(broker.port))
    rig.turn_until(rig.connected)
    wait_until(lambda: len(set(ears.of("obs/theta"))) == count)
    assert in_order_of_arrival(ears) == list(range(count))
    rig.turn_until(lambda: ears.of("status")[-1]["trouble"] is None)
    record_property(f"forbidden_{version}_kept", count)


def test_a_quota_stops_everything_until_it_is_lifted(tmp_path, closing, hurried, record_property):
    count, quota = 200, {"left": 50}

    def reason(topic):
        if not topic.endswith(("theta", "gap")):
            return 0
        quota["left"] -= 1
        return 0 if quota["left"] >= 0 else 0x97

    broker = closing(FakeBroker(reason))
    rig = closing(SenderRig(tmp_path, settings(broker.port)))
    rig.post(*range(count))
    rig.put(ME.message(EVENT, b"1", "gap"))
    rig.turn_until(lambda: broker.rejected > 0)
    rig.turn_for(0.2)
    before = rss()
    rig.turn_for(size(1, 60))
    grown = rss() - before
    record_property("quota_rss_growth_bytes", grown)
    health, refused = rig.sender.health(), broker.rejected
    assert rig.journal.count_waiting() == count + 1 - 50 and health["sent"] == 50
    assert health["trouble"] == "quota exceeded" and "quota exceeded" in health["last_refusal"]
    statuses = [json.loads(p) for t, p in broker.acknowledged if t.endswith("status")]
    assert statuses[-1]["trouble"] == "quota exceeded"
    assert refused <= delivery.IN_FLIGHT + size(1, 60) / 0.3 and grown < FLAT_BYTES
    quota["left"] = 10_000
    rig.turn_until(rig.connected)
    acknowledged = [int(p) for t, p in broker.acknowledged if t.endswith("theta")]
    assert list(dict.fromkeys(acknowledged)) == list(range(count))
    assert rig.sender.health()["trouble"] is None


def test_two_stations_of_one_name_notice_it_and_do_not_fight(
    tmp_path, broker, closing, monkeypatch, record_property
):
    monkeypatch.setattr(backoff, "TAKEOVER_PAUSE_S", 0.6)
    monkeypatch.setattr(presence, "TROUBLE_EACH_S", 0.1)
    ears, rigs = closing(Subscriber(broker.port)), []
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        rig = SenderRig(tmp_path / str(i), settings(broker.port), lambda top, i=i: 0.1 * (i + 1))
        rigs.append(closing(rig))
        rig.post(*range(i, 100, 2))

    def turn():
        for rig in rigs:
            rig.turn()
        return all(rig.sender.health()["duplicate_client"] for rig in rigs)

    wait_until(turn)
    begin = [rig.sender.health()["failures"] for rig in rigs]
    until = time.monotonic() + size(1, 3)
    while time.monotonic() < until:
        turn()
    fights = sum(rig.sender.health()["failures"] for rig in rigs) - sum(begin)
    record_property("takeovers_after_notice", fights)
    assert fights <= size(4, 10)  # without the longer pause there would be ten per second
    assert any("uses the id test-1" in (m["trouble"] or "") for m in ears.of("status"))
    wait_until(lambda: turn() and set(ears.of("obs/theta")) == set(range(100)))
    assert all(rig.sender.health()["trouble"] for rig in rigs)
