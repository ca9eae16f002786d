"""Node-RED imports the flow unchanged, charts the journal's values, and alerts once."""

from __future__ import annotations

import json
import shutil
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from tests.support import browser
from tests.support.rig import Subscriber, free_port, wait_until

from .chrome import Page
from .programs import BUILT, NODE_MODULES, first_line, node_version, record_agreement, starting
from .servers import DASHBOARDS, Server

RED = NODE_MODULES / "node-red" / "red.js"
UI = "@flowfuse/node-red-dashboard"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not RED.exists() or shutil.which("node") is None,
        reason="no Node-RED (make test-dashboards)",
    ),
]


class NodeRed:
    """Headless Node-RED, with the flow imported through its admin API."""

    def __init__(self, folder, broker_port):
        home = folder / "node-red"
        home.mkdir()
        (home / "node_modules").symlink_to(NODE_MODULES)
        packages = {"name": "ours", "dependencies": {UI: node_version(UI)}}
        (home / "package.json").write_text(json.dumps(packages))
        (home / "settings.js").write_text("module.exports = { telemetry: { enabled: false } };")
        self.port = free_port()
        node = first_line("node", "--version")
        version = f"{node_version('node-red')}, dashboard {node_version(UI)}, node {node}"
        command = ["node", RED, "-u", home, "-p", str(self.port), "-s", home / "settings.js"]
        with starting("Node-RED", version):
            self._server = Server(home, command, 60, output="Started flows")
        flow = (DASHBOARDS / "node-red" / "flows.json").read_text()
        self.flow = json.loads(flow.replace('"port": "1883"', f'"port": "{broker_port}"'))
        self.call("flows", self.flow)
        wait_until(lambda: "Connected to broker" in self._server.log.read_text())

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Node-RED-Deployment-Type": "full"}
        url = f"http://127.0.0.1:{self.port}/{path}"
        with urllib.request.urlopen(
            urllib.request.Request(url, data, headers), timeout=30
        ) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def context(self, name):
        """Return a value of the flow's context, from the admin API."""
        value = self.call(f"context/flow/soilwater-tab/{name}?store=memory")
        return json.loads(value["msg"]) if value["format"].startswith(("Object", "array")) else None

    def log(self):
        return self._server.log.read_text()

    def stop(self):
        self._server.stop()


@pytest.fixture
def red(farm):
    made = NodeRed(farm.folder, farm.broker.port)
    yield made
    made.stop()


def millis(stamp):
    return round(datetime.fromisoformat(stamp).timestamp() * 1000)


def test_the_chart_has_the_journals_values_and_the_page_shows_them(farm, red, tmp_path):
    assert [node["id"] for node in red.call("flows")] == [node["id"] for node in red.flow]
    farm.start()
    farm.send(farm.count)
    newest = str(millis(farm.end(farm.count)))
    wait_until(lambda: newest in (red.context("past") or {}).get("test-1", {}), red.log())
    past = red.context("past")["test-1"]
    journal = {millis(end): row for end, row in farm.journal().items()}
    inside = {end: row for end, row in journal.items() if str(end) in past}
    assert len(inside) == len(past) >= 24 * 14 - 1
    for end, row in inside.items():
        assert past[str(end)]["theta"] == round(row["theta"], 6)
    record_agreement("Node-RED", len(inside), "points of the chart")
    wait_until(lambda: red.context("now")["test-1"]["state"] == "online")
    if browser.find() is not None:
        check_page(red, tmp_path, f"{journal[int(newest)]['theta']:.3f}")
    assert "[error]" not in red.log()


def check_page(red, folder, theta):
    """Check the dashboard in a browser."""
    page = Page(folder)
    page.resize(1200, 1100)
    page.open(f"http://127.0.0.1:{red.port}/dashboard/soil-water")
    page.until(f"document.body.innerText.includes({json.dumps(theta)})", 60)
    page.until("document.querySelector('.nrdb-ui-chart canvas, .nrdb-ui-chart svg') !== null", 30)
    page.until("document.body.innerText.includes('online')", 30)
    page.picture(BUILT / "pictures" / "node-red.png")
    page.close()


def live_value(end, used, q=1):
    """Return a live value with the fields that the alert reads."""
    water = {"depletion": {"value": used, "p05": used, "p95": used}, "threshold": 0.5,
             "days_to_threshold": None}  # fmt: skip
    return {"end": end.strftime("%Y-%m-%dT%H:%M:%SZ"), "q": q, "water": water,
            "theta": {"value": 0.2}, "rev": 0}  # fmt: skip


def test_the_alert_comes_once_with_hysteresis_and_not_for_old_values(farm, red):
    listener = Subscriber(farm.broker.port, "farm/#")
    now = datetime.now(UTC)
    clock = iter(now + timedelta(seconds=i) for i in range(-600, 600))

    def live(used, q=1, end=None, name="state/theta"):
        payload = live_value(end or next(clock), used, q)
        listener.publish(f"crns/v1/test-1/{name}", json.dumps(payload))
        return payload["end"]

    def heard():
        return (red.context("now") or {}).get("test-1", {}).get("live", {}).get("end")

    def alerts(end, count):
        wait_until(lambda: heard() == end and len(listener.messages) >= count, "Node-RED")
        return [json.loads(body)["irrigate"] for _, body in listener.messages]

    wait_until(lambda: heard() is not None or not live(0.4), "Node-RED's subscription")
    live(0.9, end=now - timedelta(days=2))  # a retained message, or a replay
    live(0.9, name="obs/theta")
    live(0.9, q=4)
    assert alerts(live(0.49), 0) == []
    live(0.50)
    live(0.62)
    live(0.47)
    live(0.52)
    assert alerts(live(0.51), 1) == [True]
    live(0.44)
    assert alerts(live(0.48), 2) == [True, False]
    assert alerts(live(0.55), 3) == [True, False, True]
    topic, body = listener.messages[0]
    assert topic == "farm/irrigation/test-1" and json.loads(body)["depletion"]["value"] == 0.5
    listener.close()
