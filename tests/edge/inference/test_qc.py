"""Quality control: what is doubted, what is not, and that nothing else changes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest

from epithermal_edge.config.quality_table import derive_limits
from epithermal_edge.inference import pipeline, qc
from epithermal_edge.inference.block import block_of
from epithermal_edge.inference.qc_limits import DEFAULT
from epithermal_edge.physics.cosmic import cosmic_rate
from epithermal_edge.records import NAN, Quality, RawRecord
from epithermal_edge.site import Site
from epithermal_edge.times import HOUR_S

SITE = Site(cosmic_n_cph=2000.0, bulk_density_g_cm3=1.4)
START_S = 1_767_225_600.0
RATE = float(cosmic_rate(np.array([0.2]), SITE)[0])


def soil(hours, seed=1, interval_s=HOUR_S, **fields):
    """Records of a steady soil with Poisson noise in changing weather; a field may be f(i)."""
    rng = np.random.default_rng(seed)
    for i in range(round(hours * HOUR_S / interval_s)):
        pressure = 1000.0 + 15.0 * math.sin(i * interval_s / 2e5) + 0.1 * (i % 7)
        factor = math.exp(SITE.beta_per_hpa * (pressure - 1013.25))
        values = {
            "counts": float(rng.poisson(RATE / factor * interval_s / HOUR_S)),
            "pressure_hpa": pressure,
            "temperature_c": 10.0 + 8.0 * math.sin(i * interval_s / 13750.0),
            "relative_humidity_pct": 0.5 + 0.1 * (i % 7),
        }
        values |= {k: v(i, values) if callable(v) else v for k, v in fields.items()}
        values = {"duration_s": interval_s, **values}
        yield RawRecord(end_s=START_S + (i + 1) * interval_s, **values)


def flags_of(records, limits=DEFAULT, site=SITE):
    """Flags of quality control alone, one a record."""
    _, _, flags, _ = passed(records, limits, site)
    return [Quality(int(f[0])) for f in flags]


def passed(records, limits=DEFAULT, site=SITE, n=1):
    """States, flags of each record and windows of records that pass one by one."""
    state, piped, found, closed = qc.start(n), pipeline.start(n), [], []
    for record in records:
        possible, doubts = qc.drop_impossible(limits, block_of([record], n))
        correction = pipeline.correct(site, piped, possible)
        corrected, late = correction.corrected, correction.late
        state, flags = qc.check(limits, site, state, possible, corrected, late)
        flags |= doubts
        piped, _, made = pipeline.add_records(site, piped, possible, correction, flags)
        found.append(flags[0])
        closed += made.each()
    return state, piped, found, closed


def flagged(records, flag, limits=DEFAULT):
    return [i for i, flags in enumerate(flags_of(records, limits)) if flags & flag]


def at(hour, change):
    """The usual value, changed at one hour."""
    return lambda i, values: change(values) if i == hour else values["counts"]


@pytest.mark.parametrize("interval_s", [60.0, 900.0, 3600.0])
def test_a_sound_station_has_no_flags(interval_s):
    records = soil(24 * {60.0: 0.5, 900.0: 4, 3600.0: 14}[interval_s], interval_s=interval_s)
    assert set(flags_of(records)) == {Quality.GOOD}


def test_a_spike_is_flagged_and_not_what_comes_after_it_but_the_day_is_doubtful():
    records = list(soil(72, counts=at(30, lambda v: 1.6 * v["counts"] // 1)))
    found = flags_of(records)
    assert flagged(records, Quality.COUNT_SPIKE) == [30]
    assert [i for i, f in enumerate(found) if f & Quality.DOUBTFUL] == list(range(31, 55))


@pytest.mark.parametrize("rate", [100.0, 1000.0, 20_000.0])
@pytest.mark.parametrize("change", [0.75, 1.2])
def test_a_wetting_within_two_hours_and_a_drying_are_no_spike(rate, change):
    """Desilets et al. (2010): 30 mm on dry ground take about a quarter of the counts."""
    rng = np.random.default_rng(3)
    site = replace(SITE, cosmic_n_cph=rate)
    dry = float(cosmic_rate(np.array([0.12]), site)[0])

    def counts(i, values):
        share = min(max((i - 30) / 2.0, 0.0), 1.0)
        factor = math.exp(SITE.beta_per_hpa * (values["pressure_hpa"] - 1013.25))
        return float(rng.poisson(dry / factor * (1.0 + (change - 1.0) * share)))

    found = flags_of(soil(60, counts=counts), site=site)
    assert not any(f & (Quality.COUNT_SPIKE | Quality.COUNT_RANGE) for f in found)


def test_a_new_level_is_followed_within_hours():
    records = soil(72, counts=lambda i, v: v["counts"] * (1.45 if i >= 30 else 1.0) // 1)
    found = flagged(records, Quality.COUNT_SPIKE)
    assert found[0] == 30 and found[-1] < 42


def test_a_count_that_no_soil_gives_is_not_used():
    records = list(soil(48, counts=at(20, lambda v: 5.0 * v["counts"])))
    assert flagged(records, Quality.COUNT_RANGE) == [20]
    features, clean = ([w.features for w in windows(r)] for r in (records, nothing_at(records, 20)))
    np.testing.assert_array_equal(features, clean)


def windows(records, limits=DEFAULT):
    return passed(records, limits)[3]


def nothing_at(records, hour):
    return [replace(r, counts=NAN) if i == hour else r for i, r in enumerate(records)]


def test_flags_that_do_not_keep_a_count_out_leave_every_bit_of_the_features():
    records = list(
        soil(
            96,
            counts=at(40, lambda v: 1.5 * v["counts"] // 1),
            pressure_hpa=lambda i, v: 1000.0 if i > 50 else v["pressure_hpa"] + 12.0 * (i == 20),
            battery_v=10.0,
            housing_humidity_pct=95.0,
        )
    )
    seen = set().union(*(set(f) for f in flags_of(records)))
    assert {Quality.COUNT_SPIKE, Quality.PRESSURE_JUMP, Quality.PRESSURE_STUCK} <= seen
    piped = pipeline.start()
    plain = []
    for record in records:
        piped, _, made = pipeline.step(SITE, piped, record)
        plain += made
    for a, b in zip(windows(records), plain, strict=True):
        assert a.features.tobytes() == b.features.tobytes()


def test_the_same_count_again_and_again_is_a_stuck_counter():
    stuck = flagged(soil(48, counts=lambda i, v: 1234.0 if i >= 20 else v["counts"]),
                    Quality.COUNT_STUCK)  # fmt: skip
    assert stuck[0] == 20 + 5 and stuck == list(range(25, 48))
    few = (float(np.random.default_rng(i).poisson(0.3)) for i in range(720))
    assert not flagged(soil(12, interval_s=60.0, counts=lambda i, v: next(few)),
                       Quality.COUNT_STUCK)  # fmt: skip


def test_a_row_of_zeros_of_a_small_counter_is_not_stuck():
    site = replace(SITE, cosmic_n_cph=10.0)
    records = soil(1, interval_s=60.0, counts=0.0)
    assert set(flags_of(records, site=site)) == {Quality.GOOD}


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("pressure_hpa", 800.0, Quality.PRESSURE_RANGE),
        ("temperature_c", 56.0, Quality.AIR_RANGE),
        ("relative_humidity_pct", 106.0, Quality.AIR_RANGE),
        ("rain_mm", 300.0, Quality.RAIN_RANGE),
    ],
)
def test_what_the_weather_cannot_be_is_missing_and_flagged(field, value, flag):
    limits = derive_limits({}, 70.0)
    assert limits.pressure_min_hpa == pytest.approx(914.9, abs=1.0)
    records = list(soil(30, **{field: lambda i, v: value if i == 20 else v.get(field, 0.0)}))
    assert flagged(records, flag, limits) == [20]
    block = block_of(records[19:21])
    possible, _ = qc.drop_impossible(limits, block)
    assert np.isnan(possible.fields[field][1]) and not np.isnan(possible.fields[field][0])
    assert block.fields[field][1] == value
    fine = block_of(records[19:20])
    assert qc.drop_impossible(limits, fine)[0] is fine


@pytest.mark.parametrize(
    ("field", "step", "flag"),
    [
        ("pressure_hpa", 9.0, Quality.PRESSURE_JUMP),
        ("temperature_c", 20.0, Quality.AIR_JUMP),
        ("relative_humidity_pct", 75.0, Quality.AIR_JUMP),
    ],
)
def test_a_jump_is_flagged_unless_time_went_by(field, step, flag):
    jumped = {field: lambda i, v: v[field] + step * (i >= 20)}
    assert flagged(soil(30, **jumped), flag) == [20]
    hole = [r for i, r in enumerate(soil(40, **jumped)) if not 17 <= i < 24]
    assert flagged(hole, flag) == []


def test_more_time_allows_a_larger_jump_and_after_six_hours_any():
    limits = replace(DEFAULT, temperature_jump_c=2.0)
    jumped = lambda step_c: soil(30, temperature_c=lambda i, v: step_c * (i >= 20))  # noqa: E731
    for away_h, step_c, found in ((2, 3.9, []), (2, 4.1, [20]), (6, 12.1, [20]), (7, 50.0, [])):
        hole = [r for i, r in enumerate(jumped(step_c)) if not 21 - away_h <= i < 20]
        at_jump = [i + away_h - 1 for i in flagged(hole, Quality.AIR_JUMP, limits)]
        assert at_jump == found, (away_h, step_c)


def test_a_spike_is_beyond_six_sigma_of_the_count_and_the_mean():
    """Anscombe's transform; the mean of 3.6 h adds the share 1 / 3.6 of the count's variance."""
    mean_cph, live_s, sigma = 1000.0, 3.6 * HOUR_S, DEFAULT.spike_sigma
    state = replace(
        qc.start(),
        last_end_s=START_S,
        mean_cph=np.array([mean_cph]),
        mean_live_s=np.array([live_s * math.exp(HOUR_S / qc.MEAN_S)]),
    )

    def is_spike(counts):
        record = RawRecord(START_S + HOUR_S, HOUR_S, counts, SITE.pressure_ref_hpa, 10.0, 0.0)
        records = block_of([record])
        correction = pipeline.correct(SITE, pipeline.start(), records)
        assert correction.corrected.values["n_corr_cph"][0] == pytest.approx(counts)
        late = correction.late
        _, flags = qc.check(DEFAULT, SITE, state, records, correction.corrected, late)
        return bool(flags[0, 0] & Quality.COUNT_SPIKE)

    root = 2.0 * math.sqrt(1.2 * mean_cph + 0.375) + sigma * math.sqrt(1.0 + 1.0 / 3.6)
    limit = (root / 2.0) ** 2 - 0.375
    assert not is_spike(math.floor(limit)) and is_spike(math.ceil(limit))


def test_flags_of_one_record_have_a_value_for_each_site():
    record = next(soil(1))
    _, one = qc.drop_impossible(DEFAULT, block_of([record]))
    several = replace(record, counts=np.array([900.0, 1000.0, 1100.0]))
    _, three = qc.drop_impossible(DEFAULT, block_of([several], 3))
    assert one.shape == (1, 1) and three.shape == (1, 3)


@pytest.mark.parametrize(
    ("field", "value", "flag", "after_h"),
    [
        ("pressure_hpa", 1001.0, Quality.PRESSURE_STUCK, 24),
        ("temperature_c", 4.0, Quality.AIR_STUCK, 24),
        ("relative_humidity_pct", 55.0, Quality.AIR_STUCK, 24),
        ("relative_humidity_pct", 98.9, Quality.AIR_STUCK, 24),
        ("relative_humidity_pct", 99.0, Quality.GOOD, 0),
        ("relative_humidity_pct", 100.0, Quality.GOOD, 0),
        ("incoming", 150.0, Quality.INCOMING_STUCK, 30),
    ],
)
def test_a_sensor_that_stands_still_is_flagged_unless_the_air_is_saturated(
    field, value, flag, after_h
):
    fields = {"relative_humidity_pct": lambda i, v: 40.0 + i % 5, field: value}
    found = [i for i, f in enumerate(flags_of(soil(60, **fields))) if f & ~Quality.DOUBTFUL]
    assert found == (list(range(after_h + 1, 60)) if flag else [])


def test_a_dead_tube_is_told_by_its_share_and_rain_is_not():
    rng = np.random.default_rng(5)
    weather = lambda i: 0.75 if i >= 200 else 1.0  # noqa: E731

    def tubes(dies):
        for i, record in enumerate(soil(24 * 20)):
            first, second = rng.poisson(900 * weather(i)), rng.poisson(1100 * weather(i))
            if dies and i >= 300:
                second = 0
            yield replace(record, counts=float(first + second), first_tube_counts=float(first))

    assert not flagged(tubes(dies=False), Quality.TUBE_RATIO)
    found = flagged(tubes(dies=True), Quality.TUBE_RATIO)
    assert 300 <= found[0] <= 312 and len(found) > 100


def test_a_short_interval_battery_and_desiccant_are_told():
    fields = {
        "duration_s": lambda i, v: 44.0 if i == 20 else HOUR_S,
        "counts": at(20, lambda v: v["counts"] * 44 // 3600),
        "battery_v": lambda i, v: 11.4 if i == 5 else 12.8,
        "housing_humidity_pct": lambda i, v: 81.0 if i == 6 else 20.0,
    }
    records = soil(30, **fields)
    found = flags_of(records)
    assert [f for f in found if f] == [
        Quality.LOW_BATTERY, Quality.HOUSING_HUMID, Quality.SHORT,
    ]  # fmt: skip


def test_a_late_record_is_judged_by_itself_and_changes_nothing():
    records = list(soil(48))
    state, piped, _, _ = passed(records)
    late = replace(records[5], battery_v=9.0, pressure_hpa=records[5].pressure_hpa + 30.0)
    block = block_of([late])
    correction = pipeline.correct(SITE, piped, block)
    assert correction.late.all()
    after, flags = qc.check(DEFAULT, SITE, state, block, correction.corrected, correction.late)
    assert after is state and flags[0] == Quality.LOW_BATTERY


def test_a_site_has_the_same_flags_alone_and_among_a_thousand():
    n = 40
    columns = [list(soil(60, seed=k, counts=at(30 + k % 7, lambda v: 1.6 * v["counts"] // 1)))
               for k in range(n)]  # fmt: skip
    names = [f.name for f in dataclasses.fields(RawRecord) if f.name != "end_s"]
    together = []
    for i in range(60):
        values = {m: np.array([getattr(columns[k][i], m) for k in range(n)]) for m in names}
        together.append(RawRecord(columns[0][i].end_s, **values))
    _, _, out, _ = passed(together, n=n)
    for k in (0, 17, 39):
        assert [Quality(int(f[k])) for f in out] == flags_of(columns[k])


@pytest.mark.parametrize("channel", ["thermal_counts", "tube_2_counts"])
def test_a_bare_tube_that_is_named_and_silent_is_flagged(channel):
    limits = replace(DEFAULT, bare_tube=channel)
    channels = [{channel: 400.0}, {channel: 0.0}, {}]
    for several in ([0], [1], [2], [0, 1, 2]):
        records = [RawRecord(3600.0 * i, 3600.0, 1000.0, channels=channels[i]) for i in several]
        found = qc._health(limits, block_of(records, 2))
        wanted = [0 if i == 0 else int(Quality.BARE_SILENT) for i in several]
        assert found.T.tolist() == [wanted, wanted]
        assert not qc._health(DEFAULT, block_of(records)).any()
    few = RawRecord(0.0, 60.0, 20.0, channels={channel: 0.0})
    assert not qc._health(limits, block_of([few])).any()
