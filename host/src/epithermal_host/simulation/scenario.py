"""Draw a scenario, one simulated place with soil, cover, climate and detector, from a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from epithermal_edge.physics.cosmic import cosmic_parameters
from epithermal_edge.site import Site
from epithermal_host.arrays import Array
from epithermal_host.config.population import Population, textbook
from epithermal_host.rendering.text import plain
from epithermal_host.simulation.sample_place import cosmic_factors, sample_cover, sample_site
from epithermal_host.simulation.sample_soil import sample_lattice, sample_soil, share_air_entry
from epithermal_host.simulation.vegetation import Cover
from epithermal_host.soil.hydraulics import SoilHydraulics
from epithermal_host.soil.profile import Grid, graded_grid, root_density
from epithermal_host.weather.climate_prior import sample_climate
from epithermal_host.weather.generator import Climate
from epithermal_host.weather.observed import Station, choose_station

STREAMS = {"scenario": 0, "weather": 1, "instrument": 2, "biomass": 3}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One place with its true properties; `detector` draws the description that a station has."""

    index: int
    seed: int
    plain: bool
    soils: tuple[SoilHydraulics, ...]
    bulk_density_g_cm3: tuple[float, ...]  # of each soil
    bound_water_g_g: tuple[float, ...]  # lattice and organic water of each soil
    layer_bottoms_cm: tuple[float, ...]
    depth_cm: float
    nodes: int
    top_dz_cm: float
    h_initial_cm: float
    cover: Cover
    roots_grow: bool
    climate: Climate
    snow_on_counts: bool
    site: Site  # true values, also of the detector
    observed: str = ""  # station whose observed weather is used; empty: generated weather
    observed_day: int = 0  # first day of the spin-up in the station's record, since 1970-01-01

    @property
    def texture(self) -> str:
        """Texture class of the uppermost material."""
        return self.soils[0].name

    def rng(self, stream: str, again: int = 0) -> np.random.Generator:
        """Create the random generator of one purpose; it depends on seed, index and `again`."""
        return np.random.default_rng([self.seed, self.index, STREAMS[stream], again])

    def grid(self) -> Grid:
        """Build the grid of the column: nodes, materials and roots."""
        grid = graded_grid(self.depth_cm, self.nodes, self.top_dz_cm, self.layer_bottoms_cm)
        if self.cover.kind == "bare":
            return grid
        return dataclasses.replace(grid, root=root_density(grid.z_cm, self.cover.root_depth_cm))

    def cosmic_parameters(self, bulk_density_g_cm3: Array) -> tuple[Array, Array]:
        """Compute COSMIC's alpha [-] and L3 [g cm-2] of layers at this place."""
        alpha, l3_g_cm2 = cosmic_parameters(bulk_density_g_cm3)
        site = self.site
        if np.isnan(site.alpha):
            return alpha, l3_g_cm2
        usual = cosmic_parameters(site.bulk_density_g_cm3)
        return alpha * (site.alpha / usual[0]), l3_g_cm2 * (site.l3_g_cm2 / usual[1])

    def to_dict(self) -> dict[str, Any]:
        """Convert to numbers and strings for JSON; NaN becomes None."""
        value: dict[str, Any] = plain(self)
        return value


def sample(
    population: Population,
    seed: int,
    index: int,
    climates: Sequence[Climate] = (),
    observed: Sequence[Station] = (),
) -> Scenario:
    """Draw one scenario; seed and index alone determine it.

    Parameters
    ----------
    population :
        The distributions to draw from.
    seed, index :
        Seed of the campaign, index of the scenario.
    climates :
        Contents of the files in population.climates.
    observed :
        Contents of the files in population.observed.

    Raises
    ------
    ValueError
        `climates` or `observed` does not have one entry per file that the population names.
    """
    if len(climates) != len(population.climates):
        raise ValueError("climates must hold one climate for each file in population.climates")
    if len(observed) != len(population.observed):
        raise ValueError("observed must hold one station for each file in population.observed")
    rng = np.random.default_rng([seed, index, STREAMS["scenario"], 0])
    plain = bool(rng.random() < population.plain_share)
    p = textbook(population) if plain else population
    station, begin_day = choose_station(rng, observed, p.observed_share)
    climate = _sample_place(rng, p, climates) if station is None else station.climate
    names = [str(rng.choice(p.textures))]
    bottoms: tuple[float, ...] = ()
    if rng.random() < p.layered_share:
        names.append(names[0] if rng.random() < 0.5 else str(rng.choice(p.textures)))
        bottoms = (float(rng.uniform(15.0, 60.0)),)
    drawn = [
        sample_soil(rng, p.hydraulics, name, layer, p.ks_least_cm_d)
        for layer, name in enumerate(names)
    ]
    soils = share_air_entry([soil for soil, _ in drawn])
    density = tuple(d for _, d in drawn)
    depth_cm = float(rng.uniform(p.depth_min_cm, p.depth_max_cm))
    cover = sample_cover(rng, p, climate.latitude_deg < 0.0, depth_cm)
    lattice_g_g = [sample_lattice(rng, name) for name in names]
    factors = cosmic_factors(p, rng.standard_normal(2))
    site = sample_site(rng, p, climate, density[0], lattice_g_g[0], factors)
    return Scenario(
        index=index,
        seed=seed,
        plain=plain,
        soils=soils,
        bulk_density_g_cm3=density,
        bound_water_g_g=(lattice_g_g[0] + float(site.organic_water_g_g), *lattice_g_g[1:]),
        layer_bottoms_cm=bottoms,
        depth_cm=depth_cm,
        nodes=p.nodes,
        top_dz_cm=p.top_dz_cm,
        h_initial_cm=-float(np.exp(rng.uniform(np.log(80.0), np.log(800.0)))),
        cover=cover,
        roots_grow=p.roots_grow,
        climate=climate,
        snow_on_counts=p.snow_on_counts,
        site=site,
        observed=station.name if station else "",
        observed_day=begin_day,
    )


def _sample_place(rng: np.random.Generator, p: Population, climates: Sequence[Climate]) -> Climate:
    """Draw a climate from the prior, or one of the fitted climates with equal probability."""
    if climates and rng.random() >= p.prior_share:
        return climates[rng.integers(len(climates))]
    return sample_climate(
        rng,
        (p.aridity_min, p.aridity_max),
        p.southern_share,
        mountain_share=p.mountain_share,
        regime=(p.regime_mean, p.regime_sigma),
        spell_sigma_max=p.spell_sigma_max,
    )
