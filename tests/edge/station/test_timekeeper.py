"""The stored state of the clock over restarts, and after damage."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from epithermal_edge.records import NAN, RawRecord
from epithermal_edge.station import stamps
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.stamps import Arrival, Rules, Stamps
from epithermal_edge.station.timekeeper import SELF, Timekeeper

START_S, HOUR_S = 1_767_225_600.0, 3600.0


class ManualClock:
    """A machine's clocks, set by the test."""

    def __init__(self, synchronised=True, boot="one"):
        self.boottime_s, self.synchronised, self.boot = 100.0, synchronised, boot
        self.step_s = 0.0  # of the wall clock

    def clock(self):
        return Clock(
            boottime=lambda: self.boottime_s,
            wall=lambda: START_S + self.boottime_s + self.step_s,
            synchronised=lambda: self.synchronised,
            boot_id=lambda: self.boot,
        )


def keeper(manual, stored=None, last_end_s=-math.inf, **rules):
    return Timekeeper(Rules(HOUR_S, **rules), manual.clock(), stored or {}, last_end_s)


def hear(keeper, stored, end_s):
    verdict = keeper.stamp_record(RawRecord(end_s, HOUR_S, 1000.0), keeper.arrival().boottime_s)
    changed = keeper.changes(verdict.state)
    keeper.apply(verdict)
    keeper.mark_stored(changed)
    stored.update(changed)
    for key in [key for key, value in changed.items() if value is None]:
        del stored[key]
    return verdict


def test_extra_channels_of_a_record_that_waits_for_the_clock_outlive_a_restart():
    manual, stored = ManualClock(synchronised=False), {}
    first = keeper(manual, stamp_source="station")
    record = RawRecord(NAN, HOUR_S, 1000.0, channels={"muon_counts": 7805.0})
    verdict = first.stamp_record(record, first.arrival().boottime_s)
    stored.update({key: value for key, value in first.changes(verdict.state).items() if value})
    manual.synchronised = True
    (stamped,) = keeper(manual, stored, stamp_source="station").update_clock().stamped
    assert stamped.record.channels == {"muon_counts": 7805.0}


def test_records_that_wait_for_the_clock_outlive_a_restart_of_the_process():
    manual, stored = ManualClock(synchronised=False), {}
    first = keeper(manual, stamp_source="station")
    for hour in (1, 2, 3):
        manual.boottime_s = 100.0 + hour * HOUR_S
        assert hear(first, stored, NAN).stamped == ()
    assert len(stored) == 4 and first.health()["held"] == 3
    manual.synchronised, manual.boottime_s = True, manual.boottime_s + 60.0
    second = keeper(manual, stored, stamp_source="station")
    stamped = second.update_clock().stamped
    assert [s.record.end_s for s in stamped] == [START_S + 100.0 + h * HOUR_S for h in (1, 2, 3)]
    assert {s.time_q for s in stamped} == {"back_stamped"}


def test_a_record_that_no_longer_waits_is_deleted_from_the_disk():
    manual, stored = ManualClock(synchronised=False), {}
    station = keeper(manual, stamp_source="station")
    hear(station, stored, NAN)
    verdict = station.update_clock()
    manual.synchronised, manual.boottime_s = True, manual.boottime_s + 10.0
    verdict = station.update_clock()
    changed = station.changes(verdict.state)
    assert [key for key, value in changed.items() if value is None] == ["clock held 000000001"]


def test_another_boot_is_counted_and_the_same_is_not():
    manual, stored = ManualClock(), {}
    hear(keeper(manual), stored, START_S + 100.0)
    assert keeper(manual, stored).health()["boot"] == 1
    manual.boot = "two"
    again = keeper(manual, stored)
    hear(again, stored, START_S + 100.0)
    assert again.health()["boot"] == 2 and json.loads(stored[SELF])["boot_id"] == "two"


@pytest.mark.parametrize(
    "damage",
    [
        {SELF: "{"},
        {SELF: "[]"},
        {SELF: '{"boot": 1}'},
        {SELF: '{"boot_id": "one", "boot": "x"}'},
        {SELF: '{"boot_id": "one", "unheard_of": 1}'},
        {"clock held 000000001": "{}"},
        {"clock held 000000001": '{"record": 5}'},
    ],
)
def test_damage_costs_what_waited_and_not_the_order_of_the_stream(damage):
    manual, stored = ManualClock(), {}
    hear(keeper(manual), stored, START_S + 100.0)
    station = keeper(manual, stored | damage, last_end_s=START_S + 100.0)
    assert station.health()["held"] == 0 and station.state.last_end_s == START_S + 100.0
    manual.boottime_s += HOUR_S
    (stamped,) = hear(station, dict(stored), START_S + 100.0 + HOUR_S).stamped
    assert stamped.time_q == "logger"


def test_the_time_for_dashboards_is_the_stamps_where_the_clock_is_in_the_past():
    manual, stored = ManualClock(synchronised=False), {}
    station = keeper(manual, last_end_s=START_S + 50 * HOUR_S)
    assert station.now_s() == START_S + 100.0  # nothing better is known
    hear(station, stored, START_S + 51 * HOUR_S)
    manual.boottime_s += 30.0
    assert station.now_s() == START_S + 51 * HOUR_S + 30.0


def test_held_records_are_stamped_in_order_whatever_the_order_on_the_disk():
    manual, stored = ManualClock(synchronised=False), {}
    first = keeper(manual, stamp_source="station")
    for hour in (1, 2, 3):
        manual.boottime_s = 100.0 + hour * HOUR_S
        hear(first, stored, NAN)
    manual.synchronised = True
    second = keeper(manual, dict(reversed(stored.items())), stamp_source="station")
    stamped = second.update_clock().stamped
    assert [s.record.end_s for s in stamped] == [START_S + 100.0 + h * HOUR_S for h in (1, 2, 3)]


def test_stamps_computed_from_unchecked_stamps_are_never_published_as_sound():
    manual, stored = ManualClock(synchronised=False), {}
    station, qualities = keeper(manual), []
    for hour in range(1, 8):
        manual.boottime_s = 100.0 + hour * HOUR_S
        lag_s = -HOUR_S if hour > 3 else 0.0
        verdict = hear(station, stored, START_S + 100.0 + hour * HOUR_S + lag_s)
        qualities += [stamped.time_q for stamped in verdict.stamped]
    assert qualities == ["logger_unchecked"] * 3 + ["unsynced"] * 4
    assert station.health()["steps"] == 1


def test_a_gap_of_five_hours_over_a_reboot_needs_no_synchronised_clock():
    manual, stored = ManualClock(synchronised=False), {}
    hear(keeper(manual), stored, START_S)
    manual.boot, manual.boottime_s = "two", 50.0
    stamped = hear(keeper(manual, stored), stored, START_S + 5 * HOUR_S).stamped
    assert [s.record.end_s for s in stamped] == [START_S, START_S + 5 * HOUR_S]
    assert {s.time_q for s in stamped} == {"logger_unchecked"}


def test_a_record_that_came_sooner_than_it_can_have_been_counted_has_no_sound_stamp():
    manual, stored = ManualClock(), {}
    station, qualities = keeper(manual, stamp_source="station"), []
    for boottime_s in (4000.0, 4000.0 + 0.8 * HOUR_S, 4000.0 + 1.0 * HOUR_S):
        manual.boottime_s = boottime_s
        (stamped,) = hear(station, stored, NAN).stamped
        qualities.append(stamped.time_q)
    assert qualities == ["synced", "synced", "unsynced"]  # a quarter of the length is tolerated


def test_a_computed_stamp_has_whole_milliseconds():
    manual, stored = ManualClock(), {}
    manual.boottime_s = 4000.12345678
    (stamped,) = hear(keeper(manual, stamp_source="station"), stored, NAN).stamped
    assert stamped.record.end_s == START_S + 4000.123


def test_stamps_of_an_earlier_boot_have_whole_milliseconds():
    manual, stored = ManualClock(synchronised=False), {}
    station = keeper(manual, stamp_source="station")
    for boottime_s in (1000.0, 4600.12345678):
        manual.boottime_s = boottime_s
        assert hear(station, stored, NAN).stamped == ()
    manual.boot, manual.synchronised, manual.boottime_s = "two", True, 50.0
    stamped = keeper(manual, stored, stamp_source="station").update_clock().stamped
    assert [one.record.end_s for one in stamped] == [START_S - 3600.123, START_S]


@pytest.mark.parametrize(("interval_s", "time_q"), [(2700.0, "synced"), (2699.0, "unsynced")])
def test_a_record_a_quarter_of_its_length_early_is_sound_and_an_earlier_one_is_not(
    interval_s, time_q
):
    manual, stored = ManualClock(), {}
    station = keeper(manual, stamp_source="station")
    hear(station, stored, NAN)
    manual.boottime_s += interval_s
    (stamped,) = hear(station, stored, NAN).stamped
    assert stamped.time_q == time_q


def test_more_than_ten_thousand_waiting_records_drop_the_oldest_with_a_note():
    record = RawRecord(NAN, HOUR_S, 1000.0)
    held = tuple(stamps.Held(record, 1, 60.0 * i, number=i) for i in range(1, 10_000))
    state, rules = Stamps(boot=1, numbers=9_999, held=held), Rules(60.0, stamp_source="station")
    full = stamps.stamp_record(rules, state, record, Arrival(1, 600_000.0))
    assert [one.number for one in full.state.held] == list(range(1, 10_001))
    assert full.events == ()
    over = stamps.stamp_record(rules, full.state, record, Arrival(1, 600_060.0))
    assert [one.number for one in over.state.held] == list(range(2, 10_002))
    assert [kind for kind, _ in over.events] == ["spool_drop"]


def test_the_time_is_that_of_the_synchronised_clock_though_the_stamps_have_another_offset():
    manual, stored = ManualClock(), {}
    station = keeper(manual, stored)
    hear(station, stored, START_S + 100.0)
    manual.step_s = 400.0
    assert station.now_s() == START_S + 500.0


def test_a_slewing_clock_is_followed_and_is_no_second_clock():
    rules = Rules(HOUR_S)
    state = stamps.update_clock(rules, Stamps(), Arrival(1, 100.0, START_S + 100.0)).state
    verdict = stamps.update_clock(rules, state, Arrival(1, 200.0, START_S + 201.5))
    assert verdict.state.offset_s == START_S + 1.5 and math.isnan(verdict.state.other_s)
    assert verdict.events == ()


def test_the_wall_clock_is_the_time_where_it_is_ahead_of_the_stamps():
    manual, stored = ManualClock(synchronised=False), {}
    station = keeper(manual, last_end_s=START_S - 51 * HOUR_S)
    hear(station, stored, START_S - 50 * HOUR_S)
    manual.boottime_s += 30.0
    assert station.now_s() == START_S + 130.0


def test_whether_the_clock_is_synchronised_is_checked_once_a_second():
    manual, checks = ManualClock(), []
    clock = dataclasses.replace(manual.clock(), synchronised=lambda: checks.append(1) or True)
    station = Timekeeper(Rules(HOUR_S), clock, {}, -math.inf)
    for boottime_s, count in ((100.0, 1), (100.5, 1), (100.99, 1), (101.05, 2), (90.0, 3)):
        manual.boottime_s = boottime_s
        station.arrival()
        assert len(checks) == count, boottime_s


def test_future_stamps_are_accepted_if_the_configuration_allows_it():
    manual, stored = ManualClock(), {}
    station = keeper(manual, stamp_source="unchecked")
    for hour in (1, 2, 9000, 3):
        (stamped,) = hear(station, stored, START_S + hour * HOUR_S).stamped
        assert stamped.time_q == "logger_unchecked"


def test_health_is_plain_json():
    manual, stored = ManualClock(), {}
    station = keeper(manual)
    hear(station, stored, START_S + 100.0)
    assert json.loads(json.dumps(station.health(), allow_nan=False)) == {
        "synchronised": True,
        "boot": 1,
        "offset_s": START_S,
        "logger_lag_s": None,
        "ahead_s": None,
        "held": 0,
        "refused": 0,
        "steps": 0,
    }


def test_this_machine_s_own_clocks_can_be_read():
    clock = Clock()
    assert clock.boottime() > 0.0 and len(clock.boot_id()) >= 32
    assert clock.synchronised() in (True, False)


def ahead_after(manual, stored, days, **rules):
    """Return what is ahead of the clock after a record that ends so many days in the future."""
    station = keeper(manual, stored, START_S + days * 24 * HOUR_S, **rules)
    return station, station.find_ahead()


def test_only_stamps_more_than_a_day_ahead_of_a_sound_clock_are_set_aside():
    assert ahead_after(ManualClock(), {}, 0.9)[1] is None
    assert ahead_after(ManualClock(), {}, 2.0, stamp_source="unchecked")[1] is None
    assert ahead_after(ManualClock(synchronised=False), {}, 2.0)[1] is None
    assert ahead_after(ManualClock(), {}, 2.0, tolerance_s=3 * 24 * HOUR_S)[1] is None
    station, ahead = ahead_after(ManualClock(), {}, 2.0)
    assert ahead.limit_s == START_S + 100.0 + 600.0 and math.isnan(ahead.shift_s)
    station.drop_newest(START_S)
    assert station.find_ahead() is None and station.state.last_end_s == START_S


def test_a_wall_clock_that_has_just_stepped_back_sets_nothing_aside():
    manual, stored = ManualClock(), {}
    station = keeper(manual)
    hear(station, stored, START_S + 100.0)
    now_s = manual.boottime_s + HOUR_S
    manual.boottime_s = now_s
    stepped = Clock(
        boottime=lambda: now_s,
        wall=lambda: START_S + now_s - 9 * 24 * HOUR_S,
        synchronised=lambda: True,
        boot_id=lambda: "one",
    )
    assert Timekeeper(Rules(HOUR_S), stepped, stored, START_S + 100.0).find_ahead() is None
