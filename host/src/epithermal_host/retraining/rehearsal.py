"""Summarize the network's error over a simulated population, on which it must not grow.

For a head that is linear in the state, six moments give the squared error of any change, so that
many changes can be tried at no cost.
"""

from __future__ import annotations

import dataclasses
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import BUNDLE_TOML, Bundle
from epithermal_host.arrays import Array
from epithermal_host.bundles.hidden_states import compute_hidden_states
from epithermal_host.compute.crew import Crew
from epithermal_host.config.run_toml import OWN_SECTIONS, RUN_FILE, read_run
from epithermal_host.simulation import campaign
from epithermal_host.training import dataset
from epithermal_host.training.series import (
    DATASET,
    NAMES,
    TEST,
    TRAIN,
    Series,
    counts_alone,
    read_series,
)

SOILS = 200  # at most, of each part
OWN_SOILS, OWN_YEARS = 120, 2  # of a campaign simulated here
OWN_SEED = 7919  # added to the seed of the bundle's campaign, for other soils and weather
OWN_FOLDER = "rehearsal"


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Means over the days of a population, run with counts alone and with all inputs."""

    h: Array  # (H,) state
    hh: Array  # (H, H) products of the state
    e: float  # error of the released network [m3 m-3]
    ee: float  # squared error [m6 m-6]
    eh: Array  # (H,) error times state [m3 m-3]
    soils: int
    days: int

    def rmse(self, w: Array, b: float) -> float:
        """Return the RMSE of 0-30 cm with w h + b added to the network's estimate [m3 m-3]."""
        square = self.ee + w @ self.hh @ w + b * b
        square += 2.0 * (w @ self.eh + b * self.e + b * (w @ self.h))
        return float(np.sqrt(square))

    def spread(self, centre: Array) -> Array:
        """Return the (H, H) second moment of the state about a centre (H,)."""
        return np.asarray(
            self.hh - np.outer(self.h, centre) - np.outer(centre, self.h) + np.outer(centre, centre)
        )


OF_PLACES = ("population", "instrument", *OWN_SECTIONS)  # tables of run.toml


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsal:
    """Two parts of a population: one penalizes changes of the head, the other evaluates them."""

    penalty: Moments
    judge: Moments
    data_hash: str
    source: str


def rehearse(
    bundle: Bundle,
    run_folder: Path,
    who: Crew,
    *,
    runtime_name: str | None = None,
) -> Rehearsal:
    """Run the bundle over soils of a campaign and compute the moments.

    Parameters
    ----------
    run_folder :
        Campaign with dataset.npz: its training soils penalize, its test soils evaluate.

    Raises
    ------
    ConfigError
        The data set is missing or unusable.
    BundleError
        No runtime can run the bundle.
    """
    series = read_series(run_folder)
    parts = [_moments(bundle, _select_soils(series, p), who, runtime_name) for p in (TRAIN, TEST)]
    return Rehearsal(parts[0], parts[1], series.data_hash, run_folder.name)


def simulate_campaign(bundle: Bundle, out: Path, workers: int | None = None) -> Path:
    """Simulate a small campaign of the bundle's population with another seed; return its folder.

    A folder with the same settings is reused.

    Raises
    ------
    ConfigError
        The bundle does not record its campaign.
    """
    table = tomllib.loads((bundle.path / BUNDLE_TOML).read_text("utf-8"))
    recorded: dict[str, Any] = table.get("provenance", {}).get("run", {})
    if "campaign" not in recorded:
        raise ConfigError(
            f"{bundle.path}: {BUNDLE_TOML} does not record the campaign: give --campaign RUN"
        )
    same_tables = {k: v for k, v in recorded.items() if k in OF_PLACES}
    small = recorded["campaign"] | {"soils": OWN_SOILS, "years": OWN_YEARS}
    small["seed"] = int(small["seed"]) + OWN_SEED
    folder = out / OWN_FOLDER
    shares = {"validation_share": 0.01, "test_share": 0.49}
    text = tomli_w.dumps({"campaign": small, "dataset": shares, **same_tables})
    requested = out / f".{OWN_FOLDER}.toml"
    out.mkdir(parents=True, exist_ok=True)
    requested.write_text(text, "utf-8")
    try:
        config = read_run(requested)
    finally:
        requested.unlink()
    same = (folder / RUN_FILE).is_file() and _same_campaign(read_run(folder), config)
    if same and (folder / DATASET).is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    campaign.run(config, folder, workers=workers)
    dataset.run(folder, workers=workers)
    return folder


def _same_campaign(a: Any, b: Any) -> bool:
    names = ("campaign", "population", "instrument", "dataset", "own")
    return all(getattr(a, name) == getattr(b, name) for name in names)


def _select_soils(series: Series, part: int) -> Series:
    """Select at most SOILS soils of a part, evenly spaced."""
    rows = np.flatnonzero(series.split == part)
    rows = rows[np.linspace(0, rows.size - 1, min(SOILS, rows.size)).astype(int)]
    by_soil = ("features", "theta", "layers", "theta_classical", "snow", "split", "scenario")
    return dataclasses.replace(series, **{name: getattr(series, name)[rows] for name in by_soil})


def _moments(bundle: Bundle, series: Series, who: Crew, runtime_name: str | None) -> Moments:
    days = np.isfinite(series.theta) & ~series.snow
    days &= series.features[..., NAMES.index("gap")] < 0.5
    days[:, : bundle.spin_up_steps] = False
    if not days.any():
        raise ConfigError(
            "the campaign has no day without snow after the warm-up: use another campaign"
        )
    n, total = 0, [0.0] * 5
    for features in (counts_alone(series.features), series.features):
        released = compute_hidden_states(bundle, features, who, runtime_name=runtime_name)
        h = released.h[days].astype(np.float64)
        e = released.theta[days] - series.theta[days]
        sums: list[Any] = [h.sum(0), h.T @ h, e.sum(), e @ e, e @ h]
        total = [a + b for a, b in zip(total, sums, strict=True)]
        n += e.size
    mean: list[Any] = [value / n for value in total]
    return Moments(mean[0], mean[1], float(mean[2]), float(mean[3]), mean[4], len(days), n // 2)
