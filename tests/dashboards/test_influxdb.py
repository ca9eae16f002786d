"""InfluxDB with the real station's messages, and each query of the Grafana dashboard."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime

import pytest
from tests.support.rig import Subscriber, free_port, wait_until

from .programs import first_line, record_agreement, starting
from .servers import DASHBOARDS, Server
from .telegraf import Telegraf

INFLUXD = shutil.which("influxd")
FOLDER = DASHBOARDS / "influxdb-grafana"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
pytestmark = pytest.mark.slow


class Influx:
    """InfluxDB 1 on free ports."""

    def __init__(self, folder):
        self.port = free_port()
        config = folder / "influxdb.conf"
        config.write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n'
            f'[meta]\ndir = "{folder}/meta"\n'
            f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
            f'[http]\nbind-address = "127.0.0.1:{self.port}"\nlog-enabled = false\n'
        )
        with starting("InfluxDB", first_line(INFLUXD, "version")):
            self._server = Server(
                folder, [INFLUXD, "run", "-config", config], 60, ready=lambda: self._pings()
            )
        self.ask("CREATE DATABASE crns", post=True)

    def _pings(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5):
                return True
        except OSError:
            return False

    def ask(self, query, post=False):
        """Return the series of an InfluxQL query."""
        parameters = urllib.parse.urlencode({"db": "crns", "q": query, "epoch": "ms"})
        url = f"http://127.0.0.1:{self.port}/query?{parameters}"
        with urllib.request.urlopen(url, b"" if post else None, timeout=60) as answer:
            result = json.loads(answer.read())["results"][0]
        assert "error" not in result, (query, result)
        return result.get("series", [])

    def write(self, lines):
        url = f"http://127.0.0.1:{self.port}/write?db=crns"
        with urllib.request.urlopen(url, "\n".join(lines).encode(), timeout=60) as answer:
            assert answer.status == 204

    def stop(self):
        self._server.stop()


@pytest.fixture
def influx(tmp_path):
    if INFLUXD is None:
        pytest.skip("InfluxDB is not installed (apt install influxdb)")
    (tmp_path / "influx").mkdir()
    made = Influx(tmp_path / "influx")
    yield made
    made.stop()


def queries():
    """List every query of the dashboard with the title of its panel."""
    found = [(v["label"], v["query"]) for v in DASHBOARD["templating"]["list"]]
    for panel in DASHBOARD["panels"]:
        # the first query is added last, so that dict() returns it for the title
        found += [(panel["title"], target["query"]) for target in reversed(panel["targets"])]
    return found


def filled(query, station):
    """Replace the macros of a query like Grafana."""
    for macro, value in (("$timeFilter", "time > now() - 60d"), ("$__interval", "1h"),
                         ("$station", station)):  # fmt: skip
        query = query.replace(macro, value)
    assert "$" not in query.replace("$/", "")
    return query


def test_late_and_double_messages_land_once_and_every_panel_shows_the_journal(farm, influx):
    telegraf = Telegraf(FOLDER / "telegraf.conf")
    assert telegraf.agent["omit_hostname"] is True and telegraf.output["database"] == "crns"
    listener = Subscriber(farm.broker.port, "crns/v1/+/#")
    farm.start()
    farm.send(farm.count)
    obs = lambda: [m for m in listener.messages if m[0].endswith("obs/theta")]  # noqa: E731
    wait_until(lambda: len(obs()) >= farm.count, "the station's messages")
    wait_until(lambda: any(t.endswith("status") for t, _ in listener.messages))
    lines = [text for m in listener.messages for text in telegraf.lines(*m, time.time_ns())]
    late = lines + lines
    random.Random(1).shuffle(late)
    influx.write(lines[::2])
    influx.write(late)
    journal = {millis(end): row for end, row in farm.journal().items()}
    (table,) = influx.ask(
        "SELECT theta, storage_mm, n_corr_cph, q FROM crns WHERE station = 'test-1'"
    )
    stored = {row[0]: row[1:] for row in table["values"]}
    assert stored.keys() == journal.keys() and len(table["values"]) == len(journal)
    for end, row in journal.items():
        numbers = [row["theta"], row["storage_mm"], row["n_corr_cph"]]
        expected = [
            None if v is None else round(v, d) for v, d in zip(numbers, (6, 2, 3), strict=True)
        ]
        assert stored[end] == [*expected, int(row["q"])]
    record_agreement(
        "InfluxDB", len(journal), "points, 3 numbers and q each; by Telegraf's documented rules"
    )
    influx.write(drying(telegraf, json.loads(obs()[-1][1])))
    for title, query in queries():
        (answer,) = influx.ask(filled(query, "dry-3"))
        assert answer["values"], title
    record_agreement("Grafana queries", len(queries()), "answered by InfluxDB")
    (newest,) = influx.ask(filled(dict(queries())[DASHBOARD["panels"][0]["title"]], "test-1"))
    shown = dict(zip(newest["columns"], newest["values"][0], strict=True))
    assert shown["theta"] == round(journal[max(journal)]["theta"], 6)
    for title, query in queries()[1:]:
        assert influx.ask(filled(query, "other-2")) == [], title
    listener.close()


def drying(telegraf, payload):
    """Return lines of a station with days until irrigation, which the farm lacks in November."""
    days = {"value": 3.0, "p05": 2.0, "p95": 5.0}
    changed = payload | {
        "id": "dry-3:00000000:1",
        "water": payload["water"] | {"days_to_threshold": days},
    }
    status = json.dumps({"state": "online", "trouble": None})
    return [
        *telegraf.lines("crns/v1/dry-3/obs/theta", json.dumps(changed), 0),
        *telegraf.lines("crns/v1/dry-3/status", status, time.time_ns()),
    ]


def millis(stamp):
    return round(datetime.fromisoformat(stamp).timestamp() * 1000)


def test_the_panels_of_the_dashboard_stand_side_by_side_and_their_fields_are_written():
    occupied = set()
    for panel in DASHBOARD["panels"]:
        g = panel["gridPos"]
        cells = {
            (x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])
        }
        assert not cells & occupied and max(x for x, _ in cells) < 24, panel["title"]
        occupied |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_each_file_for_grafana_names_the_same_source():
    yaml = pytest.importorskip("yaml")
    source = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "crns.yaml").read_text())
    provider = yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "crns.yaml").read_text())
    datasource = source["datasources"][0]
    assert datasource["jsonData"]["dbName"] == "crns" and provider["providers"][0]["type"] == "file"
    used = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]}
    used |= {t["datasource"]["uid"] for p in DASHBOARD["panels"] for t in p["targets"]}
    assert used == {datasource["uid"]}


def test_telegraf_accepts_the_configuration_where_it_is_installed():
    telegraf = shutil.which("telegraf")
    if telegraf is None:
        pytest.skip(
            "Telegraf is not installed; its configuration is read by tests/dashboards alone"
        )
    command = [telegraf, "--config", FOLDER / "telegraf.conf", "config", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
