"""Read the soil samples of a site and group them into campaigns of one day each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import cast

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.times import DAY_S
from epithermal_host.arrays import Array, Integers, Mask
from epithermal_host.field.days import (
    begin_s,
    daily_mean,
    date_from,
    day_window_end_s,
    fill_columns,
)
from epithermal_host.field.remarks import check_kind, check_profiles, check_samples
from epithermal_host.field.site_toml import Sampling, SiteFile
from epithermal_host.tables.quantities import (
    DENSITY,
    DEPTH,
    DISTANCE,
    MOST_WATER_G_G,
    THETA,
    WATER_G_G,
)
from epithermal_host.tables.table import Table, numbers, read_cells, read_table, refuse

DRIEST_FIELD = 0.01  # g/g or m3/m3: the median sample of a drier sheet is in another unit
SHALLOW_CM, DEEP_CM = 25.0, 100.0  # samples beyond the one and none above the other: mm
PROBES_AS_SAMPLES = (
    "N is calibrated on the probes, which stand in for samples: bias and RMSE against them prove "
    "nothing, ubRMSE and r do"
)


@dataclass(frozen=True, slots=True, eq=False)
class Campaign:
    """Samples of one day down to the largest depth used."""

    day: str  # ISO date, UTC
    theta: Array  # (n,) soil water without lattice water and organic matter [m3 m-3]
    depth_cm: Array  # (n,) middle of the sample; NaN: unknown
    distance_m: Array  # (n,) from the detector; NaN: unknown
    profile: Integers  # (n,) index of the profile, 0 to number of profiles - 1
    notes: tuple[str, ...] = ()  # how many samples of the day each rule leaves out


def read_campaigns(site_file: SiteFile) -> list[Campaign]:
    """Read the campaigns that the site file names, in time order.

    Raises
    ------
    ConfigError
        The site file has no [sampling]; a named day has no samples, or only samples that are too
        deep; a cell is no number or impossible; all depths or distances are in another unit.
    SourceError
        The file cannot be read.
    """
    sampling = site_file.sampling
    if sampling is None:
        raise ConfigError(f"{site_file.path}: no [sampling] to calibrate on; add the table")
    if sampling.kind == "probes":
        return _probe_campaigns(site_file, sampling)
    where = sampling.file.path
    day_s, table = _rows(sampling)
    depth, distance = _depth(sampling, table), _distance(sampling, table)
    theta = _theta(site_file, sampling, table, ~(depth > sampling.deepest_cm))
    known = np.isfinite(theta)
    if not known.any():
        raise ConfigError(f"{where}: no samples in column {sampling.value!r}; name another column")
    usable = known & ~(depth > sampling.deepest_cm)
    profile = _profile(sampling, table.cells, known.size)
    out, faults = [], []
    for begin in _wanted(sampling, day_s[known]):
        day = date_from(begin)
        own_day = day_s == begin
        rows = usable & own_day
        if not np.any(known & own_day):
            faults.append(f"{where}: no samples of the day {day}")
        elif not rows.any():
            faults.append(
                f"{where}: all samples of {day} are below {sampling.deepest_cm:g} cm, the "
                f"shallowest is at {depth[known & own_day].min():g} cm; increase "
                "sampling.deepest_cm"
            )
        else:
            own = np.unique(profile[rows], return_inverse=True)[1]
            notes = _left_out(sampling.deepest_cm, own_day, known, usable)
            notes += _unplaced(sampling, rows, depth, distance)
            notes += tuple(_doubts(site_file, table, rows, theta, distance))
            out.append(Campaign(day, theta[rows], depth[rows], distance[rows], own, notes))
    if faults:
        raise ConfigError(*faults)
    return out


def _probe_campaigns(site_file: SiteFile, sampling: Sampling) -> list[Campaign]:
    """Average the probes over each day in place of samples; columns of one place are a profile."""
    days = sorted(dict.fromkeys(sampling.days))
    ends = np.array([day_window_end_s(site_file, day) for day in days])
    theta, depth, profile = [], [], []
    for probe in site_file.probes:
        time_s, values = read_table(probe.file, probe.columns, THETA)
        for i, column in enumerate(fill_columns(values).T):
            theta.append(daily_mean(time_s, column, ends))
            depth.append(probe.depth_cm)
            profile.append(i)
    same = len({len(probe.columns) for probe in site_file.probes}) == 1
    out, faults = [], []
    for day, values in zip(days, np.array(theta).T, strict=True):
        rows = np.isfinite(values)
        if set(np.array(depth)[rows]) != set(depth):
            faults.append(
                f"{site_file.path}: sampling.day: on {day} a depth of the probes has no value for "
                "more than a quarter of the day; name another day"
            )
            continue
        own = np.unique(np.array(profile)[rows] * same, return_inverse=True)[1]
        away = np.full(own.size, np.nan)
        notes = (PROBES_AS_SAMPLES,)
        out.append(Campaign(day, values[rows], np.array(depth)[rows], away, own, notes))
    if faults:
        raise ConfigError(*faults)
    return out


def _rows(sampling: Sampling) -> tuple[Array, Table]:
    """Read the start of each sample's day (n,) [s, UTC] and the table."""
    s = sampling
    named = (s.value, s.depth_column, s.bottom_column, s.distance_column, s.direction_column,
             s.profile_column, s.bulk_density_column)  # fmt: skip
    names = tuple(dict.fromkeys(name for name in named if name))
    table = read_cells(sampling.file, names)
    time_s = table.time_s
    if not time_s.size:
        raise ConfigError(f"{sampling.file.path}: the file has no rows; add the samples")
    if not sampling.file.time:
        time_s = np.full(time_s.size, begin_s(sampling.day))
    day_s = np.floor(time_s / DAY_S) * DAY_S
    return day_s, table


def _wanted(sampling: Sampling, day_s: Array) -> list[float]:
    if sampling.days:
        return sorted(begin_s(day) for day in dict.fromkeys(sampling.days))
    return [float(begin) for begin in np.unique(day_s)]


def _theta(site_file: SiteFile, sampling: Sampling, table: Table, shallow: Mask) -> Array:
    """Compute the water content of each sample, (n,) [m3 m-3].

    A theta above 1 is refused only in `shallow` samples (n,), which are those in use.
    """
    column = sampling.value
    if sampling.kind == "theta":
        theta = numbers(table, column, THETA)
        _check_driest(table, column, theta)
        return theta
    site, water = site_file.site, numbers(table, column, WATER_G_G)
    _check_driest(table, column, water)
    own = _density(site_file, sampling, table)
    density = np.where(np.isfinite(own), own, float(site.bulk_density_g_cm3))
    peat = np.isfinite(own) & (water * own <= 1.0)
    reason = f"is above {MOST_WATER_G_G:g} g/g; {WATER_G_G.if_high}"
    refuse(table, column, (water > MOST_WATER_G_G) & ~peat, reason)
    if sampling.kind == "total_water_g_g":
        water = water - float(site.lattice_water_g_g) - float(site.organic_water_g_g)
        reason = "is less than lattice and organic water of [soil]; is kind water_g_g?"
        refuse(table, column, shallow & (water < 0.0), reason)
    theta = np.asarray(water * density)
    reason = "g/g and its bulk density give a theta above 1; in percent? or another density?"
    refuse(table, column, shallow & (theta > 1.0), reason)
    return theta


def _check_driest(table: Table, column: str, water: Array) -> None:
    """Refuse a sheet whose usual sample is drier than any field."""
    known = np.isfinite(water)
    if known.any() and (usual := float(np.median(water[known]))) < DRIEST_FIELD:
        reason = (
            f"and all: their median {usual:.2g} is drier than any field; another unit or column?"
        )
        refuse(table, column, known, reason)


def _density(site_file: SiteFile, sampling: Sampling, table: Table) -> Array:
    """Read the samples' own densities, (n,) [g cm-3]; NaN: unknown."""
    column, site = sampling.bulk_density_column, float(site_file.site.bulk_density_g_cm3)
    own = numbers(table, column, DENSITY)
    known = np.isfinite(own)
    if known.any() and not site / 2.0 <= (usual := float(np.median(own[known]))) <= 2.0 * site:
        reason = (
            f"and all: their median {usual:.3g} is not near soil.bulk_density_g_cm3 {site:g}; "
            "another unit or column?"
        )
        refuse(table, column, known, reason)
    return own


def _depth(sampling: Sampling, table: Table) -> Array:
    """Read the middle of each sample, (n,) [cm]; NaN: unknown."""
    if sampling.bottom_column:
        end = dataclasses.replace(DEPTH, ranges=False)
        top = numbers(table, sampling.depth_column, end)
        bottom = numbers(table, sampling.bottom_column, end)
        reason = "is less than the upper end; are the two columns exchanged?"
        refuse(table, sampling.bottom_column, bottom < top, reason)
        depth = np.asarray(0.5 * (top + bottom))
    else:
        depth = numbers(table, sampling.depth_column, DEPTH)
    column = sampling.bottom_column or sampling.depth_column
    if np.any(depth > 0.0) and not np.any(depth >= 1.0):
        refuse(table, column, depth > 0.0, "and all other depths are below 1 cm; in m?")
    if np.any(depth > DEEP_CM) and not np.any(depth < SHALLOW_CM):
        reason = f"and no sample is above {SHALLOW_CM:g} cm; in mm? cm is wanted"
        refuse(table, column, depth > DEEP_CM, reason)
    return depth


def _distance(sampling: Sampling, table: Table) -> Array:
    """Read the distance of each sample from the detector, (n,) [m]; NaN: unknown."""
    distance = numbers(table, sampling.distance_column, DISTANCE)
    if not np.any(distance >= 1.0):
        reason = "and all other distances are below 1 m; in km? m is wanted"
        refuse(table, sampling.distance_column, np.isfinite(distance), reason)
    return distance


def _doubts(
    site_file: SiteFile, table: Table, rows: Mask, theta: Array, distance: Array
) -> list[str]:
    """Report what can hardly be meant in the samples in use; each array (n,)."""
    sampling = cast(Sampling, site_file.sampling)
    own = _density(site_file, sampling, table)
    density = np.where(np.isfinite(own), own, float(site_file.site.bulk_density_g_cm3))
    return [
        *check_kind(sampling),
        *check_samples(theta[rows], density[rows]),
        *_shared_profiles(sampling, table, rows, distance),
    ]


def _shared_profiles(sampling: Sampling, table: Table, rows: Mask, distance: Array) -> list[str]:
    if not (sampling.profile_column and sampling.distance_column):
        return []
    names = table.cells[sampling.profile_column]
    return check_profiles([names[i] for i in np.flatnonzero(rows)], distance[rows])


def _left_out(deepest_cm: float, day: Mask, known: Mask, usable: Mask) -> tuple[str, ...]:
    """Report how many samples of a day each rule leaves out; each mask (n,)."""
    rules = {"without water content": day & ~known,
             f"below {deepest_cm:g} cm": day & known & ~usable}  # fmt: skip
    notes = []
    for why, rows in rules.items():
        number = int(rows.sum())
        verb = "is" if number == 1 else "are"
        notes.append(f"{number} of {int(day.sum())} samples {verb} {why} and {verb} left out")
    return tuple(note for note in notes if not note.startswith("0 "))


def _unplaced(sampling: Sampling, rows: Mask, depth: Array, distance: Array) -> tuple[str, ...]:
    """Report how many samples in use, (n,), lack a depth or distance that others have."""
    notes = []
    for name, column, values in (
        ("depth", sampling.depth_column, depth),
        ("distance", sampling.distance_column, distance),
    ):
        number = int(np.sum(rows & np.isnan(values)))
        if column and number:
            notes.append(f"{number} of {int(rows.sum())} samples used have no {name}")
    return tuple(notes)


def _profile(sampling: Sampling, cells: dict[str, list[str]], n: int) -> Integers:
    """Assign samples with the same name, distance and direction to one profile.

    Without these columns all samples are one profile, or each sample is one if depths are unknown.
    """
    names = (sampling.profile_column, sampling.distance_column, sampling.direction_column)
    columns = [cells[name] for name in names if name]
    if not columns:
        return np.zeros(n, np.int64) if sampling.depth_column else np.arange(n)
    keys = list(zip(*columns, strict=True))
    number_of = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([number_of[key] for key in keys], dtype=np.int64)
