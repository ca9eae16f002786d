"""The recurrence of station and training."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from epithermal_edge.inference import features, pipeline
from epithermal_edge.inference.block import block_of
from epithermal_edge.inference.features import FEATURES, Bin
from epithermal_edge.physics.atmosphere import absolute_humidity, extraterrestrial_radiation
from epithermal_edge.physics.cosmic import cosmic_rate, cosmic_theta
from epithermal_edge.physics.response import (
    response_humidity_factor,
    response_rate,
)
from epithermal_edge.physics.response_forms import RESPONSES
from epithermal_edge.records import FACTORS, NAN, CorrectedRecord, Quality, RawRecord
from epithermal_edge.site import Muons, Site
from epithermal_edge.times import HOUR_S

SITE = Site(cosmic_n_cph=400.0, bulk_density_g_cm3=1.4, lattice_water_g_g=0.03, latitude_deg=50.0)
MIDNIGHT_S = 19_675 * 86_400.0
NAMES = [feature.name for feature in FEATURES]


def hourly(hours, theta=0.2, start_s=MIDNIGHT_S, site=SITE, **fields):
    """Records of a steady soil in standard air, one an hour; a field may be a function of i."""
    rate = float(cosmic_rate(np.array([theta]), site)[0])
    air = {
        "counts": rate,
        "pressure_hpa": 1013.25,
        "temperature_c": 15.0,
        "relative_humidity_pct": 0.0,
    }
    for i in range(hours):
        values = {k: v(i) if callable(v) else v for k, v in (air | fields).items()}
        yield RawRecord(
            end_s=start_s + HOUR_S * (i + 1), duration_s=values.pop("duration_s", 3600.0), **values
        )


def run(records, site=SITE, phases=24):
    state, windows, corrected = pipeline.start(1, phases), [], []
    for record in records:
        state, one, made = pipeline.step(site, state, record)
        corrected.append(one)
        windows.extend(made)
    return state, corrected, windows


def feature(window, name):
    return float(window.features[0, NAMES.index(name)])


def flags(value):
    return Quality(int(np.atleast_1d(value)[0]))


def test_a_steady_soil_in_standard_air_gives_its_own_water_content():
    _, _, windows = run(hourly(24))
    assert feature(windows[-1], "theta_inv") == pytest.approx(0.2, abs=1e-9)
    assert flags(windows[-1].quality) == Quality.GOOD


def test_each_full_hour_closes_one_window_and_midnight_is_phase_zero():
    _, _, windows = run(hourly(48))
    assert [w.hour % 24 for w in windows[:3]] == [1, 2, 3]
    assert len(windows) == 48
    _, _, daily = run(hourly(48), phases=1)
    assert [w.hour % 24 for w in daily] == [0, 0]


def test_a_window_with_half_a_day_of_counting_is_no_gap_and_with_less_it_is():
    _, _, windows = run(hourly(24))
    assert [feature(w, "gap") for w in windows[:12]] == [1.0] * 11 + [0.0]


def test_corrections_multiply_and_are_reported():
    record = next(hourly(1, pressure_hpa=1003.25, relative_humidity_pct=60.0))
    site = replace(
        SITE,
        incoming_form="plain",
        incoming_ref=150.0,
        biomass_kg_m2=5.0,
        biomass_slope_per_mm=0.009,
    )
    record = replace(record, incoming=140.0)
    _, one, _ = pipeline.step(site, pipeline.start(), record)
    product = np.prod([getattr(one, factor.name) for factor in FACTORS], axis=0)
    assert one.n_corr_cph == pytest.approx(one.n_raw_cph * product)
    assert one.f_p[0] < 1 < one.f_h[0] and one.f_i[0] == pytest.approx(150 / 140)
    assert one.f_v[0] == pytest.approx(1 / (1 - 0.045))


def test_a_growing_crop_is_corrected_by_date_and_a_record_s_own_biomass_has_priority():
    year = tuple(0.02 * day for day in range(366))
    site = replace(SITE, biomass_kg_m2=year, biomass_slope_per_mm=0.010)
    records = list(hourly(49))
    records[30] = replace(records[30], channels={"biomass_kg_m2": 20.0})
    _, corrected, _ = run(iter(records), site=site)
    f_v = [float(one.f_v[0]) for one in corrected]
    day = datetime.fromtimestamp(records[0].end_s, UTC).timetuple().tm_yday
    expected = [1.0 / (1.0 - 0.010 * year[day - 1 + k]) for k in (0, 1, 2)]
    assert f_v[0] == f_v[23] == expected[0] and f_v[24] == expected[1] and f_v[48] == expected[2]
    assert f_v[30] == 1.25 and f_v[31] == expected[1]


def test_the_table_of_factors_is_what_a_corrected_record_has():
    names = [factor.name for factor in FACTORS]
    values = (np.array([1000.0]), np.array([8.0]), np.array([np.nan]), np.array([0.0]))
    found = pipeline.factors(SITE, *values)
    assert list(found) == names
    assert names == [f.name for f in fields(CorrectedRecord) if f.name.startswith("f_")]


@pytest.mark.parametrize("name", [factor.name for factor in FACTORS])
def test_the_network_sees_each_factor(name):
    record, state = block_of([next(hourly(1))]), pipeline.start()
    correction = pipeline.correct(SITE, state, record)
    twice = correction.factors | {name: 2.0 * correction.factors[name]}
    one, two = (
        pipeline.add_records(SITE, state, record, c)[0].ring[-1, Bin.COUNTS]
        for c in (correction, replace(correction, factors=twice))
    )
    assert two == 2.0 * one > 0.0


def test_sigma_is_poisson_of_all_counts_in_the_window():
    _, corrected, windows = run(hourly(24))
    counts = float(corrected[0].counts[0])
    relative = 1 / math.sqrt(24 * counts)
    rate = cosmic_rate(np.array([0.2]), SITE) * np.array([1 - relative, 1 + relative])
    wet, dry = cosmic_theta(rate, SITE)
    assert feature(windows[-1], "theta_inv_sigma") == pytest.approx((wet - dry) / 2, rel=1e-2)
    assert corrected[0].n_corr_sigma_cph[0] == pytest.approx(math.sqrt(counts))


def test_a_short_record_weighs_by_its_counting_time():
    rate = float(cosmic_rate(np.array([0.2]), SITE)[0])

    def seconds(i):
        return 44.0 if i == 20 else 3600.0

    records = hourly(24, duration_s=seconds, counts=lambda i: rate * seconds(i) / 3600.0)
    _, _, windows = run(records)
    assert feature(windows[-1], "theta_inv") == pytest.approx(0.2, abs=1e-9)


def test_quarter_hours_off_the_full_hour_give_the_same_water_content():
    rate = float(cosmic_rate(np.array([0.2]), SITE)[0])
    records = [
        RawRecord(MIDNIGHT_S + 180 + 900 * i, 900.0, rate / 4, 1013.25, 15.0, 0.0)
        for i in range(1, 101)
    ]
    _, _, windows = run(records)
    assert windows[-1].hour * HOUR_S <= records[-1].end_s
    assert feature(windows[-1], "theta_inv") == pytest.approx(0.2, abs=1e-9)


def test_a_late_record_is_corrected_and_flagged_and_changes_nothing():
    records = list(hourly(5))
    state, _, _ = run(records)
    after, one, windows = pipeline.step(SITE, state, records[1])
    assert after is state and windows == ()
    assert Quality.LATE in flags(one.quality) and np.isfinite(one.n_corr_cph[0])


def test_missing_counts_hold_the_inversion_and_raise_the_gap_flag():
    dead = lambda i: NAN if i >= 24 else 1500.0  # noqa: E731
    _, corrected, windows = run(hourly(48, counts=dead))
    held, gap = windows[23 + 12], windows[47]
    assert feature(gap, "gap") == 1.0 and Quality.GAP in flags(gap.quality)
    assert feature(gap, "theta_inv") == feature(windows[23], "theta_inv")
    assert np.isnan(gap.theta_classical[0]) and feature(held, "gap") == 0.0
    assert Quality.MISSING in flags(corrected[30].quality)


def test_what_a_gap_holds_is_of_the_same_phase():
    dead = lambda i: NAN if 24 <= i < 72 else 1400.0 + i  # noqa: E731
    records = list(hourly(96, counts=dead))
    _, _, hourly_windows = run(records)
    _, _, daily_windows = run(records, phases=1)
    midnight = [w for w in hourly_windows if w.hour % 24 == 0]
    for a, b in zip(midnight, daily_windows, strict=True):
        assert a.features.tobytes() == b.features.tobytes()


def test_silence_and_records_without_counts_are_the_same_gap():
    records = list(hourly(24 * 8))
    silent = records[:48] + records[100:]
    told = [
        r if i < 48 or i >= 100 else replace(r, counts=NAN, duration_s=0.0, temperature_c=NAN)
        for i, r in enumerate(records)
    ]
    for a, b in zip(run(silent)[2], run(told)[2], strict=True):
        assert a.hour == b.hour
        np.testing.assert_array_equal(a.features, b.features)


def test_more_than_ten_days_without_a_count_restart_the_network_in_every_phase():
    records = list(hourly(24 * 16))
    _, _, windows = run(records[:24] + records[24 * 13 :])
    asked = {w.hour % 24 for w in windows if w.restart[0] and w.hour * HOUR_S > MIDNIGHT_S + 86400}
    assert asked == set(range(24))
    assert not windows[-1].restart[0]
    _, _, short = run(records[:24] + records[24 * 10 :])
    assert not any(w.restart[0] for w in short[36:])


def test_every_phase_starts_at_its_first_window_with_enough_counts():
    _, _, windows = run(hourly(72))
    starts = [w for w in windows if w.restart[0]]
    assert [feature(w, "gap") for w in starts] == [1.0] * 11 + [0.0] * 24
    assert {w.hour % 24 for w in starts[11:]} == set(range(24))
    assert feature(starts[0], "theta_inv_sigma") == features.SIGMA_MAX


def test_years_of_silence_cost_no_more_than_the_restart():
    records = list(hourly(24))
    later = [replace(r, end_s=r.end_s + 86400.0 * 3650) for r in hourly(48)]
    state, _, windows = run(records + later)
    assert len(windows) == 24 + pipeline.RESTART_H + 2 * 24 + 48
    assert state.last_end_s == later[-1].end_s and not windows[-1].restart[0]


def test_a_zero_count_that_cannot_be_is_not_used():
    _, corrected, windows = run(hourly(24, counts=lambda i: 0.0 if i == 3 else 1500.0))
    assert Quality.ZERO_COUNTS in flags(corrected[3].quality)
    _, _, clean = run(hourly(24, counts=1500.0))
    assert feature(windows[-1], "theta_inv") == pytest.approx(feature(clean[-1], "theta_inv"))


def test_a_zero_count_of_ten_seconds_is_a_measurement():
    rec = RawRecord(MIDNIGHT_S + 10, 10.0, 0.0, 1013.25, 15.0, 0.0)
    _, one, _ = pipeline.step(replace(SITE, cosmic_n_cph=100.0), pipeline.start(), rec)
    assert one.n_corr_cph[0] == 0.0 and flags(one.quality) == Quality.GOOD


def test_without_pressure_a_count_is_not_used():
    _, corrected, windows = run(hourly(24, pressure_hpa=NAN))
    assert np.isnan(corrected[0].n_corr_cph[0])
    assert Quality.PRESSURE_MISSING in flags(corrected[0].quality)
    assert feature(windows[-1], "gap") == 1.0


def test_a_dead_humidity_sensor_is_held_for_a_day_and_then_replaced_by_the_reference():
    alive = lambda i: 80.0 if i < 5 else NAN  # noqa: E731
    _, corrected, _ = run(hourly(48, relative_humidity_pct=alive))
    assert Quality.HUMIDITY_HELD in flags(corrected[20].quality)
    assert corrected[20].f_h == corrected[4].f_h
    assert Quality.HUMIDITY_MISSING in flags(corrected[40].quality)
    assert corrected[40].f_h[0] == 1.0


def test_a_record_with_all_its_values_has_no_flag():
    site = replace(SITE, incoming_form="plain", incoming_ref=150.0)
    _, corrected, _ = run(hourly(3, incoming=145.0), site)
    assert [flags(c.quality) for c in corrected] == [Quality.GOOD] * 3


def test_a_stale_monitor_is_held_flagged_and_makes_sigma_grow():
    site = replace(SITE, incoming_form="plain", incoming_ref=150.0)
    seen = lambda i: 145.0 if i < 24 else NAN  # noqa: E731
    _, corrected, windows = run(hourly(96, incoming=seen), site)
    assert corrected[90].f_i == corrected[10].f_i
    assert Quality.INCOMING_HELD in flags(corrected[90].quality)
    assert feature(windows[95], "theta_inv_sigma") > 1.5 * feature(windows[23], "theta_inv_sigma")
    _, old, _ = run(hourly(24 * 40, incoming=seen), site)
    assert Quality.INCOMING_HELD in flags(old[24 * 36].quality)
    assert Quality.INCOMING_MISSING in flags(old[-1].quality)
    assert old[-1].f_i == corrected[10].f_i  # still held: no step in theta
    _, never, _ = run(hourly(2), site)
    assert never[1].f_i[0] == 1.0 and Quality.INCOMING_MISSING in flags(never[1].quality)


@pytest.mark.parametrize(("days", "error"), [(4, 0.01), (36, 0.03), (100, 0.03)])
def test_the_error_of_a_held_monitor_grows_with_the_days_but_not_beyond_that_of_none(days, error):
    site = replace(SITE, incoming_form="plain", incoming_ref=150.0)
    first = replace(next(hourly(1)), incoming=145.0)
    state, _, _ = pipeline.step(site, pipeline.start(), first)
    later = replace(first, end_s=first.end_s + days * 86400.0, incoming=NAN)
    held = pipeline.correct(site, state, block_of([later]))
    assert held.shared_error[0, 0] == pytest.approx(error)
    n_cph = held.corrected.values["n_corr_cph"][0, 0]
    expected_cph = math.hypot(math.sqrt(later.counts) * n_cph / later.counts, error * n_cph)
    assert held.corrected.values["n_corr_sigma_cph"][0, 0] == pytest.approx(expected_cph)
    never = pipeline.correct(site, pipeline.start(), block_of([later]))
    assert never.shared_error[0, 0] == pytest.approx(0.03)


MUON_SITE = replace(SITE, incoming_form="plain", incoming_ref=7000.0, muons=Muons())


def muons(rate):
    """Channels of record i: muons by a number, or a function of i; 0 or none are missing."""
    return lambda i: {"muon_counts": n} if (n := rate(i) if callable(rate) else rate) else {}


def test_fewer_muons_mean_more_neutrons_after_the_mean_has_followed():
    _, corrected, _ = run(
        hourly(200, channels=muons(lambda i: 7000 if i < 24 else 6860)), MUON_SITE
    )
    assert corrected[20].f_i[0] == pytest.approx(1.0)
    assert corrected[47].f_i[0] == pytest.approx(1.0 / (0.98 + 0.02 * math.exp(-1.0)), abs=1e-5)
    assert corrected[199].f_i[0] == pytest.approx(1.0 / 0.98, abs=1e-4)
    assert flags(corrected[199].quality) == Quality.GOOD


def test_muons_are_corrected_for_their_air_before_they_correct_neutrons():
    air = {"pressure_hpa": 1003.25, "temperature_c": 25.0}
    count = 7000.0 * math.exp(0.0019 * 10.0) / (1.0 + 0.0028 * 10.0)
    _, corrected, _ = run(hourly(3, channels=muons(count), **air), MUON_SITE)
    assert corrected[2].f_i[0] == pytest.approx(1.0)


@pytest.mark.parametrize("lost", [{"channels": muons(0.0)}, {"temperature_c": NAN}])
def test_a_silent_muon_channel_is_held_flagged_and_makes_sigma_grow(lost):
    before, after = [*hourly(24, channels=muons(6860.0))], {"channels": muons(6500.0)} | lost
    late = hourly(24 * 38, start_s=MIDNIGHT_S + 24 * HOUR_S, **after)
    _, corrected, _ = run([*before, *late], MUON_SITE)
    assert corrected[-1].f_i == corrected[23].f_i
    assert Quality.INCOMING_HELD in flags(corrected[40].quality)
    assert Quality.INCOMING_MISSING in flags(corrected[-1].quality)
    share = [float((c.n_corr_sigma_cph / c.n_corr_cph)[0]) for c in (corrected[23], corrected[-1])]
    assert share[1] == pytest.approx(math.hypot(share[0], 0.03), rel=1e-6)
    _, never, _ = run(hourly(2), MUON_SITE)
    assert never[1].f_i[0] == 1.0 and Quality.INCOMING_MISSING in flags(never[1].quality)


@pytest.mark.parametrize("odd", [6000.0, 33694.0, 6700.0])  # out of range twice, then a jump
def test_muons_that_jump_are_flagged_and_do_not_reach_a_neutron(odd):
    seen = lambda i: odd if i >= 30 else 7600.0  # noqa: E731
    state, corrected, _ = run(hourly(60, channels=muons(seen)), MUON_SITE)
    assert flags(corrected[29].quality) == Quality.GOOD
    for record in corrected[30:]:
        wanted = Quality.INCOMING_JUMP | Quality.INCOMING_HELD
        assert flags(record.quality) == wanted and record.f_i == corrected[29].f_i
    assert state.incoming[0] == pytest.approx(7600.0)


def test_after_36_days_of_a_step_within_the_range_the_mean_begins_anew():
    seen = lambda i: 6700.0 if i >= 30 else 7600.0  # noqa: E731
    state, corrected, _ = run(hourly(24 * 40, channels=muons(seen)), MUON_SITE)
    assert Quality.INCOMING_JUMP in flags(corrected[24 * 36].quality)
    assert flags(corrected[-1].quality) == Quality.GOOD
    assert state.incoming[0] == pytest.approx(6700.0)


def test_few_muons_scatter_without_a_flag():
    rng = np.random.default_rng(3)
    site = replace(MUON_SITE, incoming_ref=400.0, muons=Muons(smoothing_h=72.0))
    counts = rng.poisson(400.0, 1000).astype(float)
    _, corrected, _ = run(hourly(1000, channels=muons(lambda i: counts[i])), site)
    assert np.mean([c.quality[0] != 0 for c in corrected]) < 0.005
    f_i = np.array([c.f_i[0] for c in corrected[300:]])
    assert f_i.std() < 1.5 / math.sqrt(2.0 * 400.0 * 72.0)


def test_a_monitors_column_is_not_mixed_with_the_muons():
    _, corrected, _ = run(hourly(5, incoming=150.0, channels=muons(7000.0)), MUON_SITE)
    assert corrected[4].f_i[0] == pytest.approx(1.0)


def test_without_the_choice_muons_change_no_bit():
    with_muons, without = run(hourly(48, channels=muons(6500.0))), run(hourly(48))
    for a, b in zip(with_muons[1], without[1], strict=True):
        assert a.n_corr_cph.tobytes() == b.n_corr_cph.tobytes() and a.quality == b.quality


def test_rain_and_et0_are_sums_of_the_day_and_known_only_when_given():
    site = replace(SITE, latitude_deg=NAN)
    _, _, windows = run(hourly(24, rain_mm=0.5, et0_mm=0.1), site)
    assert feature(windows[-1], "rain_mm") == pytest.approx(12.0)
    assert feature(windows[-1], "et0_mm") == pytest.approx(2.4)
    assert feature(windows[-1], "rain_known") == feature(windows[-1], "et0_known") == 1.0
    _, _, bare = run(hourly(24), site)
    assert [feature(bare[-1], n) for n in ("rain_mm", "rain_known", "et0_mm", "et0_known")] == [
        0.0
    ] * 4


def test_et0_comes_from_the_temperature_when_nothing_better_is_there():
    """Hargreaves & Samani (1985) with the mean and the extremes of the day."""
    day = lambda i: 15.0 + 6.0 * math.sin(2 * math.pi * (i - 9) / 24)  # noqa: E731
    _, _, windows = run(hourly(24, temperature_c=day))
    day_of_year = datetime.fromtimestamp(MIDNIGHT_S, UTC).timetuple().tm_yday
    radiation_mm = float(extraterrestrial_radiation(SITE.latitude_deg, float(day_of_year)))
    expected_mm = 0.0023 * (15.0 + 17.8) * math.sqrt(12.0) * radiation_mm
    assert feature(windows[-1], "et0_known") == 1.0
    assert feature(windows[-1], "et0_mm") == pytest.approx(expected_mm, rel=1e-9)


@pytest.mark.parametrize(("hours", "known"), [(12, 1.0), (11, 0.0)])
def test_et0_of_half_a_day_stands_for_the_day_and_of_less_is_unknown(hours, known):
    site = replace(SITE, latitude_deg=NAN)
    _, _, windows = run(hourly(24, et0_mm=lambda i: 0.1 if i < hours else NAN), site)
    assert feature(windows[-1], "et0_known") == known
    assert feature(windows[-1], "et0_mm") == pytest.approx(2.4 * known)


def test_sigma_of_a_flat_inversion_is_large_and_bounded():
    site = replace(SITE, cosmic_n_cph=2.0)
    _, _, windows = run(hourly(24, theta=0.8, site=site), site)
    assert feature(windows[-1], "theta_inv_sigma") == features.SIGMA_MAX == 0.2


def test_a_record_without_a_counting_time_stands_for_an_hour_after_a_longer_silence():
    first, *_, last = hourly(24, rain_mm=1.0, et0_mm=0.1)
    _, _, windows = run([first, replace(last, duration_s=NAN, counts=NAN)])
    assert feature(windows[-1], "rain_known") == 0.0


def test_a_record_of_half_a_second_is_a_measurement():
    _, corrected, _ = run(hourly(1, counts=2.0, duration_s=0.5))
    assert Quality.MISSING not in flags(corrected[0].quality)
    assert corrected[0].n_raw_cph[0] == 2.0 * 7200.0


def test_humidity_is_held_for_24_hours_to_the_second():
    dead = lambda i: 50.0 if i == 0 else NAN  # noqa: E731
    _, corrected, _ = run(hourly(26, relative_humidity_pct=dead))
    assert Quality.HUMIDITY_HELD in flags(corrected[24].quality)
    assert Quality.HUMIDITY_MISSING in flags(corrected[25].quality)


def test_a_count_beyond_the_inversion_is_clipped_and_flagged():
    _, _, windows = run(hourly(24, counts=9000.0))
    assert Quality.CLIPPED in flags(windows[-1].quality)
    assert feature(windows[-1], "theta_inv") == 0.0


@pytest.mark.parametrize("phases", [1, 2, 12, 24])
def test_windows_of_a_day_take_the_phases_in_turn_and_each_keeps_its_own(phases):
    _, _, windows = run(hourly(72), phases=phases)
    turns = [features.phase_of(w.hour, phases) for w in windows]
    assert len(windows) == 3 * phases
    assert turns[-phases:] == turns[-2 * phases : -phases]
    assert sorted(turns[-phases:]) == list(range(phases))


@pytest.mark.parametrize("phases", [0, 5, 48])
def test_phases_that_do_not_divide_a_day_are_refused(phases):
    with pytest.raises(ValueError, match="phases must divide 24"):
        pipeline.start(1, phases)


def test_a_site_has_the_same_bits_alone_and_among_a_thousand():
    rng = np.random.default_rng(7)
    n, hours = 1000, 60
    bulk, lattice, scale = (
        rng.uniform(1.0, 1.7, n),
        rng.uniform(0, 0.08, n),
        rng.uniform(150, 3000, n),
    )
    latitude = rng.uniform(-60, 60, n)
    alpha, shape, ks = (
        rng.uniform(0.003, 0.15, n),
        rng.uniform(1.1, 2.7, n),
        rng.uniform(0.1, 800, n),
    )
    alpha[::3] = NAN
    canopy = rng.uniform(0.0, 1.0, (n, 366))
    biomass = rng.uniform(0.0, 9.0, (n, 366))

    def site_of(pick):
        return Site(
            cosmic_n_cph=scale[pick],
            bulk_density_g_cm3=bulk[pick],
            lattice_water_g_g=lattice[pick],
            latitude_deg=latitude[pick],
            incoming_form="plain",
            incoming_ref=150.0,
            soil_known=1.0,
            soil_theta_r=0.05,
            soil_theta_s=0.42,
            soil_alpha_per_cm=alpha[pick],
            soil_n=shape[pick],
            soil_ks_cm_d=ks[pick],
            cover_known=1.0,
            canopy_cover=canopy[pick],
            biomass_kg_m2=biomass if isinstance(pick, slice) else tuple(biomass[pick].tolist()),
            biomass_slope_per_mm=0.010,
            root_depth_cm=50.0,
            evaporation_share=0.7,
        )

    columns = {
        "duration_s": rng.integers(3590, 3610, (hours, n)).astype(float),
        "counts": rng.poisson(scale * 3.5, (hours, n)).astype(float),
        "pressure_hpa": rng.normal(1000, 8, (hours, n)),
        "temperature_c": rng.normal(12, 6, (hours, n)),
        "relative_humidity_pct": rng.uniform(30, 100, (hours, n)),
        "rain_mm": rng.exponential(0.2, (hours, n)),
        "incoming": rng.normal(150, 5, (hours, n)),
    }
    columns["counts"][rng.random((hours, n)) < 0.2] = NAN
    columns["rain_mm"][rng.random((hours, n)) < 0.2] = NAN

    def stream(pick):
        state, out = pipeline.start(np.size(bulk[pick])), []
        for i in range(hours):
            values = {name: column[i, pick] for name, column in columns.items()}
            state, _, windows = pipeline.step(
                site_of(pick), state, RawRecord(MIDNIGHT_S + HOUR_S * (i + 1), **values)
            )
            out.extend(windows)
        return out

    together = stream(slice(None))
    for k in (0, 1, 17, n - 1):
        for many, one in zip(together, stream(k), strict=True):
            assert many.features[k].tobytes() == one.features[0].tobytes()


SOIL = {
    "soil_known": 0.5,
    "soil_theta_r": 0.10,
    "soil_theta_s": 0.40,
    "soil_alpha_per_cm": 0.2,
    "soil_n": 1.04,
    "soil_ks_cm_d": 2000.0,
}
SHOWN = [name for name in NAMES if name.startswith("soil_")]


def test_a_described_soil_is_told_as_its_distance_from_a_loam():
    _, _, windows = run(hourly(2, site=replace(SITE, **SOIL)), site=replace(SITE, **SOIL))
    for window in windows:
        shown = [feature(window, name) for name in SHOWN]
        assert shown == pytest.approx([0.5, 0.04, -0.03, 1.0, -1.0, 2.0])


@pytest.mark.parametrize(
    "unknown",
    [
        {"soil_known": 0.0},
        {"soil_n": 1.0},
        {"soil_n": 0.9},
        *({name: NAN} for name in list(SOIL)[1:]),
    ],
    ids=lambda unknown: next(iter(unknown)),
)
def test_one_unknown_parameter_makes_the_whole_soil_unknown(unknown):
    site = replace(SITE, **SOIL | unknown)
    _, _, windows = run(hourly(1), site=site)
    assert [feature(windows[0], name) for name in SHOWN] == [0.0] * 6
    assert np.isfinite(windows[0].features).all()


def test_a_cover_is_told_by_the_date_and_whole_or_not_at_all():
    cover = {
        "cover_known": 1.0,
        "canopy_cover": tuple(day / 1000.0 for day in range(1, 367)),
        "root_depth_cm": 60.0,
        "evaporation_share": 0.4,
    }
    shown = ("cover_known", "cover_canopy", "cover_root_depth_cm", "cover_evaporation")
    _, _, windows = run(hourly(2), site=replace(SITE, **cover))
    middle = datetime.fromtimestamp(windows[0].hour * HOUR_S - 12 * HOUR_S, UTC)
    day = middle.timetuple().tm_yday
    told = [feature(windows[0], name) for name in shown]
    assert told == pytest.approx([1.0, day / 1000.0, 60.0, -0.6])
    for name in cover:
        unknown = replace(SITE, **cover | {name: 0.0 if name == "cover_known" else NAN})
        _, _, windows = run(hourly(1), site=unknown)
        assert [feature(windows[0], name) for name in shown] == [0.0] * 4


def test_radiation_is_that_of_the_latitude_and_the_date_and_zero_without_a_latitude():
    _, _, windows = run(hourly(1), site=replace(SITE, latitude_deg=-20.0))
    day = datetime.fromtimestamp((windows[0].hour - 12) * HOUR_S, UTC).timetuple().tm_yday
    expected = float(extraterrestrial_radiation(-20.0, day))
    assert feature(windows[0], "radiation_mm") == expected > 5.0
    _, _, windows = run(hourly(1), site=replace(SITE, latitude_deg=NAN))
    assert feature(windows[0], "radiation_mm") == 0.0


def test_density_bound_water_and_calibration_error_are_shown_as_they_are():
    site = replace(SITE, organic_water_g_g=0.01, cosmic_n_sigma=0.02)
    _, _, windows = run(hourly(1), site=site)
    names = ("bulk_density_g_cm3", "bound_water_g_g", "cosmic_n_sigma")
    assert [feature(windows[0], name) for name in names] == pytest.approx([1.4, 0.04, 0.02])


def test_the_features_of_released_bundles_are_computed():
    assert set(NAMES) >= {
        "theta_inv", "theta_inv_sigma", "gap", "rain_mm", "rain_known", "et0_mm", "et0_known",
        "bulk_density_g_cm3", "bound_water_g_g", "cosmic_n_sigma",
        "soil_known", "soil_theta_r", "soil_theta_s",
        "soil_log_alpha", "soil_log_n", "soil_log_ks",
        "cover_known", "cover_canopy", "cover_root_depth_cm", "cover_evaporation", "radiation_mm",
    }  # fmt: skip
    assert features.HOURS == 24


@pytest.mark.parametrize("name", [name for name in RESPONSES if name != "cosmic"])
def test_the_network_s_input_is_the_inversion_of_the_site_s_response(name):
    site = replace(SITE, response=name, humidity_ref_g_m3=3.0)
    saturated = float(absolute_humidity(15.0, 100.0))
    for theta, vapour in ((0.1, 3.0), (0.25, 9.0)):
        air = {"relative_humidity_pct": 100.0 * vapour / saturated}
        counts = float(response_rate(np.array([theta]), site)[0])
        counts /= float(response_humidity_factor(vapour, site))
        window = run(hourly(24, counts=counts, **air), site)[2][-1]
        assert window.theta_classical[0] == pytest.approx(theta, abs=1e-9)
        assert feature(window, "theta_inv") == window.theta_classical[0]


def test_sites_of_many_responses_abreast_have_the_bits_of_each_alone():
    names = tuple(RESPONSES)
    many = replace(SITE, bulk_density_g_cm3=np.full(len(names), 1.4), response=names)
    records = list(hourly(24, counts=230.0, relative_humidity_pct=60.0))
    state = pipeline.start(len(names))
    _, _, windows = pipeline.step_block(many, state, block_of(records, len(names)))
    for i, name in enumerate(names):
        alone = run(records, replace(SITE, response=name))[2][-1]
        assert windows.features[-1, i].tobytes() == alone.features[0].tobytes()
