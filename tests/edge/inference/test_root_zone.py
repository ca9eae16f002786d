"""The advice over the crop's own root zone: by hand from FAO-56, and silent where it must be."""

import dataclasses
import json
import math

import numpy as np
import pytest
from tests.edge.messages.test_observation import GOOD, ME, corrected
from tests.support.rig import BUNDLE, START_S, station_toml, validator
from tests.support.sites import SITE

from epithermal_edge.cli import simulator
from epithermal_edge.config.station_toml import read_config
from epithermal_edge.errors import ConfigError
from epithermal_edge.inference import engine as engines
from epithermal_edge.inference import irrigation, root_zone, runtime
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.inference.engine import Engine
from epithermal_edge.journal.journal import Journal
from epithermal_edge.journal.rows import estimate_row
from epithermal_edge.messages import observation, station
from epithermal_edge.physics.plant_water import RootZone, SoilWater, adjusted_threshold
from epithermal_edge.physics.texture import texture_water
from epithermal_edge.records import NAN, Quality

SOIL = SoilWater(0.30, 0.10, 0.5)
YEAR = 366
DEEP = RootZone(SOIL, (90.0,) * YEAR, (1.2,) * YEAR)
SUMMER_S = START_S + 180 * 86400.0


def estimate(top, below, sigma=0.01, quality=Quality.GOOD):
    """An estimate whose 0-30 cm are uniform."""
    return dataclasses.replace(
        GOOD, theta=top, theta_0_10=top, theta_10_30=top, theta_30_60=below, theta_sigma=sigma,
        storage_mm=300.0 * top, quality=quality,
    )  # fmt: skip


def remembered(top, below, et0_mm, rain_mm=0.0):
    """One phase that has seen these days, the oldest first."""
    phase = np.zeros(len(top), dtype=np.int64)
    series = (300.0 * np.array(top), np.full(len(top), rain_mm), np.array(below), np.array(et0_mm))
    return irrigation.remember(irrigation.start(1), phase, *series)[0]


@pytest.mark.parametrize(
    ("etc_mm_d", "p"), [(5.0, 0.55), (3.0, 0.63), (8.0, 0.43), (-9.0, 0.8), (17.0, 0.1)]
)
def test_the_threshold_follows_evapotranspiration_within_its_limits(etc_mm_d, p):
    """FAO-56, chapter 8: p = p of the table + 0.04 (5 - ETc), 0.1 <= p <= 0.8."""
    assert adjusted_threshold(0.55, etc_mm_d) == pytest.approx(p)


def test_an_unknown_evapotranspiration_leaves_the_threshold_of_the_table():
    assert adjusted_threshold(0.55, NAN) == 0.55


@pytest.mark.parametrize(
    ("depth_cm", "theta", "ratio"),
    [
        (10.0, 0.10, 1.0),
        (20.0, 0.15, 1.0),
        (60.0, 0.25, (30 + 30 * 2.6) / 60),
        # 60 cm at 2.6, of which the lower 30 have 0.02 more with each cm: 0.3 more on the mean
        (90.0, 0.80 / 3, (30 + 60 * 2.6 + 30 * 0.3) / 90),
    ],
)
def test_the_mean_of_the_root_zone_and_its_error_by_hand(depth_cm, theta, ratio):
    layered = dataclasses.replace(
        GOOD, theta=0.20, theta_0_10=0.10, theta_10_30=0.20, theta_30_60=0.30, theta_sigma=0.01
    )
    found, sigma = root_zone.mean_water(layered, depth_cm)
    assert (found, sigma) == pytest.approx((theta, 0.01 * ratio))


def test_the_error_grows_with_depth():
    sigmas = [root_zone.mean_water(estimate(0.2, 0.2), d)[1] for d in (30, 45, 60, 90, 150)]
    assert sigmas == sorted(sigmas) and sigmas[0] == 0.01


def test_a_wet_subsoil_ends_the_false_alarm_of_a_dry_top():
    """0-30 cm are at the wilting point, 30-90 cm at 0.26: 0-90 cm have used 46 %."""
    state = remembered([0.10] * 8, [0.26] * 8, [5.0 / 1.2] * 8)
    dry_top = estimate(0.10, 0.26)
    shallow = root_zone.describe(RootZone(SOIL), state, 0, dry_top)
    deep = root_zone.describe(DEEP, state, 0, dry_top)
    assert shallow.irrigate == 1.0 and shallow.root_depletion == pytest.approx(1.0)
    assert deep.irrigate == 0.0
    assert deep.root_depletion == pytest.approx(1.0 - (0.62 / 3 - 0.10) / 0.20)
    assert deep.etc_mm_d == pytest.approx(5.0) and deep.root_threshold == pytest.approx(0.5)
    assert (deep.available_mm, deep.depletion) == (shallow.available_mm, shallow.depletion)


def test_the_rate_and_the_days_are_those_of_the_whole_root_zone():
    """0-30 cm lose 0.6 mm a day, 30-90 cm 1.2 mm: 1.8 mm; margin 900 (0.226 - 0.20)."""
    top, below = ([x - 0.002 * day for day in range(8)] for x in (0.24, 0.24))
    state = remembered(top, below, [NAN] * 8)
    found = root_zone.describe(DEEP, state, 0, estimate(top[-1], below[-1]))
    assert found.root_rate_mm_d == pytest.approx(1.8) and found.rate_mm_d == pytest.approx(0.6)
    assert found.root_days_to_threshold == pytest.approx(900 * 0.026 / 1.8)
    assert math.isnan(found.etc_mm_d) and found.root_threshold == 0.5
    advice = root_zone.advise(DEEP, found)
    assert advice.text == (
        "Do not irrigate: the root zone 0-90 cm has used 37 % of its water, limit 50 %,"
        " in about 13 days."
    )


def test_the_sentence_says_to_irrigate():
    state = remembered([0.16] * 8, [0.18] * 8, [NAN] * 8)
    zone = RootZone(SOIL, (60.0,) * YEAR)
    advice = root_zone.advise(zone, root_zone.describe(zone, state, 0, estimate(0.16, 0.18)))
    assert advice == root_zone.Advice(
        True, "Irrigate: the root zone 0-60 cm has used 65 % of its water, limit 50 %."
    )


@pytest.mark.parametrize(("confidence", "irrigate"), [(0.05, 1.0), (0.5, 1.0), (0.9, 0.0)])
def test_the_wanted_confidence_decides_near_the_threshold(confidence, irrigate):
    """0.005 m3/m3 below the threshold with an error of 0.01: passed with probability 0.69."""
    zone = RootZone(SOIL, confidence=confidence, adjusts=False)
    state = remembered([0.195] * 8, [0.195] * 8, [9.0] * 8)
    found = root_zone.describe(zone, state, 0, estimate(0.195, 0.195))
    assert found.irrigate == irrigate and found.root_threshold == 0.5


@pytest.mark.parametrize(("flag", "reason"), irrigation.DOUBTS)
def test_a_doubtful_estimate_gives_no_advice_and_says_why(flag, reason):
    state = remembered([0.1] * 8, [0.1] * 8, [NAN] * 8)
    found = root_zone.describe(DEEP, state, 0, estimate(0.1, 0.1, quality=flag))
    assert math.isnan(found.irrigate)
    assert root_zone.advise(DEEP, found) == root_zone.Advice(None, f"No advice: {reason}.")


def test_a_soil_that_is_not_described_gives_no_advice():
    assert root_zone.advise(None, GOOD) == root_zone.UNDESCRIBED
    assert root_zone.UNDESCRIBED.irrigate is None


@pytest.mark.parametrize(
    ("window_end_s", "day"),
    [(1_735_689_600.0, 365), (1_735_776_000.0, 0), (1_740_787_200.0, 58), (1_740_873_600.0, 60)],
)
def test_the_day_of_a_leap_year_is_that_of_the_window(window_end_s, day):
    """Windows to 2025-01-01, 01-02, 03-01 and 03-02, 0 h; 02-29 is day 59, counted from 0."""
    assert root_zone.day_of_year(window_end_s) == day


@pytest.fixture(scope="module")
def engine():
    bundle = dataclasses.replace(open_bundle(BUNDLE), spin_up_steps=3)
    zone = RootZone(SoilWater(0.35, 0.05, 0.8), (75.0,) * YEAR)
    return Engine(
        simulator.SITE, bundle, runtime.load(bundle), soil_water=zone.soil, root_zone=zone
    )


@pytest.fixture(scope="module")
def outcomes(engine):
    state, out = engines.start(engine), []
    for record in simulator.records(24.0, 5, SUMMER_S):
        state, outcome = engines.advance(engine, state, record)
        out.append((state, outcome))
    return out


def test_a_station_that_is_cut_off_advises_as_before(tmp_path, engine, outcomes):
    cut = 14 * 24 + 7
    print_, journal = engine.fingerprint(), Journal(tmp_path)
    for seq, (state, outcome) in enumerate(outcomes[:cut], 1):
        journal.commit(seq, outcome.record, state, print_, ())
    journal.close()
    again = Journal(tmp_path)
    state = again.load_state(print_, engines.start(engine))
    advised = 0
    for _, expected in outcomes[cut:]:
        state, outcome = engines.advance(engine, state, expected.record)
        assert estimate_row(1, outcome, "m") == estimate_row(1, expected, "m")
        advised += math.isfinite(outcome.estimate.root_rate_mm_d)
    assert advised > 24  # it is more than NaN that is equal
    again.close()


def test_the_figures_of_0_30_cm_do_not_depend_on_the_root_zone(engine, outcomes):
    bare = dataclasses.replace(engine, root_zone=None)
    state = engines.start(bare)
    for _, expected in outcomes:
        state, outcome = engines.advance(bare, state, expected.record)
        own, with_roots = (
            dataclasses.asdict(outcome.estimate),
            dataclasses.asdict(expected.estimate),
        )
        for name in own.keys() - set(root_zone.FIELDS):
            assert own[name] == with_roots[name] or math.isnan(own[name])


def test_the_payload_of_the_root_zone_meets_the_contract(engine, outcomes):
    answers, contract = set(), validator("obs-theta")
    for seq, (_, out) in enumerate(outcomes[::12], 1):
        payload = observation.obs_theta(
            *(ME, seq, out.record, out.corrected, out.estimate, engine.bundle),
            soil_water=engine.soil_water,
            root=engine.root_zone,
        )
        contract.validate(payload)
        answers.add(payload["irrigate"])
        assert payload["advice"].endswith(".")
        if payload["irrigate"] is not None:
            assert payload["root_zone"]["depth_cm"] == 75.0
            interval = payload["root_zone"]["depletion"]
            assert interval["p05"] <= interval["value"] <= interval["p95"]
    assert None in answers and len(answers) > 1


def test_without_soil_the_payload_says_so():
    record = next(simulator.records(1.0, 1, START_S))
    payload = observation.obs_theta(ME, 1, record, corrected(NAN), GOOD, open_bundle(BUNDLE))
    validator("obs-theta").validate(payload)
    assert payload["root_zone"] is None and payload["irrigate"] is None
    assert payload["advice"] == "No advice: the soil is not described."


COVER = (
    '[site.cover]\ncanopy_cover = { "07-01" = 0.9 }\nroot_depth_cm = 80\nevaporation_share = 0.8\n'
)
WATER = "[site.water]\nfield_capacity = 0.3\nwilting_point = 0.1\n"


@pytest.mark.parametrize(
    ("tables", "july_cm", "source"),
    [
        (WATER, 30.0, "given"),
        (WATER + COVER, 80.0, "given"),
        (WATER + "root_depth_cm = 60\n" + COVER, 60.0, "given"),
        (WATER + 'root_depth_cm = { "06-01" = 20, "07-01" = 50, "08-01" = 90 }\n', 50.0, "given"),
        ('[site.water]\ntexture = "loam"\n', 30.0, "texture"),
        ("[site.water]\nsand_pct = 40\nclay_pct = 20\n", 30.0, "texture"),
    ],
)
def test_the_depth_and_the_source_come_from_the_tables(tmp_path, tables, july_cm, source):
    config = read_config(station_toml(tmp_path, site=SITE + tables))
    zone = config.root_zone
    assert zone.depth_cm[182] == pytest.approx(july_cm) and zone.source == source
    meta = json.loads(station.meta(config, ME, open_bundle(BUNDLE)))
    validator("meta").validate(meta)
    assert meta["water"]["source"] == source
    if source == "texture":
        limits = (zone.soil.field_capacity, zone.soil.wilting_point)
        assert limits == texture_water("loam") == pytest.approx((0.2202, 0.0884), abs=1e-4)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("sand_pct = 40", "site.water.clay_pct: missing; give both or none"),
        ("sand_pct = 70\nclay_pct = 40", "sand and clay are 110 %, more than 100"),
        ('texture = "clay"\nsand_pct = 40\nclay_pct = 20', "are those of loam"),
        ('root_depth_cm = { "13-01" = 20 }', '"13-01" is not a day'),
        ('root_depth_cm = { "07-01" = 5 }', '"07-01" = 5 is not within 10 to 200'),
        ('crop_coefficient = "much"', "'much' is not a number"),
        ("confidence = 0.99", "0.99 is not within 0.05 to 0.95"),
    ],
)
def test_faults_of_the_root_zone_are_reported(tmp_path, table, fault):
    with pytest.raises(ConfigError) as caught:
        read_config(station_toml(tmp_path, site=f"{SITE}[site.water]\n{table}\n"))
    assert any(fault in line for line in caught.value.faults)
