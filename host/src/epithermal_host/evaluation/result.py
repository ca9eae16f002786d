"""Define the parts of an evaluation on simulated soils: estimates, curves, options."""

from __future__ import annotations

from dataclasses import dataclass

from epithermal_host.arrays import Array, Mask
from epithermal_host.evaluation.baselines import Baseline
from epithermal_host.evaluation.methods import InputSet
from epithermal_host.evaluation.unseen import Unseen


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the evaluation of a bundle."""

    every_soil: bool = False  # use all soils of a campaign with another seed
    runtime: str | None = None
    workers: int | None = None
    reference_soils: int = 0  # number of soils for the particle filter
    progress: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Estimates of the network with one set of inputs; NaN for soils without these inputs."""

    inputs: InputSet
    theta: Array  # (S, T) [m3 m-3]
    sigma: Array  # (S, T) [m3 m-3]
    layers: dict[str, Array]  # (S, T) by layer that the bundle estimates [m3 m-3]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Soils, evaluated days and the estimates of every method."""

    unseen: Unseen
    days: Mask  # (S, T)
    baselines: tuple[Baseline, ...]
    estimates: tuple[Estimate, ...]
    runtime: str

    @property
    def inversion(self) -> str:
        """Name of the inversion by the response of the stations."""
        return self.baselines[0].name


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """RMSE of one method against the age of the stream or the length of an outage."""

    method: str
    inputs: str
    what: str  # "age", "outage" (its last day), "after" (the first day with counts again)
    day: Array  # (n,) middle of the age bin, or length [d]
    rmse: Array  # (n,) [m3 m-3]
