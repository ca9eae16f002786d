"""Messages about the station itself: status, events and meta, valid against the contract."""

import json
import math

import pytest
from tests.support.rig import BUNDLE, START_S, station_toml, validator
from tests.support.sites import SITE, SOIL

from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.messages import station
from epithermal_edge.messages.message import Identity, encode
from epithermal_edge.messages.station import read_session

ME = Identity("test-1", "0123abcd", "crns/v1", 3600.0)


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"1", b'{"session":1}', b"[" * 9000])
def test_a_payload_that_is_no_status_has_no_session(payload):
    assert read_session(payload) is None
    assert read_session(station.status(ME, "online", "00ff00ff")) == "00ff00ff"


def test_a_number_that_is_not_finite_cannot_be_encoded():
    with pytest.raises(ValueError, match="JSON"):
        encode({"x": math.inf})


def test_status_event_and_meta_meet_their_schemas(tmp_path, bundle):
    for state in ("online", "stopped", "lost"):
        for trouble in (None, "quota exceeded"):
            payload = station.status(ME, state, "00ff00ff", trouble)
            validator("status").validate(json.loads(payload))
    event = station.event(ME, "state_rebuilt", START_S, "why")
    validator("event").validate(json.loads(event.payload))
    assert event.topic == "crns/v1/test-1/event/state_rebuilt"
    config = read_config(station_toml(tmp_path))
    meta = json.loads(station.meta(config, ME, bundle))
    validator("meta").validate(meta)
    assert meta["site"]["alpha"] is None and meta["model"]["sha256"] == bundle.sha256


def test_meta_has_the_canopy_of_each_day_of_the_year(tmp_path, bundle):
    cover = '[site.cover]\ncanopy_cover = { "07-01" = 0.5 }\nroot_depth_cm = 60\n'
    site = SITE + cover + "evaporation_share = 0.5\n"
    config = read_config(station_toml(tmp_path, site=site))
    meta = json.loads(station.meta(config, ME, bundle))
    validator("meta").validate(meta)
    assert meta["site"]["canopy_cover"] == [0.5] * 366 and meta["site"]["root_depth_cm"] == 60.0


@pytest.mark.parametrize("known", ["measured", "texture", "unknown"])
def test_meta_names_the_source_of_the_soil_in_a_word(tmp_path, bundle, known):
    site = SITE if known == "unknown" else SITE + SOIL.replace("texture", known)
    config = read_config(station_toml(tmp_path, site=site))
    meta = json.loads(station.meta(config, ME, bundle))
    validator("meta").validate(meta)
    assert meta["site"]["soil_known"] == known
