"""A full, read-only or broken disk: no exit, automatic recovery, every drop counted."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest
from tests.faults.rig import Station
from tests.faults.size import size
from tests.support.reference import published, reference
from tests.support.rig import BUNDLE, START_S, Broker, Subscriber, lines, station_toml, wait_until

from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.cli import simulator
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.journal.journal import FILE, Journal, JournalError
from epithermal_edge.messages import observation
from epithermal_edge.messages.message import Identity
from epithermal_edge.messages.station import event
from epithermal_edge.messages.topics import OBS_RAW
from epithermal_edge.station import intake
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.intake import Intake
from epithermal_edge.station.reader import Read

HEADER, *LINES = lines(30.0)
OUTAGES = size(1, 12)
FAULTS = {  # system calls and their errors
    "full": "pwrite64:error=ENOSPC",
    "read-only": "pwrite64,ftruncate:error=EROFS",
    "io-error": "fsync,fdatasync:error=EIO",
    "unreadable": "pread64:error=EIO",
}


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    yield broker
    broker.stop()


class Outage:
    """Disk errors injected by strace, until `end`."""

    def __init__(self, process, fault):
        calls = fault.partition(":")[0]
        self._strace = subprocess.Popen(
            f"strace -p {process.pid} -o /dev/null -e trace={calls} -e inject={fault}".split(),
            stderr=subprocess.PIPE,
        )
        first = self._strace.stderr.readline().decode()
        if "attached" not in first:
            pytest.skip(f"strace may not attach here: {first}")

    def end(self):
        self._strace.send_signal(signal.SIGINT)
        self._strace.wait()
        self._strace.stderr.close()


@pytest.fixture
def stations(tmp_path, broker):
    running = {
        name: Station(tmp_path / name, f"test-{name}", broker.port).start() for name in FAULTS
    }
    yield running
    for station in running.values():
        station.close()


def test_a_disk_that_refuses_for_a_while_loses_nothing(broker, stations, record_property):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt install strace)")
    ears = {name: Subscriber(broker.port, f"crns/v1/test-{name}/obs/theta") for name in FAULTS}
    for station in stations.values():
        station.ready().line.write(HEADER + b"".join(LINES[:5]))
    for name in FAULTS:
        wait_until(lambda name=name: len(ears[name].messages) == 5)
    count, longest = 5, 0.0
    for _ in range(OUTAGES):
        outages = {n: Outage(s.process, FAULTS[n]) for n, s in stations.items()}
        for station in stations.values():
            station.line.write(b"".join(LINES[count : count + 40]))
        time.sleep(1.0)
        heard = {name: len(ears[name].messages) for name in FAULTS}
        assert all(n < count + 40 for name, n in heard.items() if name != "unreadable"), heard
        for outage in outages.values():
            outage.end()
        count, begin = count + 40, time.monotonic()
        for name in FAULTS:
            wait_until(lambda name=name, n=count: len(ears[name].messages) >= n, name)
        longest = max(longest, time.monotonic() - begin)
    for name, station in stations.items():
        assert station.process.poll() is None
        payloads = [json.loads(p) for _, p in ears[name].messages]
        first = list({p["id"]: p for p in payloads}.values())
        assert published(first) == reference(station.toml, [HEADER, *LINES[:count]]), name
        assert [int(p["id"].split(":")[2]) for p in first] == list(range(1, count + 1))
        assert not list((station.folder / "state").glob("*damaged*"))
        ears[name].close()
    record_property("disk_outages", OUTAGES * len(FAULTS))
    record_property("disk_recovered_after_s", round(longest, 2))


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """Mount a file system of this size at the folder."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path):
    """Write a file that fills the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(descriptor, bytes(1 << 12)):
            pass
    os.close(descriptor)


def remount(folder, how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


@pytest.fixture
def small(tmp_path, broker):
    """Yield a station whose state is on a file system of 4 MB, and a subscriber."""
    station, ears = Station(tmp_path / "s", "test-1", broker.port), Subscriber(broker.port)
    with small_disk(tmp_path / "s" / "state", 4) as disk:
        yield station, ears, disk
        station.close()
    ears.close()


def test_a_start_on_a_disk_that_refuses_waits_for_it(small):
    station, ears, disk = small
    remount(disk, "ro")
    station.start().ready().line.write(HEADER + b"".join(LINES[:30]))
    wait_until(lambda: "retrying every" in station.log())
    remount(disk, "rw")
    wait_until(lambda: len(ears.theta_once()) == 30)
    assert published(ears.theta_once()) == reference(station.toml, [HEADER, *LINES[:30]])


def test_a_disk_that_is_really_full_takes_records_again_when_there_is_room(small):
    station, ears, disk = small
    station.start().ready().line.write(HEADER + b"".join(LINES[:30]))
    wait_until(lambda: len(ears.theta_once()) == 30)
    fill(disk / "ballast")
    count = size(200, 400)
    station.line.write(b"".join(LINES[30:count]))
    wait_until(lambda: "retrying every" in station.log())
    time.sleep(size(0, 30))
    assert station.process.poll() is None
    (disk / "ballast").unlink()
    wait_until(lambda: len(ears.theta_once()) == count)
    assert published(ears.theta_once()) == reference(station.toml, [HEADER, *LINES[:count]])
    assert ears.theta_once()[-1]["id"].endswith(f":{count}")


@pytest.fixture(scope="module")
def engine():
    bundle = open_bundle(BUNDLE)
    return Engine(simulator.SITE, bundle, runtime.load(bundle))


def test_records_without_room_in_memory_are_counted_and_reported_once(
    tmp_path, engine, monkeypatch
):
    monkeypatch.setattr(intake, "WAITING", size(50, 2000))
    records = list(simulator.records(size(5, 100), 3, START_S))
    source = 'dialect = "records"\nstamps = "unchecked"\n'  # a gap does not hold records back
    config = read_config(station_toml(tmp_path, url="loop://", source=source))
    station_intake = Intake(config, engine, Clock(), AncillaryData(config), lambda: None)
    journal, _ = station_intake.open()
    station_intake.add(Read(records[0], 0.0))
    assert station_intake.process_next([])
    other = sqlite3.connect(tmp_path / "state" / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")  # as a disk that fails
    for record in records[1:]:
        station_intake.add(Read(record, 0.0))
    with pytest.raises(JournalError, match="locked"):
        station_intake.process_next([])
    other.execute("ROLLBACK")
    while station_intake.waiting():
        station_intake.process_next([])
    station_intake.post_notes()
    station_intake.post_notes()
    lost = len(records) - 1 - intake.WAITING
    assert station_intake.counts.lost == lost and journal.health()["dropped"] == {"memory": lost}
    kept = [r.end_s for r in journal.records()]
    assert kept == [records[0].end_s, *(r.end_s for r in records[-intake.WAITING :])]
    assert events(journal) == [f"{lost} of class memory dropped, {lost} in all"]


def events(journal, kind="spool_drop"):
    waiting = [o.message for o in journal.next_outgoing(0, 100_000, newest=False)]
    found = [json.loads(m.payload)["text"] for m in waiting if m.topic.endswith(f"event/{kind}")]
    return found


def test_a_full_journal_drops_by_class_counts_exactly_and_never_theta(tmp_path, engine):
    max_mb = size(6, 60) / 10
    journal = Journal(tmp_path, max_mb=max_mb)
    me = Identity("test-1", journal.epoch, "crns/v1", 3600.0)
    reported_drops, seq, state = [], 0, engines.start(engine)

    def post_notes():
        last = {}  # a note that does not fit is posted again, with higher counts

        def build(kind, text):
            last[text.split()[3]] = text
            return event(me, kind, 0.0, text)

        journal.post_notes(build)
        reported_drops.extend(last.values())

    def commit(record):
        new, out = engines.advance(engine, state, record)
        payload = observation.obs_theta(
            me, seq + 1, record, out.corrected, out.estimate, engine.bundle
        )
        sent = observation.obs_messages(me, payload, record.end_s, record.end_s)
        journal.commit(seq + 1, record, new, engine.fingerprint(), sent)
        return seq + 1, new

    journal.post([me.message(OBS_RAW, b"r" * 900) for _ in range(300)])
    records = simulator.records(size(100, 500), 3, START_S)
    refused = None
    while refused is None:
        try:
            seq, state = commit(next(records))
            if journal.has_notes:
                post_notes()
        except JournalError as error:
            refused = error
    assert refused.passing and "full" in str(refused)
    waiting = [o.message for o in journal.next_outgoing(0, 100_000, newest=False)]
    thetas = [json.loads(m.payload)["id"] for m in waiting if m.topic.endswith("obs/theta")]
    assert thetas == [f"test-1:{journal.epoch}:{n}" for n in range(1, seq + 1)] and seq > size(
        150, 300
    )
    dropped = journal.health()["dropped"]
    assert dropped["raw"] == 300 and dropped["record"] == seq - len(list(journal.records()))
    assert list(dropped)[:2] == ["record", "raw"]  # in this order
    assert os.path.getsize(tmp_path / FILE) <= max_mb * 1e6
    acknowledged = [o.id for o in journal.next_outgoing(0, 50, newest=False)]
    journal.delete_outgoing(acknowledged)  # the broker is back
    commit(next(records))
    assert journal.last_seq() == seq + 1
    post_notes()
    for name in ("record", "raw"):
        news = [int(t.split()[0]) for t in reported_drops if f"class {name} " in t]
        assert sum(news) == dropped[name]
