"""What goes wrong at a station: drift, lost hours, a gauge that errs, a monitor that fails."""

from __future__ import annotations

import numpy as np

from epithermal_edge.inference.features import HOURS
from epithermal_host.arrays import Array
from epithermal_host.config.instrument import InstrumentConfig
from epithermal_host.weather.generator import DAYS_PER_YEAR

STANDS_D = (0.5, 10.0)  # a monitor that stands still, as seen in archives; own choice
FALLS_D, FALLS = (0.1, 2.0), (0.03, 0.15)  # one that falls: for how long, by how much; own choice


def drift(hours: int, sigma: float, rng: np.random.Generator) -> Array:
    """Sensitivity of a detector over its mean, (hours,) [-]: a random walk, `sigma` a year."""
    days = -(-hours // HOURS)
    walk = np.cumsum(rng.standard_normal(days)) * sigma / np.sqrt(DAYS_PER_YEAR)
    return np.asarray(np.repeat(1.0 + walk - walk.mean(), HOURS)[:hours])


def gauged(daily_mm: Array, config: InstrumentConfig, rng: np.random.Generator) -> Array:
    """Rain as a gauge has it that errs by a constant factor and, each day, by another."""
    constant, each = rng.standard_normal(), rng.standard_normal(daily_mm.size)
    sigma = config.rain_day_sigma
    factor = max(1.0 + config.gauge_sigma * constant, 0.3) * np.exp(sigma * each - 0.5 * sigma**2)
    return np.asarray(daily_mm * factor)


def monitored(incoming: Array, per_year: float, rng: np.random.Generator) -> Array:
    """A neutron monitor's hourly values, some of them false and not flagged."""
    out = incoming.copy()
    for _ in range(rng.poisson(per_year * out.size / (HOURS * DAYS_PER_YEAR))):
        begin, stands = int(rng.integers(0, out.size)), rng.random() < 0.5
        length = max(int(HOURS * rng.uniform(*(STANDS_D if stands else FALLS_D))), 1)
        if stands:
            out[begin : begin + length] = out[begin]
        else:
            out[begin : begin + length] *= 1.0 - rng.uniform(*FALLS)
    return out


def lose_hours(
    columns: dict[str, Array], config: InstrumentConfig, rng: np.random.Generator
) -> None:
    """Single counts that are lost, and outages in which the whole logger is dark."""
    hours = columns["counts"].size
    lost = rng.random(hours) < rng.random() * config.dropout_share_max
    dark = np.zeros(hours, dtype=np.bool_)
    for _ in range(rng.poisson(config.outages_per_year * hours / 8766.0)):
        begin = int(rng.integers(0, hours))
        dark[begin : begin + int(HOURS * rng.uniform(1.0, config.outage_max_d))] = True
    for name, values in columns.items():
        if name == "duration_s":
            values[lost | dark] = 0.0
        else:
            values[lost | dark if name == "counts" else dark] = np.nan
