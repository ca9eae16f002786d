"""What [instrument] of run.toml says: detectors, loggers, calibrations and their troubles."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

OFFSETS = np.array(
    [0.7, 0.3, 3.0]
)  # of pressure [hPa], temperature [degC], humidity [%]; as data sheets tell accuracy
SAMPLING_SIGMA = 0.015  # of the mean of some hundred samples of a field [m3 m-3]; own choice
BETA_SIGMA = 0.02  # relative, of the barometric coefficient about the tables'; own choice
SOIL_ERRORS = np.array([0.01, 0.015, 0.1, 0.03, 0.2])
"""Of a laboratory: theta_r, theta_s [m3 m-3], log10 of alpha, of n - 1 and of Ks; own choice."""

COVER_ERRORS = np.array([10.0, 0.2, 0.3, 0.15])
"""Of an owner's eye: the season's dates [d], logarithms of canopy cover and of rooting depth, share
of evaporation; own choice."""


@dataclass(frozen=True, slots=True)
class InstrumentConfig:
    """Detectors, loggers and calibrations: section [instrument] of run.toml.

    Each trouble has its switch: 0 is without it.
    """

    seed: int = 0  # another number: other noise over the same simulated columns
    counting_noise: bool = True  # Poisson
    duration_spread_s: int = 2  # counting time is 3600 s give or take
    dropout_share_max: float = 0.03  # lost hours of a station, uniform up to
    outages_per_year: float = 1.0  # mean number
    outage_max_d: float = 9.0  # length, uniform from 1 day
    drift_sigma: float = 0.007  # of the detector's sensitivity, relative, in a year; a slow walk
    offset_scale: float = 1.0  # constant errors of the sensors of the air, see `OFFSETS`
    monitor_faults_per_year: float = 0.5  # stands still, or falls for no reason
    gauge_sigma: float = 0.1  # relative error of the rain gauge, constant
    rain_day_sigma: float = 0.15  # of the logarithm of each day's rain: the field is not the gauge
    gauge_share: float = 1.0  # stations with rain
    et0_source_share: float = 0.2  # stations that are told ET0
    latitude_share: float = 1.0  # stations that know their latitude, for Hargreaves' ET0
    monitor_share: float = 1.0  # stations with a neutron monitor's count
    sampling_days: int = 3  # a station was calibrated on 1 to so many; 0: N is known
    sampling_sigma: float = SAMPLING_SIGMA  # of the field mean of one sampling day [m3 m-3]
    sampling_weighted_share: float = 0.5  # stations whose samples were weighted as the counts are
    density_sigma: float = 0.04  # relative error of the station's bulk density
    lattice_sigma_g_g: float = 0.004  # error of its lattice water
    soil_measured_share: float = 0.3  # stations that know hydraulic parameters from a laboratory
    soil_texture_share: float = 0.4  # that know them by a pedotransfer function; the rest: not
    soil_error_scale: float = 1.0  # errors of the laboratory's parameters, see `SOIL_ERRORS`
    cover_told_share: float = 0.7  # stations that are told what grows around them
    cover_error_scale: float = 1.0  # errors of what they are told, see `COVER_ERRORS`

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


UNTROUBLED: dict[str, Any] = {
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
"""Settings of a station without fault, whose site is known; counting noise stays."""
