"""The daemon publishes every record of real loggers to a real broker, once and in order.

(a) the 1,082 files of a Hydroinnova CRS-1000 in Germany, 13 months of quarter hours;
(b) the report of a Quaesta telemetry portal from Colorado, 15 months of half hours, newest first.

The ordinary suite sends the first months of both, among them the empty file and the stamp that
stands twice; `make test-slow` sends all.
"""

import csv
import gzip
import math
import re
import tempfile
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.faults.size import size
from tests.support.rig import (
    Broker,
    Daemon,
    Line,
    Subscriber,
    edge,
    station_toml,
    validator,
    wait_until,
)
from tests.support.sites import SITE

from epithermal_edge.cli import replay
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.times import utc

pytestmark = pytest.mark.shared

GERMANY = SITE.replace("cosmic_n_cph = 430.0", "cosmic_n_cph = 110.0")
COLORADO = """
latitude_deg = 39.36
altitude_m = 2037.0
cutoff_rigidity_gv = 3.0
bulk_density_g_cm3 = 1.25
lattice_water_g_g = 0.035
organic_water_g_g = 0.013
cosmic_n_cph = 3000.0
[site.incoming]
form = "mcjannet2023"
ref = 150.0
"""
FILES, ROWS = size(150, 1082), size(3000, 22088)  # that are sent
RECORDS = size(3600, 26043)  # in these files
TWICE = "2023-06-30T22:30:00Z"  # the portal holds two records of 7 s and 32 s with this end


class Played:
    """Messages and counts of a stream after the daemon processed it."""

    def __init__(self, folder, site, source, data):
        broker, line = Broker(folder), Line()
        ears = Subscriber(broker.port)
        self.toml = station_toml(
            folder,
            url=line.name,
            port=broker.port,
            site=site,
            source=source,
            mqtt="backlog_per_s = 0\n",
        )
        daemon = Daemon(self.toml, "--until-idle", "3").ready()
        try:
            line.write(data)
            assert daemon.wait() == 0
            self.counts = daemon.counts()
            wait_until(lambda: len(ears.messages) > self.counts["records"], "all messages")
            self.messages = ears.of("obs/theta")
            self.log = daemon.log()
        finally:
            daemon.kill()
            ears.close()
            line.close()
            broker.stop()


@pytest.fixture(scope="module")
def folder():
    """Return a folder in memory if possible, since the disk is not tested here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def hydroinnova_files(shared):
    path = shared / "field" / "hydroinnova-a101" / "CRNS-station_data-Hydroinnova-A.zip"
    with zipfile.ZipFile(path) as archive:
        files = [archive.read(name) for name in archive.namelist()]
    assert len(files) == 1082
    return path, files[:FILES]


@pytest.fixture(scope="module")
def portal_file(shared):
    return shared / "field" / "roaring-fork-r5" / "raw_portal_report.csv.gz"


@pytest.fixture(scope="module")
def played(folder, hydroinnova_files, portal_file):
    """Process both streams at the same time, each with its own daemon and broker.

    The portal's report is sent in the logger's order: its header, then the oldest first.
    """
    header, *lines = gzip.decompress(portal_file.read_bytes()).splitlines()
    lines = lines[-ROWS:]
    streams = (
        (GERMANY, 'dialect = "hydroinnova"\ninterval_s = 900\n', b"".join(hydroinnova_files[1])),
        (
            COLORADO,
            'dialect = "portal"\ninterval_s = 1800\n',
            b"\n".join([header, *reversed(lines)]) + b"\n",
        ),
    )
    folders = [folder / name for name in ("a", "b")]
    for each in folders:
        each.mkdir()
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda f, s: Played(f, *s), folders, streams))


@pytest.fixture(scope="module")
def hydroinnova(played):
    return played[0]


@pytest.fixture(scope="module")
def portal(played):
    return played[1]


def check_contract(played, ends):
    """Check that each record has one valid message, with its end and the next id."""
    messages = played.messages
    assert [m["end"] for m in messages] == ends
    epoch = messages[0]["id"].split(":")[1]
    assert [m["id"] for m in messages] == [f"test-1:{epoch}:{i + 1}" for i in range(len(ends))]
    schema = validator("obs-theta")
    for message in messages:
        schema.validate(message)
    assert played.counts["failed"] == 0
    assert played.counts["records"] == played.counts["delivered"] == len(ends)


def test_every_line_of_the_hydroinnova_files_becomes_one_message(hydroinnova, hydroinnova_files):
    stamp = re.compile(rb"^\s*\d+, (\d{4})/(\d\d)/(\d\d) (\d\d:\d\d:\d\d),", re.MULTILINE)
    ends = [
        b"%s-%s-%sT%sZ" % found.groups()
        for data in hydroinnova_files[1]
        for found in stamp.finditer(data)
    ]
    assert len(ends) == len(set(ends)) == RECORDS
    check_contract(hydroinnova, [end.decode() for end in ends])
    assert (hydroinnova.counts["damaged"], hydroinnova.counts["duplicates"]) == (0, 0)
    assert hydroinnova.counts["late"] == 0


def test_the_counts_of_the_hydroinnova_messages_are_those_of_the_files(
    hydroinnova, hydroinnova_files
):
    header = b"RecordNum,Date Time(UTC),P1_mb,P3_mb,P4_mb"
    rows = []
    for data in hydroinnova_files[1]:
        assert not data or header in data  # one of them is empty
        rows += [row.split(b",") for row in data.splitlines() if row[:1].isdigit()]
    published = [(m["n"]["counts"], m["n"]["live_s"], m["met"]["pressure_hpa"])
                 for m in hydroinnova.messages]  # fmt: skip
    assert published == [(float(row[14]), float(row[16]), float(row[4])) for row in rows]


def test_every_line_of_the_portal_report_becomes_one_message(portal, portal_file):
    with gzip.open(portal_file, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 22088
    rows = rows[-ROWS:]
    ends = [row["Message Date"].replace(" UTC", "Z").replace(" ", "T") for row in reversed(rows)]
    assert [end for end, times in Counter(ends).items() if times > 1] == [TWICE]
    check_contract(portal, list(dict.fromkeys(ends)))
    assert portal.counts["records"] == ROWS - 1
    assert (portal.counts["duplicates"], portal.counts["damaged"]) == (1, 0)


def test_the_report_as_it_is_newest_first_holds_the_same_records(portal, portal_file):
    config = read_config(portal.toml)
    found = replay.read(config, [portal_file], None)
    assert (found.damaged, found.duplicates, found.conflicts) == (0, 0, 1)
    assert len(found.records) == 22087
    pairs = zip(found.records[: len(portal.messages)], portal.messages, strict=True)
    same = [(record, m) for record, m in pairs if m["end"] != TWICE]
    assert len(same) == ROWS - 2
    for record, message in same:
        assert utc(record.end_s) == message["end"]
        assert none_if_nan(record.counts) == message["n"]["counts"]
        assert none_if_nan(record.pressure_hpa) == message["met"]["pressure_hpa"]
        assert none_if_nan(record.incoming) == message["met"]["incoming"]


def none_if_nan(value):
    return None if math.isnan(value) else value


@pytest.mark.parametrize("name", ["hydroinnova", "portal"])
def test_replay_of_a_month_gives_the_published_thetas(name, request, tmp_path):
    """Compare the first month of the file: the same engine gives the same digits."""
    stream = request.getfixturevalue(name)
    month, paths = 31 * (96 if name == "hydroinnova" else 48), tmp_path / "month"
    paths.mkdir()
    if name == "hydroinnova":
        for i, data in enumerate(request.getfixturevalue("hydroinnova_files")[1][:150]):
            (paths / f"{i:04d}.txt").write_bytes(data)
    else:
        packed = request.getfixturevalue("portal_file").read_bytes()
        header, *lines = gzip.decompress(packed).splitlines()
        paths.joinpath("report.csv").write_bytes(b"\n".join([header, *lines[-2 * month :]]))
    out = tmp_path / "est.csv"
    done = edge("replay", stream.toml, paths, "--out", out)
    assert done.returncode == 0, done.stderr
    with out.open(newline="") as file:
        table = list(csv.DictReader(file))[:month]
    for row, message in zip(table, stream.messages, strict=False):
        assert row["time_utc"] == message["end"]
        if message["end"] < TWICE:
            assert near(row["theta"], message["theta"]["value"], 1e-6)
            assert near(row["theta_classical"], message["theta_classical"]["value"], 1e-6)
            assert near(row["n_corr_cph"], message["n"]["corr_cph"], 1e-3)


def near(text, value, tolerance):
    """Check whether a printed and a rounded value agree, or both are missing."""
    if text == "" or value is None:
        return text == "" and value is None
    return abs(float(text) - value) <= tolerance


def test_a_line_that_a_bit_flip_damaged_is_counted_and_never_a_value(tmp_path, hydroinnova_files):
    whole = b"".join(hydroinnova_files[1][:4])
    lines = whole.splitlines(keepends=True)
    bad = [i for i, text in enumerate(lines) if text[:1].isdigit()][5:50:5]
    for i in bad:
        at = lines[i].index(b":") + 1
        lines[i] = lines[i][:at] + b"\xb3" + lines[i][at + 1 :]
    played = Played(tmp_path, GERMANY, 'dialect = "hydroinnova"\n', b"".join(lines))
    assert played.counts["damaged"] == len(bad) == 9
    assert played.counts["records"] == sum(text[:1].isdigit() for text in lines) - len(bad)
    assert played.log.count("damaged line") == 9
