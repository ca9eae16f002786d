"""Describe [site.cover]: the vegetation of a site, with its canopy cover over the year."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from epithermal_edge.config.toml_keys import Key

COVER = (
    Key("canopy_cover", dict, 'fraction of the ground shaded by leaves, { "07-01" = 0.9, ... }'),
    Key("root_depth_cm", float, "root depth of the full-grown plants, cm", low=0, high=1000),
    Key(
        "evaporation_share",
        float,
        "soil evaporation relative to a bare, loose soil; less under mulch",
        low=0,
        high=1,
    ),
)
"""Keys of the vegetation, the same in a station.toml and in the host's site.toml."""

DAYS = 366
LEAP_YEAR = 2024  # any: 02-29 must be valid


def check_cover(table: str, cover: dict[str, Any]) -> list[str]:
    """List the faults of a checked table: its keys must be given all or none."""
    if all(value is None for value in cover.values()):
        return []
    missing = [name for name, value in cover.items() if value is None]
    faults = [f"{table}.{name}: missing; give all of [{table}] or none" for name in missing]
    if cover.get("canopy_cover") is not None:
        faults += [f"{table}.canopy_cover: {f}" for f in check_canopy(cover["canopy_cover"])]
    return faults


def derive_cover(cover: dict[str, Any]) -> dict[str, Any]:
    """Derive the fields of Site from a checked table; empty if no vegetation is described."""
    if cover.get("canopy_cover") is None:
        return {}
    return {**cover, "canopy_cover": interpolate_canopy(cover["canopy_cover"]), "cover_known": 1.0}


def interpolate_canopy(points: Mapping[str, float]) -> tuple[float, ...]:
    """Interpolate the canopy cover linearly to each day of the year, periodically.

    Parameters
    ----------
    points :
        "MM-DD" to the fraction of the ground shaded by leaves; one point applies to the whole year.

    Returns
    -------
    (366,) [1]

    Raises
    ------
    ValueError
        A key is not a day of the year.
    """
    known = sorted((_day(date), float(share)) for date, share in points.items())
    first, last = known[0], known[-1]
    circle = [(last[0] - DAYS, last[1]), *known, (first[0] + DAYS, first[1])]
    out = []
    i = 0
    for day in range(1, DAYS + 1):
        while circle[i + 1][0] < day:
            i += 1
        (begin, low), (end, high) = circle[i], circle[i + 1]
        out.append(low + (high - low) * (day - begin) / (end - begin))
    return tuple(out)


def check_canopy(points: Mapping[str, Any]) -> list[str]:
    """List the faults of the points of a curve."""
    if not points:
        return ['is empty; give at least one point, as { "07-01" = 0.9 }']
    faults = []
    for date, share in points.items():
        try:
            _day(date)
        except ValueError:
            faults.append(f'"{date}" is not a day; write month and day, as "07-01"')
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            faults.append(f'"{date}" = {share!r} is not within 0 to 1')
    return faults


def _day(date: str) -> int:
    """Return the day of a leap year, 1 to 366."""
    moment = datetime.datetime.strptime(f"{LEAP_YEAR}-{date}", "%Y-%m-%d")
    return moment.timetuple().tm_yday
