"""The station's page as it is served: read-only, few connections, no effect on measuring."""

import contextlib
import csv
import http.client
import io
import itertools
import json
import re
import socket
import sqlite3
import threading
import time

import pytest
from tests.support.page import running
from tests.support.rig import PATIENCE_S, ROOT, edge, free_port, station_toml, wait_until

from epithermal_edge.config.station_toml import Page, read_config
from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.page import sentences, server
from epithermal_edge.records import FACTORS, Quality


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    with running(tmp_path_factory.mktemp("page"), days=3.0) as station:
        yield station


@contextlib.contextmanager
def served(folder):
    """Serve the page of a station that has never run, on a free port."""
    config = read_config(station_toml(folder))
    settings = Page("127.0.0.1", free_port())
    with server.serve(config, settings):
        wait_until(lambda: answers(settings.port), what="the page")
        yield settings.port


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def ask(port, name, verb="GET", host="localhost"):
    """Send one request; return status, headers and body."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    link.request(verb, name, headers={"Host": host})
    answer = link.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    link.close()
    return found


def journal_row(station):
    """Read record and estimate of the newest record, as they are stored."""
    db = sqlite3.connect(station.config.state_dir / "journal.sqlite3")
    db.row_factory = sqlite3.Row
    row = db.execute(
        "SELECT * FROM record JOIN estimate USING (seq) ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    db.close()
    return row


def test_the_page_reports_the_values_in_the_journal(station):
    now, row = station.get("now.json"), journal_row(station)
    latest = now["latest"]
    assert now["factors"].keys() == latest["factors"].keys() == {f.name for f in FACTORS}
    assert latest["seq"] == row["seq"] and now["status"]["journal"]["last_seq"] == row["seq"]
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


def test_the_table_of_export_has_plant_available_water(station):
    row = journal_row(station)
    *_, last = csv.DictReader(io.StringIO(edge("export", station.config.path).stdout))
    assert int(last["seq"]) == row["seq"]
    for name in ("available_mm", "depletion", "rate_mm_d", "days_to_threshold", "days_p95"):
        value = float(last[name]) if last[name] else None
        assert value == (row[name] if row[name] is None else pytest.approx(row[name], rel=1e-6))
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


@pytest.mark.parametrize("name", [*server.FILES, "/now.json", "/history.json", "/nothing"])
def test_nothing_may_be_loaded_from_elsewhere_framed_or_cached(station, name):
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
def test_a_request_for_another_host_name_is_rejected(station, host, code):
    """A foreign web page could otherwise point its own name to this address and read the answer."""
    assert ask(station.port, "/now.json", host=host)[0] == code


def test_silent_clients_block_neither_measuring_nor_other_clients(station):
    silent = [socket.create_connection(("127.0.0.1", station.port)) for _ in range(40)]
    before = journal_row(station)["seq"]
    station.send(station.later)
    wait_until(lambda: journal_row(station)["seq"] == before + 1, what="the record")
    for link in silent:
        link.close()
    wait_until(lambda: ask(station.port, "/")[0] == 200, what="the page")
    assert "traceback" not in station.daemon.log().lower()


def test_a_client_that_is_too_slow_is_disconnected(tmp_path, monkeypatch):
    monkeypatch.setattr(server.Handler, "timeout", 0.3)
    with served(tmp_path) as port:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(server.CONNECTIONS)]
        for link in slow:
            link.sendall(b"GET / HT")
        wait_until(lambda: ask_or_none(port) == 200, what="a free connection")
        assert all(link.recv(100) == b"" for link in slow)


def test_clients_that_send_a_byte_at_a_time_do_not_keep_others_away(tmp_path, monkeypatch):
    """Each byte comes well within the patience, the request never ends."""
    monkeypatch.setattr(server.Handler, "timeout", 0.5)
    stopping = threading.Event()

    def drip(link):
        text = itertools.chain(b"GET / HTTP/1.0\r\nX: ", itertools.repeat(120))
        with contextlib.suppress(OSError), link:
            for byte in text:
                link.send(bytes([byte]))
                if stopping.wait(0.05):
                    return

    with served(tmp_path) as port:
        links = [socket.create_connection(("127.0.0.1", port)) for _ in range(server.CONNECTIONS)]
        threads = [threading.Thread(target=drip, args=(link,)) for link in links]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: ask_or_none(port) == 200, "a free connection")
        finally:
            stopping.set()
            for thread in threads:
                thread.join()


def exchange(port, request):
    """Send bytes; return the status, the headers and the body of the answer."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as link:
        link.sendall(request)
        answer = http.client.HTTPResponse(link, method=request[:4].decode())
        answer.begin()
        return answer.status, dict(answer.getheaders()), answer.read()


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"GET / HTTP/x.y\r\n\r\n", 400),
        (b"POST /\r\n\r\n", 400),
        (b"GET /\r\nHost: localhost\r\n\r\n", 200),  # HTTP 0.9
        (b"GET /" + b"a" * 65600 + b" HTTP/1.0\r\n\r\n", 414),
        (b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.0\r\nA: " + b"b" * 65600 + b"\r\n\r\n", 431),
        (b"<script> / HTTP/1.0\r\n\r\n", 501),
        (b"HEAD / HTTP/1.0\r\n\r\n", 421),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
    ],
)
def test_every_error_has_the_headers_of_the_page_and_names_no_server(station, request_bytes, code):
    found, headers, body = exchange(station.port, request_bytes)
    assert found == code
    assert code == 200 or b"script" not in body  # what was sent is not repeated
    assert server.HEADERS.items() <= headers.items()
    assert "Server" not in headers and "python" not in str(headers).lower()


def test_a_busy_page_answers_with_the_headers_of_the_page(tmp_path):
    with served(tmp_path) as port:
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(server.CONNECTIONS)]
        wait_until(lambda: exchange(port, b"")[0] == 503, what="a busy page")
        _, headers, _ = exchange(port, b"")
        assert server.HEADERS.items() <= headers.items() and headers["Retry-After"] == "10"
        for link in silent:
            link.close()


def ask_or_none(port):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return ask(port, "/")[0]
    return None


def test_too_many_listeners_are_rejected(tmp_path):
    with served(tmp_path) as port:
        links = []
        for _ in range(server.LISTENERS + 1):
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
            link.request("GET", "/events")
            links.append((link, link.getresponse()))
        assert [answer.status for _, answer in links] == [200] * server.LISTENERS + [503]
        for link, answer in links:
            answer.close()
            link.close()


def test_a_station_that_has_never_run_is_reported_as_down(tmp_path):
    with served(tmp_path) as port:
        now = json.loads(ask(port, "/now.json")[2])
        assert now["latest"] is None and now["status"]["state"] == "down"
        code, _, body = ask(port, "/history.json")
        assert code == 503 and b"no journal" in body


def test_an_address_in_use_is_tried_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(server, "RETRY_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        thread = server.PageThread(read_config(station_toml(tmp_path)), Page("127.0.0.1", port))
        thread.start()
        wait_until(lambda: "Address already in use" in caplog.text, what="the warning")
        time.sleep(0.3)
        assert caplog.text.count("Address already in use") == 1  # logged once
    wait_until(lambda: ask_or_none(port) == 200, what="the page")
    thread.stop()
    assert not thread.is_alive() and not answers(port)


def test_an_answer_is_computed_once_for_all_clients():
    calls = []

    def compute():
        calls.append(1)
        return {"n": len(calls)}

    answer = server.CachedAnswer(compute, lambda: "same", 0.0)
    threads = [threading.Thread(target=answer.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answer.get() == (1, b'{"n":1}') and len(calls) == 1


def test_an_error_is_reported_until_it_is_over():
    faults = [EpithermalError("the disk sleeps"), None]

    def compute():
        fault = faults.pop(0)
        if fault:
            raise fault
        return {}

    answer = server.CachedAnswer(compute, lambda: "same", 0.0)
    with pytest.raises(EpithermalError, match="the disk sleeps"):
        answer.get()
    assert answer.get() == (1, b"{}")


def test_check_distinguishes_its_own_page_from_a_port_in_use(tmp_path, station):
    out = edge("check", station.config.path).stdout
    assert f"ok    page: the running station serves it on 127.0.0.1 port {station.port}" in out
    toml = station_toml(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        toml.write_text(f"{toml.read_text()}[page]\nport = {other.getsockname()[1]}\n")
        out = edge("check", toml).stdout
        assert re.search(r"FAULT page: .*Address already in use\n +do: .*page.port", out)
    assert re.search(r"ok    page: 127.0.0.1 port \d+ is free", edge("check", toml).stdout)


def test_every_flag_has_its_sentence():
    assert set(sentences.SENTENCES) == {flag for flag in Quality if flag}
    for text in sentences.SENTENCES.values():
        assert text.endswith(".") and len(text) < 90
    assert sentences.describe(Quality.GAP | Quality.WARM_UP) == [
        sentences.SENTENCES[Quality.GAP], sentences.SENTENCES[Quality.WARM_UP]
    ]  # fmt: skip


def test_the_page_needs_its_table_and_by_default_serves_this_machine_only(tmp_path):
    toml = station_toml(tmp_path)
    assert read_config(toml).page is None
    text = toml.read_text()
    toml.write_text(f"{text}[page]\n")
    assert read_config(toml).page == Page("127.0.0.1", 8480)
    toml.write_text(f'{text}[page]\nlisten = "everywhere"\n')
    with pytest.raises(ConfigError, match=r"page.listen: 'everywhere' is not an address"):
        read_config(toml)


def test_the_files_are_small():
    for file, _ in server.FILES.values():
        text = (ROOT / "edge" / "src" / "epithermal_edge" / "page" / file).read_text()
        assert len(text) < 12_000 and len(text.splitlines()) < 250, file
