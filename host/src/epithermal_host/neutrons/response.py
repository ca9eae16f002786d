"""Compute the neutron rate of a soil profile by any response, COSMIC or a weighted mean."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from epithermal_edge.physics.footprint import d86_cm, layer_weights
from epithermal_edge.physics.response import MEAN_STEPS, response_rate
from epithermal_edge.records import Floats
from epithermal_edge.site import Site
from epithermal_host.arrays import Array
from epithermal_host.neutrons.cosmic import neutron_rate


def profile_rate(
    bottom_cm: ArrayLike,
    theta: ArrayLike,
    bulk_density_g_cm3: Array,
    bound_g_g: Array,
    site: Site,
    *,
    n_cph: Floats,
    alpha: Array,
    l3_g_cm2: Array,
    surface_water_cm: Array,
) -> Array:
    """Compute the neutron rate over layered soil by the response of a site.

    Parameters
    ----------
    bottom_cm : (nl) [cm]
        Lower ends of the layers.
    theta : (..., nl) [m3 m-3]
    bulk_density_g_cm3, bound_g_g, alpha, l3_g_cm2 : (nl) [g cm-3], [g g-1], [-], [g cm-2]
        Of the layers; the last two are COSMIC's.
    site :
        Names the response and its reference humidity; the soil is that of the layers.
    n_cph : (...) [counts h-1]
        Scale of the response.
    surface_water_cm : (...) [cm]
        Water of snow or litter. Responses other than COSMIC have no such term and take the
        fraction of the counts that COSMIC leaves.

    Returns
    -------
    (...) [counts h-1]

    References
    ----------
    COSMIC: `neutron_rate`. Others: the rate at the water and soil masses that are averaged with
    W(d) = exp(-2 d / D86), Schroen et al. (2017).
    """
    layers = np.asarray(theta, dtype=np.float64)
    bound = bulk_density_g_cm3 * bound_g_g
    soil = (bottom_cm, layers, bulk_density_g_cm3, bound)
    own: dict[str, Any] = {"alpha": alpha, "l3_g_cm2": l3_g_cm2}
    if site.response == "cosmic":
        return neutron_rate(*soil, n_cph, surface_water_cm=surface_water_cm, **own)
    water_g_g = _weighted_water(np.asarray(bottom_cm), layers + bound, bulk_density_g_cm3)
    mass = dataclasses.replace(
        site,
        cosmic_n_cph=n_cph,
        bulk_density_g_cm3=1.0,
        lattice_water_g_g=0.0,
        organic_water_g_g=0.0,
    )
    rate = response_rate(water_g_g, mass)
    if not np.any(surface_water_cm):
        return rate
    covered = neutron_rate(*soil, 1.0, surface_water_cm=surface_water_cm, **own)
    return np.asarray(rate * covered / neutron_rate(*soil, 1.0, **own))


def profile_origin(
    bottom_cm: ArrayLike, theta: ArrayLike, bulk_density_g_cm3: Array, bound_m3_m3: Array
) -> tuple[Array, Array]:
    """Compute the depth and the layers from which the counts come, by any response but COSMIC.

    Parameters
    ----------
    bottom_cm : (nl) [cm]
        Lower ends of the layers.
    theta, bulk_density_g_cm3, bound_m3_m3 : (..., nl), (nl), (nl) [m3 m-3], [g cm-3], [m3 m-3]

    Returns
    -------
    d86_cm : (...) [cm]
    share : (..., nl) [-]
        Adds up to 1.

    References
    ----------
    Schroen et al. (2017), appendix A.
    """
    water = np.asarray(theta, dtype=np.float64) + bound_m3_m3
    mean, density = _weighted_means(np.asarray(bottom_cm), water, bulk_density_g_cm3)
    depth = d86_cm(mean, density)
    return depth, layer_weights(bottom_cm, depth)


def _weighted_water(bottom_cm: Array, water: Array, bulk_density_g_cm3: Array) -> Array:
    """Average all water (..., nl) [m3 m-3] over the soil's mass by the depth weights, [g g-1]."""
    mean, density = _weighted_means(bottom_cm, water, bulk_density_g_cm3)
    return np.asarray(mean / density)


def _weighted_means(
    bottom_cm: Array, water: Array, bulk_density_g_cm3: Array
) -> tuple[Array, Array]:
    """Average water (..., nl) and density (nl) by the depth weights, (...) [m3 m-3], [g cm-3]."""
    mean = water.mean(axis=-1)
    density = np.full_like(mean, bulk_density_g_cm3.mean())
    for _ in range(MEAN_STEPS):
        weights = layer_weights(bottom_cm, d86_cm(mean, density))
        mean = (weights * water).sum(axis=-1)
        density = (weights * bulk_density_g_cm3).sum(axis=-1)
    return mean, density
