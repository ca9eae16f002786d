"""Draw the soils of a scenario: hydraulic parameters, bulk density, lattice water."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from epithermal_host.config.population import Hydraulics
from epithermal_host.soil.carsel_parrish import N_LEAST, THETA_S_LEAST_SPAN, sample_class
from epithermal_host.soil.hydraulics import (
    AIR_ENTRY_CM,
    N_WITHOUT_AIR_ENTRY,
    PARTICLE_DENSITY_G_CM3,
    SoilHydraulics,
)
from epithermal_host.soil.pedotransfer import (
    CLASS_TEXTURE,
    class_hydraulics,
    lattice_water_g_g,
    typical_bulk_density_g_cm3,
)

POROSITY = (0.30, 0.60)  # bulk densities of 1.06 to 1.86 g cm-3, the range of mineral soils
LATTICE_SIGMA_G_G = 0.008  # clay content varies by about 8 % within a class, times 0.097
DENSITY_SIGMA_G_CM3 = 0.18  # of topsoils about the typical density of their class; own choice
DENSITY_RANGE_G_CM3 = (0.85, 1.75)  # of mineral soils; roots cannot enter denser ones
DENSER_BELOW_G_CM3 = (0.0, 0.2)  # excess of the lower material over a topsoil; own choice
SCATTER = {  # standard deviations about Rosetta's estimate from class and bulk density
    "theta_r": 0.02,
    "theta_s": 0.03,
    "log10_alpha": 0.3,
    "log10_n": 0.05,
    "log10_ks": 0.45,
}
"""Own choice, about two thirds of the residuals in Zhang and Schaap (2017), table 5, which include
the variability of small laboratory samples."""


def sample_soil(
    rng: np.random.Generator,
    hydraulics: Hydraulics,
    name: str,
    layer: int,
    ks_least_cm_d: float = 0.0,
) -> tuple[SoilHydraulics, float]:
    """Draw a soil of a texture class and its bulk density [g cm-3], for one layer.

    A soil with a saturated conductivity below `ks_least_cm_d` is drawn again.
    """
    while True:
        if hydraulics == "carsel_parrish":
            soil, density = _by_class(rng, name)
        else:
            soil, density = _by_density(rng, name, layer)
        if soil.ks_cm_d >= ks_least_cm_d:
            return soil, density


def _by_class(rng: np.random.Generator, name: str) -> tuple[SoilHydraulics, float]:
    """Draw a soil after Carsel and Parrish (1988) whose porosity is within `POROSITY`."""
    while True:
        soil = sample_class(name, rng)
        if POROSITY[0] <= soil.theta_s <= POROSITY[1]:
            return soil, soil.bulk_density_g_cm3


def _by_density(rng: np.random.Generator, name: str, layer: int) -> tuple[SoilHydraulics, float]:
    """Draw a bulk density, then a soil that scatters about Rosetta's estimate for both."""
    deviation = DENSITY_SIGMA_G_CM3 * rng.standard_normal() + (
        rng.uniform(*DENSER_BELOW_G_CM3) if layer else 0
    )
    density = float(np.clip(typical_bulk_density_g_cm3(name) + deviation, *DENSITY_RANGE_G_CM3))
    mean = class_hydraulics(name, density)
    e_r, e_s, e_alpha, e_n, e_ks = (
        s * e for s, e in zip(SCATTER.values(), rng.standard_normal(5), strict=True)
    )
    theta_r = float(np.clip(mean.theta_r + e_r, 0.01, 0.15))
    porosity = 1.0 - density / PARTICLE_DENSITY_G_CM3
    n = max(mean.n * 10.0**e_n, N_LEAST)
    soil = SoilHydraulics(
        theta_r=theta_r,
        theta_s=float(np.clip(mean.theta_s + e_s, theta_r + THETA_S_LEAST_SPAN, porosity)),
        alpha_per_cm=mean.alpha_per_cm * 10.0**e_alpha,
        n=n,
        ks_cm_d=mean.ks_cm_d * 10.0**e_ks,
        air_entry_cm=AIR_ENTRY_CM if n < N_WITHOUT_AIR_ENTRY else 0.0,
        name=name,
    )
    return soil, density


def share_air_entry(soils: Sequence[SoilHydraulics]) -> tuple[SoilHydraulics, ...]:
    """Set the largest air entry in all materials: HYDRUS-1D has one retention model per column."""
    entry_cm = max(soil.air_entry_cm for soil in soils)
    return tuple(soil.with_air_entry(entry_cm) for soil in soils)


def sample_lattice(rng: np.random.Generator, name: str) -> float:
    """Draw lattice water of a class [g g-1]: from its central clay content, with scatter."""
    middle = lattice_water_g_g(CLASS_TEXTURE[name][2])
    return max(middle + LATTICE_SIGMA_G_G * float(rng.standard_normal()), 0.002)
