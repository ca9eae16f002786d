"""Messages of other devices and of a hostile broker: none ends the station or a connection."""

from __future__ import annotations

import contextlib
import json
import math
import random
import socket
import struct
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.faults.fake_broker import FakeBroker
from tests.faults.size import size
from tests.support.rig import Broker, Daemon, Line, Subscriber, station_toml, wait_until
from tests.support.sender import ME, SenderRig, settings
from tests.support.sites import SITE

from epithermal_edge.ancillary import subscriber
from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.cli import simulator
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.loggers.values import LIMITS
from epithermal_edge.messages.message import encode
from epithermal_edge.messages.topics import OBS_THETA
from epithermal_edge.records import RawRecord

HOUR = 3600.0
T0 = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
ABSURD = (
    "-1e18",
    "-62135596800000",
    "-62135596801",
    "-1",
    "0",
    "946684799",
    "4102444800000",
    "1e300",
)
EARLIEST, LATEST = "2000-01-01T00:00:00Z", "2101-01-01T00:00:00Z"
MB = 1_000_000
PER_START = 40  # payloads to a station before it starts again
SOURCE = 'dialect = "records"\nstamps = "unchecked"\n'
INCOMING_SITE = f'{SITE}[site.incoming]\nform = "plain"\nref = 150.0\n'
TABLES = """
[weather]
host = "127.0.0.1"
port = {port}
version = "{version}"
[weather.temperature]
topic = "yard/air"
field = "t"
time_field = "time"
[weather.humidity]
topic = "yard/rh"
[weather.rain]
topic = "yard/tips"
kind = "total"
field = "tips"
time_field = "at.0"
[incoming]
source = "mqtt"
topic = "nm/jung"
field = "count"
time_field = "time"
"""


@pytest.fixture
def closing():
    """Close things at the end, the last one first."""
    with contextlib.ExitStack() as stack:

        def add(thing):
            end = (getattr(thing, name, None) for name in ("close", "kill", "stop"))
            stack.callback(next(filter(None, end)))
            return thing

        yield add


def configured(folder, port=1, version="5"):
    toml = station_toml(folder, site=INCOMING_SITE)
    toml.write_text(toml.read_text() + TABLES.format(port=port, version=version))
    return read_config(toml)


def started(folder, closing, port, version="5"):
    """Return ancillary data that listen to a broker."""
    ancillary = closing(AncillaryData(configured(folder, port, version)))
    ancillary.start()
    return ancillary


def hostile_number(rng):
    """Return a number, a word or a value of another type, as JSON."""
    kind = rng.randrange(8)
    if kind == 0:
        return str(rng.randint(-(10 ** rng.randint(1, 400)), 10 ** rng.randint(1, 400)))
    if kind == 1:
        return f"{rng.uniform(-10, 10)}e{rng.randint(-400, 400)}"
    if kind == 2:
        return repr(struct.unpack("d", rng.randbytes(8))[0]).replace("inf", "Infinity")
    if kind == 3:
        return rng.choice(["NaN", "-Infinity", "1e999", "true", "null", "[]", "{}", "-0", "[[1]]"])
    if kind == 4:
        text = rng.choice(
            ["inf", "nan", "1_0", "\u0661", "\ud800", "\x00", " 7 ", "0x10", "1,5", "--1"]
        )
        return json.dumps(text)
    if kind == 5:
        year = rng.choice([0, 1, 1969, 1970, 1999, 2000, 2026, 2100, 2101, 9999])
        zone = rng.choice(["", "Z", "+99:99", "-14:00"])
        return json.dumps(
            f"{year:04d}-{rng.randint(0, 13):02d}-{rng.randint(0, 32):02d}T24:60:61{zone}"
        )
    if kind == 6:
        return rng.choice(ABSURD)
    return repr(T0 + rng.uniform(-1e5, 1e5) * rng.choice([1.0, 1e-3]))


def payload(rng, now_s=T0):
    """Return a payload of which half of the values are hostile, sometimes with damaged bytes."""
    sane = {
        "t": f"{rng.uniform(-20.0, 40.0):.1f}",
        "time": repr(now_s - rng.uniform(0.0, 60.0)),
        "tips": str(rng.randrange(100)),
        "at": f"[{now_s:.0f}]",
        "count": f"{rng.uniform(100.0, 200.0):.1f}",
    }
    share = rng.choice([0.0, 0.2, 1.0])
    values = {k: hostile_number(rng) if rng.random() < share else v for k, v in sane.items()}
    text = "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"
    if rng.random() < 0.2:  # for a topic without a field
        text = f"{rng.uniform(0.0, 100.0):.1f}" if rng.random() < 0.5 else hostile_number(rng)
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(rng.choice([0, 0, 0, 1, 3])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def test_no_payload_of_a_sensor_ends_the_loop_or_gives_an_impossible_value(
    tmp_path, seed, record_property
):
    count, rng, now = size(6_000, 120_000), random.Random(seed), [T0]
    config, used, refused = configured(tmp_path), 0, 0
    topics = ("yard/air", "yard/rh", "yard/tips", "nm/jung", "other")
    for k in range(count):
        if k % PER_START == 0:  # after a start, a single wrong time is the newest one
            ancillary = AncillaryData(config, wall=lambda: now[0])
        if k % PER_START == PER_START - 1:
            refused += ancillary.rejected
        now[0] += rng.choice([0.0, 1.0, 60.0]) if rng.random() < 0.999 else rng.uniform(-1e5, 0.0)
        ancillary.handle_message(rng.choice(topics), payload(rng, now[0]), rng.random() < 0.2)
        if k % 5:
            continue
        health = ancillary.health()
        encode(health)  # as for health.json and the topic `health`
        for name, stamp in {**health["newest"], "count": health["incoming"]["newest"]}.items():
            assert stamp is None or EARLIEST <= stamp < LATEST, (name, stamp)
        completed = ancillary.complete(RawRecord(now[0], HOUR, 1000.0, 985.0))
        for name in ("temperature_c", "relative_humidity_pct", "rain_mm", "incoming"):
            value, (low, high) = getattr(completed, name), LIMITS[name]
            assert math.isnan(value) or low <= value <= high, (name, value)
            used += not math.isnan(value)
    record_property("hostile_payloads", count)
    record_property("hostile_payloads_refused", refused)
    assert refused > count // 4 and used > count // 50  # both ways were tried


@pytest.mark.parametrize("text", ABSURD)
def test_a_time_before_2000_or_after_2100_is_refused_like_any_useless_message(tmp_path, text):
    ancillary = AncillaryData(configured(tmp_path), wall=lambda: T0)
    for topic, name in (("yard/air", "t"), ("nm/jung", "count")):
        ancillary.handle_message(topic, f'{{"{name}":21.0,"time":{text}}}'.encode(), True)
    health = ancillary.health()
    assert health["refused"] == 2 and health["newest"]["temperature_c"] is None
    assert health["incoming"]["newest"] is None


def test_a_retained_message_with_an_old_time_ends_no_station(tmp_path, closing):
    broker, line = closing(Broker(tmp_path)), closing(Line())
    ears = closing(Subscriber(broker.port))
    for topic, name in (("yard/air", "t"), ("nm/jung", "count")):
        body = f'{{"{name}":151.0,"time":-1e18}}'
        ears.publish(topic, body, retain=True).wait_for_publish(10.0)
    toml = station_toml(
        tmp_path, url=line.name, port=broker.port, site=INCOMING_SITE, source=SOURCE
    )
    toml.write_text(toml.read_text() + TABLES.format(port=broker.port, version="5"))
    for life in range(2):
        station = closing(Daemon(toml)).ready()
        word = "rejected weather message 2"
        wait_until(lambda s=station, n=life + 1, w=word: s.log().count(w) == n, what="refusals")
        line.write(b"".join(simulator.lines("records", records(life, life + 1))))
        wait_until(lambda life=life: len(ears.theta_once()) == life + 1, what="a record")
        wait_until(lambda: health(tmp_path)["surroundings"]["refused"] == 2, what="health.json")
        assert station.stop() == 0


def health(folder):
    return json.loads((folder / "state" / "health.json").read_text())


def records(first, last):
    start_s = time.time() // HOUR * HOUR - 48 * HOUR
    return list(simulator.records(1.0, 3, start_s))[first:last]


def test_a_topic_that_is_not_utf_8_does_not_end_the_weather_connection(tmp_path, closing):
    broker = closing(FakeBroker())
    right = broker.publish(b"yard/rh", b"71")
    broker.greetings = [broker.publish(b"\xff\xfe/\xc0", b"70", qos=0) + right]
    ancillary = started(tmp_path, closing, broker.port)
    wait_until(lambda: ancillary.health()["newest"]["relative_humidity_pct"], what="the value")
    assert broker.connections == 1


@pytest.mark.parametrize(
    ("what", "packet"),
    [
        ("a SUBACK that is too short", b"\x90\x01\x00"),
        ("a PUBACK without a number", b"\x40\x00"),
        ("a PUBLISH whose topic is longer than it", b"\x30\x03\xff\xffx"),
        ("an unknown property", b"\x30\x06\x00\x01x\x02\xfe\xfe"),
    ],
)
def test_bytes_that_are_not_mqtt_renew_the_weather_connection(tmp_path, closing, what, packet):
    broker = closing(FakeBroker())
    broker.greetings = [packet, broker.publish(b"yard/rh", b"71")]
    ancillary = started(tmp_path, closing, broker.port)

    def heard():
        ancillary.poll(time.monotonic())
        return ancillary.health()["newest"]["relative_humidity_pct"]

    wait_until(heard, what=what)
    assert broker.connections == 2
    assert ancillary.health()["link"]["last_error"] is not None


def test_messages_of_qos_2_are_not_stored_for_a_broker_that_never_releases_them(tmp_path, closing):
    broker = closing(FakeBroker())
    broker.greetings = [broker.publish(b"yard/rh", b"70", qos=2), broker.publish(b"yard/rh", b"71")]
    ancillary = started(tmp_path, closing, broker.port)
    wait_until(lambda: ancillary.health()["newest"]["relative_humidity_pct"], what="the value")
    assert broker.connections == 2


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_message_that_is_too_long_is_refused_by_its_header(tmp_path, closing, version):
    """The header says 200 MB, of which the broker sends the beginning."""
    broker = closing(FakeBroker())
    broker.level = 5 if version == "5" else 4
    long = broker.publish(b"yard/air", b"x" * 1000, length=200 * MB)
    broker.greetings = [long, broker.publish(b"yard/rh", b"71")]
    ancillary = started(tmp_path, closing, broker.port, version)
    wait_until(lambda: ancillary.health()["newest"]["relative_humidity_pct"], what="the value")
    link = ancillary.health()["link"]
    reason = "yard/air: the broker sends a message of 200000000"
    assert broker.connections == 2 and reason in link["last_error"]
    assert link["rejected"] == link["suspended"] == ["yard/air"]


def test_a_topic_with_a_message_that_was_too_long_is_subscribed_again_later(
    tmp_path, closing, monkeypatch
):
    monkeypatch.setattr(subscriber, "SUSPENDED_S", 0.2)
    broker = closing(FakeBroker())
    long = broker.publish(b"yard/rh", b"", length=200 * MB)
    broker.greetings = [long, b"", broker.publish(b"yard/rh", b"71")]
    ancillary = started(tmp_path, closing, broker.port)

    def heard():
        ancillary.poll(time.monotonic())
        return ancillary.health()["newest"]["relative_humidity_pct"]

    wait_until(lambda: broker.connections == 2, what="a new connection")
    wait_until(heard, what="the value")


def publish_retained(port, topic, length):
    """Publish zeros to a real broker, MQTT 3.1.1, without holding them in memory."""
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04huge")
        assert link.recv(4) == b"\x20\x02\x00\x00"
        head = FakeBroker.publish(Level(4), topic, b"", length=length + len(topic) + 4)
        link.sendall(head.replace(b"\x32", b"\x33", 1))  # retained
        for _ in range(length // MB):
            link.sendall(bytes(MB))
        assert link.recv(4) == b"\x40\x02\x00\x07"


class Level:
    """A protocol level."""

    def __init__(self, level):
        self.level = level


def test_huge_retained_messages_take_no_memory_and_stop_no_delivery(
    tmp_path, closing, record_property
):
    """200 MB on 3.1.1 by a real broker, to both connections, and once more after a restart."""
    length = size(40, 200) * MB
    broker, line = closing(Broker(tmp_path)), closing(Line())
    ears = closing(Subscriber(broker.port))
    for topic in (b"yard/air", b"homeassistant/status"):
        publish_retained(broker.port, topic, length)
    toml = station_toml(
        tmp_path,
        url=line.name,
        port=broker.port,
        site=INCOMING_SITE,
        source=SOURCE,
        mqtt='version = "3.1.1"\n',
    )
    toml.write_text(toml.read_text() + TABLES.format(port=broker.port, version="3.1.1"))
    for life in range(size(1, 2)):
        station = closing(Daemon(toml)).ready()
        line.write(b"".join(simulator.lines("records", records(life, life + 1))))
        wait_until(lambda life=life: len(ears.theta_once()) == life + 1, what="a record")
        wait_until(
            lambda: "homeassistant/status" in (ears.of("status")[-1]["trouble"] or ""),
            "trouble",
        )
        wait_until(lambda: "yard/air" in str(health(tmp_path)["surroundings"]), "weather")
        wait_until(lambda: health(tmp_path)["surroundings"]["link"]["connected"], "weather")
        peak_mb = peak_bytes(station.process.pid) / MB
        record_property(f"huge_messages_peak_mb_{life}", round(peak_mb, 1))
        assert peak_mb < 150.0  # 200 MB of one message took 640
        assert station.stop() == 0


def peak_bytes(pid):
    """Return the peak of a process's resident memory."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(row.split()[1] for row in rows if row.startswith("VmHWM")))


def test_no_message_on_a_topic_of_the_station_ends_the_sender(tmp_path, closing, seed):
    """Status, birth and own topics on 3.1.1, on which the station reads its messages back."""
    count, rng = size(500, 20_000), random.Random(seed)
    broker = closing(Broker(tmp_path))
    ears = closing(Subscriber(broker.port))
    rig = closing(SenderRig(tmp_path, settings(broker.port, version="3.1.1")))
    rig.post(1)
    rig.turn_until(rig.connected)
    topics = ("crns/v1/test-1/status", "crns/v1/test-1/obs/theta", "homeassistant/status")
    for k in range(count):
        ears.publish(rng.choice(topics), payload(rng))
        if k % 50 == 0:
            rig.turn()
    rig.put(ME.message(OBS_THETA, b"2"))
    rig.turn_until(rig.connected)
    wait_until(lambda: b"2" in [p for t, p in ears.messages if t.endswith("obs/theta")])
    assert rig.sender.health()["failures"] == 0
