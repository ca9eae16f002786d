"""Convert the day ends of a daily series to dates, months and years."""

from __future__ import annotations

from typing import Any

import numpy as np

from epithermal_edge.times import DAY_S
from epithermal_host.arrays import Array, Integers


def middle_of(day_end_s: Array) -> Any:
    """Return the middle of each day, datetime64[s] [UTC]: its position in a picture."""
    return (day_end_s - 0.5 * DAY_S).astype("datetime64[s]")


def month_of(day_end_s: Array) -> Integers:
    """Return the month of the middle of each day, 1 to 12."""
    return np.asarray(middle_of(day_end_s).astype("datetime64[M]").astype(np.int64) % 12 + 1)


def year_of(day_end_s: Array) -> Integers:
    """Return the calendar year of the middle of each day."""
    return np.asarray(middle_of(day_end_s).astype("datetime64[Y]").astype(np.int64) + 1970)


def date_of(day_end_s: float) -> str:
    """Format the date of the middle of a day, as 2024-06-10."""
    return str(middle_of(np.asarray(day_end_s)).astype("datetime64[D]"))
