"""Flipped bytes and cut files: the station starts or reports why not; no wrong theta is good."""

import json
import math
import random
import re
import shutil
import sqlite3
import time

import pytest
from tests.faults.rig import Station
from tests.faults.size import size
from tests.support.reference import published, reference
from tests.support.rig import BUNDLE, START_S, Broker, Subscriber, lines, station_toml, wait_until

from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.cli import simulator
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.inference.bundle import manifest_text
from epithermal_edge.journal.journal import FILE
from epithermal_edge.rollout.loading import load_engine
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.intake import Intake
from epithermal_edge.station.reader import Read
from epithermal_edge.times import utc

BEFORE, WAITING, AFTER = (
    200,
    60,
    10,
)  # records before the damage, unpublished among them, and after it
START_LIMIT_S = 10.0
RECORDS = list(simulator.records((BEFORE + AFTER) / 24, 5, START_S))
ENDS = {utc(r.end_s) for r in RECORDS[BEFORE:]}
CASES = {  # file: flipped bytes, cuts
    "database": (size(8, 400), size(3, 70)),
    "wal": (size(5, 250), size(2, 60)),
    "state": (size(3, 150), size(0, 0)),
    "mark": (size(2, 40), size(1, 10)),
    "bundle": (size(3, 100), size(1, 40)),
    "config": (size(3, 60), size(1, 20)),
}


def quick_bundle(folder):
    """Copy the test bundle with a spin-up of two days."""
    shutil.copytree(BUNDLE, folder)
    described = (
        (folder / "bundle.toml").read_text().replace("spin_up_steps = 60", "spin_up_steps = 2")
    )
    (folder / "bundle.toml").write_text(described)
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "MANIFEST"}
    (folder / "MANIFEST").write_text(manifest_text(files))
    return folder


def run(folder, engine=None, records=()):
    """Run the station's intake on a folder; return the payloads to be published."""
    config = read_config(folder / "station.toml")
    station_intake = Intake(
        config, engine or load_engine(config), Clock(), AncillaryData(config), lambda: None
    )
    journal, _ = station_intake.open()
    station_intake.catch_up(math.inf)
    for record in records:
        station_intake.add(Read(record, 0.0))
        while station_intake.waiting():
            station_intake.process_next([])
        station_intake.post_notes()
    station_intake.post_notes()
    sent = [o.message for o in journal.next_outgoing(0, 100_000, newest=False)]
    return station_intake, config, [(m.topic, json.loads(m.payload)) for m in sent]


def thetas(payloads):
    return [p for topic, p in payloads if topic.endswith("/obs/theta")]


def events(payloads):
    return {p["kind"] for _, p in payloads if "kind" in p}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return a folder with a closed journal and one left by a kill, and the engine."""
    folder = tmp_path_factory.mktemp("base")
    quick_bundle(folder / "bundle")
    station_toml(folder, url="loop://", bundle="bundle")
    station_intake, config, _ = run(folder, None, RECORDS[:BEFORE])
    journal = station_intake.journal
    done = [o.id for o in journal.next_outgoing(0, BEFORE - WAITING, newest=False)]
    journal.delete_outgoing(done)
    killed = copy(folder / "state", folder / "killed")  # the state after SIGKILL
    (killed / f"{FILE}-shm").unlink()
    station_intake.close()  # moves the WAL into the database
    return folder, load_engine(config)


@pytest.fixture(scope="module")
def truth(base, tmp_path_factory):
    """Return the payload of each end in a run without faults."""
    folder = copy(base[0], tmp_path_factory.mktemp("truth") / "station")
    _, _, before = run(folder, base[1], RECORDS[BEFORE:])
    whole = tmp_path_factory.mktemp("whole")
    shutil.copytree(base[0] / "bundle", whole / "bundle")
    station_toml(whole, url="loop://", bundle="bundle")
    _, _, all_of_it = run(whole, base[1], RECORDS)
    good = {p["end"]: p for p in thetas(all_of_it)}
    assert {p["end"]: p["theta"] for p in thetas(before)}.items() <= {
        end: p["theta"] for end, p in good.items()
    }.items()
    assert len(good) == len(RECORDS) and sum(p["q"] == 1 for p in good.values()) > 120
    return good, {p["id"].split(":", 1)[1]: p["end"] for p in thetas(before)}


def copy(folder, to):
    shutil.copytree(folder, to)
    return to


def target(folder, what, rng):
    """Return the file to damage and the position."""
    state = folder / "state"
    if what == "bundle":
        path = rng.choice(sorted((folder / "bundle").iterdir()))
    else:
        names = {"database": FILE, "wal": f"{FILE}-wal", "state": FILE}
        names |= {"mark": "journal.mark", "config": "../station.toml"}
        path = state / names[what]
    length = path.stat().st_size
    at = rng.randrange(length)
    if what == "state":  # in a row of the state
        content = path.read_bytes()
        word = rng.choice([b"pipeline", b"newest", b"whole", b"phase %02d" % rng.randrange(24)])
        rows = [m.start() for m in re.finditer(word + rb"(\[\[|\d)", content)]
        at = min(rng.choice(rows) + rng.randrange(700), length - 1)
    return path, at


def flip(path, at, rng):
    content = bytearray(path.read_bytes())
    content[at] ^= rng.randrange(1, 256)
    path.write_bytes(content)


def cut(path, at, _rng):
    with path.open("r+b") as file:
        file.truncate(at)


def examine(folder, base, truth, what):
    """Continue a damaged station and check its payloads; return how it ended."""
    engine = None if what in ("bundle", "config") else base[1]
    begin = time.process_time()
    try:
        station_intake, config, payloads = run(folder, engine, RECORDS[BEFORE:])
    except (ConfigError, BundleError) as error:
        if what not in ("bundle", "config"):
            raise
        return f"refused with exit code {error.exit_code}"
    seconds = time.process_time() - begin
    assert seconds < START_LIMIT_S
    good, ids = truth
    journal, thetas_published = station_intake.journal, thetas(payloads)
    own = [p for p in thetas_published if p["id"].split(":")[1] == journal.epoch]
    for payload in thetas_published:  # a number is never reused
        name = payload["id"].split(":", 1)[1]
        assert ids.get(name, payload["end"]) == payload["end"]
    new = {p["end"] for p in thetas_published[-AFTER:]}
    assert len(new) == AFTER and len(own) >= AFTER
    wrong = [p for p in thetas_published if p["q"] == 1 and p["theta"] != good[p["end"]]["theta"]]
    if wrong:  # allowed only if lost rows or a changed site were reported
        assert events(payloads) & {"journal_salvaged", "state_rebuilt"}
        replayed = replay(folder, config, station_intake, truth)
        assert all(p["theta"] == replayed[p["end"]] for p in wrong)
    station_intake.close()
    if what == "config" and repr(config.site) != repr(read_config(base[0] / "station.toml").site):
        return "other site, reported"
    if events(payloads) & {"journal_salvaged"}:
        return "salvaged"
    return "rebuilt" if "state_rebuilt" in events(payloads) else "unharmed"


def replay(folder, config, station_intake, truth):
    """Return theta of each end, computed from a cold state over the remaining records."""
    fresh = folder / "fresh"
    fresh.mkdir()
    shutil.copytree(folder / "bundle", fresh / "bundle")
    shutil.copyfile(folder / "station.toml", fresh / "station.toml")
    again, _, payloads = run(fresh, None, list(station_intake.journal.records()))
    again.close()
    return {p["end"]: p["theta"] for p in thetas(payloads)}


@pytest.mark.parametrize("what", CASES)
def test_damage_is_survived_or_named_and_no_wrong_theta_is_good(
    tmp_path, base, truth, what, seed, record_property
):
    rng = random.Random(f"{seed} {what}")
    ends = {}
    flips, cuts = CASES[what]
    for number, damage in enumerate([flip] * flips + [cut] * cuts):
        folder = copy(base[0], tmp_path / str(number))
        if what == "wal":
            shutil.rmtree(folder / "state")
            (folder / "killed").rename(folder / "state")
        path, at = target(folder, what, rng)
        damage(path, at, rng)
        try:
            end = examine(folder, base, truth, what)
        except BaseException:
            print(f"case {number}: {damage.__name__} {path} at {at}")
            raise
        ends[end] = ends.get(end, 0) + 1
        shutil.rmtree(folder)
    for end, count in ends.items():
        record_property(f"damage_{what}_{end}", count)
    print(what, ends)
    assert sum(ends.values()) == flips + cuts


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    yield broker
    broker.stop()


def test_a_journal_that_is_damaged_while_it_runs_is_replaced(tmp_path, broker):
    header, *sent = lines(4.0, 5)
    station, ears = Station(tmp_path / "s", "test-1", broker.port), Subscriber(broker.port)
    station.start().ready().line.write(header + b"".join(sent[:50]))
    wait_until(lambda: len(ears.theta_once()) == 50)
    with sqlite3.connect(
        tmp_path / "s" / "state" / FILE
    ) as other:  # a row that the station has not written
        end_s = START_S + 51 * 3600.0
        other.execute("INSERT INTO record (seq, end_s, crc32) VALUES (51, ?, 0)", (end_s,))
    station.line.write(b"".join(sent[50:60]))
    wait_until(lambda: len(ears.theta_once()) == 60, station.log())
    assert published(ears.theta_once()) == reference(station.toml, [header, *sent[:60]])
    epochs = [p["id"].split(":")[1:] for p in ears.theta_once()]
    assert [int(n) for _, n in epochs] == [*range(1, 51), *range(1, 11)]
    assert len({epoch for epoch, _ in epochs}) == 2
    texts = lambda: " ".join(e["text"] for e in ears.of("event/journal_salvaged"))  # noqa: E731
    wait_until(lambda: "recovered: 50 records" in texts())
    assert station.process.poll() is None
    station.close()
    ears.close()


def test_a_daemon_on_a_damaged_journal_continues_and_reports_it(
    tmp_path, base, truth, seed, broker
):
    """Check the same through process, port, broker and subscriber."""
    header, *sent = lines((BEFORE + AFTER) / 24, 5)
    rng = random.Random(seed)
    for number in range(size(1, 30)):
        name = f"test-{number}"
        station = Station(tmp_path / name, name, broker.port, bundle=base[0] / "bundle")
        ears = Subscriber(broker.port, f"crns/v1/{name}/#")
        shutil.copytree(base[0] / "state", tmp_path / name / "state")
        path = tmp_path / name / "state" / FILE
        content = bytearray(path.read_bytes())
        for _ in range(40):  # in one of three pages, so that it is detected
            content[rng.randrange(len(content))] ^= 1 + rng.randrange(255)
        path.write_bytes(content)
        try:
            station.start().ready().line.write(header + b"".join(sent[BEFORE:]))

            def new(ears=ears, name=name):
                heard = [json.loads(p) for t, p in ears.messages if t.endswith("obs/theta")]
                once = {p["id"]: p for p in heard}.values()
                return [p for p in once if p["end"] in ENDS]

            wait_until(lambda new=new: len(new()) == AFTER, station.log())
            salvaged = any(t.endswith("event/journal_salvaged") for t, _ in ears.messages)
            good = truth[0]
            for payload in new():
                assert salvaged or payload["theta"] == good[payload["end"]]["theta"]
            assert salvaged == bool(list((tmp_path / name / "state").glob("*.damaged-*")))
            assert station.process.poll() is None and "Traceback" not in station.log()
        finally:
            station.close()
            ears.close()
