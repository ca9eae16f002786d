"""Define the records of the pipeline: raw record, corrected record, estimate, quality flags.

A number is a float (the station) or an array with one value per site (training): the same code
corrects both and computes features from both.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Floats = float | NDArray[np.float64]
"""A scalar, or an array (n,) with one value per site."""

NAN = float("nan")
LAYERS_CM = ((0, 10), (10, 30), (30, 60))
"""Top and bottom of the layers that the network estimates besides 0-30 cm."""


class Quality(enum.IntFlag):
    """Flags of known defects of a record, a window or an estimate; they combine by bitwise or."""

    GOOD = 0
    MISSING = 1  # no counts, or no counting time
    SHORT = 2  # counting time below a fraction of the previous one, e.g. after a restart
    LATE = 4  # ends no later than the previous record: stored and sent, not fed to the network
    ZERO_COUNTS = 8  # zero counts where this is improbable: not used
    PRESSURE_MISSING = 16  # no air pressure: the count cannot be corrected and is not used
    HUMIDITY_HELD = 32  # air humidity is the last known value
    HUMIDITY_MISSING = 64  # air humidity unknown for a day: the reference humidity replaces it
    INCOMING_HELD = 128  # rate of the neutron monitor or of muons is the last known value
    INCOMING_MISSING = 256  # rate of the neutron monitor or of muons unknown: f_i is 1
    GAP = 512  # less than 12 h of counting in the last 24 h
    CLIPPED = 1024  # count outside of the range of the inversion
    WARM_UP = 2048  # the network has seen fewer days than its spin-up
    NO_MODEL = 4096  # no network estimate yet, or none for this record
    SNOW = 1 << 16  # snow on the ground (inference/snow.py): theta is the last value before it
    WEATHER_MISSING = 1 << 20  # a value of a [weather.*] table is late, stale or missing
    # inference/qc.py sets the flags below; their thresholds are in [quality] of station.toml.
    PRESSURE_RANGE = 1 << 32  # pressure impossible at this altitude: treated as missing
    AIR_RANGE = 1 << 33  # air temperature or humidity impossible: treated as missing
    RAIN_RANGE = 1 << 34  # rain impossible: treated as missing
    COUNT_RANGE = 1 << 35  # more counts than over bare dry soil: not used
    PRESSURE_JUMP = 1 << 36
    AIR_JUMP = 1 << 37
    PRESSURE_STUCK = 1 << 38
    AIR_STUCK = 1 << 39
    INCOMING_STUCK = 1 << 40
    COUNT_STUCK = 1 << 41  # the same count repeatedly: not used
    COUNT_SPIKE = 1 << 42  # far from the recent mean by Poisson statistics
    TUBE_RATIO = 1 << 43  # the ratio between the tubes has changed
    LOW_BATTERY = 1 << 44
    HOUSING_HUMID = 1 << 45  # the desiccant is exhausted
    DOUBTFUL = 1 << 46  # the count of an earlier record in the window is doubtful
    INCOMING_JUMP = 1 << 47  # muon rate impossible or with a jump: the last known value is used
    BARE_SILENT = 1 << 48  # no thermal neutrons, or no count of them, while the other tubes count


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One counting interval as the logger recorded it; NaN where a value is missing."""

    end_s: float  # Unix time of the interval's end [s, UTC]
    duration_s: Floats  # counting time [s]
    counts: Floats  # neutrons counted by the moderated tubes [-]
    pressure_hpa: Floats = NAN
    temperature_c: Floats = NAN
    relative_humidity_pct: Floats = NAN
    rain_mm: Floats = NAN  # in the interval
    et0_mm: Floats = NAN  # reference evapotranspiration in the interval
    incoming: Floats = NAN  # neutron monitor, in the unit of the site's reference
    battery_v: Floats = NAN  # supply of logger and detector
    housing_humidity_pct: Floats = NAN  # inside the housing of tubes or logger
    first_tube_counts: Floats = NAN  # of the first tube, where counts is the sum of several
    channels: Mapping[str, Floats] = field(default_factory=dict)  # loggers.channels; never NaN


NUMBERS = tuple(f.name for f in fields(RawRecord) if f.name != "channels")
"""Fields that every record has; the names of its `channels` are those that its logger measured."""

HOUSEKEEPING = ("battery_v", "housing_humidity_pct", "first_tube_counts")
"""Fields about the state of the instrument; neither corrections nor features use them."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A correction factor; every factor multiplies the raw rate."""

    name: str  # field of CorrectedRecord; column of the journal and of tables; key on the page
    of: str  # what it takes out of a count


FACTORS = (
    Factor("f_p", "pressure"),
    Factor("f_h", "humidity"),
    Factor("f_i", "cosmic rays"),
    Factor("f_v", "plants"),
)
"""In the order in which they multiply; `inference.pipeline.factors` computes them."""


def product(factors: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Multiply the factors (n,) of one record, given in the order of FACTORS."""
    return reduce(np.multiply, factors)


@dataclass(frozen=True, slots=True)
class CorrectedRecord:
    """One interval, corrected for atmosphere and plants; arrays (n,), one value per site."""

    end_s: float
    duration_s: NDArray[np.float64]
    counts: NDArray[np.float64]
    n_raw_cph: NDArray[np.float64]
    n_corr_cph: NDArray[np.float64]  # n_raw times every factor
    n_corr_sigma_cph: NDArray[np.float64]  # Poisson and intensity monitor
    f_p: NDArray[np.float64]  # as FACTORS, to f_v
    f_h: NDArray[np.float64]
    f_i: NDArray[np.float64]
    f_v: NDArray[np.float64]
    abs_humidity_g_m3: NDArray[np.float64]
    quality: NDArray[np.int64]  # Quality


@dataclass(frozen=True, slots=True)
class Estimate:
    """Soil water over the 24 h up to `window_end_s`, published with the record that completed them.

    NaN where there is no value, with a flag in `quality` that states the cause.
    """

    window_end_s: float  # Unix time [s, UTC]; NaN before the first window
    theta: float  # mean of 0-30 cm by the network [m3 m-3]
    theta_sigma: float  # its standard error [m3 m-3]
    theta_0_10: float  # means of the layers by the network [m3 m-3]
    theta_10_30: float
    theta_30_60: float
    theta_classical: float  # homogeneous COSMIC inversion of the same counts [m3 m-3]
    theta_classical_sigma: float  # from counting statistics alone [m3 m-3]
    d86_cm: float  # depth that 86 % of the counted neutrons come from
    storage_mm: float  # water in 0-30 cm
    state_age_steps: int  # network steps since the state was zero
    quality: Quality
    # inference/irrigation.py computes the fields below; they are not part of the state.
    available_mm: float = NAN  # plant-available water in 0-30 cm; NaN: soil not described
    depletion: float = NAN  # depleted fraction of the total available water [1]
    rate_mm_d: float = NAN  # recent loss of 0-30 cm without rain; NaN: wetting, or too few days
    days_to_threshold: float = NAN  # days until irrigation is due, at that rate [d]
    days_p05: float = NAN  # its 5 to 95 % interval [d]
    days_p95: float = NAN
    # inference/root_zone.py computes the fields below, of the crop's own root zone.
    root_depth_cm: float = NAN
    root_depletion: float = NAN  # depleted fraction of its total available water [1]
    root_threshold: float = NAN  # depletion at which to irrigate, adjusted to ETc [1]
    etc_mm_d: float = NAN  # mean crop evapotranspiration of the last days; NaN: ET0 unknown
    root_rate_mm_d: float = NAN  # as rate_mm_d, of the root zone
    root_days_to_threshold: float = NAN  # as days_to_threshold
    root_days_p05: float = NAN
    root_days_p95: float = NAN
    irrigate: float = NAN  # 1: yes, 0: no, NaN: unknown
    # inference/snow.py computes the fields below; NaN without the flag SNOW.
    swe_mm: float = NAN  # snow water equivalent by COSMIC; NaN: at least its lower end [mm]
    swe_p05_mm: float = NAN  # its 5 to 95 % interval; NaN: no limit [mm]
    swe_p95_mm: float = NAN
    swe_desilets_mm: float = NAN  # by Desilets (2017) [mm]
    snow_since_s: float = NAN  # end of the first window with evidence [s, UTC]
    snow_count_ratio: float = NAN  # counts over those of a soil with full pores [1]
    snow_air_c: float = NAN  # mean air temperature of the 24 h [degC]


SNOW_FIELDS = tuple(f.name for f in fields(Estimate) if f.name.startswith(("swe_", "snow_")))
"""Fields of an estimate that inference/snow.py computes."""
