"""Hold a retraining: what it was given, what was decided, and the changed answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epithermal_edge.inference.bundle import Bundle
from epithermal_host.arrays import Array, Mask
from epithermal_host.bundles.hidden_states import Hidden
from epithermal_host.bundles.signing import SecretKey
from epithermal_host.field.series import FieldSeries
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.retraining.head_fit import Decision
from epithermal_host.retraining.rehearsal import Rehearsal
from epithermal_host.retraining.site_days import (
    Level,
    Samples,
)


@dataclass(frozen=True, slots=True)
class Options:
    """How it is retrained."""

    campaign: Path | None = None  # RUN that is rehearsed; None: a small one is made
    until: str = ""  # ISO date: only days up to it are used, later ones are judged
    cosmic_n_cph: float | None = None  # as in station.toml; None: from the site's sampling day
    believe_probes: bool = False  # though the samples say that they are not of the field
    name: str = ""  # of the bundle; empty: PARENT-SITE
    version: str = ""  # empty: the parent's
    key: SecretKey | None = None  # signs the bundle; None: it is not signed
    runtime: str | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Retraining:
    """What went in, what was decided, and what the network answers."""

    site_file: SiteFile
    parent: Bundle
    series: FieldSeries
    said: Hidden  # by the parent; the last set of inputs is the fullest
    used: Mask  # (T,) days that could be used
    judged: Mask  # (T,) later days with probes, not used
    samples: Samples
    rehearsal: Rehearsal
    decision: Decision | None  # None: the probes were not tried
    level: Level | None  # None: the probes carry the retraining, or there are no samples
    reasons: tuple[str, ...]  # why the probes are not used; none: they are
    until_s: float  # end of the time that could be used [s, UTC]

    @property
    def change(self) -> tuple[Array, float] | None:
        """w (H,) and b: w h + b is added to the answer [m3 m-3]; None: declined."""
        if self.decision is not None and self.decision.w is not None:
            return self.decision.w, self.decision.b
        if self.level is not None and not self.level.reason:
            return np.zeros(self.said.h.shape[-1]), self.level.b
        return None

    def theta(self) -> Array:
        """(I, T) the retrained answer; the parent's where it was declined [m3 m-3]."""
        change = self.change
        if change is None:
            return self.said.theta
        return np.asarray(self.said.theta + self.said.h @ change[0] + change[1])

    @property
    def data_hash(self) -> str:
        """Of everything at the site that was fitted on."""
        used = self.used & (self.series.day_end_s <= self.until_s)
        arrays = (self.series.features[used], self.series.truth[used], self.samples.theta)
        total = hashlib.sha256()
        for array in arrays:
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()
