"""The static page shows the journal's values in a real browser, and no old value as live."""

from __future__ import annotations

import json
import re
import shutil
import signal

import pytest
from tests.support import browser
from tests.support.rig import Subscriber

from .chrome import Page, Site
from .programs import BUILT, NODE_MODULES, first_line, node_version, record_agreement, starting
from .servers import DASHBOARDS

MQTT_JS = NODE_MODULES / "mqtt" / "dist" / "mqtt.min.js"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find() is None, reason="no browser (apt install chromium)"),
    pytest.mark.skipif(not MQTT_JS.exists(), reason="no MQTT.js (make test-dashboards)"),
]
PICTURES = BUILT / "pictures"
SIZES = {"desktop": (1200, 800), "phone": (390, 844)}


def page_of(farm, port=None):
    """Copy the page's files and set the address of the test's broker."""
    folder = farm.folder / "www"
    shutil.copytree(DASHBOARDS / "web", folder)
    shutil.copy(MQTT_JS, folder)
    text = (folder / "config.js").read_text()
    text, count = re.subn(r":9001`", f":{port or farm.web_port}`", text)
    assert count == 1
    (folder / "config.js").write_text(text)
    return Site(folder)


@pytest.fixture
def page(tmp_path):
    with starting(
        "Chromium", f"{first_line(browser.find(), '--version')}, MQTT.js {node_version('mqtt')}"
    ):
        made = Page(tmp_path)
    yield made
    made.close()


@pytest.fixture
def site(farm):
    made = page_of(farm)
    yield made
    made.close()


def number(text):
    return float(re.search(r"-?\d+(\.\d+)?", text)[0])


def test_the_page_shows_the_journals_values_its_past_and_what_is_unavailable(farm, page, site):
    page.resize(*SIZES["desktop"])
    page.open(site.url)
    page.until("document.querySelector('#link').innerText === 'connected'")
    farm.start()
    farm.send(farm.count)
    end = json.dumps(farm.end(farm.count))
    page.until(f"store.of('test-1').live?.end === {end}", 60)
    page.until(f"store.of('test-1').points.size >= {24 * 14 - 1}", 60)
    page.until("document.querySelector('#theta') !== null")
    newest = farm.journal()[farm.end(farm.count)]
    assert number(page.text("#theta")) == pytest.approx(newest["theta"], abs=6e-4)
    assert number(page.text("#classical")) == pytest.approx(newest["theta_classical"], abs=6e-4)
    interval = [float(v) for v in re.findall(r"\d\.\d{3}", page.text("#theta small"))]
    half = 1.6449 * newest["theta_sigma"]
    assert interval == pytest.approx([newest["theta"] - half, newest["theta"] + half], abs=6e-4)
    assert page.text("h2") == "North field"
    used = (0.31 - newest["theta"]) / (0.31 - 0.12)  # as farm.SITE describes the soil
    assert number(page.text("#depletion")) == pytest.approx(100 * min(max(used, 0), 1), abs=0.6)
    points = page.run("store.of('test-1').series(0).map(p => [p.end, p.theta])")
    by_end = dict(points)
    journal = list(farm.journal().values())[-24 * 14 :]
    for row in journal[1:]:  # the oldest may have left the chart meanwhile
        at = page.run(f"Date.parse({json.dumps(row['time_utc'])})")
        assert by_end[at] == round(row["theta"], 6)
    record_agreement("web page", len(journal) - 1, "points of the chart, and the figures shown")
    assert "cubic metres" in page.run("document.querySelector('svg').getAttribute('aria-label')")
    save_pictures(page)
    page.open(site.url)  # again: the past is restored without MQTT
    page.until(
        "document.querySelector('#link').innerText === 'connected'"
        f" && store.of('test-1').points.size >= {24 * 14 - 1}"
    )
    farm.daemon.process.send_signal(signal.SIGKILL)
    page.until("document.querySelector('#state')?.innerText.includes('the connection is lost')")
    assert page.text("#theta") is None
    page.picture(PICTURES / "web-lost.png")
    assert page.errors == []
    assert {re.sub(r"^(\w+://[^/]+/).*", r"\1", url) for url in page.requests} <= {
        site.url, f"ws://127.0.0.1:{farm.web_port}/", "data:,",
    }  # fmt: skip


def save_pictures(page):
    """Save pictures in both sizes and colour schemes; check that none is wider than the window."""
    for name, size in SIZES.items():
        for scheme in ("light", "dark"):
            page.resize(*size, scheme)
            assert page.overflow() <= 0, name
            page.picture(PICTURES / f"web-{name}-{scheme}.png")
    page.resize(*SIZES["desktop"])


def publish(client, name, payload, station="test-1", retain=False):
    client.publish(f"crns/v1/{station}/{name}", json.dumps(payload), retain=retain)


def obs(end, theta, rev=0):
    return {"v": 1, "end": end, "rev": rev, "theta": {"value": theta, "p05": theta, "p95": theta}}


def test_late_records_land_at_their_own_time_once_and_never_look_live(farm, page, site):
    page.open(site.url)
    page.until("document.querySelector('#link').innerText === 'connected'")
    client = Subscriber(farm.broker.port)
    publish(client, "status", {"v": 1, "state": "online"})
    iso = "new Date(Date.now() - {} * 3600e3).toISOString()"
    old, older = page.run(iso.format(2)), page.run(iso.format(50))
    for message in (
        obs(old, 0.2),
        obs(older, 0.3),
        obs(older, 0.3),
        obs(older, 0.4, 1),
        obs(older, 0.3),
    ):
        publish(client, "obs/theta", message)
    publish(client, "obs/theta", obs(old, 0.21, 1))
    page.until(f"store.of('test-1').points.get(Date.parse({json.dumps(old)}))?.theta === 0.21")
    assert page.run("store.of('test-1').series(0).map(p => p.theta)") == [0.4, 0.21]
    page.until("document.querySelector('#state')?.innerText.includes('no recent value')")
    publish(client, "state/theta", obs(older, 0.4))  # an old retained value
    publish(client, "status", {"v": 1, "state": "online"}, station="other-2")
    page.until("document.querySelectorAll('#list button').length === 2")
    assert page.text("#theta") is None
    publish(client, "obs/theta", "<img src=x onerror=alert(1)>")
    publish(client, "meta", {"v": 1, "site": {"name": "<b>bold</b>"}}, station="other-2")
    page.until("document.querySelector('[data-station=other-2] span').innerText === '<b>bold</b>'")
    assert page.errors == []
    client.close()


def test_without_mqtt_js_or_broker_the_page_shows_the_reason(farm, page):
    broken = page_of(farm, port=1)
    page.open(broken.url)
    page.until("document.querySelector('#link').innerText.startsWith('not connected')")
    (farm.folder / "www" / "mqtt.min.js").unlink()
    page.open(broken.url)
    assert "mqtt.min.js is missing next to this page" in page.text("#link")
    broken.close()
