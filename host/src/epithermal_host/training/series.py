"""The daily series of RUN/dataset.npz, as training, quantization and evaluation read them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.features import FEATURES
from epithermal_edge.records import LAYERS_CM
from epithermal_host.arrays import Array, Array32, Integers, Mask

DATASET = "dataset.npz"
TRAIN, VALIDATION, TEST = 0, 1, 2  # values of `split`
NAMES = tuple(f.name for f in FEATURES)
DESCRIPTION = [i for i, name in enumerate(NAMES) if name.startswith("soil_")]
LAYERS = tuple(f"theta_{top}_{bottom}" for top, bottom in LAYERS_CM)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """S soils by T days; NaN where a label or an inversion does not exist."""

    features: Array32  # (S, T, F) physical units, finite
    theta: Array  # (S, T) mean of 0-30 cm over the window [m3 m-3]
    layers: Array  # (S, T, len(LAYERS)) their means [m3 m-3]
    theta_classical: Array  # (S, T) homogeneous COSMIC inversion [m3 m-3]
    snow: Mask  # (S, T) it lay at the window's begin or end: nothing is judged
    split: NDArray[np.int8]  # (S,) TRAIN, VALIDATION or TEST
    scenario: Integers  # (S,) its number in the campaign
    day_end_s: Array  # (T,) Unix time of the window's end [s, UTC]
    data_hash: str

    def part(self, split: int) -> Series:
        """The soils of one split."""
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
    """The data set of a run.

    Raises
    ------
    ConfigError
        It is missing, damaged, or not what this version trains on; the text says what to do.
    """
    path = run_folder / DATASET
    if not path.is_file():
        raise ConfigError(f"{path}: no data set: run `epithermal-host dataset {run_folder}` first")
    try:
        with np.load(path, allow_pickle=False) as file:
            series = Series(
                features=file["features"].astype(np.float32),
                theta=file["theta"].astype(np.float64),
                layers=np.stack([file[name].astype(np.float64) for name in LAYERS], axis=-1),
                theta_classical=file["theta_classical"].astype(np.float64),
                snow=_lies(file["snow_mm"]),
                split=file["split"].astype(np.int8),
                scenario=file["scenario"].astype(np.int64),
                day_end_s=file["day_end_s"].astype(np.float64),
                data_hash=str(file["data_hash"]),
            )
            names = tuple(str(name) for name in file["feature_names"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise ConfigError(f"{path}: not a data set ({fault}): make it again") from fault
    faults = _faults(series, names)
    if faults:
        raise ConfigError(*(f"{path}: {fault}: make it again" for fault in faults))
    return series


def _lies(snow_mm: Array) -> Mask:
    """Where snow lay at the begin or the end of a day, from what lay at its end; (S, T)."""
    out: Mask = snow_mm > 0.0
    out[:, 1:] |= snow_mm[:, :-1] > 0.0
    return out


def _faults(series: Series, names: tuple[str, ...]) -> list[str]:
    soils, days = series.theta.shape if series.theta.ndim == 2 else (0, 0)
    faults = []
    if names != NAMES:
        faults.append(f"features {', '.join(names)} are not {', '.join(NAMES)}")
    if series.features.shape != (soils, days, len(NAMES)) or not soils or not days:
        faults.append(f"features of shape {series.features.shape}, labels {series.theta.shape}")
    elif series.snow.shape != series.theta.shape:
        faults.append(f"snow of shape {series.snow.shape}")
    elif not np.isfinite(series.features).all():
        faults.append("a feature that is not finite")
    for part, name in ((TRAIN, "training"), (VALIDATION, "validation"), (TEST, "test")):
        if not (series.split == part).any():
            faults.append(f"no soil for {name}")
    return faults


def mask(
    features: Array32,
    *,
    rain: Mask | bool = False,
    et0: Mask | bool = False,
    soil: Mask | bool = False,
    cover: Mask | bool = False,
) -> Array32:
    """Features as a station would have them that knows less: no rain, ET0, soil or cover.

    Parameters
    ----------
    features : (S, T, F)
    rain, et0, soil, cover : (S,) or one for all
        True where the whole series is to be unknown: value 0, known 0.
    """
    out = features.copy()
    told = (("rain_", rain), ("et0_", et0), ("soil_", soil), ("cover_", cover))
    for prefix, hidden in told:
        rows = np.broadcast_to(np.asarray(hidden, dtype=bool), features.shape[:1])
        for column in (i for i, name in enumerate(NAMES) if name.startswith(prefix)):
            out[rows, :, column] = 0.0
    return out


def counts_alone(features: Array32) -> Array32:
    """Features (S, T, F) of a station that knows its counts, its place and what grows there."""
    return mask(features, rain=True, et0=True, soil=True)
