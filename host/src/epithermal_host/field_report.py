"""A released bundle at real sites: one sampling day calibrates, probes judge, nothing is fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from epithermal_edge.bundle import Bundle, open_bundle
from epithermal_edge.errors import ConfigError
from epithermal_host import field_draw, field_html, field_n
from epithermal_host.baselines import COSMIC
from epithermal_host.field import FieldSeries
from epithermal_host.field_n import Shown
from epithermal_host.files import write_atomic, write_json
from epithermal_host.filters import FILTER_T_D, exponential_filter
from epithermal_host.metrics import Stats, rms, stats
from epithermal_host.parallel import Crew, crew
from epithermal_host.report import NETWORK
from epithermal_host.report_text import plain
from epithermal_host.series import NAMES
from epithermal_host.site_file import SiteFile, read_site
from epithermal_host.streams import answers
from epithermal_host.time_table import DAY_S

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

PAGE, DATA = "field.html", "field.json"
FILTERED = f"{COSMIC} + filter {FILTER_T_D:g} d"
MEDIANS = ("ubrmse", "rmse", "r", "bias")


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """One method's answers at a site."""

    method: str
    inputs: str  # of the network
    theta: Array  # (T,) [m3 m-3]
    sigma: Array | None  # (T,) [m3 m-3]


@dataclass(frozen=True, slots=True)
class Line:
    """How one method did at a site; all methods on the same days."""

    method: str
    inputs: str
    probes: Stats  # the judged days, the probes as truth
    anchored: Stats | None  # the probes shifted to the samples; None: no probes on that day
    settled: Stats | None  # as `probes`, without the days that the bundle calls warm-up
    ubrmse_in_years: float  # each calendar year's own bias taken out: N drifts [m3 m-3]


@dataclass(frozen=True, slots=True)
class Middle:
    """Medians over the sites."""

    method: str
    inputs: str
    sites: int
    ubrmse: float  # [m3 m-3]
    rmse: float  # [m3 m-3]
    r: float
    bias: float  # [m3 m-3]
    rmse_anchored: float  # [m3 m-3]
    ubrmse_settled: float  # [m3 m-3]
    ubrmse_in_years: float  # [m3 m-3]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One site, judged."""

    series: FieldSeries
    shown: tuple[Shown, ...]  # to the network, and with which N
    texture: str
    rain_share: float  # of the days with a known rain
    et0_share: float
    anchor: float  # what is added to the probes so that they agree with the samples; NaN
    estimates: tuple[Estimate, ...]
    lines: tuple[Line, ...]  # none where there is nothing to judge by


@dataclass(frozen=True, slots=True, eq=False)
class FieldReport:
    """Everything that the page shows."""

    bundle: Bundle
    runtime: str
    places: tuple[Place, ...]
    medians: tuple[Middle, ...]


def run(
    bundle_path: Path,
    site_files: Sequence[Path],
    out: Path | None = None,
    *,
    runtime_name: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> tuple[FieldReport, Path]:
    """Judge a bundle at real sites; write field.html, a picture a site, and field.json.

    Parameters
    ----------
    bundle_path, site_files :
        A released bundle; files of real sites, docs/field.md.
    out :
        Folder of the report; field-NAME-VERSION here by default.
    runtime_name, workers :
        As in `streams.answers`; processes.

    Raises
    ------
    ConfigError
        A faulty site file, with the faults of all; or a site that cannot be calibrated.
    SourceError
        A site's file cannot be read.
    BundleError
        The bundle is damaged or no runtime runs it.
    """
    bundle = open_bundle(bundle_path)
    out = out or Path(f"field-{bundle.name}-{bundle.version}")
    sites = _read_sites(site_files)
    places, runtime = [], ""
    with crew(workers) as who:
        for site in tqdm(sites, desc="sites", unit="site", disable=not progress):
            place, runtime = judge(bundle, site, who, runtime_name)
            places.append(place)
    report = FieldReport(bundle, runtime, tuple(places), medians(places))
    pictures = {f"{p.series.name}.png": field_draw.site(p) for p in places}
    for name, content in pictures.items():
        write_atomic(out / name, content)
    write_atomic(out / PAGE, field_html.page(report, pictures).encode("utf-8"))
    write_json(out / DATA, as_json(report))
    return report, out / PAGE


def judge(
    bundle: Bundle, site: SiteFile, who: Crew, runtime_name: str | None = None
) -> tuple[Place, str]:
    """All methods at one site; and the runtime's name."""
    series, shown = field_n.load(site, bundle, who, runtime_name)
    found = [Estimate(COSMIC, "", series.theta_classical, None)]
    filtered = exponential_filter(series.theta_classical[None], FILTER_T_D)[0]
    found.append(Estimate(FILTERED, "", filtered, None))
    runtime = ""
    for inputs in (x.inputs for x in shown):
        said = answers(
            bundle, inputs.features, who, restart=series.restart[None], runtime_name=runtime_name
        )
        found.append(Estimate(NETWORK, inputs.label, said.y[0, :, 0], said.y[0, :, 1]))
        runtime = said.runtime
    known = {name: float(series.features[:, NAMES.index(name)].mean())
             for name in ("rain_known", "et0_known")}  # fmt: skip
    anchor = anchor_of(series)
    place = Place(
        series=series,
        shown=shown,
        texture=site.texture,
        rain_share=known["rain_known"],
        et0_share=known["et0_known"],
        anchor=anchor,
        estimates=tuple(found),
        lines=_lines(bundle, series, anchor, found),
    )
    return place, runtime


def within_years(error: Array, judged: Mask, day_end_s: Array) -> float:
    """Root mean square error with the mean of each calendar year taken out [m3 m-3]."""
    middle = (day_end_s[judged] - 0.5 * DAY_S).astype("datetime64[s]")
    year = middle.astype("datetime64[Y]").astype(np.int64)
    _, which = np.unique(year, return_inverse=True)
    mean = np.bincount(which, error[judged]) / np.bincount(which)
    return rms(error[judged] - mean[which])


def anchor_of(series: FieldSeries) -> float:
    """What brings the probes to the samples' mean on the sampling day [m3 m-3]; NaN: no probes."""
    day = series.truth[series.day_end_s == series.sampling_end_s]
    return float(series.sampled_theta - day[0]) if day.size else float("nan")


def settled(restart: Mask, spin_up: int) -> Mask:
    """(T,) days whose state is older than the spin-up."""
    day = np.arange(restart.size)
    began = np.maximum.accumulate(np.where(restart, day, 0))
    return np.asarray(day - began >= spin_up)


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
    return "\n".join(lines)


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
        }
    )
    return value


def _lines(
    bundle: Bundle, series: FieldSeries, anchor: float, found: Sequence[Estimate]
) -> tuple[Line, ...]:
    judged = series.judged & np.isfinite(series.truth) & np.isfinite(series.theta_classical)
    if not judged.any():
        return ()
    old = judged & settled(series.restart, bundle.spin_up_steps)
    truth, out = series.truth[None], []
    for e in found:
        sigma = None if e.sigma is None else e.sigma[None]
        anchored = late = None
        if np.isfinite(anchor):
            anchored = stats(truth + anchor, e.theta[None], judged[None], sigma)
        if old.any():
            late = stats(truth, e.theta[None], old[None], sigma)
        own = stats(truth, e.theta[None], judged[None], sigma)
        in_years = within_years(e.theta - series.truth, judged, series.day_end_s)
        out.append(Line(e.method, e.inputs, own, anchored, late, in_years))
    return tuple(out)


def _median(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.median(known)) if known else float("nan")


def _read_sites(paths: Sequence[Path]) -> list[SiteFile]:
    """All of them, or the faults of all."""
    faults: list[str] = []
    sites: list[SiteFile] = []
    for path in paths:
        try:
            sites.append(read_site(path))
        except ConfigError as error:
            faults += error.faults
    names = [site.name for site in sites]
    faults += [f"{name}: two site files have this name" for name in {n for n in names
               if names.count(n) > 1}]  # fmt: skip
    if faults:
        raise ConfigError(*faults)
    return sites
