"""Serial ports that are half written, unplugged and plugged in again: real pseudo-terminals."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from epithermal_edge.errors import FrameError, SourceError
from epithermal_edge.loggers.parser import RECORDS_HEADER, format_record, parse, split, start
from epithermal_edge.loggers.ports import CUT, reconnecting, serial_chunks
from epithermal_edge.records import RawRecord

ROW = format_record(RawRecord(1774443600.0, 3600, 1234, 984.5, 15.6, 40.2))[:-1] + b"\r\n"
QUICK_S = 0.02
DEADLINE_S = 300.0


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """Open a pseudo-terminal; return the detector's end and the name of the station's end."""
    master, slave = os.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    yield master, name
    os.close(master)


def heard(chunks: Iterator[bytes], until: bytes) -> bytes:
    """Read the chunks until these bytes have been received."""
    data, end = b"", time.monotonic() + DEADLINE_S
    while until not in data:
        assert time.monotonic() < end, data
        data += next(chunks)
    return data


def test_half_lines_come_as_they_were_written(terminal):
    master, name = terminal
    stop = threading.Event()
    chunks = serial_chunks(name, 9600, stop, QUICK_S)
    assert next(chunks) == b""  # silence
    context, buffer, records = start("records"), b"", []
    for part in (RECORDS_HEADER, ROW[:20], ROW[20:-1], ROW[-1:]):
        os.write(master, part)
        buffer, lines = split(buffer, heard(chunks, part))
        for line in lines:
            context, record = parse(context, line)
            records.append(record)
    assert [r.counts for r in records if r] == [1234]
    stop.set()
    assert list(chunks) == []


def test_a_port_has_one_reader(terminal):
    _, name = terminal
    stop = threading.Event()
    first = serial_chunks(name, 9600, stop, QUICK_S)
    next(first)
    with pytest.raises(SourceError, match="cannot open"):
        next(serial_chunks(name, 9600, stop, QUICK_S))
    first.close()
    assert next(serial_chunks(name, 9600, stop, QUICK_S)) == b""


def test_an_unplugged_port_delivers_its_last_bytes_and_then_raises():
    master, slave = os.openpty()
    tty.setraw(slave)
    chunks = serial_chunks(os.ttyname(slave), 9600, threading.Event(), QUICK_S)
    next(chunks)
    os.write(master, ROW)
    assert heard(chunks, b"\n") == ROW
    os.close(slave)
    os.close(master)
    with pytest.raises(SourceError, match="disconnected"):
        heard(chunks, b"more")


def test_a_port_that_is_silent_for_too_long_raises(terminal):
    _, name = terminal
    chunks = serial_chunks(name, 9600, threading.Event(), QUICK_S, silence_s=0.1)
    with pytest.raises(SourceError, match="silent for"):
        heard(chunks, b"anything")


@pytest.mark.parametrize(
    "url", ["/dev/no-such-port", "xyz://1", "socket://127.0.0.1:1", "rfc2217://127.0.0.1:1"]
)
def test_a_port_that_does_not_open_is_one_line(url):
    with pytest.raises(SourceError) as caught:
        next(serial_chunks(url, 9600, threading.Event()))
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_terminal_server_that_closes_loses_none_of_what_it_sent():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        chunks = serial_chunks(url, 9600, threading.Event(), QUICK_S)
        assert next(chunks) == b""
        connection, _ = server.accept()
        connection.sendall(ROW * 50 + b"2026-")
        connection.close()
        received: list[bytes] = []
        with pytest.raises(SourceError, match="disconnected"):
            received.extend(chunks)
    assert b"".join(received) == ROW * 50 + b"2026-"


def test_loop_is_a_port():
    stop = threading.Event()
    chunks = serial_chunks("loop://", 9600, stop, QUICK_S)
    assert next(chunks) == b""


def test_a_line_that_unplugging_cut_never_becomes_a_record():
    stop = threading.Event()
    waits: list[float] = []

    def uniform(low: float, high: float) -> float:
        waits.append(high)
        return low

    parts = iter([[RECORDS_HEADER, ROW[:-9]], [], [], [ROW[10:], ROW], [ROW]])

    def connect() -> Iterator[bytes]:
        part = next(parts, None)
        if part is None:
            stop.set()
            return
        yield from part
        raise SourceError("pulled")

    context, buffer, counts, damaged = start("records"), b"", [], 0
    for chunk in reconnecting(connect, stop, 1.0, 3.0, uniform):
        buffer, lines = split(buffer, chunk)
        for line in lines:
            try:
                context, record = parse(context, line)
            except FrameError:
                damaged += 1
            else:
                counts += [record.counts] if record else []
    assert counts == [1234, 1234]
    assert damaged == 2  # the cut one and the rest of the next
    assert waits == [1.0, 2.0, 3.0, 1.0, 1.0]  # doubles up to the longest, anew after a byte
    assert CUT.endswith(b"\n")


def test_waiting_ends_when_the_station_stops():
    """Otherwise it lasts for days."""
    stop = threading.Event()

    def connect() -> Iterator[bytes]:
        raise SourceError("no port")
        yield b""

    chunks = reconnecting(connect, stop, 1e6, 1e6, lambda low, high: high)
    threading.Timer(0.2, stop.set).start()
    assert all(chunk == b"" for chunk in chunks)


@pytest.mark.skipif(shutil.which("socat") is None, reason="no socat on this machine")
def test_a_port_that_comes_back_under_its_name_is_read_on(tmp_path: Path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"

    def plug() -> subprocess.Popen[bytes]:
        ends = [f"pty,raw,echo=0,link={end}" for end in (ours, theirs)]
        process = subprocess.Popen(["socat", *ends])
        end = time.monotonic() + DEADLINE_S
        while not (ours.exists() and theirs.exists()):
            assert time.monotonic() < end
            time.sleep(0.01)
        return process

    def unplug(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        process.wait()

    stop = threading.Event()
    chunks = reconnecting(lambda: serial_chunks(str(ours), 9600, stop, QUICK_S), stop, 0.05, 0.05)
    cable = plug()
    try:
        assert next(chunks) == b""
        theirs.write_bytes(ROW[:30])
        assert heard(chunks, ROW[:30]) == ROW[:30]
        unplug(cable)
        assert heard(chunks, CUT) == CUT
        cable = plug()
        data, end = b"", time.monotonic() + DEADLINE_S
        while ROW not in data:  # what comes before the port is open is lost
            assert time.monotonic() < end
            theirs.write_bytes(ROW)
            data += next(chunks)
    finally:
        unplug(cable)
