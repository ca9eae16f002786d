"""Remark on a site's tables: hours corrected, lines left out, what can hardly be meant.

Nothing is refused here: a remark names what was compared, and the likely remedy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from epithermal_edge.loggers.files import ReadResult
from epithermal_edge.physics.atmosphere import absolute_humidity, mean_pressure
from epithermal_edge.physics.snow_water import pore_space
from epithermal_edge.records import Quality, RawRecord
from epithermal_edge.times import DAY_S
from epithermal_host.arrays import Array, Integers
from epithermal_host.field.site_toml import Sampling, SiteFile

PRESSURE_AWAY_HPA = 25.0  # of a record's median from the altitude's; weather of weeks is less
REFERENCE_AWAY_HPA = 60.0
WETTEST_AIR_G_M3 = 32.0  # dew point of 31 degC
FRACTION_MAX_PCT = 1.5  # no air has less humidity for weeks
INTERVALS_AGREE = 1.25
MONITOR_AWAY = 1.25  # factor from its reference; a solar cycle has less
DEPTHS_DIFFER = 4.0  # factor between the means of two depths
DRY_SAMPLES = 0.04  # mean of a field that is drier than most [m3 m-3]
DRIEST_THETA = 0.02  # of a field mean [m3 m-3]
EXCESS = 0.05  # of a water content over the porosity [m3 m-3]
SAME_COUNT = 0.5  # share of the records; chance gives a tenth at 20 counts
SPIKE = 2.0  # factor over the median; a season has less
RARE = 0.05  # share of days or samples that is not reported
MOST_LATTICE_G_G = 0.12  # of clays
RAIN_DAYS = 14.0  # with known rain, from which its sum is judged
RAIN_MM_D = (0.1, 8.0)  # mean of the record: 37 to 2900 mm a year
LEAST_RECORDS = 100  # for a comparison of medians
_VOLUMETRIC = re.compile(r"(?i)theta_?v|vwc|vol|_v(_|$)|m3|cm3_cm3")
_GRAVIMETRIC = re.compile(r"(?i)theta_?g|gwc|grav|g_?g(_|$)|_g(_|$)")
ENOUGH = 0.95  # share of the hours below which a correction is reported as incomplete
WITHOUT = {
    "pressure": "elsewhere the counts are not used",
    "humidity": "elsewhere f_h is 1",
    "intensity": "elsewhere f_i is 1",
}


class SiteRecords(NamedTuple):
    """Records of a site with rain and monitor, and what was noticed while they were read."""

    records: list[RawRecord]  # in time order
    faulty_s: Array  # (k, 2) start and end of each fault of the monitor [s, UTC]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the hours with counts that are corrected; NaN: no such correction here."""

    pressure: float
    humidity: float
    intensity: float


def corrected_shares(site_file: SiteFile, quality: Integers) -> Shares:
    """Compute the shares from the flags of the corrected records (n,)."""
    counted = quality[(quality & int(Quality.MISSING)) == 0]
    if site_file.records.corrected or not counted.size:
        return Shares(*(math.nan,) * 3)

    def without(flag: Quality) -> float:
        return float(np.mean((counted & int(flag)) == 0))

    return Shares(
        pressure=without(Quality.PRESSURE_MISSING),
        humidity=without(Quality.HUMIDITY_MISSING),
        intensity=math.nan if site_file.incoming is None else without(Quality.INCOMING_MISSING),
    )


def describe_shares(shares: Shares) -> str:
    """Format the shares as one line of text."""
    known = {name: getattr(shares, name) for name in WITHOUT}
    parts = [f"{name} {100 * v:.0f} %" for name, v in known.items() if math.isfinite(v)]
    return f"hours corrected for {', '.join(parts)}" if parts else "already corrected"


def warn_of_shares(shares: Shares) -> tuple[str, ...]:
    """Return a warning for each correction that is missing in many of the hours."""
    return tuple(
        f"only {100 * getattr(shares, name):.0f} % of the hours are corrected for {name}; {effect}"
        for name, effect in WITHOUT.items()
        if getattr(shares, name) < ENOUGH
    )


def warn_without_monitor(shares: Shares) -> tuple[str, ...]:
    """Return a warning where raw counts are not corrected for intensity at all."""
    if math.isnan(shares.pressure) or math.isfinite(shares.intensity):
        return ()
    return ("no hour is corrected for intensity: there is no [incoming], and f_i is 1",)


def describe_reading(result: ReadResult) -> tuple[str, ...]:
    """Report damaged lines, files without a record and columns that were not read."""
    notes = list(result.unread)
    if result.damaged:
        notes.append(
            f"{result.damaged} of {result.lines} lines are damaged and left out, the first: "
            f"{result.reasons[0]}"
        )
    if result.conflicts:
        notes.append(f"{result.conflicts} records have the time of another and are left out")
    if result.without_record:
        notes.append(f"no record in {_listed(result.without_record)}")
    return tuple(notes)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more files"


def check_kind(sampling: Sampling) -> list[str]:
    """Compare the declared kind of the water content with the name of its column."""
    volumetric, gravimetric = (p.search(sampling.value) for p in (_VOLUMETRIC, _GRAVIMETRIC))
    by_mass = sampling.kind in ("water_g_g", "total_water_g_g")
    if bool(volumetric) == bool(gravimetric) or bool(gravimetric) == by_mass:
        return []
    name = "g/g" if gravimetric else "m3/m3"
    return [f"column {sampling.value!r} reads like {name}, but sampling.kind is {sampling.kind!r}"]


def check_soil(site_file: SiteFile) -> list[str]:
    """Compare the soil of the site file with those known."""
    lattice = float(site_file.site.lattice_water_g_g)
    if lattice <= MOST_LATTICE_G_G:
        return []
    return [f"lattice_water_g_g is {lattice:g}, more than in known soils: in percent?"]


def check_samples(theta: Array, density_g_cm3: Array) -> list[str]:
    """Compare the water contents (n,) [m3 m-3] of the samples in use with their porosity."""
    notes = []
    zeros = int(np.sum(theta == 0.0))
    if zeros:
        notes.append(
            f"{zeros} of {theta.size} samples have no water at all: a code for no value? set "
            "missing"
        )
    over = float(np.mean(theta > pore_space(density_g_cm3) + EXCESS))
    if over > RARE:
        notes.append(
            f"{100 * over:.0f} % of the samples have more water than their pores can hold: is the "
            "water content in g/g, or the density that of wet soil?"
        )
    if theta.mean() < DRY_SAMPLES:
        notes.append(
            f"the samples' mean of {theta.mean():.3g} m3/m3 is drier than most fields: in "
            "another unit?"
        )
    return notes


def check_profiles(profile: Sequence[str], distance_m: Array) -> list[str]:
    """Report profiles, by the name of each sample (n,), that stand at several distances."""
    places: dict[str, set[float]] = {}
    for name, distance in zip(profile, distance_m.tolist(), strict=True):
        if math.isfinite(distance):
            places.setdefault(name, set()).add(distance)
    several = [name for name, distances in places.items() if len(distances) > 1]
    if 2 * len(several) < len(places) or not several:
        return []
    return [
        f"{len(several)} of {len(places)} profiles have several distances, the first is "
        f"{several[0]!r}: are distance_column and profile_column exchanged?"
    ]


def check_biomass(site_file: SiteFile, biomass: Array) -> tuple[str, ...]:
    """Note the share of records (T,) that are outside of the dates of the file of biomass."""
    if site_file.biomass is None or not np.isnan(biomass).any():
        return ()
    share = 100.0 * float(np.mean(np.isnan(biomass)))
    return (
        f"{share:.0f} % of the records are before or after the dates of biomass.file: biomass_kg_m2"
        " of [site] applies to them",
    )


def check_depths(means: Sequence[float]) -> list[str]:
    """Compare the means of the probes of each depth [m3 m-3]."""
    known = [mean for mean in means if math.isfinite(mean)]
    if not known or max(known) <= DEPTHS_DIFFER * min(known):
        return []
    return [
        f"the probes' means are {min(known):.3g} m3/m3 in one depth and {max(known):.3g} in "
        "another: one of them in another unit?"
    ]


def check_records(site_file: SiteFile, records: Sequence[RawRecord]) -> list[str]:
    """Compare pressure, air and counting time of the records with site and stamps."""
    if len(records) < LEAST_RECORDS:
        return []
    names = ("end_s", "duration_s", "pressure_hpa", "temperature_c", "relative_humidity_pct")
    end, live, pressure, t, rh = (
        np.array([getattr(r, name) for r in records], dtype=np.float64) for name in names
    )
    rain = np.array([r.rain_mm for r in records], dtype=np.float64)
    incoming = np.array([r.incoming for r in records], dtype=np.float64)
    counts = np.array([(r.counts, r.first_tube_counts) for r in records], dtype=np.float64).T
    notes = [*_interval(end, live), *_rain(end, rain), *_incoming(site_file, incoming)]
    notes += _counts(counts[0] / live, [*counts, counts[0] - counts[1]])
    return notes if site_file.records.corrected else [
        *notes, *_pressure(site_file, pressure), *_air(t, rh)
    ]  # fmt: skip


def check_theta(theta: Array, density_g_cm3: float) -> list[str]:
    """Check that the calibrated estimates of the season (T,) [m3 m-3] are those of a soil."""
    known = theta[np.isfinite(theta)]
    if not known.size:
        return []
    porosity = float(pore_space(density_g_cm3))
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


def _counts(rate: Array, tubes: Sequence[Array]) -> list[str]:
    """Check the rates (n,) and the counts of all tubes, the first and the others, each (n,)."""
    known = rate[np.isfinite(rate)]
    if not known.size:
        return []
    notes, middle = [], float(np.median(known))
    share = max(_share_of_median(tube) for tube in tubes)
    if share > SAME_COUNT:
        notes.append(
            f"{100 * share:.0f} % of the records have the same count of a tube: a code, or "
            "another column?"
        )
    spikes = int(np.sum(known > SPIKE * middle))
    if spikes:
        notes.append(f"{spikes} records have more than twice the median count: a code or a fault?")
    return notes


def _share_of_median(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.mean(known == np.median(known))) if known.size else 0.0


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


def _incoming(site_file: SiteFile, incoming: Array) -> list[str]:
    known = incoming[np.isfinite(incoming)]
    reference = float(site_file.site.incoming_ref)
    if not known.size or not math.isfinite(reference):
        return []
    ratio = float(np.median(known)) / reference
    if 1.0 / MONITOR_AWAY < ratio < MONITOR_AWAY:
        return []
    return [
        f"the monitor's median is {ratio:.2f} times incoming.ref, more than the sun does: "
        "another ref, unit or monitor?"
    ]


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
