"""Calibrate a real site twice: with COSMIC's N, and with the network's own N.

With its own N the network's theta equals the samples on the sampling day. It is the N that
`calibrate --bundle` writes into the tables for station.toml (decision 0011).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.times import DAY_S
from epithermal_host.arrays import Array
from epithermal_host.compute.crew import Crew
from epithermal_host.config.instrument import SAMPLING_SIGMA
from epithermal_host.evaluation.methods import InputSet, input_sets
from epithermal_host.field.calibration_fit import HISTORY_D
from epithermal_host.field.network_n import candidates, network_fit, network_theta, stream
from epithermal_host.field.series import (
    FieldSeries,
    calibrated_n,
    known_site,
    load_each,
    raw_records,
    sample_day,
)
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.training.series import NAMES

RAIN_KNOWN = NAMES.index("rain_known")


@dataclass(frozen=True, slots=True, eq=False)
class NetworkInputs:
    """Features of a site with one set of inputs, computed with the network's own N."""

    inputs: InputSet  # features (1, T, F) with its own N
    n_cph: float  # that N; COSMIC's if the network has none [counts h-1]


def load(
    site_file: SiteFile, bundle: Bundle, who: Crew, runtime_name: str | None = None
) -> tuple[FieldSeries, tuple[NetworkInputs, ...]]:
    """Load a site calibrated on its sampling day: with COSMIC's N, and for the network.

    Returns
    -------
    FieldSeries, tuple of NetworkInputs
        Series with COSMIC's N; features with the network's N for each set of inputs. With the N
        of the site file, both have that one.

    Raises
    ------
    ConfigError
        As `field.series.load`.
    """
    read = raw_records(site_file)
    if site_file.n_cph is not None:
        (given,) = load_each(site_file, np.array([site_file.n_cph]), read)
        sets = _input_sets(site_file, given.features[None])
        return given, tuple(NetworkInputs(inputs, given.cosmic_n_cph) for inputs in sets)
    end_s, theta = sample_day(site_file)
    classical = calibrated_n(site_file, read.records, end_s, theta)
    around = candidates(classical)
    site = known_site(site_file, theta, around)
    until = [r for r in read.records if end_s - HISTORY_D * DAY_S < r.end_s <= end_s]
    run = stream(site, around, until, site_file.day_ends_utc_h, None)
    day, sample, error = np.array([end_s]), np.array([theta]), np.array([SAMPLING_SIGMA])
    n_cph = []
    for inputs in _input_sets(site_file, run.features):
        theta_of_n = network_theta(bundle, inputs.features, run.restart, who, runtime_name)
        fit = network_fit(dataclasses.replace(run, theta=theta_of_n), day, sample, error)
        n_cph.append(classical if fit.reason or math.isnan(fit.n_cph) else fit.n_cph)
    first, *own = load_each(site_file, np.array([classical, *n_cph]), read)
    network_inputs = [
        NetworkInputs(_input_sets(site_file, series.features[None])[i], series.cosmic_n_cph)
        for i, series in enumerate(own)
    ]
    return first, tuple(network_inputs)


def _input_sets(site_file: SiteFile, features: Array) -> tuple[InputSet, ...]:
    """Mask features (k, T, F) to counts alone and, if the site file has rain, to rain and ET0."""
    rain = bool(site_file.rain) and bool(features[..., RAIN_KNOWN].any())
    return input_sets(features.astype(np.float32), np.full(len(features), rain))
