"""Describe one's own site: soil by layer, crop and irrigation, in run.toml and for `study`."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Literal

from epithermal_edge.records import NAN
from epithermal_host.soil.hydraulics import CATALOGUE, N_WITHOUT_AIR_ENTRY, SoilHydraulics
from epithermal_host.soil.pedotransfer import CLASS_TEXTURE, from_texture

DEPTH_CM = 150.0
TEXTURE = ("sand_pct", "silt_pct", "clay_pct")
GENUCHTEN = ("theta_r", "theta_s", "alpha_per_cm", "n", "ks_cm_d")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the soil: an entry of [[layer]], from the surface down.

    Its hydraulic parameters come from van Genuchten's five, or from sand, silt and clay, or from a
    texture class of the catalogue.
    """

    bottom_cm: float = DEPTH_CM
    texture: str = ""
    sand_pct: float = NAN
    silt_pct: float = NAN
    clay_pct: float = NAN
    bulk_density_g_cm3: float = NAN  # default: of a soil whose porosity is theta_s
    theta_r: float = NAN
    theta_s: float = NAN
    alpha_per_cm: float = NAN
    n: float = NAN
    ks_cm_d: float = NAN

    def __post_init__(self) -> None:
        faults = []
        ways = [bool(self.texture), *(any(self._given(k)) for k in (TEXTURE, GENUCHTEN))]
        if sum(ways) != 1:
            faults.append(
                f"needs texture, or {', '.join(TEXTURE)}, or {', '.join(GENUCHTEN)}, and one only"
            )
        for keys in (TEXTURE, GENUCHTEN):
            given = self._given(keys)
            lacking = [k for k, has in zip(keys, given, strict=True) if any(given) and not has]
            faults += [f"{k} missing; give all of {', '.join(keys)}" for k in lacking]
        if self.texture and self.texture not in CLASS_TEXTURE:
            faults.append(f"texture must be among {', '.join(CLASS_TEXTURE)}")
        if not 0.0 < self.bottom_cm <= DEPTH_CM:
            faults.append(f"bottom_cm must be within 0 to {DEPTH_CM:g}")
        if math.isfinite(self.bulk_density_g_cm3) and not 0.5 <= self.bulk_density_g_cm3 <= 2.0:
            faults.append("bulk_density_g_cm3 must be within 0.5 to 2")
        if faults:
            raise ValueError("; ".join(faults))

    def _given(self, keys: tuple[str, ...]) -> list[bool]:
        return [math.isfinite(getattr(self, key)) for key in keys]

    @property
    def known_clay_pct(self) -> float:
        """Clay content [%]; NaN with van Genuchten's parameters."""
        return CLASS_TEXTURE[self.texture][2] if self.texture else self.clay_pct

    def soil(self) -> SoilHydraulics:
        """Return the hydraulic parameters.

        Raises
        ------
        ValueError
            Values that no soil has.
        """
        if self.texture:
            return CATALOGUE[self.texture]
        if all(self._given(TEXTURE)):
            density = self.bulk_density_g_cm3
            known = density if math.isfinite(density) else None
            return from_texture(self.sand_pct, self.silt_pct, self.clay_pct, known)
        soil = SoilHydraulics(**{key: getattr(self, key) for key in GENUCHTEN})
        return soil.with_air_entry() if soil.n < N_WITHOUT_AIR_ENTRY else soil


@dataclass(frozen=True, slots=True)
class Crop:
    """The crop of a place: section [crop]."""

    sow: str = "05-01"  # month and day
    plants: Literal["maize", "wheat", "grass"] = "maize"  # whose roots take up water
    season_d: int = 150
    lai_max: float = 4.0
    root_depth_cm: float = 90.0  # at mid-season
    roots_grow: bool = True  # from the seed's depth; false: of full depth all year
    biomass_mm: float = 0.0  # water equivalent of the full-grown plants; it reduces the counts
    biomass_form: Literal["", "baatz2015_bwe", "morris2024"] = ""  # by how much; empty: 0.5 % a mm
    interception_mm: float = 0.2  # of a unit of leaf area and a day

    def __post_init__(self) -> None:
        limits = {"season_d": (30, 364), "lai_max": (0.1, 10), "root_depth_cm": (10, 135),
                  "biomass_mm": (0, 30), "interception_mm": (0, 1)}  # fmt: skip
        faults = [
            f"{name} must be within {low} to {high}"
            for name, (low, high) in limits.items()
            if not low <= getattr(self, name) <= high
        ]
        try:
            self.sow_day()
        except ValueError:
            faults.append(f"sow must be month and day, as 05-01, not {self.sow!r}")
        if faults:
            raise ValueError("; ".join(faults))

    def sow_day(self) -> float:
        """Return the day of the year."""
        return float(datetime.datetime.strptime(f"2023-{self.sow}", "%Y-%m-%d").timetuple().tm_yday)


@dataclass(frozen=True, slots=True)
class Irrigation:
    """Rule of irrigation: section [irrigation]."""

    depletion: float = 0.5  # share of the available water in the rooted depth that starts it
    amount_mm: float = 0.0  # of each irrigation; 0: as much as is depleted
    begin: str = "05-01"  # first and last day of the season, month and day
    end: str = "09-15"
    measured: bool = True  # whether the station's rain gauge stands under the sprinklers

    def __post_init__(self) -> None:
        faults = [
            f"{name} must be month and day, as 05-01, not {value!r}"
            for name, value in (("begin", self.begin), ("end", self.end))
            if not _is_day(value)
        ]
        if not 0.05 <= self.depletion <= 0.95:
            faults.append("depletion must be within 0.05 to 0.95")
        if not 0.0 <= self.amount_mm <= 200.0:
            faults.append("amount_mm must be within 0 to 200")
        if faults:
            raise ValueError("; ".join(faults))


@dataclass(frozen=True, slots=True)
class OwnSite:
    """What run.toml says of the one site of a campaign; empty: all is drawn from a population."""

    layers: tuple[Layer, ...] = ()  # [[layer]]
    crop: Crop | None = None  # [crop]
    irrigation: Irrigation | None = None  # [irrigation]


NO_SITE = OwnSite()


def _is_day(text: str) -> bool:
    try:
        datetime.datetime.strptime(f"2024-{text}", "%Y-%m-%d")
    except ValueError:
        return False
    return True
