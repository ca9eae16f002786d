"""Format the report on simulated soils as lines of text and as JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from epithermal_host.evaluation.groups import DEFINITIONS
from epithermal_host.evaluation.methods import response_in
from epithermal_host.rendering.text import plain
from epithermal_host.reports.simulated_result import Report


def table(report: Report) -> str:
    """Format the overall scores and the shortfalls as lines of text."""
    name = report.overall.inversion
    inversion = response_in(name)
    lines = [
        f"{'method':31} {'inputs':17} {'RMSE':>7} {'of ' + inversion:>9} {'ubRMSE':>7} {'bias':>8} "
        f"{'r':>6} {'KGE':>6}  in 90 %"
    ]
    for line in report.overall.lines:
        s, inverted = line.stats, report.overall.line(name, line.inputs)
        ratio = s.rmse / inverted.stats.rmse if inverted else float("nan")
        inside = f"{s.coverage_90:8.1%}" if math.isfinite(s.coverage_90) else ""
        lines.append(
            f"{line.method:31} {line.inputs:17} {s.rmse:7.4f} {ratio:9.2f} {s.ubrmse:7.4f} "
            f"{s.bias:+8.4f} {s.r:6.3f} {s.kge:6.3f} {inside}".rstrip()
        )
    lines += [
        f"{x.layer:31} {x.inputs:17} {x.stats.rmse:7.4f} {'':9} {x.stats.ubrmse:7.4f} "
        f"{x.stats.bias:+8.4f} {x.stats.r:6.3f} {x.stats.kge:6.3f}"
        for x in report.layers
    ]
    for x in report.verdict:
        why = ["not more accurate than the best filter"] if x.not_better else []
        why += [f"90 % interval covers {x.coverage_90:.0%}"] if x.miscovered else []
        lines.append(f"falls short: {x.kind} {x.group}, {x.inputs}: {'; '.join(why)}")
    return "\n".join(lines)


def as_json(report: Report) -> dict[str, Any]:
    """Convert the report to JSON values; NaN becomes null."""
    bundle = report.bundle
    skip = ("bundle", "run_folder", "provenance", "responses")
    fields = {f.name: getattr(report, f.name) for f in dataclasses.fields(report)}
    value = {
        "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
        "run": report.run_folder.name,
        "definitions": DEFINITIONS,
        **{name: content for name, content in fields.items() if name not in skip},
    }
    content: dict[str, Any] = plain(value)
    return content
