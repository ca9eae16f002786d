"""Evaluate a released bundle on unseen simulated soils, and write the report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import Bundle, open_bundle
from epithermal_host.arrays import Mask
from epithermal_host.bundles.streams import estimate_series
from epithermal_host.compute.crew import Crew, crew
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.evaluation import particle_filter
from epithermal_host.evaluation.baselines import baselines
from epithermal_host.evaluation.evaluate import judged_days, with_weather
from epithermal_host.evaluation.groups import groups
from epithermal_host.evaluation.layers import LayerLine, columns, layer_lines
from epithermal_host.evaluation.methods import NETWORK, best_filtered, input_sets, network_with
from epithermal_host.evaluation.metrics import Stats, rms, stats
from epithermal_host.evaluation.result import Estimate, Judged, Options
from epithermal_host.evaluation.stream_age import outages, since_start
from epithermal_host.evaluation.unseen import provenance, read_unseen
from epithermal_host.reports import simulated_html, simulated_plots, simulated_text
from epithermal_host.reports.simulated_result import GroupLines, Line, Report, Shortfall, Soil
from epithermal_host.training.series import LAYERS, Series

PAGE, DATA = "report.html", "report.json"


def run(
    bundle_path: Path, run_folder: Path, out: Path | None = None, options: Options | None = None
) -> tuple[Report, Path]:
    """Evaluate a bundle on a run; write report.html, its figures as PNG, and report.json.

    Parameters
    ----------
    bundle_path, run_folder :
        A released bundle; a campaign with its data set.
    out :
        Folder of the report; RUN/report-NAME-VERSION by default.
    Returns
    -------
    Report, Path
        The results, and the path of the page.

    Raises
    ------
    ConfigError
        The run has no soils or no days on which the bundle may be evaluated.
    BundleError
        The bundle is damaged or no runtime can run it.
    """
    options = options or Options()
    bundle = open_bundle(bundle_path)
    out = out or run_folder / f"report-{bundle.name}-{bundle.version}"
    judged, report = evaluate_bundle(bundle, run_folder, options)
    pictures = simulated_plots.pictures(report, judged)
    for name, content in pictures.items():
        write_atomic(out / name, content)
    write_atomic(out / PAGE, simulated_html.page(report, pictures).encode("utf-8"))
    write_json(out / DATA, simulated_text.as_json(report))
    return report, out / PAGE


def evaluate_bundle(bundle: Bundle, run_folder: Path, options: Options) -> tuple[Judged, Report]:
    """Evaluate a bundle on a run without writing files."""
    clock = _Clock()
    unseen = read_unseen(bundle, run_folder, options.every_soil)
    series, spin_up = unseen.series, bundle.spin_up_steps
    days = judged_days(series, spin_up)
    if not days.any():
        raise ConfigError(f"{run_folder}: no day to evaluate after {spin_up} days of spin-up")
    clock.lap("reading")
    site = unseen.places.inverted_by
    methods = baselines(series.theta_classical, site, series.theta, days, series.snow)
    clock.lap("baselines")
    with crew(options.workers) as who:
        estimates, name = _run_network(bundle, series, who, options)
        judged = Judged(unseen, days, methods, estimates, name)
        clock.lap("network")
        dark = outages(bundle, judged, who, options)
        clock.lap("outages")
        reference = None
        if options.reference_soils:
            soils, progress = options.reference_soils, options.progress
            reference = particle_filter.compare(judged, run_folder, soils, who, progress)
            clock.lap("particle filter")
    group_lines = tuple(
        GroupLines(group.kind, group.name, lines)
        for group in groups(unseen.places, series.theta)
        if (lines := _score_methods(judged, days & group.rows))
    )
    report = Report(
        bundle=bundle,
        run_folder=run_folder,
        provenance=provenance(bundle),
        runtime=name,
        seed=unseen.places.seed,
        spin_up_d=spin_up,
        snow_share=float(series.snow.mean()),
        overall=GroupLines("all", "all soils and days", _score_methods(judged, days)),
        groups=group_lines,
        verdict=list_shortfalls(group_lines, [e.inputs.label for e in estimates]),
        layers=_score_layers(judged),
        ages=since_start(judged),
        outages=dark,
        soils=_score_soils(judged),
        seconds=clock.laps,
        reference=reference,
        responses=tuple(np.unique(unseen.places.site.response).tolist()),
    )
    clock.lap("tables")
    return judged, report


def _run_network(
    bundle: Bundle, series: Series, who: Crew, options: Options
) -> tuple[tuple[Estimate, ...], str]:
    out, name = [], ""
    for inputs in input_sets(series.features, with_weather(series)):
        stream = estimate_series(
            bundle,
            inputs.features[inputs.soils],
            who,
            runtime_name=options.runtime,
            title=inputs.label,
            progress=options.progress,
        )
        y = np.full((*series.theta.shape, stream.y.shape[-1]), np.nan)
        y[inputs.soils] = stream.y
        layers = {layer: y[..., i] for layer, i in columns(bundle.outputs).items()}
        out.append(Estimate(inputs, y[..., 0], y[..., 1], layers))
        name = stream.runtime
    return tuple(out), name


def _score_methods(judged: Judged, rows: Mask) -> tuple[Line, ...]:
    """Score all methods on some days, for each set of inputs on the soils that have it."""
    truth, out = judged.unseen.series.theta, []
    scores: dict[bytes, list[Stats]] = {}  # of the baselines, by soils: many sets share them
    for estimate in judged.estimates:
        own = rows & estimate.inputs.soils[:, None]
        if not own.any():
            continue
        key, label = estimate.inputs.soils.tobytes(), estimate.inputs.label
        if key not in scores:
            scores[key] = [stats(truth, b.theta, own) for b in judged.baselines]
        named = zip(judged.baselines, scores[key], strict=True)
        out += [Line(b.name, label, b.t_d, s) for b, s in named]
        own_stats = stats(truth, estimate.theta, own, estimate.sigma)
        out.append(Line(NETWORK, label, None, own_stats))
    return tuple(out)


def _score_layers(judged: Judged) -> tuple[LayerLine, ...]:
    """Score the layers for each set of inputs; empty if bundle or data set has no layers."""
    series = judged.unseen.series
    labels = {name: series.layers[..., i] for i, name in enumerate(LAYERS)}
    out: list[LayerLine] = []
    for e in judged.estimates:
        own = judged.days & e.inputs.soils[:, None]
        inverted = series.theta_classical
        out += layer_lines(e.inputs.label, e.layers, labels, e.theta, inverted, own)
    return tuple(out)


def _score_soils(judged: Judged) -> tuple[Soil, ...]:
    """Score each soil that has an evaluated day."""
    series, places = judged.unseen.series, judged.unseen.places
    shown = (judged.inversion, best_filtered(judged.inversion))
    named = {b.name: b.theta for b in judged.baselines if b.name in shown}
    named |= {network_with(e.inputs.label): e.theta for e in judged.estimates}
    out = []
    for i in np.flatnonzero(judged.days.any(axis=1)).tolist():
        errors = {name: theta[i] - series.theta[i] for name, theta in named.items()}
        aridity = places.precipitation_mm[i].sum() / places.et0_mm[i].sum()
        out.append(
            Soil(
                scenario=int(series.scenario[i]),
                texture=places.texture[i],
                cover=places.cover[i],
                precipitation_over_et0=float(aridity),
                rmse={name: rms(error[judged.days[i]]) for name, error in errors.items()},
            )
        )
    return tuple(out)


def list_shortfalls(groups: Sequence[GroupLines], inputs: Sequence[str]) -> tuple[Shortfall, ...]:
    """List the groups in which the network falls short, by set of inputs and then by group."""
    out = []
    for label in inputs:
        for group in groups:
            own, inversion, filtered = (
                group.line(method, label)
                for method in (NETWORK, group.inversion, best_filtered(group.inversion))
            )
            if own is None or inversion is None or filtered is None:
                continue
            group_result = Shortfall(
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
            if group_result.not_better or group_result.miscovered:
                out.append(group_result)
    return tuple(out)


class _Clock:
    """Stopwatch for the seconds of each stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Store the seconds since the last call under a name."""
        now = time.monotonic()
        self.laps[name] = round(now - self._last, 2)
        self._last = now
