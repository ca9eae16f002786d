"""Define groups of soils and of days, from the data alone, for which errors are listed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epithermal_edge.physics.response import response_rate
from epithermal_host.arrays import Array, Mask
from epithermal_host.evaluation.unseen import Places
from epithermal_host.soil.hydraulics import CATALOGUE

ARIDITY = ((0.0, 0.2, "arid"), (0.2, 0.5, "semi-arid"), (0.5, 0.65, "dry sub-humid"),
           (0.65, 1.0, "humid"), (1.0, np.inf, "very humid"))  # fmt: skip
RATES = ((0.0, 500.0), (500.0, 1000.0), (1000.0, 2500.0), (2500.0, np.inf))  # [counts h-1]
COVERS = {"bare": "bare soil", "grass": "grass", "crop": "crop", "forest": "forest"}
SEASON_D = 60  # days over which precipitation and ET0 are compared
RAIN_MM, AFTER_D, FALL_D = 5.0, 3, 3
FALL_THETA = 0.001  # over FALL_D [m3 m-3]

DEFINITIONS = {
    "texture": "Class of the uppermost material.",
    "layers": "One material, or two.",
    "climate": "Precipitation over ET0 of the whole series; limits of UNEP's World Atlas of"
    " Desertification (1997), own limit between humid and very humid.",
    "cover": "Vegetation.",
    "counting rate": "Corrected counts per hour at the soil's mean water content.",
    "season": f"Wet: more precipitation than ET0 in the last {SEASON_D} days; dry: less.",
    "state": f"After rain: {RAIN_MM:g} mm on one of the last {AFTER_D} days, including this day."
    f" Drying: no such rain, and the true water content decreased by more than {FALL_THETA:g} in"
    f" {FALL_D} days. Steady: all other days.",
    "year": "Year of the stream since its cold start.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A selection of soils or of days."""

    kind: str  # a key of DEFINITIONS
    name: str
    rows: Mask  # (S, T), or (S, 1) for all days of some soils


def groups(places: Places, truth: Array) -> tuple[Group, ...]:
    """List all groups that have a member.

    Parameters
    ----------
    places :
        S soils and their weather.
    truth : (S, T) [m3 m-3]
    """
    candidates = [*_soils(places, truth), *_days(places, truth)]
    return tuple(group for group in candidates if group.rows.any())


def _soils(places: Places, truth: Array) -> list[Group]:
    texture, cover = np.array(places.texture), np.array(places.cover)
    aridity = places.precipitation_mm.sum(axis=1) / places.et0_mm.sum(axis=1)
    rate = np.asarray(response_rate(np.nanmean(truth, axis=1), places.site))
    out = [("texture", name.replace("_", " "), texture == name) for name in CATALOGUE]
    out += [
        ("layers", "one material", ~places.layered),
        ("layers", "two materials", places.layered),
    ]
    out += [
        ("climate", f"{name} ({_span(low, high)})", (aridity >= low) & (aridity < high))
        for low, high, name in ARIDITY
    ]
    out += [("cover", name, cover == kind) for kind, name in COVERS.items()]
    out += [("counting rate", _span(low, high), (rate >= low) & (rate < high))
            for low, high in RATES]  # fmt: skip
    return [Group(kind, name, rows[:, None]) for kind, name, rows in out]


def _days(places: Places, truth: Array) -> list[Group]:
    wet = running_sum(places.precipitation_mm - places.et0_mm, SEASON_D) > 0.0
    rained = running_sum((places.precipitation_mm >= RAIN_MM).astype(np.float64), AFTER_D) > 0.0
    fell = np.zeros_like(rained)
    fell[:, FALL_D:] = truth[:, :-FALL_D] - truth[:, FALL_D:] > FALL_THETA
    year = np.arange(truth.shape[1]) // 365
    out = [
        Group("season", "wet", wet),
        Group("season", "dry", ~wet),
        Group("state", "after rain", rained),
        Group("state", "drying", ~rained & fell),
        Group("state", "steady", ~rained & ~fell),
    ]
    for number in range(max(truth.shape[1] // 365, 1)):
        rows = np.broadcast_to(year == number, truth.shape)
        out.append(Group("year", str(number + 1), rows))
    return out


def running_sum(values: Array, days: int) -> Array:
    """Sum over the last days including the present one; fewer at the start of the series."""
    total = np.cumsum(values, axis=1)
    out = total.copy()
    out[:, days:] -= total[:, :-days]
    # cumulative sums of rain have rounding errors, which would count as rain
    return np.asarray(np.round(out, 9))


def _span(low: float, high: float) -> str:
    if not np.isfinite(high):
        return f"{low:g} and more"
    return f"under {high:g}" if low == 0.0 else f"{low:g} to {high:g}"
