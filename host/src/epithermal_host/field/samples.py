"""Read the soil samples of a site and group them into campaigns of one day each."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.times import DAY_S
from epithermal_host.arrays import Array, Integers
from epithermal_host.field.csv_table import number, read_cells
from epithermal_host.field.site_toml import Sampling, SiteFile

EPOCH = datetime.date(1970, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Campaign:
    """Samples of one day down to the largest depth used."""

    day: str  # ISO date, UTC
    theta: Array  # (n,) soil water without lattice water and organic matter [m3 m-3]
    depth_cm: Array  # (n,) middle of the sample; NaN: unknown
    distance_m: Array  # (n,) from the detector; NaN: unknown
    profile: Integers  # (n,) index of the profile, 0 to number of profiles - 1


def begin_s(day: str) -> float:
    """Return the start of a day, given as ISO date [s, UTC]."""
    return (datetime.date.fromisoformat(day) - EPOCH).days * DAY_S


def read_campaigns(site_file: SiteFile) -> list[Campaign]:
    """Read the campaigns that the site file names, in time order.

    Raises
    ------
    ConfigError
        The site file has no [sampling]; a named day has no samples, or only samples that are too
        deep.
    SourceError
        The file cannot be read.
    """
    sampling = site_file.sampling
    if sampling is None:
        raise ConfigError(f"{site_file.path}: no [sampling] to calibrate on; add the table")
    where = sampling.time.path
    day_s, cells = _rows(sampling)
    theta = _theta(site_file, sampling, cells)
    depth, distance = _depth(sampling, cells), cells_of(cells, sampling.distance_column)
    if np.any(distance < 0.0):
        raise ConfigError(f"{where}: {sampling.distance_column}: a distance is negative")
    known = np.isfinite(theta)
    if not known.any():
        raise ConfigError(f"{where}: no samples in column {sampling.value!r}")
    usable = known & ~(depth > sampling.deepest_cm)
    profile = _profile(sampling, cells, known.size)
    out, faults = [], []
    for begin in _wanted(sampling, day_s[known]):
        day = (EPOCH + datetime.timedelta(days=begin / DAY_S)).isoformat()
        rows = usable & (day_s == begin)
        if not np.any(known & (day_s == begin)):
            faults.append(f"{where}: no samples of the day {day}")
        elif not rows.any():
            faults.append(
                f"{where}: all samples of {day} are below {sampling.deepest_cm:g} cm, the "
                f"shallowest is at {depth[known & (day_s == begin)].min():g} cm; increase "
                "sampling.deepest_cm"
            )
        else:
            own = np.unique(profile[rows], return_inverse=True)[1]
            out.append(Campaign(day, theta[rows], depth[rows], distance[rows], own))
    if faults:
        raise ConfigError(*faults)
    return out


def cells_of(cells: dict[str, list[str]], column: str) -> Array:
    """Convert a column to numbers, (n,); NaN if `column` is empty."""
    any_column = next(iter(cells.values()))
    if not column:
        return np.full(len(any_column), np.nan)
    return np.array([number(cell) for cell in cells[column]])


def _rows(sampling: Sampling) -> tuple[Array, dict[str, list[str]]]:
    """Read the start of each sample's day (n,) [s, UTC] and the cells by column."""
    s = sampling
    named = (s.value, s.depth_column, s.bottom_column, s.distance_column, s.direction_column,
             s.profile_column, s.bulk_density_column)  # fmt: skip
    names = tuple(dict.fromkeys(name for name in named if name))
    time_s, rows = read_cells(sampling.time, names)
    if not rows:
        raise ConfigError(f"{sampling.time.path}: the file has no rows")
    if not sampling.time.name:
        time_s = np.full(time_s.size, begin_s(sampling.day))
    day_s = np.floor(time_s / DAY_S) * DAY_S
    return day_s, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _wanted(sampling: Sampling, day_s: Array) -> list[float]:
    if sampling.days:
        return sorted(begin_s(day) for day in dict.fromkeys(sampling.days))
    return [float(begin) for begin in np.unique(day_s)]


def _theta(site_file: SiteFile, sampling: Sampling, cells: dict[str, list[str]]) -> Array:
    """Compute the water content of each sample, (n,) [m3 m-3]."""
    site, value = site_file.site, cells_of(cells, sampling.value)
    if sampling.kind == "total_water_g_g":
        value = value - float(site.lattice_water_g_g) - float(site.organic_water_g_g)
    if sampling.kind == "theta":
        return value
    density = cells_of(cells, sampling.bulk_density_column)
    return np.asarray(
        value * np.where(np.isfinite(density), density, float(site.bulk_density_g_cm3))
    )


def _depth(sampling: Sampling, cells: dict[str, list[str]]) -> Array:
    depth = cells_of(cells, sampling.depth_column)
    if sampling.bottom_column:
        depth = np.asarray(0.5 * (depth + cells_of(cells, sampling.bottom_column)))
    return depth


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
