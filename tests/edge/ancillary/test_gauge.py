"""Values of intervals from messages of weather sensors: known or NaN, never an older value."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epithermal_edge.ancillary.gauge import MAX_MESSAGES, GaugeSeries
from epithermal_edge.ancillary.subscriber import PAYLOAD_BYTES, read_payload
from epithermal_edge.config.weather_tables import Gauge
from epithermal_edge.errors import FrameError

T0 = 1_774_440_000.0
HOUR = 3600.0


def series_of(kind: str, *messages: tuple[float, float], max_age_s: float = 900.0) -> GaugeSeries:
    gauge = Gauge("rain_mm", "yard/rain", None, None, 1.0, 0.0, kind, max_age_s)
    series = GaugeSeries(gauge)
    for minute, value in messages:
        series.add(T0 + 60.0 * minute, value)
    return series


def each(minutes: int, last: int, value: float) -> list[tuple[float, float]]:
    return [(m, value) for m in range(0, last + 1, minutes)]


def test_a_level_is_the_mean_over_the_interval_and_the_last_one_while_it_is_young():
    level = series_of("level", (-5, 99.0), (10, 1.0), (30, 2.0), (50, 6.0))
    assert level.interval_value(T0, T0 + HOUR, []) == 3.0
    assert level.interval_value(T0 + HOUR, T0 + HOUR + 240.0, []) == 6.0
    assert math.isnan(level.interval_value(T0 + HOUR, T0 + HOUR + 360.0, []))  # 16 minutes old


def test_a_level_whose_sensor_fell_silent_within_the_interval_is_unknown():
    assert math.isnan(series_of("level", (1, 5.0), (2, 5.0)).interval_value(T0, T0 + HOUR, []))


def test_an_amount_is_the_sum_of_what_fell_in_the_interval():
    rain = series_of("amount", *each(10, 130, 0.2))
    first = rain.interval_value(T0 + 600.0, T0 + 600.0 + HOUR, [])
    assert first == pytest.approx(6 * 0.2)
    both = first + rain.interval_value(T0 + 600.0 + HOUR, T0 + 600.0 + 2 * HOUR, [])
    assert both == pytest.approx(12 * 0.2)


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([], "nothing was ever heard"),
        (each(10, 60, 0.2), "nothing was heard before it began"),
        ([(-10, 0.0), *each(10, 20, 0.2), *((m, 0.2) for m in (40, 50, 60))], "silent inside"),
        ([(-10, 0.0), *each(10, 40, 0.2)], "silent at its end"),
    ],
)
def test_an_amount_that_may_lack_something_is_unknown(messages, why):
    assert math.isnan(series_of("amount", *messages).interval_value(T0 - 1.0, T0 + HOUR, [])), why


def test_an_amount_is_unknown_where_the_link_was_down_and_a_counter_is_not():
    messages = [(m, 0.1 * (m + 10)) for m in range(-10, 130, 10)]
    down = [(T0 + 1500.0, T0 + 1510.0)]
    amount, total = series_of("amount", *messages), series_of("total", *messages)
    assert math.isnan(amount.interval_value(T0, T0 + HOUR, down))
    assert math.isfinite(amount.interval_value(T0 + HOUR, T0 + 2 * HOUR, down))
    assert math.isnan(total.interval_value(T0 - HOUR, T0, down))  # the first value has no rise
    assert total.interval_value(T0, T0 + HOUR, down) == pytest.approx(6.0)
    assert total.interval_value(T0 + HOUR, T0 + 2 * HOUR, down) == pytest.approx(6.0)


def test_a_counter_has_the_rain_of_a_silence_after_it():
    total = series_of("total", (0, 10.0), (170, 12.5), (180, 13.0), max_age_s=900.0)
    assert math.isnan(total.interval_value(T0 - HOUR, T0, []))
    assert math.isnan(total.interval_value(T0, T0 + HOUR, []))
    assert math.isnan(total.interval_value(T0 + HOUR, T0 + 2 * HOUR, []))
    assert total.interval_value(T0 + 2 * HOUR, T0 + 3 * HOUR, []) == 3.0


def test_a_counter_that_was_set_back_is_unknown_once():
    total = series_of("total", (0, 500.0), (30, 500.2), (40, 0.0), (60, 0.4), (120, 1.0))
    assert math.isnan(total.interval_value(T0 - HOUR, T0, []))
    assert math.isnan(total.interval_value(T0, T0 + HOUR, []))
    assert total.interval_value(T0 + HOUR, T0 + 2 * HOUR, []) == pytest.approx(0.6)


def test_a_message_from_before_the_last_one_is_counted_and_not_used():
    rain = series_of("amount", (-10, 0.0), (10, 1.0), (5, 7.0), max_age_s=3600.0)
    assert rain.interval_value(T0, T0 + HOUR, []) == 1.0
    assert rain.late == 1


def test_a_gauge_that_never_stops_needs_no_memory():
    rain = series_of("amount", *((m / 600.0, 0.1) for m in range(3 * MAX_MESSAGES)))
    assert len(rain.messages) == MAX_MESSAGES
    days = series_of("amount", *((60.0 * h, 0.1) for h in range(1000)))
    assert len(days.messages) == 26  # a day and its rest


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), min_size=1, max_size=80))
def test_rain_of_intervals_that_follow_adds_up_to_what_fell(steps):
    minute, rain = 0, series_of("amount", (0, 0.0), max_age_s=86400.0)
    for step, tips in steps:
        minute += step
        rain.add(T0 + 60.0 * minute, 0.2 * tips)
    ends = [T0 + HOUR * k for k in range(minute // 60 + 2)]
    total_mm = sum(rain.interval_value(a, b, []) for a, b in pairwise(ends))
    assert total_mm == pytest.approx(sum(0.2 * tips for _, tips in steps))


def test_a_payload_is_a_plain_number_or_json_with_its_own_time():
    assert read_payload(b" -3.5 \n", None, None) == (-3.5, None)
    payload = b'{"main": {"temp": "21.5"}, "dt": 1774440000, "at": "2026-03-25T12:00:00Z"}'
    assert read_payload(payload, "main.temp", None) == (21.5, None)
    assert read_payload(payload, "main.temp", "dt") == (21.5, T0)
    assert read_payload(payload, "main.temp", "at") == (21.5, T0)
    assert read_payload(b'{"x": 1, "ms": 1774440000000}', "x", "ms") == (1.0, T0)


@pytest.mark.parametrize(
    ("payload", "field", "value"),
    [
        (b"21.5\0", None, 21.5),
        (b"21.5\0\r\n\0", None, 21.5),
        (b'{"x": 15}\0', "x", 15.0),
        (b'\xef\xbb\xbf{"x": 7}', "x", 7.0),
        (b"\xef\xbb\xbf7", None, 7.0),
        (b"2.15e1", None, 21.5),
        (b"-215E-1", None, -21.5),
        (b'{"x": 2.15e1}', "x", 21.5),
        (b'{"x": "-2.15E+1"}', "x", -21.5),
        (b'{"values": [{"v": 7}, {"v": 8}]}', "values.1.v", 8.0),
        (b"[[3, 4], [5]]", "1.0", 5.0),
        (b'{"x": {"0": 9}}', "x.0", 9.0),
        (b'{"air.outside": 7.1}', "air.outside", 7.1),
        (b'{"yard": {"air.outside": 7.2}}', "yard.air.outside", 7.2),
    ],
)
def test_each_form_of_a_plain_number_is_read(payload, field, value):
    assert read_payload(payload, field, None) == (value, None)


@pytest.mark.parametrize(
    ("payload", "field", "time_field"),
    [
        (b"", None, None),
        (b"nan", None, None),
        (b"--3", None, None),
        (b"on", None, None),
        (b"\xff\xfe", None, None),
        (b"\0", None, None),
        (b"2\x001", None, None),
        (b"21,5", None, None),
        (b"2.1e", None, None),
        (b"e5", None, None),
        (b"1" * (PAYLOAD_BYTES + 1), None, None),
        (b"{", "x", None),
        (b"[" * 9000, "x", None),
        (b'{"y": 1}', "x", None),
        (b'{"x": true}', "x", None),
        (b'{"x": null}', "x", None),
        (b'{"x": NaN}', "x", None),
        (b'{"x": {"y": 1}}', "x", None),
        (b'{"x": [1, 2]}', "x.2", None),
        (b'{"x": [1, 2]}', "x.-1", None),
        (b'{"x": [1, 2]}', "x", None),
        (b'{"x": 1}', "x", "t"),
        (b'{"x": 1, "t": "yesterday"}', "x", "t"),
        (b'{"x": 1, "t": Infinity}', "x", "t"),
        (b'{"x": 1, "t": NaN}', "x", "t"),
        (b'{"x": 1, "t": -1e18}', "x", "t"),
        (b'{"x": 1, "t": -62135596800000}', "x", "t"),
        (b'{"x": 1, "t": 946684799}', "x", "t"),
        (b'{"x": 1, "t": 4133980800}', "x", "t"),
        (b'{"x": 1, "t": "1999-12-31T23:59:59Z"}', "x", "t"),
    ],
)
def test_a_payload_without_a_number_or_a_time_is_refused(payload, field, time_field):
    with pytest.raises(FrameError):
        read_payload(payload, field, time_field)


@given(st.binary(max_size=200), st.sampled_from([None, "x"]), st.sampled_from([None, "t"]))
def test_no_payload_raises_anything_else(payload, field, time_field):
    try:
        value, _ = read_payload(payload, field, time_field)
    except FrameError:
        return
    assert math.isfinite(value)
