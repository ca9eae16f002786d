"""Where a released model falls short: groups that the best filter wins, intervals that miss."""

from __future__ import annotations

from collections.abc import Sequence

from epithermal_host.evaluation.methods import BEST_FILTERED, COSMIC, NETWORK
from epithermal_host.reports.simulated_result import GroupLines, Shortfall


def shortfalls(groups: Sequence[GroupLines], inputs: Sequence[str]) -> tuple[Shortfall, ...]:
    """All of them, by the inputs and then as the groups stand."""
    out = []
    for label in inputs:
        for group in groups:
            own, inversion, filtered = (
                group.line(method, label) for method in (NETWORK, COSMIC, BEST_FILTERED)
            )
            if own is None or inversion is None or filtered is None:
                continue
            found = Shortfall(
                kind=group.kind,
                group=group.name,
                inputs=label,
                soils=own.stats.soils,
                days=own.stats.days,
                rmse=own.stats.rmse,
                of_cosmic=own.stats.rmse / inversion.stats.rmse,
                of_filter=own.stats.rmse / filtered.stats.rmse,
                coverage_90=own.stats.coverage_90,
            )
            if found.beaten or found.outside:
                out.append(found)
    return tuple(out)
