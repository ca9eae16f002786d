"""One record in, one estimate out: the same for the daemon, for replay and for a rebuilt state."""

import dataclasses
import math

import numpy as np
import pytest
from tests.support.rig import BUNDLE, START_S

from epithermal_edge.cli import simulator
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import estimator, pipeline, runtime
from epithermal_edge.inference.block import block_of
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.physics.cosmic import THETA_MAX
from epithermal_edge.records import NAN, Quality, RawRecord


@pytest.fixture(scope="module")
def engine():
    bundle = open_bundle(BUNDLE)
    return Engine(simulator.SITE, bundle, runtime.load(bundle))


@pytest.fixture(scope="module")
def records():
    return list(simulator.records(5.0, 3, START_S, 900.0))


def play(engine, records):
    state, outcomes = engines.start(engine), []
    for record in records:
        state, outcome = engines.advance(engine, state, record)
        outcomes.append(outcome)
    return state, outcomes


def test_an_estimate_is_what_the_network_says_of_the_newest_window(engine, records):
    _, outcomes = play(engine, records)
    piped, network, windows = pipeline.start(1), estimator.start(engine.bundle), {}
    for record in records:
        piped, _, made = pipeline.step_block(engine.site, piped, block_of([record]))
        network, y, _ = estimator.run(engine.step, engine.bundle, network, made)
        windows |= dict(zip((made.hour * 3600.0).tolist(), y, strict=True))
    for outcome in outcomes[10:]:
        theta, *others = windows[outcome.estimate.window_end_s]
        told = outcome.estimate
        layers = (told.theta_0_10, told.theta_10_30, told.theta_30_60)
        assert (told.theta, told.theta_sigma, *layers) == (theta, *others)
        assert outcome.estimate.storage_mm == pytest.approx(300.0 * theta)
        age_s = outcome.record.end_s - outcome.estimate.window_end_s
        assert 0.0 <= age_s < 3600.0


def test_there_is_no_theta_before_the_first_window(engine, records):
    _, outcomes = play(engine, records[:3])
    for outcome in outcomes:
        assert math.isnan(outcome.estimate.theta) and math.isnan(outcome.estimate.window_end_s)
        assert outcome.estimate.quality & Quality.NO_MODEL


def test_warm_up_lasts_as_many_days_as_the_bundle_says(engine, records):
    warm = dataclasses.replace(engine, bundle=dataclasses.replace(engine.bundle, spin_up_steps=3))
    _, outcomes = play(warm, records)
    ages = {o.estimate.state_age_steps: o.estimate.quality for o in outcomes[4:]}
    assert [bool(ages[age] & Quality.WARM_UP) for age in (1, 2, 3, 4)] == [True, True, False, False]


def test_a_late_record_is_corrected_flagged_and_leaves_the_state_alone(engine, records):
    state, _ = play(engine, records[:300])
    late = dataclasses.replace(records[100], end_s=records[100].end_s + 1.0)
    after, outcome = engines.advance(engine, state, late)
    assert after is state
    assert outcome.estimate.quality == Quality.LATE | Quality.NO_MODEL
    assert math.isnan(outcome.estimate.theta) and np.isfinite(outcome.corrected.n_corr_cph[0])


def test_flags_of_record_and_window_are_told_together(engine, records):
    state, _ = play(engine, records[:300])
    dark = RawRecord(records[299].end_s + 14 * 3600.0, 900.0, NAN)
    _, outcome = engines.advance(engine, state, dark)
    told = outcome.estimate.quality
    assert told & Quality.MISSING and told & Quality.PRESSURE_MISSING and told & Quality.GAP
    assert math.isfinite(outcome.estimate.theta)


@pytest.mark.parametrize(
    ("y", "theta", "flag"),
    [
        ((-0.1, 0.02, 0.1, 0.1, 0.1), 0.0, Quality.CLIPPED),
        ((1.7, 0.02, 0.1, 0.1, 0.1), THETA_MAX, Quality.CLIPPED),
        ((NAN, 0.02, 0.1, 0.1, 0.1), NAN, Quality.NO_MODEL),
        ((0.2, NAN, 0.1, 0.1, 0.1), NAN, Quality.NO_MODEL),
        ((0.2, 0.02, 0.1, NAN, 0.1), NAN, Quality.NO_MODEL),
    ],
)
def test_an_impossible_answer_of_the_network_is_flagged(engine, records, y, theta, flag):
    def step(x, state):
        return np.array(y, dtype=np.float32), state

    _, outcomes = play(dataclasses.replace(engine, step=step), records[:8])
    assert outcomes[-1].estimate.theta == pytest.approx(theta, nan_ok=True)
    assert outcomes[-1].estimate.quality & flag


def test_an_impossible_layer_is_cut_and_does_not_flag_the_whole(engine, records):
    def step(x, state):
        return np.array((0.2, 0.02, -0.1, 0.35, 1.2), dtype=np.float32), state

    _, outcomes = play(dataclasses.replace(engine, step=step), records[:8])
    told = outcomes[-1].estimate
    assert (told.theta_0_10, told.theta_30_60) == (0.0, THETA_MAX)
    assert told.theta_10_30 == pytest.approx(0.35)
    assert not told.quality & Quality.CLIPPED


def test_the_fingerprint_follows_model_and_site(engine):
    other = dataclasses.replace(engine.site, cosmic_n_cph=431.0)
    bundle = dataclasses.replace(engine.bundle, sha256="0" * 64)
    prints = {
        engine.fingerprint(),
        dataclasses.replace(engine, site=other).fingerprint(),
        dataclasses.replace(engine, bundle=bundle).fingerprint(),
    }
    assert len(prints) == 3
