"""Evaluate a released bundle at real sites, calibrated on one sampling day; write the report."""

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
from epithermal_host.field.remarks import describe_shares
from epithermal_host.field.series import describe_snow
from epithermal_host.field.site_toml import read_sites
from epithermal_host.rendering.text import plain
from epithermal_host.reports import field_calibrated, field_html, field_netcdf, field_plots
from epithermal_host.reports.field_judge import evaluate_site
from epithermal_host.reports.field_result import (
    Calibrated,
    FieldReport,
    Line,
    Medians,
    Options,
    OwnRetraining,
    Place,
)

PAGE, DATA = "field.html", "field.json"
STATS = ("ubrmse", "rmse", "r", "bias")


def run(
    bundle_path: Path,
    site_files: Sequence[Path],
    out: Path | None = None,
    options: Options | None = None,
) -> tuple[FieldReport, Path]:
    """Evaluate a bundle at real sites; write field.html, figures, field.json and, if asked, NetCDF.

    Parameters
    ----------
    bundle_path, site_files :
        A released bundle; files of real sites (docs/field-evaluation.md).
    out :
        Folder of the report; by default field-NAME-VERSION in the working directory.

    Raises
    ------
    ConfigError
        A site file is faulty (all faults of all files are listed), a site cannot be calibrated, or
        the campaign is unusable.
    SourceError
        A site's file cannot be read.
    BundleError
        The bundle is damaged or no runtime can run it.
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
        report = evaluate_sites(bundle, sites, who, options)
    pictures = {f"{p.series.name}.png": field_plots.picture(p) for p in report.places}
    for name, content in pictures.items():
        write_atomic(out / name, content)
    write_atomic(out / PAGE, field_html.page(report, pictures).encode("utf-8"))
    write_json(out / DATA, as_json(report))
    if options.netcdf:
        for place in report.places:
            field_netcdf.write(out / f"{place.series.name}.nc", place, bundle)
    return report, out / PAGE


def evaluate_sites(
    bundle: Bundle, sites: Sequence[Calibrated], who: Crew, options: Options
) -> FieldReport:
    """Evaluate a bundle at calibrated sites without writing files."""
    places, own, runtime = [], [], ""
    streamed, population = [], None
    if options.campaign is not None:
        from epithermal_host.reports import field_retrained  # loads the simulation and numba
        from epithermal_host.retraining.rehearsal import rehearse

        population = rehearse(bundle, options.campaign, who, runtime_name=options.runtime)
        streamed = field_retrained.stream_sites(bundle, sites, who, options.runtime)
    for i, site in enumerate(sites):
        more = []
        if population is not None:
            more = field_retrained.estimate_from_others(streamed[i], streamed, population)
            own += field_retrained.retrain_on_parts(bundle, streamed[i], population)
        place, runtime = evaluate_site(bundle, site, who, options.runtime, more)
        places.append(place)
    campaign = options.campaign.name if options.campaign else ""
    return FieldReport(
        bundle, runtime, campaign, tuple(places), compute_medians(places), tuple(own)
    )


def compute_medians(places: Sequence[Place]) -> tuple[Medians, ...]:
    """Compute the medians over the sites for each method with each set of inputs."""
    lines = [line for place in places for line in place.lines]
    out = []
    for method, inputs in dict.fromkeys((x.method, x.inputs) for x in lines):
        own = [x for x in lines if (x.method, x.inputs) == (method, inputs)]
        stats = {name: _median([getattr(x.probes, name) for x in own]) for name in STATS}
        out.append(
            Medians(
                method=method,
                inputs=inputs,
                sites=len(own),
                rmse_anchored=_median([x.anchored.rmse for x in own if x.anchored]),
                ubrmse_settled=_median([x.settled.ubrmse for x in own if x.settled]),
                ubrmse_in_years=_median([x.ubrmse_in_years for x in own]),
                seasons=_season_medians(own),
                **stats,
            )
        )
    return tuple(out)


def table(report: FieldReport) -> str:
    """Format the results as lines of text."""
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
        series = place.series
        lines.append(f"{series.name:18} {describe_shares(series.shares)}")
        lines.append(f"{series.name:18} {describe_snow(series.snow, series.day_end_s)}")
        lines += [f"{series.name:18} warning: {note}" for note in series.notes]
    lines += [
        f"{'median':18} {m.method:28} {m.inputs:16} {m.sites:5} {m.ubrmse:7.4f} {m.rmse:7.4f} "
        f"{m.r:6.3f} {m.bias:+8.4f} {m.rmse_anchored:9.4f} {m.ubrmse_in_years:9.4f}"
        for m in report.medians
    ]
    lines += [text for x in report.own for text in _own_lines(x)]
    return "\n".join(lines)


def _own_lines(own: OwnRetraining) -> list[str]:
    """Format the retraining of one site as lines of text."""
    lines = [f"{own.site}, retrained on its {own.given} (to {own.last_day}): {own.verdict}"]
    lines += [f"  reason: {reason}" for reason in own.reasons]
    lines += [
        f"{own.site:18} {x.method:28} {x.inputs:16} {x.stats.days:5} {x.stats.ubrmse:7.4f} "
        f"{x.stats.rmse:7.4f} {x.stats.r:6.3f} {x.stats.bias:+8.4f}"
        for x in own.lines
    ]
    return lines


def as_json(report: FieldReport) -> dict[str, Any]:
    """Convert every result to JSON values; NaN becomes null."""
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
                    "network_n_cph": {x.inputs.label: x.n_cph for x in place.network_inputs},
                    "sampled_theta": place.series.sampled_theta,
                    "anchor": place.anchor,
                    "rain_share": place.rain_share,
                    "et0_share": place.et0_share,
                    "corrected_share": dataclasses.asdict(place.series.shares),
                    "snow_days": int(place.series.snow.snow.sum()),
                    "notes": list(place.series.notes),
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


def _season_medians(lines: Sequence[Line]) -> dict[str, tuple[int, float, float]]:
    """Compute for each season the number of sites, median ubRMSE [m3 m-3] and median r."""
    out = {}
    for name in dict.fromkeys(name for x in lines for name in x.seasons):
        stats = [x.seasons[name] for x in lines if name in x.seasons]
        out[name] = (len(stats), _median([s.ubrmse for s in stats]), _median([s.r for s in stats]))
    return out


def _median(values: Sequence[float]) -> float:
    finite = [v for v in values if np.isfinite(v)]
    return float(np.median(finite)) if finite else float("nan")
