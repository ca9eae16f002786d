"""The reader thread: its queries to a logger with a memory, and the state of its port."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from pathlib import Path

import pytest
import serial
from serial import rfc2217
from tests.edge.loggers.test_parser import STYX_ROW
from tests.support.rig import Line, station_toml, wait_until

from epithermal_edge.config.station_toml import read_config
from epithermal_edge.errors import ConfigError
from epithermal_edge.loggers.parser import RECORDS_HEADER, format_record
from epithermal_edge.records import RawRecord
from epithermal_edge.station.reader import Read, Reader, format_query

T0 = 1_774_440_000.0  # 2026-03-25T12:00:00Z
HOUR = 3600.0


def row(hour: int) -> bytes:
    return format_record(RawRecord(T0 + hour * HOUR, HOUR, 1000.0 + hour, 985.0))


class Reading:
    """A running reader on a port."""

    def __init__(self, folder: Path, url: str, keys: str = "", since_s: float = T0) -> None:
        source = f'dialect = "records"\n{keys}'
        config = read_config(station_toml(folder, url=url, source=source))
        self.records: list[RawRecord] = []
        self.newest_s = since_s
        self._stopping = threading.Event()
        self.thread = Reader(
            config.source, self._put, self._stopping, newest_s=lambda: self.newest_s
        )
        self.thread.start()
        wait_until(lambda: self.thread.is_open, what="port")

    def _put(self, read: Read) -> None:
        self.records.append(read.record)
        self.newest_s = max(self.newest_s, read.record.end_s)
        self.thread.release_slot()

    def counts(self) -> list[float]:
        return [float(record.counts) for record in self.records]

    def stop(self) -> None:
        self._stopping.set()
        self.thread.join(10.0)
        assert not self.thread.is_alive()


class Logger(Line):
    """A logger that stores its records and sends those after the time in a query."""

    def __init__(self, stored: list[int]) -> None:
        super().__init__()
        self.stored, self.heard = stored, b""

    def answer(self) -> bool:
        """Answer a query; return whether one arrived."""
        if not select.select([self._ours], [], [], 0.02)[0]:
            return False
        self.heard += os.read(self._ours, 100)
        if not self.heard.endswith(b"\r\n"):
            return False
        asked = self.heard.decode().split()[-1]
        rows = [row(hour) for hour in self.stored]
        later = [line for line in rows if line.decode()[:19] > asked]
        self.write(RECORDS_HEADER + b"".join(later))
        return True


def test_a_styx_is_read_from_its_port_in_pieces_and_without_a_header(tmp_path):
    source = 'dialect = "styx"\ninterval_s = 900\n'
    line, records, stop = Line(), [], threading.Event()
    config = read_config(station_toml(tmp_path, url=line.name, source=source))
    reader = Reader(config.source, records.append, stop)
    reader.start()
    try:
        wait_until(lambda: reader.is_open, what="port")
        second = STYX_ROW.replace(b"1658981360", b"1658982291").replace(b"04:09:20", b"04:24:51")
        stream = STYX_ROW[50:] + b"\r\n" + STYX_ROW + b"\r\n" + second + b"\r\n"
        for k in range(0, len(stream), 61):
            line.write(stream[k : k + 61])
        wait_until(lambda: len(records) == 2, what="records")
    finally:
        stop.set()
        reader.join(10.0)
        line.close()
    assert [read.record.end_s for read in records] == [1658981360, 1658982291]
    assert [read.record.counts for read in records] == [225, 225]
    assert reader.damaged == 1  # the line that was cut when the port was opened


def test_a_flagged_record_is_counted_and_logged_as_replay_does(tmp_path, caplog):
    line = Line()
    stop, records = threading.Event(), []
    config = read_config(station_toml(tmp_path, url=line.name, source='dialect = "cosmoz"\n'))
    reader = Reader(config.source, records.append, stop)
    reader.start()
    try:
        wait_until(lambda: reader.is_open, what="port")
        rows = [f"2026-03-01T0{k}:00:00Z,{800 + k},962.5,{k % 3}\n" for k in range(6)]
        line.write(("UTC_TIMESTAMP,COUNT,PRESSURE2_mb,FLAG\n" + "".join(rows)).encode())
        wait_until(lambda: len(records) == 6, what="records")
    finally:
        stop.set()
        reader.join(10.0)
        line.close()
    assert reader.flagged == reader.health()["flagged"] == 4
    logged = [text for text in caplog.messages if "FLAG" in text]
    assert logged == [f"FLAG is not 0 in {n} records: no counts" for n in (1, 2, 3, 4)]


QUERY = 'query = "SINCE %Y-%m-%dT%H:%M:%S\\r\\n"\n'


def test_a_logger_with_a_memory_is_asked_for_what_was_missed(tmp_path):
    logger = Logger([-1, 0, 1, 2, 3])
    reading = Reading(tmp_path, logger.name, QUERY)
    try:
        wait_until(logger.answer, what="question")
        assert logger.heard == b"SINCE 2026-03-25T12:00:00\r\n"  # the end of the newest record
        wait_until(lambda: len(reading.records) == 3, what="records")
        logger.write(row(4))
        wait_until(lambda: len(reading.records) == 4, what="the live record")
        assert reading.counts() == [1001.0, 1002.0, 1003.0, 1004.0]
        assert reading.thread.health()["asked"] == 1
    finally:
        reading.stop()
        logger.close()


def test_a_damaged_line_is_asked_for_once_in_an_interval(tmp_path):
    logger = Logger([1, 2])
    reading = Reading(tmp_path, logger.name, QUERY + "interval_s = 1\n")
    try:
        wait_until(logger.answer, what="first question")
        wait_until(lambda: len(reading.records) == 2, what="records")
        logger.heard, logger.stored = b"", [1, 2, 3]
        for _ in range(50):
            logger.write(row(3)[:-10] + b"x" + row(3)[-9:])
        wait_until(logger.answer, what="second question")
        assert logger.heard == b"SINCE 2026-03-25T14:00:00\r\n"
        wait_until(lambda: len(reading.records) == 3, what="record")
        time.sleep(1.2)
        assert not logger.answer()
        assert reading.thread.health()["damaged"] == 50
    finally:
        reading.stop()
        logger.close()


def test_without_a_query_or_a_known_record_nothing_is_asked(tmp_path):
    for keys, since_s in (("", T0), (QUERY, -float("inf"))):
        logger = Logger([1])
        reading = Reading(tmp_path, logger.name, keys, since_s)
        logger.write(RECORDS_HEADER)
        time.sleep(0.3)
        assert not logger.answer()
        reading.stop()
        logger.close()


def test_the_time_in_a_question_is_by_the_logger_s_clock():
    assert format_query("D%d %H\r", T0, -6.0) == b"D25 06\r"


@pytest.mark.parametrize("since_s", [1e18, -1e300, 253402300800.0, float("nan")])
def test_a_newest_record_of_a_damaged_journal_without_a_date_ends_no_reader(tmp_path, since_s):
    assert format_query("D%d %H\r", since_s, 1.0) == b""
    logger = Logger([1])
    reading = Reading(tmp_path, logger.name, QUERY, since_s)
    try:
        wait_until(lambda: reading.thread.is_open, what="port")
        logger.write(RECORDS_HEADER + row(1))
        wait_until(lambda: reading.records, what="record")
        assert reading.thread.is_alive() and reading.thread.health()["asked"] == 0
    finally:
        reading.stop()
        logger.close()


@pytest.mark.parametrize(
    ("query", "fault"),
    [('"DUMP"', "has no line end"), ('"dump ä\\n"', "is not ASCII")],
)
def test_a_query_that_no_logger_would_accept_is_a_fault(tmp_path, query, fault):
    with pytest.raises(ConfigError, match=fault):
        read_config(station_toml(tmp_path, source=f'dialect = "records"\nquery = {query}\n'))


def test_silence_is_three_intervals_unless_it_is_configured(tmp_path):
    def silence_s(keys: str) -> float:
        path = station_toml(tmp_path, source=f'dialect = "records"\n{keys}')
        return read_config(path).source.silence_s

    assert silence_s("") == 10800.0
    assert silence_s("interval_s = 5\n") == 60.0
    assert silence_s("silence_s = 7\n") == 7.0


def test_a_port_that_is_silent_for_too_long_is_opened_anew(tmp_path):
    line = Line()
    reading = Reading(tmp_path, line.name, "silence_s = 1\n")
    try:
        wait_until(lambda: reading.thread.opened > 1 and reading.thread.is_open, what="reopening")
        line.write(RECORDS_HEADER + row(1))
        wait_until(lambda: reading.counts() == [1001.0], what="record")
        health = reading.thread.health()
        assert "silent for 1 s" in str(health["last_error"])
        assert (health["records"], health["damaged"]) == (1, 0)
        assert str(health["last_read"]).endswith("Z")
    finally:
        reading.stop()
        line.close()


class TerminalServer:
    """RFC 2217 by pyserial's own server, with a loop as serial port that the test writes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"
        self._port = serial.serial_for_url("loop://", timeout=0.05)
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                self._socket, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            manager, gone = rfc2217.PortManager(self._port, self), threading.Event()
            forwarder = threading.Thread(target=self._forward, args=(manager, gone), daemon=True)
            forwarder.start()
            while True:
                try:
                    data = self._socket.recv(1024)
                except OSError:
                    break
                if not data:
                    break
                for _ in manager.filter(data):
                    pass  # nothing but negotiation is sent to a logger
            gone.set()  # two that read the same port would share the bytes of a line
            forwarder.join()

    def _forward(self, manager: rfc2217.PortManager, gone: threading.Event) -> None:
        while not gone.is_set():
            data = self._port.read(max(self._port.in_waiting, 1))
            if data:
                try:
                    self.write(b"".join(manager.escape(data)))
                except OSError:
                    return

    def write(self, data: bytes) -> None:
        """Send the answer of PortManager."""
        self._socket.sendall(data)

    def write_serial(self, data: bytes) -> None:
        """Write bytes as the logger does."""
        self._port.write(data)

    def hang_up(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def test_a_terminal_server_by_rfc2217_is_read_and_comes_back(tmp_path):
    server = TerminalServer()
    reading = Reading(tmp_path, server.url)
    try:
        server.write_serial(RECORDS_HEADER + row(1))
        wait_until(lambda: reading.counts() == [1001.0], what="record")
        server.hang_up()
        # a busy machine may miss the moment without a port, and may need several negotiations
        wait_until(lambda: server.connections > 1 and reading.thread.is_open, what="port")
        server.write_serial(row(2))
        wait_until(lambda: reading.counts() == [1001.0, 1002.0], what="record")
    finally:
        reading.stop()
        server.close()


def test_a_terminal_server_by_tcp_gives_twenty_thousand_lines_in_no_time(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"socket://127.0.0.1:{listener.getsockname()[1]}"
        reading = Reading(tmp_path, url)
        connection, _ = listener.accept()
        stream = RECORDS_HEADER + b"".join(row(hour) for hour in range(1, 20001))
        connection.sendall(stream)
        wait_until(lambda: len(reading.records) == 20000, what="records")
        assert reading.counts() == [1000.0 + hour for hour in range(1, 20001)]
        reading.stop()
        connection.close()
