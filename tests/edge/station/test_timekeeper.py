"""What is kept of the clock over restarts, and what damage to it does."""

from __future__ import annotations

import json
import math

import pytest

from epithermal_edge.records import NAN, RawRecord
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.stamps import Rules
from epithermal_edge.station.timekeeper import SELF, Timekeeper

START_S, HOUR_S = 1_767_225_600.0, 3600.0


class Hands:
    """A machine's clocks, driven by hand."""

    def __init__(self, synchronised=True, boot="one"):
        self.boottime_s, self.synchronised, self.boot = 100.0, synchronised, boot

    def clock(self):
        return Clock(
            boottime=lambda: self.boottime_s,
            wall=lambda: START_S + self.boottime_s,
            synchronised=lambda: self.synchronised,
            boot_id=lambda: self.boot,
        )


def keeper(hands, kept=None, last_end_s=-math.inf, **rules):
    return Timekeeper(Rules(HOUR_S, **rules), hands.clock(), kept or {}, last_end_s)


def hear(keeper, kept, end_s):
    verdict = keeper.stamp_record(RawRecord(end_s, HOUR_S, 1000.0), keeper.arrival().boottime_s)
    changed = keeper.changes(verdict.state)
    keeper.apply(verdict)
    keeper.mark_stored(changed)
    kept.update(changed)
    for key in [key for key, value in changed.items() if value is None]:
        del kept[key]
    return verdict


def test_records_that_wait_for_the_clock_outlive_a_restart_of_the_process():
    hands, kept = Hands(synchronised=False), {}
    first = keeper(hands, stamp_source="station")
    for hour in (1, 2, 3):
        hands.boottime_s = 100.0 + hour * HOUR_S
        assert hear(first, kept, NAN).stamped == ()
    assert len(kept) == 4 and first.health()["held"] == 3
    hands.synchronised, hands.boottime_s = True, hands.boottime_s + 60.0
    second = keeper(hands, kept, stamp_source="station")
    stamped = second.update_clock().stamped
    assert [s.record.end_s for s in stamped] == [START_S + 100.0 + h * HOUR_S for h in (1, 2, 3)]
    assert {s.time_q for s in stamped} == {"back_stamped"}


def test_what_does_not_wait_any_more_is_struck_from_the_disk():
    hands, kept = Hands(synchronised=False), {}
    station = keeper(hands, stamp_source="station")
    hear(station, kept, NAN)
    verdict = station.update_clock()
    hands.synchronised, hands.boottime_s = True, hands.boottime_s + 10.0
    verdict = station.update_clock()
    changed = station.changes(verdict.state)
    assert [key for key, value in changed.items() if value is None] == ["clock held 000000001"]


def test_another_boot_is_counted_and_the_same_is_not():
    hands, kept = Hands(), {}
    hear(keeper(hands), kept, START_S + 100.0)
    assert keeper(hands, kept).health()["boot"] == 1
    hands.boot = "two"
    again = keeper(hands, kept)
    hear(again, kept, START_S + 100.0)
    assert again.health()["boot"] == 2 and json.loads(kept[SELF])["boot_id"] == "two"


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
    hands, kept = Hands(), {}
    hear(keeper(hands), kept, START_S + 100.0)
    station = keeper(hands, kept | damage, last_end_s=START_S + 100.0)
    assert station.health()["held"] == 0 and station.state.last_end_s == START_S + 100.0
    hands.boottime_s += HOUR_S
    (stamped,) = hear(station, dict(kept), START_S + 100.0 + HOUR_S).stamped
    assert stamped.time_q == "logger"


def test_the_time_for_dashboards_is_the_stamps_where_the_clock_is_in_the_past():
    hands, kept = Hands(synchronised=False), {}
    station = keeper(hands, last_end_s=START_S + 50 * HOUR_S)
    assert station.now_s() == START_S + 100.0  # nothing better is known
    hear(station, kept, START_S + 51 * HOUR_S)
    hands.boottime_s += 30.0
    assert station.now_s() == START_S + 51 * HOUR_S + 30.0


def test_a_line_that_plays_the_future_is_taken_where_the_configuration_says_so():
    hands, kept = Hands(), {}
    station = keeper(hands, stamp_source="unchecked")
    for hour in (1, 2, 9000, 3):
        (stamped,) = hear(station, kept, START_S + hour * HOUR_S).stamped
        assert stamped.time_q == "logger_unchecked"


def test_health_tells_what_an_operator_asks_in_plain_json():
    hands, kept = Hands(), {}
    station = keeper(hands)
    hear(station, kept, START_S + 100.0)
    assert json.loads(json.dumps(station.health(), allow_nan=False)) == {
        "synchronised": True,
        "boot": 1,
        "offset_s": START_S,
        "logger_lag_s": None,
        "held": 0,
        "refused": 0,
        "steps": 0,
    }


def test_this_machine_s_own_clocks_can_be_read():
    clock = Clock()
    assert clock.boottime() > 0.0 and len(clock.boot_id()) >= 32
    assert clock.synchronised() in (True, False)
