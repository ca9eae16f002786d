"""Format raw records as lines of records.csv, the dialect `records`."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime

from epithermal_edge.records import NUMBERS, Floats, RawRecord

CHECKSUM = "crc32"
FIELDS = NUMBERS[1:]


def records_header(channels: Sequence[str] = ()) -> bytes:
    """Format the header of records.csv, with columns for extra channels."""
    return ",".join(("time_utc", *FIELDS, *channels, CHECKSUM)).encode() + b"\n"


RECORDS_HEADER = records_header()


def seal(text: str) -> str:
    """Append the CRC-32 of a line as its last field."""
    return f"{text},{zlib.crc32(text.encode()):08x}"


def format_record(record: RawRecord, channels: Sequence[str] = ()) -> bytes:
    """Format a record as a line of records.csv, from which `parse` restores the same record.

    Parameters
    ----------
    record :
        A single record; NaN becomes an empty field.
    channels :
        Names of the columns of extra channels, as in the header.

    Raises
    ------
    ValueError
        The counts are not whole, the time is out of range, or a channel has no column.
    """
    if not math.isnan(float(record.counts)) and not float(record.counts).is_integer():
        raise ValueError(f"counts must be whole, not {record.counts}")
    if not record.channels.keys() <= set(channels):
        raise ValueError(f"no column for {', '.join(record.channels.keys() - set(channels))}")
    seconds, _, fraction = repr(float(record.end_s)).partition(".")
    stamp = datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fields = (
        *(getattr(record, name) for name in FIELDS),
        *(record.channels.get(name, math.nan) for name in channels),
    )
    end = f".{fraction}Z" if int(fraction) else "Z"
    return seal(",".join([stamp + end, *map(_text, fields)])).encode() + b"\n"


def _text(value: Floats) -> str:
    x = float(value)
    if math.isnan(x):
        return ""
    return f"{x:.0f}" if x.is_integer() and abs(x) < 1e15 else repr(x)
