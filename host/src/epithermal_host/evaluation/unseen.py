"""What a released model may be judged on: soils of a campaign that it was not trained on."""

from __future__ import annotations

import json
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import BUNDLE_TOML, Bundle
from epithermal_edge.site import Site
from epithermal_host.arrays import Array, Mask
from epithermal_host.config.run_toml import RUN_FILE
from epithermal_host.simulation.campaign import scenario_path
from epithermal_host.training.series import DATASET, TEST, Series, read_series

SITE = ("cosmic_n_cph", "bulk_density_g_cm3", "lattice_water_g_g", "organic_water_g_g", "alpha",
        "l3_g_cm2", "humidity_ref_g_m3")  # fmt: skip
SHARES = ("test_share", "validation_share")


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """What the campaign says of S soils and of the weather above them."""

    seed: int
    site: Site  # the truth; fields that the inversions need are (S,)
    texture: tuple[str, ...]  # of the uppermost material
    cover: tuple[str, ...]
    layered: Mask  # (S,)
    precipitation_mm: Array  # (S, T)
    et0_mm: Array  # (S, T)


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """Soils that a bundle is judged on."""

    series: Series
    places: Places


def read_unseen(bundle: Bundle, run_folder: Path, every_soil: bool = False) -> Unseen:
    """The soils of a run that the bundle has not been trained on.

    Parameters
    ----------
    bundle :
        As released.
    run_folder :
        With dataset.npz and the campaign that it was made of.
    every_soil :
        All soils of a campaign of another seed; else those of its test split.

    Raises
    ------
    ConfigError
        No data set or campaign, or soils that the bundle may have been trained on.
    """
    series = read_series(run_folder)
    first = _scenario(run_folder, int(series.scenario[0]))
    _refuse_training(bundle, run_folder, int(first["seed"]), every_soil)
    series = series if every_soil else series.part(TEST)
    places = read_places(run_folder, series.scenario.tolist())
    if places.et0_mm.shape != series.theta.shape:
        raise ConfigError(
            f"{run_folder}: campaign and data set differ in days: make the data set again"
        )
    return Unseen(series=series, places=places)


def read_places(run_folder: Path, indices: Sequence[int]) -> Places:
    """Metadata and weather of some scenarios of a campaign.

    Raises
    ------
    ConfigError
        A scenario's file is missing or damaged.
    """
    told, precipitation, et0 = [], [], []
    for index in indices:
        told.append(_scenario(run_folder, index))
        with np.load(scenario_path(run_folder, index), allow_pickle=False) as file:
            precipitation.append(file["precipitation_mm"])
            et0.append(file["et0_mm"])
    sites = [place["site"] for place in told]
    values: dict[str, Any] = {
        name: np.array([np.nan if s[name] is None else s[name] for s in sites], dtype=np.float64)
        for name in SITE
    }
    return Places(
        seed=int(told[0]["seed"]),
        site=Site(**values),
        texture=tuple(place["soils"][0]["name"] for place in told),
        cover=tuple(place["cover"]["kind"] for place in told),
        layered=np.array([len(place["soils"]) > 1 for place in told]),
        precipitation_mm=np.stack(precipitation),
        et0_mm=np.stack(et0),
    )


def provenance(bundle: Bundle) -> dict[str, Any]:
    """What bundle.toml says of its training; its bytes were verified when it was opened."""
    table = tomllib.loads((bundle.path / BUNDLE_TOML).read_text("utf-8"))
    value: dict[str, Any] = table.get("provenance", {})
    return value


def _refuse_training(bundle: Bundle, run_folder: Path, seed: int, every_soil: bool) -> None:
    run = provenance(bundle).get("run", {})
    trained = run.get("campaign", {}).get("seed")
    if trained is None:
        raise ConfigError(
            f"{bundle.path}: does not tell the seed of the campaign that it was trained on, so that"
            " no soil is certainly unseen: release it again"
        )
    if trained != seed:
        return
    if every_soil:
        raise ConfigError(
            f"{run_folder}: is the campaign that {bundle.name} {bundle.version} was trained on"
            f" (seed {seed}): leave --all away, or simulate a campaign with another seed"
        )
    here = _dataset_table(run_folder)
    there = run.get("dataset", {})
    if any(here.get(name) != there.get(name) for name in SHARES):
        raise ConfigError(
            f"{run_folder}: is the campaign that {bundle.name} {bundle.version} was trained on"
            f" (seed {seed}), but with other [dataset] shares, so that its test soils may be"
            " training soils: simulate a campaign with another seed"
        )


def _dataset_table(run_folder: Path) -> dict[str, Any]:
    path = run_folder / RUN_FILE
    try:
        value: dict[str, Any] = tomllib.loads(path.read_text("utf-8")).get("dataset", {})
    except (OSError, ValueError) as fault:
        raise ConfigError(f"{path}: cannot be read ({fault})") from fault
    return value


def _scenario(run_folder: Path, index: int) -> dict[str, Any]:
    path = scenario_path(run_folder, index)
    try:
        with np.load(path, allow_pickle=False) as file:
            value: dict[str, Any] = json.loads(str(file["scenario"]))
    except FileNotFoundError as fault:
        raise ConfigError(
            f"{path}: missing; the report needs the campaign beside {DATASET}: simulate it again"
        ) from fault
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise ConfigError(f"{path}: damaged ({fault}): simulate it again") from fault
    return value
