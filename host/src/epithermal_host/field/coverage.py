"""Report what was read from a site's records: share of hours corrected, lines left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from epithermal_edge.loggers.files import ReadResult
from epithermal_edge.records import Quality, RawRecord
from epithermal_host.arrays import Array, Integers
from epithermal_host.field.site_toml import SiteFile

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
