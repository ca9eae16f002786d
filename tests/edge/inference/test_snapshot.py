"""A stored state comes back bit for bit, that of an earlier version too."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import fields, replace

import numpy as np
import pytest
from tests.support.rig import BUNDLE, ROOT, START_S

from epithermal_edge.cli import simulator
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import estimator, irrigation, runtime
from epithermal_edge.inference.bundle import RESERVED, open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.inference.snapshot import Part, StateLostError, from_parts, to_parts

GOLDEN = ROOT / "tests" / "golden" / "state-0.1.0.json"  # make_old_state.py


@pytest.fixture(scope="module")
def engine():
    bundle = open_bundle(ROOT / "models" / "rootzone-1.0.0")
    return Engine(simulator.SITE, bundle, runtime.load(bundle))


@pytest.fixture(scope="module")
def old():
    """The parts of six hours as version 0.1.0 stored them, and the engine they were made for."""
    golden = json.loads(GOLDEN.read_text())
    parts = {
        name: Part(
            layout=part["layout"],
            made_for=golden["made_for"],
            crc32=part["crc32"],
            data=zlib.decompress(base64.b64decode(part["data"])),
        )
        for name, part in golden["parts"].items()
    }
    return parts, golden["made_for"]


def six_hours(engine):
    state = engines.start(engine)
    for record in simulator.records(0.25, 3, START_S):
        state, _ = engines.advance(engine, state, record)
    return state


def test_a_state_that_0_1_0_stored_is_read_and_stored_again_with_the_same_bytes(engine, old):
    parts, made_for = old
    state = from_parts(parts, made_for, engines.start(engine))
    assert to_parts(state, made_for) == parts
    assert state.network.names == ("h", "c") and state.network.age.sum() == 6


def test_it_is_the_state_that_the_same_records_give_today(engine, old):
    parts, made_for = old
    stored, now = from_parts(parts, made_for, engines.start(engine)), six_hours(engine)
    for a, b in zip(stored.network.tensors, now.network.tensors, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)  # another processor rounds otherwise
    np.testing.assert_array_equal(stored.network.age, now.network.age)
    # exp of another NumPy differs in the last bit
    np.testing.assert_allclose(stored.pipeline.ring, now.pipeline.ring, rtol=1e-14)


def test_what_lies_below_30_cm_is_stored_apart_and_comes_back(engine, old):
    parts, made_for = old
    upgraded = from_parts(parts, made_for, engines.start(engine))
    assert np.isnan(upgraded.water.theta_30_60).all() and np.isnan(upgraded.water.et0_mm).all()
    et0_mm = upgraded.water.et0_mm.copy()
    et0_mm[7, -1] = 4.5
    state = replace(upgraded, water=replace(upgraded.water, et0_mm=et0_mm))
    changed = to_parts(state, made_for, upgraded)
    assert {name for name in changed if name.startswith("below")} == {"below 07"}
    again = from_parts(parts | changed, made_for, engines.start(engine))
    np.testing.assert_array_equal(again.water.et0_mm, et0_mm)
    # what has become unknown replaces what was stored
    assert "below 07" in to_parts(upgraded, made_for, state)


def test_the_layout_names_state_tensors_age_and_water(engine):
    part = to_parts(engines.start(engine), "x")["phase 07"]
    assert part.layout == (
        '[["h", "<f4", [128]], ["c", "<f4", [128]], ["age", "<i8", []],'
        ' ["storage_mm", "<f8", [8]], ["rain_mm", "<f8", [8]]]'
    )


def test_no_state_tensor_may_have_the_name_of_what_is_stored_beside_it():
    beside = {f.name for f in fields(irrigation.WaterState)}
    beside |= {f.name for f in fields(estimator.EstimatorState)} - {"names", "tensors"}
    assert beside <= set(RESERVED)


def test_a_state_of_a_network_with_other_tensors_does_not_fit(engine, old):
    parts, made_for = old
    other = engines.start(replace(engine, bundle=open_bundle(BUNDLE)))
    with pytest.raises(StateLostError, match="phase 00 has another shape"):
        from_parts(parts, made_for, other)
