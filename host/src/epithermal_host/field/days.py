"""Average series over days; convert between days and times."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np

from epithermal_edge.times import DAY_S, HOUR_S
from epithermal_host.arrays import Array, Integers
from epithermal_host.field.site_toml import SiteFile

EPOCH = datetime.date(1970, 1, 1)

COVERED = 0.75  # smallest share of a day's usual number of readings
ROUNDS_MAX = 200  # of the fit in fill_columns
CONVERGED = 1e-7  # change of a column's constant at which it ends


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


def daily_mean(time_s: Array, value: Array, day_end_s: Array) -> Array:
    """Average a series over the 24 h before each end, (T,); NaN if over a quarter is missing."""
    first = day_end_s[0] - DAY_S
    row = np.ceil((time_s - first) / DAY_S).astype(np.int64) - 1
    place = {round((end - first) / DAY_S) - 1: i for i, end in enumerate(day_end_s.tolist())}
    index = np.array([place.get(r, -1) for r in row.tolist()], dtype=np.int64)
    usable = (index >= 0) & np.isfinite(value)
    total = np.bincount(index[usable], value[usable], day_end_s.size)
    number = np.bincount(index[usable], minlength=day_end_s.size)
    step_s = float(np.median(np.diff(time_s))) if time_s.size > 1 else DAY_S
    enough = number >= max(COVERED * DAY_S / max(step_s, 1.0), 1.0)
    return np.where(enough, total / np.maximum(number, 1), np.nan)


def nanmean_rows(values: Array) -> Array:
    """Average each row over the columns that have a value, (n,); NaN if none has."""
    known = np.isfinite(values)
    number = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def fill_columns(values: Array) -> Array:
    """Fill the gaps of columns (n, k) that differ by constants; NaN where a row has no value.

    A missing value is the mean anomaly of the row's other columns plus the column's constant, so
    that the mean of the columns does not jump when one drops out. A column without any value
    remains NaN.

    Notes
    -----
    The constants are fitted to all rows by alternating means (additive two-way fit).
    """
    known = np.isfinite(values)
    used = known.any(axis=0)
    if known[:, used].all():
        return values
    offset = np.zeros(values.shape[1])
    for _ in range(ROUNDS_MAX):
        anomaly = nanmean_rows(values - offset)
        new = nanmean_rows((values - anomaly[:, None]).T)
        new -= new[used].mean()
        last, offset = offset, new
        if np.abs(offset - last)[used].max() < CONVERGED:
            break
    return np.where(known, values, nanmean_rows(values - offset)[:, None] + offset)


def begin_s(day: str) -> float:
    """Return the start of a day, given as ISO date [s, UTC]."""
    return (datetime.date.fromisoformat(day) - EPOCH).days * DAY_S


def date_from(begin_s: float) -> str:
    """Format the start of a day [s, UTC] as ISO date."""
    return (EPOCH + datetime.timedelta(days=begin_s / DAY_S)).isoformat()


def day_window_end_s(site_file: SiteFile, day: str) -> float:
    """Return the end [s, UTC] of the 24 h window with most of a day's light; day: ISO date."""
    noon_s = begin_s(day) + (12.0 - site_file.longitude_deg / 15.0) * HOUR_S
    shift = site_file.day_ends_utc_h * HOUR_S
    return math.ceil((noon_s - shift) / DAY_S) * DAY_S + shift
