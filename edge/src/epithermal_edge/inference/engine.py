"""One record in; corrected record, estimate and new state out. The same for run and replay.

Pure: what the station remembers is a value, and the journal keeps it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference import estimator, irrigation, pipeline, qc
from epithermal_edge.inference.bundle import Bundle, StepFn
from epithermal_edge.inference.estimator import EstimatorState
from epithermal_edge.inference.features import FEATURES, Window, phase_of
from epithermal_edge.inference.irrigation import WaterState
from epithermal_edge.inference.pipeline import PipelineState
from epithermal_edge.inference.qc import QualityState
from epithermal_edge.inference.qc_limits import DEFAULT, Limits
from epithermal_edge.physics.cosmic import THETA_MAX
from epithermal_edge.physics.footprint import d86_cm
from epithermal_edge.physics.plant_water import STORAGE_MM, SoilWater
from epithermal_edge.records import NAN, CorrectedRecord, Estimate, Quality, RawRecord
from epithermal_edge.site import Site
from epithermal_edge.times import HOUR_S

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

    def fingerprint(self) -> str:
        """Hash what a state depends on: a state of another model or site is void."""
        text = f"{self.bundle.sha256} {self.site!r}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class EngineState:
    """Everything the station remembers."""

    pipeline: PipelineState
    quality: QualityState
    network: EstimatorState
    water: WaterState
    newest: Estimate  # of the newest window; its quality is that of the window


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one record gave."""

    record: RawRecord
    corrected: CorrectedRecord
    estimate: Estimate


def start(engine: Engine) -> EngineState:
    """Return the state before the first record."""
    return EngineState(
        pipeline=pipeline.start(1, engine.bundle.phases),
        quality=qc.start(1),
        network=estimator.start(engine.bundle),
        water=irrigation.start(engine.bundle.phases),
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
    limits, site = engine.limits, engine.site
    possible, doubts = qc.drop_impossible(limits, record)
    correction = pipeline.correct(site, state.pipeline, possible)
    checked, flags = qc.step(limits, site, state.quality, possible, correction.corrected)
    piped, corrected, windows = pipeline.add_record(
        site, state.pipeline, possible, correction, doubts | flags
    )
    quality = Quality(int(corrected.quality[0]))
    if any(math.isnan(float(getattr(record, name))) for name in engine.expects):
        quality |= Quality.WEATHER_MISSING
    if quality & Quality.LATE:
        late = replace(NOTHING, quality=quality | NOTHING.quality)
        return state, Outcome(record, corrected, late)
    network, past, newest = state.network, state.water, state.newest
    for window in windows:
        network, y = estimator.step(engine.step, engine.bundle, network, window)
        phase = phase_of(window.hour, engine.bundle.phases)
        newest = _estimate(engine, window, y, int(network.age[phase]))
        past = irrigation.remember(past, phase, newest, _rain_mm(window))
    estimate = replace(_with_water(engine, past, newest), quality=newest.quality | quality)
    new = EngineState(piped, checked, network, past, newest)
    return new, Outcome(record, corrected, estimate)


def newest(engine: Engine, state: EngineState) -> Estimate:
    """Return the newest estimate without the flags of a record; its quality is the window's."""
    return _with_water(engine, state.water, state.newest)


def rebuild(engine: Engine, records: Iterable[RawRecord]) -> EngineState:
    """Recompute the state from stored records, in the order in which they were processed."""
    state = start(engine)
    for record in records:
        state, _ = advance(engine, state, record)
    return state


def _rain_mm(window: Window) -> float:
    """Return the rain of the 24 h; NaN if unknown."""
    rain, known = (float(window.features[0, _COLUMN[k]]) for k in ("rain_mm", "rain_known"))
    return rain if known else NAN


def _with_water(engine: Engine, past: WaterState, newest: Estimate) -> Estimate:
    """Add the irrigation figures to the newest estimate if the soil is described."""
    if engine.soil_water is None or math.isnan(newest.window_end_s):
        return newest
    phase = phase_of(round(newest.window_end_s / HOUR_S), engine.bundle.phases)
    return irrigation.describe(engine.soil_water, past, phase, newest)


def _estimate(engine: Engine, window: Window, y: NDArray[np.float64], age: int) -> Estimate:
    """Build the estimate of a window from the network and the inversion."""
    quality = Quality(int(window.quality[0]))
    if age < engine.bundle.spin_up_steps:
        quality |= Quality.WARM_UP
    theta, sigma, *layers = map(float, y)
    if not all(map(math.isfinite, (theta, sigma, *layers))):
        theta, sigma, layers = NAN, NAN, [NAN] * len(layers)
        quality |= Quality.NO_MODEL
    elif not 0.0 <= theta <= THETA_MAX:
        theta, quality = _possible(theta), quality | Quality.CLIPPED
    theta_0_10, theta_10_30, theta_30_60 = map(_possible, layers)
    classical = float(window.theta_classical[0])
    site, wet = engine.site, theta if math.isfinite(theta) else classical
    bound = site.lattice_water_g_g + site.organic_water_g_g
    depth = d86_cm(wet, site.bulk_density_g_cm3, lattice_water_g_g=bound)
    return Estimate(
        window_end_s=window.hour * HOUR_S,
        theta=theta,
        theta_sigma=abs(sigma),
        theta_0_10=theta_0_10,
        theta_10_30=theta_10_30,
        theta_30_60=theta_30_60,
        theta_classical=classical,
        theta_classical_sigma=float(window.theta_classical_sigma[0]),
        d86_cm=float(depth),
        storage_mm=theta * STORAGE_MM,
        state_age_steps=age,
        quality=quality,
    )


def _possible(theta: float) -> float:
    """Clip theta to what a soil can hold; NaN stays NaN."""
    return theta if math.isnan(theta) else min(max(theta, 0.0), THETA_MAX)
