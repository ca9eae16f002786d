"""Times as text: none raises, whatever the number."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epithermal_edge.times import instant, utc


@given(st.floats())
def test_no_time_raises_and_a_text_has_a_date(time_s):
    text = utc(time_s)
    assert (text is None) == (instant(round(time_s, 3)) is None if math.isfinite(time_s) else True)
    assert text is None or (text[4] == text[7] == "-" and text[-1] == "Z")


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1774440000.0004, "2026-03-25T12:00:00Z"),
        (1774440000.25, "2026-03-25T12:00:00.250Z"),
        (-62135596800.0, "0001-01-01T00:00:00Z"),
        (-62135596801.0, None),
        (253402300799.0, "9999-12-31T23:59:59Z"),
        (253402300799.9999, None),
        (1e18, None),
        (-math.inf, None),
        (math.nan, None),
    ],
)
def test_a_time_outside_of_the_calendar_is_none(time_s, text):
    assert utc(time_s) == text
