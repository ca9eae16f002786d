"""Records in; corrected records, estimates and new state out. The same for run and replay.

Pure: what the station remembers is a value, and the journal keeps it. A live record is a block of
one; a replay has blocks of thousands, with the same bits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference import estimator, irrigation, pipeline, qc, root_zone, snow
from epithermal_edge.inference.block import Array, Corrected, block_of
from epithermal_edge.inference.bundle import Bundle, StepFn
from epithermal_edge.inference.estimator import EstimatorState
from epithermal_edge.inference.features import FEATURES, HOURS, Integers, Windows, phase_of
from epithermal_edge.inference.irrigation import WaterState
from epithermal_edge.inference.pipeline import PipelineState
from epithermal_edge.inference.qc import QualityState
from epithermal_edge.inference.qc_limits import DEFAULT, Limits
from epithermal_edge.inference.snow import SnowRule, SnowState
from epithermal_edge.physics.cosmic import THETA_MAX
from epithermal_edge.physics.footprint import d86_cm
from epithermal_edge.physics.plant_water import STORAGE_MM, RootZone, SoilWater
from epithermal_edge.records import NAN, CorrectedRecord, Estimate, Quality, RawRecord
from epithermal_edge.site import Site
from epithermal_edge.times import HOUR_S

BLOCK = 4096  # records processed at once, and hours that they close
LONGEST_H = float(pipeline.RESTART_H + 2 * HOURS)  # a longer gap closes no more hours

_COLUMN = {feature.name: i for i, feature in enumerate(FEATURES)}
NOTHING = Estimate(NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0, Quality.NO_MODEL)
"""What is known before the first window."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What does not change while the station runs."""

    site: Site
    bundle: Bundle
    step: StepFn
    limits: Limits = DEFAULT  # of quality control
    expects: tuple[str, ...] = ()  # fields of RawRecord that the configuration promises
    soil_water: SoilWater | None = None  # None: not described; no state depends on it
    snow: SnowRule | None = snow.DEFAULT  # None: not looked for
    root_zone: RootZone | None = None  # None: no advice over it

    def fingerprint(self) -> str:
        """Hash what a state depends on: a state of another model or site is void."""
        text = f"{self.bundle.sha256} {self.site!r}"
        if self.snow != snow.DEFAULT:
            text += f" {self.snow!r}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class EngineState:
    """Everything the station remembers."""

    pipeline: PipelineState
    quality: QualityState
    network: EstimatorState
    water: WaterState
    snow: SnowState
    newest: Estimate  # of the newest window; its quality is that of the window


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one record gave."""

    record: RawRecord
    corrected: CorrectedRecord
    estimate: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What a block of T records gave."""

    records: Sequence[RawRecord]
    corrected: Corrected
    quality: Integers  # (T,) of the records themselves
    late: NDArray[np.bool_]  # (T,)
    estimates: Sequence[Estimate]  # the one before the block, then that of each window
    newest: NDArray[np.intp]  # (T,) index of the newest estimate

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcome of each record."""
        rows = zip(self.records, self.quality.tolist(), self.late, self.newest, strict=True)
        for row, (record, flags, late, newest) in enumerate(rows):
            estimate = NOTHING if late else self.estimates[newest]
            if flags:
                estimate = replace(estimate, quality=Quality(flags | int(estimate.quality)))
            corrected = pipeline.record_of(record.end_s, self.corrected, row)
            yield Outcome(record, corrected, estimate)


def start(engine: Engine) -> EngineState:
    """Return the state before the first record."""
    return EngineState(
        pipeline=pipeline.start(1, engine.bundle.phases),
        quality=qc.start(1),
        network=estimator.start(engine.bundle),
        water=irrigation.start(engine.bundle.phases),
        snow=snow.start(),
        newest=NOTHING,
    )


def advance(engine: Engine, state: EngineState, record: RawRecord) -> tuple[EngineState, Outcome]:
    """Process one record: quality control, corrections, network, irrigation.

    Parameters
    ----------
    record :
        Not one that was processed before. A record that ends before the last one changes nothing;
        its estimate is empty and flagged LATE.
    """
    state, passed = advance_many(engine, state, [record])
    return state, next(passed.outcomes())


def advance_many(
    engine: Engine, state: EngineState, records: Sequence[RawRecord]
) -> tuple[EngineState, Passed]:
    """Process records in their order, as `advance` does one by one and with the same bits.

    Parameters
    ----------
    records :
        One at least; `blocks` cuts a series into parts that fit into memory.
    """
    limits, site, block = engine.limits, engine.site, block_of(records)
    possible, doubts = qc.drop_impossible(limits, block)
    correction = pipeline.correct(site, state.pipeline, possible)
    late = correction.late
    checked, flags = qc.check(limits, site, state.quality, possible, correction.corrected, late)
    piped, corrected, windows = pipeline.add_records(
        site, state.pipeline, possible, correction, doubts | flags
    )
    quality = corrected.quality[:, 0]
    for name in engine.expects:
        missing = np.isnan(block.fields[name][:, 0])
        quality = quality | np.where(missing, int(Quality.WEATHER_MISSING), 0)
    network, y, age = estimator.run(engine.step, engine.bundle, state.network, windows)
    made = _estimates(engine, windows, y, age)
    cover, made = snow.hold(engine.snow, site, state.snow, windows, made, engine.bundle.phases)
    past, shown = _with_water(engine, state.water, windows, made)
    before = newest(engine, state)
    ended = np.cumsum(np.bincount(windows.closed_by, minlength=len(records)))
    passed = Passed(records, corrected, quality, late, (before, *shown), ended)
    if late.all():
        return state, passed
    last = made[-1] if made else state.newest
    return EngineState(piped, checked, network, past, cover, last), passed


def blocks(records: Iterable[RawRecord], most: int = BLOCK) -> Iterator[list[RawRecord]]:
    """Cut a series into blocks of `most` records or hours."""
    block: list[RawRecord] = []
    hours, last_s = 0.0, -math.inf
    for record in records:
        block.append(record)
        if last_s > -math.inf:
            hours += min(max(record.end_s - last_s, 0.0) / HOUR_S, LONGEST_H)
        last_s = record.end_s
        if len(block) >= most or hours >= most:
            yield block
            block, hours = [], 0.0
    if block:
        yield block


def play(engine: Engine, records: Iterable[RawRecord]) -> Iterator[Outcome]:
    """Process a series from a cold state and yield the outcome of each record."""
    state = start(engine)
    for block in blocks(records):
        state, passed = advance_many(engine, state, block)
        yield from passed.outcomes()


def newest(engine: Engine, state: EngineState) -> Estimate:
    """Return the newest estimate without the flags of a record; its quality is the window's."""
    estimate = state.newest
    if math.isnan(estimate.window_end_s):
        return estimate
    phase = phase_of(round(estimate.window_end_s / HOUR_S), engine.bundle.phases)
    return _describe(engine, state.water, phase, estimate)


def rebuild(engine: Engine, records: Iterable[RawRecord]) -> EngineState:
    """Recompute the state from stored records, in the order in which they were processed."""
    state = start(engine)
    for block in blocks(records):
        state, _ = advance_many(engine, state, block)
    return state


def _with_water(
    engine: Engine, state: WaterState, windows: Windows, made: Sequence[Estimate]
) -> tuple[WaterState, Sequence[Estimate]]:
    """Remember the water of windows; add the irrigation figures if the soil is described."""
    features = windows.features[:, 0]
    rain_mm, et0_mm = (
        np.where(features[:, _COLUMN[f"{what}_known"]] > 0.0, features[:, _COLUMN[name]], np.nan)
        for what, name in (("rain", "rain_mm"), ("et0", "et0_mm"))
    )
    storage_mm, theta_30_60 = irrigation.sure_water(made)
    phase = phase_of(windows.hour, engine.bundle.phases)
    past, then = irrigation.remember(state, phase, storage_mm, rain_mm, theta_30_60, et0_mm)
    if engine.soil_water is None and engine.root_zone is None:
        return past, made
    return past, [_describe(engine, then, k, estimate) for k, estimate in enumerate(made)]


def _describe(engine: Engine, state: WaterState, phase: int, estimate: Estimate) -> Estimate:
    """Add to an estimate what is derived with the described soil."""
    if engine.root_zone is not None:
        return root_zone.describe(engine.root_zone, state, phase, estimate)
    if engine.soil_water is not None:
        return irrigation.describe(engine.soil_water, state, phase, estimate)
    return estimate


def _estimates(engine: Engine, windows: Windows, y: Array, age: Integers) -> Sequence[Estimate]:
    """Build the estimates of windows from the network and the inversion."""
    finite = np.isfinite(y).all(axis=1)
    possible = np.where(finite[:, np.newaxis], y, np.nan)
    sigma = np.abs(possible[:, 1])
    possible = np.clip(possible, 0.0, THETA_MAX)
    theta = possible[:, 0]
    quality = windows.quality[:, 0]
    quality = quality | np.where(age < engine.bundle.spin_up_steps, int(Quality.WARM_UP), 0)
    quality |= np.where(finite, 0, int(Quality.NO_MODEL))
    quality |= np.where(finite & (theta != y[:, 0]), int(Quality.CLIPPED), 0)
    classical = windows.theta_classical[:, 0]
    site, wet = engine.site, np.where(finite, theta, classical)
    bound = site.lattice_water_g_g + site.organic_water_g_g
    depth = d86_cm(wet, site.bulk_density_g_cm3, lattice_water_g_g=bound)
    columns = (
        *(windows.hour * HOUR_S, theta, sigma, *possible[:, 2:].T),
        *(classical, windows.theta_classical_sigma[:, 0]),
        *(depth, theta * STORAGE_MM, age),
    )
    values = (column.tolist() for column in columns)
    return [Estimate(*row) for row in zip(*values, map(Quality, quality.tolist()), strict=True)]
