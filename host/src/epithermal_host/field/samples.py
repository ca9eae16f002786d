"""Soil samples of a site: from their file to campaigns, each the samples of one day."""

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
    """Samples of one day, those that are not too deep."""

    day: str  # ISO date, UTC
    theta: Array  # (n,) water of the soil, without that of lattice and organic matter [m3 m-3]
    depth_cm: Array  # (n,) middle of the sample; NaN: not told
    distance_m: Array  # (n,) from the detector; NaN: not told
    profile: Integers  # (n,) which profile, 0 to number of profiles - 1


def begin_s(day: str) -> float:
    """Begin of a day, ISO date [s, UTC]."""
    return (datetime.date.fromisoformat(day) - EPOCH).days * DAY_S


def read_campaigns(site_file: SiteFile) -> list[Campaign]:
    """The campaigns that the site file names, in order of time.

    Raises
    ------
    ConfigError
        No [sampling], no sample of a day that it names, or none that is shallow enough.
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
                f"{where}: all samples of {day} are below {sampling.deepest_cm:g} cm, the least is "
                f"at {depth[known & (day_s == begin)].min():g} cm; raise sampling.deepest_cm"
            )
        else:
            own = np.unique(profile[rows], return_inverse=True)[1]
            out.append(Campaign(day, theta[rows], depth[rows], distance[rows], own))
    if faults:
        raise ConfigError(*faults)
    return out


def cells_of(cells: dict[str, list[str]], column: str) -> Array:
    """Numbers of a column, (n,); NaN where there is no such column."""
    some = next(iter(cells.values()))
    return np.array([number(cell) for cell in cells[column]] if column else [np.nan] * len(some))


def _rows(sampling: Sampling) -> tuple[Array, dict[str, list[str]]]:
    """Begin of each sample's day (n,) [s, UTC] and its cells by column."""
    s = sampling
    named = (s.value, s.depth_column, s.bottom_column, s.distance_column, s.direction_column,
             s.profile_column, s.bulk_density_column)  # fmt: skip
    names = tuple(dict.fromkeys(name for name in named if name))
    time_s, rows = read_cells(sampling.time, names)
    if not rows:
        raise ConfigError(f"{sampling.time.path}: it has no row")
    if not sampling.time.name:
        time_s = np.full(time_s.size, begin_s(sampling.day))
    day_s = np.floor(time_s / DAY_S) * DAY_S
    return day_s, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _wanted(sampling: Sampling, day_s: Array) -> list[float]:
    if sampling.days:
        return sorted(begin_s(day) for day in dict.fromkeys(sampling.days))
    return [float(begin) for begin in np.unique(day_s)]


def _theta(site_file: SiteFile, sampling: Sampling, cells: dict[str, list[str]]) -> Array:
    """Water content of each sample, (n,) [m3 m-3]."""
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
    """Which samples stand above each other: those of one name, distance and direction.

    Where none is told, each sample is a profile if no depth is told either, else all are one.
    """
    names = (sampling.profile_column, sampling.distance_column, sampling.direction_column)
    told = [cells[name] for name in names if name]
    if not told:
        return np.zeros(n, np.int64) if sampling.depth_column else np.arange(n)
    keys = list(zip(*told, strict=True))
    number_of = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([number_of[key] for key in keys], dtype=np.int64)
