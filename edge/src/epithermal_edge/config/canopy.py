"""Describe [site.cover]: the vegetation of a site, with its canopy cover over the year."""

from __future__ import annotations

from typing import Any

from epithermal_edge.config.toml_keys import Key
from epithermal_edge.config.year_curve import check_points, interpolate_year

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


def check_cover(table: str, cover: dict[str, Any]) -> list[str]:
    """List the faults of a checked table: its keys must be given all or none."""
    if all(value is None for value in cover.values()):
        return []
    missing = [name for name, value in cover.items() if value is None]
    faults = [f"{table}.{name}: missing; give all of [{table}] or none" for name in missing]
    if cover.get("canopy_cover") is not None:
        faults += [f"{table}.canopy_cover: {f}" for f in check_points(cover["canopy_cover"], 0, 1)]
    return faults


def derive_cover(cover: dict[str, Any]) -> dict[str, Any]:
    """Derive the fields of Site from a checked table; empty if no vegetation is described."""
    if cover.get("canopy_cover") is None:
        return {}
    return {**cover, "canopy_cover": interpolate_year(cover["canopy_cover"]), "cover_known": 1.0}
