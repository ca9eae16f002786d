"""Compute the physics of a cosmic-ray neutron sensor: air, corrections, neutrons, footprint.

In: floats or arrays, with the unit in the name. Out: arrays of the broadcast shape, NaN for NaN; no
state, no I/O. Every formula can be imported from here and loads numpy at its first use.
Open `corrections` first (f_p, f_h, f_i, f_v), then `cosmic` (counts to water content).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "absolute_humidity",
    "adjusted_threshold",
    "atmospheric_depth",
    "biomass_at",
    "biomass_factor",
    "bound_water",
    "check_texture",
    "converted_site",
    "cosmic_inversion",
    "cosmic_parameters",
    "cosmic_rate",
    "cosmic_slope",
    "cosmic_soil",
    "cosmic_theta",
    "cutoff_rigidity",
    "d86_cm",
    "depth_weight",
    "desilets_rate",
    "desilets_sigma",
    "desilets_snow_water_mm",
    "desilets_theta",
    "distance_km",
    "distance_weight",
    "distance_weight_simple",
    "driest_rate",
    "extraterrestrial_radiation",
    "field_capacity",
    "find_monitor",
    "footprint_radius_m",
    "form_of_slope",
    "franz_depth_cm",
    "hargreaves_et0",
    "hawdon_scale",
    "hertle_scale",
    "humidity_factor",
    "incoming_factor",
    "incoming_scale",
    "inverse_uts_humidity",
    "inverse_uts_intensity",
    "inverse_uts_water",
    "layer_weights",
    "list_monitors",
    "matching_scale",
    "matching_scale_sigma",
    "mcjannet_scale",
    "mean_pressure",
    "muon_rate",
    "pore_space",
    "pressure_coefficient",
    "pressure_factor",
    "profile_mean",
    "relative_slope",
    "rescaled_distance_m",
    "response_driest_rate",
    "response_humidity_factor",
    "response_inversion",
    "response_of",
    "response_rate",
    "response_sigma",
    "response_slope",
    "response_theta",
    "saturation_vapour_pressure",
    "snow_share",
    "snow_water_mm",
    "texture_class",
    "texture_water",
    "thermal_ratio",
    "uts_intensity",
    "uts_rate",
    "uts_theta",
    "uts_water",
    "wilting_point",
]

MODULES = (
    *("atmosphere", "corrections", "cosmic", "cutoff", "desilets", "footprint"),
    *("neutron_monitors", "plant_water", "response", "response_forms", "snow_water", "texture"),
    *("uts", "uts_inverse"),
)

if TYPE_CHECKING:
    from epithermal_edge.physics.atmosphere import (
        absolute_humidity,
        atmospheric_depth,
        extraterrestrial_radiation,
        hargreaves_et0,
        mean_pressure,
        saturation_vapour_pressure,
    )
    from epithermal_edge.physics.corrections import (
        biomass_at,
        biomass_factor,
        form_of_slope,
        hawdon_scale,
        hertle_scale,
        humidity_factor,
        incoming_factor,
        mcjannet_scale,
        muon_rate,
        pressure_coefficient,
        pressure_factor,
        thermal_ratio,
    )
    from epithermal_edge.physics.cosmic import (
        cosmic_inversion,
        cosmic_parameters,
        cosmic_rate,
        cosmic_slope,
        cosmic_soil,
        cosmic_theta,
        driest_rate,
    )
    from epithermal_edge.physics.cutoff import cutoff_rigidity
    from epithermal_edge.physics.desilets import (
        bound_water,
        desilets_rate,
        desilets_sigma,
        desilets_theta,
    )
    from epithermal_edge.physics.footprint import (
        d86_cm,
        depth_weight,
        distance_weight,
        distance_weight_simple,
        footprint_radius_m,
        franz_depth_cm,
        layer_weights,
        rescaled_distance_m,
    )
    from epithermal_edge.physics.neutron_monitors import (
        distance_km,
        find_monitor,
        incoming_scale,
        list_monitors,
    )
    from epithermal_edge.physics.plant_water import (
        adjusted_threshold,
        field_capacity,
        wilting_point,
    )
    from epithermal_edge.physics.response import (
        converted_site,
        matching_scale,
        matching_scale_sigma,
        profile_mean,
        relative_slope,
        response_driest_rate,
        response_humidity_factor,
        response_inversion,
        response_of,
        response_rate,
        response_sigma,
        response_slope,
        response_theta,
    )
    from epithermal_edge.physics.snow_water import (
        desilets_snow_water_mm,
        pore_space,
        snow_share,
        snow_water_mm,
    )
    from epithermal_edge.physics.texture import check_texture, texture_class, texture_water
    from epithermal_edge.physics.uts import uts_intensity, uts_rate, uts_theta, uts_water
    from epithermal_edge.physics.uts_inverse import (
        inverse_uts_humidity,
        inverse_uts_intensity,
        inverse_uts_water,
    )


def __getattr__(name: str) -> Any:
    """Load a formula at its first use: the command line starts without numpy."""
    if name in __all__:
        for module in MODULES:
            formula = vars(import_module(f"{__name__}.{module}")).get(name)
            if formula is not None:
                return formula
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
