"""Format raw records as lines of records.csv, the dialect `records`."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from epithermal_edge.records import Floats, RawRecord

RECORDS_HEADER = (
    b"time_utc,duration_s,counts,pressure_hpa,temperature_c,relative_humidity_pct,"
    b"rain_mm,et0_mm,incoming,battery_v,housing_humidity_pct,first_tube_counts\n"
)


def format_record(record: RawRecord) -> bytes:
    """Format a record as a line of records.csv, from which `parse` restores the same record.

    Parameters
    ----------
    record :
        A single record; NaN becomes an empty field.

    Raises
    ------
    ValueError
        The counts are not whole, or the time is out of range.
    """
    if not math.isnan(float(record.counts)) and not float(record.counts).is_integer():
        raise ValueError(f"counts must be whole, not {record.counts}")
    seconds, _, fraction = repr(float(record.end_s)).partition(".")
    stamp = datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fields = (
        *(record.duration_s, record.counts, record.pressure_hpa, record.temperature_c),
        *(record.relative_humidity_pct, record.rain_mm, record.et0_mm, record.incoming),
        *(record.battery_v, record.housing_humidity_pct, record.first_tube_counts),
    )
    end = f".{fraction}Z" if int(fraction) else "Z"
    return ",".join([stamp + end, *map(_text, fields)]).encode() + b"\n"


def _text(value: Floats) -> str:
    x = float(value)
    if math.isnan(x):
        return ""
    return f"{x:.0f}" if x.is_integer() and abs(x) < 1e15 else repr(x)
