"""A monitor is chosen for a place, and its counts are fetched over a real TLS connection."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.nest import Nest, self_signed

from epithermal_edge.errors import SourceError
from epithermal_edge.loggers.monitor_text import is_nest
from epithermal_host.cli.main import main
from epithermal_host.neutrons.monitors import (
    compare_monitors,
    fetch_counts,
    read_counts,
    write_counts,
)

ANSWER = b"""#  STATION: OULU
   start_date_time   RCORR_E
2024-06-01 00:00:00;100.000
2024-06-01 01:00:00;   null
2024-06-01 02:00:00;104.500
"""
FIRST = datetime(2024, 6, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def nest(tmp_path):
    certificate = self_signed(tmp_path)
    server = Nest(certificate, ANSWER)
    yield server, certificate[0]
    server.close()


def test_monitors_that_respond_like_the_place_come_first_and_closed_ones_last():
    cutoff, candidates = compare_monitors(51.4, 5.5, 50.0)
    assert cutoff == pytest.approx(3.0, abs=0.3)
    assert candidates[0].monitor.name == "DRBS" and candidates[0].distance_km < 200.0
    away = [abs(c.mcjannet - 1.0) for c in candidates if not c.closed]
    assert away == sorted(away)
    assert {c.monitor.name for c in candidates[-2:]} == {"CLMX", "MCMU"}
    assert compare_monitors(51.4, 5.5, 50.0, 8.5)[1][0].monitor.cutoff_gv > 5.0


def test_the_list_shows_southern_places_too(capsys):
    assert main(["monitor", "--near", "-34.4", "19.2", "--count", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and any(line.startswith("HRMS") for line in lines[2:])
    assert main(["monitor", "--near", "95", "19.2"]) == 2


def test_counts_are_fetched_year_by_year_and_read_back_as_they_were(nest, tmp_path):
    server, ca_file = nest
    rows = fetch_counts("OULU", FIRST - 500 * 86400.0, FIRST + 86400.0, server.url, ca_file)
    asked = [parse_qs(urlsplit(path).query) for path in server.asked]
    assert [query["start_year"] for query in asked] == [["2023"], ["2024"]]
    assert all(query["stations[]"] == ["OULU"] for query in asked)
    assert rows == [(FIRST, 100.0), (FIRST + 7200.0, 104.5)]
    path = tmp_path / "oulu.txt"
    write_counts(path, "OULU", rows)
    assert is_nest(path.read_text()) and read_counts(path, "OULU") == rows


def test_the_command_fetches_a_file_and_describes_it(nest, tmp_path, capsys):
    server, ca_file = nest
    out = tmp_path / "oulu.txt"
    command = ["monitor", "--fetch", "OULU", "--first", "2024-06-01", "--last", "2024-06-01"]
    assert main([*command, "--url", server.url, "--ca-file", str(ca_file)]) == 2  # no --out
    command += ["--out", str(out), "--url", server.url, "--ca-file", str(ca_file)]
    assert main(command) == 0 and main(["monitor", "--read", str(out)]) == 0
    text = capsys.readouterr().out
    assert text.count("2024-06-01 to 2024-06-01: 2 counts in 3 hours, median 102.2") == 2
    assert main(["monitor", "--read", str(out), "--name", "ATHN"]) == 2
    server.body = b"Sorry, no data available for the requested dates"
    assert main(command) == SourceError.exit_code
