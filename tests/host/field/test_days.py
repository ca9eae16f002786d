"""A day given by its end has the date of its middle."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from epithermal_host.field.days import date_of, middle_of, month_of, year_of


def end_s(*when: int) -> float:
    return datetime.datetime(*when, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize("hour", [0, 7, 11])  # of the site's own midnight, in UTC
def test_the_last_day_of_a_year_ends_in_the_next(hour):
    end = end_s(2025, 1, 1, hour)
    assert date_of(end) == "2024-12-31"
    days = np.array([end, end + 86400.0])
    assert year_of(days).tolist() == [2024, 2025]
    assert month_of(days).tolist() == [12, 1]


def test_the_middle_is_half_a_day_before_the_end():
    assert middle_of(np.array([end_s(2024, 2, 29, 18)])) == np.datetime64("2024-02-29T06:00:00")


def test_days_before_1970_have_dates_too():
    assert date_of(end_s(1969, 12, 31)) == "1969-12-30"
    assert (month_of(np.array([-1.0])), year_of(np.array([-1.0]))) == (12, 1969)
