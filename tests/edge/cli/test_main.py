"""The commands as a user types them: one clear line per mistake, and the documented exit code."""

import csv
import itertools
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import tty

import pytest
from tests.support.rig import BUNDLE, Broker, Line, edge, free_port, lines, station_toml, wait_until
from tests.support.sites import SITE

from epithermal_edge.cli import main

STREAM = b"".join(lines(40.0))


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "records.csv"
    path.write_bytes(STREAM)
    return path


def assert_one_error(done, code, *parts):
    """Check for one line on stderr apart from the log, no traceback, and this exit code."""
    errors = [x for x in done.stderr.splitlines() if not x.startswith("time=")]
    assert done.returncode == code, done.stderr
    assert len(errors) == 1 and errors[0].startswith("epithermal-edge: "), done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in errors[0]


@pytest.mark.parametrize("command", sorted(main.COMMANDS))
def test_every_command_has_help_with_an_example_and_the_exit_codes(command):
    done = edge(*command.split(), "--help")
    assert done.returncode == 0
    assert f"example:\n  epithermal-edge {command}" in done.stdout
    assert f"exit codes:\n  0  {'well' if command == 'status' else 'success'}" in done.stdout


def test_a_wrong_command_line_is_exit_2():
    assert edge().returncode == edge("fly").returncode == edge("simulate", "--days", "0").returncode
    assert edge("simulate", "--days", "-1").returncode == 2


def test_replay_writes_one_row_a_record_with_units_in_the_names(tmp_path, recorded):
    out = tmp_path / "est.csv"
    done = edge("replay", station_toml(tmp_path), recorded, "--out", out)
    assert done.returncode == 0 and done.stdout == ""
    assert "records=960 damaged=0 duplicates=0 conflicts=0 " in done.stderr
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 960 and rows[0]["time_utc"] == "2026-01-01T01:00:00Z"
    assert 0.05 < float(rows[-1]["theta"]) < 0.6 and rows[-1]["flags"] == "warm_up"
    assert rows[-1]["state_age_steps"] == "40" and rows[-1]["window_end_utc"].endswith("00:00Z")
    assert not (tmp_path / "state").exists(), "replay leaves the station's journal alone"


def test_replay_counts_what_it_could_not_use(tmp_path):
    path = tmp_path / "mixed.csv"
    text = STREAM.splitlines(keepends=True)
    path.write_bytes(b"".join([*text[:50], text[5], b"2026-01-03T\xb30:00:00Z,1,1,1,1,1,,,\n"]))
    done = edge("replay", station_toml(tmp_path), path)
    assert "records=49 damaged=1 duplicates=1 conflicts=0" in done.stderr
    assert done.stdout.count("\n") == 50 and "mixed.csv:52" in done.stderr


@pytest.mark.parametrize(
    ("content", "options", "code", "part"),
    [
        (None, [], 4, "no such file"),
        (b"", [], 4, "is empty"),
        (STREAM, ["--format", "portal"], 4, "records"),
        (STREAM, ["--format", "portl"], 2, "did you mean 'portal'?"),
        (b"\x1f\x8b\x08damaged", [], 4, "archive"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path, content, options, code, part):
    path = tmp_path / "file.csv"
    if content is not None:
        path.write_bytes(content)
    assert_one_error(edge("replay", station_toml(tmp_path), path, *options), code, part)


def test_an_output_that_cannot_be_written_is_one_clear_line(tmp_path, recorded):
    done = edge("replay", station_toml(tmp_path), recorded, "--out", tmp_path / "no" / "x.csv")
    assert_one_error(done, 1, "x.csv: No such file or directory")


def test_a_config_fault_is_exit_2_and_all_are_reported(tmp_path):
    toml = station_toml(tmp_path, site=SITE.replace("altitude_m", "altitud_m"))
    done = edge("check", toml)
    assert done.returncode == 2 and done.stderr.count("\n") == 2
    assert "site.altitud_m: unknown; did you mean altitude_m?" in done.stderr
    assert_one_error(edge("run", tmp_path / "none.toml"), 2, "No such file")
    assert_one_error(edge("run", station_toml(tmp_path)), 2, "source.url: missing")


@pytest.mark.parametrize(
    "name", ["model.tflite", "golden.csv", "bundle.toml", "CARD.md", "MANIFEST"]
)
def test_a_bundle_with_one_byte_changed_is_exit_3(tmp_path, recorded, name):
    bundle = tmp_path / "bundle"
    shutil.copytree(BUNDLE, bundle)
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    assert_one_error(edge("replay", station_toml(tmp_path, bundle=bundle), recorded), 3, "install")
    assert_one_error(edge("selftest", bundle), 3, "install")


def test_check_names_each_part_with_its_remedy(tmp_path):
    toml = station_toml(tmp_path, url=tmp_path / "no-port", port=free_port(), bundle=tmp_path)
    done = edge("check", toml)
    assert done.returncode == 3 and "Traceback" not in done.stderr
    out = done.stdout.splitlines()
    parts = [x.split(":")[0] for x in out if not x.startswith(" ")]
    assert parts[:-1] == ["ok    config", "FAULT bundle", "ok    state_dir", "ok    disk",
                               "ok    journal", "FAULT source", "FAULT broker",
                               "ok    page"]  # fmt: skip
    assert parts[-1] in ("ok    clock", "WARN  clock")
    remedies = [b for a, b in itertools.pairwise(out) if a.startswith("FAULT")]
    assert all(x.startswith("      do: ") for x in remedies)
    words = ("epithermal-edge model install", "source.url", "mqtt.port")
    assert all(word in x for word, x in zip(words, remedies, strict=True))


def test_check_of_a_station_that_is_well_is_exit_0(tmp_path):
    broker, line = Broker(tmp_path), Line()
    done = edge("check", station_toml(tmp_path, url=line.name, port=broker.port))
    assert done.returncode == 0 and "FAULT" not in done.stdout
    assert "golden vectors pass" in done.stdout
    broker.stop()
    line.close()


def test_check_reports_a_missing_port_as_exit_4(tmp_path):
    assert edge("check", station_toml(tmp_path, url=tmp_path / "none")).returncode == 4


def test_selftest_verifies_the_bundle_on_every_runtime(tmp_path):
    from epithermal_edge.inference import runtime

    # as installed, from compiled modules: compiling them in the process takes memory
    env = os.environ | {"PYTHONPYCACHEPREFIX": f"{tmp_path}", "PYTHONDONTWRITEBYTECODE": ""}
    edge("selftest", BUNDLE, env=env)
    done = edge("selftest", BUNDLE, env=env)
    assert done.returncode == 0, done.stderr
    for name in runtime.available():
        assert f"ok    {name}: golden vectors within" in done.stdout
    figures = dict(pair.split("=") for pair in done.stdout.splitlines()[-1].split())
    assert all(float(v) <= float(figures["tolerance"]) for k, v in figures.items() if "error" in k)
    assert all(float(v) <= 60.0 for k, v in figures.items() if k.endswith("rss_mb"))
    assert all(float(v) <= 50.0 for k, v in figures.items() if k.endswith("step_us"))


def test_simulate_is_reproducible_and_can_be_replayed(tmp_path):
    one = edge("simulate", "--days", "2", "--seed", "5").stdout
    assert one == edge("simulate", "--days", "2", "--seed", "5").stdout
    assert one != edge("simulate", "--days", "2", "--seed", "6").stdout
    assert len(one.splitlines()) == 49
    text = edge("simulate", "--days", "2", "--dialect", "hydroinnova").stdout
    (tmp_path / "h.txt").write_text(text)
    done = edge("replay", station_toml(tmp_path), tmp_path / "h.txt", "--format", "hydroinnova")
    assert "records=48 damaged=0" in done.stderr


def test_simulate_writes_to_a_port_and_plays_files(tmp_path, recorded):
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    heard = bytearray()

    def listen():
        while len(heard) < len(STREAM):
            heard.extend(os.read(ours, 4096))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert edge("simulate", "--from", recorded, "--to", os.ttyname(theirs)).returncode == 0
    listener.join(10.0)
    assert bytes(heard) == STREAM
    os.close(ours)
    os.close(theirs)


def test_simulate_s_mistakes_are_one_clear_line(tmp_path):
    assert_one_error(edge("simulate", "--to", tmp_path / "none"), 4, "give a port that exists")
    assert_one_error(edge("simulate", "--dialect", "x"), 2, "one of records, hydroinnova")
    assert_one_error(edge("simulate", "--from", tmp_path / "none"), 4, "No such file")


def test_a_reader_that_has_enough_ends_the_command_quietly(tmp_path, recorded):
    command = [
        sys.executable,
        "-m",
        "epithermal_edge",
        "replay",
        station_toml(tmp_path),
        recorded,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 141 and "Traceback" not in errors and "Broken" not in errors


def test_an_interrupt_ends_a_command_without_traceback(tmp_path):
    command = [sys.executable, "-m", "epithermal_edge", "simulate", "--rate", "5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert process.stderr.read() == b""
    process.stdout.close()
    process.stderr.close()


def test_a_failing_port_is_retried_and_a_signal_ends_the_daemon(tmp_path):
    toml = station_toml(tmp_path, url=tmp_path / "none")
    command = [sys.executable, "-m", "epithermal_edge", "run", str(toml)]
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stderr=errors)
    wait_until(lambda: "trying again in" in log.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    assert "Traceback" not in log.read_text() and "records=0" in log.read_text()
