"""Compare the tables of a site with each other; describe what can hardly be meant.

Nothing is refused here: a note names what was compared and the likely remedy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from epithermal_edge.physics.atmosphere import absolute_humidity, mean_pressure
from epithermal_edge.records import RawRecord
from epithermal_edge.times import DAY_S
from epithermal_host.arrays import Array, Mask
from epithermal_host.field.site_toml import Sampling, SiteFile

MINERAL_G_CM3 = 2.65  # density of quartz: porosity is 1 - density / this
PRESSURE_AWAY_HPA = 25.0  # of a record's median from the altitude's; weather of weeks is less
REFERENCE_AWAY_HPA = 60.0
WETTEST_AIR_G_M3 = 32.0  # dew point of 31 degC
FRACTION_MAX_PCT = 1.5  # no air has less humidity for weeks
INTERVALS_AGREE = 1.25
DRIEST_THETA = 0.02  # of a field mean [m3 m-3]
EXCESS = 0.05  # of a water content over the porosity [m3 m-3]
RARE = 0.05  # share of days or samples that is not reported
RAIN_DAYS = 14.0  # with known rain, from which its sum is judged
RAIN_MM_D = (0.1, 8.0)  # mean of the record: 37 to 2900 mm a year
LEAST_RECORDS = 100  # for a comparison of medians
_VOLUMETRIC = re.compile(r"(?i)theta_?v|vwc|vol|_v(_|$)|m3|cm3_cm3")
_GRAVIMETRIC = re.compile(r"(?i)theta_?g|gwc|grav|g_?g(_|$)|_g(_|$)")


def check_kind(sampling: Sampling) -> list[str]:
    """Compare the declared kind of the water content with the name of its column."""
    volumetric, gravimetric = (p.search(sampling.value) for p in (_VOLUMETRIC, _GRAVIMETRIC))
    by_mass = sampling.kind in ("water_g_g", "total_water_g_g")
    if bool(volumetric) == bool(gravimetric) or bool(gravimetric) == by_mass:
        return []
    name = "g/g" if gravimetric else "m3/m3"
    return [f"column {sampling.value!r} reads like {name}, but sampling.kind is {sampling.kind!r}"]


def check_samples(theta: Array, density_g_cm3: Array) -> list[str]:
    """Compare the water contents (n,) [m3 m-3] of the samples in use with their porosity."""
    notes = []
    zeros = int(np.sum(theta == 0.0))
    if zeros:
        notes.append(f"{zeros} samples have no water at all: a code for no value? set missing")
    over = float(np.mean(theta > 1.0 - density_g_cm3 / MINERAL_G_CM3 + EXCESS))
    if over > RARE:
        notes.append(
            f"{100 * over:.0f} % of the samples have more water than their pores can hold: is the "
            "water content in g/g, or the density that of wet soil?"
        )
    if theta.mean() < DRIEST_THETA:
        notes.append(
            f"the samples' mean of {theta.mean():.3g} m3/m3 is drier than soil in the field: in "
            "another unit?"
        )
    return notes


def check_known(what: str, column: str, values: Array, used: Mask) -> list[str]:
    """Report samples (n,) in use whose depth, distance or density is not known."""
    unknown = int(np.sum(used & ~np.isfinite(values)))
    if not column or not unknown:
        return []
    return [f"{unknown} of {int(used.sum())} samples have no {what} in column {column!r}"]


def check_records(site_file: SiteFile, records: Sequence[RawRecord]) -> list[str]:
    """Compare pressure, air and counting time of the records with site and stamps."""
    if len(records) < LEAST_RECORDS:
        return []
    names = ("end_s", "duration_s", "pressure_hpa", "temperature_c", "relative_humidity_pct")
    end, live, pressure, t, rh = (
        np.array([getattr(r, name) for r in records], dtype=np.float64) for name in names
    )
    rain = np.array([r.rain_mm for r in records], dtype=np.float64)
    notes = [*_interval(end, live), *_rain(end, rain)]
    return notes if site_file.records.corrected else [
        *notes, *_pressure(site_file, pressure), *_air(t, rh)
    ]  # fmt: skip


def check_theta(theta: Array, density_g_cm3: float) -> list[str]:
    """Check that the calibrated estimates of the season (T,) [m3 m-3] are those of a soil."""
    known = theta[np.isfinite(theta)]
    if not known.size:
        return []
    porosity = 1.0 - density_g_cm3 / MINERAL_G_CM3
    dry = float(np.mean(known < 0.5 * DRIEST_THETA))
    wet = float(np.mean(known > porosity + EXCESS))
    parts = [(dry, "drier than air-dry soil"), (wet, f"wetter than its pores ({porosity:.2f})")]
    return [
        f"with this N the inversion is {what} on {100 * share:.0f} % of the days: check samples, "
        "density and counts"
        for share, what in parts
        if share > RARE
    ]


def _interval(end_s: Array, live_s: Array) -> list[str]:
    step, live = float(np.median(np.diff(end_s))), float(np.nanmedian(live_s))
    if not step > 0.0 or 1.0 / INTERVALS_AGREE < live / step < INTERVALS_AGREE:
        return []
    return [
        f"the records are {step:g} s apart, but their counting time is {live:g} s: "
        "correct records.interval_s?"
    ]


def _rain(end_s: Array, rain_mm: Array) -> list[str]:
    known = np.isfinite(rain_mm)
    days = float(np.sum(known)) * float(np.median(np.diff(end_s))) / DAY_S
    if days < RAIN_DAYS:
        return []
    total = float(np.nansum(rain_mm))
    low, high = RAIN_MM_D
    if low * days <= total <= high * days:
        return []
    return [f"rain is {total:.3g} mm in {days:.0f} days with rain known: mm are wanted"]


def _pressure(site_file: SiteFile, pressure: Array) -> list[str]:
    if not np.isfinite(pressure).any():
        return []
    middle, altitude = float(np.nanmedian(pressure)), site_file.altitude_m
    usual = float(mean_pressure(altitude))
    reference = float(site_file.site.pressure_ref_hpa)
    notes = []
    if abs(middle - usual) > PRESSURE_AWAY_HPA:
        notes.append(
            f"the records' median pressure is {middle:.0f} hPa, but {usual:.0f} hPa belongs to an "
            f"altitude of {altitude:g} m: altitude in feet or km, or pressure reduced to sea level?"
        )
    if abs(middle - reference) > REFERENCE_AWAY_HPA:
        notes.append(
            f"pressure_ref_hpa is {reference:.0f} hPa, far from the records' median of "
            f"{middle:.0f} hPa: N is that of another altitude"
        )
    return notes


def _air(t: Array, rh: Array) -> list[str]:
    notes = []
    if np.isfinite(rh).any() and float(np.nanquantile(rh, 0.95)) <= FRACTION_MAX_PCT:
        notes.append("the air's humidity never exceeds 1.5 %: a fraction? % is wanted")
    vapour = absolute_humidity(t, rh)
    wettest = float(np.nanquantile(vapour, 0.98)) if np.isfinite(vapour).any() else math.nan
    if wettest > WETTEST_AIR_G_M3:
        notes.append(
            f"the air holds up to {wettest:.0f} g/m3 of water, more than any climate's: "
            "temperature in degF?"
        )
    return notes
