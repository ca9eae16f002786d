"""Scenario: one simulated place - soil, cover, climate, detector - and drawing it from a seed."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.air import atmospheric_depth, mean_pressure
from epithermal_edge.corrections import mcjannet_scale, pressure_coefficient
from epithermal_edge.moisture import cosmic_rate
from epithermal_edge.site import Site
from epithermal_host.cover import Cover, CoverKind
from epithermal_host.profile import Grid, graded_grid, root_density
from epithermal_host.soil import (
    AIR_ENTRY_CM,
    CATALOGUE,
    N_WITHOUT_AIR_ENTRY,
    SoilHydraulics,
    bulk_density_from_porosity,
)
from epithermal_host.weather import Climate, sample_climate

Array = NDArray[np.float64]

STREAMS = {"scenario": 0, "weather": 1, "instrument": 2}
DRY_THETA = 0.05  # at which a detector's counting rate is told [m3 m-3]

# Standard deviations beside the catalogue's means, Carsel and Parrish (1988), tables 6 and 7:
# theta_r, theta_s, alpha [cm-1], n, Ks [cm h-1]; the last column is the clay content of the
# middle of the class in the USDA triangle [g g-1].
_SPREAD = {
    "sand": (0.010, 0.06, 0.029, 0.29, 15.60, 0.03),
    "loamy_sand": (0.015, 0.09, 0.043, 0.27, 11.36, 0.06),
    "sandy_loam": (0.017, 0.09, 0.037, 0.17, 5.63, 0.10),
    "loam": (0.012, 0.10, 0.021, 0.11, 1.82, 0.19),
    "silt": (0.010, 0.11, 0.007, 0.05, 0.33, 0.05),
    "silt_loam": (0.015, 0.08, 0.012, 0.12, 1.23, 0.13),
    "sandy_clay_loam": (0.006, 0.07, 0.038, 0.13, 2.74, 0.27),
    "clay_loam": (0.010, 0.09, 0.015, 0.09, 0.70, 0.34),
    "silty_clay_loam": (0.009, 0.07, 0.006, 0.06, 0.19, 0.34),
    "sandy_clay": (0.013, 0.05, 0.017, 0.10, 0.28, 0.42),
    "silty_clay": (0.023, 0.07, 0.005, 0.06, 0.11, 0.47),
    "clay": (0.034, 0.09, 0.012, 0.09, 0.42, 0.58),
}


@dataclass(frozen=True, slots=True)
class Population:
    """What scenarios are drawn from: section [population] of run.toml.

    Shares are between 0 and 1. The defaults aim at the variety of real sites.
    """

    textures: tuple[str, ...] = tuple(CATALOGUE)  # classes of the catalogue, equally likely
    soil_spread: float = 1.0  # scales Carsel and Parrish's standard deviations
    layered_share: float = 0.5  # columns of two materials
    bare_share: float = 0.25
    crop_share: float = 0.35  # the rest is grass
    aridity_min: float = 0.2  # mean annual precipitation over ET0
    aridity_max: float = 1.4
    southern_share: float = 0.3
    depth_min_cm: float = 100.0
    depth_max_cm: float = 150.0
    nodes: int = 41
    top_dz_cm: float = 0.5
    evaporation_share_min: float = 0.4  # soil evaporation over its potential: litter, mulch
    interception: bool = True
    snow_on_counts: bool = False  # snow takes counts away, as water above the soil
    dry_rate_min_cph: float = 300.0  # detector's corrected rate at theta 0.05
    dry_rate_max_cph: float = 10000.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.textures if name not in CATALOGUE]
        grid_fits = 0.0 < self.top_dz_cm * (self.nodes - 1) <= self.depth_min_cm
        checks = [
            (not self.textures or unknown, f"textures must be among {', '.join(CATALOGUE)}"),
            (self.bare_share + self.crop_share > 1.0, "bare_share + crop_share must be at most 1"),
            (not 0.0 < self.aridity_min <= self.aridity_max, "0 < aridity_min <= aridity_max"),
            (not 60.0 <= self.depth_min_cm <= self.depth_max_cm <= 500.0, "60 <= depth_.._cm"),
            (self.nodes < 11, "nodes must be at least 11"),
            (not grid_fits, "top_dz_cm must be above 0 and fit nodes - 1 times into depth_min_cm"),
            (not 0.0 < self.dry_rate_min_cph <= self.dry_rate_max_cph, "0 < dry_rate_.._cph"),
            (not 0.0 <= self.soil_spread <= 2.0, "soil_spread must be within 0 to 2"),
        ]
        shares = [f.name for f in dataclasses.fields(self) if "_share" in f.name]
        checks += [
            (not 0.0 <= getattr(self, s) <= 1.0, f"{s} must be within 0 to 1") for s in shares
        ]
        faults = [text for bad, text in checks if bad]
        if faults:
            raise ValueError("; ".join(faults))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One place, as it truly is. What the station knows of it is drawn by `instrument`."""

    index: int
    seed: int
    soils: tuple[SoilHydraulics, ...]
    layer_bottoms_cm: tuple[float, ...]
    depth_cm: float
    nodes: int
    top_dz_cm: float
    h_initial_cm: float
    cover: Cover
    climate: Climate
    snow_on_counts: bool
    site: Site  # the truth, also the detector's

    @property
    def texture(self) -> str:
        """Class of the uppermost material."""
        return self.soils[0].name

    def rng(self, stream: str, again: int = 0) -> np.random.Generator:
        """The random numbers of one purpose; they depend on seed, index and `again` only."""
        return np.random.default_rng([self.seed, self.index, STREAMS[stream], again])

    def grid(self) -> Grid:
        """Nodes, materials and roots of the column."""
        grid = graded_grid(self.depth_cm, self.nodes, self.top_dz_cm, self.layer_bottoms_cm)
        if self.cover.kind == "bare":
            return grid
        return dataclasses.replace(grid, root=root_density(grid.z_cm, self.cover.root_depth_cm))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and names, for JSON; NaN as None."""
        plain = _plain(dataclasses.asdict(self))
        assert isinstance(plain, dict)
        return plain


def sample(population: Population, seed: int, index: int) -> Scenario:
    """Draw one scenario; the same seed and index give the same scenario, whatever ran before."""
    rng = np.random.default_rng([seed, index, STREAMS["scenario"], 0])
    p = population
    climate = sample_climate(rng, (p.aridity_min, p.aridity_max), p.southern_share)
    name = str(rng.choice(p.textures))
    top = _sample_soil(rng, name, p.soil_spread)
    soils: tuple[SoilHydraulics, ...] = (top,)
    bottoms: tuple[float, ...] = ()
    if rng.random() < p.layered_share:
        below = name if rng.random() < 0.5 else str(rng.choice(p.textures))
        soils = (top, _sample_soil(rng, below, p.soil_spread))
        bottoms = (float(rng.uniform(15.0, 60.0)),)
    depth_cm = float(rng.uniform(p.depth_min_cm, p.depth_max_cm))
    return Scenario(
        index=index,
        seed=seed,
        soils=soils,
        layer_bottoms_cm=bottoms,
        depth_cm=depth_cm,
        nodes=p.nodes,
        top_dz_cm=p.top_dz_cm,
        h_initial_cm=-float(np.exp(rng.uniform(np.log(80.0), np.log(800.0)))),
        cover=_sample_cover(rng, p, climate.latitude_deg < 0.0, depth_cm),
        climate=climate,
        snow_on_counts=p.snow_on_counts,
        site=_sample_site(rng, p, climate, top),
    )


def _sample_soil(rng: np.random.Generator, name: str, spread: float) -> SoilHydraulics:
    """A soil of a texture class: lognormal alpha, n - 1 and Ks that rise together, normal thetas.

    Carsel and Parrish (1988) found correlations of 0.7 to 0.99 between alpha, n and Ks within most
    classes; 0.8 stands for all. Deviates are cut at two standard deviations, the logarithm's at 1.
    """
    mean = CATALOGUE[name]
    sd_r, sd_s, sd_alpha, sd_n, sd_ks, _ = _SPREAD[name]
    e = np.clip(rng.standard_normal(6), -2.0, 2.0)
    joint = math.sqrt(0.8) * e[0] + math.sqrt(0.2) * e[1:4]

    def lognormal(middle: float, sd: float, deviate: float) -> float:
        sigma = min(math.sqrt(math.log1p((sd / middle) ** 2)), 1.0) * spread
        return float(middle * math.exp(sigma * deviate - 0.5 * sigma * sigma))

    theta_s = float(np.clip(mean.theta_s + spread * sd_s * e[4], 0.3, 0.6))
    n = max(1.0 + lognormal(mean.n - 1.0, sd_n, joint[1]), 1.06)
    return SoilHydraulics(
        theta_r=float(np.clip(mean.theta_r + spread * sd_r * e[5], 0.005, 0.12)),
        theta_s=theta_s,
        alpha_per_cm=float(np.clip(lognormal(mean.alpha_per_cm, sd_alpha, joint[0]), 0.002, 0.25)),
        n=n,
        ks_cm_d=max(lognormal(mean.ks_cm_d, 24.0 * sd_ks, joint[2]), 0.2),
        air_entry_cm=AIR_ENTRY_CM if n < N_WITHOUT_AIR_ENTRY else 0.0,
        name=name,
    )


def _sample_cover(rng: np.random.Generator, p: Population, south: bool, depth_cm: float) -> Cover:
    """Bare soil, grass, or a crop; suctions by Feddes as HYDRUS-1D lists them for each."""
    u, winter = rng.random(), rng.random() < 0.4
    kind: CoverKind = "bare" if u < p.bare_share else "grass"
    if p.bare_share <= u < p.bare_share + p.crop_share:
        kind = "crop"
    if kind == "grass":  # pasture
        lai, roots, feddes = (0.3, 2.5), (20.0, 80.0), (-10.0, -25.0, -200.0, -800.0, -8000.0)
    elif winter:  # wheat
        lai, roots, feddes = (0.0, 4.5), (60.0, 120.0), (0.0, -1.0, -500.0, -900.0, -16000.0)
    else:  # maize
        lai, roots, feddes = (0.0, 4.0), (40.0, 100.0), (-15.0, -30.0, -325.0, -600.0, -8000.0)
    sow = rng.uniform(265.0, 300.0) if winter else rng.uniform(85.0, 135.0)
    season = rng.uniform(270.0, 300.0) if winter else rng.uniform(120.0, 165.0)
    return Cover(
        kind=kind,
        lai_min=lai[0],
        lai_max=lai[1] * float(rng.uniform(0.6, 1.4)),
        sow_day=float((sow + (182.0 if south else 0.0)) % 365.0),
        season_d=float(season),
        root_depth_cm=min(float(rng.uniform(*roots)), 0.9 * depth_cm),
        feddes_cm=feddes,
        extinction=float(rng.uniform(0.4, 0.65)),
        evaporation_share=float(rng.uniform(p.evaporation_share_min, 1.0)),
        interception_mm=float(rng.uniform(0.15, 0.3)) if p.interception else 0.0,
    )


def _sample_site(
    rng: np.random.Generator, p: Population, climate: Climate, top: SoilHydraulics
) -> Site:
    """The detector's place: hydrogen of the soil, altitude, cutoff rigidity, counting rate."""
    clay = _SPREAD[top.name][5]
    cutoff_gv = 14.9 * math.cos(math.radians(climate.latitude_deg)) ** 4  # Stoermer, dipole
    depth_g_cm2 = float(atmospheric_depth(climate.latitude_deg, climate.altitude_m))
    rate = np.log([p.dry_rate_min_cph, p.dry_rate_max_cph])
    unit = Site(
        cosmic_n_cph=1.0,
        bulk_density_g_cm3=bulk_density_from_porosity(top.theta_s),
        lattice_water_g_g=max(0.01 + 0.08 * clay + float(rng.normal(0.0, 0.008)), 0.002),
        organic_water_g_g=min(float(rng.exponential(0.01)), 0.05),
        latitude_deg=climate.latitude_deg,
        beta_per_hpa=float(
            pressure_coefficient(climate.latitude_deg, climate.altitude_m, cutoff_gv)
        ),
        pressure_ref_hpa=float(mean_pressure(climate.altitude_m)),
        incoming_form="mcjannet2023",
        incoming_ref=climate.incoming_mean,
        incoming_scale=float(mcjannet_scale(cutoff_gv, depth_g_cm2)),
    )
    dry_cph = math.exp(rng.uniform(*rate))
    n_cph = dry_cph / float(np.asarray(cosmic_rate(np.array([DRY_THETA]), unit))[0])
    return dataclasses.replace(unit, cosmic_n_cph=n_cph)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
