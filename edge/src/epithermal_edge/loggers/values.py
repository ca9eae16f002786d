"""Parse a field of a logger's line as a number or a time; strict, to detect damaged values."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from epithermal_edge.errors import FrameError
from epithermal_edge.loggers.dialects import Intervals
from epithermal_edge.records import NAN

LIMITS = {
    "duration_s": (0.1, 90000.0),
    "counts": (0.0, 1e7),
    "pressure_hpa": (300.0, 1100.0),
    "temperature_c": (-60.0, 60.0),
    "relative_humidity_pct": (0.0, 105.0),
    "rain_mm": (0.0, 1000.0),
    "et0_mm": (-10.0, 50.0),
    "incoming": (1e-3, 1e6),
    "battery_v": (0.0, 60.0),
    "housing_humidity_pct": (0.0, 105.0),
    "housing_temperature_c": (-60.0, 90.0),
    "biomass_kg_m2": (0.0, 100.0),
    "number": (0.0, 1e10),
}
"""Possible range of a record's field, an extra channel or the running number.

Outside, the line is damaged; an extra channel or a housekeeping value is missing.
"""

YEARS = (2000, 2100)

_NOTHING = frozenset({"", "nan", "inf", "-inf", "null", "none"})
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-][0-9]{1,3})?")
_ISO = re.compile(
    r"([0-9]{4})([-/])([0-9]{2})\2([0-9]{2})[ T]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(\.[0-9]+)?)?"
    r"(?: ?(UTC|Z)|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_MONTH_FIRST = re.compile(
    r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}) ([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?"
)
_UNIX = re.compile(r"[0-9]{9,10}")
_EPOCH_DAY = datetime(1970, 1, 1).toordinal()
EARLIEST_S, LATEST_S = (
    86400.0 * (datetime(year, 1, 1).toordinal() - _EPOCH_DAY) for year in (YEARS[0], YEARS[1] + 1)
)
"""Possible range of a Unix time [s], the years of `YEARS`; outside, the sender's clock is wrong."""


def parse_number(
    cell: str,
    name: str,
    field: str,
    sentinels: Intervals = (),
    scale: float = 1.0,
    offset: float = 0.0,
) -> float:
    """Parse the number in a cell.

    Parameters
    ----------
    cell, name :
        The text, padded with blanks on the left only, and the column's name for the message.
    field :
        A key of `LIMITS`.
    sentinels :
        Values, in the logger's unit, that mean "not measured".
    scale, offset :
        Value in the field's unit = value in the logger's unit * scale + offset.

    Returns
    -------
    float
        NaN for a sentinel, an empty cell, or a word such as `nan` or `null`.

    Raises
    ------
    FrameError
        The text is not a number, or the number is outside of the field's range.
    """
    # A blank on the right is a damaged digit and not padding: '0' and ' ' differ by one bit.
    text = cell.lstrip(" ")
    if _NUMBER.fullmatch(text) is None:
        if text.lower() in _NOTHING:
            return NAN
        raise FrameError(f"{name}: {text[:24]!r} is not a number")
    value = float(text)
    for low, high in sentinels:
        if low <= value <= high:
            return NAN
    value = value * scale + offset if offset else value * scale  # keeps the sign of zero
    low, high = LIMITS[field]
    if not low <= value <= high:
        raise FrameError(f"{name}: {text[:24]} is outside of {low:g} to {high:g}")
    return value


def parse_time(text: str, name: str, clock: str, utc_offset_h: float) -> float:
    """Parse a time stamp.

    Parameters
    ----------
    text, name :
        The stamp and the column's name for the message.
    clock :
        "iso": `2024-10-01 00:00:00`, also with `/` for `-`, `T` for the blank, no or fractional
        seconds, and a zone `UTC`, `Z` or `+01:00`; "iso_z": the same with Z; "month_first":
        `4/10/2020 9:47`; "unix": `1658981362`, seconds since 1970 in UTC.
    utc_offset_h : [h]
        The logger's clock minus UTC, for a stamp without a zone.

    Returns
    -------
    [s, Unix time]

    Raises
    ------
    FrameError
        The stamp is not a valid time, or is outside of `YEARS`.
    """
    fault = f"{name}: {text[:32]!r} is not a time"
    if clock == "unix":
        return _parse_unix(text, fault)
    match = (_MONTH_FIRST if clock == "month_first" else _ISO).fullmatch(text)
    if match is None or (clock == "iso_z" and match[9] != "Z"):
        raise FrameError(fault)
    offset_s, fraction = utc_offset_h * 3600.0, None
    if clock == "month_first":
        month, day, year, hour, minute, second = (int(part or 0) for part in match.groups())
    else:
        year, month, day = int(match[1]), int(match[3]), int(match[4])
        hour, minute, second, fraction = int(match[5]), int(match[6]), int(match[7] or 0), match[8]
        if match[9]:
            offset_s = 0.0
        elif match[10]:
            offset_s = int(match[10] + "1") * (int(match[11]) * 3600.0 + int(match[12]) * 60.0)
    if not YEARS[0] <= year <= YEARS[1]:
        raise FrameError(fault)
    try:
        day_number = datetime(year, month, day, hour, minute, second).toordinal() - _EPOCH_DAY
    except ValueError as wrong:
        raise FrameError(f"{fault}: {wrong}") from wrong
    seconds = day_number * 86400 + hour * 3600 + minute * 60 + second
    return (float(f"{seconds}{fraction}") if fraction else float(seconds)) - offset_s


def _parse_unix(text: str, fault: str) -> float:
    if _UNIX.fullmatch(text) is None:
        raise FrameError(fault)
    if not YEARS[0] <= datetime.fromtimestamp(int(text), UTC).year <= YEARS[1]:
        raise FrameError(fault)
    return float(text)
