"""The first hour at a station, with a real port: `status` names what is wrong and what cures it.

Each fault is said within 3 intervals, and then cured by doing what the remedy says and no more.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import threading
import time

import pytest
from tests.support.rig import (
    Broker,
    Daemon,
    Line,
    Subscriber,
    edge,
    station_toml,
    wait_until,
)

from epithermal_edge.cli import simulator
from epithermal_edge.loggers.parser import RECORDS_HEADER
from epithermal_edge.station.status import read_status

INTERVAL_S = 3.0  # a station looks every 5 s whether its state has changed
WITHIN = 3.0  # intervals


class Logger(threading.Thread):
    """A detector that sends a record in each interval through a wire, which may be bad."""

    def __init__(self, dialect="records", header=True, wire=lambda line: line, every=INTERVAL_S):
        super().__init__(daemon=True)
        self.line, self.wire, self._dialect = Line(), wire, dialect
        self.header, self.every, self._stopping = header, every, threading.Event()
        self.sent = 0  # records

    def run(self):
        while not self._stopping.is_set():
            stream = simulator.records(1.0, 1, time.time() - self.every, self.every)
            head, row = simulator.lines(self._dialect, itertools.islice(stream, 1))
            self.line.write(self.wire(head * self.header + row))
            self.sent += 1
            self._stopping.wait(self.every)

    def close(self):
        self._stopping.set()
        self.join(10.0)
        self.line.close()


def wrong_baud(line):
    """Return about what a UART at half the rate reads: one bit for two bits on the line."""
    bits = "".join("0" + f"{byte:08b}"[::-1] + "1" for byte in line)
    seen = bits[::2]
    frames = (seen[k : k + 10] for k in range(0, len(seen) - 10, 10))
    return bytes(int(frame[1:9][::-1], 2) for frame in frames)


def half_a_cable(rng):
    """Return a wire that loses a piece of two in three records."""
    rows = itertools.count()

    def wire(text):
        out = []
        for line in text.splitlines(keepends=True):
            if line.startswith(b"20") and next(rows) % 3 < 2:
                at = rng.randrange(2, len(line) // 2)
                line = line[:at] + line[at + rng.randrange(8, len(line) // 2) :]
            out.append(line)
        return b"".join(out)

    return wire


def source(dialect, more="", every=INTERVAL_S):
    return f'dialect = "{dialect}"\nstamps = "unchecked"\ninterval_s = {every}\n{more}'


def troubles(toml):
    """Return what `status --json` reports of the source, without the start of a process."""
    found = read_status(toml, time.time()).troubles
    return [trouble for trouble in found if trouble.what == "source"]


def as_printed(toml):
    """Return the same by the command itself."""
    found = json.loads(edge("status", toml, "--json").stdout)["troubles"]
    return [trouble for trouble in found if trouble["what"] == "source"]


@pytest.fixture
def play(tmp_path):
    """Yield a function that runs a station until it reports a remedy, and returns the report.

    Until enough lines have come, a remedy may stand beside another reason than `why`.
    """
    running = []

    def run(logger, source_keys, remedy, why=""):
        toml = station_toml(tmp_path, url=logger.line.name, source=source_keys)
        daemon = Daemon(toml)
        running.append((daemon, logger))
        daemon.ready()
        begun = time.monotonic()
        edge("status", toml)
        slow_s = time.monotonic() - begun  # what this machine takes for much less than a report
        logger.start()
        wait_until(lambda: any(remedy in trouble.remedy for trouble in troubles(toml)), remedy)
        assert logger.sent <= WITHIN + slow_s / logger.every, "no report within 3 intervals"
        found = []

        def is_printed():  # for a moment another record may change the verdict
            printed = as_printed(toml)
            found[:] = [x for x in printed if remedy in x["remedy"] and re.match(why, x["why"])]
            done = edge("check", toml)
            shown = found and f"do: {found[0]['remedy']}" in done.stdout
            return shown and "FAULT source: " in done.stdout and done.returncode == 1

        wait_until(is_printed, "the same by both commands")
        wait_until(lambda: edge("status", toml).returncode == 1, "exit status 1")
        return toml, daemon, found[0]

    yield run
    for daemon, logger in running:
        if daemon.process.poll() is None:
            daemon.kill()
        if logger.is_alive():
            logger.close()


def cured(toml, daemon, logger, source_keys):
    """Restart with other keys and wait until records arrive and nothing is reported."""
    daemon.stop()
    toml = station_toml(toml.parent, url=logger.line.name, source=source_keys)
    daemon = Daemon(toml)
    try:
        await_records(toml)
    finally:
        daemon.kill()


def await_records(toml):
    def is_well():
        journal = read_status(toml, time.time()).journal
        return journal and journal["last_seq"] > 1 and not troubles(toml)

    wait_until(is_well, "records")


def test_a_wrong_baud_rate_is_named_and_the_right_one_cures_it(play):
    """A pseudo-terminal has no rate: the logger sends what a port at half its rate would read."""
    logger = Logger(wire=wrong_baud)
    toml, _, trouble = play(
        logger, source("records", "baud = 4800\n"), "set source.baud to the logger's rate"
    )
    assert "at 4800" in trouble["remedy"]
    logger.wire = lambda line: line
    await_records(toml)


@pytest.mark.parametrize(
    ("sent", "configured"),
    [("records", "toa5"), ("hydroinnova", "records")],
)
def test_a_wrong_dialect_is_named_and_the_right_one_cures_it(play, sent, configured):
    logger = Logger(sent)
    toml, daemon, trouble = play(logger, source(configured), "set source.dialect = ")
    assert trouble["remedy"] == f'set source.dialect = "{sent}"'
    cured(toml, daemon, logger, source(re.search('dialect = "(.*)"', trouble["remedy"])[1]))


def test_a_missing_header_is_named_and_the_columns_cure_it(play):
    logger = Logger(header=False)
    toml, daemon, trouble = play(logger, source("records"), "set source.columns = [")
    assert "no records header so far" in trouble["why"]
    columns = re.fullmatch(r"set source\.(columns = \[.*\])", trouble["remedy"])
    cured(toml, daemon, logger, source("records", f"{columns[1]}\n"))


def test_a_missing_header_of_another_logger_is_named_with_both_remedies(play):
    logger = Logger("hydroinnova", header=False)
    both = "set source.columns to the names in order, or restart the logger"
    toml, _, _ = play(logger, source("hydroinnova"), both)
    logger.header = True
    await_records(toml)


def test_half_a_cable_is_named_and_the_whole_one_cures_it(play):
    rng = random.Random(20261130)
    logger = Logger(wire=half_a_cable(rng), every=4.0)
    keys, share = source("records", every=4.0), "[2-8] of the last [3-8] lines are damaged: "
    toml, _, trouble = play(logger, keys, "check the cable, its plugs", share)
    assert trouble["remedy"].startswith("check the cable, its plugs")
    logger.wire = lambda line: line
    await_records(toml)


def test_mqtt_tells_that_no_record_can_be_read(tmp_path):
    broker, logger = Broker(tmp_path), Logger(header=False)
    toml = station_toml(tmp_path, url=logger.line.name, port=broker.port, source=source("records"))
    subscriber = Subscriber(broker.port)
    daemon = Daemon(toml)
    try:
        daemon.ready()
        logger.start()

        def reported():
            return [s["trouble"] for s in subscriber.of("status") if s["trouble"]]

        wait_until(reported, "trouble")
        assert reported()[0].startswith("source: ") and "set source.columns" in reported()[0]
        logger.line.write(RECORDS_HEADER)
        logger.header = True
        wait_until(lambda: subscriber.of("status")[-1]["trouble"] is None, "its end")
    finally:
        daemon.kill()
        logger.close()
        subscriber.close()
        broker.stop()
