"""Payloads: complete, rounded, null where nothing is known, valid against the contract."""

import dataclasses
import json
import math

import numpy as np
import pytest
from tests.support.rig import BUNDLE, ROOT, SITE, START_S, station_toml, validator

from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.messages import observation as messages
from epithermal_edge.messages import station
from epithermal_edge.messages.message import Identity, encode
from epithermal_edge.messages.station import session_of
from epithermal_edge.messages.topics import OBS_RAW, OBS_THETA, STATE_THETA
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
    return messages.obs_theta(ME, 7, record, corrected(value), estimate, bundle)


def test_a_full_payload_says_what_the_estimate_says(bundle):
    told = payload(bundle)
    validator("obs-theta").validate(told)
    assert told["id"] == "test-1:0123abcd:7"
    assert (told["start"], told["end"]) == ("2025-12-31T23:45:00Z", "2026-01-01T00:00:00Z")
    assert told["theta"] == {
        "value": 0.25, "sigma": 0.02, "p05": 0.217102, "p95": 0.282898, "unit": "m3/m3"
    }  # fmt: skip
    assert told["layers"] == [
        {"top_cm": 0, "bottom_cm": 10, "value": 0.21},
        {"top_cm": 10, "bottom_cm": 30, "value": 0.27},
        {"top_cm": 30, "bottom_cm": 60, "value": 0.3},
    ]
    assert told["depth"] == {"top_cm": 0, "bottom_cm": 30, "d86_cm": 14.0}
    assert told["q"] == 1 and told["flags"] == [] and told["met"]["et0_mm"] is None
    assert told["model"]["state_age_d"] == 40.0


def test_a_raw_record_is_told_as_it_was_given():
    record = RawRecord(START_S, 900.0, 321.0, 1000.25, NAN, 50.0, 0.2)
    message = messages.raw_message(ME, 7, record)
    told = json.loads(message.payload)
    validator("obs-raw").validate(told)
    assert (message.topic, message.kind) == ("crns/v1/test-1/obs/raw", OBS_RAW)
    assert told["id"] == "test-1:0123abcd:7" and told["end"] == "2026-01-01T00:00:00Z"
    assert (told["counts"], told["pressure_hpa"], told["temperature_c"]) == (321.0, 1000.25, None)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"1", b'{"session":1}', b"[" * 9000])
def test_what_is_no_status_names_no_session(payload):
    assert session_of(payload) is None
    assert session_of(station.status(ME, "online", "00ff00ff")) == "00ff00ff"


def test_nothing_is_nan_and_no_theta_means_missing(bundle):
    record = RawRecord(START_S, NAN, NAN)
    told = payload(bundle, record, NONE, NAN)
    validator("obs-theta").validate(told)
    assert b"NaN" not in encode(told)
    assert [layer["value"] for layer in told["layers"]] == [None] * 3
    assert told["q"] == 9 and told["theta"]["value"] is None and told["window_end"] is None
    assert told["start"] == "2025-12-31T23:00:00Z"  # the nominal interval


def test_a_number_that_is_not_finite_cannot_be_encoded():
    with pytest.raises(ValueError, match="JSON"):
        encode({"x": math.inf})


@pytest.mark.parametrize("flag", list(Quality)[1:] if Quality.GOOD in Quality else list(Quality))
def test_every_flag_is_in_the_contract(bundle, flag):
    told = payload(bundle, estimate=dataclasses.replace(GOOD, quality=flag))
    validator("obs-theta").validate(told)
    assert told["flags"] == [flag.name.lower()]


def test_the_manual_says_what_each_flag_does_to_q():
    manual = (ROOT / "docs" / "mqtt.md").read_text()
    for flag in Quality:
        if flag == Quality.GOOD:
            continue
        row = next(x for x in manual.splitlines() if x.startswith(f"| `{flag.name.lower()}` |"))
        q = messages.qartod(flag, 0.2)
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
    assert messages.qartod(quality, theta) == q


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
    told = messages.obs_messages(ME, payload(bundle), START_S, START_S + age_s)
    assert [m.kind for m in told] == ([OBS_THETA, STATE_THETA] if live else [OBS_THETA])
    assert [m.kind.retain for m in told] == ([False, True] if live else [False])
    if live:
        assert told[1].expires_s == START_S + 2.5 * 3600.0
        assert told[1].topic == "crns/v1/test-1/state/theta"


def test_a_late_or_future_record_is_not_live(bundle):
    told = payload(bundle)
    assert len(messages.obs_messages(ME, told, START_S, START_S - 86400.0)) == 1
    late = {**told, "flags": ["late"]}
    assert len(messages.obs_messages(ME, late, START_S, START_S + 10.0)) == 1


def test_status_event_and_meta_meet_their_schemas(tmp_path, bundle):
    for state in ("online", "stopped", "lost"):
        for trouble in (None, "quota exceeded"):
            told = station.status(ME, state, "00ff00ff", trouble)
            validator("status").validate(json.loads(told))
    event = station.event(ME, "state_rebuilt", START_S, "why")
    validator("event").validate(json.loads(event.payload))
    assert event.topic == "crns/v1/test-1/event/state_rebuilt"
    config = read_config(station_toml(tmp_path))
    meta = json.loads(station.meta(config, ME, bundle))
    validator("meta").validate(meta)
    assert meta["site"]["alpha"] is None and meta["model"]["sha256"] == bundle.sha256


def test_meta_tells_the_canopy_of_each_day_of_the_year(tmp_path, bundle):
    cover = '[site.cover]\ncanopy_cover = { "07-01" = 0.5 }\nroot_depth_cm = 60\n'
    site = SITE + cover + "evaporation_share = 0.5\n"
    config = read_config(station_toml(tmp_path, site=site))
    meta = json.loads(station.meta(config, ME, bundle))
    validator("meta").validate(meta)
    assert meta["site"]["canopy_cover"] == [0.5] * 366 and meta["site"]["root_depth_cm"] == 60.0
