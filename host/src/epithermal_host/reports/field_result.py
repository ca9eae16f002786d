"""Hold every figure of the report on real sites: estimates, lines, places, medians."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from epithermal_edge.inference.bundle import Bundle
from epithermal_host.arrays import Array
from epithermal_host.evaluation.metrics import Stats
from epithermal_host.field.series import FieldSeries
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.reports.field_calibrated import Shown
from epithermal_host.retraining.site_days import Samples


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
    seasons: dict[str, Stats]  # of those with enough days, against the probes
    sampled: Sampled | None  # None: no sampling day but the one that calibrates


@dataclass(frozen=True, slots=True)
class Sampled:
    """Against the samples' mean of 0-30 cm, without the day that calibrates."""

    days: int
    rmse: float  # [m3 m-3]
    bias: float  # [m3 m-3]


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A site before it is judged."""

    file: SiteFile
    series: FieldSeries  # with COSMIC's N
    shown: tuple[Shown, ...]  # to the network, with its own N


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One site, judged."""

    series: FieldSeries
    shown: tuple[Shown, ...]  # to the network, and with which N
    site_file: SiteFile
    rain_share: float  # of the days with a known rain
    et0_share: float
    anchor: float  # what is added to the probes so that they agree with the samples; NaN
    samples: Samples
    estimates: tuple[Estimate, ...]
    lines: tuple[Line, ...]  # none where there is nothing to judge by

    @property
    def texture(self) -> str:
        """As the site file has it."""
        return self.site_file.texture


@dataclass(frozen=True, slots=True)
class LaterLine:
    """One method on days after those that a retraining was given."""

    method: str
    inputs: str
    stats: Stats  # each year's own bias taken out; the method's own level for rmse and bias


@dataclass(frozen=True, slots=True)
class Own:
    """A site's network retrained on the begin of its record, judged on what follows."""

    site: str
    given: str
    last_day: str
    verdict: str
    reasons: tuple[str, ...]
    later: str  # which days judge
    lines: tuple[LaterLine, ...]


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
    seasons: dict[str, tuple[int, float, float]]  # sites, ubRMSE, r


@dataclass(frozen=True, slots=True, eq=False)
class FieldReport:
    """Everything that the page shows."""

    bundle: Bundle
    runtime: str
    campaign: str  # whose soils a retrained head must not forget; empty: nothing was fitted
    places: tuple[Place, ...]
    medians: tuple[Middle, ...]
    own: tuple[Own, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """How it is judged."""

    campaign: Path | None = None  # RUN; with it also what retraining does
    runtime: str | None = None
    workers: int | None = None
    progress: bool = True
