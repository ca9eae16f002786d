"""Instrument: a true neutron rate to the hourly records that a logger would have written.

The atmosphere is put back by dividing by the factors that the station multiplies with; then counts
are drawn, sensors rounded, hours lost. What the station knows of its site is drawn here too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.air import absolute_humidity
from epithermal_edge.corrections import (
    biomass_factor,
    humidity_factor,
    incoming_factor,
    pressure_factor,
)
from epithermal_edge.records import RawRecord
from epithermal_edge.site import Site
from epithermal_host.scenario import Scenario
from epithermal_host.weather import Weather

Array = NDArray[np.float64]

HOURS = 24
HOUR_S = 3600.0
COLUMNS = tuple(f.name for f in dataclasses.fields(RawRecord) if f.name != "end_s")
WARMEST_H = 15.0  # of the day, when the temperature peaks


@dataclass(frozen=True, slots=True)
class InstrumentConfig:
    """Detectors, loggers and calibrations: section [instrument] of run.toml."""

    seed: int = 0  # another number: other noise over the same simulated columns
    counting_noise: bool = True  # Poisson
    duration_spread_s: int = 2  # counting time is 3600 s give or take
    dropout_share_max: float = 0.03  # lost hours of a station, uniform up to
    outages_per_year: float = 1.0  # mean number
    outage_max_d: float = 9.0  # length, uniform from 1 day
    gauge_share: float = 1.0  # stations with rain
    et0_source_share: float = 0.2  # stations that are told ET0
    latitude_share: float = 1.0  # stations that know their latitude, for Hargreaves' ET0
    monitor_share: float = 1.0  # stations with a neutron monitor's count
    calibration_n_sigma: float = 0.01  # relative error of the station's N
    calibration_lattice_sigma_g_g: float = 0.004  # error of its lattice water

    def __post_init__(self) -> None:
        ranges = {f.name: 1.0 for f in dataclasses.fields(self) if "_share" in f.name}
        ranges |= {"calibration_n_sigma": 0.2, "calibration_lattice_sigma_g_g": 0.2}
        ranges |= {"duration_spread_s": 600.0, "outages_per_year": 100.0, "seed": 2.0**31}
        faults = [
            f"{name} must be within 0 to {high:g}"
            for name, high in ranges.items()
            if not 0.0 <= getattr(self, name) <= high
        ]
        if not 1.0 <= self.outage_max_d <= 60.0:
            faults.append("outage_max_d must be within 1 to 60")
        if faults:
            raise ValueError("; ".join(faults))


@dataclass(frozen=True, slots=True)
class Observation:
    """Hourly records of one station, and its site as the station knows it."""

    site: Site
    end_s: Array  # (hours,) Unix time [s]
    columns: dict[str, Array]  # the fields of RawRecord, each (hours,)

    def records(self) -> list[RawRecord]:
        """The same as records of floats, the way a station meets them."""
        rows = zip(*(self.columns[name].tolist() for name in COLUMNS), strict=True)
        return [
            RawRecord(end_s, *row) for end_s, row in zip(self.end_s.tolist(), rows, strict=True)
        ]


def observe(
    scenario: Scenario, weather: Weather, rate_cph: Array, config: InstrumentConfig
) -> Observation:
    """Records of a station that stands at a scenario.

    Parameters
    ----------
    scenario :
        The place; the random numbers depend on its seed and index and on the config's seed.
    weather :
        (days,) of the period that is recorded.
    rate_cph : (days + 1,) [counts h-1]
        Neutron rate without atmosphere at the begin of the period and at each day's end.
    config :
        What goes wrong, and how often.
    """
    rng = scenario.rng("instrument", config.seed)
    days = weather.day.size
    air = _air(weather)
    middle = (np.arange(HOURS * days) + 0.5) / HOURS
    rate = np.interp(middle, np.arange(days + 1.0), rate_cph) / _factors(scenario.site, air)
    spread = config.duration_spread_s
    duration_s = HOUR_S + rng.integers(-spread, spread, HOURS * days, endpoint=True)
    expected = rate * duration_s / HOUR_S
    counts = rng.poisson(expected).astype(np.float64) if config.counting_noise else expected
    columns = {
        "duration_s": duration_s,
        "counts": counts,
        "pressure_hpa": np.round(air["pressure_hpa"], 1),
        "temperature_c": np.round(air["temperature_c"], 1),
        "relative_humidity_pct": np.round(air["relative_humidity_pct"], 1),
        "rain_mm": _rain(weather.precipitation_mm, rng),
        "et0_mm": _et0(weather.et0_mm),
        "incoming": np.round(air["incoming"], 2),
    }
    site = _installed(scenario.site, config, rng, columns)
    _lose_hours(columns, config, rng)
    first = int(weather.day[0]) * HOURS
    return Observation(site, (first + 1 + np.arange(HOURS * days)) * HOUR_S, columns)


def _air(weather: Weather) -> dict[str, Array]:
    """Hourly air from daily: a cosine between the extremes; the vapour's mass stays in a day."""
    days = weather.day.size
    hour = np.tile(np.arange(HOURS) + 0.5, days)
    t_mean = 0.5 * (weather.t_min_c + weather.t_max_c)
    half = 0.5 * (weather.t_max_c - weather.t_min_c)
    cycle = np.cos(2.0 * np.pi * (hour - WARMEST_H) / HOURS)
    temperature = np.repeat(t_mean, HOURS) + np.repeat(half, HOURS) * cycle
    vapour = np.repeat(absolute_humidity(t_mean, weather.relative_humidity_pct), HOURS)
    saturated = absolute_humidity(temperature, 100.0)
    at_noon, when = np.arange(days) + 0.5, (np.arange(HOURS * days) + 0.5) / HOURS
    return {
        "temperature_c": temperature,
        "relative_humidity_pct": np.minimum(100.0 * vapour / saturated, 100.0),
        "pressure_hpa": np.interp(when, at_noon, weather.pressure_hpa),
        "incoming": np.interp(when, at_noon, weather.incoming),
    }


def _factors(site: Site, air: dict[str, Array]) -> Array:
    """Product of the factors that would correct a count in this air."""
    vapour = absolute_humidity(air["temperature_c"], air["relative_humidity_pct"])
    return np.asarray(
        pressure_factor(air["pressure_hpa"], site.beta_per_hpa, site.pressure_ref_hpa)
        * humidity_factor(vapour, site.humidity_ref_g_m3)
        * incoming_factor(
            air["incoming"], site.incoming_ref, site.incoming_form, site.incoming_scale
        )
        * biomass_factor(site.biomass_kg_m2, site.biomass_slope_per_mm)
    )


def _rain(daily_mm: Array, rng: np.random.Generator) -> Array:
    """A day's rain as one shower of some hours, in tips of 0.1 mm."""
    days = daily_mm.size
    begin = rng.integers(0, HOURS, (days, 1))
    length = 1 + rng.poisson(3.0, (days, 1))
    hour = np.arange(HOURS)[None, :]
    weight = rng.exponential(1.0, (days, HOURS)) + 1e-6
    weight *= (hour >= begin) & (hour < begin + length)
    hourly = daily_mm[:, None] * weight / weight.sum(axis=1, keepdims=True)
    tips = np.round(np.cumsum(hourly.ravel()) * 10.0)  # a bucket carries its remainder over
    return np.asarray(np.diff(tips, prepend=0.0) / 10.0)


def _et0(daily_mm: Array) -> Array:
    """A day's ET0 over the hours of light, half a sine from 6 to 18 h."""
    hour = np.arange(HOURS) + 0.5
    shape = np.maximum(np.sin(np.pi * (hour - 6.0) / 12.0), 0.0)
    return np.asarray(np.round((daily_mm[:, None] * shape / shape.sum()).ravel(), 3))


def _installed(
    truth: Site, config: InstrumentConfig, rng: np.random.Generator, columns: dict[str, Array]
) -> Site:
    """The site as the station knows it; columns of what it has no source for become NaN."""
    has = rng.random(4) < (
        config.gauge_share,
        config.et0_source_share,
        config.latitude_share,
        config.monitor_share,
    )
    for name, known in (("rain_mm", has[0]), ("et0_mm", has[1]), ("incoming", has[3])):
        if not known:
            columns[name][:] = np.nan
    e_n, e_lattice = rng.standard_normal(2)
    lattice = float(truth.lattice_water_g_g) + config.calibration_lattice_sigma_g_g * e_lattice
    return dataclasses.replace(
        truth,
        cosmic_n_cph=float(truth.cosmic_n_cph) * (1.0 + config.calibration_n_sigma * e_n),
        lattice_water_g_g=max(lattice, 0.0),
        latitude_deg=truth.latitude_deg if has[2] else float("nan"),
    )


def _lose_hours(
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
