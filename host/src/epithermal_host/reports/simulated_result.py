"""Define the results of the report on simulated soils, and where a network falls short."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epithermal_edge.inference.bundle import Bundle
from epithermal_host.evaluation.layers import LayerLine
from epithermal_host.evaluation.methods import COSMIC, NETWORK, is_inversion
from epithermal_host.evaluation.metrics import Stats
from epithermal_host.evaluation.result import Curve


@dataclass(frozen=True, slots=True)
class Line:
    """Scores of one method in one group, on the soils that have the inputs."""

    method: str
    inputs: str
    t_d: float | None  # of the filter [d]
    stats: Stats


@dataclass(frozen=True, slots=True)
class GroupLines:
    """Scores of all methods in one group."""

    kind: str
    name: str
    lines: tuple[Line, ...]

    def line(self, method: str, inputs: str) -> Line | None:
        """Return the line of a method with a set of inputs; None if there is none."""
        lines = (x for x in self.lines if (x.method, x.inputs) == (method, inputs))
        return next(lines, None)

    @property
    def inversion(self) -> str:
        """Name of the inversion by the response of the stations."""
        return next((x.method for x in self.lines if is_inversion(x.method)), COSMIC)


@dataclass(frozen=True, slots=True)
class Soil:
    """Scores on one soil."""

    scenario: int
    texture: str
    cover: str
    precipitation_over_et0: float
    rmse: dict[str, float]  # by method [m3 m-3]


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Results of a bundle on simulated soils."""

    bundle: Bundle
    run_folder: Path
    provenance: dict[str, Any]
    runtime: str
    seed: int  # of the campaign used for evaluation
    spin_up_d: int
    snow_share: float  # fraction of days with snow
    overall: GroupLines
    groups: tuple[GroupLines, ...]
    verdict: tuple[Shortfall, ...]  # empty: the network falls short in no group
    layers: tuple[LayerLine, ...]
    ages: tuple[Curve, ...]
    outages: tuple[Curve, ...]
    soils: tuple[Soil, ...]
    seconds: dict[str, float]
    reference: dict[str, Any] | None = None
    responses: tuple[str, ...] = ("cosmic",)  # by which the counts were simulated

    @property
    def inputs(self) -> tuple[str, ...]:
        """Labels of the sets of inputs, the smallest first."""
        return tuple(x.inputs for x in self.overall.lines if x.method == NETWORK)


OVERALL, IN_GROUPS = (0.87, 0.93), (0.80, 0.97)  # required coverage of the 90 % interval


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A group in which the network with a set of inputs does not meet the requirements."""

    kind: str
    group: str
    inputs: str
    soils: int
    days: int
    rmse: float  # [m3 m-3]
    of_cosmic: float  # RMSE relative to that of the inversion
    of_filter: float  # relative to that of the inversion with the best filter; required: below 1
    coverage_90: float  # required: 0.80 to 0.97

    @property
    def not_better(self) -> bool:
        """True if the network is not more accurate than the best filter."""
        return not self.of_filter < 1.0

    @property
    def miscovered(self) -> bool:
        """True if the 90 % interval is too narrow or too wide."""
        return not IN_GROUPS[0] <= self.coverage_90 <= IN_GROUPS[1]
