"""Home Assistant discovers the station, shows its newest value, and no old one."""

from __future__ import annotations

import json
import re

import pytest
from tests.support.rig import Subscriber, wait_until

from .home_assistant import HomeAssistant
from .programs import record_agreement
from .servers import DASHBOARDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PREFIX = "sensor.north_field_"
THETA = f"{PREFIX}soil_water_0_30_cm"
SHOWN = {  # entity, column of the journal, factor, digits
    "soil_water_0_30_cm": ("theta", 1, 6),
    "soil_moisture_0_30_cm": ("theta", 100, 1),
    "soil_water_storage_0_30_cm": ("storage_mm", 1, 2),
    "soil_water_standard_error": ("theta_sigma", 1, 6),
    "soil_water_0_30_cm_classical": ("theta_classical", 1, 6),
    "neutrons_corrected": ("n_corr_cph", 1, 3),
    "air_pressure": ("pressure_hpa", 1, 2),
}


@pytest.fixture
def home(farm):
    made = HomeAssistant(farm.folder, farm.broker.port)
    yield made
    made.stop()


def test_discovery_values_unavailable_on_the_last_will_and_nothing_replayed_as_live(farm, home):
    listener = Subscriber(farm.broker.port, "#")
    farm.start()
    farm.send(farm.count)
    every = lambda: [m for m in listener.messages if m[0].endswith("obs/theta")]  # noqa: E731
    wait_until(lambda: len(every()) >= farm.count, "the station's messages")
    live = [json.loads(b) for t, b in listener.messages if t.endswith("state/theta")]
    theta = str(live[-1]["theta"]["value"])
    wait_until(lambda: (home.state(THETA) or {}).get("state") == theta, "the newest value")

    announced = next(b for t, b in listener.messages if t.startswith("homeassistant/device/"))
    states = home.states()
    ours = {name: state for name, state in states.items() if name.startswith(PREFIX)}
    assert len(ours) == len(json.loads(announced)["components"])
    row = farm.journal()[farm.end(farm.count)]
    for name, (column, factor, digits) in SHOWN.items():
        shown = float(ours[PREFIX + name])
        assert shown == pytest.approx(float(row[column]) * factor, abs=0.51 * 10.0**-digits), name
    record_agreement("Home Assistant", len(SHOWN), "entities' values")
    attributes = home.state(THETA)["attributes"]
    assert attributes["unit_of_measurement"] == "m³/m³" and "device_class" not in attributes

    shown_states = {state for name, state in home.changes if name == THETA} - {
        "unavailable",
        "unknown",
        None,
    }
    assert theta in shown_states | {home.state(THETA)["state"]}
    assert shown_states <= {str(message["theta"]["value"]) for message in live}
    assert len(live) <= 3 < farm.count  # of 40 days only the last hours were live

    for file in ("dashboard.yaml", "automation.yaml"):
        named = set(re.findall(rf"{PREFIX}\w+", (DASHBOARDS / "home-assistant" / file).read_text()))
        assert named <= states.keys()
    assert states["automation.irrigate_the_north_field"] == "on"

    farm.daemon.kill()
    wait_until(
        lambda: {s for n, s in home.states().items() if n.startswith(PREFIX)} == {"unavailable"},
        "all entities unavailable",
    )
    farm.start()
    wait_until(lambda: home.state(THETA)["state"] == theta, "the value again")
    listener.close()
