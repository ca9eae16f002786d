"""Define section [instrument] of run.toml: detectors, loggers, calibrations and their errors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

OFFSETS = np.array([0.7, 0.3, 3.0])
"""Standard deviations of the sensor offsets: pressure [hPa], temperature [degC], humidity [%];
typical accuracies of data sheets."""
SAMPLING_SIGMA = 0.015  # of the mean of some hundred samples of a field [m3 m-3]; own choice
BETA_SIGMA = 0.02  # relative, of the barometric coefficient about the table's; own choice
SOIL_ERRORS = np.array([0.01, 0.015, 0.1, 0.03, 0.2])
"""Standard errors of laboratory values: theta_r, theta_s [m3 m-3], log10 of alpha, of n - 1 and of
Ks; own choice."""

COVER_ERRORS = np.array([10.0, 0.2, 0.3, 0.15])
"""Standard errors of a user's description: dates of the season [d], logarithms of canopy cover and
rooting depth, share of evaporation; own choice."""


@dataclass(frozen=True, slots=True)
class InstrumentConfig:
    """Detectors, loggers and calibrations: section [instrument] of run.toml.

    A value of 0 turns the error of a key off.
    """

    seed: int = 0  # another value: other noise over the same simulated columns
    counting_noise: bool = True  # Poisson
    duration_spread_s: int = 2  # counting time is 3600 s plus or minus this
    dropout_share_max: float = 0.03  # lost hours of a station, uniform up to this
    outages_per_year: float = 1.0  # mean number
    outage_max_d: float = 9.0  # length, uniform from 1 day
    drift_sigma: float = 0.007  # relative, of the sensitivity in a year; a random walk
    offset_scale: float = 1.0  # scales the constant errors of the air sensors, see `OFFSETS`
    monitor_faults_per_year: float = 0.5  # the neutron monitor repeats a value or drops
    gauge_sigma: float = 0.1  # relative error of the rain gauge, constant
    rain_day_sigma: float = 0.15  # of log daily rain: rain on the field differs from the gauge
    gauge_share: float = 1.0  # stations with a rain gauge
    et0_source_share: float = 0.2  # stations that receive ET0
    latitude_share: float = 1.0  # stations that know their latitude, for Hargreaves' ET0
    monitor_share: float = 1.0  # stations with counts of a neutron monitor
    sampling_days: int = 3  # N is calibrated on 1 to this many days; 0: N is known
    sampling_sigma: float = SAMPLING_SIGMA  # of the field mean of one sampling day [m3 m-3]
    sampling_weighted_share: float = 0.5  # stations with samples weighted like the counts
    response_known: bool = True  # sampled stations know the response of their place, else COSMIC
    density_sigma: float = 0.04  # relative error of the station's bulk density
    lattice_sigma_g_g: float = 0.004  # error of its lattice water
    soil_measured_share: float = 0.3  # stations with hydraulic parameters from a laboratory
    soil_texture_share: float = 0.4  # from a pedotransfer function; the rest: unknown
    soil_error_scale: float = 1.0  # scales the laboratory's errors, see `SOIL_ERRORS`
    cover_told_share: float = 0.7  # stations whose vegetation is described
    cover_error_scale: float = 1.0  # scales the errors of that description, see `COVER_ERRORS`
    biomass_known_share: float = 0.0  # stations that correct their counts for biomass by date

    def __post_init__(self) -> None:
        ranges = {f.name: 1.0 for f in dataclasses.fields(self) if "_share" in f.name}
        ranges |= {"density_sigma": 0.2, "lattice_sigma_g_g": 0.2, "sampling_sigma": 0.2}
        ranges |= {"drift_sigma": 0.1, "offset_scale": 5.0, "monitor_faults_per_year": 50.0}
        ranges |= {"gauge_sigma": 0.5, "rain_day_sigma": 1.0, "soil_error_scale": 5.0}
        ranges |= {"cover_error_scale": 5.0}
        ranges |= {"duration_spread_s": 600.0, "outages_per_year": 100.0, "seed": 2.0**31}
        ranges |= {"sampling_days": 100.0}
        faults = [
            f"{name} must be within 0 to {high:g}"
            for name, high in ranges.items()
            if not 0.0 <= getattr(self, name) <= high
        ]
        if not 1.0 <= self.outage_max_d <= 60.0:
            faults.append("outage_max_d must be within 1 to 60")
        if self.soil_measured_share + self.soil_texture_share > 1.0:
            faults.append("soil_measured_share + soil_texture_share must be at most 1")
        if faults:
            raise ValueError("; ".join(faults))


NO_FAULTS: dict[str, Any] = {
    "dropout_share_max": 0.0,
    "outages_per_year": 0.0,
    "drift_sigma": 0.0,
    "offset_scale": 0.0,
    "monitor_faults_per_year": 0.0,
    "gauge_sigma": 0.0,
    "rain_day_sigma": 0.0,
    "sampling_days": 0,
    "density_sigma": 0.0,
    "lattice_sigma_g_g": 0.0,
    "soil_measured_share": 1.0,
    "soil_texture_share": 0.0,
    "soil_error_scale": 0.0,
    "cover_told_share": 1.0,
    "cover_error_scale": 0.0,
}
"""Settings of a station without faults on a known site; counting noise remains."""
