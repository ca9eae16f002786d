"""Simulate many scenarios on one executor; skip those that are already stored.

The bytes of a scenario depend on its seed and index only, not on the worker that computes them. A
scenario that fails is recorded in campaign/failed.jsonl and the others continue. Workers return
records and this process writes them in shards (`results`): workers need no shared file system, and
a killed worker leaves no partial file.
"""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_host.compute.crew import Lost, crew, map_unordered
from epithermal_host.compute.files import write_atomic
from epithermal_host.config.own_site import Irrigation
from epithermal_host.config.run_toml import (
    RUN_FILE,
    CampaignConfig,
    RunConfig,
    campaign_key,
    read_run,
    write_run,
)
from epithermal_host.errors import SolverError
from epithermal_host.simulation.irrigation import simulate_irrigated
from epithermal_host.simulation.own_place import own_place
from epithermal_host.simulation.results import (
    FOLDER,
    Records,
    ShardWriter,
    campaign_hash,
    record,
    reject_old_files,
    stored,
)
from epithermal_host.simulation.scenario import Scenario, sample
from epithermal_host.simulation.simulate import simulate
from epithermal_host.weather.observed import Window, cut_window

log = logging.getLogger(__name__)

FAILED = "campaign/failed.jsonl"
# Largest share of failed scenarios; above it the rest no longer represents the population.
# HYDRUS-1D failed on 3 of 40 scenarios that our solver solves.
FAILED_MAX = {"richards": 0.05, "hydrus": 0.2}


@dataclass(frozen=True, slots=True)
class Failure:
    """A scenario that could not be simulated."""

    index: int
    soil: str
    day: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Result of a finished campaign: numbers of scenarios, failures, hash of the results."""

    simulated: int  # by this call
    reused: int  # from an earlier call
    failed: tuple[Failure, ...]
    data_hash: str


@dataclass(frozen=True, slots=True)
class _Task:
    """Input of a worker for one scenario: a few kB."""

    scenario: Scenario
    campaign: CampaignConfig
    key: str
    station_days: Window | None  # of a scenario with observed weather: 50 kB more for 4 years
    irrigation: Irrigation | None


def run(
    config: RunConfig,
    run_folder: Path,
    *,
    workers: int | None = None,
    dask: str | None = None,
    progress: bool = True,
) -> Summary:
    """Simulate a campaign into RUN/campaign; resume one that was interrupted.

    Parameters
    ----------
    config :
        The run; written to RUN/run.toml with every default.
    run_folder :
        Created where missing.
    workers :
        Number of processes; default: one per processor.
    dask :
        Address of a Dask scheduler to use instead of local processes.
    progress :
        Show a progress bar on stderr.

    Raises
    ------
    ConfigError
        The folder holds another campaign or is not writable; the engine is not installed; the
        cluster does not answer.
    EpithermalError
        Too many scenarios failed, or the connection to the cluster was lost.
    """
    key = campaign_key(config)
    _prepare_folder(config, run_folder, key)
    soils = config.campaign.soils
    present = stored(run_folder)
    todo = [i for i in range(soils) if present.get(i) != key]
    (run_folder / FAILED).unlink(missing_ok=True)
    failed: list[Failure] = []
    bar = tqdm(total=soils, initial=soils - len(todo), desc="simulate", unit="soil",
               disable=not progress)  # fmt: skip
    with contextlib.ExitStack() as ends, bar, crew(workers, dask) as who:
        ends.callback(_remove_partial_files, run_folder)  # Ctrl-C may interrupt a write
        shards = ShardWriter(run_folder, key, todo)
        ends.callback(shards.flush)  # also after an error
        tasks = (_task(config, index, key) for index in todo)
        for number, answer in map_unordered(_simulate_task, tasks, who):
            failure = _failure(config, todo[number], answer)
            shards.add(todo[number], None if isinstance(answer, Failure | Lost) else answer)
            if failure is not None:
                failed.append(failure)
                _record_failures(run_folder, failed)
                bar.set_postfix(failed=len(failed))
                _check_failures(failed, config.campaign, run_folder)
            bar.update()
    summary = Summary(
        simulated=len(todo) - len(failed),
        reused=soils - len(todo),
        failed=tuple(sorted(failed, key=lambda f: f.index)),
        data_hash=campaign_hash(run_folder, soils),
    )
    write_run(config, run_folder, summary.data_hash)
    return summary


def scenario_of(config: RunConfig, index: int) -> Scenario:
    """Draw one scenario of a campaign; its soil and crop are one's own where they are described."""
    seed = config.campaign.seed
    drawn = sample(config.population, seed, index, config.climates, config.observed)
    return own_place(drawn, config.own)


def _task(config: RunConfig, index: int, key: str) -> _Task:
    """Combine a scenario with its observed weather, so that workers read no files."""
    scenario, period = scenario_of(config, index), config.campaign
    station_days = None
    if scenario.observed:
        station = next(s for s in config.observed if s.name == scenario.observed)
        days = period.spin_up_days + period.days
        station_days = cut_window(station, scenario.observed_day, days)
    return _Task(scenario, period, key, station_days, config.own.irrigation)


def _check_failures(failed: list[Failure], campaign: CampaignConfig, run_folder: Path) -> None:
    """Abort when too many scenarios failed: the rest would represent another population."""
    most = FAILED_MAX[campaign.engine]
    if len(failed) > max(most * campaign.soils, 1):
        raise EpithermalError(
            f"{len(failed)} of {campaign.soils} scenarios failed, more than {most:.0%}; the last: "
            f"{failed[-1].soil}: {failed[-1].reason}; all: {run_folder / FAILED}"
        )


def _prepare_folder(config: RunConfig, run_folder: Path, key: str) -> None:
    """Write run.toml; reject a folder that holds another campaign."""
    reject_old_files(run_folder)
    written = run_folder / RUN_FILE
    if written.is_file() and any((run_folder / FOLDER).glob("shard-*.npy")):
        other = read_run(written)
        if campaign_key(other) != key:
            raise ConfigError(
                f"{run_folder}: holds another campaign (seed {other.campaign.seed}, "
                f"{other.campaign.soils} soils): name another folder, or delete this one"
            )
    try:
        write_run(config, run_folder)
        (run_folder / FOLDER).mkdir(exist_ok=True)
        _remove_partial_files(run_folder)  # of a campaign that was killed
    except OSError as error:
        raise ConfigError(f"{run_folder}: {error.strerror}: name a writable folder") from error


def _remove_partial_files(run_folder: Path) -> None:
    """Remove files whose write was interrupted."""
    for part in (run_folder / FOLDER).glob(".*.part"):
        part.unlink()


def _simulate_task(task: _Task) -> Records | Failure:
    """Simulate one scenario on a worker; return its record, or the failure."""
    scenario = task.scenario
    try:
        if task.irrigation is None:
            result = simulate(scenario, task.campaign, task.station_days)
        else:
            where = (scenario, task.campaign, task.irrigation, task.station_days)
            result, _ = simulate_irrigated(*where)
    except ConfigError:
        raise
    except SolverError as error:
        day = error.day if error.day == error.day else None
        return Failure(scenario.index, error.soil, day, error.reason)
    except Exception as error:  # one impossible scenario must not stop the others
        log.exception("scenario %d", scenario.index)
        reason = f"{type(error).__name__}: {error}"
        return Failure(scenario.index, scenario.texture, None, reason)
    return record(scenario, result, task.key)


def _failure(config: RunConfig, index: int, answer: Records | Failure | Lost) -> Failure | None:
    """Return the reason why a scenario has no record."""
    if isinstance(answer, Lost):
        return Failure(index, scenario_of(config, index).texture, None, answer.reason)
    return answer if isinstance(answer, Failure) else None


def _record_failures(run_folder: Path, failed: list[Failure]) -> None:
    lines = [
        json.dumps({"index": f.index, "soil": f.soil, "day": f.day, "reason": f.reason})
        for f in sorted(failed, key=lambda f: f.index)
    ]
    write_atomic(run_folder / FAILED, "\n".join([*lines, ""]).encode("utf-8"))
