"""Describe the biomass of a site and how it reduces the counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from epithermal_edge.config.toml_keys import Key
from epithermal_edge.config.year_curve import interpolate_year
from epithermal_edge.physics.corrections import BIOMASS_SLOPES, BiomassForm
from epithermal_edge.site import Site

HIGHEST_KG_M2 = 100.0
BIOMASS = (
    Key(
        "biomass_kg_m2",
        float,
        'biomass in the sense of the form, kg/m2; or by date, { "05-01" = 0.0, "07-20" = 6.5 }',
        default=0.0,
        low=0,
        high=HIGHEST_KG_M2,
        yearly=True,
    ),
    Key(
        "biomass_form",
        str,
        "published relation of biomass to counts",
        choices=get_args(BiomassForm),
    ),
    Key(
        "biomass_slope_per_mm",
        float,
        "relative decrease of the counts per kg/m2 of biomass_kg_m2, where no form is given",
        low=0,
        high=0.05,
    ),
)
"""Keys of [site], the same in a station.toml and in the host's site.toml."""

REMEDY = f"set biomass_form to one of {', '.join(get_args(BiomassForm))}, or biomass_slope_per_mm"


def check_biomass(site: Mapping[str, Any]) -> list[str]:
    """List the faults of the checked keys of [site]."""
    faults = []
    if site.get("biomass_form") is not None and site.get("biomass_slope_per_mm") is not None:
        faults.append("site.biomass_slope_per_mm: biomass_form has the slope; give one of the two")
    return faults


def derive_biomass(site: Mapping[str, Any]) -> dict[str, Any]:
    """Derive the fields of Site from checked keys; without form and slope the slope is 0."""
    value, form, slope = (site[key.name] for key in BIOMASS)
    if form is not None:
        slope = BIOMASS_SLOPES[form].per_mm
    return {
        "biomass_kg_m2": interpolate_year(value) if isinstance(value, Mapping) else value,
        "biomass_slope_per_mm": 0.0 if slope is None else slope,
    }


def is_without_effect(site: Site) -> bool:
    """Return whether a site has biomass but no slope, so that its counts are not corrected."""
    return bool(np.any(np.asarray(site.biomass_kg_m2) > 0.0)) and site.biomass_slope_per_mm == 0.0
