"""Weather and incoming intensity in the records of a station: a real broker, a real file."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from tests.support.rig import (
    MOSQUITTO,
    Broker,
    Daemon,
    Line,
    Subscriber,
    station_toml,
    validator,
    wait_until,
)
from tests.support.sites import SITE

from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.config.station_toml import Config, read_config
from epithermal_edge.errors import ConfigError
from epithermal_edge.loggers.parser import RECORDS_HEADER, format_record
from epithermal_edge.records import RawRecord

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto on this machine")

HOUR = 3600.0
T0 = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
PLAIN = f'{SITE}[site.incoming]\nform = "plain"\nref = 150.0\n'
YARD = """
[weather]
host = "127.0.0.1"
port = {port}
[weather.temperature]
topic = "yard/air"
field = "main.temp"
unit = "K"
[weather.humidity]
topic = "yard/air"
field = "main.rh"
[weather.rain]
topic = "yard/tips"
unit = "tips"
max_age_s = 86400
"""
TIPS = 'dialect = "records"\nstamps = "unchecked"\nrain_mm_per_tip = 0.2\n'


def configured(folder: Path, tables: str, site: str = SITE, source: str = TIPS) -> Config:
    path = station_toml(folder, site=site, source=source)
    path.write_text(path.read_text() + tables)
    return read_config(path)


def record(hour: int, **values: float) -> RawRecord:
    return RawRecord(T0 + hour * HOUR, HOUR, 1000.0, 985.0, **values)


class Wall:
    """The station's clock, set by the test."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> float:
        return self.now


class Yard:
    """Weather messages, passed on as the broker's thread does."""

    def __init__(self, folder: Path, since_s: float = -math.inf) -> None:
        self.wall = Wall()
        config = configured(folder, YARD.format(port=1))
        self.ancillary = AncillaryData(config, since_s, self.wall)
        self.ancillary._handle_link(True)

    def publish(self, minute: float, topic: str, payload: bytes, retained: bool = False) -> None:
        self.wall.now = T0 + 60.0 * minute
        self.ancillary.handle_message(topic, payload, retained)


def test_a_record_gets_the_weather_of_its_interval_in_its_units(tmp_path):
    yard = Yard(tmp_path)
    yard.publish(1, "yard/tips", b"0")
    yard.publish(10, "yard/air", b'{"main": {"temp": 283.15, "rh": 80}}')
    yard.publish(30, "yard/tips", b"3")
    yard.publish(50, "yard/air", b'{"main": {"temp": 285.15, "rh": 70}}')
    yard.publish(61, "yard/tips", b"5")
    first = yard.ancillary.complete(record(1))
    assert (first.temperature_c, first.relative_humidity_pct) == (pytest.approx(11.0), 75.0)
    assert math.isnan(first.rain_mm)  # the rain of the first minute is unknown
    second = yard.ancillary.complete(record(2))
    assert second.rain_mm == pytest.approx(1.0)
    assert math.isnan(second.temperature_c)  # 70 minutes old
    assert (first.counts, first.pressure_hpa) == (1000.0, 985.0)


def test_rain_of_records_that_are_missing_is_in_the_next_one(tmp_path):
    yard = Yard(tmp_path, since_s=T0)
    for hour in range(-1, 8):
        yard.publish(60 * hour + 30, "yard/tips", b"1")
        if hour in (0, 6):
            completed = yard.ancillary.complete(record(hour + 1)).rain_mm
            assert completed == pytest.approx(0.2 if hour == 0 else 1.2)


def test_the_logger_s_own_column_is_not_mixed_with_another_gauge(tmp_path):
    yard = Yard(tmp_path)
    logger = record(1, temperature_c=5.0, relative_humidity_pct=50.0, rain_mm=3.0, et0_mm=0.1)
    completed = yard.ancillary.complete(logger)
    assert math.isnan(completed.temperature_c) and math.isnan(completed.rain_mm)
    assert completed.et0_mm == 0.1  # has no table


def test_a_late_or_repeated_record_gets_no_weather(tmp_path):
    yard = Yard(tmp_path)
    yard.publish(50, "yard/air", b'{"main": {"temp": 283.15, "rh": 80}}')
    assert yard.ancillary.complete(record(1)).relative_humidity_pct == 80.0
    for hour in (1, 0):
        assert math.isnan(yard.ancillary.complete(record(hour)).relative_humidity_pct)


def test_what_cannot_be_used_is_counted_and_changes_nothing(tmp_path):
    yard = Yard(tmp_path)
    yard.publish(10, "yard/air", b'{"main": {"temp": 283.15, "rh": 80}}')
    yard.publish(50, "yard/air", b'{"main": {"temp": 20, "rh": 130}}')  # -253 degC, 130 %
    yard.publish(51, "yard/air", b"offline")
    yard.publish(52, "yard/air", b'{"main": {"temp": 300, "rh": 60}}', retained=True)
    completed = yard.ancillary.complete(record(1))
    assert (completed.temperature_c, completed.relative_humidity_pct) == (pytest.approx(10.0), 80.0)
    health = yard.ancillary.health()
    assert health["refused"] == 6
    assert "retained" in str(health["last_refusal"])


def test_a_clock_that_was_set_back_makes_weather_unknown_and_then_known_again(tmp_path):
    yard = Yard(tmp_path, since_s=T0 - 48 * HOUR)
    yard.publish(10, "yard/tips", b"1")
    for minute in (-1450, -1430, -1400):  # a day back
        yard.publish(minute, "yard/tips", b"2")
    assert math.isnan(yard.ancillary.complete(record(-24)).rain_mm)
    yard.publish(-1380, "yard/tips", b"2")
    assert yard.ancillary.complete(record(-23)).rain_mm == pytest.approx(1.2)


INCOMING_MQTT = """
[weather]
host = "127.0.0.1"
[incoming]
source = "mqtt"
topic = "nm/jung"
field = "count"
time_field = "time"
max_age_s = 7200
"""


def test_a_retained_count_with_its_time_serves_while_it_is_fresh(tmp_path):
    wall = Wall()
    ancillary = AncillaryData(configured(tmp_path, INCOMING_MQTT, site=PLAIN), wall=wall)
    wall.now = T0 + 1800.0
    payload = b'{"count": 155.5, "time": "2026-11-26T12:00:00Z"}'
    ancillary.handle_message("nm/jung", payload, retained=True)
    ancillary.handle_message("nm/jung", b'{"count": 15.5, "time": 1774440000}', retained=False)
    column = record(1, incoming=99.0)  # another monitor's
    assert [ancillary.complete(column).incoming, ancillary.complete(record(2)).incoming] == [
        155.5
    ] * 2
    assert math.isnan(ancillary.complete(record(3)).incoming)
    assert ancillary.health()["incoming"] == {
        "source": "mqtt",
        "newest": "2026-11-26T12:00:00Z",
        "count": 155.5,
        "counts": 1,
        "max_age_s": 7200.0,
        "ref": 150.0,
        "unlike": None,
        "implausible": 1,
        "failures": 0,
        "last_error": None,
    }


def test_the_first_record_has_the_count_of_a_file(tmp_path):
    (tmp_path / "jung.txt").write_text("2026-11-26 12:00:00;155.5\n")
    tables = '[incoming]\nsource = "file"\nfile = "jung.txt"\n'
    ancillary = AncillaryData(configured(tmp_path, tables, site=PLAIN))
    ancillary.start()
    assert ancillary.complete(record(1)).incoming == 155.5
    ancillary.stop()


def test_a_missing_file_stops_nothing_and_is_reported(tmp_path):
    tables = '[incoming]\nsource = "file"\nfile = "jung.txt"\n'
    ancillary = AncillaryData(configured(tmp_path, tables, site=PLAIN))
    ancillary.start()
    assert math.isnan(ancillary.complete(record(1)).incoming)
    health = ancillary.health()["incoming"]
    assert isinstance(health, dict) and "jung.txt" in str(health["last_error"])
    ancillary.stop()


def test_a_station_without_tables_leaves_records_as_they_are(tmp_path):
    ancillary = AncillaryData(configured(tmp_path, ""))
    whole = record(1)
    assert ancillary.complete(whole) is whole
    assert ancillary.health()["link"] is None


@pytest.mark.parametrize(
    ("tables", "site", "fault"),
    [
        ('[weather.wind]\ntopic = "a"\n', SITE, "weather.wind: unknown; known: host, "),
        ('[weather.rain]\nunit = "inch"\n', SITE, "weather.rain.topic: missing; "),
        ('[weather.rain]\ntopic = "a/#"\n', SITE, "weather.rain.topic: 'a/#' does not match"),
        ('[weather.rain]\ntopic = "a"\n', SITE, "weather.host: missing; topics need this broker"),
        (
            '[weather]\nhost = "b"\n[weather.rain]\ntopic = "a"\nkind = "level"\n',
            SITE,
            "weather.rain.kind: 'level' is none of amount, total; ",
        ),
        (
            '[weather]\nhost = "b"\n[weather.rain]\ntopic = "a"\nunit = "tips"\n',
            SITE,
            "source.rain_mm_per_tip: missing; weather.rain.unit is tips",
        ),
        (
            '[weather]\nhost = "b"\n[weather.rain]\ntopic = "a"\ntime_field = "t"\n',
            SITE,
            "weather.rain.field: missing; a payload with time_field is JSON",
        ),
        ("[incoming]\n", PLAIN, "incoming.source: missing; "),
        ('[incoming]\nsource = "file"\n', PLAIN, "incoming.file: missing; "),
        ('[incoming]\nsource = "mqtt"\n', PLAIN, "incoming.topic: missing; "),
        ('[incoming]\nsource = "nmdb"\n', SITE, "site.incoming.form: is none, but "),
        (
            '[incoming]\nsource = "nmdb"\nurl = "http://x"\n',
            PLAIN,
            "incoming.url: 'http://x' does not match",
        ),
        ('[incoming]\nsource = "nmdb"\nevery_s = 1\n', PLAIN, "incoming.every_s: 1 is not within"),
        ('[incoming]\nsource = "nmdb"\nca_file = "no"\n', PLAIN, "incoming.ca_file: no file"),
    ],
)
def test_faults_of_the_tables_name_key_and_remedy(tmp_path, tables, site, fault):
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, tables, site, 'dialect = "records"\n')
    assert fault in str(caught.value)


class Sensor:
    """A sensor that publishes."""

    def __init__(self, port: int) -> None:
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10.0)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_a_subscriber_reconnects_and_knows_the_break(tmp_path):
    broker = Broker(tmp_path)
    port = broker.port
    ancillary = AncillaryData(configured(tmp_path, YARD.format(port=port)))
    ancillary.start()
    try:
        for _ in range(2):
            wait_until(lambda: ancillary.health()["link"]["connected"], what="link")
            sensor = Sensor(port)
            sensor.publish("yard/air", '{"main": {"temp": 283.15, "rh": 80}}')
            sensor.close()
            wait_until(lambda: ancillary.health()["newest"]["temperature_c"], what="message")
            broker.stop()
            wait_until(lambda: not ancillary.health()["link"]["connected"], what="loss")
            broker.start()
        now = time.time()
        completed = ancillary.complete(RawRecord(now, 60.0, 10.0))
        assert completed.temperature_c == pytest.approx(10.0)
        assert math.isnan(completed.rain_mm)
    finally:
        ancillary.stop()
        broker.stop()


def test_a_broker_that_refuses_is_named_in_the_health(tmp_path):
    broker = Broker(tmp_path, "allow_anonymous false\n")
    ancillary = AncillaryData(configured(tmp_path, YARD.format(port=broker.port)))
    ancillary.start()
    try:
        wait_until(
            lambda: "rejects the connection: Not authorized" in str(ancillary.health()["link"]),
            what="refusal",
        )
    finally:
        ancillary.stop()
        broker.stop()


def test_a_station_whose_id_ends_in_weather_is_not_disconnected(tmp_path):
    """A broker disconnects the older of two clients with the same id."""
    broker = Broker(tmp_path)
    lost = []
    other = Client(CallbackAPIVersion.VERSION2, client_id="test-1-weather", protocol=MQTTv5)
    other.on_disconnect = lambda *_: lost.append(True)
    other.connect("127.0.0.1", broker.port)
    other.loop_start()
    ancillary = AncillaryData(configured(tmp_path, YARD.format(port=broker.port)))
    ancillary.start()
    try:
        wait_until(lambda: ancillary.health()["link"]["connected"], what="link")
        other.publish("yard/tips", "1", qos=1).wait_for_publish(10.0)
        wait_until(lambda: ancillary.health()["newest"]["rain_mm"], what="message")
        assert not lost
    finally:
        ancillary.stop()
        other.disconnect()
        other.loop_stop()
        broker.stop()


def test_a_topic_that_the_broker_rejects_is_named(tmp_path):
    ancillary = AncillaryData(configured(tmp_path, YARD.format(port=1)))
    subscriber = ancillary._subscriber
    assert subscriber is not None
    codes = [ReasonCode(PacketTypes.SUBACK, identifier=code) for code in (1, 0x87)]
    subscriber._on_subscribe(None, None, 1, codes, None)
    assert "rejects the subscription to yard/tips (Not authorized)" in str(
        ancillary.health()["link"]
    )


def test_a_password_that_cannot_be_read_stops_no_measuring(tmp_path):
    (tmp_path / "password").write_bytes(b"\xff\xfe")
    tables = YARD.format(port=1).replace(
        "[weather.temp", 'user = "u"\npassword_file = "password"\n[weather.temp', 1
    )
    ancillary = AncillaryData(configured(tmp_path, tables))
    ancillary.start()
    assert "check [weather]" in str(ancillary.health()["link"])
    ancillary.stop()


def test_a_running_station_publishes_weather_and_flags_what_is_missing(tmp_path):
    broker = Broker(tmp_path)
    port = broker.port
    line, listener = Line(), Subscriber(port)
    toml = station_toml(tmp_path, url=line.name, port=port, site=PLAIN, source=TIPS)
    (tmp_path / "jung.txt").write_text(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S};151.5\n")
    tables = YARD.format(port=port).replace(
        "[weather.rain]", "[weather.rain]\ntime_field='t'\nfield='tips'"
    )
    toml.write_text(toml.read_text() + tables + '[incoming]\nsource = "file"\nfile = "jung.txt"\n')
    station, sensor = Daemon(toml).ready(), Sensor(port)
    try:
        wait_until(lambda: "listening to" in station.log(), what="subscription")
        wait_until(lambda: "is open" in station.log(), what="port")
        now = time.time()
        sensor.publish("yard/air", '{"main": {"temp": 283.15, "rh": 80}}')
        time.sleep(0.3)
        row = RawRecord(math.ceil(now) + 1.0, 3600.0, 900.0, 985.0)
        line.write(RECORDS_HEADER + format_record(row))
        wait_until(lambda: listener.of("obs/theta"), what="estimate")
        (completed,) = listener.of("obs/theta")
        validator("obs-theta").validate(completed)
        assert (completed["met"]["temperature_c"], completed["met"]["incoming"]) == (10.0, 151.5)
        assert completed["met"]["rain_mm"] is None
        assert "weather_missing" in completed["flags"] and "incoming_held" not in completed["flags"]
    finally:
        station.kill()
        for end in (sensor, listener, line):
            end.close()
        broker.stop()
