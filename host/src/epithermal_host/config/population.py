"""Describe the population that scenarios are drawn from: section [population] of run.toml."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from epithermal_edge.physics.corrections import BIOMASS_SLOPES
from epithermal_edge.physics.response_forms import RESPONSES
from epithermal_host.soil.hydraulics import CATALOGUE
from epithermal_host.soil.profile import NODES_MOST

Hydraulics = Literal["carsel_parrish", "rosetta"]
HYDRAULICS = ("carsel_parrish", "rosetta")
WATER_FORMS = tuple(name for name, slope in BIOMASS_SLOPES.items() if slope.is_water)


@dataclass(frozen=True, slots=True)
class Population:
    """Distributions of scenarios: section [population] of run.toml.

    Shares are between 0 and 1. By default the complications of real places are off;
    host/campaigns/rootzone.toml is the population that was compared with real sites.
    """

    textures: tuple[str, ...] = tuple(CATALOGUE)  # a class named twice is twice as likely
    hydraulics: Hydraulics = "carsel_parrish"  # or "rosetta": from class and bulk density
    ks_least_cm_d: float = 0.0  # soils with a lower Ks are drawn again
    plain_share: float = 0.0  # see `textbook`
    layered_share: float = 0.5  # columns of two materials
    bare_share: float = 0.25
    crop_share: float = 0.35
    forest_share: float = 0.0  # the rest is grass
    roots_grow: bool = True  # roots of a crop, from sowing on; not possible with HYDRUS-1D
    climates: tuple[str, ...] = ()  # files of `weather fit`, relative to run.toml
    prior_share: float = 0.5  # if climates are named: share still drawn from the prior
    observed: tuple[str, ...] = ()  # such files, for observed instead of generated weather
    observed_share: float = 1.0  # if observed is set: share of scenarios with such weather
    aridity_min: float = 0.2  # of the prior: mean annual precipitation over ET0
    aridity_max: float = 1.4
    southern_share: float = 0.3
    mountain_share: float = 0.0  # of the prior: at 1000 to 3000 m, with snow
    regime_mean: float = 0.0  # of the prior: below 0, winters are wetter than summers
    regime_sigma: float = 0.35
    spell_sigma_max: float = 0.0  # of the prior: wet and dry months; large values reduce rain
    depth_min_cm: float = 100.0
    depth_max_cm: float = 150.0
    nodes: int = 41
    top_dz_cm: float = 0.5
    evaporation_share_min: float = 0.4  # soil evaporation over its potential: litter, mulch
    interception: bool = True
    litter_share: float = 0.0  # vegetated places with litter, whose water reduces the counts
    litter_max_mm: float = 6.0  # water capacity, uniform up to this; half more in forests
    biomass_max_mm: float = 0.0  # water of a full-grown crop, uniform up to this; reduces counts
    biomass_slope: tuple[str, ...] = ()  # its relation to counts; several: drawn between
    snow_on_counts: bool = False  # snow reduces the counts, as water above the soil
    cosmic_sigma: float = 0.0  # relative scatter of COSMIC's alpha and L3 about their regressions
    cosmic_alpha_sigma: float = 0.0  # the same, each with its own scatter and correlated
    cosmic_l3_sigma: float = 0.0
    cosmic_correlation: float = -0.7  # of the two
    response: tuple[str, ...] = ("cosmic",)  # of the places; names of physics.response
    response_weights: tuple[float, ...] = ()  # relative frequency of each; none: equal
    dry_rate_min_cph: float = 300.0  # detector's corrected rate at theta 0.05
    dry_rate_max_cph: float = 10000.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.textures if name not in CATALOGUE]
        grid_fits = 0.0 < self.top_dz_cm * (self.nodes - 1) <= self.depth_min_cm
        checks = [
            (not self.textures or unknown, f"textures must be among {', '.join(CATALOGUE)}"),
            (
                self.bare_share + self.crop_share + self.forest_share > 1.0,
                "bare_share + crop_share + forest_share must be at most 1",
            ),
            (self.hydraulics not in HYDRAULICS, f"hydraulics must be among {HYDRAULICS}"),
            (not 0.0 <= self.ks_least_cm_d <= 2.0, "ks_least_cm_d must be within 0 to 2"),
            (not 0.0 <= self.cosmic_sigma <= 0.3, "cosmic_sigma must be within 0 to 0.3"),
            *self._response_checks(),
            (
                not all(name in WATER_FORMS for name in self.biomass_slope),
                f"biomass_slope must be among {', '.join(WATER_FORMS)}, which are for water",
            ),
            (not 0.0 <= self.litter_max_mm <= 30.0, "litter_max_mm must be within 0 to 30"),
            (not 0.0 <= self.biomass_max_mm <= 30.0, "biomass_max_mm must be within 0 to 30"),
            (not 0.0 <= self.spell_sigma_max <= 2.0, "spell_sigma_max must be within 0 to 2"),
            (not 0.0 <= self.regime_sigma <= 2.0, "regime_sigma must be within 0 to 2"),
            (not 0.0 < self.aridity_min <= self.aridity_max, "0 < aridity_min <= aridity_max"),
            (not 60.0 <= self.depth_min_cm <= self.depth_max_cm <= 500.0, "60 <= depth_.._cm"),
            (not 11 <= self.nodes <= NODES_MOST, f"nodes must be within 11 to {NODES_MOST}"),
            (not grid_fits, "top_dz_cm must be above 0 and fit nodes - 1 times into depth_min_cm"),
            (not 0.0 < self.dry_rate_min_cph <= self.dry_rate_max_cph, "0 < dry_rate_.._cph"),
        ]
        shares = [f.name for f in dataclasses.fields(self) if "_share" in f.name]
        checks += [
            (not 0.0 <= getattr(self, s) <= 1.0, f"{s} must be within 0 to 1") for s in shares
        ]
        faults = [text for bad, text in checks if bad]
        if faults:
            raise ValueError("; ".join(faults))

    def _response_checks(self) -> list[tuple[bool, str]]:
        """List what may be wrong with the responses and with COSMIC's scatter."""
        scatter = (self.cosmic_alpha_sigma, self.cosmic_l3_sigma)
        known = self.response and all(name in RESPONSES for name in self.response)
        weights = self.response_weights
        return [
            (not known, f"response must be among {', '.join(RESPONSES)}"),
            (
                bool(weights) and (len(weights) != len(self.response) or min(weights) <= 0.0),
                "response_weights must have one value above 0 for each response",
            ),
            (
                not all(0.0 <= sigma <= 0.3 for sigma in scatter),
                "cosmic_alpha_sigma and cosmic_l3_sigma must be within 0 to 0.3",
            ),
            (
                self.cosmic_sigma > 0.0 and any(scatter),
                "cosmic_sigma and cosmic_alpha_sigma, cosmic_l3_sigma exclude each other",
            ),
            (not -1.0 <= self.cosmic_correlation <= 1.0, "cosmic_correlation: within -1 to 1"),
        ]


TEXTBOOK_KS_CM_D = 1.0  # a shower of 10 mm infiltrates within a day; own choice


TEXTBOOK_KEYS = (
    "roots_grow",
    "climates",
    "prior_share",
    "observed",
    "observed_share",
    "southern_share",
    "depth_min_cm",
    "depth_max_cm",
    "nodes",
    "top_dz_cm",
    "dry_rate_min_cph",
    "dry_rate_max_cph",
    "response",
    "response_weights",
)


def textbook(population: Population) -> Population:
    """Derive the population of textbook scenarios: the defaults, with one uniform material.

    The keys in `TEXTBOOK_KEYS` are copied. Soils after Carsel and Parrish, without the three in
    ten with a Ks below 1 cm/d. The stations of such scenarios have counting noise alone and a known
    site (`simulation.detector`).
    """
    copied = {name: getattr(population, name) for name in TEXTBOOK_KEYS}
    return Population(layered_share=0.0, ks_least_cm_d=TEXTBOOK_KS_CM_D, **copied)
