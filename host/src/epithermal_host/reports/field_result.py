"""Define the results of the report on real sites: estimates, scores, places, medians."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from epithermal_edge.inference.bundle import Bundle
from epithermal_host.arrays import Array
from epithermal_host.evaluation.block_bootstrap import Interval
from epithermal_host.evaluation.methods import inversion_by
from epithermal_host.evaluation.metrics import SlopeFree, Split, Stats
from epithermal_host.field.remarks import warn_without_monitor
from epithermal_host.field.series import FieldSeries
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.reports.field_calibrated import NetworkInputs
from epithermal_host.retraining.site_days import Samples
from epithermal_host.retraining.truth_grade import Truth


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Estimates of one method at a site."""

    method: str
    inputs: str  # of the network; empty for other methods
    theta: Array  # (T,) [m3 m-3]
    sigma: Array | None  # (T,) [m3 m-3]


@dataclass(frozen=True, slots=True)
class Line:
    """Scores of one method at a site; all methods are scored on the same days."""

    method: str
    inputs: str
    probes: Stats  # all evaluated days, with the probes as truth
    anchored: Stats | None  # probes shifted to the samples; None: no probes on the sampling day
    settled: Stats | None  # as `probes`, without the days of the bundle's warm-up
    ubrmse_in_years: float  # without each calendar year's bias, because N drifts [m3 m-3]
    seasons: dict[str, Stats]  # against the probes; seasons with enough days
    sampled: Sampled | None  # None: no sampling day besides the calibration day
    split: Split  # of the error against the probes
    slope_free: SlopeFree  # of the probes on the estimate


@dataclass(frozen=True, slots=True)
class Difference:
    """ubRMSE of the network minus that of another method, on the same days."""

    inputs: str  # of the network
    against: str  # name of the other method
    ratio: float  # of the two ubRMSE
    ubrmse: Interval  # network minus the other; below 0: the network is better


@dataclass(frozen=True, slots=True)
class Sampled:
    """Scores against the samples' mean of 0-30 cm, without the calibration day."""

    days: int
    rmse: float  # [m3 m-3]
    bias: float  # [m3 m-3]


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A calibrated site before its evaluation."""

    file: SiteFile
    series: FieldSeries  # with the response's own scale
    network_inputs: tuple[NetworkInputs, ...]  # with the network's own N


@dataclass(frozen=True, slots=True, eq=False)
class Estimated:
    """A calibrated site with the estimates of the network; no score depends on them alone."""

    site: Calibrated
    networks: tuple[Estimate, ...]  # by set of inputs
    runtime: str
    profiles: int  # of probes in use


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """An evaluated site."""

    series: FieldSeries
    network_inputs: tuple[NetworkInputs, ...]  # with the network's own N
    site_file: SiteFile
    rain_share: float  # fraction of days with known rain
    et0_share: float  # fraction of days with known ET0
    anchor: float  # samples minus probes on the sampling day; NaN: no probes [m3 m-3]
    samples: Samples
    estimates: tuple[Estimate, ...]
    lines: tuple[Line, ...]  # empty: no day with probes to evaluate
    truth: Truth
    best_filter: str  # method with the smallest ubRMSE of all filters, seen afterwards; or empty
    differences: tuple[Difference, ...]  # network minus best filter, minus inversion

    @property
    def inversion(self) -> str:
        """Name of the inversion: the classical baseline, by the site's response."""
        return inversion_by(str(self.site_file.site.response))

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about the records, their corrections and the calibration."""
        return self.series.notes + warn_without_monitor(self.series.shares)

    @property
    def texture(self) -> str:
        """Texture from the site file."""
        return self.site_file.texture


@dataclass(frozen=True, slots=True)
class LaterLine:
    """Scores of one method on days after those used for a retraining."""

    method: str
    inputs: str
    stats: Stats  # ubRMSE without each year's bias; RMSE and bias with the method's own level


@dataclass(frozen=True, slots=True)
class OwnRetraining:
    """A retraining on the first part of a site's record, evaluated on later days."""

    site: str
    given: str  # name of the part
    last_day: str  # of the part
    verdict: str
    reasons: tuple[str, ...]  # for declining
    later: str  # first and last day of the evaluation
    lines: tuple[LaterLine, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What networks that are fitted to probes give at a site."""

    estimates: tuple[Estimate, ...]  # of a network fitted on the other sites
    own: tuple[OwnRetraining, ...]


@dataclass(frozen=True, slots=True)
class Medians:
    """Medians over the sites of one method with one set of inputs."""

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
    slope_free: float  # [m3 m-3]
    split: Split


@dataclass(frozen=True, slots=True)
class Verdict:
    """The network against the best filter at the sites of one grade of truth."""

    grade: str
    inputs: str
    sites: int
    ratio: float  # median of ubRMSE over that of the best filter
    worst: float  # largest of them
    better: int  # sites whose interval of the difference is below 0
    worse: int  # above 0


@dataclass(frozen=True, slots=True, eq=False)
class FieldReport:
    """Results of a bundle at real sites."""

    bundle: Bundle
    runtime: str
    campaign: str  # of the rehearsal when retraining; empty: nothing was fitted
    places: tuple[Place, ...]
    medians: tuple[Medians, ...]
    verdicts: tuple[Verdict, ...]
    own: tuple[OwnRetraining, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the report on real sites."""

    campaign: Path | None = None  # RUN for the rehearsal; None: retraining is not evaluated
    runtime: str | None = None
    workers: int | None = None
    progress: bool = True
    netcdf: bool = False  # also write the estimates of each site as NetCDF
