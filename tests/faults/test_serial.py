"""A bad wire: noise of every kind, floods, and a cable that is pulled a hundred times.

`EPITHERMAL_FAULTS=full` runs a million lines of each dialect.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import random
import shutil
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults import wire
from tests.faults.size import size
from tests.support.rig import Daemon, Line, station_toml, wait_until

from epithermal_edge.config.station_toml import read_config
from epithermal_edge.errors import FrameError
from epithermal_edge.loggers import parser, ports
from epithermal_edge.loggers.parser import RECORDS_HEADER, Context
from epithermal_edge.loggers.values import LIMITS, YEARS
from epithermal_edge.records import NAN, NUMBERS, RawRecord
from epithermal_edge.station.reader import Read, Reader

SEED = 20261126
LINES = size(short=2000, full=1_000_000)  # of each dialect
UNPLUGS = size(short=2, full=100)
FLOOD_BYTES = size(short=1_000_000, full=50_000_000)
GROWTH_KB = 2048
RECONNECT_S = 5.0


def resident_kb(pid: int | str = "self") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def is_possible(record: RawRecord) -> bool:
    """Check the limits that every record must keep, whatever the line was."""
    early, late = (YEARS[0] - 1970) * 365 * 86400, (YEARS[1] - 1969) * 366 * 86400
    if not early < record.end_s < late:
        return False
    values = ((getattr(record, name, NAN), *limits) for name, limits in LIMITS.items())
    return all(math.isnan(value) or low <= value <= high for value, low, high in values)


def differs(record: RawRecord, whole: RawRecord) -> bool:
    """Check the numbers of two records; estimates do not depend on the extra channels."""
    pairs = [(getattr(record, name), getattr(whole, name)) for name in NUMBERS]
    return any(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def read_or_none(context: Context, line: bytes) -> RawRecord | None:
    try:
        return parser.parse(context, line)[1]
    except FrameError:
        return None


def damaged_lines(
    dialect: str, number: int, rng: random.Random
) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield kind of damage, the intact line and the damaged one; each kind equally often."""
    kinds = list(wire.DAMAGES.items())
    whole = wire.row(dialect, 0, rng)
    for k in range(1, number + 1):
        after = wire.row(dialect, k, rng)
        name, damage = kinds[k % len(kinds)]
        bad = damage(whole, after, rng)
        if bad != whole:
            yield name, whole, bad
        whole = after


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("dialect", sorted(wire.LOGGERS))
def test_noise_never_crashes_the_framer_and_rarely_passes_for_a_record(dialect, record_property):
    print(f"seed {SEED}")
    rng = random.Random(f"{SEED} {dialect}")
    context = wire.ready(dialect)
    limit = context.dialect.line_bytes
    tried: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    buffer, start_kb = b"", 0
    for k, (kind, whole, bad) in enumerate(damaged_lines(dialect, LINES, rng)):
        if k == LINES // 10:
            gc.collect()
            start_kb = resident_kb()
        tried[kind] += 1
        expected = parser.parse(context, whole)[1]
        assert expected is not None
        buffer, lines = parser.split(buffer, bad + b"\r\n", limit)
        records = [record for line in lines if (record := read_or_none(context, line))]
        assert all(is_possible(record) for record in records)
        wrong[kind] += any(differs(record, expected) for record in records)
    gc.collect()
    growth_kb = resident_kb() - start_kb
    for kind in wire.DAMAGES:
        record_property(f"accepted_pct_{kind}", round(100.0 * wrong[kind] / tried[kind], 2))
    share = wrong.total() / tried.total()
    record_property("accepted_pct", round(100.0 * share, 2))
    record_property("rss_growth_kb", growth_kb)
    record_property("seed", SEED)
    assert growth_kb < GROWTH_KB
    # A NUL marks a lost byte; before a line it is noise, even in place of the line's first byte.
    assert wrong["NULs"] < 0.003 * tried["NULs"]
    assert share < 0.15


@pytest.mark.parametrize("dialect", sorted(wire.LOGGERS))
def test_a_context_survives_any_order_of_headers_rows_and_noise(dialect):
    rng = random.Random(f"{SEED} order {dialect}")
    context = wire.ready(dialect)
    rows = [wire.row(dialect, k, rng) for k in range(50)]
    for _ in range(LINES // 10):
        line = rng.choice((wire.header(dialect), rng.choice(rows), rng.randbytes(60)))
        if rng.random() < 0.5:
            line = rng.choice(list(wire.DAMAGES.values()))(line or b"0,1", rng.choice(rows), rng)
        for part in parser.split(b"", line + b"\n", context.dialect.line_bytes)[1]:
            try:
                context, record = parser.parse(context, part)
            except FrameError:
                continue
            assert record is None or is_possible(record)
    if wire.header(dialect):
        context, _ = parser.parse(context, wire.header(dialect))
    assert read_or_none(context, rows[0]) is not None


def journaled(folder: Path) -> int:
    """Count the records in a running station's journal."""
    with contextlib.closing(sqlite3.connect(folder / "state" / "journal.sqlite3")) as db:
        return int(db.execute("SELECT count(*) FROM record").fetchone()[0])


def floods() -> Iterator[tuple[str, bytes]]:
    """Yield floods of bytes without a record, as a port may deliver for hours."""
    rng = random.Random(SEED)
    whole = wire.row("records", 1, rng)
    yield "no newline", b"U" * FLOOD_BYTES
    yield "NULs", b"\0" * FLOOD_BYTES
    yield "one line of 1 MB", b"7," * 500_000 + b"\n"
    yield "half lines", b"".join(whole[: k % len(whole)] + b"\r\n" for k in range(20_000))
    yield "noise", rng.randbytes(FLOOD_BYTES // 4)
    yield "line ends", b"\r\n\n\r" * 100_000


def test_a_daemon_survives_floods_and_reads_the_record_after_them(tmp_path, record_property):
    line = Line()
    toml = station_toml(tmp_path, url=line.name)
    station = Daemon(toml).ready()
    try:
        line.write(RECORDS_HEADER + wire.row("records", 1, random.Random(SEED)) + b"\n")
        # allocations made once do not count as growth
        line.write(b"U" * FLOOD_BYTES + b"\n" + b"x,\n" * 20_000)
        line.write(wire.row("records", 2, random.Random(SEED)) + b"\n")
        wait_until(lambda: journaled(tmp_path) == 2, "the record after the first flood")
        start_kb = resident_kb(station.process.pid)
        for k, (name, flood) in enumerate(floods()):
            line.write(flood + b"\n" + wire.row("records", k + 3, random.Random(k)) + b"\n")
            assert station.process.poll() is None, name
        expected = 2 + sum(1 for _ in floods())
        wait_until(lambda: journaled(tmp_path) == expected, "the last record")
        growth_kb = resident_kb(station.process.pid) - start_kb
        record_property("flood_rss_growth_kb", growth_kb)
        assert station.stop() == 0
        counts = station.counts()
        assert counts["records"] == expected
        assert counts["failed"] == 0 and counts["damaged"] > 20_000
        assert growth_kb < GROWTH_KB
    finally:
        if station.process.poll() is None:
            station.kill()
        line.close()


class Cable:
    """A pair of pseudo-terminals by socat; `pull` removes both names."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.theirs = folder / "station", folder / "logger"
        self._process: subprocess.Popen[bytes] | None = None

    def plug(self) -> None:
        ends = [f"pty,raw,echo=0,link={end}" for end in (self.ours, self.theirs)]
        self._process = subprocess.Popen(["socat", *ends])
        wait_until(lambda: self.ours.exists() and self.theirs.exists(), what="cable")

    def write(self, data: bytes) -> None:
        self.theirs.write_bytes(data)

    def pull(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.timeout(3600)
@pytest.mark.skipif(shutil.which("socat") is None, reason="no socat on this machine")
def test_a_cable_that_is_pulled_again_and_again_is_read_on(tmp_path, record_property):
    rng = random.Random(SEED)
    cable, stopping = Cable(tmp_path), threading.Event()
    config = read_config(station_toml(tmp_path, url=str(cable.ours)))
    records: list[RawRecord] = []

    def put(read: Read) -> None:
        records.append(read.record)
        reader.release_slot()

    reader = Reader(config.source, put, stopping)
    cable.plug()
    reader.start()
    waits, sizes, files = [], [], []
    try:
        for k in range(UNPLUGS + 1):
            wait_until(lambda: reader.is_open, what="port")
            cable.write(RECORDS_HEADER + wire.row("records", k, rng) + b"\n")
            wait_until(lambda k=k: len(records) == k + 1, what="record")
            half, heard = wire.row("records", k, rng), reader.last_read
            cable.write(half[: rng.randrange(21, len(half))])
            wait_until(lambda heard=heard: reader.last_read > heard, what="half a line")
            cable.pull()
            wait_until(lambda: not reader.is_open, what="loss")
            time.sleep(rng.uniform(0.0, 0.5))
            sizes.append(resident_kb())
            files.append(open_files())
            cable.plug()
            began = time.monotonic()
            wait_until(lambda: reader.is_open, what="port")
            waits.append(time.monotonic() - began)
    finally:
        stopping.set()
        cable.pull()
        reader.join(10.0)
    record_property("unplugs", len(waits))
    record_property("reconnect_s_longest", round(max(waits), 2))
    record_property("reconnect_s_mean", round(sum(waits) / len(waits), 2))
    record_property("unplug_rss_growth_kb", sizes[-1] - sizes[len(sizes) // 10])
    assert reader.damaged >= len(waits)  # every cut line is counted as damaged
    assert [record.end_s for record in records] == [
        wire.T0 + wire.HOUR * k for k in range(UNPLUGS + 1)
    ]
    assert max(waits) <= size(short=6, full=1) * RECONNECT_S  # the suite may share its machine
    assert ports.LONGEST_S < RECONNECT_S
    assert files[-1] <= files[0]
    assert sizes[-1] - sizes[len(sizes) // 10] < GROWTH_KB
    assert not reader.is_alive()
