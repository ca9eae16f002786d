"""The daemon as a process with a pseudo-terminal, a broker and SIGKILL."""

import itertools
import os
import random
import shutil
import sqlite3
import time

import pytest
from tests.support.reference import published, reference
from tests.support.rig import (
    Broker,
    Daemon,
    Line,
    Subscriber,
    lines,
    sealed_again,
    station_toml,
    validate_by_topic,
    wait_until,
)
from tests.support.sites import SITE

from epithermal_edge.cli import simulator

HEADER, *LINES = lines(10.0)


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def ears(broker):
    ears = Subscriber(broker.port)
    yield ears
    ears.close()


@pytest.fixture
def line():
    line = Line()
    yield line
    line.close()


@pytest.fixture
def daemons():
    running = []
    yield lambda *arguments: running.append(Daemon(*arguments)) or running[-1]
    for daemon in running:
        if daemon.process.poll() is None:
            daemon.kill()


def test_every_record_becomes_one_valid_message_in_order(tmp_path, broker, ears, line, daemons):
    toml = station_toml(tmp_path, url=line.name, port=broker.port)
    daemon = daemons(toml).ready()
    line.write(HEADER + b"".join(LINES))
    wait_until(lambda: len(ears.of("obs/theta")) == len(LINES))
    assert daemon.stop() == 0
    messages = ears.of("obs/theta")
    assert published(messages) == reference(toml, [HEADER, *LINES])
    assert [m["id"].split(":")[2] for m in messages] == [str(i) for i in range(1, 241)]
    assert messages[-1]["q"] == 3 and "warm_up" in messages[-1]["flags"]
    wait_until(lambda: len(ears.of("status")) == 2)
    assert [s["state"] for s in ears.of("status")] == ["online", "stopped"]
    assert ears.of("state/theta") == []  # no record is live
    validate_by_topic(ears.messages)
    assert daemon.counts()["records"] == daemon.counts()["delivered"] == 240


def test_damaged_late_and_repeated_lines_are_distinguished(tmp_path, broker, ears, line, daemons):
    toml = station_toml(tmp_path, url=line.name, port=broker.port)
    daemon = daemons(toml).ready()
    late = sealed_again(LINES[3].replace(b":00Z,", b":30Z,", 1))
    sent = [*LINES[:9], LINES[4], b"2026-01-01T\xff,1\n", LINES[9][:30] + b"\n", late, LINES[9]]
    line.write(HEADER + b"".join(sent))
    wait_until(lambda: len(ears.of("obs/theta")) == 11)
    assert daemon.stop() == 0
    messages = ears.of("obs/theta")
    assert ["late" in m["flags"] for m in messages] == [False] * 9 + [True, False]
    assert messages[9]["theta"]["value"] is None and messages[9]["n"]["corr_cph"] > 0
    counts = daemon.counts()
    assert (counts["records"], counts["late"], counts["duplicates"], counts["damaged"]) == (
        11,
        1,
        1,
        2,
    )
    validate_by_topic(ears.messages)


def test_a_kill_between_records_loses_and_repeats_nothing(tmp_path, broker, ears, line, daemons):
    toml = station_toml(tmp_path, url=line.name, port=broker.port)
    cuts = [0, 40, 90, 91, 150, 240]
    for begin, end in itertools.pairwise(cuts):
        daemon = daemons(toml).ready()
        line.write(HEADER + b"".join(LINES[begin:end]))
        wait_until(lambda end=end: len(ears.theta_once()) >= end)
        daemon.kill()
    messages = ears.theta_once()
    assert published(messages) == reference(toml, [HEADER, *LINES])
    assert [int(m["id"].split(":")[2]) for m in messages] == list(range(1, 241))


def test_a_kill_at_any_moment_loses_nothing_that_was_committed(
    tmp_path, broker, ears, line, daemons
):
    """Resend lines that were read but not committed, as a logger with a memory does."""
    toml, rng = station_toml(tmp_path, url=line.name, port=broker.port), random.Random(4)
    for _ in range(4):
        daemon = daemons(toml).ready()
        done = committed(tmp_path)
        line.write(HEADER + b"".join(LINES[max(done - 3, 0) : done + 60]))
        wait_until(lambda done=done: committed(tmp_path) > done)
        time.sleep(rng.uniform(0.0, 0.05))
        daemon.kill()
        line.close()
        line.__init__()
        toml = station_toml(tmp_path, url=line.name, port=broker.port)
    daemon = daemons(toml).ready()
    line.write(HEADER + b"".join(LINES))
    wait_until(lambda: len(ears.theta_once()) == len(LINES))
    assert daemon.stop() == 0
    messages = ears.theta_once()
    assert published(messages) == reference(toml, [HEADER, *LINES])
    assert [int(m["id"].split(":")[2]) for m in messages] == list(range(1, 241))


def committed(folder):
    path = folder / "state" / "journal.sqlite3"
    if not path.exists():
        return 0
    with sqlite3.connect(path) as database:
        try:
            return database.execute("SELECT count(*) FROM record").fetchone()[0]
        except sqlite3.OperationalError:
            return 0


@pytest.mark.parametrize("damage", ["byte", "site"])
def test_a_state_that_does_not_fit_is_recomputed_and_reported(
    tmp_path, broker, ears, line, daemons, damage
):
    toml = station_toml(tmp_path, url=line.name, port=broker.port)
    daemon = daemons(toml).ready()
    line.write(HEADER + b"".join(LINES[:100]))
    wait_until(lambda: len(ears.of("obs/theta")) == 100)
    daemon.stop()
    if damage == "byte":
        with sqlite3.connect(tmp_path / "state" / "journal.sqlite3") as database:
            database.execute(
                "UPDATE state SET data = x'00' || substr(data, 2) WHERE part = 'phase 01'"
            )
    else:
        site = SITE.replace("430.0", "440.0")
        toml = station_toml(tmp_path, url=line.name, port=broker.port, site=site)
    daemons(toml).ready()
    line.write(HEADER + b"".join(LINES[100:]))
    wait_until(lambda: len(ears.of("obs/theta")) == len(LINES))
    assert published(ears.of("obs/theta"))[100:] == reference(toml, [HEADER, *LINES])[100:]
    (event,) = ears.of("event/state_rebuilt")
    assert ("damaged" if damage == "byte" else "another model or site") in event["text"]
    validate_by_topic(ears.messages)


def test_a_port_that_goes_away_is_opened_again(tmp_path, broker, ears, line, daemons):
    port = tmp_path / "port"
    port.symlink_to(line.name)
    toml = station_toml(tmp_path, url=port, port=broker.port)
    daemon = daemons(toml).ready()
    line.write(HEADER + b"".join(LINES[:10]))
    wait_until(lambda: len(ears.of("obs/theta")) == 10)
    line.write(LINES[10][:20])  # cut in the middle of a line
    time.sleep(0.3)  # the line's buffer is lost at the hang-up
    line.close()
    port.unlink()
    line.__init__()
    port.symlink_to(line.name)
    wait_until(lambda: daemon.log().count(" is open") == 2)
    line.write(HEADER + b"".join(LINES[10:20]))
    wait_until(lambda: len(ears.of("obs/theta")) == 20)
    assert daemon.stop() == 0
    assert published(ears.of("obs/theta")) == reference(toml, [HEADER, *LINES[:20]])
    assert daemon.counts()["damaged"] == 1 and daemon.counts()["opened"] >= 2


def test_a_live_record_is_on_the_dashboard_at_once(tmp_path, broker, ears, line, daemons):
    daemons(station_toml(tmp_path, url=line.name, port=broker.port)).ready()
    start_s = time.time() // 3600 * 3600 - 4 * 3600.0
    live = simulator.lines("records", simulator.records(4 / 24, 1, start_s))
    line.write(b"".join(live))
    wait_until(lambda: len(ears.of("obs/theta")) == 4)
    wait_until(lambda: bool(ears.of("state/theta")))
    later = Subscriber(broker.port)
    wait_until(lambda: bool(later.of("state/theta")))
    assert later.of("state/theta") == ears.of("obs/theta")[-1:]
    validate_by_topic(later.messages)
    later.close()


def test_while_the_broker_is_away_everything_waits_in_the_journal(tmp_path, broker, line, daemons):
    broker.stop()
    toml = station_toml(tmp_path, url=line.name, port=broker.port)
    daemons(toml).ready()
    line.write(HEADER + b"".join(LINES[:100]))
    wait_until(lambda: committed(tmp_path) == 100)
    broker.start()
    ears = Subscriber(broker.port)
    wait_until(lambda: len(ears.theta_once()) == 100)
    assert published(ears.theta_once()) == reference(toml, [HEADER, *LINES[:100]])
    ears.close()


def test_without_a_broker_estimates_are_journaled_and_idle_ends_the_run(tmp_path, line, daemons):
    daemon = daemons(station_toml(tmp_path, url=line.name), "--until-idle", "1.5").ready()
    line.write(HEADER + b"".join(LINES[:50]))
    assert daemon.wait() == 0
    assert daemon.counts()["records"] == committed(tmp_path) == 50


def test_a_bundle_that_fails_its_golden_vectors_is_refused(tmp_path, line, daemons):
    from tests.support.rig import BUNDLE

    from epithermal_edge.inference.bundle import manifest_text

    bad = tmp_path / "bad"
    shutil.copytree(BUNDLE, bad)
    golden = (bad / "golden.csv").read_text().splitlines()
    golden[-1] = ",".join([*golden[-1].split(",")[:-2], "0.5", "0.5"])
    (bad / "golden.csv").write_text("\n".join(golden) + "\n")
    files = {p.name: p.read_bytes() for p in bad.iterdir() if p.name != "MANIFEST"}
    (bad / "MANIFEST").write_text(manifest_text(files))
    daemon = daemons(station_toml(tmp_path, url=line.name, bundle=bad))
    assert daemon.wait() == 3
    assert "golden vectors fail" in daemon.log() and "Traceback" not in daemon.log()
    assert not os.path.exists(tmp_path / "state")
