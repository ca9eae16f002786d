"""Read the daily series of RUN/dataset.npz, and mask features that a station may lack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.features import FEATURES
from epithermal_edge.records import LAYERS_CM
from epithermal_host.arrays import Array, Array32, Integers, Mask
from epithermal_host.compute.damage import DAMAGE

DATASET = "dataset.npz"
TRAIN, VALIDATION, TEST = 0, 1, 2  # values of `split`
NAMES = tuple(f.name for f in FEATURES)
DESCRIPTION = [i for i, name in enumerate(NAMES) if name.startswith("soil_")]
LAYERS = tuple(f"theta_{top}_{bottom}" for top, bottom in LAYERS_CM)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Daily series of S soils and T days; NaN where a label or an inversion is missing."""

    features: Array32  # (S, T, F) physical units, finite
    theta: Array  # (S, T) mean over 0-30 cm and over the window [m3 m-3]
    layers: Array  # (S, T, len(LAYERS)) means of the layers [m3 m-3]
    theta_classical: Array  # (S, T) homogeneous COSMIC inversion [m3 m-3]
    snow: Mask  # (S, T) on the ground at the window's start or end: day is not scored
    split: NDArray[np.int8]  # (S,) TRAIN, VALIDATION or TEST
    scenario: Integers  # (S,) its number in the campaign
    day_end_s: Array  # (T,) Unix time of the window's end [s, UTC]
    data_hash: str

    def part(self, split: int) -> Series:
        """Select the soils of one split: TRAIN, VALIDATION or TEST."""
        rows = self.split == split
        return Series(
            features=self.features[rows],
            theta=self.theta[rows],
            layers=self.layers[rows],
            theta_classical=self.theta_classical[rows],
            snow=self.snow[rows],
            split=self.split[rows],
            scenario=self.scenario[rows],
            day_end_s=self.day_end_s,
            data_hash=self.data_hash,
        )


def read_series(run_folder: Path) -> Series:
    """Read the data set of a run.

    Raises
    ------
    ConfigError
        It is missing, damaged or of another version; the message names the remedy.
    """
    path = run_folder / DATASET
    if not path.is_file():
        raise ConfigError(f"{path}: no data set: run `epithermal-host dataset {run_folder}` first")
    try:
        # np.load of a path leaves the file open when it is damaged
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            series = Series(
                features=file["features"].astype(np.float32),
                theta=file["theta"].astype(np.float64),
                layers=np.stack([file[name].astype(np.float64) for name in LAYERS], axis=-1),
                theta_classical=file["theta_classical"].astype(np.float64),
                snow=_snow_cover(file["snow_mm"]),
                split=file["split"].astype(np.int8),
                scenario=file["scenario"].astype(np.int64),
                day_end_s=file["day_end_s"].astype(np.float64),
                data_hash=str(file["data_hash"]),
            )
            names = tuple(str(name) for name in file["feature_names"])
    except DAMAGE as fault:
        raise ConfigError(f"{path}: not a data set ({fault}): run `dataset` again") from fault
    faults = _faults(series, names)
    if faults:
        raise ConfigError(*(f"{path}: {fault}: run `dataset` again" for fault in faults))
    return series


def _snow_cover(snow_mm: Array) -> Mask:
    """Flag the days (S, T) with snow at their start or end, from snow at their end."""
    out: Mask = snow_mm > 0.0
    out[:, 1:] |= snow_mm[:, :-1] > 0.0
    return out


def _faults(series: Series, names: tuple[str, ...]) -> list[str]:
    soils, days = series.theta.shape if series.theta.ndim == 2 else (0, 0)
    faults = []
    if names != NAMES:
        faults.append(f"features {', '.join(names)}, expected {', '.join(NAMES)}")
    if series.features.shape != (soils, days, len(NAMES)) or not soils or not days:
        faults.append(f"features of shape {series.features.shape}, labels {series.theta.shape}")
    elif wrong := _misshapen(series):
        faults.append(f"arrays of other shapes: {', '.join(wrong)}")
    elif not np.isfinite(series.features).all():
        faults.append("a feature that is not finite")
    for part, name in ((TRAIN, "training"), (VALIDATION, "validation"), (TEST, "test")):
        if not (series.split == part).any():
            faults.append(f"no soil for {name}")
    return faults


def _misshapen(series: Series) -> list[str]:
    """List the arrays whose shape does not fit to the labels (S, T)."""
    soils, days = series.theta.shape
    shapes = {
        "layers": (soils, days, len(LAYERS)),
        "theta_classical": (soils, days),
        "snow": (soils, days),
        "split": (soils,),
        "scenario": (soils,),
    }
    return [name for name, shape in shapes.items() if getattr(series, name).shape != shape]


def mask(
    features: Array32,
    *,
    rain: Mask | bool = False,
    et0: Mask | bool = False,
    soil: Mask | bool = False,
    cover: Mask | bool = False,
) -> Array32:
    """Return a copy of the features in which rain, ET0, soil or cover are unknown.

    Parameters
    ----------
    features : (S, T, F)
    rain, et0, soil, cover : (S,) or one for all
        True where the whole series becomes unknown: value 0, flag 0.
    """
    out = features.copy()
    groups = (("rain_", rain), ("et0_", et0), ("soil_", soil), ("cover_", cover))
    for prefix, hidden in groups:
        rows = np.broadcast_to(np.asarray(hidden, dtype=bool), features.shape[:1])
        for column in (i for i, name in enumerate(NAMES) if name.startswith(prefix)):
            out[rows, :, column] = 0.0
    return out


def counts_alone(features: Array32) -> Array32:
    """Mask rain, ET0 and soil in features (S, T, F), as for a station without these inputs."""
    return mask(features, rain=True, et0=True, soil=True)
