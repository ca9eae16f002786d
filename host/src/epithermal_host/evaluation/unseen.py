"""Read the soils of a campaign on which a released model was not trained."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import BUNDLE_TOML, Bundle
from epithermal_edge.physics.response import matching_scale
from epithermal_edge.site import Site
from epithermal_host.arrays import Array, Mask
from epithermal_host.compute.damage import DAMAGE
from epithermal_host.config.run_toml import RUN_FILE
from epithermal_host.simulation.known_site import USUAL_THETA
from epithermal_host.simulation.results import read_place, read_result
from epithermal_host.training.series import TEST, Series, read_series

SITE = ("cosmic_n_cph", "bulk_density_g_cm3", "lattice_water_g_g", "organic_water_g_g", "alpha",
        "l3_g_cm2", "humidity_ref_g_m3")  # fmt: skip
SHARES = ("test_share", "validation_share")


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Properties of S simulated soils and their weather."""

    seed: int
    site: Site  # true values; fields that the inversions use are (S,)
    inverted_by: Site  # the same with response and scale of the stations' own inversions
    texture: tuple[str, ...]  # of the uppermost material
    cover: tuple[str, ...]
    layered: Mask  # (S,)
    precipitation_mm: Array  # (S, T)
    et0_mm: Array  # (S, T)


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """Soils on which a bundle is evaluated."""

    series: Series
    places: Places


def read_unseen(bundle: Bundle, run_folder: Path, every_soil: bool = False) -> Unseen:
    """Read the soils of a run on which the bundle was not trained.

    Parameters
    ----------
    bundle :
        The released bundle.
    run_folder :
        Contains dataset.npz and its campaign.
    every_soil :
        Use all soils of a campaign with another seed; otherwise those of its test split.

    Raises
    ------
    ConfigError
        Data set or campaign is missing, or the bundle may have been trained on the soils.
    """
    series = read_series(run_folder)
    first = read_place(run_folder, int(series.scenario[0]))
    _reject_training_soils(bundle, run_folder, int(first["seed"]), every_soil)
    series = series if every_soil else series.part(TEST)
    places = read_places(run_folder, series.scenario.tolist())
    if places.et0_mm.shape != series.theta.shape:
        raise ConfigError(
            f"{run_folder}: campaign and data set have different days: run dataset again"
        )
    return Unseen(series=series, places=places)


def read_places(run_folder: Path, indices: Sequence[int]) -> Places:
    """Read metadata and weather of some scenarios of a campaign.

    Raises
    ------
    ConfigError
        A scenario's result is missing or damaged.
    """
    scenarios, precipitation, et0 = [], [], []
    for index in indices:
        scenarios.append(read_place(run_folder, index))
        weather = read_result(run_folder, index).weather
        precipitation.append(weather.precipitation_mm)
        et0.append(weather.et0_mm)
    sites = [place["site"] for place in scenarios]
    values: dict[str, Any] = {
        name: np.array([np.nan if s[name] is None else s[name] for s in sites], dtype=np.float64)
        for name in SITE
    }
    site = Site(**values, response=_responses(sites))
    return Places(
        seed=int(scenarios[0]["seed"]),
        site=site,
        inverted_by=_of_stations(site, run_folder, [place["plain"] for place in scenarios]),
        texture=tuple(place["soils"][0]["name"] for place in scenarios),
        cover=tuple(place["cover"]["kind"] for place in scenarios),
        layered=np.array([len(place["soils"]) > 1 for place in scenarios]),
        precipitation_mm=np.stack(precipitation),
        et0_mm=np.stack(et0),
    )


def provenance(bundle: Bundle) -> dict[str, Any]:
    """Read the section of bundle.toml on its training; opening the bundle verified its bytes."""
    table = tomllib.loads((bundle.path / BUNDLE_TOML).read_text("utf-8"))
    value: dict[str, Any] = table.get("provenance", {})
    return value


def _reject_training_soils(bundle: Bundle, run_folder: Path, seed: int, every_soil: bool) -> None:
    """Raise ConfigError if the bundle may have been trained on the soils to be evaluated."""
    run = provenance(bundle).get("run", {})
    trained = run.get("campaign", {}).get("seed")
    if trained is None:
        raise ConfigError(
            f"{bundle.path}: does not name the seed of its training campaign, so it may have been"
            " trained on these soils: release it again"
        )
    if trained != seed:
        return
    if every_soil:
        raise ConfigError(
            f"{run_folder}: is the campaign that {bundle.name} {bundle.version} was trained on"
            f" (seed {seed}): omit --all, or simulate a campaign with another seed"
        )
    shares = _dataset_table(run_folder)
    trained_shares = run.get("dataset", {})
    if any(shares.get(name) != trained_shares.get(name) for name in SHARES):
        raise ConfigError(
            f"{run_folder}: is the campaign that {bundle.name} {bundle.version} was trained on"
            f" (seed {seed}), but with other [dataset] shares, so that its test soils may be"
            " training soils: simulate a campaign with another seed"
        )


def _dataset_table(run_folder: Path) -> dict[str, Any]:
    path = run_folder / RUN_FILE
    try:
        value: dict[str, Any] = tomllib.loads(path.read_text("utf-8")).get("dataset", {})
    except DAMAGE as fault:
        raise ConfigError(f"{path}: cannot be read ({fault})") from fault
    return value


def _responses(sites: Sequence[Mapping[str, Any]]) -> str | tuple[str, ...]:
    """Return the response of all sites, or of each; COSMIC in the results of earlier versions."""
    names = tuple(str(site.get("response", "cosmic")) for site in sites)
    return names if len(set(names)) > 1 else names[0]


def _of_stations(site: Site, run_folder: Path, plain: Sequence[bool]) -> Site:
    """Replace response and scale by COSMIC's where the stations do not know their response."""
    run: dict[str, Any] = tomllib.loads((run_folder / RUN_FILE).read_text("utf-8"))
    instrument = run.get("instrument", {})
    if site.response == "cosmic" or instrument.get("response_known", True):
        return site
    if instrument.get("sampling_days", 1) == 0 or all(plain):
        return site
    knows = np.array(plain)
    theta = np.full(knows.size, USUAL_THETA)
    scale = np.where(knows, site.cosmic_n_cph, matching_scale(theta, site, "cosmic"))
    true = (site.response,) * knows.size if isinstance(site.response, str) else site.response
    names = tuple(name if k else "cosmic" for name, k in zip(true, plain, strict=True))
    return dataclasses.replace(site, cosmic_n_cph=scale, response=names)
