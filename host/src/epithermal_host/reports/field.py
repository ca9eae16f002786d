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
from epithermal_host.evaluation.metrics import Split
from epithermal_host.field.remarks import describe_shares
from epithermal_host.field.series import describe_snow
from epithermal_host.field.site_toml import SiteFile, read_sites
from epithermal_host.rendering.text import plain
from epithermal_host.reports import (
    field_calibrated,
    field_html,
    field_netcdf,
    field_plots,
    field_store,
)
from epithermal_host.reports.field_judge import estimate_site, evaluate_site
from epithermal_host.reports.field_result import (
    Calibrated,
    Estimated,
    FieldReport,
    Fitted,
    Line,
    Medians,
    Options,
    OwnRetraining,
    Place,
    Verdict,
)

PAGE, DATA = "field.html", "field.json"
VERDICTS = "network-minus-filter.png"
STATS = ("ubrmse", "rmse", "r", "bias")
PARTS = ("offset", "slow", "fast")


def run(
    bundle_path: Path,
    site_files: Sequence[Path],
    out: Path | None = None,
    options: Options | None = None,
) -> tuple[FieldReport, Path]:
    """Evaluate a bundle at real sites; write field.html, figures, field.json and, if asked, NetCDF.

    The estimates of each site are stored as soon as they are computed; a site whose inputs have
    not changed since is not computed again.

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
        sites = [_finished_site(file, bundle, out, who, options) for file in bar]
        report = judge_sites(bundle, sites, who, options, out)
    pictures = {f"{p.series.name}.png": _picture(p, out, options) for p in report.places}
    if any(place.differences for place in report.places):
        pictures[VERDICTS] = field_plots.verdicts(report.places)
    for name, content in pictures.items():
        write_atomic(out / name, content)
    write_atomic(out / PAGE, field_html.page(report, pictures, VERDICTS).encode("utf-8"))
    write_json(out / DATA, as_json(report))
    if options.netcdf:
        for place in report.places:
            field_netcdf.write(out / f"{place.series.name}.nc", place, bundle)
    return report, out / PAGE


def _finished_site(
    site_file: SiteFile, bundle: Bundle, out: Path, who: Crew, options: Options
) -> Estimated:
    """Return the estimates at a site, stored by an earlier run or computed and stored now.

    The results of a site computed now, without methods fitted on other sites, are written too.
    """
    key = field_store.hash_inputs(site_file, bundle, options.runtime)
    stored = field_store.path_of(out, site_file.name)
    done = field_store.restore(stored, key, site_file)
    if done is None:
        loaded = field_calibrated.load(site_file, bundle, who, options.runtime)
        done = estimate_site(bundle, Calibrated(site_file, *loaded), who, options.runtime)
        place = evaluate_site(bundle, done)
        write_json(stored.with_suffix(".json"), plain(_site_json(place)))
        write_atomic(stored.with_suffix(".png"), field_plots.picture(place))
        field_store.save(stored, key, done)  # last: what it stands for is complete
    return done


def _picture(place: Place, out: Path, options: Options) -> bytes:
    """Return the picture of a site, drawn already unless retrained networks are shown too."""
    drawn = field_store.path_of(out, place.series.name).with_suffix(".png")
    if options.campaign is None and drawn.is_file():
        return drawn.read_bytes()
    return field_plots.picture(place)


def judge_sites(
    bundle: Bundle,
    sites: Sequence[Estimated],
    who: Crew,
    options: Options,
    out: Path | None = None,
) -> FieldReport:
    """Score the estimates at all sites and, with a campaign, those of retrained networks.

    With `out`, retrained networks are stored there site by site and used by the next run.
    """
    fitted: Sequence[Fitted] = [Fitted((), ())] * len(sites)
    if options.campaign is not None:
        from epithermal_host.reports import field_retrained  # loads the simulation and numba

        calibrated = [site.site for site in sites]
        fitted = field_retrained.fit_sites(
            bundle, calibrated, who, options.campaign, options.runtime, out
        )
    places = [evaluate_site(bundle, x, y.estimates) for x, y in zip(sites, fitted, strict=True)]
    return FieldReport(
        bundle=bundle,
        runtime=sites[-1].runtime if sites else "",
        campaign=options.campaign.name if options.campaign else "",
        places=tuple(places),
        medians=compute_medians(places),
        verdicts=count_verdicts(places),
        own=tuple(own for x in fitted for own in x.own),
    )


def count_verdicts(places: Sequence[Place]) -> tuple[Verdict, ...]:
    """Compare the network with the best filter over the sites of each grade of truth."""
    out = []
    for grade in sorted({place.truth.grade for place in places}):
        known = [d for place in places if place.truth.grade == grade
                 for d in place.differences if d.against == place.best_filter]  # fmt: skip
        for inputs in dict.fromkeys(d.inputs for d in known):
            own = [d for d in known if d.inputs == inputs]
            out.append(
                Verdict(
                    grade=grade,
                    inputs=inputs,
                    sites=len(own),
                    ratio=_median([d.ratio for d in own]),
                    worst=max(d.ratio for d in own),
                    better=sum(d.ubrmse.high < 0.0 for d in own),
                    worse=sum(d.ubrmse.low > 0.0 for d in own),
                )
            )
    return tuple(out)


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
                slope_free=_median([x.slope_free.rmse for x in own]),
                split=Split(*(_median([getattr(x.split, part) for x in own]) for part in PARTS)),
                **stats,
            )
        )
    return tuple(out)


def table(report: FieldReport) -> str:
    """Format the results as lines of text."""
    lines = [
        f"{'site':18} {'method':29} {'inputs':16} {'days':>5} {'ubRMSE':>7} {'RMSE':>7} {'r':>6} "
        f"{'bias':>8} {'anchored':>9} {'in years':>9} {'offset':>7} {'slow':>6} {'fast':>6} "
        f"{'no slope':>8}"
    ]
    lines += [text for place in report.places for text in _site_lines(place)]
    lines += [
        f"{'median':18} {m.method:29} {m.inputs:16} {m.sites:5} {m.ubrmse:7.4f} {m.rmse:7.4f} "
        f"{m.r:6.3f} {m.bias:+8.4f} {m.rmse_anchored:9.4f} {m.ubrmse_in_years:9.4f} "
        f"{_parts(m.split, m.slope_free)}"
        for m in report.medians
    ]
    lines += [
        f"truth of grade {v.grade or '-'}, network, {v.inputs}: ubRMSE over the best filter's, "
        f"seen afterwards: median {v.ratio:.2f}, largest {v.worst:.2f} of {v.sites} sites; by the "
        f"90 % interval better at {v.better}, worse at {v.worse}"
        for v in report.verdicts
    ]
    lines += [text for x in report.own for text in _own_lines(x)]
    return "\n".join(lines)


def _site_lines(place: Place) -> list[str]:
    """Format the results at one site as lines of text."""
    series, lines = place.series, []
    for x in place.lines:
        anchored = f"{x.anchored.rmse:9.4f}" if x.anchored else f"{'':9}"
        p = x.probes
        lines.append(
            f"{series.name:18} {x.method:29} {x.inputs:16} {p.days:5} {p.ubrmse:7.4f} "
            f"{p.rmse:7.4f} {p.r:6.3f} {p.bias:+8.4f} {anchored} {x.ubrmse_in_years:9.4f} "
            f"{_parts(x.split, x.slope_free.rmse)}"
        )
    truth = place.truth
    grade = f"truth of grade {truth.grade}" if truth.grade else "no truth"
    lines.append(f"{series.name:18} {grade} ({truth.reason}): decides {truth.decides}")
    lines += [
        f"{series.name:18} network, {d.inputs} minus {d.against}: {d.ubrmse.value:+.4f} "
        f"({d.ubrmse.low:+.4f} to {d.ubrmse.high:+.4f}), ratio {d.ratio:.2f}"
        for d in place.differences
    ]
    lines.append(f"{series.name:18} {describe_shares(series.shares)}")
    lines.append(f"{series.name:18} {describe_snow(series.snow, series.day_end_s)}")
    return lines + [f"{series.name:18} warning: {note}" for note in place.notes]


def _parts(split: Split, slope_free: float) -> str:
    """Format the parts of an error."""
    return f"{split.offset:7.4f} {split.slow:6.4f} {split.fast:6.4f} {slope_free:8.4f}"


def _own_lines(own: OwnRetraining) -> list[str]:
    """Format the retraining of one site as lines of text."""
    lines = [f"{own.site}, retrained on its {own.given} (to {own.last_day}): {own.verdict}"]
    lines += [f"  reason: {reason}" for reason in own.reasons]
    lines += [
        f"{own.site:18} {x.method:29} {x.inputs:16} {x.stats.days:5} {x.stats.ubrmse:7.4f} "
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
            "sites": [_site_json(place) for place in report.places],
            "medians": [dataclasses.asdict(m) for m in report.medians],
            "verdicts": [dataclasses.asdict(v) for v in report.verdicts],
            "campaign": report.campaign,
            "own": [dataclasses.asdict(x) for x in report.own],
        }
    )
    return value


def _site_json(place: Place) -> dict[str, Any]:
    """Convert the results at one site to JSON values, NaN among them."""
    return {
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
        "notes": list(place.notes),
        "truth": dataclasses.asdict(place.truth),
        "best_filter": place.best_filter,
        "lines": [dataclasses.asdict(line) for line in place.lines],
        "differences": [dataclasses.asdict(d) for d in place.differences],
    }


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
