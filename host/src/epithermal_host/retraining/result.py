"""Define the result of a retraining: its data, the decision and the retrained estimates."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epithermal_edge.inference.bundle import Bundle
from epithermal_host.arrays import Array, Mask
from epithermal_host.bundles.hidden_states import HiddenStates
from epithermal_host.bundles.signing import SecretKey
from epithermal_host.field.series import FieldSeries
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.retraining.head_fit import Decision
from epithermal_host.retraining.rehearsal import Rehearsal
from epithermal_host.retraining.site_days import Level, Samples


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a retraining."""

    campaign: Path | None = None  # RUN for the rehearsal; None: a small one is simulated
    until: str = ""  # ISO date of the last day used; later days are for evaluation
    cosmic_n_cph: float | None = None  # as in station.toml; None: from the site's sampling day
    believe_probes: bool = False  # use probes even if they disagree with the samples
    name: str = ""  # of the bundle; empty: PARENT-SITE
    version: str = ""  # empty: the parent's
    key: SecretKey | None = None  # key that signs the bundle; None: unsigned
    runtime: str | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Retraining:
    """Data, decision and estimates of a retraining."""

    site_file: SiteFile
    parent: Bundle
    series: FieldSeries
    released: HiddenStates  # streams of the parent; the last set of inputs has the most
    used: Mask  # (T,) days available for fitting
    evaluated: Mask  # (T,) later days with probes, not used for fitting
    samples: Samples
    rehearsal: Rehearsal
    decision: Decision | None  # None: no fit to the probes was tried
    level: Level | None  # None: retrained on the probes, or no samples
    reasons: tuple[str, ...]  # why the probes are not used; empty: they are
    until_s: float  # end of the days available for fitting [s, UTC]

    @property
    def change(self) -> tuple[Array, float] | None:
        """w (H,) and b of w h + b, which is added to the estimate [m3 m-3]; None: declined."""
        if self.decision is not None and self.decision.w is not None:
            return self.decision.w, self.decision.b
        if self.level is not None and not self.level.reason:
            return np.zeros(self.released.h.shape[-1]), self.level.b
        return None

    def theta(self) -> Array:
        """Compute the retrained estimates (I, T) [m3 m-3]; if declined, return the parent's."""
        change = self.change
        if change is None:
            return self.released.theta
        return np.asarray(self.released.theta + self.released.h @ change[0] + change[1])

    @property
    def data_hash(self) -> str:
        """SHA-256 of the site's data that were fitted."""
        used = self.used & (self.series.day_end_s <= self.until_s)
        arrays = (self.series.features[used], self.series.truth[used], self.samples.theta)
        total = hashlib.sha256()
        for array in arrays:
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()
