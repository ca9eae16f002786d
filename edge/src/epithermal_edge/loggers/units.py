"""Convert values of a column to the unit of a record's field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from epithermal_edge.errors import FrameError
from epithermal_edge.loggers import dialects
from epithermal_edge.loggers.columns import Plan, plain_name

Conversion = tuple[float, float]
"""Factor and offset: value in the field's unit = value in the column * factor + offset."""

CONVERSIONS: dict[str, dict[str, Conversion]] = {
    "pressure_hpa": {
        "hPa": (1, 0),
        "mbar": (1, 0),
        "Pa": (0.01, 0),
        "kPa": (10, 0),
        "inHg": (33.8639, 0),
    },
    "temperature_c": {"degC": (1, 0), "K": (1, -273.15), "degF": (5 / 9, -160 / 9)},
    "relative_humidity_pct": {"%": (1, 0), "1": (100, 0)},
    "rain_mm": {"mm": (1, 0), "inch": (25.4, 0)},
    "et0_mm": {"mm": (1, 0), "inch": (25.4, 0)},
}
"""Field of RawRecord to its known units; the first one is the field's own."""

_LENGTH = {
    "mm": ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    "inch": ("inch", "inches", "in"),
}
_SPELLINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "pressure_hpa": {
        "hPa": ("hpa", "hectopascal", "hectopascals"),
        "mbar": ("mbar", "mb", "mbars", "millibar", "millibars"),
        "Pa": ("pa", "pascal", "pascals"),
        "kPa": ("kpa", "kilopascal", "kilopascals"),
        "inHg": ("inhg", "inchhg", "incheshg", "inchesofmercury"),
    },
    "temperature_c": {
        "degC": ("degc", "c", "oc", "celsius", "degcelsius", "degreesc", "degreescelsius"),
        "K": ("k", "kelvin", "degk"),
        "degF": ("degf", "f", "of", "fahrenheit", "degfahrenheit", "degreesf"),
    },
    "relative_humidity_pct": {
        "%": ("%", "percent", "pct", "rh", "percentrh", "rhpercent"),
        "1": ("1", "fraction", "ratio"),
    },
    "rain_mm": _LENGTH,
    "et0_mm": _LENGTH,
}
"""Spellings of the units in loggers' tables, as from `plain_name`."""

_UNITS = {
    field: {spelling: unit for unit, spellings in units.items() for spelling in spellings}
    for field, units in _SPELLINGS.items()
}


def apply_units(plan: Plan, units: list[str]) -> Plan:
    """Return the plan with the conversions for a table's line of units.

    Parameters
    ----------
    units :
        The unit of each column; an empty text means the field's own unit. Units of counts, times
        and tips are not interpreted. A column whose unit is unknown is rejected when it is used.

    Raises
    ------
    FrameError
        The number of units is not that of the columns.
    """
    if len(units) != plan.width:
        raise FrameError(f"{len(units)} units where the header has {plan.width} columns")
    conversions: dict[int, Conversion] = {}
    unknown: dict[int, str] = {}
    for field, columns in _convertible(plan).items():
        for column in columns:
            text = units[column].strip()
            unit = _UNITS[field].get(plain_name(text) or text)
            if unit is not None:
                conversions[column] = CONVERSIONS[field][unit]
            elif text:
                known = ", ".join(CONVERSIONS[field])
                unknown[column] = f"unit {text[:24]!r} is unknown; known: {known}"
    changed = {column: pair for column, pair in conversions.items() if pair != (1, 0)}
    return replace(plan, conversions=changed, unknown_units=unknown)


def _convertible(plan: Plan) -> Mapping[str, tuple[int, ...]]:
    """Return the columns of each field whose unit a logger's program can choose."""
    warmth = [
        column
        for found in plan.channels
        if found.channel.field == "temperature_c"
        for column in found.columns
    ]
    tips = [column for column in plan.rain if plain_name(plan.names[column]) in dialects.RAIN_TIPS]
    return {
        "pressure_hpa": plan.pressure,
        "temperature_c": (*plan.temperature, *warmth),
        "relative_humidity_pct": plan.humidity,
        "rain_mm": () if tips else plan.rain,
        "et0_mm": plan.et0,
    }
