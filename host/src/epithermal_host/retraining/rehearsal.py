"""The simulated population that a retrained network must not forget, as moments of its states.

A head that is linear in the state has its squared error over a population from six moments, however
many heads are tried.
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
from epithermal_host.bundles.hidden_states import hidden
from epithermal_host.compute.crew import Crew
from epithermal_host.config.run_toml import RUN_FILE, read_run
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
OWN_SOILS, OWN_YEARS = 120, 2  # of a campaign that is made here
OWN_SEED = 7919  # added to the seed of the bundle's own campaign: other soils, other weather
OWN_FOLDER = "rehearsal"


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Means over the days of a population, counts alone and with all that is known together."""

    h: Array  # (H,) of the state
    hh: Array  # (H, H) of its products
    e: float  # of the released network's error [m3 m-3]
    ee: float  # of its square [m6 m-6]
    eh: Array  # (H,) of error times state [m3 m-3]
    soils: int
    days: int

    def rmse(self, w: Array, b: float) -> float:
        """RMSE of 0-30 cm when w h + b is added to the network's answer [m3 m-3]."""
        square = self.ee + w @ self.hh @ w + b * b
        square += 2.0 * (w @ self.eh + b * self.e + b * (w @ self.h))
        return float(np.sqrt(square))

    def spread(self, centre: Array) -> Array:
        """(H, H) mean product of the states' distances from a centre (H,)."""
        return np.asarray(
            self.hh - np.outer(self.h, centre) - np.outer(centre, self.h) + np.outer(centre, centre)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsal:
    """Two parts of a population: one holds the head back, the other judges it."""

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
    """The bundle over soils of a campaign.

    Parameters
    ----------
    run_folder :
        With dataset.npz: a training part holds back, the test part judges.

    Raises
    ------
    ConfigError
        No usable data set.
    BundleError
        No runtime runs the bundle.
    """
    series = read_series(run_folder)
    parts = [_moments(bundle, _some(series, p), who, runtime_name) for p in (TRAIN, TEST)]
    return Rehearsal(parts[0], parts[1], series.data_hash, run_folder.name)


def own_campaign(bundle: Bundle, out: Path, workers: int | None = None) -> Path:
    """A small campaign of the bundle's own population under another seed; its run folder.

    Raises
    ------
    ConfigError
        The bundle does not tell its population.
    """
    table = tomllib.loads((bundle.path / BUNDLE_TOML).read_text("utf-8"))
    told: dict[str, Any] = table.get("provenance", {}).get("run", {})
    if "campaign" not in told:
        raise ConfigError(f"{bundle.path}: it does not tell its campaign: give --campaign RUN")
    kept = {k: v for k, v in told.items() if k in ("population", "instrument")}
    small = told["campaign"] | {"soils": OWN_SOILS, "years": OWN_YEARS}
    small["seed"] = int(small["seed"]) + OWN_SEED
    folder = out / OWN_FOLDER
    shares = {"validation_share": 0.01, "test_share": 0.49}
    text = tomli_w.dumps({"campaign": small, "dataset": shares, **kept})
    asked = out / f".{OWN_FOLDER}.toml"
    out.mkdir(parents=True, exist_ok=True)
    asked.write_text(text, "utf-8")
    try:
        config = read_run(asked)
    finally:
        asked.unlink()
    same = (folder / RUN_FILE).is_file() and _same(read_run(folder), config)
    if same and (folder / DATASET).is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    campaign.run(config, folder, workers=workers)
    dataset.run(folder, workers=workers)
    return folder


def _same(a: Any, b: Any) -> bool:
    names = ("campaign", "population", "instrument", "dataset")
    return all(getattr(a, name) == getattr(b, name) for name in names)


def _some(series: Series, part: int) -> Series:
    """At most SOILS soils of a part, evenly over it."""
    rows = np.flatnonzero(series.split == part)
    rows = rows[np.linspace(0, rows.size - 1, min(SOILS, rows.size)).astype(int)]
    kept = ("features", "theta", "layers", "theta_classical", "snow", "split", "scenario")
    return dataclasses.replace(series, **{name: getattr(series, name)[rows] for name in kept})


def _moments(bundle: Bundle, series: Series, who: Crew, runtime_name: str | None) -> Moments:
    days = np.isfinite(series.theta) & ~series.snow
    days &= series.features[..., NAMES.index("gap")] < 0.5
    days[:, : bundle.spin_up_steps] = False
    if not days.any():
        raise ConfigError("the campaign has no day without snow after the warm-up: take another")
    n, total = 0, [0.0] * 5
    for features in (counts_alone(series.features), series.features):
        said = hidden(bundle, features, who, runtime_name=runtime_name)
        h = said.h[days].astype(np.float64)
        e = said.theta[days] - series.theta[days]
        sums: list[Any] = [h.sum(0), h.T @ h, e.sum(), e @ e, e @ h]
        total = [a + b for a, b in zip(total, sums, strict=True)]
        n += e.size
    mean: list[Any] = [value / n for value in total]
    return Moments(mean[0], mean[1], float(mean[2]), float(mean[3]), mean[4], len(days), n // 2)
