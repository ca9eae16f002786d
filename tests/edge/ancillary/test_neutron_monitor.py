"""Counts of a neutron monitor from a growing file, and from NMDB over a real TLS connection."""

from __future__ import annotations

import math
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.nest import Nest, self_signed

from epithermal_edge.ancillary.neutron_monitor import MAX_COUNTS, CountSeries
from epithermal_edge.ancillary.poller import FileTail, Nmdb, Poller
from epithermal_edge.config.weather_tables import Incoming
from epithermal_edge.errors import SourceError
from epithermal_edge.loggers.nmdb import ANSWER_BYTES, fetch, nmdb_query, read_nmdb

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0

# In the layout of NEST's text: comments, a header that is no comment, stamps of an hour's start.
ANSWER = """
#_____________ QUERY RESULTS SUMMARY ___________________________________
#        STATION: JUNG
#     START TIME: 2026-11-26 08:00:00 UTC
#       END TIME: 2026-11-26 12:20:00 UTC
#     NMDB TABLE: revised original
#      DATA TYPE: corr_for_efficiency(RCORR_E)
#      AVERAGING: 60 min
#_______________________________________________________________________
#
# Timestamps always correspond to the beginning of the time interval
   start_date_time   RCORR_E
2026-11-26 08:00:00;158.204
2026-11-26 09:00:00;158.391
2026-11-26 10:00:00;   null
2026-11-26 11:00:00;157.977
2026-11-26 12:00:00;158.120
"""
SORRY = "\nSorry, no data available for the requested dates\n"


def monitor_by_nmdb(url: str, ca_file: Path | None = None) -> Incoming:
    return Incoming("nmdb", None, "JUNG", url, ca_file, 3600.0, None, None, None, 21600.0)


def test_an_answer_for_another_monitor_or_without_counts_is_refused():
    with pytest.raises(SourceError, match="OULU, not JUNG"):
        read_nmdb(ANSWER.replace("JUNG", "OULU"), "JUNG")
    with pytest.raises(SourceError, match="no data for this time"):
        read_nmdb(SORRY, "JUNG")
    with pytest.raises(SourceError, match="not the text"):
        read_nmdb("<html>login</html>", "JUNG")


def test_the_query_asks_for_hours_of_one_monitor_as_text():
    address = nmdb_query("https://www.nmdb.eu/nest/draw_graph.php", "JUNG", NOON - 86400.0, NOON)
    assert "?wget=1&stations[]=JUNG&tabchoice=revori&dtype=corr_for_efficiency" in address
    keys = {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()}
    assert (keys["tresolution"], keys["yunits"], keys["output"]) == ("60", "0", "ascii")
    assert [keys[f"start_{part}"] for part in ("year", "month", "day", "hour", "min")] == [
        *("2026", "11", "25", "12", "0")
    ]
    assert keys["end_day"] == "26" and keys["date_choice"] == "bydate"


def test_a_clock_without_a_date_is_a_source_error():
    with pytest.raises(SourceError, match="the station's clock is wrong: 1e\\+18 s has no date"):
        nmdb_query("https://nest", "JUNG", 0.0, 1e18)


def test_the_newest_count_serves_until_it_is_too_old():
    series = CountSeries()
    series.add([(NOON, 150.0), (NOON - HOUR, 149.0)])
    assert series.at(NOON + 2 * HOUR, 3 * HOUR) == 150.0
    assert series.at(NOON - 1.0, 3 * HOUR) == 149.0  # a record that comes late
    assert math.isnan(series.at(NOON + 4 * HOUR, 3 * HOUR))
    assert math.isnan(series.at(NOON - 2 * HOUR, 3 * HOUR))
    assert series.add([(NOON, 151.0), (NOON, 151.0)]) == 0  # revised
    assert series.at(NOON, HOUR) == 151.0


def test_a_count_far_from_the_reference_is_rejected():
    series = CountSeries(reference=159.0)
    series.add([(NOON, 15.9), (NOON + 1.0, 9540.0), (NOON + 2.0, math.nan), (NOON + 3.0, 128.0)])
    assert series.rejected == 3
    assert series.at(NOON + 10.0, HOUR) == 128.0


def test_a_series_keeps_a_quarter_of_a_year_and_no_more():
    series = CountSeries()
    series.add([(NOON + k * HOUR, 150.0) for k in range(MAX_COUNTS + 100)])
    assert math.isnan(series.at(NOON + 50 * HOUR, 10 * HOUR))
    assert series.at(NOON + (MAX_COUNTS + 99) * HOUR, HOUR) == 150.0


def test_a_file_is_read_again_when_it_has_changed_and_only_whole_lines_of_it(tmp_path):
    path = tmp_path / "jung.txt"
    tail = FileTail(path)
    with pytest.raises(SourceError, match=r"jung\.txt: No such file"):
        tail.poll()
    path.write_text("2026-11-26 11:00:00;150.1\n2026-11-26 12:00:00;15")
    assert tail.poll() == [(NOON - HOUR, 150.1)]
    assert tail.poll() == []
    with path.open("a") as file:
        file.write("1.2\n")
    assert tail.poll() == [(NOON - HOUR, 150.1), (NOON, 151.2)]
    other = tmp_path / "new"
    other.write_text("2026-11-26 12:00:00;152.2\n2026-11-26 13:00:00;1.1\n")
    other.replace(path)
    assert tail.poll() == [(NOON, 152.2), (NOON + HOUR, 1.1)]


def test_a_pipe_or_a_device_in_place_of_the_file_does_not_block_the_station(tmp_path):
    """The first poll is before the port is opened, and a pipe without a writer waits for ever."""
    path = tmp_path / "jung.txt"
    os.mkfifo(path)
    for wrong in (path, Path("/dev/zero")):
        poller = Poller(FileTail(wrong).poll, lambda _: None, 10.0)
        thread = threading.Thread(target=poller.poll_once, daemon=True)
        thread.start()
        thread.join(5.0)
        assert not thread.is_alive()
        assert f"{wrong}: not a regular file" in str(poller.last_error)


def test_of_a_long_file_the_end_is_read(tmp_path):
    path = tmp_path / "long.txt"
    stamps = (datetime.fromtimestamp(NOON + k * HOUR, UTC) for k in range(20000))
    path.write_text("".join(f"{stamp:%Y-%m-%d %H:%M:%S};150.123\n" for stamp in stamps))
    rows = FileTail(path).poll()
    assert 2000 < len(rows) < 5000
    assert rows[-1] == (NOON + 19999 * HOUR, 150.123)


def test_of_a_long_file_of_several_monitors_one_is_read(tmp_path):
    path = tmp_path / "long.txt"
    stamps = (datetime.fromtimestamp(NOON + k * HOUR, UTC) for k in range(20000))
    rows = "".join(f"{stamp:%Y-%m-%d %H:%M:%S};150.123;395.2\n" for stamp in stamps)
    path.write_text(f"#   STATION: JUNG, JUNG1\n JUNG   JUNG1\n{rows}")
    assert FileTail(path, "JUNG1").poll()[-1] == (NOON + 19999 * HOUR, 395.2)


def test_a_file_of_several_or_other_monitors_is_refused_at_each_poll(tmp_path):
    path = tmp_path / "two.txt"
    path.write_text("JUNG   JUNG1\n2026-11-26 12:00:00;150.123;395.2\n")
    for tail, fault in (
        (FileTail(path), r"two\.txt: .*2 monitors \(JUNG, JUNG1\); set incoming\.monitor"),
        (FileTail(path, "OULU"), r"two\.txt: the counts are of JUNG, JUNG1, not OULU"),
    ):
        for _ in range(2):
            with pytest.raises(SourceError, match=fault):
                tail.poll()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """Return a self-signed certificate of localhost and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def nest(certificate):
    server = Nest(certificate, ANSWER.encode())
    yield server
    server.close()


def test_nmdb_gives_the_hours_that_are_over(nest, certificate):
    source = Nmdb(monitor_by_nmdb(nest.url, certificate[0]), lambda: NOON + 1200.0)
    assert source.poll() == [
        *((NOON - 4 * HOUR, 158.204), (NOON - 3 * HOUR, 158.391), (NOON - HOUR, 157.977))
    ]
    (asked,) = nest.asked
    assert "stations[]=JUNG" in asked and "start_day=23" in asked and "end_min=20" in asked


def test_a_server_whose_certificate_nobody_signed_is_not_read(nest):
    with pytest.raises(SourceError, match="certificate verify failed"):
        fetch(nest.url, None)
    assert nest.asked == []


def test_a_certificate_of_another_name_is_rejected(nest, certificate):
    with pytest.raises(SourceError, match="certificate"):
        fetch(nest.url.replace("localhost", "127.0.0.1"), certificate[0])


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"code": 503}, "503"),
        ({"body": b"x" * (ANSWER_BYTES + 2)}, "more than"),
        ({"code": 302, "location": "http://127.0.0.1:9/x"}, "refused"),
        ({"code": 302, "location": "https://[::1"}, "Invalid IPv6 URL"),
        ({"code": 302, "location": "https://localhost:x/"}, "nonnumeric port"),
        ({"code": 302, "location": "file:///etc/passwd"}, "not allowed"),
        ({"body": SORRY.encode()}, "no data for this time"),
    ],
)
def test_what_is_no_answer_is_a_source_error(nest, certificate, answer, fault):
    for name, value in answer.items():
        setattr(nest, name, value)
    with pytest.raises(SourceError, match=fault) as caught:
        Nmdb(monitor_by_nmdb(nest.url, certificate[0]), lambda: NOON).poll()
    assert "\n" not in str(caught.value)


def test_an_answer_that_does_not_end_is_given_up(nest, certificate):
    nest.body, nest.drip_s = b"#" * 100_000, 0.05
    with pytest.raises(SourceError, match="did not end"):
        fetch(nest.url, certificate[0], timeout_s=0.25)
    assert nest.sent_bytes < len(nest.body)  # all of it takes 50 s


def test_a_server_that_is_not_there_and_a_bad_authority_are_source_errors(tmp_path):
    for ca_file in (None, tmp_path / "none.pem"):
        with pytest.raises(SourceError, match=r"incoming\.url"):
            fetch("https://localhost:1/x", ca_file)


def test_after_failures_it_waits_longer_and_longer_and_then_as_before():
    answers = iter([SourceError("a"), SourceError("b"), SourceError("c"), None, SourceError("d")])
    handled: list[object] = []

    def poll():
        answer = next(answers)
        if answer is not None:
            raise answer
        return [(NOON, 150.0)]

    poller = Poller(poll, handled.append, 200.0, 60.0, lambda low, high: high)
    assert [poller.poll_once() for _ in range(5)] == [60.0, 120.0, 200.0, 200.0, 60.0]
    assert handled == [[(NOON, 150.0)]]
    assert (poller.failures, poller.last_error) == (1, "d")


def test_the_thread_polls_until_it_is_stopped():
    polled = threading.Event()
    poller = Poller(lambda: [], lambda _: polled.set(), 0.01)
    poller.start()
    assert polled.wait(300.0)
    poller.stop()
    poller.join(5.0)
    assert not poller.is_alive()
