"""Payloads: complete, rounded, null where nothing is known, valid against the contract."""

import dataclasses
import json

import numpy as np
import pytest
from tests.support.rig import BUNDLE, ROOT, START_S, validator

from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.messages import observation
from epithermal_edge.messages.message import Identity, encode
from epithermal_edge.messages.topics import OBS_RAW, OBS_THETA, STATE_THETA
from epithermal_edge.physics.plant_water import SoilWater
from epithermal_edge.records import NAN, CorrectedRecord, Estimate, Quality, RawRecord
from epithermal_edge.times import utc

ME = Identity("test-1", "0123abcd", "crns/v1", 3600.0)
GOOD = Estimate(
    window_end_s=START_S,
    theta=0.25,
    theta_sigma=0.02,
    theta_0_10=0.21,
    theta_10_30=0.27,
    theta_30_60=0.3,
    theta_classical=0.22,
    theta_classical_sigma=0.01,
    d86_cm=14.04,
    storage_mm=75.0,
    state_age_steps=40,
    quality=Quality.GOOD,
)
NONE = Estimate(NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0, Quality.NO_MODEL)


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


def corrected(value, quality=0):
    fields = CorrectedRecord.__dataclass_fields__
    numbers = {name: np.array([value]) for name in fields if name not in ("end_s", "quality")}
    return CorrectedRecord(end_s=START_S, quality=np.array([quality]), **numbers)


def payload(bundle, record=None, estimate=GOOD, value=900.0):
    record = record or RawRecord(START_S, 900.0, 900.0, 1000.0, 20.0, 50.0, 0.2)
    return observation.obs_theta(ME, 7, record, corrected(value), estimate, bundle)


def test_a_full_payload_has_the_values_of_the_estimate(bundle):
    obs = payload(bundle)
    validator("obs-theta").validate(obs)
    assert obs["id"] == "test-1:0123abcd:7"
    assert (obs["start"], obs["end"]) == ("2025-12-31T23:45:00Z", "2026-01-01T00:00:00Z")
    assert obs["theta"] == {
        "value": 0.25, "sigma": 0.02, "p05": 0.217102, "p95": 0.282898, "unit": "m3/m3"
    }  # fmt: skip
    assert obs["layers"] == [
        {"top_cm": 0, "bottom_cm": 10, "value": 0.21},
        {"top_cm": 10, "bottom_cm": 30, "value": 0.27},
        {"top_cm": 30, "bottom_cm": 60, "value": 0.3},
    ]
    assert obs["depth"] == {"top_cm": 0, "bottom_cm": 30, "d86_cm": 14.0}
    assert obs["q"] == 1 and obs["flags"] == [] and obs["met"]["et0_mm"] is None
    assert obs["model"]["state_age_d"] == 40.0


SNOWY = dataclasses.replace(
    GOOD,
    quality=Quality.SNOW,
    d86_cm=NAN,
    swe_mm=31.42,
    swe_p05_mm=20.0,
    swe_p95_mm=NAN,
    swe_desilets_mm=35.0,
    snow_since_s=START_S - 86400.0,
    snow_count_ratio=0.91234,
    snow_air_c=-4.2,
)


def test_under_snow_its_water_and_evidence_are_published_and_no_advice(bundle):
    record = RawRecord(START_S, 900.0, 900.0, 1000.0, -4.0, 50.0, 0.0)
    soil = SoilWater(0.35, 0.05, 0.5)
    obs = observation.obs_theta(ME, 7, record, corrected(900.0), SNOWY, bundle, soil_water=soil)
    validator("obs-theta").validate(obs)
    assert (obs["q"], obs["flags"], obs["theta"]["value"]) == (3, ["snow"], 0.25)
    assert obs["snow"] == {
        "since": "2025-12-31T00:00:00Z",
        "swe_mm": {"value": 31.4, "p05": 20.0, "p95": None},
        "swe_desilets_mm": 35.0,
        "count_ratio": 0.9123,
        "air_c": -4.2,
    }
    unknown = {"value": None, "p05": None, "p95": None}
    assert obs["water"]["depletion"] == obs["water"]["available_mm"] == unknown
    assert obs["water"]["days_to_threshold"] is None
    assert payload(bundle)["snow"] is None


def test_a_raw_record_is_published_as_the_logger_sent_it():
    record = RawRecord(START_S, 900.0, 321.0, 1000.25, NAN, 50.0, 0.2)
    message = observation.raw_message(ME, 7, record)
    obs = json.loads(message.payload)
    validator("obs-raw").validate(obs)
    assert (message.topic, message.kind) == ("crns/v1/test-1/obs/raw", OBS_RAW)
    assert obs["id"] == "test-1:0123abcd:7" and obs["end"] == "2026-01-01T00:00:00Z"
    assert (obs["counts"], obs["pressure_hpa"], obs["temperature_c"]) == (321.0, 1000.25, None)


def test_extra_channels_are_an_object_of_their_own_and_only_where_there_are_any():
    record = RawRecord(START_S, 900.0, 1200.0, channels={"muon_counts": 7805.0})
    raw = json.loads(observation.raw_message(ME, 7, record).payload)
    validator("obs-raw").validate(raw)
    assert raw.pop("channels") == {"muon_counts": 7805.0}
    bare = json.loads(
        observation.raw_message(ME, 7, dataclasses.replace(record, channels={})).payload
    )
    assert bare == raw


def test_nothing_is_nan_and_no_theta_means_missing(bundle):
    record = RawRecord(START_S, NAN, NAN)
    obs = payload(bundle, record, NONE, NAN)
    validator("obs-theta").validate(obs)
    assert b"NaN" not in encode(obs)
    assert [layer["value"] for layer in obs["layers"]] == [None] * 3
    assert obs["q"] == 9 and obs["theta"]["value"] is None and obs["window_end"] is None
    assert obs["start"] == "2025-12-31T23:00:00Z"  # the nominal interval


@pytest.mark.parametrize("flag", list(Quality)[1:] if Quality.GOOD in Quality else list(Quality))
def test_every_flag_is_in_the_contract(bundle, flag):
    obs = payload(bundle, estimate=dataclasses.replace(GOOD, quality=flag))
    validator("obs-theta").validate(obs)
    assert obs["flags"] == [flag.name.lower()]


def test_the_manual_has_the_effect_of_each_flag_on_q():
    manual = (ROOT / "docs" / "mqtt.md").read_text()
    for flag in Quality:
        if flag == Quality.GOOD:
            continue
        row = next(x for x in manual.splitlines() if x.startswith(f"| `{flag.name.lower()}` |"))
        q = observation.qartod(flag, 0.2)
        assert row.split("|")[4].strip() in ({1: ("-", "9"), 3: ("3",), 4: ("4",)}[q])


def test_the_example_in_the_manual_is_valid():
    manual = (ROOT / "docs" / "mqtt.md").read_text()
    example = json.loads(manual.split("```json")[1].split("```")[0])
    validator("obs-theta").validate(example)
    assert example["storage_mm"] == pytest.approx(300.0 * example["theta"]["value"])


@pytest.mark.parametrize(
    ("quality", "theta", "q"),
    [
        (Quality.GOOD, 0.2, 1),
        (Quality.SHORT | Quality.HUMIDITY_HELD, 0.2, 1),
        (Quality.WARM_UP, 0.2, 3),
        (Quality.GAP, 0.2, 3),
        (Quality.GAP | Quality.CLIPPED, 0.2, 4),
        (Quality.LATE, NAN, 9),
    ],
)
def test_qartod_follows_from_flags(quality, theta, q):
    assert observation.qartod(quality, theta) == q


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1.5, "1970-01-01T00:00:01.500Z"),
        (1.9999, "1970-01-01T00:00:02Z"),
        (NAN, None),
    ],
)
def test_times_are_utc(time_s, text):
    assert utc(time_s) == text


@pytest.mark.parametrize(("age_s", "live"), [(10.0, True), (8999.0, True), (9001.0, False)])
def test_only_a_new_record_goes_to_dashboards(bundle, age_s, live):
    messages = observation.obs_messages(ME, payload(bundle), START_S, START_S + age_s)
    assert [m.kind for m in messages] == ([OBS_THETA, STATE_THETA] if live else [OBS_THETA])
    assert [m.kind.retain for m in messages] == ([False, True] if live else [False])
    if live:
        assert messages[1].expires_s == START_S + 2.5 * 3600.0
        assert messages[1].topic == "crns/v1/test-1/state/theta"


def test_a_late_or_future_record_is_not_live(bundle):
    obs = payload(bundle)
    assert len(observation.obs_messages(ME, obs, START_S, START_S - 86400.0)) == 1
    late = {**obs, "flags": ["late"]}
    assert len(observation.obs_messages(ME, late, START_S, START_S + 10.0)) == 1
