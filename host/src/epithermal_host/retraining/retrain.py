"""Run `epithermal-host retrain`: adapt a network's head to a site, if its data support it."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import Bundle, open_bundle
from epithermal_host.bundles.hidden_states import HiddenStates, head_input
from epithermal_host.compute.crew import crew
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.field.series import FieldSeries, load
from epithermal_host.field.site_toml import SiteFile, read_site
from epithermal_host.retraining import plot, rehearsal, text
from epithermal_host.retraining.bundle import release_bundle
from epithermal_host.retraining.head_fit import check_days, decide
from epithermal_host.retraining.rehearsal import Rehearsal
from epithermal_host.retraining.result import Options, Retraining
from epithermal_host.retraining.site_days import (
    check_probes,
    fit_level,
    read_samples,
    select_days,
    stream_network,
)

REPORT, DATA, PICTURE = "retrain.md", "retrain.json", "retrain.png"


def run(
    site_path: Path, parent_path: Path, out: Path | None = None, options: Options | None = None
) -> tuple[Retraining, Path, Path | None]:
    """Retrain and write a bundle, or decline; write retrain.md, retrain.json and a figure.

    Returns
    -------
    Retraining, folder, bundle
        Result, output folder, and the bundle's folder; None: declined.

    Raises
    ------
    ConfigError
        A faulty site file or campaign, or a site that cannot be calibrated.
    SourceError
        A site's file cannot be read.
    BundleError
        The parent is damaged, no runtime can run it, or it has no linear head.
    """
    options = options or Options()
    site_file, parent = read_site(site_path), open_bundle(parent_path)
    head_input(parent)  # raises before anything is simulated
    if not site_file.probes and site_file.sampling is None:
        raise ConfigError(f"{site_path}: neither [[probe]] nor [sampling]: nothing to retrain on")
    until_s = _end_of_day(options.until)
    out = out or Path(f"retrain-{site_file.name}")
    series = load(site_file, options.cosmic_n_cph)
    folder = options.campaign or rehearsal.simulate_campaign(parent, out, options.workers)
    with crew(options.workers) as who:
        population = rehearsal.rehearse(parent, folder, who, runtime_name=options.runtime)
        released = stream_network(parent, series, who, options.runtime)
    done = retrain(
        site_file,
        parent,
        series,
        released,
        population,
        until_s,
        believe_probes=options.believe_probes,
    )
    bundle = None
    if done.change is not None:
        bundle = release_bundle(done, out, options.name, options.version, options.key)
    write_atomic(out / PICTURE, plot.picture(done))
    write_json(out / DATA, text.as_json(done))
    write_atomic(out / REPORT, text.report(done).encode("utf-8"))
    return done, out, bundle


def retrain(
    site_file: SiteFile,
    parent: Bundle,
    series: FieldSeries,
    released: HiddenStates,
    population: Rehearsal,
    until_s: float = np.inf,
    *,
    believe_probes: bool = False,
) -> Retraining:
    """Retrain, or decline, without writing files.

    Parameters
    ----------
    released :
        Streams of the parent from `site_days.stream_network`.
    population :
        Simulated soils on which the error must not grow.
    until_s : [s, UTC]
        Days that end later are not used for fitting or for any choice. The check of the probes uses
        samples of any day, because calibration uses them too.
    believe_probes :
        Skip the check of the probes: the owner knows that they represent the field.
    """
    samples = read_samples(site_file)
    used = series.day_end_s <= until_s
    days = select_days(series, released, used)
    reasons = [] if site_file.probes else ["the site has no probes"]
    if site_file.probes:
        off = "" if believe_probes else check_probes(series, samples)
        reasons = [*([off] if off else []), *check_days(days, site_file.season)]
    decision = None if reasons else decide(days, population)
    if decision is not None:
        reasons = list(decision.reasons)
    level = None
    if reasons and samples.theta.size:
        level = fit_level(series, released, samples, until_s)
    probed = series.judged & np.isfinite(series.truth) & np.isfinite(series.theta_classical)
    return Retraining(
        site_file=site_file,
        parent=parent,
        series=series,
        released=released,
        used=used & probed,
        evaluated=~used & probed,
        samples=samples,
        rehearsal=population,
        decision=decision,
        level=level,
        reasons=tuple(reasons),
        until_s=until_s,
    )


def _end_of_day(date: str) -> float:
    """Return the end of a day given as ISO date [s, UTC]; infinity for an empty one."""
    if not date:
        return float("inf")
    try:
        day = datetime.date.fromisoformat(date)
    except ValueError as fault:
        raise ConfigError(f"--until {date}: not a date like 2024-10-31") from fault
    end = datetime.datetime.combine(day, datetime.time(), datetime.UTC) + datetime.timedelta(days=1)
    return end.timestamp()
