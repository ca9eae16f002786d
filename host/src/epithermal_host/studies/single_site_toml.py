"""Read site.toml of a single-site study: the soil, plants, irrigation and weather of a place."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from epithermal_edge.config.toml_keys import describe_unknown
from epithermal_edge.errors import ConfigError
from epithermal_edge.physics.response_forms import RESPONSES
from epithermal_edge.records import NAN
from epithermal_host.config.learning import TrainConfig
from epithermal_host.config.own_site import Crop, Irrigation, Layer
from epithermal_host.config.run_toml import CampaignConfig, from_table, read_layers
from epithermal_host.simulation.own_place import crop_cover
from epithermal_host.simulation.vegetation import Cover
from epithermal_host.soil.hydraulics import CATALOGUE, SoilHydraulics
from epithermal_host.studies.uccle import UCCLE, own_cover
from epithermal_host.weather.climate_toml import read_climate
from epithermal_host.weather.generator import Climate
from epithermal_host.weather.observed import Station, read_station

TRAIN_DEFAULTS = {"epochs": 300, "patience": 60, "batch": 8}  # for the few days of one place


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
    other_soils: bool = True  # also evaluate on 32 other soils, each a simulation of its own
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
    layers = read_layers(data.get("layer"), faults)
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
        cover=crop_cover(crop) if study.cover == "crop" else own_cover(study.cover),
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
