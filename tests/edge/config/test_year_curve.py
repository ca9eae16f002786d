"""Interpolation of canopy cover and other curves over the year."""

from __future__ import annotations

import pytest

from epithermal_edge.config.year_curve import check_points, interpolate_year


def test_one_point_applies_to_the_whole_year():
    assert interpolate_year({"03-01": 0.4}) == (0.4,) * 366


def test_the_curve_passes_through_its_points_in_any_order():
    year = interpolate_year({"12-31": 0.6, "01-01": 0.2, "02-29": 0.5})
    assert (year[0], year[59], year[365]) == pytest.approx((0.2, 0.5, 0.6))


def test_the_curve_is_periodic():
    year = interpolate_year({"12-27": 0.0, "01-06": 1.0})
    assert year[361:] == pytest.approx((0.0, 0.1, 0.2, 0.3, 0.4))
    assert year[:6] == pytest.approx((0.5, 0.6, 0.7, 0.8, 0.9, 1.0))


def test_every_fault_of_a_curve_is_reported():
    assert check_points({"07-01": 0.9, "02-29": 0}, 0, 1) == []
    assert check_points({}, 0, 1) == ['is empty; give at least one point, as { "07-01" = 0.9 }']
    assert check_points({"13-01": 0.5, "06-01": "much"}, 0, 1) == [
        '"13-01" is not a day; write month and day, as "07-01"',
        "\"06-01\" = 'much' is not within 0 to 1",
    ]
