"""Power cuts at any moment: every acknowledged row is in the remaining journal."""

import random
import shutil
import sys

import pytest
from tests.faults.power import Disk, calls, trace
from tests.faults.size import size
from tests.support.rig import BUNDLE, ROOT, START_S

from epithermal_edge.cli import simulator
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.inference.snapshot import to_parts
from epithermal_edge.journal.journal import FILE, Journal
from epithermal_edge.messages import observation
from epithermal_edge.messages.message import Identity, Message
from epithermal_edge.messages.topics import OBS_THETA

RECORDS = size(80, 400)
IMAGES = size(40, 6000)  # with a random part of the unsynced writes

WRITER = """
import os, sys
from pathlib import Path
from tests.support.rig import BUNDLE, START_S
from epithermal_edge.inference import engine as engines
from epithermal_edge.messages import observation
from epithermal_edge.inference import runtime
from epithermal_edge.cli import simulator
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.journal.journal import Journal
from epithermal_edge.messages.message import Identity
bundle = open_bundle(BUNDLE)
engine = Engine(simulator.SITE, bundle, runtime.load(bundle))
state = engines.start(engine)
journal = Journal(Path(sys.argv[1]))
me = Identity("test-1", journal.epoch, "crns/v1", 3600.0)
acknowledged = []
for seq, record in enumerate(simulator.records(int(sys.argv[2]) / 24, 7, START_S), 1):
    state, out = engines.advance(engine, state, record)
    payload = observation.obs_theta(me, seq, record, out.corrected, out.estimate, bundle)
    sent = observation.obs_messages(me, payload, record.end_s, 0.0)
    os.write(1, b"begin %d %d\\n" % (seq, len(acknowledged)))
    journal.commit(seq, record, state, engine.fingerprint(), sent, acknowledged)
    os.write(1, b"done %d %d\\n" % (seq, len(acknowledged)))
    acknowledged = [o.id for o in journal.next_outgoing(0, 9, False)] if seq % 20 == 0 else []
"""


@pytest.fixture(scope="module")
def engine():
    bundle = open_bundle(BUNDLE)
    return Engine(simulator.SITE, bundle, runtime.load(bundle))


@pytest.fixture(scope="module")
def states(engine):
    """Return the parts of the state after each number of records."""
    state = engines.start(engine)
    found = [to_parts(state, engine.fingerprint())]
    for record in simulator.records(RECORDS / 24, 7, START_S):
        state, _ = engines.advance(engine, state, record)
        found.append(to_parts(state, engine.fingerprint()))
    return found


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Return the folder and system calls of a process that wrote RECORDS records."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt install strace)")
    folder = tmp_path_factory.mktemp("traced")
    script = [sys.executable, "-c", WRITER, str(folder / "state"), str(RECORDS)]
    done = trace(script, folder / "log", capture_output=True, cwd=ROOT)
    if b"ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.decode()}")
    assert done.returncode == 0, done.stderr.decode()
    return folder


class Progress:
    """Records and deletions that the writer had begun and completed."""

    begun = done = 0
    deletes_begun = deletes_done = 0  # deleted messages

    def read(self, text):
        word, seq, count = text.split()
        deleted_now = int(count)
        if word == b"begin":
            self.begun, self.deletes_begun = int(seq), self.deletes_done + deleted_now
        else:
            self.done, self.deletes_done = int(seq), self.deletes_begun


def examine(folder, engine, states, progress):
    """Open the image as the station does and compare it with the acknowledged rows."""
    journal = Journal(folder)
    count = journal.last_seq()
    assert progress.done <= count <= progress.begun
    assert not list(folder.glob(FILE + ".damaged-*"))
    assert len(list(journal.records())) == count
    if count:
        state = journal.load_state(engine.fingerprint(), engines.start(engine))
        assert to_parts(state, engine.fingerprint()) == states[count]
    waiting = [o.id for o in journal.next_outgoing(0, 10_000, newest=False)]
    assert waiting == list(range(count - len(waiting) + 1, count + 1))
    deleted = count - len(waiting)
    assert progress.deletes_done <= deleted <= progress.deletes_begun
    journal.close()


def test_no_acknowledged_row_is_lost_whatever_the_disk_forgot(
    log, tmp_path, engine, states, seed, record_property
):
    rng = random.Random(seed)
    disk, progress, images, seen = Disk(log / "state"), Progress(), 0, -1
    steps = list(calls(log / "log"))
    wanted = set(rng.sample(range(len(steps)), min(IMAGES, len(steps))))
    for number, (call, texts, arguments, result) in enumerate(steps):
        if call == "write" and arguments.startswith("1<"):
            progress.read(texts[0])
        written = disk.apply(call, texts, arguments, result)
        ways = [disk.write_safe] if disk.synced != seen and number % size(3, 1) == 0 else []
        if written is not None and number in wanted:
            ways.append(lambda folder: disk.write_some(folder, rng))
        for write in ways:
            folder = tmp_path / str(images)
            folder.mkdir()
            write(folder)
            examine(folder, engine, states, progress)
            shutil.rmtree(folder)
            images += 1
        seen = disk.synced if ways else seen
    assert progress.done == RECORDS and images > size(60, 2000)
    assert sum(1 for call, *_ in steps if call in ("fsync", "fdatasync")) > RECORDS
    record_property("power_cut_images", images)
    record_property("power_cut_lost_rows", 0)


def test_the_model_would_see_a_journal_that_does_not_sync(log, tmp_path, engine, states):
    """Remove the syncs from the same log and expect images with lost rows."""
    disk, progress = Disk(log / "state"), Progress()
    for call, texts, arguments, result in calls(log / "log"):
        if call == "write" and arguments.startswith("1<"):
            progress.read(texts[0])
        if call not in ("fsync", "fdatasync") or progress.begun < 50:
            disk.apply(call, texts, arguments, result)
    disk.write_safe(tmp_path)
    with pytest.raises(AssertionError):
        examine(tmp_path, engine, states, progress)


def test_the_exchange_of_a_damaged_journal_survives_the_power_too(tmp_path, engine):
    """Expect the damaged or the complete new journal after every step of a salvage."""
    state, before = tmp_path / "state", tmp_path / "before"
    journal = Journal(state)
    me = Identity("test-1", journal.epoch, "crns/v1", 3600.0)
    memory = engines.start(engine)
    for seq, record in enumerate(simulator.records(3.0, 7, START_S), 1):
        memory, out = engines.advance(engine, memory, record)
        payload = observation.obs_theta(me, seq, record, out.corrected, out.estimate, engine.bundle)
        sent = observation.obs_messages(me, payload, record.end_s, 0.0)
        journal.commit(seq, record, memory, engine.fingerprint(), sent)
    journal._db.rows("PRAGMA wal_checkpoint(PASSIVE)")
    journal.post([Message("t", b"in the WAL", OBS_THETA)])
    shutil.copytree(state, before, ignore=shutil.ignore_patterns("*-shm"))
    journal.close()
    shutil.rmtree(state)
    content = bytearray((before / FILE).read_bytes())
    content[60:64] = b"\0\0\0\x63"  # user_version: schema 99, which does not exist
    (before / FILE).write_bytes(content)
    shutil.copytree(before, state)
    opened = "import sys, pathlib; from epithermal_edge.journal.journal import Journal; Journal("
    command = [sys.executable, "-c", f"{opened}pathlib.Path(sys.argv[1])).close()", str(state)]
    assert trace(command, tmp_path / "log", cwd=ROOT).returncode == 0
    disk, images = Disk(state, list(before.iterdir())), 0
    for call, texts, arguments, result in calls(tmp_path / "log"):
        disk.apply(call, texts, arguments, result)
        names = disk.names if call in ("rename", "unlink") else disk.safe_names
        if call not in ("rename", "unlink", "fsync", "fdatasync"):
            continue
        folder = tmp_path / "image"
        folder.mkdir()
        for name, inode in names.items():
            (folder / name).write_bytes(inode.safe)
        image = Journal(folder)
        assert len(list(image.records())) == 72 and image.count_waiting() == 73
        assert image.has_notes  # the salvage is not posted yet
        image.close()
        shutil.rmtree(folder)
        images += 1
    assert images >= 6
