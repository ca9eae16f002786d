"""Compute features and labels of many simulated stations with the station's own pipeline.

The host computes no feature itself: it simulates records and passes them, hour by hour for many
stations at once, to `epithermal_edge.inference.pipeline.sum_block`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.inference import pipeline
from epithermal_edge.inference.block import FIELDS, Block
from epithermal_edge.inference.features import FEATURES, Sums, join_sums
from epithermal_edge.site import Site
from epithermal_edge.times import YEAR_D
from epithermal_host.arrays import Array
from epithermal_host.compute.crew import Crew, Lost, crew, map_unordered
from epithermal_host.compute.files import open_atomic
from epithermal_host.config.instrument import InstrumentConfig
from epithermal_host.config.run_toml import RunConfig, campaign_key, read_run, write_run
from epithermal_host.simulation.campaign import scenario_of
from epithermal_host.simulation.detector import Observation, observe
from epithermal_host.simulation.results import (
    read_result,
    reject_old_files,
    shard_path,
    stored,
)
from epithermal_host.simulation.scenario import Scenario
from epithermal_host.simulation.simulate import DEPTHS_CM
from epithermal_host.training.series import DATASET, TEST, TRAIN, VALIDATION
from epithermal_host.weather.generator import Weather

LABELS = ("theta", *(f"theta_{top}_{bottom}" for top, bottom in DEPTHS_CM[1:]))
SCRATCH = ".dataset"  # folder in RUN for the arrays of a data set that is being computed
BLOCK_SOILS = 256  # read from disk at once
BLOCK_H = 24 * 10  # hours that pass the pipeline at once
GROUP = 128  # stations that pass the pipeline at once; 3 years of their records are 215 MB


@dataclass(frozen=True, slots=True)
class Windows:
    """Output of the pipeline for n stations, one window a day."""

    features: Array  # (n, days, F)
    theta_classical: Array  # (n, days)
    theta_classical_sigma: Array  # (n, days)
    end_s: Array  # (days,)


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """A finished data set."""

    path: Path
    soils: int
    days: int
    rmse_classical: float  # of the classical inversion, all soils, days without snow [m3 m-3]
    data_hash: str


@dataclass(frozen=True, slots=True)
class _Station:
    """Arguments of `observe` for one scenario, and its labels."""

    scenario: Scenario
    weather: Weather
    rate_cph: Array
    labels: Array  # (len(LABELS), days)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Task of a worker; it holds all data, since a worker may not see the run's folder."""

    instrument: InstrumentConfig
    stations: tuple[_Station, ...]


def run(
    run_folder: Path,
    *,
    workers: int | None = None,
    dask: str | None = None,
    progress: bool = True,
) -> DatasetSummary:
    """Write RUN/dataset.npz from RUN/campaign.

    Parameters
    ----------
    run_folder :
        Output folder of `campaign.run`; settings come from its run.toml.
    workers :
        Number of processes; by default that of processors.
    dask :
        Address of a Dask scheduler, used instead of processes.
    progress :
        Show a progress bar on stderr.

    Raises
    ------
    ConfigError
        No campaign, a campaign of another run.toml, or no cluster.
    EpithermalError
        Workers died, or the connection to the cluster was lost.
    """
    config = read_run(run_folder)
    indices = _simulated(config, run_folder)
    arrays: dict[str, NDArray[Any]] = {
        "scenario": np.array(indices, dtype=np.int64),
        "split": split(config, indices),
    }
    bar = tqdm(total=len(indices), desc="dataset", unit="soil", disable=not progress)
    with bar, crew(workers, dask) as started, _scratch(run_folder) as scratch:
        team = dataclasses.replace(started, ahead=2)  # a batch is up to 70 MB
        size = _batch_size(config, len(indices), team)
        batches = _batches(config, run_folder, indices, size)
        for number, part in map_unordered(_work, batches, team):
            if isinstance(part, Lost):
                raise EpithermalError(
                    f"{run_folder}: data set: {part.reason}; perhaps out of memory: reduce "
                    "[dataset] batch or --workers"
                )
            arrays["day_end_s"] = part.pop("day_end_s")
            for name, values in part.items():
                if name not in arrays:
                    arrays[name] = _on_disk(scratch / f"{name}.npy", len(indices), values)
                arrays[name][number * size : number * size + len(values)] = values
            bar.update(len(part["features"]))
        return _write(config, run_folder, arrays)


def split(config: RunConfig, indices: Sequence[int]) -> NDArray[np.int8]:
    """Assign each scenario to training (0), validation (1) or test (2), from the seed alone.

    A scenario stays in its part when soils are added to the campaign.
    """
    share = np.array(
        [np.random.default_rng([config.campaign.seed, i, 9]).random() for i in indices]
    )
    test = share < config.dataset.test_share
    held_out = share < config.dataset.test_share + config.dataset.validation_share
    out = np.where(test, TEST, np.where(held_out, VALIDATION, TRAIN)).astype(np.int8)
    for part in (VALIDATION, TEST):  # with few soils a part may be empty
        if not np.any(out == part) and np.sum(out == TRAIN) > 1:
            out[np.flatnonzero(out == TRAIN)[-1]] = part
    return out


def observe_scenario(config: RunConfig, run_folder: Path, index: int) -> tuple[Observation, Array]:
    """Simulate the records of one scenario; return them and its labels (len(LABELS), days)."""
    station = _station(config, run_folder, index)
    return _observe(station, config.instrument), station.labels


def _batch_size(config: RunConfig, soils: int, crew: Crew) -> int:
    """Return the number of stations in a batch: as configured, or fewer so that none idles."""
    return max(min(config.dataset.batch, -(-soils // max(crew.workers(), 1))), 1)


def _batches(
    config: RunConfig, run_folder: Path, indices: Sequence[int], size: int
) -> Iterator[_Batch]:
    """Yield batches of stations to process together, each read only when it is requested."""
    for i in range(0, len(indices), size):
        stations = (_station(config, run_folder, index) for index in indices[i : i + size])
        yield _Batch(config.instrument, tuple(stations))


def _station(config: RunConfig, run_folder: Path, index: int) -> _Station:
    result = read_result(run_folder, index)
    return _Station(
        scenario=scenario_of(config, index),
        weather=result.weather,
        rate_cph=result.rate_cph,
        labels=0.5 * (result.means[:, 1:] + result.means[:, :-1]),
    )


def _observe(station: _Station, instrument: InstrumentConfig) -> Observation:
    theta = station.labels[LABELS.index("theta")]
    return observe(station.scenario, station.weather, station.rate_cph, instrument, theta)


def stack_sites(sites: Sequence[Site]) -> Site:
    """Stack n sites into one whose fields are arrays (n,), or (n, 366) for values by day."""
    by_day = {"canopy_cover"}
    if any(isinstance(site.biomass_kg_m2, tuple) for site in sites):
        by_day.add("biomass_kg_m2")

    def stacked(name: str) -> Array:
        each = [np.asarray(getattr(site, name), dtype=np.float64) for site in sites]
        shape = (YEAR_D,) if name in by_day else ()
        return np.stack([np.broadcast_to(value, shape) for value in each])

    values: dict[str, Any] = {
        field.name: stacked(field.name)
        for field in dataclasses.fields(Site)
        if field.name not in ("incoming_form", "response", "muons")
    }
    names = tuple(str(site.response) for site in sites)
    response = names if len(set(names)) > 1 else names[0]
    return Site(incoming_form=sites[0].incoming_form, response=response, **values)


def run_pipeline(site: Site, end_s: Array, columns: dict[str, Array]) -> Windows:
    """Process the hourly records of n stations with the station's pipeline.

    Parameters
    ----------
    site :
        Its fields are arrays (n,), see `stack_sites`.
    end_s : (hours,) [s]
        Ends of the records; their number is a multiple of 24.
    columns : (hours, n)
        The fields of RawRecord.
    """
    state = pipeline.start(columns["counts"].shape[1], phases=1)
    parts: list[Sums] = []
    unknown = np.full((BLOCK_H, columns["counts"].shape[1]), np.nan)
    for begin in range(0, len(end_s), BLOCK_H):
        rows = slice(begin, begin + BLOCK_H)
        block = {
            name: np.ascontiguousarray(values[rows], np.float64) for name, values in columns.items()
        }
        fields = {name: block.get(name, unknown[: len(block["counts"])]) for name in FIELDS}
        state, sums = pipeline.sum_block(site, state, Block(end_s[rows], fields))
        parts.append(sums)
    _, windows = pipeline.close(site, state, join_sums(parts))
    return Windows(
        features=windows.features.swapaxes(0, 1),
        theta_classical=windows.theta_classical.T,
        theta_classical_sigma=windows.theta_classical_sigma.T,
        end_s=3600.0 * windows.hour,
    )


def _simulated(config: RunConfig, run_folder: Path) -> list[int]:
    """List the simulated scenarios; check that all were simulated with this run.toml."""
    key = campaign_key(config)
    reject_old_files(run_folder)
    keys = {i: own for i, own in stored(run_folder).items() if i < config.campaign.soils}
    present = list(keys)
    if len(present) < 3:
        raise ConfigError(
            f"{run_folder}: {len(present)} simulated scenarios, at least 3 are needed: "
            f"run `epithermal-host simulate {run_folder}/run.toml --out {run_folder}` first"
        )
    foreign = [i for i in present if keys[i] != key]
    if foreign:
        raise ConfigError(
            f"{shard_path(run_folder, foreign[0])}: scenario {foreign[0]} was simulated with "
            f"another run.toml, like {len(foreign) - 1} more: simulate into an empty folder"
        )
    return present


def _work(batch: _Batch) -> dict[str, Array]:
    """Simulate records and compute features and labels of a batch, on a worker."""
    parts = [
        _windows(batch.stations[i : i + GROUP], batch.instrument)
        for i in range(0, len(batch.stations), GROUP)
    ]
    labels = np.stack([station.labels for station in batch.stations], axis=1)
    return {
        "features": np.concatenate([part.features.astype(np.float32) for part in parts]),
        "theta_classical": np.concatenate([part.theta_classical for part in parts]),
        "theta_classical_sigma": np.concatenate([part.theta_classical_sigma for part in parts]),
        "snow_mm": np.stack([station.weather.snow_mm for station in batch.stations]),
        "day_end_s": parts[0].end_s,
        **dict(zip(LABELS, labels, strict=True)),
    }


def _windows(stations: Sequence[_Station], instrument: InstrumentConfig) -> Windows:
    """Simulate the records of stations and pass them through the pipeline together."""
    sites: list[Site] = []
    columns: dict[str, Array] = {}
    for i, station in enumerate(stations):
        observation = _observe(station, instrument)
        sites.append(observation.site)
        end_s = observation.end_s
        for name, values in observation.columns.items():
            if i == 0:
                # a station's hours lie side by side: strided rows would take longer than `observe`
                columns[name] = np.empty((len(stations), end_s.size)).T
            columns[name][:, i] = values
    return run_pipeline(stack_sites(sites), end_s, columns)


@contextlib.contextmanager
def _scratch(run_folder: Path) -> Iterator[Path]:
    """Create a folder for arrays that may exceed the memory; remove it, and one left by a kill."""
    folder = run_folder / SCRATCH
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _on_disk(path: Path, soils: int, like: NDArray[Any]) -> NDArray[Any]:
    """Create an array (soils, ...) in a file, of the type and further shape of a batch's values."""
    array: NDArray[Any] = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
        path, mode="w+", dtype=like.dtype, shape=(soils, *like.shape[1:])
    )
    return array


def _write(config: RunConfig, run_folder: Path, arrays: dict[str, NDArray[Any]]) -> DatasetSummary:
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode())
        for first in range(0, len(arrays[name]), BLOCK_SOILS):
            total.update(np.ascontiguousarray(arrays[name][first : first + BLOCK_SOILS]).data)
    data_hash = total.hexdigest()
    names = np.array([feature.name for feature in FEATURES])
    with open_atomic(run_folder / DATASET) as file:
        np.savez(file, feature_names=names, data_hash=np.array(data_hash), **arrays)
    write_run(config, run_folder, data_hash)
    return DatasetSummary(
        path=run_folder / DATASET,
        soils=len(arrays["scenario"]),
        days=len(arrays["day_end_s"]),
        rmse_classical=_rmse_classical(arrays),
        data_hash=data_hash,
    )


def _rmse_classical(arrays: dict[str, NDArray[Any]]) -> float:
    """Compute the error of the classical inversion on days without snow [m3 m-3]."""
    total, number = 0.0, 0
    for first in range(0, len(arrays["theta"]), BLOCK_SOILS):
        rows = slice(first, first + BLOCK_SOILS)
        error = arrays["theta_classical"][rows] - arrays["theta"][rows]
        error = error[(arrays["snow_mm"][rows] == 0.0) & np.isfinite(error)]
        total, number = total + float(np.sum(np.square(error))), number + error.size
    return math.sqrt(total / number) if number else math.nan
