"""Simulate a station's faults: drift, lost hours, errors of rain gauge and neutron monitor."""

from __future__ import annotations

import numpy as np

from epithermal_edge.inference.features import HOURS
from epithermal_host.arrays import Array
from epithermal_host.config.instrument import InstrumentConfig
from epithermal_host.weather.generator import DAYS_PER_YEAR

# Faults of neutron monitors, shortest and longest [d], smallest and largest relative drop; own
# choice after archives of monitor data.
STUCK_D = (0.5, 10.0)
DROP_D, DROP = (0.1, 2.0), (0.03, 0.15)


def drift(hours: int, sigma: float, rng: np.random.Generator) -> Array:
    """Draw a detector's sensitivity over its mean, (hours,) [-]: a random walk, `sigma` a year."""
    days = -(-hours // HOURS)
    walk = np.cumsum(rng.standard_normal(days)) * sigma / np.sqrt(DAYS_PER_YEAR)
    return np.asarray(np.repeat(1.0 + walk - walk.mean(), HOURS)[:hours])


def add_gauge_errors(daily_mm: Array, config: InstrumentConfig, rng: np.random.Generator) -> Array:
    """Multiply daily rain by a constant gauge factor and by a random factor for each day."""
    constant, each = rng.standard_normal(), rng.standard_normal(daily_mm.size)
    sigma = config.rain_day_sigma
    factor = max(1.0 + config.gauge_sigma * constant, 0.3) * np.exp(sigma * each - 0.5 * sigma**2)
    return np.asarray(daily_mm * factor)


def add_monitor_faults(incoming: Array, per_year: float, rng: np.random.Generator) -> Array:
    """Add unflagged faults to a neutron monitor's hourly values: stuck values and drops."""
    out = incoming.copy()
    for _ in range(rng.poisson(per_year * out.size / (HOURS * DAYS_PER_YEAR))):
        begin, stuck = int(rng.integers(0, out.size)), rng.random() < 0.5
        length = max(int(HOURS * rng.uniform(*(STUCK_D if stuck else DROP_D))), 1)
        if stuck:
            out[begin : begin + length] = out[begin]
        else:
            out[begin : begin + length] *= 1.0 - rng.uniform(*DROP)
    return out


def lose_hours(
    columns: dict[str, Array], config: InstrumentConfig, rng: np.random.Generator
) -> None:
    """Remove single counts and, during outages of the logger, all values; in place."""
    hours = columns["counts"].size
    lost = rng.random(hours) < rng.random() * config.dropout_share_max
    outage = np.zeros(hours, dtype=np.bool_)
    for _ in range(rng.poisson(config.outages_per_year * hours / 8766.0)):
        begin = int(rng.integers(0, hours))
        outage[begin : begin + int(HOURS * rng.uniform(1.0, config.outage_max_d))] = True
    uncounted = np.flatnonzero(lost | outage)
    silent = np.flatnonzero(outage)
    columns["duration_s"][uncounted] = 0.0
    columns["counts"][uncounted] = np.nan
    if silent.size:
        for name in columns.keys() - {"duration_s", "counts"}:
            columns[name][silent] = np.nan
