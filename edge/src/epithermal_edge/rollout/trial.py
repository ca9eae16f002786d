"""A new model beside the one in use: the same records through both, and a verdict.

The journal is all that a trial needs, so that a power cut costs nothing of it: the records of the
past are replayed, those that come later are judged as they come, and after a new start all of it
is computed again.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field

from epithermal_edge.inference import engine as engines
from epithermal_edge.inference.bundle import Bundle, StepFn
from epithermal_edge.inference.engine import Engine
from epithermal_edge.journal.history import JournalEntry
from epithermal_edge.records import Estimate, Quality

# Bounds are wide, as a better model may differ: golden vectors prove the numbers, a trial that they
# are of use on this station's own records. docs/rollout.md has the reasons.
MEAN_DIFFERENCE = 0.06  # to the one in use [m3 m-3]
LARGEST_DIFFERENCE = 0.25  # of any hour [m3 m-3]
MEAN_TO_CLASSICAL = 0.10  # [m3 m-3]
SIGMA_LEAST, SIGMA_MOST = 0.001, 0.15  # bounds of the mean sigma [m3 m-3]
CLIPPED_MORE = 0.02  # part of the hours out of 0 to 0.9, beyond that of the one in use
SLOWER, STEP_S = 10.0, 1e-3  # a step may take so many times as long, or so long [s]


@dataclass(slots=True)
class Mean:
    """Of absolute values, with the largest."""

    count: int = 0
    sum: float = 0.0
    largest: float = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self.count += 1
        self.sum += abs(value)
        self.largest = max(self.largest, abs(value))

    @property
    def value(self) -> float:
        """The mean; 0 of nothing."""
        return self.sum / self.count if self.count else 0.0


@dataclass(slots=True)
class Tally:
    """What both said, hour by hour."""

    hours: int = 0  # that the new one had an answer to
    live_hours: int = 0  # of these, since the trial began
    not_finite: int = 0
    clipped: int = 0
    clipped_current: int = 0
    step_s: float = 0.0  # median time of a step of the new one and of the other [s]
    step_current_s: float = 0.0
    sigma: Mean = field(default_factory=Mean)
    difference: Mean = field(default_factory=Mean)
    to_classical: Mean = field(default_factory=Mean)

    def add(self, new: Estimate, current: Estimate | None, live: bool) -> None:
        """One hour; `current` None: told by another model than the one in use, or not kept."""
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a trial, with its figures."""

    accepted: bool
    why: str


def judge(tally: Tally, live_hours: int) -> Verdict | None:
    """What a trial says; None: it has to go on.

    Parameters
    ----------
    live_hours :
        That are asked for before a model is accepted; it may be rejected before.
    """
    if tally.not_finite:
        return Verdict(False, "an answer that is not a number")
    allowed_s = max(SLOWER * tally.step_current_s, STEP_S)
    if tally.step_s > allowed_s:
        return Verdict(False, f"a step takes {1e3 * tally.step_s:.1f} ms: too slow")
    if tally.live_hours < live_hours:
        return None
    bounds = [
        ("difference to the model in use", tally.difference.value, 0.0, MEAN_DIFFERENCE),
        ("largest difference to it", tally.difference.largest, 0.0, LARGEST_DIFFERENCE),
        ("difference to the inversion", tally.to_classical.value, 0.0, MEAN_TO_CLASSICAL),
    ]
    if tally.hours:
        bounds.append(("mean sigma", tally.sigma.value, SIGMA_LEAST, SIGMA_MOST))
        more = (tally.clipped - tally.clipped_current) / tally.hours
        bounds.append(("part of hours out of range", max(more, 0.0), 0.0, CLIPPED_MORE))
    for what, value, least, most in bounds:
        if not least <= value <= most:
            return Verdict(False, f"{what} is {value:.3f}, not within {least:g} to {most:g}")
    return Verdict(True, describe(tally))


def describe(tally: Tally) -> str:
    """The tally in a line."""
    return (
        f"{tally.hours} h, {tally.live_hours} of them live, mean difference"
        f" {tally.difference.value:.4f} m3/m3 to the one in use,"
        f" {tally.to_classical.value:.4f} to the inversion"
    )


class Shadow:
    """An engine that follows the journal.

    Parameters
    ----------
    engine :
        With the new model.
    current :
        Name and version of the one in use, as the journal tells who told an estimate.
    since_seq :
        Number of the record after which the trial is live.
    """

    def __init__(self, engine: Engine, current: str, since_seq: int = -1) -> None:
        self.engine, self.state = engine, engines.start(engine)
        self.seq = 0  # of the newest record that was taken in
        self.tally = Tally()
        self._current, self._since_seq = current, since_seq
        self._window_s = math.nan  # end of the newest window

    def add_entry(self, told: JournalEntry) -> None:
        """The next record, and what was told of it."""
        self.state, outcome = engines.advance(self.engine, self.state, told.outcome.record)
        self.seq = told.seq
        new, said = outcome.estimate, told.outcome.estimate
        if math.isnan(new.window_end_s) or new.window_end_s == self._window_s:
            return
        self._window_s = new.window_end_s
        same = told.model == self._current and said.window_end_s == new.window_end_s
        self.tally.add(new, said if same else None, told.seq > self._since_seq)


def median_step_s(step: StepFn, bundle: Bundle) -> float:
    """Median time of a step on the golden inputs [s]."""
    state, times = bundle.cold_state(), []
    for x in bundle.golden_inputs:
        begin = time.perf_counter()
        _, state = step(x, state)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
