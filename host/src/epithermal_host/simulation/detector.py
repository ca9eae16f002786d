"""Simulate a detector: turn a true neutron rate into the hourly records of a logger.

The rate is divided by the correction factors that the station multiplies by; then counts are
drawn, sensor values rounded and hours lost. `known_site` draws the site description that the
station has, `detector_faults` the errors of its sensors.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from epithermal_edge.inference.features import HOURS
from epithermal_edge.physics.atmosphere import absolute_humidity
from epithermal_edge.records import HOUSEKEEPING, NUMBERS, RawRecord
from epithermal_edge.site import Site
from epithermal_edge.times import HOUR_S
from epithermal_host.arrays import Array
from epithermal_host.config.instrument import (
    BETA_SIGMA,
    NO_FAULTS,
    OFFSETS,
    InstrumentConfig,
)
from epithermal_host.simulation import detector_faults
from epithermal_host.simulation import detector_kernel as kernel
from epithermal_host.simulation.known_site import Days, correction_factors, describe_site
from epithermal_host.simulation.scenario import Scenario
from epithermal_host.weather.generator import Weather

COLUMNS = tuple(name for name in NUMBERS if name not in ("end_s", *HOUSEKEEPING))
WARMEST_H = 15.0  # hour of the day at which the temperature peaks


@dataclass(frozen=True, slots=True)
class Observation:
    """Hourly records of one station, and its site as described to it."""

    site: Site
    end_s: Array  # (hours,) Unix time [s]
    columns: dict[str, Array]  # the fields of RawRecord, each (hours,)

    def records(self) -> list[RawRecord]:
        """Return the rows as the records that a station reads."""
        rows = zip(*(self.columns[name].tolist() for name in COLUMNS), strict=True)
        return [
            RawRecord(end_s, *row) for end_s, row in zip(self.end_s.tolist(), rows, strict=True)
        ]


def observe(
    scenario: Scenario,
    weather: Weather,
    rate_cph: Array,
    config: InstrumentConfig,
    theta: Array | None = None,
) -> Observation:
    """Simulate the records of a station at the place of a scenario.

    Parameters
    ----------
    scenario :
        The place; the random numbers depend on its seed, its index and the seed of `config`.
    weather :
        (days,) of the recorded period.
    rate_cph : (days + 1,) [counts h-1]
        Neutron rate without atmosphere at the start of the period and at the end of each day.
    config :
        Kinds and frequencies of the errors.
    theta : (days,) [m3 m-3]
        True mean of 0-30 cm, for the soil samples; required with sampling days.

    Raises
    ------
    ValueError
        `config` has sampling days and `theta` is missing.
    """
    if scenario.plain:
        config = dataclasses.replace(config, **NO_FAULTS)
    rng = scenario.rng("instrument", config.seed)
    days = weather.day.size
    air = _air(weather)
    true_site = _true_site(scenario.site, config, rng)
    sensitivity = detector_faults.drift(HOURS * days, config.drift_sigma, rng)
    end_s = (int(weather.day[0]) * HOURS + 1 + np.arange(HOURS * days)) * HOUR_S
    spread = config.duration_spread_s
    duration_s = HOUR_S + rng.integers(-spread, spread, HOURS * days, endpoint=True)
    factor = correction_factors(true_site, air, end_s)
    expected = kernel.expected_counts(rate_cph, sensitivity, factor, duration_s, HOUR_S)
    counts = rng.poisson(expected).astype(np.float64) if config.counting_noise else expected
    readings = _sensors(weather, air, config, rng)
    columns = {"duration_s": duration_s, "counts": counts, **readings}
    has = rng.random(4) < (
        config.gauge_share,
        config.et0_source_share,
        config.latitude_share,
        config.monitor_share,
    )
    for name, measured in (("rain_mm", has[0]), ("et0_mm", has[1]), ("incoming", has[3])):
        if not measured:
            columns[name][:] = np.nan
    calibration_days = Days(weather, rate_cph, columns, theta)
    site = describe_site(scenario, calibration_days, config, rng, knows_latitude=bool(has[2]))
    detector_faults.lose_hours(columns, config, rng)
    return Observation(site, end_s, columns)


def _true_site(site: Site, config: InstrumentConfig, rng: np.random.Generator) -> Site:
    """Replace the tabulated barometric coefficient by the true one of the place."""
    error = BETA_SIGMA * config.offset_scale * rng.standard_normal()
    return dataclasses.replace(site, beta_per_hpa=float(site.beta_per_hpa) * (1.0 + error))


def _sensors(
    weather: Weather, air: dict[str, Array], config: InstrumentConfig, rng: np.random.Generator
) -> dict[str, Array]:
    """Simulate the sensor readings with offsets and faults; (24 * days,) each."""
    offset = config.offset_scale * OFFSETS * rng.standard_normal(OFFSETS.size)
    rain = _rain(detector_faults.add_gauge_errors(weather.precipitation_mm, config, rng), rng)
    incoming = detector_faults.add_monitor_faults(
        air["incoming"], config.monitor_faults_per_year, rng
    )
    humidity_pct = air["relative_humidity_pct"]
    return {
        "pressure_hpa": kernel.rounded(air["pressure_hpa"], offset[0], -np.inf, np.inf, 10.0),
        "temperature_c": kernel.rounded(air["temperature_c"], offset[1], -np.inf, np.inf, 10.0),
        "relative_humidity_pct": kernel.rounded(humidity_pct, offset[2], 0.0, 100.0, 10.0),
        "rain_mm": rain,
        "et0_mm": _et0(weather.et0_mm),
        "incoming": kernel.rounded(incoming, 0.0, -np.inf, np.inf, 100.0),
    }


def _air(weather: Weather) -> dict[str, Array]:
    """Derive hourly from daily air: a cosine between the temperature extremes, constant vapour."""
    t_mean = 0.5 * (weather.t_min_c + weather.t_max_c)
    half = 0.5 * (weather.t_max_c - weather.t_min_c)
    cycle = np.cos(2.0 * np.pi * (np.arange(HOURS) + 0.5 - WARMEST_H) / HOURS)
    temperature = (t_mean[:, None] + half[:, None] * cycle).ravel()
    vapour = absolute_humidity(t_mean, weather.relative_humidity_pct)
    return {
        "temperature_c": temperature,
        "relative_humidity_pct": kernel.relative_humidity(
            vapour, absolute_humidity(temperature, 100.0)
        ),
        "pressure_hpa": kernel.noon_to_hours(weather.pressure_hpa),
        "incoming": kernel.noon_to_hours(weather.incoming),
    }


def _rain(daily_mm: Array, rng: np.random.Generator) -> Array:
    """Distribute each day's rain over one shower of several hours, in tips of 0.1 mm."""
    days = daily_mm.size
    begin = rng.integers(0, HOURS, days)
    length = 1 + rng.poisson(3.0, days)
    weight = rng.exponential(1.0, (days, HOURS))
    kernel.limit_to_shower(weight, begin, length)
    return kernel.tips(daily_mm, weight, weight.sum(axis=1))


def _et0(daily_mm: Array) -> Array:
    """Distribute each day's ET0 over daylight: half a sine from 6 to 18 h."""
    hour = np.arange(HOURS) + 0.5
    shape = np.maximum(np.sin(np.pi * (hour - 6.0) / 12.0), 0.0)
    return kernel.spread(daily_mm, shape, shape.sum(), 1000.0)
