"""Define the extra channels of a record: other particles, other tubes, values of the housing.

Corrections may use the muons and `biomass_kg_m2` (`inference.pipeline`), quality control looks at a
bare tube; nothing uses the others. A record has only those that its logger measured. A new one is a
new row of `CHANNELS`; docs/detector-formats.md describes each name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from epithermal_edge.loggers.dialects import INSIDE_HUMIDITY, INSIDE_TEMPERATURE
from epithermal_edge.records import HOUSEKEEPING, NAN, Floats, RawRecord

TUBES = range(1, 9)


@dataclass(frozen=True, slots=True)
class Channel:
    """One extra channel."""

    name: str  # key in RawRecord.channels, with the unit
    field: str  # the field whose codes for missing values it shares
    names: tuple[str, ...]  # columns, as from `plain_name`, the most trusted first
    limits: str = ""  # key of `values.LIMITS`; empty: as the field


def _tube(k: int) -> tuple[Channel, ...]:
    ends = ("ctstot", "cts", "counts", "c", "samp", "cph")
    counts = (f"counts{k}tot", f"counts{k}", *(f"n{k}{end}" for end in ends))
    return (
        Channel(f"tube_{k}_counts", "counts", counts),
        Channel(f"tube_{k}_duration_s", "duration_s", (f"n{k}etsec", f"n{k}ets", f"e{k}")),
        Channel(
            f"tube_{k}_temperature_c",
            "temperature_c",
            (f"n{k}tc", f"n{k}t"),
            "housing_temperature_c",
        ),
        Channel(f"tube_{k}_humidity_pct", "housing_humidity_pct", (f"n{k}rh",)),
    )


CHANNELS: tuple[Channel, ...] = (
    Channel("muon_counts", "counts", ("muons",)),
    Channel("gamma_counts", "counts", ("gamma", "gammas")),
    Channel("thermal_counts", "counts", ("neutroncountslowcum1h", "unmo")),
    *(channel for k in TUBES for channel in _tube(k)),
    Channel("housing_temperature_c", "temperature_c", INSIDE_TEMPERATURE, "housing_temperature_c"),
    Channel("logger_humidity_pct", "housing_humidity_pct", INSIDE_HUMIDITY),
    Channel("housing_pressure_hpa", "pressure_hpa", ("ipresspa",)),
    Channel("biomass_kg_m2", "rain_mm", ("biomasskgm2",), "biomass_kg_m2"),
)
"""In the order of the columns of tables."""


def extra_columns(records: Iterable[RawRecord]) -> tuple[str, ...]:
    """Return the housekeeping fields and channels that any of the records has, in table order."""
    found: set[str] = set()
    for record in records:
        found.update(record.channels)
        found.update(k for k in HOUSEKEEPING if not math.isnan(float(getattr(record, k))))
    known = (*HOUSEKEEPING, *(channel.name for channel in CHANNELS))
    return (*(k for k in known if k in found), *sorted(found - {*known}))


def extra_value(record: RawRecord, name: str) -> Floats:
    """Return the value of a column from `extra_columns`; NaN where it is missing."""
    if name in HOUSEKEEPING:
        value: Floats = getattr(record, name)
        return value
    return record.channels.get(name, NAN)
