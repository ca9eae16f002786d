"""Many scenarios in processes, one file each; what is there already is not done again.

The seed and the index of a scenario decide its bytes, not the worker that makes them. A scenario
that fails is recorded in campaign/failed.jsonl and the rest goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_host.config import (
    RUN_FILE,
    CampaignConfig,
    RunConfig,
    campaign_key,
    read_run,
    write_run,
)
from epithermal_host.errors import SolverError
from epithermal_host.files import write_atomic
from epithermal_host.parallel import each
from epithermal_host.scenario import Population, sample
from epithermal_host.simulate import key_of, simulate, write_result

log = logging.getLogger(__name__)

FOLDER = "campaign"
FAILED = "campaign/failed.jsonl"
FAILED_MAX = 0.05  # of the scenarios; more than that and the population is not what was asked for


@dataclass(frozen=True, slots=True)
class Failure:
    """A scenario that could not be simulated."""

    index: int
    soil: str
    day: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A finished campaign."""

    made: int  # by this call
    found: int  # by an earlier one
    failed: tuple[Failure, ...]
    data_hash: str

    @property
    def failed_share(self) -> float:
        """Of all scenarios."""
        return len(self.failed) / max(self.made + self.found + len(self.failed), 1)


@dataclass(frozen=True, slots=True)
class _Task:
    """What a worker needs; small, because it is pickled for each scenario."""

    index: int
    path: Path
    key: str
    campaign: CampaignConfig
    population: Population


def scenario_path(run_folder: Path, index: int) -> Path:
    """File of one scenario's result."""
    return run_folder / FOLDER / f"scenario-{index:06d}.npz"


def run(
    config: RunConfig, run_folder: Path, *, workers: int | None = None, progress: bool = True
) -> Summary:
    """Simulate a campaign into RUN/campaign, and go on with it where it was interrupted.

    Parameters
    ----------
    config :
        The run; it is written to RUN/run.toml with every default.
    run_folder :
        Made where it is missing.
    workers :
        Processes; as many as processors by default.
    progress :
        Show a bar on stderr.

    Raises
    ------
    ConfigError
        The folder holds another campaign, or cannot be written.
    EpithermalError
        Too many scenarios failed, or a worker died.
    """
    key = campaign_key(config)
    _claim(config, run_folder, key)
    todo = [
        _Task(i, scenario_path(run_folder, i), key, config.campaign, config.population)
        for i in range(config.campaign.soils)
        if key_of(scenario_path(run_folder, i)) != key
    ]
    found = config.campaign.soils - len(todo)
    failed: list[Failure] = []
    (run_folder / FAILED).unlink(missing_ok=True)
    with tqdm(
        total=config.campaign.soils,
        initial=found,
        desc="simulate",
        unit="soil",
        disable=not progress,
    ) as bar:
        for _, failure in each(_work, todo, workers):
            if failure is not None:
                failed.append(failure)
                _record(run_folder, failed)
                bar.set_postfix(failed=len(failed))
                _give_up(failed, config.campaign.soils, run_folder)
            bar.update()
    summary = Summary(
        made=len(todo) - len(failed),
        found=found,
        failed=tuple(sorted(failed, key=lambda f: f.index)),
        data_hash=campaign_hash(run_folder, config.campaign.soils),
    )
    write_run(config, run_folder, summary.data_hash)
    return summary


def campaign_hash(run_folder: Path, soils: int) -> str:
    """Identity of the results: a hash over the files' names and bytes."""
    total = hashlib.sha256()
    for path in (scenario_path(run_folder, i) for i in range(soils)):
        if path.is_file():
            total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _give_up(failed: list[Failure], soils: int, run_folder: Path) -> None:
    """Stop when too many fail: what is left would be another population."""
    if len(failed) > max(FAILED_MAX * soils, 1):
        raise EpithermalError(
            f"{len(failed)} of {soils} scenarios failed, more than {FAILED_MAX:.0%}; the last: "
            f"{failed[-1].soil}: {failed[-1].reason}; all: {run_folder / FAILED}"
        )


def _claim(config: RunConfig, run_folder: Path, key: str) -> None:
    """Write run.toml, unless the folder belongs to another campaign."""
    written = run_folder / RUN_FILE
    if written.is_file() and any((run_folder / FOLDER).glob("scenario-*.npz")):
        there = read_run(written)
        if campaign_key(there) != key:
            raise ConfigError(
                f"{run_folder}: holds another campaign (seed {there.campaign.seed}, "
                f"{there.campaign.soils} soils): name another folder, or delete this one"
            )
    try:
        write_run(config, run_folder)
        (run_folder / FOLDER).mkdir(exist_ok=True)
        for part in (run_folder / FOLDER).glob(".*.part"):  # of a process that was killed
            part.unlink()
    except OSError as error:
        raise ConfigError(
            f"{run_folder}: {error.strerror}: name a folder that can be written"
        ) from error


def _work(task: _Task) -> Failure | None:
    scenario = sample(task.population, task.campaign.seed, task.index)
    try:
        result = simulate(scenario, task.campaign)
    except SolverError as error:
        day = error.day if error.day == error.day else None
        return Failure(task.index, error.soil, day, error.reason)
    except Exception as error:  # one impossible scenario must not cost the others
        log.exception("scenario %d", task.index)
        reason = f"{type(error).__name__}: {error}"
        return Failure(task.index, scenario.texture, None, reason)
    write_result(task.path, scenario, result, task.key)
    return None


def _record(run_folder: Path, failed: list[Failure]) -> None:
    lines = [
        json.dumps({"index": f.index, "soil": f.soil, "day": f.day, "reason": f.reason})
        for f in sorted(failed, key=lambda f: f.index)
    ]
    write_atomic(run_folder / FAILED, "\n".join([*lines, ""]).encode("utf-8"))
