"""A released bundle at real sites: one sampling day calibrates, probes and samples judge."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from epithermal_edge.inference.bundle import Bundle, open_bundle
from epithermal_host.compute.crew import Crew, crew
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.field.site_toml import read_sites
from epithermal_host.rendering.text import plain
from epithermal_host.reports import field_calibrated, field_html, field_plots, field_retrained
from epithermal_host.reports.field_judge import judge
from epithermal_host.reports.field_result import (
    Calibrated,
    FieldReport,
    Line,
    Middle,
    Options,
    Own,
    Place,
)

PAGE, DATA = "field.html", "field.json"
MEDIANS = ("ubrmse", "rmse", "r", "bias")


def run(
    bundle_path: Path,
    site_files: Sequence[Path],
    out: Path | None = None,
    options: Options | None = None,
) -> tuple[FieldReport, Path]:
    """Judge a bundle at real sites; write field.html, a picture a site, and field.json.

    Parameters
    ----------
    bundle_path, site_files :
        A released bundle; files of real sites, docs/field.md.
    out :
        Folder of the report; field-NAME-VERSION here by default.

    Raises
    ------
    ConfigError
        A faulty site file, with the faults of all; a site that cannot be calibrated; no campaign.
    SourceError
        A site's file cannot be read.
    BundleError
        The bundle is damaged or no runtime runs it.
    """
    options = options or Options()
    bundle = open_bundle(bundle_path)
    out = out or Path(f"field-{bundle.name}-{bundle.version}")
    files = read_sites(site_files)
    bar = tqdm(files, desc="sites", unit="site", disable=not options.progress)
    with crew(options.workers) as who:
        sites = [
            Calibrated(f, *field_calibrated.load(f, bundle, who, options.runtime)) for f in bar
        ]
        report = judged(bundle, sites, who, options)
    pictures = {f"{p.series.name}.png": field_plots.site(p) for p in report.places}
    for name, content in pictures.items():
        write_atomic(out / name, content)
    write_atomic(out / PAGE, field_html.page(report, pictures).encode("utf-8"))
    write_json(out / DATA, as_json(report))
    return report, out / PAGE


def judged(bundle: Bundle, sites: Sequence[Calibrated], who: Crew, options: Options) -> FieldReport:
    """The same without files."""
    places, own, runtime = [], [], ""
    visited, population = [], None
    if options.campaign is not None:
        population = field_retrained.remembered(bundle, options.campaign, who, options.runtime)
        visited = field_retrained.visit(bundle, sites, who, options.runtime)
    for i, site in enumerate(sites):
        more = []
        if population is not None:
            more = field_retrained.on_others(visited[i], visited, population)
            own += field_retrained.on_own(bundle, visited[i], population)
        place, runtime = judge(bundle, site, who, options.runtime, more)
        places.append(place)
    campaign = options.campaign.name if options.campaign else ""
    return FieldReport(bundle, runtime, campaign, tuple(places), medians(places), tuple(own))


def medians(places: Sequence[Place]) -> tuple[Middle, ...]:
    """Over the sites, of each method with the same inputs."""
    lines = [line for place in places for line in place.lines]
    out = []
    for method, inputs in dict.fromkeys((x.method, x.inputs) for x in lines):
        own = [x for x in lines if (x.method, x.inputs) == (method, inputs)]
        told = {name: _median([getattr(x.probes, name) for x in own]) for name in MEDIANS}
        out.append(
            Middle(
                method=method,
                inputs=inputs,
                sites=len(own),
                rmse_anchored=_median([x.anchored.rmse for x in own if x.anchored]),
                ubrmse_settled=_median([x.settled.ubrmse for x in own if x.settled]),
                ubrmse_in_years=_median([x.ubrmse_in_years for x in own]),
                seasons=_seasons(own),
                **told,
            )
        )
    return tuple(out)


def table(report: FieldReport) -> str:
    """The figures as lines of text."""
    lines = [
        f"{'site':18} {'method':28} {'inputs':16} {'days':>5} {'ubRMSE':>7} {'RMSE':>7} {'r':>6} "
        f"{'bias':>8} {'anchored':>9} {'in years':>9}"
    ]
    for place in report.places:
        for x in place.lines:
            anchored = f"{x.anchored.rmse:9.4f}" if x.anchored else f"{'':9}"
            p = x.probes
            lines.append(
                f"{place.series.name:18} {x.method:28} {x.inputs:16} {p.days:5} {p.ubrmse:7.4f} "
                f"{p.rmse:7.4f} {p.r:6.3f} {p.bias:+8.4f} {anchored} {x.ubrmse_in_years:9.4f}"
            )
    lines += [
        f"{'median':18} {m.method:28} {m.inputs:16} {m.sites:5} {m.ubrmse:7.4f} {m.rmse:7.4f} "
        f"{m.r:6.3f} {m.bias:+8.4f} {m.rmse_anchored:9.4f} {m.ubrmse_in_years:9.4f}"
        for m in report.medians
    ]
    lines += [text for x in report.own for text in _own(x)]
    return "\n".join(lines)


def _own(own: Own) -> list[str]:
    """One site's retraining as lines of text."""
    found = [f"{own.site}, given its {own.given} (to {own.last_day}): {own.verdict}"]
    found += [f"  because: {reason}" for reason in own.reasons]
    found += [
        f"{own.site:18} {x.method:28} {x.inputs:16} {x.stats.days:5} {x.stats.ubrmse:7.4f} "
        f"{x.stats.rmse:7.4f} {x.stats.r:6.3f} {x.stats.bias:+8.4f}"
        for x in own.lines
    ]
    return found


def as_json(report: FieldReport) -> dict[str, Any]:
    """Every figure; what is not a number is null."""
    bundle = report.bundle
    value: dict[str, Any] = plain(
        {
            "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
            "runtime": report.runtime,
            "sites": [
                {
                    "name": place.series.name,
                    "texture": place.texture,
                    "cosmic_n_cph": place.series.cosmic_n_cph,
                    "network_n_cph": {x.inputs.label: x.n_cph for x in place.shown},
                    "sampled_theta": place.series.sampled_theta,
                    "anchor": place.anchor,
                    "rain_share": place.rain_share,
                    "et0_share": place.et0_share,
                    "lines": [dataclasses.asdict(line) for line in place.lines],
                }
                for place in report.places
            ],
            "medians": [dataclasses.asdict(m) for m in report.medians],
            "campaign": report.campaign,
            "own": [dataclasses.asdict(x) for x in report.own],
        }
    )
    return value


def _seasons(lines: Sequence[Line]) -> dict[str, tuple[int, float, float]]:
    """Of each season: sites that have it, median ubRMSE [m3 m-3] and r."""
    out = {}
    for name in dict.fromkeys(name for x in lines for name in x.seasons):
        found = [x.seasons[name] for x in lines if name in x.seasons]
        out[name] = (len(found), _median([s.ubrmse for s in found]), _median([s.r for s in found]))
    return out


def _median(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.median(known)) if known else float("nan")
