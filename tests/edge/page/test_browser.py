"""The station's page in a real browser: values, screen reader, keyboard and updates."""

import json
import os
import time
from pathlib import Path

import pytest
from tests.edge.page.test_server import journal_row
from tests.support.browser import Tab, find
from tests.support.page import running
from tests.support.rig import Daemon, wait_until

from epithermal_edge.messages.topics import LIVE_INTERVALS
from epithermal_edge.records import FACTORS
from epithermal_edge.times import utc

pytestmark = pytest.mark.skipif(find() is None, reason="no Chromium (apt install chromium)")

SIZES = {"desktop": (1280, 900, False), "phone": (390, 844, True)}
PICTURES = os.environ.get("EPITHERMAL_PICTURES")  # a folder for screenshots
CONTRAST = """(() => {
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const channel = (c) => linear(c / 255);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = rgb(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
  };
  const bad = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.getClientRects().length) continue;
    const style = getComputedStyle(node), inside = node.namespaceURI.endsWith("svg");
    const one = light(rgb(inside ? style.fill : style.color)), two = light(ground(node));
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    seen += 1;
    if (ratio < 4.5) bad.push([walker.currentNode.textContent.trim(), ratio]);
  }
  return { bad, seen };
})()"""


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    with running(tmp_path_factory.mktemp("page")) as station:
        yield station


@pytest.fixture(scope="module")
def tab(tmp_path_factory, station):
    tab = Tab(tmp_path_factory.mktemp("profile"))
    tab.look(*SIZES["desktop"][:2])
    opened(tab, station)
    yield tab
    tab.close()


@pytest.fixture
def still(tab):
    """Yield the page without the station's events, which would replace what a test shows."""
    tab.run("stream.close()")
    return tab


def show(tab, now):
    """Show values as if the station had sent them."""
    tab.run(f"show({{data: {json.dumps(json.dumps(now))}}})")


def opened(tab, station):
    """Open the page and wait for all of its values."""
    tab.go(station.url())
    full = "typeof past == 'object' && past !== null && past.end.length > 0"
    wait_until(lambda: tab.run(f"location.href == '{station.url()}' && {full}"), what="the page")


def shown(tab, path):
    return tab.run(f"document.querySelector('[data-show=\"{path}\"]').textContent")


def holds_what_the_journal_holds(tab, station):
    row = journal_row(station)
    for path, value, digits in (
        ("latest.theta.value", row["theta"], 3),
        ("latest.theta.p95", row["theta"] + 1.6449 * row["theta_sigma"], 3),
        ("latest.theta_classical.value", row["theta_classical"], 3),
        ("latest.water.available_mm.value", row["available_mm"], 0),
        ("latest.n.counts", row["counts"], 0),
        ("latest.n.corr_cph", row["n_corr_cph"], 1),
        *((f"latest.factors.{f.name}", row[f.name], 4) for f in FACTORS),
    ):
        assert float(shown(tab, path)) == pytest.approx(value, abs=0.51 * 10.0**-digits), path
    assert shown(tab, "latest.seq") == str(row["seq"])


def test_values_are_the_journals_and_the_chart_has_all_of_them(tab, station):
    holds_what_the_journal_holds(tab, station)
    drawn = tab.run("[...document.querySelectorAll('#chart polyline.line')]"
                    ".reduce((n, l) => n + l.points.length, 0)")  # fmt: skip
    past = station.get("history.json")
    assert drawn == sum(value is not None for value in past["theta"]) > 200
    newest = tab.run("past.theta[past.theta.length - 1].toFixed(3)")
    assert newest in tab.run("document.getElementById('summary').textContent")
    last_row = tab.run("document.querySelector('#table tbody tr').textContent")
    assert newest in last_row and tab.run("document.querySelectorAll('#table tr').length") >= 31


def test_nothing_is_loaded_from_elsewhere_and_there_is_no_error(tab, station):
    assert tab.errors == []
    assert len(tab.requests) >= 6
    assert {url for url in tab.requests if not url.startswith((station.url(), "data:"))} == set()


def test_every_element_has_a_name_for_screen_readers(tab):
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    for role in ("image", "slider", "link", "heading", "main", "status"):
        assert [name for kind, name in found if kind == role], role
    named = ("image", "slider", "link", "heading")
    assert [node for node in found if node[0] in named and not node[1]] == []
    assert tab.run("document.documentElement.lang") == "en"
    assert tab.run("[...document.querySelectorAll('h1,h2,h3')].map(h => h.tagName).join('')"
                   ".startsWith('H1H2')")  # fmt: skip


def test_the_page_can_be_used_from_the_keyboard(still):
    still.run("document.body.focus(); document.activeElement.blur()")
    reached = []
    for _ in range(4):
        still.press("Tab", 9)
        reached.append(still.run("document.activeElement.id || document.activeElement.tagName"))
    assert reached[:3] == ["A", "cursor", "SUMMARY"]
    still.run("document.getElementById('cursor').focus()")
    before = still.run("document.getElementById('reading').textContent")
    still.press("ArrowLeft", 37)
    after = still.run("document.getElementById('reading').textContent")
    assert after != before
    assert still.run("document.getElementById('cursor').getAttribute('aria-valuetext')") == after
    value = still.run("past.theta[Number(document.getElementById('cursor').value)].toFixed(3)")
    assert f"{value} m³/m³" in after
    still.run("document.querySelector('details').open = true")
    assert still.run("document.querySelector('#table').getClientRects().length") == 1
    still.press("End", 35)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_text_has_contrast_and_fits_on_every_screen(tab, size, scheme):
    width, height, phone = SIZES[size]
    tab.look(width, height, scheme, phone)
    wait_until(lambda: tab.run(f"document.documentElement.clientWidth <= {width}"))
    found = tab.run(CONTRAST)
    assert found["bad"] == [] and found["seen"] > 80
    assert tab.run("document.documentElement.scrollWidth") <= width
    if PICTURES:
        tab.picture(Path(PICTURES, f"{size}-{scheme}.png"))


@pytest.mark.parametrize(
    ("water", "days", "advice"),
    [
        ({"depletion": {"value": 0.6}}, "now", "The threshold is reached."),
        ({"depletion": {"value": 0.2}, "rate_mm_d": 2.0,
          "days_to_threshold": {"value": 1.2, "p05": 0.4, "p95": 60.0}},
         "1 day", "0 to 60 or more days, at the recent loss of 2.0 mm per day"),
        ({"depletion": {"value": 0.2}, "rate_mm_d": 0.1, "days_to_threshold": None},
         "unknown", "More than 60 days at the recent loss"),
        ({"depletion": {"value": None}, "rate_mm_d": None, "days_to_threshold": None},
         "unknown", "has not been drying"),
    ],
)  # fmt: skip
def test_the_advice_for_irrigation_is_one_sentence(still, station, water, days, advice):
    now = station.get("now.json")
    now["latest"]["water"] |= {"threshold": 0.55, **water}
    show(still, now)
    assert still.run("document.getElementById('days').textContent") == days
    assert advice in still.run("document.getElementById('advice').textContent")
    assert still.run("document.getElementById('snow').hidden")


def test_under_snow_its_water_is_shown_and_irrigation_is_unknown(still, station):
    now = station.get("now.json")
    nothing = {"value": None, "p05": None, "p95": None}
    now["latest"]["water"] |= {"depletion": nothing, "rate_mm_d": None, "days_to_threshold": None}
    swe_mm = {"value": 31.4, "p05": 20.2, "p95": None}
    now["latest"]["snow"] = {"since": now["time"], "swe_mm": swe_mm, "swe_desilets_mm": 35.0}
    show(still, now)
    assert not still.run("document.getElementById('snow').hidden")
    shown = still.run("document.getElementById('snow').textContent")
    assert "31 mm of water" in " ".join(shown.split()) and "20 to unknown mm" in " ".join(
        shown.split()
    )
    assert still.run("document.getElementById('advice').textContent") == "Unknown under snow."


@pytest.mark.parametrize(
    ("irrigate", "shown"),
    [(True, "Irrigate"), (False, "Do not irrigate"), (None, "unknown")],
)
def test_the_sentence_over_the_root_zone_is_shown(still, station, irrigate, shown):
    now = station.get("now.json")
    now["latest"] |= {"irrigate": irrigate, "advice": "A sentence."}
    now["latest"]["root_zone"] |= {"depth_cm": 90.0, "source": "texture"}
    show(still, now)
    assert still.run("document.getElementById('irrigate').textContent") == shown
    card = still.run("document.getElementById('root-zone').innerText")
    assert "0–90 cm" in card and "A sentence." in card and "texture class, not measured" in card


@pytest.mark.parametrize(
    ("age_in_intervals", "verdict", "mark"), [(2.49, "good", ""), (2.51, "out of date", "stale")]
)
def test_a_newest_record_older_than_mqtt_calls_live_is_marked_as_out_of_date(
    still, station, age_in_intervals, verdict, mark
):
    """The clock of the reader's device may be wrong: the age is that by the station's clock."""
    now = station.get("now.json")
    assert now["stale_after_s"] == LIVE_INTERVALS * now["interval_s"]
    end_s = time.time() + 86400.0
    now["latest"] |= {"end": utc(end_s), "verdict": "good"}
    now["time"] = utc(end_s + age_in_intervals * now["interval_s"])
    show(still, now)
    text = "document.getElementById('{}').textContent".format
    assert still.run(text("verdict")) == verdict
    assert still.run("document.getElementById('cards').className").split() == [
        "cards",
        *mark.split(),
    ]
    assert still.run("document.getElementById('stale').getClientRects().length") == len(mark) // 5
    assert ("out of date" in still.run(text("age"))) == bool(mark)
    found = still.run(CONTRAST)
    assert found["bad"] == []


def test_the_page_marks_a_record_that_becomes_too_old_without_any_event(still, station):
    now = station.get("now.json")
    now["latest"] |= {"end": now["time"], "verdict": "good"}
    show(still, now)
    assert still.run("document.getElementById('stale').hidden")
    still.run(f"clockOffset += 2.51 * 1000 * {now['interval_s']}; showAge()")
    assert not still.run("document.getElementById('stale').hidden")
    assert still.run("document.getElementById('verdict').textContent") == "out of date"


def test_a_warning_is_shown_though_the_station_is_well(still, station):
    now = station.get("now.json")
    now["status"] |= {"state": "well"}
    now["status"]["troubles"] = [
        {"what": "clock", "why": "not synchronised", "remedy": "check it", "state": "warning"}
    ]
    show(still, now)
    assert still.run("document.getElementById('state').textContent") == "OK"
    found = still.run("document.getElementById('troubles').textContent")
    assert "clock: not synchronised. Remedy: check it." in found


def test_a_soil_that_is_not_described_leaves_no_empty_cards(still, station):
    now = station.get("now.json")
    now["water"] = now["latest"]["water"] = None
    show(still, now)
    assert still.run("document.getElementById('water').getClientRects().length") == 0
    assert still.run("document.getElementById('undescribed').getClientRects().length") == 1


def test_the_page_updates_automatically_and_reconnects(tab, station):
    opened(tab, station)
    before = shown(tab, "latest.seq")
    begin = time.monotonic()
    station.send(station.later)
    wait_until(lambda: shown(tab, "latest.seq") == str(int(before) + 1), what="the event")
    assert time.monotonic() - begin < 60
    holds_what_the_journal_holds(tab, station)
    wait_until(lambda: tab.run("past.end[past.end.length - 1]")
               == station.get("history.json")["end"][-1], what="the chart")  # fmt: skip
    assert tab.errors == []
    assert station.daemon.stop() == 0  # though the browser listens
    link = "document.getElementById('link').textContent"
    wait_until(lambda: "No connection" in tab.run(link), what="the notice")
    station.daemon = Daemon(station.config.path).ready()
    wait_until(lambda: "Live" in tab.run(link), what="the connection")
