"""Test the bounds of a trial one by one, and the shadow that processes the journal."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.bundles import RESIDUAL, SIGMA_FLOOR, THREE, changed_bundle, version
from tests.support.rig import START_S, station_toml

from epithermal_edge.cli import simulator
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference.engine import NOTHING
from epithermal_edge.journal.history import JournalEntry
from epithermal_edge.records import NAN, Quality
from epithermal_edge.rollout.loading import load_engine
from epithermal_edge.rollout.trial import (
    CLIPPED_MORE,
    LARGEST_DIFFERENCE,
    LEAST_TO_CLASSICAL,
    MEAN_DIFFERENCE,
    MEAN_TO_CLASSICAL,
    SIGMA_LEAST,
    SIGMA_MOST,
    SIGMA_OF_CURRENT,
    SLOWER,
    STEP_S,
    Shadow,
    Tally,
    judge,
    median_step_s,
)

GOOD = replace(NOTHING, theta=0.25, theta_sigma=0.01, theta_classical=0.27, quality=Quality.WARM_UP)


def judged(new=GOOD, current=GOOD, hours=100, live=24, **tally):
    """Judge a trial of equal hours."""
    found = Tally(step_s=1e-5, step_current_s=1e-5)
    for hour in range(hours):
        found.add(new, current, hour >= hours - live)
    for name, value in tally.items():
        setattr(found, name, value)
    return judge(found, 24)


def test_a_model_with_equal_estimates_is_accepted_with_its_figures():
    found = judged()
    assert found.accepted
    assert "100 h, 24 of them live, mean difference 0.0000" in found.why


def test_the_bounds_are_those_that_the_operator_reads():
    page = (Path(__file__).parents[3] / "docs" / "rollout.md").read_text("utf-8")
    bounds = {}
    for line in page.splitlines():
        if line.startswith("| "):
            criterion, limits = (cell.strip() for cell in line.split("|")[1:3])
            bounds[criterion] = [float(n) for n in re.findall(r"\b\d+(?:\.\d+)?\b(?= )", limits)]
    assert bounds["mean difference to the model in use"] == [MEAN_DIFFERENCE]
    assert bounds["largest difference to it in an hour"] == [LARGEST_DIFFERENCE]
    to_classical = bounds["mean difference to the classical inversion"]
    assert to_classical == [LEAST_TO_CLASSICAL, MEAN_TO_CLASSICAL]
    assert bounds["mean sigma"] == [SIGMA_LEAST, SIGMA_MOST]
    assert bounds["mean sigma, in the hours of both models"] == [SIGMA_OF_CURRENT]
    assert bounds["fraction of hours outside 0 to 0.9"] == [100.0 * CLIPPED_MORE]
    assert bounds["median time of a step"] == [SLOWER, 1e3 * STEP_S]


def test_a_trial_goes_on_until_its_live_hours_are_full():
    assert judged(live=23) is None


@pytest.mark.parametrize("bad", [{"quality": Quality.NO_MODEL, "theta": NAN}, {"theta_sigma": NAN}])
def test_one_estimate_that_is_not_a_number_rejects_at_once(bad):
    found = judged(replace(GOOD, **bad), hours=1, live=0)
    assert not found.accepted and "not a number" in found.why


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ({"theta": 0.25 + MEAN_DIFFERENCE + 0.001}, "difference to the model in use"),
        ({"theta_classical": 0.25 + MEAN_TO_CLASSICAL + 0.001}, "difference to the inversion"),
        ({"theta_sigma": SIGMA_LEAST / 2}, "mean sigma"),
        ({"theta_sigma": SIGMA_MOST * 1.01}, "mean sigma"),
        ({"quality": Quality.CLIPPED}, "out of range"),
        ({"theta_sigma": 0.01 * SIGMA_OF_CURRENT * 1.01}, "mean sigma relative to the model in"),
        ({"theta": 0.27 - LEAST_TO_CLASSICAL / 2}, "difference to the inversion is 0.0005"),
    ],
)
def test_each_bound_rejects_what_is_beyond_it(new, words):
    found = judged(replace(GOOD, **new))
    assert not found.accepted and words in found.why


@pytest.mark.parametrize(
    "new",
    [
        {"theta": 0.25 + MEAN_DIFFERENCE - 0.001},
        {"theta_classical": 0.25 + MEAN_TO_CLASSICAL - 0.001},
        {"theta_sigma": SIGMA_LEAST * 1.01},
        {"theta_sigma": 0.01 * SIGMA_OF_CURRENT * 0.99},
        {"theta": 0.27 - LEAST_TO_CLASSICAL * 1.01},
    ],
)
def test_what_is_within_the_bounds_is_accepted(new):
    assert judged(replace(GOOD, **new)).accepted


def test_a_sigma_is_compared_in_the_hours_of_both_models_only():
    wide = replace(GOOD, theta_sigma=0.1)
    tally = Tally(step_s=1e-5, step_current_s=1e-5)
    for hour in range(100):
        tally.add(wide if hour < 50 else GOOD, None if hour < 50 else GOOD, hour >= 50)
    assert judge(tally, 24).accepted
    within = replace(GOOD, theta_sigma=SIGMA_MOST * 0.99)
    assert judged(within, within).accepted and judged(within, None).accepted


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_a_single_hour_may_jump_neither_up_nor_down(way):
    wet, tally = replace(GOOD, theta=0.5), Tally(step_s=1e-5, step_current_s=1e-5)
    for _ in range(200):
        tally.add(wet, wet, True)
    tally.add(replace(wet, theta=0.5 + way * (LARGEST_DIFFERENCE + 0.01)), wet, True)
    found = judge(tally, 24)
    assert not found.accepted and "largest difference" in found.why


def test_a_model_that_is_out_of_range_less_often_is_accepted():
    assert judged(GOOD, replace(GOOD, quality=Quality.CLIPPED)).accepted


def test_out_of_range_in_more_than_one_hour_of_fifty_is_rejected():
    assert judged(hours=1000, clipped=20).accepted
    assert not judged(hours=1000, clipped=21).accepted


def test_a_site_that_is_out_of_range_for_both_is_no_fault_of_the_new_one():
    clipped = replace(GOOD, quality=Quality.CLIPPED)
    assert judged(clipped, clipped).accepted
    assert judged(clipped=round(100 * CLIPPED_MORE)).accepted


def test_where_nothing_can_be_compared_the_inversion_alone_decides():
    assert judged(current=None).accepted
    assert judged(current=replace(GOOD, theta=NAN)).accepted
    assert not judged(replace(GOOD, theta=0.6), current=None).accepted


def test_a_model_may_be_slower_but_not_slow():
    assert judged(step_s=0.99 * STEP_S).accepted
    assert judged(step_s=9e-3, step_current_s=1e-3).accepted
    found = judged(step_s=11e-3, step_current_s=1e-3)
    assert not found.accepted and "too slow" in found.why


def tried(tmp_path, candidate):
    """Judge a bundle on the records of a station that uses `three`."""
    current = load_engine(read_config(station_toml(tmp_path, bundle=THREE)))
    new = load_engine(read_config(station_toml(tmp_path, bundle=THREE)), candidate)
    shadow, state = Shadow(new, "three 0.1.0"), engines.start(current)
    for number, record in enumerate(simulator.records(4.0, 1, START_S, 3600.0), 1):
        state, outcome = engines.advance(current, state, record)
        shadow.add_entries([JournalEntry(number, outcome, "three 0.1.0")])
    assert shadow.tally.difference.count > 48
    return judge(shadow.tally, 24)


def test_a_network_that_returns_the_inversion_is_rejected(tmp_path):
    found = tried(tmp_path, changed_bundle(tmp_path, "0.2.0", RESIDUAL, 0.0))
    assert not found.accepted and "difference to the inversion is 0.0000" in found.why


def test_a_network_that_is_far_less_certain_than_the_one_in_use_is_rejected(tmp_path):
    found = tried(tmp_path, changed_bundle(tmp_path, "0.2.0", SIGMA_FLOOR, 0.03))
    assert not found.accepted and "mean sigma relative to the model in use" in found.why


def test_another_version_of_the_network_in_use_is_accepted(tmp_path):
    assert tried(tmp_path, version(tmp_path, "0.2.0", base=THREE)).accepted


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return load_engine(read_config(station_toml(tmp_path_factory.mktemp("trial"))))


def entries(engine, days):
    """Return the state and the journal entries of a station with this engine."""
    state, stored = engines.start(engine), []
    for number, record in enumerate(simulator.records(days, 1, START_S, 600.0), 1):
        state, outcome = engines.advance(engine, state, record)
        stored.append(JournalEntry(number, outcome, "bucket 0.1.0"))
    return state, stored


def test_a_shadow_counts_hours_not_records_and_ends_in_the_state_of_the_station(engine):
    state, stored = entries(engine, 3.0)
    shadow = Shadow(engine, "bucket 0.1.0", since_seq=len(stored) - 5 * 6)
    for at in range(0, len(stored), 7):
        shadow.add_entries(stored[at : at + 7])
    assert shadow.tally.live_hours == 5 and 60 <= shadow.tally.hours <= 72
    assert shadow.tally.difference.count == shadow.tally.hours
    assert shadow.tally.difference.largest == 0.0
    pairs = zip(shadow.state.network.tensors, state.network.tensors, strict=True)
    assert all((a == b).all() for a, b in pairs) and shadow.seq == len(stored)


def test_estimates_of_another_model_are_not_compared(engine):
    _, stored = entries(engine, 2.0)
    shadow = Shadow(engine, "bucket 0.0.9")
    for at in range(0, len(stored), 7):
        shadow.add_entries(stored[at : at + 7])
    assert shadow.tally.difference.count == 0 < shadow.tally.to_classical.count


def test_a_step_of_the_test_bundle_takes_some_microseconds(engine):
    assert 0.0 < median_step_s(engine.step, engine.bundle) < 0.01
