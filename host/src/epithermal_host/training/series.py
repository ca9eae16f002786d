"""Read the daily series of RUN/dataset.npz, and mask features that a station may lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.features import FEATURES
from epithermal_edge.records import LAYERS_CM
from epithermal_host.arrays import Array, Array32, Integers, Mask
from epithermal_host.compute.damage import DAMAGE
from epithermal_host.compute.npz_rows import Stored, open_npz, read_whole, verify

DATASET = "dataset.npz"
TRAIN, VALIDATION, TEST = 0, 1, 2  # values of `split`
NAMES = tuple(f.name for f in FEATURES)
DESCRIPTION = [i for i, name in enumerate(NAMES) if name.startswith("soil_")]
BLOCK = 128  # soils that are read at once
LAYERS = tuple(f"theta_{top}_{bottom}" for top, bottom in LAYERS_CM)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Daily series of S soils and T days; NaN where a label or an inversion is missing."""

    features: Array32  # (S, T, F) physical units, finite
    theta: Array  # (S, T) mean over 0-30 cm and over the window [m3 m-3]
    layers: Array  # (S, T, len(LAYERS)) means of the layers [m3 m-3]
    theta_classical: Array  # (S, T) inversion by the station's response [m3 m-3]
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


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A data set on disk, of which only the wanted soils are read."""

    path: Path
    arrays: Mapping[str, Stored]
    split: NDArray[np.int8]  # (S,) TRAIN, VALIDATION or TEST
    scenario: Integers  # (S,)
    day_end_s: Array  # (T,)
    data_hash: str

    @property
    def days(self) -> int:
        """Number of days T of each series."""
        return len(self.day_end_s)

    def part(self, split: int) -> Integers:
        """Return the rows (N,) of the soils of one split."""
        rows: Integers = np.flatnonzero(self.split == split)
        return rows

    def read(self, rows: Integers) -> Series:
        """Read the series of some soils, given by their rows (N,).

        Raises
        ------
        ConfigError
            The file is damaged.
        """
        try:
            names = ("theta", "theta_classical", "snow_mm", *LAYERS)
            daily = {name: self.arrays[name].read(rows).astype(np.float64) for name in names}
            features = self.arrays["features"].read(rows).astype(np.float32, copy=False)
        except DAMAGE as fault:
            raise _damaged(self.path, fault) from fault
        if not np.isfinite(features).all():
            raise ConfigError(f"{self.path}: a feature that is not finite: run `dataset` again")
        return Series(
            features=features,
            theta=daily["theta"],
            layers=np.stack([daily[name] for name in LAYERS], axis=-1),
            theta_classical=daily["theta_classical"],
            snow=_snow_cover(daily["snow_mm"]),
            split=self.split[rows],
            scenario=self.scenario[rows],
            day_end_s=self.day_end_s,
            data_hash=self.data_hash,
        )

    def blocks(self, rows: Integers, size: int = BLOCK) -> Iterator[Series]:
        """Read the series of some soils (N,) in blocks, so that memory does not grow with N."""
        for begin in range(0, len(rows), size):
            yield self.read(rows[begin : begin + size])


def open_dataset(run_folder: Path) -> Dataset:
    """Open the data set of a run, and verify its checksums.

    Raises
    ------
    ConfigError
        It is missing, damaged or of another version; the message names the remedy.
    """
    path = run_folder / DATASET
    if not path.is_file():
        raise ConfigError(f"{path}: no data set: run `epithermal-host dataset {run_folder}` first")
    try:
        verify(path)
        arrays = open_npz(path)
        dataset = Dataset(
            path=path,
            arrays=arrays,
            split=read_whole(arrays, "split").astype(np.int8),
            scenario=read_whole(arrays, "scenario").astype(np.int64),
            day_end_s=read_whole(arrays, "day_end_s").astype(np.float64),
            data_hash=str(read_whole(arrays, "data_hash")),
        )
        faults = _faults(dataset, [str(name) for name in read_whole(arrays, "feature_names")])
    except DAMAGE as fault:
        raise _damaged(path, fault) from fault
    if faults:
        raise ConfigError(*(f"{path}: {fault}: run `dataset` again" for fault in faults))
    return dataset


def read_series(run_folder: Path, split: int | None = None) -> Series:
    """Read the data set of a run whole, or the soils of one split.

    Raises
    ------
    ConfigError
        It is missing, damaged or of another version; the message names the remedy.
    """
    dataset = open_dataset(run_folder)
    rows = np.arange(len(dataset.split)) if split is None else dataset.part(split)
    return dataset.read(rows)


def _damaged(path: Path, fault: BaseException) -> ConfigError:
    return ConfigError(f"{path}: not a data set ({fault}): run `dataset` again")


def _snow_cover(snow_mm: Array) -> Mask:
    """Flag the days (S, T) with snow at their start or end, from snow at their end."""
    out: Mask = snow_mm > 0.0
    out[:, 1:] |= snow_mm[:, :-1] > 0.0
    return out


def _faults(dataset: Dataset, names: Sequence[str]) -> list[str]:
    labels, features = dataset.arrays["theta"].shape, dataset.arrays["features"].shape
    soils, days = labels if len(labels) == 2 else (0, 0)
    faults = []
    if tuple(names) != NAMES:
        faults.append(f"features {', '.join(names)}, expected {', '.join(NAMES)}")
    if features != (soils, days, len(NAMES)) or not soils or not days:
        faults.append(f"features of shape {features}, labels {labels}")
    elif wrong := _misshapen(dataset, soils, days):
        faults.append(f"arrays of other shapes: {', '.join(wrong)}")
    for part, name in ((TRAIN, "training"), (VALIDATION, "validation"), (TEST, "test")):
        if not (dataset.split == part).any():
            faults.append(f"no soil for {name}")
    return faults


def _misshapen(dataset: Dataset, soils: int, days: int) -> list[str]:
    """List the arrays whose shape does not fit to the labels (S, T)."""
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys((*LAYERS, "theta_classical", "snow_mm"), (soils, days)),
        **dict.fromkeys(("split", "scenario"), (soils,)),
        "day_end_s": (days,),
    }
    return [name for name, shape in shapes.items() if dataset.arrays[name].shape != shape]


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
        columns = [i for i, name in enumerate(NAMES) if name.startswith(prefix)]  # neighbours
        out[rows, :, columns[0] : columns[-1] + 1] = 0.0
    return out


def counts_alone(features: Array32) -> Array32:
    """Mask rain, ET0 and soil in features (S, T, F), as for a station without these inputs."""
    return mask(features, rain=True, et0=True, soil=True)
