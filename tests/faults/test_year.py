"""A year in the field, hour by hour: noise, unplugs, kills, broker restarts and gaps, by seed.

The daemon, the port, the broker and the subscriber are real; only the hours pass faster. The
logger has a memory, as most have: after a fault it resends what the journal lacks.
"""

import collections
import json
import os
import random
import sqlite3
import statistics
import threading
import time
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.faults.size import size
from tests.support.reference import published, reference
from tests.support.rig import PATIENCE_S, Broker, Daemon, Line, edge, station_toml, wait_until

from epithermal_edge.cli import simulator

YEAR_H = 8760
MONTH_H = 730
START_S = 1_735_689_600.0  # 2025-01-01T00:00:00Z: a year that is over
HEALTH_S = 60.0  # interval of health.json when nothing happens, in real time


class Memory:
    """A subscriber with a persistent session at the broker."""

    def __init__(self, port):
        self.heard = []
        self._ready = threading.Event()
        client = self._client = Client(CallbackAPIVersion.VERSION2, "judge", protocol=MQTTv5)
        client.on_message = lambda _c, _d, message: self.heard.append(message.payload)
        client.on_connect = lambda *_: client.subscribe("crns/v1/test-1/obs/theta", qos=1)
        client.on_subscribe = lambda *_: self._ready.set()
        client.reconnect_delay_set(1, 1)
        forever = Properties(PacketTypes.CONNECT)
        forever.SessionExpiryInterval = 0xFFFFFFFF
        client.connect("127.0.0.1", port, clean_start=False, properties=forever)
        client.loop_start()
        assert self._ready.wait(PATIENCE_S)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


class Field:
    """A station, its logger, its broker, and their faults."""

    def __init__(self, folder, lines, rng):
        self.folder, self.rng = folder, rng
        self.header, self.lines = lines[0], lines[1:]
        self.port = folder / "port"
        self.line = Line()
        self.port.symlink_to(self.line.name)
        keep = f"allow_anonymous true\npersistence true\npersistence_location {folder}/\n"
        self.broker = Broker(folder, keep)
        self.subscriber = Memory(self.broker.port)
        self.toml = station_toml(folder, url=self.port, port=self.broker.port)
        self.written = 0  # bytes, by processes that have ended
        self.life, self.samples = 0, []
        self.daemon = Daemon(self.toml).ready()
        self.sent = 0  # lines
        self.line.write(self.header)

    def send(self, until):
        """Send the lines up to an hour."""
        self.line.write(b"".join(self.lines[self.sent : until]))
        self.sent = max(self.sent, until)

    def query(self, sql):
        path = self.folder / "state" / "journal.sqlite3"
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            return db.execute(sql).fetchone()[0]
        finally:
            db.close()

    def resend(self):
        """Resend the lines that the journal lacks, and three before them."""
        had = self.query("SELECT count(*) FROM record")
        self.line.write(self.header + b"".join(self.lines[max(had - 3, 0) : self.sent]))

    def noise(self):
        """Send damaged lines, as from a loose contact."""
        for _ in range(self.rng.randint(1, 5)):
            cut = self.lines[self.sent - 1][: self.rng.randint(1, 15)] if self.sent else b""
            self.line.write(cut + b"\xff" + self.rng.randbytes(self.rng.randint(0, 200)) + b"\n")

    def unplug(self):
        """Unplug the cable in the middle of a line; the port's buffer is lost."""
        opened = self.daemon.log().count(" is open")
        self.line.close()
        self.port.unlink()
        self.line = Line()
        self.port.symlink_to(self.line.name)
        wait_until(lambda: self.daemon.log().count(" is open") > opened, "the port")
        self.resend()

    def kill(self):
        """Kill the daemon by SIGKILL while it works."""
        time.sleep(self.rng.uniform(0.0, 0.02))
        self.written += self.bytes_written()
        self.daemon.kill()
        self.line.close()
        self.port.unlink()
        self.line = Line()
        self.port.symlink_to(self.line.name)
        self.daemon = Daemon(self.toml).ready()
        self.life += 1
        self.resend()

    def broker_away(self):
        """Stop the broker and start it some hours later."""
        self.broker.stop()
        self.send(min(self.sent + self.rng.randint(1, 48), len(self.lines)))
        self.broker.start()

    def bytes_written(self):
        text = Path(f"/proc/{self.daemon.process.pid}/io").read_text()
        return int(dict(x.split(": ") for x in text.splitlines())["write_bytes"])

    def wait_for_delivery(self):
        """Wait until all that was sent is journaled and delivered."""
        wait_until(lambda: self.query("SELECT count(*) FROM record") >= self.sent, "commits")
        wait_until(lambda: self.query("SELECT count(*) FROM outbox") == 0, "the delivery")

    def sample(self):
        """Record memory and open files of the idle daemon."""
        self.wait_for_delivery()
        process = self.daemon.process.pid
        status = Path(f"/proc/{process}/status").read_text()
        rss_kb = int(status.partition("VmRSS:")[2].split()[0])
        files = len(os.listdir(f"/proc/{process}/fd"))
        self.samples.append((self.life, self.sent / MONTH_H, rss_kb / 1024.0, files))

    def close(self):
        if self.daemon.process.poll() is None:
            self.daemon.kill()
        self.subscriber.close()
        self.broker.stop()
        self.line.close()


def year(hours, seed, rng):
    """Return header and lines of these hours with gaps, one of 15 days, others up to three."""
    days = hours / 24.0
    header, *lines = simulator.lines("records", simulator.records(days, seed, START_S))
    gaps = [(rng.randrange(hours), rng.randint(1, 72)) for _ in range(max(hours // 800, 1))]
    if hours > 1000:
        gaps.append((rng.randrange(hours // 2, hours - 500), 15 * 24))
    away = {hour for begin, length in gaps for hour in range(begin, begin + length)}
    return [header, *(line for hour, line in enumerate(lines) if hour not in away)]


def slope_mb_per_month(samples):
    """Fit one slope by least squares, with an intercept for each process."""
    above = below = 0.0
    lives = collections.defaultdict(list)
    for life, month, rss_mb, _ in samples:
        lives[life].append((month, rss_mb))
    for points in lives.values():
        mean_x, mean_y = (statistics.mean(axis) for axis in zip(*points, strict=True))
        above += sum((x - mean_x) * (y - mean_y) for x, y in points)
        below += sum((x - mean_x) ** 2 for x, _ in points)
    return above / below if below else 0.0


@pytest.fixture
def rng(seed):
    return random.Random(seed)


def test_a_year_with_faults_mixed_in_delivers_everything_once(tmp_path, seed, rng, record_property):
    hours = size(5 * 24, YEAR_H)
    lines = year(hours, seed, rng)
    begin = time.monotonic()
    field = Field(tmp_path, lines, rng)
    kinds = {"noise": size(3, 120), "unplug": size(1, 24), "broker_away": size(1, 24),
             "kill": size(1, 12)}  # fmt: skip
    faults = [kind for kind, count in kinds.items() for _ in range(count)]
    at = sorted(rng.sample(range(1, len(field.lines)), len(faults)))
    rng.shuffle(faults)
    each = size(30, MONTH_H // 4)
    try:
        plan = [(hour, kind) for hour, kind in zip(at, faults, strict=True)]
        plan += [(hour, "sample") for hour in range(each, len(field.lines), each)]
        for hour, kind in sorted(plan):
            if hour > field.sent:
                field.send(hour)
            getattr(field, kind)()
        field.send(len(field.lines))
        field.sample()
        done = json.loads(edge("status", field.toml, "--json").stdout)
        field.written += field.bytes_written()
        assert field.daemon.stop() == 0
        wait_until(lambda: len(ids(field.subscriber.heard)) >= len(field.lines))
    finally:
        field.close()
    heard = list({m["id"]: m for m in map(json.loads, field.subscriber.heard)}.values())
    assert published(heard) == reference(field.toml, lines)
    assert [int(m["id"].split(":")[2]) for m in heard] == list(range(1, len(field.lines) + 1))
    assert not any(done["health"]["journal"]["dropped"].values())

    minutes = (time.monotonic() - begin) / 60.0
    health_bytes = YEAR_H * 3600.0 / HEALTH_S * 4096
    gb = (field.written * YEAR_H / hours + health_bytes) / 1e9
    slope = slope_mb_per_month(field.samples)
    files = {count for *_, count in field.samples}
    for name, value in (
        *{"hours": hours, "records": len(heard), "minutes": round(minutes, 2)}.items(),
        *{f"faults_{kind}": count for kind, count in kinds.items()}.items(),
        *{"gb_per_year": round(gb, 2), "rss_slope_mb_per_month": round(slope, 3)}.items(),
        *{"rss_mb": round(max(s[2] for s in field.samples), 1), "files": sorted(files)}.items(),
        *{"repeated": len(field.subscriber.heard) - len(heard)}.items(),
    ):
        record_property(name, value)
    assert len(files) == 1, field.samples
    assert gb <= 10.0
    if hours == YEAR_H:
        assert minutes <= 15.0
        assert slope < 1.0, field.samples


def ids(payloads):
    return {json.loads(payload)["id"] for payload in list(payloads)}
