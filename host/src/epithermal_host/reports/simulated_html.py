"""Format the report on simulated soils as one HTML page: `templates/simulated.html`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from epithermal_host.bundles.streams import RESTART_D
from epithermal_host.evaluation.groups import DEFINITIONS
from epithermal_host.evaluation.methods import (
    NETWORK,
    best_filtered,
    network_with,
    response_in,
)
from epithermal_host.rendering.html import render
from epithermal_host.reports.simulated_result import (
    IN_GROUPS,
    OVERALL,
    GroupLines,
    Line,
    Report,
    Soil,
)

TEMPLATES = Path(__file__).parent / "templates"
WORST = 8
FEW_SOILS = 10  # scores of fewer soils do not represent their group
BETTER = (0.0, 0.99999)  # wanted ratio of the network's RMSE to the filter's


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of the network with one set of inputs."""

    inputs: str
    rmse: float  # [m3 m-3]
    rmse_inversion: float  # of the inversion [m3 m-3]
    coverage_90: float
    groups: int  # number of groups with scores
    better: int  # of these, groups in which it is more accurate than the best filter
    inside: int  # of these, groups with the required coverage


@dataclass(frozen=True, slots=True)
class Compared:
    """Scores of the network in one group; None if one of the methods is missing."""

    rmse: float | None = None  # [m3 m-3]
    of_cosmic: float | None = None
    of_filter: float | None = None
    bias: float | None = None  # [m3 m-3]
    coverage_90: float | None = None


def page(report: Report, pictures: Mapping[str, bytes]) -> str:
    """Return the page as text.

    Parameters
    ----------
    pictures :
        PNGs by file name, embedded into the page.
    """
    name = f"{report.bundle.name} {report.bundle.version}"
    short = {(x.kind, x.group) for x in report.verdict}
    return render(
        TEMPLATES,
        "simulated.html",
        title=f"{name}: report",
        name=name,
        report=report,
        pictures=pictures,
        trained=report.provenance.get("run", {}).get("campaign", {}),
        summaries=[_summarize(report, label) for label in report.inputs],
        short=[group for group in report.groups if (group.kind, group.name) in short],
        lines=list(_without_repeats(report)),
        worst=_worst(report),
        definitions=DEFINITIONS,
        restart_d=RESTART_D,
        few_soils=FEW_SOILS,
        network=NETWORK,
        inversion=report.overall.inversion,
        response=response_in(report.overall.inversion),
        best_filtered=best_filtered(report.overall.inversion),
        better=BETTER,
        overall=OVERALL,
        in_groups=IN_GROUPS,
        compare=_compare,
        group_title=_group_title,
        network_with=network_with,
    )


def _summarize(report: Report, label: str) -> Summary:
    methods = (NETWORK, report.overall.inversion)
    line, inversion = (report.overall.line(method, label) for method in methods)
    assert line and inversion
    groups = sum(g.line(NETWORK, label) is not None for g in report.groups)
    own = [x for x in report.verdict if x.inputs == label]
    return Summary(
        label,
        line.stats.rmse,
        inversion.stats.rmse,
        line.stats.coverage_90,
        groups,
        groups - sum(x.not_better for x in own),
        groups - sum(x.miscovered for x in own),
    )


def _group_title(group: GroupLines) -> str:
    """Return a group's name, with its kind if the name alone is ambiguous."""
    if group.kind in ("counting rate", "year"):
        return f"{group.kind} {group.name}"
    return f"{group.name} season" if group.kind == "season" else group.name


def _without_repeats(report: Report) -> Iterable[Line]:
    """Yield the lines; skip baselines of a set of inputs with as many soils as the first set."""
    soils = {x.inputs: x.stats.soils for x in report.overall.lines}
    first = report.inputs[0]
    for line in report.overall.lines:
        if line.method == NETWORK or line.inputs == first or soils[line.inputs] != soils[first]:
            yield line


def _compare(group: GroupLines, label: str) -> Compared:
    methods = (NETWORK, group.inversion, best_filtered(group.inversion))
    line, inversion, filtered = (group.line(method, label) for method in methods)
    if line is None or inversion is None or filtered is None:
        return Compared()
    return Compared(
        line.stats.rmse,
        line.stats.rmse / inversion.stats.rmse,
        line.stats.rmse / filtered.stats.rmse,
        line.stats.bias,
        line.stats.coverage_90,
    )


def _worst(report: Report) -> list[Soil]:
    """List the soils with the highest RMSE of the network with the most inputs."""
    last = network_with(report.inputs[-1])

    def key(soil: Soil) -> float:
        value = soil.rmse[last]
        return value if math.isfinite(value) else -1.0

    return sorted(report.soils, key=key, reverse=True)[:WORST]
