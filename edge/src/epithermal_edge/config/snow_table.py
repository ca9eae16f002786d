"""Describe [site.snow]: whether and by which air temperature snow is detected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epithermal_edge.config.toml_keys import Key
from epithermal_edge.inference.snow import DEFAULT, SnowRule

SNOW = (
    Key(
        "detect",
        bool,
        "flag snow and hold theta under it; false where it never snows",
        default=True,
    ),
    Key(
        "air_temperature_c",
        float,
        "24 h mean of the air at and below which precipitation remains as snow, degC",
        default=DEFAULT.air_temperature_c,
        low=-5,
        high=5,
    ),
)
"""Keys of the snow, the same in a station.toml and in the host's site.toml."""


def derive_snow(snow: Mapping[str, Any]) -> SnowRule | None:
    """Derive the rule from a checked table; None: snow is not looked for."""
    return SnowRule(snow["air_temperature_c"]) if snow["detect"] else None
