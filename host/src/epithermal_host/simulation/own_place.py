"""Put one's own soil and crop into the scenarios of a campaign."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from epithermal_edge.physics.corrections import BIOMASS_SLOPES
from epithermal_edge.physics.cosmic import cosmic_parameters
from epithermal_edge.physics.response import response_rate
from epithermal_host.config.own_site import DEPTH_CM, Crop, Layer, OwnSite
from epithermal_host.simulation.sample_place import DRY_THETA, FEDDES_CM
from epithermal_host.simulation.sample_soil import share_air_entry
from epithermal_host.simulation.scenario import Scenario
from epithermal_host.simulation.vegetation import BIOMASS_SLOPE_PER_MM, Cover
from epithermal_host.soil.pedotransfer import lattice_water_g_g

DEEPEST_ROOTS = 0.9  # of the column
EXTINCTION, EVAPORATION_SHARE = 0.5, 1.0  # of an own crop


def crop_cover(crop: Crop) -> Cover:
    """Return the vegetation of a crop."""
    form = crop.biomass_form
    return Cover(
        kind="crop",
        lai_min=0.0,
        lai_max=crop.lai_max,
        sow_day=crop.sow_day(),
        season_d=float(crop.season_d),
        root_depth_cm=crop.root_depth_cm,
        feddes_cm=FEDDES_CM[crop.plants],
        extinction=EXTINCTION,
        evaporation_share=EVAPORATION_SHARE,
        interception_mm=crop.interception_mm,
        biomass_mm=crop.biomass_mm,
        biomass_slope_per_mm=BIOMASS_SLOPES[form].per_mm if form else BIOMASS_SLOPE_PER_MM,
    )


def own_place(drawn: Scenario, own: OwnSite) -> Scenario:
    """Replace soil and crop of a drawn scenario; its weather and its detector stay as drawn.

    Parameters
    ----------
    drawn :
        Output of `sample`.
    own :
        Empty: the scenario is returned as it is.

    Notes
    -----
    The detector keeps its dry count rate, and COSMIC's alpha and L3 their ratio to the regressions.
    Lattice water follows from the clay of a layer; without it, it is the drawn one.
    """
    place = _with_layers(drawn, own.layers) if own.layers else drawn
    if own.crop is None:
        return place
    cover = crop_cover(own.crop)
    depth_cm = min(cover.root_depth_cm, DEEPEST_ROOTS * place.depth_cm)
    cover = dataclasses.replace(cover, root_depth_cm=depth_cm)
    return dataclasses.replace(place, cover=cover, roots_grow=own.crop.roots_grow)


def _with_layers(drawn: Scenario, layers: tuple[Layer, ...]) -> Scenario:
    soils = share_air_entry([layer.soil() for layer in layers])
    density = tuple(
        soil.bulk_density_g_cm3
        if math.isnan(layer.bulk_density_g_cm3)
        else layer.bulk_density_g_cm3
        for soil, layer in zip(soils, layers, strict=True)
    )
    site, organic = drawn.site, float(drawn.site.organic_water_g_g)
    lattice = [
        float(site.lattice_water_g_g)
        if math.isnan(layer.known_clay_pct)
        else lattice_water_g_g(layer.known_clay_pct)
        for layer in layers
    ]
    new = dataclasses.replace(
        site, bulk_density_g_cm3=density[0], lattice_water_g_g=lattice[0], cosmic_n_cph=1.0
    )
    if not math.isnan(float(site.alpha)):
        before, after = (
            cosmic_parameters(np.array(d)) for d in (site.bulk_density_g_cm3, density[0])
        )
        alpha, l3 = (float(a / b) for a, b in zip(after, before, strict=True))
        new = dataclasses.replace(
            new, alpha=float(site.alpha) * alpha, l3_g_cm2=float(site.l3_g_cm2) * l3
        )
    dry = np.array([DRY_THETA])
    n_cph = float(response_rate(dry, site)[0]) / float(response_rate(dry, new)[0])
    return dataclasses.replace(
        drawn,
        soils=soils,
        bulk_density_g_cm3=density,
        bound_water_g_g=(lattice[0] + organic, *lattice[1:]),
        layer_bottoms_cm=tuple(layer.bottom_cm for layer in layers[:-1]),
        depth_cm=DEPTH_CM,
        site=dataclasses.replace(new, cosmic_n_cph=n_cph),
    )
