"""Write records in the columns of the data set COSMOS-Europe.

References
----------
Bogena et al. (2022), Earth Syst. Sci. Data 14, 1125-1151, doi:10.5194/essd-14-1125-2022; the layout
is that of the processed files of the data set, doi:10.34731/x9s3-kr48.
"""

from __future__ import annotations

import csv
import math
from collections import deque
from collections.abc import Iterable
from typing import IO

import numpy as np

from epithermal_edge.inference.engine import Outcome
from epithermal_edge.physics.corrections import biomass_at
from epithermal_edge.physics.footprint import footprint_radius_m
from epithermal_edge.physics.snow_water import pore_space
from epithermal_edge.records import CorrectedRecord, Quality
from epithermal_edge.site import Site
from epithermal_edge.times import DAY_S, utc

COLUMNS = (
    "DateTime_utc",
    "NeutronCount_Epithermal_Cum1h_corrected",
    "NeutronCount_Epithermal_Cum1h_corrected_std",
    "NeutronCount_Epithermal_MovAvg24h_corrected",
    "NeutronCount_Epithermal_MovAvg24h_corrected_std",
    "Flag_Extreme_Counts",
    "Flag_AirPressure_ERA5",
    "AirHumidity_gapfilled",
    "Flag_AirHumidity_ERA5",
    "Flag_Porosity_Excess",
    "Flag_Snow_ERA5",
    "SoilMoisture_volumetric_MovAvg24h",
    "SoilMoisture_volumetric_MovAvg24h_std",
    "SoilMoisture_volumetric_MovAvg24h_lower",
    "SoilMoisture_volumetric_MovAvg24h_upper",
    "Footprint_Radius_m",
    "Footprint_Depth_m",
    "Biomass",
)
EXTREME = Quality.COUNT_RANGE | Quality.COUNT_SPIKE | Quality.ZERO_COUNTS | Quality.COUNT_STUCK
HUMIDITY_FILLED = Quality.HUMIDITY_HELD | Quality.HUMIDITY_MISSING


def write(outcomes: Iterable[Outcome], site: Site, out: IO[str]) -> int:
    """Write records as CSV, one line each; return their number.

    SoilMoisture is the inversion of the counts over the measurement depth, the quantity of
    COSMOS-Europe, not the network's 0-30 cm. Neither ERA5 nor a snow flag is used here:
    Flag_AirPressure_ERA5 is 0, Flag_AirHumidity_ERA5 marks held or missing humidity, and
    Flag_Snow_ERA5 is empty.

    Parameters
    ----------
    outcomes :
        In the order of time.
    site :
        One site.
    """
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    day: deque[tuple[float, float, float, float]] = deque()
    count = 0
    for outcome in outcomes:
        mean = _day_mean(day, outcome.corrected)
        table.writerow(_row(outcome, site, *mean))
        count += 1
    return count


def _day_mean(
    day: deque[tuple[float, float, float, float]], corrected: CorrectedRecord
) -> tuple[float, float]:
    """Add a record to the last 24 h; return the mean corrected rate and its error [h-1]."""
    rate, sigma = float(corrected.n_corr_cph[0]), float(corrected.n_corr_sigma_cph[0])
    hours = float(corrected.duration_s[0]) / 3600.0
    if math.isfinite(rate) and hours > 0.0:
        day.append((corrected.end_s, hours, rate, sigma))
    while day and day[0][0] <= corrected.end_s - DAY_S:
        day.popleft()
    total = sum(hours for _, hours, _, _ in day)
    if not total:
        return math.nan, math.nan
    mean = sum(hours * rate for _, hours, rate, _ in day) / total
    return mean, math.sqrt(sum((hours * sigma) ** 2 for _, hours, _, sigma in day)) / total


def _row(outcome: Outcome, site: Site, mean_cph: float, mean_sigma_cph: float) -> list[str]:
    """Return the cells of one record, in the order of COLUMNS."""
    corrected, estimate, quality = outcome.corrected, outcome.estimate, outcome.estimate.quality
    theta, sigma = estimate.theta_classical, estimate.theta_classical_sigma
    humidity = float(corrected.abs_humidity_g_m3[0])
    porosity = float(pore_space(site.bulk_density_g_cm3))
    known = math.isfinite(theta) and math.isfinite(humidity)
    numbers = (float(corrected.n_corr_cph[0]), float(corrected.n_corr_sigma_cph[0]))
    return [
        (utc(outcome.record.end_s) or "").replace("Z", ".000+0000"),
        *(_text(x, 1) for x in (*numbers, mean_cph, mean_sigma_cph)),
        str(int(bool(quality & EXTREME))),
        "0",
        _text(humidity, 2),
        str(int(bool(quality & HUMIDITY_FILLED))),
        str(int(theta > porosity)),
        "",
        *(_text(x, 4) for x in (theta, sigma, max(theta - sigma, 0.0), theta + sigma)),
        _text(float(footprint_radius_m(theta, humidity)) if known else math.nan, 1),
        _text(estimate.d86_cm / 100.0, 3),
        _text(_biomass(outcome, site), 2),
    ]


def _biomass(outcome: Outcome, site: Site) -> float:
    """Return the biomass at the time of a record [kg m-2]."""
    record = outcome.record
    measured = record.channels.get("biomass_kg_m2", math.nan)
    return float(biomass_at(site, np.array([record.end_s]), np.atleast_1d(measured)).ravel()[0])


def _text(value: float, decimals: int) -> str:
    """Format a number; NaN is empty."""
    return f"{value:.{decimals}f}" if math.isfinite(value) else ""
