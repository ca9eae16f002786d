"""Read run.toml into frozen dataclasses and report all of its errors together.

Each section is a dataclass: its fields are the keys, their annotations the types, `__post_init__`
checks the ranges.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import itertools
import json
import math
import tomllib
import types
import typing
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomli_w

from epithermal_edge.config.toml_keys import describe_unknown
from epithermal_edge.errors import ConfigError
from epithermal_host import __version__
from epithermal_host.compute.files import write_atomic
from epithermal_host.config.instrument import InstrumentConfig
from epithermal_host.config.learning import QuantizeConfig, TrainConfig
from epithermal_host.config.own_site import (
    DEPTH_CM,
    NO_SITE,
    Crop,
    Irrigation,
    Layer,
    OwnSite,
)
from epithermal_host.config.population import Population
from epithermal_host.soil.hydraulics import SoilHydraulics
from epithermal_host.weather.climate_toml import read_climate
from epithermal_host.weather.generator import Climate
from epithermal_host.weather.observed import Station, copy_station, read_station

RUN_FILE = "run.toml"
CLIMATES = "climates"  # key, and folder of the climate files in a run folder
OBSERVED = "observed"
PROGRAM = "hydrus_exe"  # key that is not allowed any more
ADDED = (
    *("response", "response_weights"),
    *("cosmic_alpha_sigma", "cosmic_l3_sigma", "cosmic_correlation"),
)  # keys of [population] that are newer than the first campaigns of this version
WRITTEN = "written"  # section that `write_run` adds


@dataclass(frozen=True, slots=True)
class CampaignConfig:
    """Size and period of a campaign: section [campaign]."""

    seed: int
    soils: int
    years: int = 3  # stored
    spin_up_years: int = 1  # before them, so that the initial heads have no effect
    start: str = "2001-01-01"  # first day stored
    engine: Literal["richards", "hydrus"] = "richards"

    def __post_init__(self) -> None:
        faults = [
            f"{name} must be within {low} to {high}"
            for name, low, high in (
                ("seed", 0, 2**31),
                ("soils", 1, 1_000_000),
                ("years", 1, 50),
                ("spin_up_years", 0, 10),
            )
            if not low <= getattr(self, name) <= high
        ]
        try:
            datetime.date.fromisoformat(self.start)
        except ValueError:
            faults.append(f"start must be a date like 2001-01-01, not {self.start!r}")
        if faults:
            raise ValueError("; ".join(faults))

    @property
    def first_day(self) -> int:
        """First day stored [days since 1970-01-01]."""
        since = datetime.date.fromisoformat(self.start) - datetime.date(1970, 1, 1)
        return since.days

    @property
    def days(self) -> int:
        """Number of days stored."""
        return math.floor(self.years * 365.25)

    @property
    def spin_up_days(self) -> int:
        """Number of days of the spin-up, before the first day stored."""
        return math.floor(self.spin_up_years * 365.25)


@dataclass(frozen=True, slots=True)
class DatasetConfig:
    """Partition of the scenarios: section [dataset]."""

    validation_share: float = 0.15
    test_share: float = 0.15
    batch: int = 512  # stations in a task of a worker; changes memory and speed but no result

    def __post_init__(self) -> None:
        if not (self.validation_share > 0.0 and self.test_share > 0.0):
            raise ValueError("validation_share and test_share must be above 0")
        if self.validation_share + self.test_share >= 1.0:
            raise ValueError("validation_share + test_share must be below 1")
        if not 1 <= self.batch <= 4096:
            raise ValueError("batch must be within 1 to 4096")


@dataclass(frozen=True, slots=True)
class ReleaseConfig:
    """Name and version of the bundle: section [release]."""

    name: str = "rootzone"
    version: str = "0.1.0"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A run with every key set and within its range."""

    path: Path
    campaign: CampaignConfig
    population: Population
    instrument: InstrumentConfig
    dataset: DatasetConfig
    train: TrainConfig
    quantize: QuantizeConfig
    release: ReleaseConfig
    climates: tuple[Climate, ...] = ()  # contents of the files in population.climates
    observed: tuple[Station, ...] = ()  # contents of the files in population.observed
    own: OwnSite = NO_SITE  # [[layer]], [crop] and [irrigation]


SECTIONS: dict[str, type] = {
    "campaign": CampaignConfig,
    "population": Population,
    "instrument": InstrumentConfig,
    "dataset": DatasetConfig,
    "train": TrainConfig,
    "quantize": QuantizeConfig,
    "release": ReleaseConfig,
}


OWN_SECTIONS: dict[str, type] = {"layer": Layer, "crop": Crop, "irrigation": Irrigation}
"""Of one's own site; optional."""


def read_run(path: Path) -> RunConfig:
    """Read the description of a run.

    Parameters
    ----------
    path :
        run.toml, see docs/campaign.md; or a run folder that contains one.

    Raises
    ------
    ConfigError
        The file cannot be read or has errors; lists all of them, each with its key and remedy.
    """
    if path.is_dir():
        path = path / RUN_FILE
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; name a run.toml, or a folder written by simulate"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    data.pop(WRITTEN, None)
    known = {**SECTIONS, **OWN_SECTIONS}
    faults = [describe_unknown(f"[{name}]", name, known) for name in data if name not in known]
    if "campaign" not in data:
        faults.append("[campaign] is missing; it needs seed and soils")
    _reject_program(data.get("campaign"), faults)
    values: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        if name != "campaign" or name in data:
            values[name] = from_table(section, data.get(name, {}), name, faults)
    climates = _read_climates(path.parent, values.get("population"), faults)
    observed = _read_observed(path.parent, values.get("campaign"), values.get("population"), faults)
    own = _read_own(data, faults)
    _check_engine(values.get("campaign"), values.get("population"), own, faults)
    if faults:
        raise ConfigError(*(f"{path}: {fault}" for fault in faults))
    return RunConfig(path=path, climates=climates, observed=observed, own=own, **values)


def write_run(config: RunConfig, run_folder: Path, data_hash: str = "") -> None:
    """Write the configuration of a run beside its results, with defaults, version and data hash.

    Climate and station files that it names are copied, so that the folder is self-contained.
    """
    tables = {name: _to_toml(dataclasses.asdict(getattr(config, name))) for name in SECTIONS}
    tables["population"][CLIMATES] = _write_climates(config, run_folder)
    tables["population"][OBSERVED] = [
        f"{CLIMATES}/{copy_station(config.path.parent / name, run_folder / CLIMATES)}"
        for name in config.population.observed
    ]
    tables |= _own_tables(config.own)
    written = {"version": __version__, "data_hash": data_hash}
    text = "# Written by epithermal-host; [written] describes the origin of the results.\n"
    text += tomli_w.dumps({**tables, WRITTEN: written})
    write_atomic(run_folder / RUN_FILE, text.encode("utf-8"))


def campaign_key(config: RunConfig) -> str:
    """Hash everything that determines the results; only results with equal keys may be combined.

    The number of soils is excluded, so that a campaign can be extended. So are the paths of climate
    files, which differ between machines; the files' content is included.
    """
    campaign, population = (dataclasses.asdict(c) for c in (config.campaign, config.population))
    del campaign["soils"], population[CLIMATES], population[OBSERVED]
    usual = Population()
    for name in ADDED:  # a campaign without them keeps its key
        if population[name] == getattr(usual, name):
            del population[name]
    climates = [dataclasses.asdict(climate) for climate in config.climates]
    stations = [[s.name, dataclasses.asdict(s.climate), s.content] for s in config.observed]
    what = [__version__, campaign, population, climates, stations]
    if config.own != NO_SITE:
        what.append(_own_tables(config.own))
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _reject_program(campaign: Any, faults: list[str]) -> None:
    """Reject the key that named a program until 0.1.0: a run folder of others must not start one.

    An empty one, which 0.1.0 wrote into each run folder and bundle, is dropped.
    """
    if isinstance(campaign, dict) and campaign.pop(PROGRAM, ""):
        faults.append(
            f"campaign.{PROGRAM}: a file must not name a program to start; delete the key and set"
            " the variable HYDRUS1D_EXE"
        )


def from_table(cls: type, table: Any, where: str, faults: list[str]) -> Any:
    """Create an instance of a dataclass from a TOML table; None if it has errors.

    Parameters
    ----------
    cls :
        Its fields are bool, int, float, str, or tuples of one of them.
    table :
        Value from tomllib.
    where :
        Name of the table, for the messages.
    faults :
        One message is appended per error.
    """
    if not isinstance(table, dict):
        faults.append(f"{where}: must be a table, written [{where}]")
        return None
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    new = [
        describe_unknown(f"{where}.{name}", name, fields) for name in table if name not in fields
    ]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in table:
            value, fault = _convert(hints[name], table[name])
            values[name] = value
            new += [f"{where}.{name}: {fault}"] if fault else []
        elif field.default is dataclasses.MISSING:
            new.append(f"{where}.{name}: missing; add it")
    if not new:
        try:
            return cls(**values)
        except ValueError as error:
            new = [f"{where}.{fault}" for fault in str(error).split("; ")]
    faults += new
    return None


def read_layers(tables: Any, faults: list[str]) -> list[tuple[Layer, SoilHydraulics]]:
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


def _read_own(data: dict[str, Any], faults: list[str]) -> OwnSite:
    """Read the tables of one's own site."""
    before = len(faults)
    layers = tuple(layer for layer, _ in read_layers(data.get("layer"), faults))
    crop, irrigation = (
        from_table(OWN_SECTIONS[name], data[name], name, faults) if name in data else None
        for name in ("crop", "irrigation")
    )
    return OwnSite(layers, crop, irrigation) if len(faults) == before else NO_SITE


def _own_tables(own: OwnSite) -> dict[str, Any]:
    """Convert one's own site to the tables of run.toml, without what is not given."""
    tables: dict[str, Any] = {}
    if own.layers:
        tables["layer"] = [
            {name: v for name, v in dataclasses.asdict(layer).items() if v not in ("",) and v == v}
            for layer in own.layers
        ]
    for name in ("crop", "irrigation"):
        if (value := getattr(own, name)) is not None:
            tables[name] = dataclasses.asdict(value)
    return tables


def _read_climates(
    folder: Path, population: Population | None, faults: list[str]
) -> tuple[Climate, ...]:
    """Read the climate files that a population names, relative to run.toml."""
    names = population.climates if population is not None else ()
    if _have_duplicates(names):
        faults.append("population.climates: two files have the same name; rename one")
    climates = []
    for name in names:
        try:
            climates.append(read_climate(folder / name))
        except ConfigError as error:
            faults += [f"population.climates: {fault}" for fault in error.faults]
    return tuple(climates)


def _read_observed(
    folder: Path,
    campaign: CampaignConfig | None,
    population: Population | None,
    faults: list[str],
) -> tuple[Station, ...]:
    """Read the stations that a population names, with the days that the campaign can use."""
    if campaign is None or population is None:
        return ()
    names = population.observed
    if _have_duplicates({*names, *population.climates}):
        faults.append("population.observed: two files have the same name; rename one")
    stations = []
    skip = campaign.spin_up_days
    for name in names:
        try:
            first_day, days = campaign.first_day - skip, campaign.days + skip
            stations.append(read_station(folder / name, first_day, days))
        except ConfigError as error:
            faults += [f"population.observed: {fault}" for fault in error.faults]
    return tuple(stations)


def _have_duplicates(paths: Collection[str]) -> bool:
    """Check whether two of the paths have the same file name."""
    return len({Path(name).name for name in paths}) < len(paths)


def _write_climates(config: RunConfig, run_folder: Path) -> list[str]:
    """Copy the climate files into a run folder; return their paths relative to it."""
    names = []
    for name in config.population.climates:
        content = (config.path.parent / name).read_bytes()
        names.append(f"{CLIMATES}/{Path(name).name}")
        write_atomic(run_folder / names[-1], content)
    return names


def _check_engine(
    campaign: CampaignConfig | None,
    population: Population | None,
    own: OwnSite,
    faults: list[str],
) -> None:
    if campaign is None or population is None:
        return
    if own.irrigation is not None and own.crop is None and population.bare_share > 0.0:
        faults.append(
            "irrigation: needs plants; describe [crop], or set population.bare_share to 0"
        )
    if campaign.engine == "richards":
        return
    if own.crop is not None:
        if own.crop.roots_grow:
            faults.append(
                "crop.roots_grow: HYDRUS-1D needs constant roots; set it to false, or "
                'campaign.engine to "richards"'
            )
    elif population.roots_grow and population.crop_share > 0.0:
        faults.append(
            "population.roots_grow: HYDRUS-1D does not support growing roots; with campaign.engine "
            '"hydrus" set it to false'
        )


def _convert(hint: Any, value: Any) -> tuple[Any, str]:
    """Convert a TOML value to the annotated type; return it and an error message, or ""."""
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            return None, f"{value!r} is not a list, written [a, b]"
        inner = [_convert(typing.get_args(hint)[0], v) for v in value]
        return tuple(v for v, _ in inner), next((fault for _, fault in inner if fault), "")
    if isinstance(hint, types.UnionType):  # X | None: TOML has no null, so it is X
        return _convert(typing.get_args(hint)[0], value)
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        return value, "" if value in choices else f"{value!r} is none of {', '.join(choices)}"
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        return None, f"{value} is not a finite number"
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        names = {bool: "true or false", int: "an integer", float: "a number", str: "a quoted text"}
        return None, f"{value!r} is not {names[hint]}"
    return value, ""


def _to_toml(table: dict[str, Any]) -> dict[str, Any]:
    """Convert tuples to lists and omit None, for TOML."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in table.items()
        if value is not None
    }
