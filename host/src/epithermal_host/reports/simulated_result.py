"""Hold every figure of the report on simulated soils, and where a model falls short."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epithermal_edge.inference.bundle import Bundle
from epithermal_host.evaluation.layers import LayerLine
from epithermal_host.evaluation.methods import (
    NETWORK,
)
from epithermal_host.evaluation.metrics import Stats
from epithermal_host.evaluation.result import Curve


@dataclass(frozen=True, slots=True)
class Line:
    """One method in one group, on the soils that have the inputs."""

    method: str
    inputs: str
    t_d: float | None  # of the filter
    stats: Stats


@dataclass(frozen=True, slots=True)
class GroupLines:
    """All methods in one group."""

    kind: str
    name: str
    lines: tuple[Line, ...]

    def line(self, method: str, inputs: str) -> Line | None:
        """One of them, if there is one."""
        found = (x for x in self.lines if (x.method, x.inputs) == (method, inputs))
        return next(found, None)


@dataclass(frozen=True, slots=True)
class Soil:
    """One judged soil."""

    scenario: int
    texture: str
    cover: str
    precipitation_over_et0: float
    rmse: dict[str, float]  # by method [m3 m-3]


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Everything that the page shows."""

    bundle: Bundle
    run_folder: Path
    provenance: dict[str, Any]
    runtime: str
    seed: int  # of the campaign that it is judged on
    spin_up_d: int
    snow_share: float  # of the days
    overall: GroupLines
    groups: tuple[GroupLines, ...]
    verdict: tuple[Shortfall, ...]  # empty: no group in which the model falls short
    layers: tuple[LayerLine, ...]
    ages: tuple[Curve, ...]
    outages: tuple[Curve, ...]
    soils: tuple[Soil, ...]
    seconds: dict[str, float]
    reference: dict[str, Any] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Labels of the sets of inputs, the least first."""
        return tuple(x.inputs for x in self.overall.lines if x.method == NETWORK)


OVERALL, IN_GROUPS = (0.87, 0.93), (0.80, 0.97)  # coverage that is asked for


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A group in which the network, with some inputs, is not what is asked for."""

    kind: str
    group: str
    inputs: str
    soils: int
    days: int
    rmse: float  # [m3 m-3]
    of_cosmic: float  # RMSE over that of the COSMIC inversion
    of_filter: float  # over that of the inversion with the best filter; asked for: under 1
    coverage_90: float  # asked for: 0.80 to 0.97

    @property
    def beaten(self) -> bool:
        """The network is not better than the best filter."""
        return not self.of_filter < 1.0

    @property
    def outside(self) -> bool:
        """The 90 % interval is too narrow or too wide."""
        return not IN_GROUPS[0] <= self.coverage_90 <= IN_GROUPS[1]
