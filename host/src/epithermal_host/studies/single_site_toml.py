"""Read site.toml of a single-site study: the soil, plants, irrigation and weather of a place."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from epithermal_edge.config.toml_keys import describe_unknown
from epithermal_edge.errors import ConfigError
from epithermal_edge.physics.biomass import BIOMASS_SLOPES
from epithermal_edge.physics.response_forms import RESPONSES
from epithermal_edge.records import NAN
from epithermal_host.config.learning import TrainConfig
from epithermal_host.config.run_toml import CampaignConfig, from_table
from epithermal_host.simulation.irrigation import Irrigation
from epithermal_host.simulation.sample_place import FEDDES_CM
from epithermal_host.simulation.vegetation import Cover
from epithermal_host.soil.hydraulics import CATALOGUE, N_WITHOUT_AIR_ENTRY, SoilHydraulics
from epithermal_host.soil.pedotransfer import CLASS_TEXTURE, from_texture
from epithermal_host.studies.uccle import UCCLE, own_cover
from epithermal_host.weather.climate_toml import read_climate
from epithermal_host.weather.generator import Climate
from epithermal_host.weather.observed import Station, read_station

DEPTH_CM = 150.0
TRAIN_DEFAULTS = {"epochs": 300, "patience": 60, "batch": 8}  # for the few days of one place
TEXTURE = ("sand_pct", "silt_pct", "clay_pct")
GENUCHTEN = ("theta_r", "theta_s", "alpha_per_cm", "n", "ks_cm_d")


@dataclass(frozen=True, slots=True)
class StudyConfig:
    """Place and record of a study: section [study]."""

    soil: str = "loam"  # of the catalogue; with [[layer]] it has no effect
    cover: Literal["bare", "grass", "crop"] = "bare"
    years: int = 10
    seed: int = 1
    engine: Literal["richards", "hydrus"] = "richards"
    test_share: float = 0.1  # last part of the record, not used in training in any way
    validation_share: float = 0.1  # part before it, for early stopping
    detectors: int = 8  # training records of the same truth, each with its own noise
    count_error: float = 0.008  # relative, of a day's counts at a water content of 0.25
    networks: int = 1  # of different seeds; several show how far chance decides
    response: str = "cosmic"  # of counts to water, of the place and of its station

    def __post_init__(self) -> None:
        checks = [
            (self.soil not in CATALOGUE, f"soil must be among {', '.join(CATALOGUE)}"),
            (not 3 <= self.years <= 50, "years must be within 3 to 50"),
            (not 0 <= self.seed <= 2**31, "seed must be within 0 to 2147483648"),
            (not 0.05 <= self.test_share <= 0.5, "test_share must be within 0.05 to 0.5"),
            (
                not 0.05 <= self.validation_share <= 0.3,
                "validation_share must be within 0.05 to 0.3",
            ),
            (not 1 <= self.detectors <= 256, "detectors must be within 1 to 256"),
            (not 1e-4 <= self.count_error <= 0.1, "count_error must be within 0.0001 to 0.1"),
            (not 1 <= self.networks <= 20, "networks must be within 1 to 20"),
            (self.response not in RESPONSES, f"response must be among {', '.join(RESPONSES)}"),
        ]
        faults = [text for bad, text in checks if bad]
        if faults:
            raise ValueError("; ".join(faults))

    @property
    def campaign(self) -> CampaignConfig:
        """Period and engine of the simulation."""
        return CampaignConfig(self.seed, 1, years=self.years, engine=self.engine)


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

    def cover(self) -> Cover:
        """Return the vegetation for the simulation."""
        bare = own_cover("bare")
        form = self.biomass_form
        return dataclasses.replace(
            bare,
            kind="crop",
            lai_min=0.0,
            lai_max=self.lai_max,
            sow_day=self.sow_day(),
            season_d=float(self.season_d),
            root_depth_cm=self.root_depth_cm,
            feddes_cm=FEDDES_CM[self.plants],
            interception_mm=self.interception_mm,
            biomass_mm=self.biomass_mm,
            biomass_slope_per_mm=BIOMASS_SLOPES[form].per_mm if form else bare.biomass_slope_per_mm,
        )


@dataclass(frozen=True, slots=True)
class WeatherConfig:
    """Weather of a place: section [weather]. Without it, the climate of Uccle."""

    climate: str  # file of `weather fit`, relative to site.toml
    observed: bool = False  # use the days of its daily file instead of generated weather


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """What a study simulates."""

    config: StudyConfig
    soils: tuple[SoilHydraulics, ...]  # of the layers, from the surface down
    densities_g_cm3: tuple[float, ...]  # NaN: of a soil whose porosity is theta_s
    bottoms_cm: tuple[float, ...]  # of all layers but the last
    cover: Cover
    roots_grow: bool
    irrigation: Irrigation | None
    climate: Climate
    station: Station | None  # its days are the weather; None: generated
    weather_name: str

    @property
    def soil_name(self) -> str:
        """Name of the soil in pictures and tables."""
        return " over ".join(soil.name for soil in self.soils)


def read_study(path: Path) -> tuple[Place, TrainConfig]:
    """Read the configuration of a study.

    Raises
    ------
    ConfigError
        A file cannot be read or has errors; lists all of them.
    """
    data = _read_toml(path)
    known = {"study": StudyConfig, "train": TrainConfig, "layer": Layer, "crop": Crop,
             "irrigation": Irrigation, "weather": WeatherConfig}  # fmt: skip
    faults = [describe_unknown(f"[{name}]", name, known) for name in data if name not in known]
    study = from_table(StudyConfig, data.get("study", {}), "study", faults)
    train = from_table(TrainConfig, {**TRAIN_DEFAULTS, **data.get("train", {})}, "train", faults)
    parts: dict[str, Any] = {
        name: from_table(known[name], data[name], name, faults) if name in data else None
        for name in ("crop", "irrigation", "weather")
    }
    layers = _layers(data.get("layer"), faults)
    if study is not None:
        faults += _contradictions(study, parts["crop"] or Crop(), data)
    if faults:
        raise ConfigError(*(f"{path}: {fault}" for fault in faults))
    climate, station = _weather(path, study.campaign, parts["weather"])
    crop = parts["crop"] or Crop()
    return Place(
        config=study,
        soils=tuple(soil for _, soil in layers) or (CATALOGUE[study.soil],),
        densities_g_cm3=tuple(layer.bulk_density_g_cm3 for layer, _ in layers) or (NAN,),
        bottoms_cm=tuple(layer.bottom_cm for layer, _ in layers[:-1]),
        cover=crop.cover() if study.cover == "crop" else own_cover(study.cover),
        roots_grow=study.cover == "crop" and crop.roots_grow,
        irrigation=parts["irrigation"],
        climate=climate,
        station=station,
        weather_name=Path(parts["weather"].climate).stem if parts["weather"] else "Uccle",
    ), train


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def _layers(tables: Any, faults: list[str]) -> list[tuple[Layer, SoilHydraulics]]:
    """Check [[layer]] and derive each layer's soil; the last one reaches to the bottom."""
    if tables is None:
        return []
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        faults.append("layer: must be a list of tables, each written [[layer]]")
        return []
    out = []
    for i, table in enumerate(tables, 1):
        layer = from_table(Layer, table, f"layer {i}", faults)
        if layer is not None:
            try:
                out.append((layer, layer.soil()))
            except ValueError as error:
                faults.append(f"layer {i}: {error}")
    bottoms = [0.0, *(layer.bottom_cm for layer, _ in out[:-1]), DEPTH_CM]
    if len(out) == len(tables) and any(a >= b for a, b in itertools.pairwise(bottoms)):
        faults.append("layer: bottom_cm must increase from layer to layer; the last one needs none")
    return out


def _contradictions(study: StudyConfig, crop: Crop, data: dict[str, Any]) -> list[str]:
    faults = []
    if study.engine == "hydrus" and study.cover == "crop" and crop.roots_grow:
        remedy = 'set it to false, or study.engine to "richards"'
        faults.append(f"crop.roots_grow: HYDRUS-1D needs constant roots here; {remedy}")
    if "soil" in data.get("study", {}) and "layer" in data:
        faults.append("study.soil: not with [[layer]]; remove one of them")
    if "crop" in data and study.cover != "crop":
        faults.append('crop: only with study.cover = "crop"; set it')
    if "irrigation" in data and study.cover == "bare":
        faults.append('irrigation: needs plants; set study.cover to "grass" or "crop"')
    return faults


def _weather(
    path: Path, campaign: CampaignConfig, table: WeatherConfig | None
) -> tuple[Climate, Station | None]:
    if table is None:
        return UCCLE, None
    file = path.parent / table.climate
    if not table.observed:
        return read_climate(file), None
    skip = campaign.spin_up_days
    station = read_station(file, campaign.first_day - skip, skip + campaign.days)
    return station.climate, station
