"""What flows through the station: a raw record, the corrected one, the estimate.

Every number may be a float (the station) or an array with one value a site (training): the code
that corrects and featurises them is the same.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = float | NDArray[np.float64]
"""A scalar, or an array (n,) with one value a site."""

NAN = float("nan")
LAYERS_CM = ((0, 10), (10, 30), (30, 60))
"""Top and bottom of the layers that the network tells beside 0-30 cm."""


class Quality(enum.IntFlag):
    """What is known to be doubtful about a record, a window or an estimate; flags add up."""

    GOOD = 0
    MISSING = 1  # no counts, or no counting time
    SHORT = 2  # counting time under a share of that before, e.g. after a restart
    LATE = 4  # its end is not after the last record's: kept and sent, but the stream goes on
    ZERO_COUNTS = 8  # no count in an interval that must have had some: not used
    PRESSURE_MISSING = 16  # no air pressure: the count cannot be corrected and is not used
    HUMIDITY_HELD = 32  # humidity of the air is the last known one
    HUMIDITY_MISSING = 64  # none known for a day: the reference humidity stands in
    INCOMING_HELD = 128  # neutron monitor is the last known value
    INCOMING_MISSING = 256  # none known: the correction is 1
    GAP = 512  # under 12 h of counting in the last 24 h
    CLIPPED = 1024  # count outside what the inversion can answer
    WARM_UP = 2048  # the network has seen fewer days than its spin-up
    NO_MODEL = 4096  # no network estimate yet, or none for this record
    WEATHER_MISSING = 1 << 20  # what a [weather.*] table promises is late, stale or not there
    # From here on by inference/qc.py; thresholds are in [quality] of station.toml.
    PRESSURE_RANGE = 1 << 32  # outside of what this altitude can have: taken for missing
    AIR_RANGE = 1 << 33  # temperature or humidity of the air: taken for missing
    RAIN_RANGE = 1 << 34  # more rain than falls: taken for missing
    COUNT_RANGE = 1 << 35  # more counts than over bare dry soil: not used
    PRESSURE_JUMP = 1 << 36
    AIR_JUMP = 1 << 37
    PRESSURE_STUCK = 1 << 38
    AIR_STUCK = 1 << 39
    INCOMING_STUCK = 1 << 40
    COUNT_STUCK = 1 << 41  # the same count again and again: not used
    COUNT_SPIKE = 1 << 42  # far from the recent mean by Poisson statistics
    TUBE_RATIO = 1 << 43  # the tubes disagree as they did not before
    LOW_BATTERY = 1 << 44
    HOUSING_HUMID = 1 << 45  # the desiccant is used up
    DOUBTFUL = 1 << 46  # the window has a record before this one whose count is in doubt


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One counting interval as the logger gave it; NaN where a value is missing."""

    end_s: float  # Unix time of the interval's end [s, UTC]
    duration_s: Floats  # counting time [s]
    counts: Floats  # neutrons counted, moderated tubes [-]
    pressure_hpa: Floats = NAN
    temperature_c: Floats = NAN
    relative_humidity_pct: Floats = NAN
    rain_mm: Floats = NAN  # in the interval
    et0_mm: Floats = NAN  # reference evapotranspiration in the interval
    incoming: Floats = NAN  # neutron monitor, in the unit of the site's reference
    battery_v: Floats = NAN  # supply of logger and detector
    housing_humidity_pct: Floats = NAN  # inside the housing of tubes or logger
    first_tube_counts: Floats = NAN  # of the first tube, where counts is the sum of several


HOUSEKEEPING = ("battery_v", "housing_humidity_pct", "first_tube_counts")
"""Fields that tell of the instrument's health; neither corrections nor features use them."""


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


@dataclass(frozen=True, slots=True)
class CorrectedRecord:
    """The same interval with the atmosphere taken out; arrays (n,), one value a site."""

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
    """Soil water over the 24 h that end at `window_end_s`, told with the record that brought it.

    NaN where there is none, with a flag in `quality` that says why.
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
    # From here on by inference/irrigation.py, told with a record and not part of the state.
    available_mm: float = NAN  # water in 0-30 cm that plants can take; NaN: soil not described
    depletion: float = NAN  # used part of what the soil can hold for them [1]
    rate_mm_d: float = NAN  # recent loss of 0-30 cm without rain; NaN: wetting, or too few days
    days_to_threshold: float = NAN  # until it is time to irrigate, at that rate [d]
    days_p05: float = NAN  # 5-95 % interval of it [d]
    days_p95: float = NAN
