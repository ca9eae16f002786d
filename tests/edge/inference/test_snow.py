"""Snow: flagged by counts and cold air together, theta held meanwhile, no advice on irrigation."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from tests.support.rig import BUNDLE

from epithermal_edge.cli import simulator
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import irrigation, runtime, snow
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.inference.snapshot import from_parts, to_parts
from epithermal_edge.inference.snow import SnowRule
from epithermal_edge.physics.plant_water import SoilWater
from epithermal_edge.physics.response import response_rate
from epithermal_edge.physics.snow_water import pore_space, snow_share
from epithermal_edge.records import NAN, SNOW_FIELDS, Quality, RawRecord

SITE = simulator.SITE
START_S = 1_700_006_400.0  # a full hour
SOIL = SoilWater(0.35, 0.05, 0.3)
THETA = 0.25


@pytest.fixture(scope="module")
def engine():
    bundle = open_bundle(BUNDLE)
    return Engine(SITE, bundle, runtime.load(bundle), soil_water=SOIL)


def rate(swe_mm):
    """Corrected rate [counts h-1] over a soil of THETA under snow."""
    one = np.array([THETA])
    return float(snow_share(np.array([swe_mm]), one, SITE)[0] * response_rate(one, SITE)[0])


def records(*spans, air_c=None):
    """Hourly records of (hours, snow water [mm], air temperature [degC]), one after the other."""
    rows = [(swe_mm, air) for hours, swe_mm, air in spans for _ in range(hours)]
    out = []
    for k, (swe_mm, air) in enumerate(rows):
        wobble = 0.1 * math.sin(2.0 * k)  # constant sensors and counts are faults
        counts, hpa = rate(swe_mm) * (1.0 + 0.01 * wobble), float(SITE.pressure_ref_hpa) + wobble
        warmth = (air if air_c is None else air_c) + wobble
        end_s = START_S + 3600.0 * (k + 1)
        out.append(RawRecord(end_s, 3600.0, counts, hpa, warmth, rain_mm=0.0))
    return out


def told(engine, rows):
    """Estimates of the records, by hour from the first record on."""
    return [outcome.estimate for outcome in engines.play(engine, rows)]


@pytest.fixture(scope="module")
def winter(engine):
    """Estimates of autumn, winter and spring."""
    return told(engine, records(AUTUMN, WINTER, SPRING))


def flagged(estimates):
    return [k for k, e in enumerate(estimates) if e.quality & Quality.SNOW]


AUTUMN, WINTER, SPRING = (200, 0.0, 8.0), (240, 60.0, -6.0), (240, 0.0, 6.0)


def test_snow_needs_counts_and_cold_air_together(engine, winter):
    assert flagged(winter)
    assert not flagged(told(engine, records(AUTUMN, (240, 60.0, 8.0), SPRING)))
    assert not flagged(told(engine, records(AUTUMN, (240, 0.0, -6.0), SPRING)))


def test_without_a_known_air_temperature_there_is_no_snow_but_a_clipped_count(engine):
    deep = told(engine, records(AUTUMN, (240, 250.0, -6.0), air_c=NAN))
    assert not flagged(deep) and deep[-1].quality & Quality.CLIPPED
    known = told(engine, records(AUTUMN, (240, 250.0, -6.0)))
    assert known[-1].quality & Quality.SNOW and not known[-1].quality & Quality.CLIPPED


def test_it_begins_after_hours_of_evidence_and_ends_a_day_after_the_counts_are_back(winter):
    on, estimates = flagged(winter), winter
    assert on == list(range(on[0], on[-1] + 1))
    first = next(k for k, e in enumerate(estimates) if e.quality & Quality.SNOW)
    began = round((estimates[first].snow_since_s - START_S) / 3600.0)
    assert first - (began - 1) == snow.BEGIN_H - 1
    assert 200 < began < 224  # the window of 24 h has to show it
    assert 440 + snow.CLEAR_H - 1 <= on[-1] < 440 + 24 + snow.CLEAR_H


def test_a_cold_night_over_low_counts_is_not_snow(engine):
    wet = (200, 60.0, 8.0)  # a flood, or a wrong N
    estimates = told(engine, records(wet, (12, 60.0, -6.5), (200, 60.0, 20.0)))
    assert not flagged(estimates)
    assert flagged(told(engine, records(wet, (30, 60.0, -6.5), (200, 60.0, 20.0))))


def test_warm_air_for_days_ends_it_though_the_counts_remain_low(engine):
    summer = (400, 60.0, 15.0)
    on = flagged(told(engine, records(AUTUMN, WINTER, summer)))
    assert on and 440 + snow.WARM_H <= on[-1] < 440 + 24 + snow.WARM_H


def test_theta_is_the_value_before_the_cold_and_its_error_grows(engine):
    rows = records(AUTUMN, (72, 5.0, -3.0), WINTER, SPRING)  # thin snow first, within the pores
    estimates, bare = (told(e, rows) for e in (engine, dataclasses.replace(engine, snow=None)))
    on = flagged(estimates)
    held = {estimates[k].theta for k in on}
    before = {bare[k].theta for k in range(150, 200)}
    assert len(held) == 1 and held <= before
    sigmas = [estimates[k].theta_sigma for k in on]
    assert all(b > a for a, b in itertools.pairwise(sigmas))
    last = estimates[on[-1]]
    assert last.storage_mm == pytest.approx(300.0 * last.theta) and math.isnan(last.d86_cm)


def test_estimates_without_the_flag_are_bit_for_bit_those_without_the_rule(engine, winter):
    bare = told(dataclasses.replace(engine, snow=None), records(AUTUMN, WINTER, SPRING))
    clear = [(a, b) for a, b in zip(winter, bare, strict=True) if not a.quality & Quality.SNOW]
    assert len(clear) > 300
    for a, b in clear:
        theirs = (a.theta, a.theta_sigma, a.theta_30_60, a.theta_classical, a.d86_cm)
        np.testing.assert_array_equal(
            theirs, (b.theta, b.theta_sigma, b.theta_30_60, b.theta_classical, b.d86_cm)
        )


def test_the_network_and_its_input_do_not_know_of_snow(engine):
    states = []
    for one in (engine, dataclasses.replace(engine, snow=None)):
        state, _ = engines.advance_many(one, engines.start(one), records(AUTUMN, WINTER))
        states.append(state)
    for a, b in zip(states[0].network.tensors, states[1].network.tensors, strict=True):
        assert a.tobytes() == b.tobytes()
    assert states[0].pipeline.held.tobytes() == states[1].pipeline.held.tobytes()


def test_no_advice_on_irrigation_is_given_under_snow(winter):
    under = [winter[k] for k in flagged(winter)]
    for e in under:
        assert all(map(math.isnan, (e.days_to_threshold, e.depletion, e.available_mm, e.rate_mm_d)))
        assert math.isnan(irrigation.depletion(SOIL, e).p95)
    assert any(e.depletion >= SOIL.threshold for e in winter[100:200])


def test_the_water_of_the_snow_is_within_its_interval(engine):
    estimates = told(engine, records(AUTUMN, (400, 25.0, -6.0)))
    last = estimates[-1]
    assert last.swe_p05_mm < 25.0 < last.swe_p95_mm
    assert last.snow_count_ratio == pytest.approx(
        rate(25.0) / float(response_rate(pore_space(SITE.bulk_density_g_cm3), SITE)), rel=1e-3
    )
    assert last.snow_air_c == pytest.approx(-6.0, abs=0.05)
    clear = estimates[100]
    assert all(math.isnan(getattr(clear, name)) for name in SNOW_FIELDS)


def test_counts_as_over_deep_water_give_a_lower_limit_and_no_value(engine):
    last = told(engine, records(AUTUMN, (400, 900.0, -6.0)))[-1]
    assert math.isnan(last.swe_mm) and math.isnan(last.swe_p95_mm) and last.swe_p05_mm > 20.0


def test_a_station_that_starts_under_snow_has_no_theta_to_hold(engine):
    last = told(engine, records((60, 60.0, -6.0)))[-1]
    assert last.quality & Quality.SNOW and math.isnan(last.theta) and math.isnan(last.swe_mm)


def test_a_gap_under_snow_ends_nothing(engine):
    rows = records(AUTUMN, (400, 60.0, -6.0))
    gap = [dataclasses.replace(r, counts=NAN) if 300 <= k < 360 else r for k, r in enumerate(rows)]
    estimates = told(engine, gap)
    on = flagged(estimates)
    assert on == list(range(on[0], 600))
    assert math.isnan(estimates[350].swe_mm)


def test_windows_without_any_neutron_are_no_evidence():
    dry = dataclasses.replace(SITE, cosmic_n_cph=0.01)
    bundle = open_bundle(BUNDLE)
    engine = Engine(dry, bundle, runtime.load(bundle))
    rows = [dataclasses.replace(r, counts=0.0) for r in records((100, 60.0, -6.0))]
    assert not flagged(told(engine, rows))


def test_a_state_under_snow_is_stored_and_restored(engine):
    rows = records(AUTUMN, WINTER, SPRING)
    state, _ = engines.advance_many(engine, engines.start(engine), rows[:400])
    restored = from_parts(to_parts(state, "x"), "x", engines.start(engine))
    assert restored.newest.swe_mm == state.newest.swe_mm > 0.0
    for k, one in ((400, state), (400, restored)):
        _, passed = engines.advance_many(engine, one, rows[k:])
        estimates = [outcome.estimate for outcome in passed.outcomes()]
        assert flagged(estimates) and estimates[0].theta == state.newest.theta


def test_a_state_without_snow_of_an_older_version_is_read(engine):
    state, _ = engines.advance_many(engine, engines.start(engine), records(AUTUMN))
    parts = {name: part for name, part in to_parts(state, "x").items() if name != "snow"}
    restored = from_parts(parts, "x", engines.start(engine))
    assert not restored.snow.is_started
    assert restored.newest.theta == state.newest.theta


def test_a_rule_of_ones_own_is_part_of_the_fingerprint(engine):
    warmer = dataclasses.replace(engine, snow=SnowRule(2.0))
    off = dataclasses.replace(engine, snow=None)
    assert len({e.fingerprint() for e in (engine, warmer, off)}) == 3
    slush = records(AUTUMN, (240, 60.0, 1.5))
    assert flagged(told(warmer, slush)) and not flagged(told(engine, slush))
    assert not flagged(told(off, records(AUTUMN, WINTER)))
