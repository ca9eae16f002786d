"""Dataset: records of many stations through the station's own pipeline to arrays.

The host computes no feature: it makes records and hands them, hour by hour and many stations
abreast, to `epithermal_edge.pipeline.step`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from epithermal_edge import pipeline
from epithermal_edge.errors import ConfigError
from epithermal_edge.features import FEATURES, Window
from epithermal_edge.records import RawRecord
from epithermal_edge.site import Site
from epithermal_host.campaign import scenario_path
from epithermal_host.config import RunConfig, campaign_key, read_run, write_run
from epithermal_host.files import write_atomic
from epithermal_host.instrument import COLUMNS, Observation, observe
from epithermal_host.parallel import each, processes
from epithermal_host.scenario import sample
from epithermal_host.series import DATASET, TEST, TRAIN, VALIDATION
from epithermal_host.simulate import DEPTHS_CM, key_of, read_result

Array = NDArray[np.float64]

LABELS = ("theta", *(f"theta_{top}_{bottom}" for top, bottom in DEPTHS_CM[1:]))
BLOCK_H = 24 * 30  # hours that are turned into double precision at once
DECIMALS = 3  # of every column of a record, so that single precision holds it exactly


@dataclass(frozen=True, slots=True)
class Windows:
    """What the pipeline made of n stations' records, a window a day."""

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
class _Batch:
    config: RunConfig
    run_folder: Path
    indices: tuple[int, ...]


def run(run_folder: Path, *, workers: int | None = None, progress: bool = True) -> DatasetSummary:
    """Make RUN/dataset.npz from RUN/campaign.

    Parameters
    ----------
    run_folder :
        As `campaign.run` left it; settings come from its run.toml.
    workers :
        Processes; as many as processors by default.
    progress :
        Show a bar on stderr.

    Raises
    ------
    ConfigError
        No campaign, or one that run.toml does not describe.
    """
    config = read_run(run_folder)
    indices = _simulated(config, run_folder)
    size = min(config.dataset.batch, -(-len(indices) // processes(workers)))
    batches = [
        _Batch(config, run_folder, tuple(indices[i : i + size]))
        for i in range(0, len(indices), size)
    ]
    parts: dict[int, dict[str, Array]] = {}
    with tqdm(total=len(indices), desc="dataset", unit="soil", disable=not progress) as bar:
        for number, part in each(_work, batches, workers):
            parts[number] = part
            bar.update(len(part["features"]))
    arrays: dict[str, NDArray[Any]] = {
        name: np.concatenate([parts[i][name] for i in range(len(batches))])
        for name in parts[0]
        if name != "day_end_s"
    }
    arrays["day_end_s"] = parts[0]["day_end_s"]
    arrays["scenario"] = np.array(indices, dtype=np.int64)
    arrays["split"] = split(config, indices)
    return _write(config, run_folder, arrays)


def split(config: RunConfig, indices: Sequence[int]) -> NDArray[np.int8]:
    """Share scenarios out to training (0), validation (1) and test (2); by the seed alone.

    A scenario keeps its part when the campaign is made longer.
    """
    share = np.array(
        [np.random.default_rng([config.campaign.seed, i, 9]).random() for i in indices]
    )
    test = share < config.dataset.test_share
    held_out = share < config.dataset.test_share + config.dataset.validation_share
    out = np.where(test, TEST, np.where(held_out, VALIDATION, TRAIN)).astype(np.int8)
    for part in (VALIDATION, TEST):  # a handful of soils may miss a part
        if not np.any(out == part) and np.sum(out == TRAIN) > 1:
            out[np.flatnonzero(out == TRAIN)[-1]] = part
    return out


def observe_scenario(config: RunConfig, run_folder: Path, index: int) -> tuple[Observation, Array]:
    """Records of one station of a campaign, and its labels (len(LABELS), days)."""
    observation, labels, _ = _observe(config, run_folder, index)
    return observation, labels


def _observe(config: RunConfig, run_folder: Path, index: int) -> tuple[Observation, Array, Array]:
    """The same, and the water in the snow at each day's end, (days,) [mm]."""
    scenario = sample(config.population, config.campaign.seed, index)
    result = read_result(scenario_path(run_folder, index))
    observation = observe(scenario, result.weather, result.rate_cph, config.instrument)
    labels = 0.5 * (result.means[:, 1:] + result.means[:, :-1])
    return observation, labels, result.weather.snow_mm


def stack_sites(sites: Sequence[Site]) -> Site:
    """n sites as one whose fields are arrays (n,)."""
    values = {
        field.name: np.array([getattr(site, field.name) for site in sites], dtype=np.float64)
        for field in dataclasses.fields(Site)
        if field.name != "incoming_form"
    }
    return Site(incoming_form=sites[0].incoming_form, **values)


def through_pipeline(site: Site, end_s: Array, columns: dict[str, NDArray[np.float32]]) -> Windows:
    """Step n stations' records hour by hour through the station's pipeline.

    Parameters
    ----------
    site :
        Fields are arrays (n,).
    end_s : (hours,) [s]
        Ends of the records, a multiple of 24.
    columns : (hours, n)
        The fields of RawRecord.
    """
    state = pipeline.start(columns["counts"].shape[1], phases=1)
    windows: list[Window] = []
    for begin in range(0, len(end_s), BLOCK_H):
        rows = slice(begin, begin + BLOCK_H)
        block = {
            name: np.round(values[rows].astype(np.float64), DECIMALS)
            for name, values in columns.items()
        }
        for i, end in enumerate(end_s[rows].tolist()):
            record = RawRecord(end, *(block[name][i] for name in COLUMNS))
            state, _, made = pipeline.step(site, state, record)
            windows += made
    return Windows(
        features=np.stack([w.features for w in windows], axis=1),
        theta_classical=np.stack([w.theta_classical for w in windows], axis=1),
        theta_classical_sigma=np.stack([w.theta_classical_sigma for w in windows], axis=1),
        end_s=np.array([3600.0 * w.hour for w in windows]),
    )


def _simulated(config: RunConfig, run_folder: Path) -> list[int]:
    """Scenarios that are there, all made by what run.toml says."""
    key = campaign_key(config)
    keys = {i: key_of(scenario_path(run_folder, i)) for i in range(config.campaign.soils)}
    there = [i for i, found in keys.items() if found]
    if len(there) < 3:
        raise ConfigError(
            f"{run_folder}: {len(there)} simulated scenarios, too few: "
            f"run `epithermal-host simulate {run_folder}/run.toml --out {run_folder}` first"
        )
    foreign = [i for i in there if keys[i] != key]
    if foreign:
        raise ConfigError(
            f"{scenario_path(run_folder, foreign[0])}: and {len(foreign) - 1} more were not made "
            "by this run.toml: simulate into an empty folder"
        )
    return there


def _work(batch: _Batch) -> dict[str, Array]:
    sites: list[Site] = []
    labels: list[Array] = []
    snow: list[Array] = []
    columns: dict[str, NDArray[np.float32]] = {}
    for i, index in enumerate(batch.indices):
        observation, label, snow_mm = _observe(batch.config, batch.run_folder, index)
        sites.append(observation.site)
        labels.append(label)
        snow.append(snow_mm)
        end_s = observation.end_s
        for name, values in observation.columns.items():
            if i == 0:
                columns[name] = np.empty((end_s.size, len(batch.indices)), dtype=np.float32)
            columns[name][:, i] = values
    windows = through_pipeline(stack_sites(sites), end_s, columns)
    stacked = np.stack(labels, axis=1)
    return {
        "features": windows.features,
        "theta_classical": windows.theta_classical,
        "theta_classical_sigma": windows.theta_classical_sigma,
        "snow_mm": np.stack(snow),
        "day_end_s": windows.end_s,
        **dict(zip(LABELS, stacked, strict=True)),
    }


def _write(config: RunConfig, run_folder: Path, arrays: dict[str, NDArray[Any]]) -> DatasetSummary:
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    data_hash = total.hexdigest()
    buffer = io.BytesIO()
    names = np.array([feature.name for feature in FEATURES])
    np.savez(buffer, feature_names=names, data_hash=np.array(data_hash), **arrays)
    write_atomic(run_folder / DATASET, buffer.getvalue())
    write_run(config, run_folder, data_hash)
    bare = arrays["snow_mm"] == 0.0
    error = (arrays["theta_classical"] - arrays["theta"])[bare]
    return DatasetSummary(
        path=run_folder / DATASET,
        soils=len(arrays["scenario"]),
        days=len(arrays["day_end_s"]),
        rmse_classical=float(np.sqrt(np.nanmean(np.square(error)))),
        data_hash=data_hash,
    )
