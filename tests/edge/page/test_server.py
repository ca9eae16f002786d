"""The station's page as it is served: read-only, strict, few connections, never in the way."""

import contextlib
import csv
import http.client
import io
import json
import re
import socket
import sqlite3
import threading
import time

import pytest
from tests.support.page import running
from tests.support.rig import ROOT, edge, free_port, station_toml, wait_until

from epithermal_edge.config.station_toml import Page, read_config
from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.page import sentences as words
from epithermal_edge.page import server as page
from epithermal_edge.records import FACTORS, Quality


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    with running(tmp_path_factory.mktemp("page"), days=3.0) as station:
        yield station


@contextlib.contextmanager
def served(folder):
    """The page of a station that never ran, on a free port of ours."""
    config = read_config(station_toml(folder))
    settings = Page("127.0.0.1", free_port())
    with page.serving(config, settings):
        wait_until(lambda: answers(settings.port), what="the page")
        yield settings.port


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def ask(port, name, verb="GET", host="localhost"):
    """Status, headers and body of one request."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    link.request(verb, name, headers={"Host": host})
    answer = link.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    link.close()
    return found


def journal_row(station):
    """Record and estimate of the newest record, as they are stored."""
    db = sqlite3.connect(station.config.state_dir / "journal.sqlite3")
    db.row_factory = sqlite3.Row
    row = db.execute(
        "SELECT * FROM record JOIN estimate USING (seq) ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    db.close()
    return row


def test_what_is_told_is_what_the_journal_holds(station):
    told, row = station.get("now.json"), journal_row(station)
    latest = told["latest"]
    assert told["factors"].keys() == latest["factors"].keys() == {f.name for f in FACTORS}
    assert latest["seq"] == row["seq"] and told["status"]["journal"]["last_seq"] == row["seq"]
    for shown, stored in (
        (latest["theta"]["value"], row["theta"]),
        (latest["theta"]["p05"], row["theta"] - 1.6449 * row["theta_sigma"]),
        (latest["theta_classical"]["value"], row["theta_classical"]),
        (latest["water"]["depletion"]["value"], row["depletion"]),
        (latest["n"]["counts"], row["counts"]),
        (latest["n"]["corr_cph"], row["n_corr_cph"]),
        *((latest["factors"][f.name], row[f.name]) for f in FACTORS),
        (latest["air"]["pressure_hpa"], row["pressure_hpa"]),
    ):
        assert shown == pytest.approx(stored, abs=1e-4)


def test_the_table_of_export_has_what_plants_can_take(station):
    row = journal_row(station)
    *_, last = csv.DictReader(io.StringIO(edge("export", station.config.path).stdout))
    assert int(last["seq"]) == row["seq"]
    for name in ("available_mm", "depletion", "rate_mm_d", "days_to_threshold", "days_p95"):
        told = float(last[name]) if last[name] else None
        assert told == (row[name] if row[name] is None else pytest.approx(row[name], rel=1e-6))
    assert last["depletion"]


def test_the_history_has_one_value_a_window_and_all_of_the_rain(station):
    past = station.get("history.json")
    db = sqlite3.connect(station.config.state_dir / "journal.sqlite3")
    rows = db.execute("SELECT window_end_s, theta FROM estimate WHERE theta IS NOT NULL").fetchall()
    (rain,) = db.execute(
        "SELECT sum(rain_mm) FROM record JOIN estimate USING (seq) WHERE window_end_s IS NOT NULL"
    ).fetchone()
    db.close()
    assert len(rows) > 15
    assert dict(rows) == pytest.approx(dict(zip(past["end"], past["theta"], strict=True)), abs=1e-6)
    assert sum(past["rain_mm"]) == pytest.approx(rain)
    assert {len(past[name]) for name in ("p05", "p95", "theta_classical", "q")} == {len(rows)}


@pytest.mark.parametrize("name", [*page.FILES, "/now.json", "/history.json", "/nothing"])
def test_nothing_may_be_loaded_from_elsewhere_framed_or_kept(station, name):
    code, headers, body = ask(station.port, name)
    assert code == (404 if name == "/nothing" else 200)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert "frame-ancestors 'none'" in policy and headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store" and "Server" not in headers
    found = re.findall(rb"https?://[^\s\"']+", body)
    assert set(found) <= {b"http://www.w3.org/2000/svg"}  # a name, not an address


def test_it_only_reads(station):
    for verb in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert ask(station.port, "/now.json", verb)[0] == 501
    code, headers, body = ask(station.port, "/page.js", "HEAD")
    assert (code, body) == (200, b"") and int(headers["Content-Length"]) > 1000
    for name in ("/../station.toml", "/page.py", "/%2e%2e/health.json", "//etc/passwd"):
        assert ask(station.port, name)[0] == 404


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:8480", 200),
        ("[::1]:8480", 200),
        ("localhost", 200),
        (socket.gethostname(), 200),
        (f"{socket.gethostname()}.local:80", 200),
        ("evil.example.org", 421),
        (f"{socket.gethostname()}.example.org", 421),
        ("", 421),
    ],
)
def test_a_name_of_somebody_else_is_not_answered(station, host, code):
    """Else a web page elsewhere could give its own name this address and read."""
    assert ask(station.port, "/now.json", host=host)[0] == code


def test_silent_clients_neither_stop_measuring_nor_keep_others_out(station):
    silent = [socket.create_connection(("127.0.0.1", station.port)) for _ in range(40)]
    before = journal_row(station)["seq"]
    station.send(station.later)
    wait_until(lambda: journal_row(station)["seq"] == before + 1, what="the record")
    for link in silent:
        link.close()
    wait_until(lambda: ask(station.port, "/")[0] == 200, what="the page")
    assert "traceback" not in station.daemon.log().lower()


def test_who_is_too_slow_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(page.Handler, "timeout", 0.3)
    with served(tmp_path) as port:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(page.CONNECTIONS)]
        for link in slow:
            link.sendall(b"GET / HT")
        wait_until(lambda: ask_or_none(port) == 200, what="a free connection")
        assert all(link.recv(100) == b"" for link in slow)


def ask_or_none(port):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return ask(port, "/")[0]
    return None


def test_more_listeners_than_there_is_room_for_are_turned_away(tmp_path):
    with served(tmp_path) as port:
        links = []
        for _ in range(page.LISTENERS + 1):
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            link.request("GET", "/events")
            links.append((link, link.getresponse()))
        assert [answer.status for _, answer in links] == [200] * page.LISTENERS + [503]
        for link, answer in links:
            answer.close()
            link.close()


def test_a_station_that_never_ran_is_told_as_such(tmp_path):
    with served(tmp_path) as port:
        told = json.loads(ask(port, "/now.json")[2])
        assert told["latest"] is None and told["status"]["state"] == "down"
        code, _, body = ask(port, "/history.json")
        assert code == 503 and b"no journal" in body


def test_an_address_that_is_taken_is_asked_for_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(page, "RETRY_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        thread = page.PageThread(read_config(station_toml(tmp_path)), Page("127.0.0.1", port))
        thread.start()
        wait_until(lambda: "Address already in use" in caplog.text, what="the warning")
        time.sleep(0.3)
        assert caplog.text.count("Address already in use") == 1  # told once
    wait_until(lambda: ask_or_none(port) == 200, what="the page")
    thread.stop()
    assert not thread.is_alive() and not answers(port)


def test_an_answer_is_made_once_for_all_who_ask():
    made = []

    def make():
        made.append(1)
        return {"n": len(made)}

    kept = page.Kept(make, lambda: "same", 0.0)
    threads = [threading.Thread(target=kept.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept.get() == (1, b'{"n":1}') and len(made) == 1


def test_a_failure_passes_and_is_told_meanwhile():
    faults = [EpithermalError("the disk sleeps"), None]

    def make():
        fault = faults.pop(0)
        if fault:
            raise fault
        return {}

    kept = page.Kept(make, lambda: "same", 0.0)
    with pytest.raises(EpithermalError, match="the disk sleeps"):
        kept.get()
    assert kept.get() == (1, b"{}")


def test_check_knows_its_own_page_from_a_port_that_is_taken(tmp_path, station):
    told = edge("check", station.config.path).stdout
    assert f"ok    page: the running station serves it on 127.0.0.1 port {station.port}" in told
    toml = station_toml(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        toml.write_text(f"{toml.read_text()}[page]\nport = {other.getsockname()[1]}\n")
        told = edge("check", toml).stdout
        assert re.search(r"FAULT page: .*Address already in use\n +do: .*page.port", told)
    assert re.search(r"ok    page: 127.0.0.1 port \d+ is free", edge("check", toml).stdout)


def test_every_flag_has_its_sentence():
    assert set(words.WORDS) == {flag for flag in Quality if flag}
    for text in words.WORDS.values():
        assert text.endswith(".") and len(text) < 90
    assert words.sentences(Quality.GAP | Quality.WARM_UP) == [
        words.WORDS[Quality.GAP], words.WORDS[Quality.WARM_UP]
    ]  # fmt: skip


def test_without_its_table_there_is_no_page_and_for_the_lan_it_must_be_asked(tmp_path):
    toml = station_toml(tmp_path)
    assert read_config(toml).page is None
    text = toml.read_text()
    toml.write_text(f"{text}[page]\n")
    assert read_config(toml).page == Page("127.0.0.1", 8480)
    toml.write_text(f'{text}[page]\nlisten = "everywhere"\n')
    with pytest.raises(ConfigError, match=r"page.listen: 'everywhere' is not an address"):
        read_config(toml)


def test_the_files_are_small_and_of_our_own():
    for file, _ in page.FILES.values():
        text = (ROOT / "edge" / "src" / "epithermal_edge" / "page" / file).read_text()
        assert len(text) < 12_000 and len(text.splitlines()) < 250, file
