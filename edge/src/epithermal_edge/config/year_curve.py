"""Check and interpolate a value given on some days of the year, as { "07-01" = 0.9, ... }."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from epithermal_edge.times import YEAR_D

LEAP_YEAR = 2024  # any: 02-29 must be valid


def interpolate_year(points: Mapping[str, float]) -> tuple[float, ...]:
    """Interpolate a value linearly to each day of the year, periodically.

    Parameters
    ----------
    points :
        "MM-DD" to the value; one point applies to the whole year.

    Returns
    -------
    (366,)
        In the unit of the points.

    Raises
    ------
    ValueError
        A key is not a day of the year.
    """
    known = sorted((_day(date), float(value)) for date, value in points.items())
    first, last = known[0], known[-1]
    circle = [(last[0] - YEAR_D, last[1]), *known, (first[0] + YEAR_D, first[1])]
    out = []
    i = 0
    for day in range(1, YEAR_D + 1):
        while circle[i + 1][0] < day:
            i += 1
        (begin, low), (end, high) = circle[i], circle[i + 1]
        out.append(low + (high - low) * (day - begin) / (end - begin))
    return tuple(out)


def check_points(points: Mapping[str, Any], low: float, high: float) -> list[str]:
    """List the faults of the points of a curve whose values are within `low` to `high`."""
    if not points:
        return ['is empty; give at least one point, as { "07-01" = 0.9 }']
    faults = []
    for date, value in points.items():
        try:
            _day(date)
        except ValueError:
            faults.append(f'"{date}" is not a day; write month and day, as "07-01"')
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            faults.append(f'"{date}" = {value!r} is not within {low:g} to {high:g}')
    return faults


def _day(date: str) -> int:
    """Return the day of a leap year, 1 to 366."""
    moment = datetime.datetime.strptime(f"{LEAP_YEAR}-{date}", "%Y-%m-%d")
    return moment.timetuple().tm_yday
