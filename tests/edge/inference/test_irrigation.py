"""What plants can take: by hand from van Genuchten and FAO-56, and after a power cut as before."""

import dataclasses
import json
import math

import numpy as np
import pytest
from tests.edge.messages.test_observation import GOOD, ME, NONE, corrected
from tests.support.rig import BUNDLE, START_S, station_toml, validator
from tests.support.sites import SITE

from epithermal_edge.cli import simulator
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.config.water_table import DEPLETION
from epithermal_edge.errors import ConfigError
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import irrigation, runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.inference.irrigation import SEN_RANK, Range
from epithermal_edge.journal.journal import Journal
from epithermal_edge.journal.rows import estimate_row
from epithermal_edge.messages import observation, station
from epithermal_edge.physics.plant_water import SoilWater, field_capacity, wilting_point
from epithermal_edge.records import NAN, Quality

LOAM = (0.078, 0.43, 0.036, 1.56, 24.96)  # theta_r, theta_s, alpha, n, K_s
SUMMER_S = START_S + 180 * 86400.0
CARSEL_PARRISH = {  # (1988), table 6
    "sand": (0.045, 0.43, 0.145, 2.68, 712.8),
    "sandy loam": (0.065, 0.41, 0.075, 1.89, 106.1),
    "loam": LOAM,
    "silt loam": (0.067, 0.45, 0.02, 1.41, 10.8),
    "clay loam": (0.095, 0.41, 0.019, 1.31, 6.24),
    "silty clay": (0.07, 0.36, 0.005, 1.09, 0.48),
}
SOIL = SoilWater(0.30, 0.10, 0.5)  # 60 mm for plants; to irrigate at theta = 0.20


def remembered(storage_mm, rain_mm=()):
    """One phase that has seen these days, the oldest first."""
    rain = [*rain_mm, *[NAN] * (len(storage_mm) - len(rain_mm))]
    phase = np.zeros(len(rain), dtype=np.int64)
    series = (np.array(storage_mm), np.array(rain), *np.full((2, len(rain)), NAN))
    state, _ = irrigation.remember(irrigation.start(1), phase, *series)
    return state


def loss(storage_mm, rain_mm=(), full_mm=300.0):
    return irrigation.loss_mm_d(remembered(storage_mm, rain_mm), 0, full_mm)


def test_field_capacity_and_wilting_point_of_a_loam_by_hand():
    theta_r, theta_s, alpha, n, ks = LOAM
    # 0.078 + 0.352 * 1.56^(-0.6 (2 + 1.39724)) = 0.078 + 0.352 * 0.403967
    assert field_capacity(theta_r, theta_s, n, ks) == pytest.approx(0.220196, abs=2e-6)
    # 0.078 + 0.352 * (1 + 540^1.56)^(-0.358974) = 0.078 + 0.352 * 0.029502
    assert wilting_point(theta_r, theta_s, alpha, n) == pytest.approx(0.088385, abs=2e-6)


@pytest.mark.parametrize("name", CARSEL_PARRISH)
def test_a_soil_at_field_capacity_drains_a_tenth_of_a_millimetre_a_day(name):
    """The fit's own target: Mualem's K = 0.01 cm/d, which it meets within 0.025 m3/m3."""
    theta_r, theta_s, _, n, ks = CARSEL_PARRISH[name]
    m = 1.0 - 1.0 / n
    s = np.linspace(1e-6, 1.0, 400_001)
    k = ks * np.sqrt(s) * (1.0 - (1.0 - s ** (1.0 / m)) ** m) ** 2
    drained = theta_r + (theta_s - theta_r) * s[np.searchsorted(k, 0.01)]
    assert field_capacity(theta_r, theta_s, n, ks) == pytest.approx(drained, abs=0.025)


def test_available_water_and_threshold_are_those_of_fao_56():
    """Loamy sand of 0.15 and 0.06, onions: TAW = 300 * 0.09 = 27 mm, RAW = 0.3 TAW = 8.1 mm."""
    soil = SoilWater(0.15, 0.06, DEPLETION["onion"])
    assert soil.capacity_mm == pytest.approx(27.0)
    assert (0.15 - soil.theta_threshold) * 300.0 == pytest.approx(8.1)
    assert soil.available_mm(0.10) == pytest.approx(12.0)
    assert soil.depletion(0.10) == pytest.approx(15.0 / 27.0)


@pytest.mark.parametrize(("theta", "left", "used"), [(0.05, 0.0, 1.0), (0.40, 60.0, 0.0)])
def test_what_drains_and_what_is_held_too_fast_does_not_count(theta, left, used):
    assert SOIL.available_mm(theta) == pytest.approx(left)
    assert SOIL.depletion(theta) == pytest.approx(used)
    assert math.isnan(SOIL.depletion(NAN))


def test_the_interval_is_that_of_theta():
    told = dataclasses.replace(GOOD, theta=0.25, theta_sigma=0.02)
    left, used = irrigation.available_mm(SOIL, told), irrigation.depletion(SOIL, told)
    assert left.value == pytest.approx(45.0)
    assert (left.p05, left.p95) == pytest.approx((35.1306, 54.8694))  # -+ 300 * 1.6449 * 0.02
    assert (used.value, used.p05, used.p95) == pytest.approx((0.25, 0.08551, 0.41449))


@pytest.mark.parametrize("n", SEN_RANK)
def test_the_ranks_of_the_rate_are_those_of_kendalls_distribution(n):
    """P(slope of that rank or beyond) <= 5 % on either side, and the next rank would pass it."""
    ways = np.array([1.0])
    for k in range(1, n):
        ways = np.convolve(ways, np.ones(k + 1))  # inversions among n values in random order
    tail = np.cumsum(ways) / ways.sum()  # P(at most so many slopes are below the true one)
    rank = SEN_RANK[n]
    assert tail[rank - 1] <= 0.05 < tail[rank]


def test_the_rate_is_the_slope_of_dry_days():
    rate = loss([80.0 - 1.5 * day for day in range(8)])
    assert (rate.value, rate.p05, rate.p95) == pytest.approx((1.5, 1.5, 1.5))


def test_one_odd_day_hardly_moves_the_rate():
    assert loss([80, 78, 76, 70, 72, 70, 68, 66]).value == pytest.approx(2.0)


def test_days_before_rain_or_a_rise_do_not_count():
    wet = [60.0, 60.0, 75.0, 74.0, 73.0, 72.0, 71.0, 70.0]
    assert loss(wet).value == pytest.approx(1.0)  # a rise shows itself
    slow = [70.0, 71.0, 72.0, 71.0, 70.0, 69.0, 68.0, 67.0]
    assert loss(slow, [0.0, 8.0, 5.0]).value == pytest.approx(1.0)  # the gauge shows it
    assert loss(slow, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0]) is None  # it rains now


@pytest.mark.parametrize(("rain_mm", "is_dry"), [(0.99, True), (1.0, False)])
def test_a_millimetre_of_rain_ends_the_dry_days_and_less_evaporates(rain_mm, is_dry):
    drying = [80.0 - day for day in range(8)]
    assert (loss(drying, [rain_mm] * 8) is not None) == is_dry


@pytest.mark.parametrize(
    "storage",
    [
        [70.0, 69.0, 68.0, 67.0],  # too few days
        [70.0, 70.2, 70.4, 70.6, 70.8, 71.0],  # wetting
        [70.0, 69.0, 68.0, 67.0, 66.0, 65.0, NAN],  # today is not known
    ],
)
def test_no_rate_is_told_where_there_is_none(storage):
    assert loss(storage) is None


def test_what_drains_is_no_measure_of_what_plants_take():
    drying = [100.0, 95.0, 91.0, 88.0, 87.0, 86.0, 85.0, 84.0]
    assert loss(drying, full_mm=90.0).value == pytest.approx(1.0)
    assert loss(drying, full_mm=80.0) is None


def test_a_day_that_is_not_known_is_passed_over():
    assert loss([80.0, 78.0, NAN, 74.0, 72.0, 70.0]).value == pytest.approx(2.0)
    unsure = dataclasses.replace(GOOD, storage_mm=30.0, quality=Quality.WARM_UP)
    sure = dataclasses.replace(unsure, quality=Quality.GOOD)
    storage_mm, _ = irrigation.sure_water([sure, unsure])
    np.testing.assert_array_equal(storage_mm, [30.0, NAN])


def test_days_until_the_threshold_by_hand():
    days = irrigation.days_left(Range(20.0, 15.0, 25.0), Range(2.0, 1.6, 2.5))
    # 20 / 2; theta moves it by 2.5, the rate by -2 and +2.5; squares add
    assert days.value == pytest.approx(10.0)
    assert days.p05 == pytest.approx(10.0 - math.hypot(2.5, 2.0))
    assert days.p95 == pytest.approx(10.0 + math.hypot(2.5, 2.5))


def test_beyond_the_threshold_it_is_time_now():
    days = irrigation.days_left(Range(-2.0, -8.0, 4.0), Range(2.0, 1.5, 2.5))
    assert (days.value, days.p05) == (0.0, 0.0) and days.p95 == pytest.approx(2.0)


def test_no_day_is_told_beyond_the_horizon():
    assert math.isnan(irrigation.days_left(Range(50.0, 40.0, 60.0), Range(0.5, 0.4, 0.6)).value)
    unsure = irrigation.days_left(Range(20.0, 15.0, 25.0), Range(1.0, -0.2, 2.0))
    assert (unsure.value, unsure.p95) == (20.0, 60.0)
    assert math.isnan(irrigation.days_left(irrigation.NOTHING, Range(1.0, 0.5, 2.0)).value)


def test_the_last_day_of_the_horizon_is_still_told_and_a_slow_rate_bounds_it():
    assert irrigation.days_left(Range(60.0, 60.0, 60.0), Range(1.0, 1.0, 1.0)).value == 60.0
    slow = irrigation.days_left(Range(5.0, 5.0, 5.0), Range(0.5, 0.25, 0.75))
    assert (slow.value, slow.p95) == pytest.approx((10.0, 20.0))


def test_an_estimate_is_described_with_the_water_that_plants_can_take():
    state = remembered([80.0 - 1.5 * day for day in range(8)])
    told = irrigation.describe(SOIL, state, 0, dataclasses.replace(GOOD, theta=0.25))
    assert told.available_mm == pytest.approx(45.0) and told.depletion == pytest.approx(0.25)
    assert told.rate_mm_d == pytest.approx(1.5) and told.days_to_threshold == pytest.approx(10.0)


@pytest.fixture(scope="module")
def engine():
    bundle = dataclasses.replace(open_bundle(BUNDLE), spin_up_steps=3)
    step = runtime.load(bundle)
    return Engine(simulator.SITE, bundle, step, soil_water=SoilWater(0.35, 0.05, 0.8))


@pytest.fixture(scope="module")
def outcomes(engine):
    state, out = engines.start(engine), []
    for record in simulator.records(24.0, 5, SUMMER_S):
        state, outcome = engines.advance(engine, state, record)
        out.append((state, outcome))
    return out


def test_a_station_that_is_cut_off_goes_on_with_the_same_days(tmp_path, engine, outcomes):
    cut = 14 * 24 + 7
    print_, journal = engine.fingerprint(), Journal(tmp_path)
    for seq, (state, outcome) in enumerate(outcomes[:cut], 1):
        journal.commit(seq, outcome.record, state, print_, ())
    journal.close()
    again = Journal(tmp_path)
    state = again.load_state(print_, engines.start(engine))
    rebuilt = engines.rebuild(engine, again.records())
    told = 0
    for _, expected in outcomes[cut:]:
        state, outcome = engines.advance(engine, state, expected.record)
        rebuilt, from_raw = engines.advance(engine, rebuilt, expected.record)
        row = estimate_row(1, expected, "m")
        assert estimate_row(1, outcome, "m") == row == estimate_row(1, from_raw, "m")
        told += math.isfinite(outcome.estimate.days_to_threshold)
    assert told > 24  # it is more than NaN that is equal
    again.close()


def test_what_is_told_meets_the_contract(engine, outcomes):
    kinds, contract = set(), validator("obs-theta")
    for seq, (_, out) in enumerate(outcomes[::12], 1):
        told = observation.obs_theta(
            *(ME, seq, out.record, out.corrected, out.estimate, engine.bundle),
            soil_water=engine.soil_water,
        )
        contract.validate(told)
        kinds.add(told["water"]["days_to_threshold"] is None)
        if told["theta"]["value"] is not None:
            used = told["water"]["depletion"]["value"]
            assert used == pytest.approx(out.estimate.depletion, abs=1e-4)
            assert told["water"]["available_mm"]["value"] == pytest.approx(
                90 * (1 - used), abs=0.02
            )
    assert kinds == {True, False}


def test_nothing_is_guessed_of_a_soil_that_is_not_described(engine, outcomes):
    bare = dataclasses.replace(engine, soil_water=None)
    state, out = outcomes[-2][0], outcomes[-1][1]
    _, outcome = engines.advance(bare, state, out.record)
    assert math.isfinite(outcome.estimate.theta) and math.isnan(outcome.estimate.depletion)
    told = observation.obs_theta(ME, 1, out.record, out.corrected, outcome.estimate, engine.bundle)
    assert told["water"] is None
    validator("obs-theta").validate(told)


def test_without_theta_only_the_constants_are_told(engine):
    record = next(simulator.records(1.0, 1, START_S))
    told = observation.obs_theta(
        ME, 1, record, corrected(NAN), NONE, engine.bundle, soil_water=engine.soil_water
    )
    validator("obs-theta").validate(told)
    nothing = {"value": None, "p05": None, "p95": None}
    assert told["water"] == {
        "available_mm": nothing, "depletion": nothing, "capacity_mm": 90.0, "threshold": 0.8,
        "rate_mm_d": None, "days_to_threshold": None,
    }  # fmt: skip


SOIL_TABLE = (
    '[site.soil]\nknown = "texture"\ntheta_r = 0.078\ntheta_s = 0.43\nalpha_per_cm = 0.036\n'
    "n = 1.56\nks_cm_d = 24.96\n"
)


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ("", None),
        ('[site.water]\ncrop = "maize"\n', None),
        (SOIL_TABLE, (0.2202, 0.0884, 0.5)),
        (SOIL_TABLE + '[site.water]\ncrop = "potato"\n', (0.2202, 0.0884, 0.35)),
        (SOIL_TABLE + "[site.water]\nfield_capacity = 0.3\nwilting_point = 0.1\nthreshold = 0.4\n",
         (0.3, 0.1, 0.4)),
        ("[site.water]\nfield_capacity = 0.3\nwilting_point = 0.1\n", (0.3, 0.1, 0.5)),
    ],
)  # fmt: skip
def test_the_owner_comes_before_the_soil_and_the_soil_before_silence(tmp_path, tables, expected):
    config = read_config(station_toml(tmp_path, site=SITE + tables))
    found = config.soil_water
    assert (found and dataclasses.astuple(found)) == (
        expected and pytest.approx(expected, abs=1e-4)
    )
    meta = json.loads(station.meta(config, ME, open_bundle(BUNDLE)))
    validator("meta").validate(meta)
    assert (meta["water"] is None) == (expected is None)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("field_capacity = 0.3", "site.water.wilting_point: missing; give both or none"),
        ("field_capacity = 0.1\nwilting_point = 0.3", "0.1 is not 0.01 above wilting_point = 0.3"),
        ("field_capacity = 0.5\nwilting_point = 0.3", "is above site.soil.theta_s = 0.43"),
        ('crop = "bananas"', "'bananas' is none of alfalfa"),
        ("threshold = 50", "50 is not within 0.05 to 0.95"),
    ],
)
def test_water_that_cannot_be_is_told_with_its_key(tmp_path, table, fault):
    text = f"{SITE}{SOIL_TABLE}[site.water]\n{table}\n"
    with pytest.raises(ConfigError) as found:
        read_config(station_toml(tmp_path, site=text))
    assert fault in str(found.value)
