"""Run the passes of the simulated detector over all hours, compiled, without temporary arrays.

`compiled_exactly` keeps every rounding: the results have the bits of the same steps in numpy.
"""

from __future__ import annotations

import numpy as np

from epithermal_host.arrays import Array, Integers
from epithermal_host.compute.numba_cache import compiled_exactly

HOURS = 24  # of a day


@compiled_exactly
def noon_to_hours(daily: Array) -> Array:
    """Interpolate values at noon (days,) to the middle of each hour, (24 * days,)."""
    last = daily.size - 1
    out = np.empty(HOURS * daily.size)
    for i in range(out.size):
        when = (i + 0.5) / HOURS
        day = int(np.floor(when - 0.5))
        if day < 0:
            out[i] = daily[0]
        elif day >= last:
            out[i] = daily[last]
        else:
            out[i] = (daily[day + 1] - daily[day]) * (when - (day + 0.5)) + daily[day]
    return out


@compiled_exactly
def expected_counts(
    rate_cph: Array, sensitivity: Array, factor: Array, duration_s: Array, hour_s: float
) -> Array:
    """Compute the expected counts of each hour from the rate at the days' ends, (days + 1,)."""
    out = np.empty(factor.size)
    for i in range(out.size):
        day = i // HOURS
        part = (i + 0.5) / HOURS - day
        rate = (rate_cph[day + 1] - rate_cph[day]) * part + rate_cph[day]
        out[i] = rate * sensitivity[i] / factor[i] * duration_s[i] / hour_s
    return out


@compiled_exactly
def relative_humidity(vapour: Array, saturated: Array) -> Array:
    """Compute relative humidity [%] from each day's vapour (days,) and each hour's saturation."""
    out = np.empty(saturated.size)
    for i in range(out.size):
        out[i] = min(100.0 * vapour[i // HOURS] / saturated[i], 100.0)
    return out


@compiled_exactly
def rounded(values: Array, offset: float, low: float, high: float, steps: float) -> Array:
    """Add an offset to a sensor's values, limit them and round them to `steps` in a unit."""
    out = np.empty(values.size)
    for i in range(out.size):
        out[i] = np.rint(min(max(values[i] + offset, low), high) * steps) / steps
    return out


@compiled_exactly
def spread(daily: Array, shape: Array, total: float, steps: float) -> Array:
    """Distribute daily amounts over the hours by shares (24,) of `total`, in `steps` of a unit."""
    out = np.empty(HOURS * daily.size)
    for day in range(daily.size):
        for hour in range(HOURS):
            out[HOURS * day + hour] = np.rint(daily[day] * shape[hour] / total * steps) / steps
    return out


@compiled_exactly
def limit_to_shower(weight: Array, begin: Integers, length: Integers) -> None:
    """Set the weights (days, 24) outside of each day's shower to 0, in place."""
    for day in range(weight.shape[0]):
        for hour in range(HOURS):
            inside = begin[day] <= hour < begin[day] + length[day]
            weight[day, hour] = weight[day, hour] + 1e-6 if inside else 0.0


@compiled_exactly
def tips(daily_mm: Array, weight: Array, total: Array) -> Array:
    """Convert rain, (days,) by hourly weights (days, 24), to tips of 0.1 mm of a bucket [mm]."""
    out = np.empty(weight.size)
    fallen_mm = before = 0.0
    for i in range(out.size):
        day, hour = i // HOURS, i % HOURS
        fallen_mm += daily_mm[day] * weight[day, hour] / total[day]
        now = np.rint(fallen_mm * 10.0)  # the bucket holds the remainder
        out[i] = (now - before) / 10.0
        before = now
    return out
