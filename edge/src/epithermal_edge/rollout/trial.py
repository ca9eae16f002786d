"""Try a candidate model beside the model in use: process the same records and compare.

A trial needs the journal alone, so a power cut costs nothing: past records are replayed, later
records are compared as they arrive, and after a restart everything is computed again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from epithermal_edge.inference import engine as engines
from epithermal_edge.inference.bundle import Bundle, StepFn
from epithermal_edge.inference.engine import Engine
from epithermal_edge.journal.history import JournalEntry
from epithermal_edge.records import Estimate, Quality

# The bounds are wide, because a better model may differ: golden vectors verify the numbers, a trial
# verifies that they are plausible on this station's records. docs/rollout.md gives the reasons.
MEAN_DIFFERENCE = 0.06  # to the model in use [m3 m-3]
LARGEST_DIFFERENCE = 0.25  # in any hour [m3 m-3]
MEAN_TO_CLASSICAL = 0.10  # to the classical inversion [m3 m-3]
LEAST_TO_CLASSICAL = 0.001  # a network that adds nothing returns the inversion [m3 m-3]
SIGMA_LEAST, SIGMA_MOST = 0.001, 0.15  # bounds of the mean sigma [m3 m-3]
SIGMA_OF_CURRENT = 1.5  # of the mean sigma to that of the model in use, in the same hours
CLIPPED_MORE = 0.02  # hours outside 0 to 0.9 m3 m-3, as a fraction beyond the model in use
SLOWER, STEP_S = 10.0, 1e-3  # a step may take 10 times as long, or 1 ms [s]


@dataclass(slots=True)
class Mean:
    """Mean and largest of absolute values."""

    count: int = 0
    sum: float = 0.0
    largest: float = 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        self.count += 1
        self.sum += abs(value)
        self.largest = max(self.largest, abs(value))

    @property
    def value(self) -> float:
        """Mean of the absolute values; 0 without values."""
        return self.sum / self.count if self.count else 0.0


@dataclass(slots=True)
class Tally:
    """Comparison of candidate and model in use, hour by hour."""

    hours: int = 0  # hours with an estimate of the candidate
    live_hours: int = 0  # of these, after the start of the trial
    not_finite: int = 0
    clipped: int = 0
    clipped_current: int = 0
    step_s: float = 0.0  # median time of a step, candidate and model in use [s]
    step_current_s: float = 0.0
    sigma: Mean = field(default_factory=Mean)
    sigma_shared: Mean = field(default_factory=Mean)  # in hours with both models, of the candidate
    sigma_current: Mean = field(default_factory=Mean)  # and of the model in use
    difference: Mean = field(default_factory=Mean)
    to_classical: Mean = field(default_factory=Mean)

    def add(self, new: Estimate, current: Estimate | None, live: bool) -> None:
        """Add an hour; `current` None: no estimate of the model in use is stored."""
        if new.quality & Quality.NO_MODEL or not math.isfinite(new.theta_sigma):
            self.not_finite += 1
            return
        self.hours += 1
        self.live_hours += live
        self.clipped += bool(new.quality & Quality.CLIPPED)
        self.sigma.add(new.theta_sigma)
        if math.isfinite(new.theta_classical):
            self.to_classical.add(new.theta - new.theta_classical)
        if current is not None:
            self.clipped_current += bool(current.quality & Quality.CLIPPED)
            if math.isfinite(current.theta):
                self.difference.add(new.theta - current.theta)
            if math.isfinite(current.theta_sigma):
                self.sigma_shared.add(new.theta_sigma)
                self.sigma_current.add(current.theta_sigma)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a trial, with its reason."""

    accepted: bool
    why: str


def judge(tally: Tally, live_hours: int) -> Verdict | None:
    """Judge a trial; return None while it has to continue.

    Parameters
    ----------
    live_hours :
        Live hours required to accept a candidate; it may be rejected earlier.
    """
    if tally.not_finite:
        return Verdict(False, "an estimate is not a number")
    allowed_s = max(SLOWER * tally.step_current_s, STEP_S)
    if tally.step_s > allowed_s:
        return Verdict(False, f"a step takes {1e3 * tally.step_s:.1f} ms: too slow")
    if tally.live_hours < live_hours:
        return None
    bounds = [
        ("difference to the model in use", tally.difference.value, 0.0, MEAN_DIFFERENCE),
        ("largest difference to it", tally.difference.largest, 0.0, LARGEST_DIFFERENCE),
    ]
    if tally.to_classical.count:
        to_classical = tally.to_classical.value
        least = LEAST_TO_CLASSICAL
        bounds.append(("difference to the inversion", to_classical, least, MEAN_TO_CLASSICAL))
    if tally.sigma_current.sum:
        ratio = tally.sigma_shared.value / tally.sigma_current.value
        bounds.append(("mean sigma relative to the model in use", ratio, 0.0, SIGMA_OF_CURRENT))
    if tally.hours:
        bounds.append(("mean sigma", tally.sigma.value, SIGMA_LEAST, SIGMA_MOST))
        more = (tally.clipped - tally.clipped_current) / tally.hours
        bounds.append(("fraction of hours out of range", max(more, 0.0), 0.0, CLIPPED_MORE))
    for what, value, least, most in bounds:
        if not least <= value <= most:
            return Verdict(False, f"{what} is {value:.4f}, not within {least:g} to {most:g}")
    return Verdict(True, describe(tally))


def describe(tally: Tally) -> str:
    """Describe a tally in one line."""
    return (
        f"{tally.hours} h, {tally.live_hours} of them live, mean difference"
        f" {tally.difference.value:.4f} m3/m3 to the model in use,"
        f" {tally.to_classical.value:.4f} to the inversion"
    )


class Shadow:
    """Engine with the candidate model that processes the records of the journal.

    Parameters
    ----------
    engine :
        Engine with the candidate.
    current :
        Name and version of the model in use, as the journal stores them with each estimate.
    since_seq :
        Number of the newest record at the start of the trial; later hours are live.
    """

    def __init__(self, engine: Engine, current: str, since_seq: int = -1) -> None:
        self.engine, self.state = engine, engines.start(engine)
        self.seq = 0  # number of the newest processed record
        self.tally = Tally()
        self._current, self._since_seq = current, since_seq
        self._window_s = math.nan  # end of the newest window

    def add_entries(self, entries: Sequence[JournalEntry]) -> None:
        """Process the next records, one at least, and compare with their stored estimates."""
        records = [entry.outcome.record for entry in entries]
        self.state, passed = engines.advance_many(self.engine, self.state, records)
        for entry, outcome in zip(entries, passed.outcomes(), strict=True):
            self._compare(entry, outcome.estimate)
        self.seq = entries[-1].seq

    def _compare(self, entry: JournalEntry, new: Estimate) -> None:
        current = entry.outcome.estimate
        if math.isnan(new.window_end_s) or new.window_end_s == self._window_s:
            return
        self._window_s = new.window_end_s
        same = entry.model == self._current and current.window_end_s == new.window_end_s
        self.tally.add(new, current if same else None, entry.seq > self._since_seq)


def median_step_s(step: StepFn, bundle: Bundle) -> float:
    """Return the median time of a step on the golden inputs [s]."""
    state, times = bundle.cold_state(), []
    for x in bundle.golden_inputs:
        begin = time.perf_counter()
        _, state = step(x, state)
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]
