"""`epithermal-host retrain`: a released network's head, moved to a site if its data carry it."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference.bundle import Bundle, open_bundle
from epithermal_host.bundles.hidden_states import Hidden, head_input
from epithermal_host.compute.crew import crew
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.field.series import FieldSeries, load
from epithermal_host.field.site_toml import SiteFile, read_site
from epithermal_host.retraining import plot, rehearsal, text
from epithermal_host.retraining.bundle import release_bundle
from epithermal_host.retraining.head_fit import decide, too_few
from epithermal_host.retraining.rehearsal import Rehearsal
from epithermal_host.retraining.result import Options, Retraining
from epithermal_host.retraining.site_days import (
    level,
    probes_are_off,
    samples,
    site_days,
    streamed,
)

REPORT, DATA, PICTURE = "retrain.md", "retrain.json", "retrain.png"


def run(
    site_path: Path, parent_path: Path, out: Path | None = None, options: Options | None = None
) -> tuple[Retraining, Path, Path | None]:
    """Retrain and release, or decline; write retrain.md, retrain.json and a picture either way.

    Returns
    -------
    Retraining, folder, bundle
        The bundle's folder; None where it was declined.

    Raises
    ------
    ConfigError
        A faulty site file or campaign, or a site that cannot be calibrated.
    SourceError
        A site's file cannot be read.
    BundleError
        The parent is damaged, no runtime runs it, or it has no head to move.
    """
    options = options or Options()
    site_file, parent = read_site(site_path), open_bundle(parent_path)
    head_input(parent)  # refused before anything is simulated
    if not site_file.probes and site_file.sampling is None:
        raise ConfigError(f"{site_path}: neither [[probe]] nor [sampling]: nothing to retrain on")
    until_s = _until(options.until)
    out = out or Path(f"retrain-{site_file.name}")
    series = load(site_file, options.cosmic_n_cph)
    folder = options.campaign or rehearsal.own_campaign(parent, out, options.workers)
    with crew(options.workers) as who:
        remembered = rehearsal.rehearse(parent, folder, who, runtime_name=options.runtime)
        said = streamed(parent, series, who, options.runtime)
    done = retrain(
        site_file, parent, series, said, remembered, until_s, believe=options.believe_probes
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
    said: Hidden,
    remembered: Rehearsal,
    until_s: float = np.inf,
    *,
    believe: bool = False,
) -> Retraining:
    """The same without files.

    Parameters
    ----------
    said :
        As `retrain_site.streamed` gives it.
    until_s : [s, UTC]
        Days that end later are not used for fitting or for any choice. Samples of any day tell
        whether the probes are of the field: what calibrates a site is known once it is taken.
    believe :
        The owner knows that the probes are of the field.
    """
    taken = samples(site_file)
    used = series.day_end_s <= until_s
    days = site_days(series, said, used)
    reasons = [] if site_file.probes else ["the site has no probes"]
    if site_file.probes:
        off = "" if believe else probes_are_off(series, taken)
        reasons = [*([off] if off else []), *too_few(days, site_file.season)]
    decision = None if reasons else decide(days, remembered)
    if decision is not None:
        reasons = list(decision.reasons)
    lifted = None
    if reasons and taken.theta.size:
        lifted = level(series, said, taken, until_s)
    probed = series.judged & np.isfinite(series.truth) & np.isfinite(series.theta_classical)
    return Retraining(
        site_file=site_file,
        parent=parent,
        series=series,
        said=said,
        used=used & probed,
        judged=~used & probed,
        samples=taken,
        rehearsal=remembered,
        decision=decision,
        level=lifted,
        reasons=tuple(reasons),
        until_s=until_s,
    )


def _until(date: str) -> float:
    """End of a day [s, UTC]; without one, of all time."""
    if not date:
        return float("inf")
    try:
        day = datetime.date.fromisoformat(date)
    except ValueError as fault:
        raise ConfigError(f"--until {date}: not a date as 2024-10-31") from fault
    end = datetime.datetime.combine(day, datetime.time(), datetime.UTC) + datetime.timedelta(days=1)
    return end.timestamp()
