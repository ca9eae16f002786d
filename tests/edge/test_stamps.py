"""Times that cannot be: one damaged digit never makes the records that follow it late."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epithermal_edge.records import RawRecord
from epithermal_edge.stamps import Stamps, judge

HOUR = 3600.0
DAY = 86400.0
T0 = 1_774_440_000.0
LONG_AGO = 0.0  # a station whose clock was never set


def play(ends: list[float], wall_s: float, newest_s: float = -math.inf) -> tuple[list, list]:
    """Ends that were passed on, and those that were found wrong."""
    stamps, passed, wrong = Stamps(HOUR, newest_s), [], []
    for end_s in ends:
        stamps, records, bad = judge(stamps, RawRecord(end_s, HOUR, 1000.0), wall_s)
        passed += [record.end_s for record in records]
        wrong += [] if bad is None else [bad.end_s]
    return passed, wrong


def hours(*numbers: float) -> list[float]:
    return [T0 + HOUR * number for number in numbers]


def test_records_that_follow_pass_at_once_whatever_the_clock():
    for wall_s in (T0 + 4 * HOUR, T0 + 30 * DAY):
        assert play(hours(1, 2, 3, 3, 2, 4), wall_s) == (hours(1, 2, 3, 3, 2, 4), [])


def test_without_a_clock_the_first_record_waits_for_the_second():
    assert play(hours(1), LONG_AGO) == ([], [])
    assert play(hours(1, 2, 3), LONG_AGO) == (hours(1, 2, 3), [])


@pytest.mark.parametrize("wall_s", [T0 + 3 * HOUR, LONG_AGO, T0 + 400 * DAY, T0 - 400 * DAY])
@pytest.mark.parametrize("jump_s", [DAY, 365 * DAY, 74 * 365 * DAY])
def test_a_stamp_that_stands_alone_is_dropped(wall_s, jump_s):
    ends = [*hours(1, 2), T0 + jump_s, *hours(3, 4)]
    assert play(ends, wall_s, T0) == (hours(1, 2, 3, 4), [T0 + jump_s])


def test_after_an_outage_the_second_record_confirms_the_first():
    ends = [*hours(1), *hours(1001, 1002, 1003)]
    assert play(ends, LONG_AGO, T0) == (ends, [])
    assert play(ends, T0 + 1001 * HOUR, T0) == (ends, [])
    assert play(ends[:2], LONG_AGO, T0) == (ends[:1], [])
    assert play(ends[:2], T0 + 1001 * HOUR, T0) == (ends[:2], [])  # the clock bears it out


def test_of_two_wrong_stamps_neither_is_right():
    ends = [*hours(1), T0 + 10 * DAY, T0 + 900 * DAY, *hours(2)]
    assert play(ends, LONG_AGO, T0) == (hours(1, 2), [T0 + 10 * DAY, T0 + 900 * DAY])


def test_the_record_before_told_again_does_not_drop_the_one_that_waits():
    ends = [*hours(1), *hours(1001), *hours(1), *hours(1002)]
    assert play(ends, LONG_AGO, T0) == (hours(1, 1, 1001, 1002), [])


@given(st.data())
def test_wrong_stamps_among_right_ones_cost_no_right_one(data):
    ends, jumps = [], []
    for number in range(1, 30):
        if number % 3 == 0 and data.draw(st.booleans()):
            jumps.append(T0 + number * HOUR + data.draw(st.floats(DAY, 50 * 365 * DAY)))
            ends.append(jumps[-1])
        ends += hours(number)
    assert play(ends, LONG_AGO, T0) == (hours(*range(1, 30)), jumps)
