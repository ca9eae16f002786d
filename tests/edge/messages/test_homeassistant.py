"""Home Assistant: the discovery message fits its schema, and its templates find the values."""

import json
import time

import jinja2
import pytest
from tests.support.rig import Broker, Subscriber, validator, wait_until
from tests.support.sender import ME, SenderRig, settings

from epithermal_edge.messages import homeassistant
from epithermal_edge.mqtt import presence

DISCOVERY = homeassistant.discovery(ME, "homeassistant", "North field", moisture=True, water=True)
OBS = {
    "theta": {"value": 0.25, "sigma": 0.02},
    "theta_classical": {"value": 0.22},
    "storage_mm": 75.0,
    "water": {
        "available_mm": {"value": 45.25},
        "depletion": {"value": 0.246},
        "days_to_threshold": {"value": 6.5},
    },
    "snow": {"swe_mm": {"value": 31.4, "p05": 20.0, "p95": None}},
    "root_zone": {"depletion": {"value": 0.62}, "days_to_threshold": None},
    "irrigate": True,
    "advice": "Irrigate: the root zone 0-60 cm has used 62 % of its water, limit 52 %.",
    "n": {"corr_cph": 900.4},
    "met": {"pressure_hpa": 1000.0, "temperature_c": 20.1, "relative_humidity_pct": None},
    "q": 1,
}


def rendered(template, value):
    """Render a template as Home Assistant does; None becomes unknown."""
    return jinja2.Environment().from_string(template).render(value_json=value)


def test_the_announcement_is_retained_and_meets_its_schema():
    validator("discovery").validate(json.loads(DISCOVERY.payload))
    assert DISCOVERY.topic == "homeassistant/device/crns_test-1/config" and DISCOVERY.kind.retain


def test_water_content_has_its_own_unit_and_no_device_class():
    parts = json.loads(DISCOVERY.payload)["components"]
    assert parts["theta"]["unit_of_measurement"] == "m³/m³"
    assert "device_class" not in parts["theta"]
    assert (parts["moisture"]["device_class"], parts["moisture"]["unit_of_measurement"]) == (
        "moisture",
        "%",
    )
    without = json.loads(homeassistant.discovery(ME, "ha", "", moisture=False).payload)
    validator("discovery").validate(without)
    assert not {"moisture", *homeassistant.WATER} & set(without["components"])
    tropical = homeassistant.discovery(ME, "ha", "", moisture=True, water=True, snow=False)
    assert not set(homeassistant.SNOW) & set(json.loads(tropical.payload)["components"])
    assert without["device"]["name"] == "test-1"


def test_a_value_expires_after_two_and_a_half_intervals():
    parts = json.loads(DISCOVERY.payload)["components"].values()
    assert {part["expire_after"] for part in parts} == {9000}


@pytest.mark.parametrize(
    ("key", "shown"),
    [("theta", "0.25"), ("moisture", "25.0"), ("storage", "75.0"),
     ("available", "45.25"), ("depletion", "24.6"), ("days", "6.5"), ("irrigate", "ON"),
     ("advice", OBS["advice"]), ("root_depletion", "62.0"), ("root_days", "None"),
     ("snow", "31.4"), ("snow_p05", "20.0"), ("snow_p95", "None"), ("n_corr", "900.4"),
     ("pressure", "1000.0"), ("humidity", "None"), ("q", "1")],
)  # fmt: skip
def test_templates_find_their_values(key, shown):
    part = json.loads(DISCOVERY.payload)["components"][key]
    assert rendered(part["value_template"], OBS) == shown


@pytest.mark.parametrize(("irrigate", "state"), [(True, "ON"), (False, "OFF"), (None, "None")])
def test_the_binary_sensor_is_on_off_or_unknown(irrigate, state):
    part = json.loads(DISCOVERY.payload)["components"]["irrigate"]
    assert part["platform"] == "binary_sensor" and "unit_of_measurement" not in part
    assert rendered(part["value_template"], OBS | {"irrigate": irrigate}) == state


def test_what_is_not_known_is_unknown_there_too():
    nothing = {**OBS, "theta": {"value": None, "sigma": None}}
    parts = json.loads(DISCOVERY.payload)["components"]
    assert rendered(parts["theta"]["value_template"], nothing) == "None"
    assert rendered(parts["moisture"]["value_template"], nothing) == "None"
    wetting = {**OBS, "water": {**OBS["water"], "days_to_threshold": None}}
    assert rendered(parts["days"]["value_template"], wetting) == "None"
    assert rendered(parts["snow"]["value_template"], {**OBS, "snow": None}) == "None"


@pytest.mark.parametrize(
    ("state", "shown"), [("online", "online"), ("lost", "offline"), ("stopped", "offline")]
)
def test_available_means_online(state, shown):
    (where,) = json.loads(DISCOVERY.payload)["availability"]
    assert where["topic"] == "crns/v1/test-1/status"
    assert rendered(where["value_template"], {"state": state}) == shown


def test_the_station_is_announced_again_when_home_assistant_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(presence, "ANNOUNCE_EACH_S", 0.3)
    broker = Broker(tmp_path)
    ears = Subscriber(broker.port, "homeassistant/#")
    rig = SenderRig(tmp_path, settings(broker.port), discovery=DISCOVERY)

    def announced():
        return sum(topic == DISCOVERY.topic for topic, _ in ears.messages)

    rig.turn_until(lambda: rig.connected() and announced() == 1)
    wait_until(lambda: not rig.sender._subscriptions.is_pending or rig.turn())
    ears.publish("homeassistant/status", b"offline")
    ears.publish("homeassistant/status", b"online")
    rig.turn_until(lambda: announced() == 2)
    for _ in range(20):  # a flood of births is one birth
        ears.publish("homeassistant/status", b"online")
    until = time.monotonic() + 0.2
    rig.turn_until(lambda: time.monotonic() > until)
    assert announced() == 2
    assert all(json.loads(p) for t, p in ears.messages if t == DISCOVERY.topic)
    rig.close()
    ears.close()
    broker.stop()
