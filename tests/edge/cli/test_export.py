"""`tail`, `export` and `replay` of the journal: stored estimates, and the same computed again."""

import csv
import io
import signal
import subprocess
import sys

import pytest
from tests.support.rig import (
    BUNDLE,
    PATIENCE_S,
    Broker,
    Daemon,
    Line,
    Subscriber,
    edge,
    lines,
    sealed_again,
    station_toml,
    wait_until,
)

HEADER, *LINES = lines(6.0)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run a station over six days with a damaged and a late line; return config and messages."""
    folder = tmp_path_factory.mktemp("ran")
    broker, line = Broker(folder), Line()
    ears = Subscriber(broker.port)
    toml = station_toml(folder, url=line.name, port=broker.port)
    daemon = Daemon(toml).ready()
    late = sealed_again(LINES[3].replace(b":00Z,", b":30Z,", 1))
    line.write(HEADER + b"".join([*LINES[:60], b"noise\xff\n", late, *LINES[60:]]))
    wait_until(lambda: len(ears.of("obs/theta")) == len(LINES) + 1)
    assert daemon.stop() == 0
    heard = ears.of("obs/theta")
    ears.close()
    broker.stop()
    line.close()
    return toml, heard


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_export_agrees_with_the_published_messages(ran):
    toml, heard = ran
    done = edge("export", toml)
    assert done.returncode == 0 and done.stderr == f"records={len(heard)}\n"
    table = rows(done.stdout)
    sent = [(m["id"].split(":")[2], m["end"], m["q"], " ".join(m["flags"])) for m in heard]
    assert [(r["seq"], r["time_utc"], int(r["q"]), r["flags"]) for r in table] == sent
    exported = [float(row["theta"] or "nan") for row in table]  # nine digits
    published = [float(m["theta"]["value"] or "nan") for m in heard]  # six decimals
    assert exported == pytest.approx(published, abs=5.01e-7, rel=0.0, nan_ok=True)
    assert {r["model"] for r in table} == {"bucket 0.1.0"}
    assert "late" in table[60]["flags"] and float(table[60]["n_corr_cph"]) > 0


def test_replay_of_the_journal_gives_the_same_rows_as_export(ran):
    toml, heard = ran
    again = edge("replay", toml)
    assert again.returncode == 0 and f"records={len(heard)} from=journal" in again.stderr
    exported = rows(edge("export", toml).stdout)
    for row in exported:
        del row["seq"], row["model"], row["crc32"]
    assert rows(again.stdout) == exported


def test_from_and_to_select_rows_without_an_effect_on_the_state(ran, tmp_path):
    toml, _ = ran
    every = rows(edge("replay", toml).stdout)
    bounds = ("--from", "2026-01-04T00:00:00Z", "--to", "2026-01-05")
    some = rows(edge("replay", toml, *bounds).stdout)
    assert [r["time_utc"] for r in (some[0], some[-1])] == [
        "2026-01-04T01:00:00Z",
        "2026-01-05T00:00:00Z",
    ]
    assert len(some) == 24 and [r for r in every if r in some] == some
    out = tmp_path / "est.csv"
    done = edge("export", toml, "--csv", out, *bounds)
    assert done.stdout == "" and [r["theta"] for r in rows(out.read_text())] == [
        r["theta"] for r in some
    ]
    stream = tmp_path / "records.csv"
    stream.write_bytes(HEADER + b"".join(LINES))
    assert len(rows(edge("replay", toml, stream, *bounds).stdout)) == 24


def test_replay_with_another_site_leaves_the_stored_estimates(ran, tmp_path):
    toml, _ = ran
    before = edge("export", toml).stdout
    text = toml.read_text()
    assert str(BUNDLE) in text
    other = toml.with_name("other.toml")
    other.write_text(text.replace("cosmic_n_cph = 430.0", "cosmic_n_cph = 460.0"))
    assert edge("replay", other).stdout != edge("replay", toml).stdout
    assert edge("export", other).stdout == before


def test_tail_prints_the_newest_records_and_each_new_one(tmp_path):
    line = Line()
    toml = station_toml(tmp_path, url=line.name)
    daemon = Daemon(toml).ready()
    line.write(HEADER + b"".join(LINES[:40]))

    def shown():
        return edge("tail", toml, "--last", "3", "--no-follow").stdout.splitlines()

    wait_until(lambda: len(shown()) == 3 and "2026-01-02T16:00:00Z" in shown()[2])
    assert shown()[0].startswith("2026-01-02T14:00:00Z  n ") and "warm_up" in shown()[0]
    command = [sys.executable, "-m", "epithermal_edge", "tail", str(toml), "--last", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout.readline().startswith("2026-01-02T16:00:00Z")
        line.write(b"".join(LINES[40:42]))
        new = [tail.stdout.readline() for _ in range(2)]
        tail.send_signal(signal.SIGTERM)
        assert tail.wait(PATIENCE_S) == -signal.SIGTERM
    assert [x[:20] for x in new] == ["2026-01-02T17:00:00Z", "2026-01-02T18:00:00Z"]
    assert all(" theta " in x and " q 3 " in x for x in new)
    assert daemon.stop() == 0
    line.close()


@pytest.mark.parametrize("command", [["tail"], ["export"], ["replay"]])
def test_without_a_journal_it_is_one_clear_line(tmp_path, command):
    done = edge(*command, station_toml(tmp_path))
    errors = [x for x in done.stderr.splitlines() if not x.startswith("time=")]
    assert done.returncode == 1 and len(errors) == 1 and "no journal" in errors[0]
    assert not (tmp_path / "state").exists()


def test_records_without_a_stored_estimate_are_exported(tmp_path):
    """Journals of earlier versions have no table of estimates."""
    import sqlite3

    line = Line()
    toml = station_toml(tmp_path, url=line.name)
    daemon = Daemon(toml, "--until-idle", "1").ready()
    line.write(HEADER + b"".join(LINES[:30]))
    assert daemon.wait() == 0
    with sqlite3.connect(tmp_path / "state" / "journal.sqlite3") as db:
        db.execute("DELETE FROM estimate WHERE seq <= 10")
    table = rows(edge("export", toml).stdout)
    assert [bool(r["model"]) for r in table] == [False] * 10 + [True] * 20
    assert table[0]["theta"] == "" and table[0]["counts"] != ""
    line.close()
