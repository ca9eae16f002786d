"""Blocks of records: state and outcomes have the bits of one record at a time."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random

import numpy as np
import pytest
from tests.support.rig import BUNDLE

from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import pipeline, runtime
from epithermal_edge.inference.block import block_of, carry
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.inference.qc_limits import Limits
from epithermal_edge.inference.snapshot import to_parts
from epithermal_edge.physics.plant_water import SoilWater
from epithermal_edge.records import NAN, Quality, RawRecord
from epithermal_edge.site import Muons, Site
from epithermal_edge.times import HOUR_S

FORMS = ("none", "plain", "hawdon2014", "mcjannet2023")
MUONS = {15: Muons(smoothing_h=5.0), 30: Muons()}  # by seed
INTERVALS_S = (3600.0, 900.0, 60.0, 3600.0, 600.0, 3600.0)


def site_of(seed):
    """A site; every seed has another incoming form, cover or latitude."""
    form = FORMS[seed % 4]
    return Site(
        *(600.0, 1.4, 0.03, 0.01),
        latitude_deg=(50.0, NAN, -20.0)[seed % 3],
        incoming_form=form,
        incoming_ref=NAN if form == "none" else 7200.0 if seed in MUONS else 150.0,
        incoming_scale=0.8,
        soil_known=0.5 * (seed % 2),
        **{"soil_theta_r": 0.05, "soil_theta_s": 0.4, "soil_alpha_per_cm": 0.02},
        **{"soil_n": 1.5, "soil_ks_cm_d": 20.0},
        cover_known=float(seed % 5 > 1),
        canopy_cover=tuple(day / 400.0 for day in range(366)) if seed % 2 else 0.5,
        root_depth_cm=50.0,
        evaporation_share=0.5,
        biomass_kg_m2=tuple(day / 50.0 for day in range(366)) if seed % 2 else 2.5,
        biomass_slope_per_mm=0.010,
        muons=MUONS.get(seed),
    )


def stream(seed, size=250):
    """Records with gaps, late and odd intervals, missing and impossible values, tubes, zeros."""
    r, rng, interval_s = random.Random(seed), np.random.default_rng(seed), INTERVALS_S[seed % 6]
    still = seed % 4 == 1  # sensors and counter stand still
    absent = {name: r.choice((0.0, 0.02, 0.3, 1.0)) for name in "nptvrei1"}
    end_s, records = 1_500_000_000.0 // 3600.0 * 3600.0 + r.choice((0.0, 181.25)), []

    def measured(name, value):
        return NAN if r.random() < absent[name] else value

    while len(records) < size:
        end_s += interval_s
        if r.random() < 0.04:
            end_s += r.choice((2, 7, 30, 60)) * interval_s + r.choice((0.0, 17.5))
        if r.random() < 0.006:
            end_s += HOUR_S * r.choice((100, 250, 300, 2000))
        back_s = interval_s * r.choice((1.0, 2.5, 50.0)) if r.random() < 0.02 else 0.0
        counts = float(rng.poisson(0.4 * interval_s * (1.0 + 0.2 * math.sin(end_s / 1e6))))
        if still and records and len(records) % 50:
            counts = records[-1].counts
        elif r.random() < 0.05:
            repeated = records[-1].counts if records else counts
            counts = r.choice((0.0, -5.0, 40.0 * counts, 1.6 * counts // 1, repeated))
        pressure = round(1005.0 + 8.0 * math.sin(end_s / 4e5) + rng.normal(0.0, 0.3), 1)
        pressure += r.choice((0.0,) * 50 + (40.0, -900.0))
        warmth = round(12.0 + 9.0 * math.sin(end_s / 13750.0), 1) + r.choice((0.0,) * 50 + (30.0,))
        if still:
            pressure, warmth = 1000.0, 10.0
        if seed in (3, 5) and size // 4 < len(records) < size // 2:
            warmth -= 25.0  # counts as under snow
        records.append(
            RawRecord(
                end_s=end_s - back_s,
                duration_s=interval_s * r.choice((1.0,) * 20 + (NAN, 0.0, 0.3, 1.3)),
                counts=measured("n", counts),
                pressure_hpa=measured("p", pressure),
                temperature_c=measured("t", warmth),
                relative_humidity_pct=measured("v", r.choice((55.0, 60.0, 100.0, 140.0))),
                rain_mm=measured("r", r.choice((0.0, 0.0, 1.2, 400.0, -1.0))),
                et0_mm=measured("e", 0.1),
                incoming=measured("i", r.choice((150.0, 149.0, 0.0, -3.0))),
                battery_v=r.choice((12.0, 11.0)),
                housing_humidity_pct=r.choice((70.0, 90.0)),
                first_tube_counts=measured("1", float(rng.poisson(0.2 * interval_s))),
                channels={"biomass_kg_m2": end_s % 7.0} if end_s % 5.0 > 3.0 else {},
            )
        )
    if seed not in MUONS:
        return records
    odd = (1.0,) * 60 + (0.0, 0.5, 0.9, 1.4)
    rates = [rng.poisson(2.0 * interval_s) * r.choice(odd) for _ in records]
    return [
        dataclasses.replace(
            record,
            channels={**record.channels, "muon_counts": float(n)}
            if r.random() < 0.9
            else record.channels,
        )
        for record, n in zip(records, rates, strict=True)
    ]


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(BUNDLE)


@pytest.fixture(scope="module")
def step_fn(bundle):
    return runtime.load(bundle)


def engine_of(seed, bundle, step_fn):
    phases = 1 if seed % 3 == 2 else 24
    return Engine(
        site_of(seed),
        dataclasses.replace(bundle, phases=phases),
        step_fn,
        expects=("rain_mm", "incoming") if seed % 2 else (),
        soil_water=SoilWater(0.3, 0.1, 0.5) if seed % 2 else None,
        limits=Limits(bare_tube="thermal_counts" if seed in MUONS else ""),
    )


def state_bits(state):
    return {name: (part.layout, part.data) for name, part in to_parts(state, "").items()}


def outcome_bits(outcome):
    corrected, estimate = outcome.corrected, outcome.estimate
    arrays = [getattr(corrected, f.name) for f in dataclasses.fields(corrected)]
    values = [getattr(estimate, f.name) for f in dataclasses.fields(estimate)]
    assert isinstance(estimate.quality, Quality) and isinstance(values[10], int)
    bits = [np.asarray(a).tobytes() for a in (*arrays, np.array(values, dtype=np.float64))]
    return outcome.record, bits


@pytest.mark.parametrize("seed", [*range(8), *MUONS])
def test_blocks_of_any_length_give_the_bits_of_single_records(bundle, step_fn, seed):
    engine, records = engine_of(seed, bundle, step_fn), stream(seed)
    one, singly = engines.start(engine), []
    for record in records:
        one, outcome = engines.advance(engine, one, record)
        singly.append(outcome_bits(outcome))
    for lengths in ((250,), (1, 2, 7, 3), (50, 1, 23)):
        many, together, at = engines.start(engine), [], 0
        for length in itertools.cycle(lengths):
            if at >= len(records):
                break
            many, passed = engines.advance_many(engine, many, records[at : at + length])
            together += map(outcome_bits, passed.outcomes())
            at += length
        assert [bits for _, bits in together] == [bits for _, bits in singly]
        assert all(a is b for (a, _), (b, _) in zip(together, singly, strict=True))
        assert state_bits(many) == state_bits(one)


def test_the_random_streams_raise_every_flag(bundle, step_fn):
    seen = Quality.GOOD
    for seed in (*range(8), *MUONS):
        for outcome in engines.play(engine_of(seed, bundle, step_fn), stream(seed)):
            seen |= outcome.estimate.quality
    missing = set(Quality) - set(seen)
    assert missing <= {Quality.CLIPPED}, missing


@pytest.mark.parametrize("seed", [0, 1, 6, *MUONS])
def test_sites_abreast_have_the_same_bits_in_blocks(seed):
    n, records = 5, stream(seed)
    site = dataclasses.replace(
        site_of(seed),
        cosmic_n_cph=np.linspace(300.0, 900.0, n),
        bulk_density_g_cm3=np.linspace(1.0, 1.7, n),
        canopy_cover=np.linspace(0.0, 1.0, n * 366).reshape(n, 366),
        biomass_kg_m2=np.linspace(0.0, 9.0, n * 366).reshape(n, 366),
    )
    for phases in (1, 24):
        one, singly = pipeline.start(n, phases), []
        for record in records:
            one, _, closed = pipeline.step(site, one, record)
            singly += closed
        many, together = pipeline.start(n, phases), []
        for at in range(0, len(records), 61):
            block = block_of(records[at : at + 61], n)
            many, _, windows = pipeline.step_block(site, many, block)
            together += windows.each()
        assert len(singly) == len(together) > 4
        for a, b in zip(singly, together, strict=True):
            for field in dataclasses.fields(a):
                left, right = getattr(a, field.name), getattr(b, field.name)
                assert np.asarray(left).tobytes() == np.asarray(right).tobytes(), field.name


def test_a_series_is_cut_where_gaps_close_many_hours():
    records = [RawRecord(HOUR_S * 400.0 * i, HOUR_S, 1500.0) for i in range(100)]
    blocks = list(engines.blocks(records))
    assert [record for block in blocks for record in block] == records
    assert max(map(len, blocks)) * engines.LONGEST_H < 2.0 * engines.BLOCK
    hourly = [RawRecord(HOUR_S * i, HOUR_S, 1500.0) for i in range(9000)]
    assert [len(block) for block in engines.blocks(hourly)] == [4096, 4096, 808]


def test_elementwise_functions_have_the_same_bits_in_any_length():
    rng = np.random.default_rng(4)
    x = rng.uniform(0.01, 0.99, 4099)
    for function in (
        np.exp,
        np.expm1,
        np.log,
        np.log10,
        np.sqrt,
        np.arctan,
        np.arctanh,
        np.arccos,
        np.sin,
    ):
        whole = function(x)
        for size in (1, 2, 3, 5, 7, 8, 9):
            for at in range(32):
                part = np.ascontiguousarray(x[at : at + size])
                assert function(part).tobytes() == whole[at : at + size].tobytes()


def test_a_value_is_carried_until_the_next_is_known():
    known = np.array([[False], [True], [False], [True]])
    values = np.array([[1.0], [2.0], [3.0], [4.0]])
    np.testing.assert_array_equal(carry(np.zeros(1), known, values).ravel(), [0, 0, 2, 2, 4])
    none = np.empty((0, 1))
    np.testing.assert_array_equal(carry(np.ones(1), none > 0.0, none), [[1.0]])


@pytest.mark.parametrize("seed", MUONS)
def test_the_streams_of_muons_have_usable_and_odd_ones(seed):
    state = pipeline.start()
    state, corrected, _ = pipeline.step_block(site_of(seed), state, block_of(stream(seed)))
    odd = (corrected.quality & int(Quality.INCOMING_JUMP)) != 0
    unused = (corrected.quality & int(Quality.INCOMING_HELD | Quality.INCOMING_MISSING)) != 0
    assert 0.005 < odd.mean() < 0.3 and np.mean(~unused) > 0.3
    assert len(np.unique(corrected.values["f_i"])) > 50
