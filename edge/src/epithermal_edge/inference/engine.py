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

from epithermal_edge.inference import estimator, pipeline
from epithermal_edge.inference import irrigation as water
from epithermal_edge.inference import qc as quality
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
        """What a state depends on: one made with another model or site is void."""
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
    """The state before the first record."""
    return EngineState(
        pipeline=pipeline.start(1, engine.bundle.phases),
        quality=quality.start(1),
        network=estimator.start(engine.bundle),
        water=water.start(engine.bundle.phases),
        newest=NOTHING,
    )


def advance(engine: Engine, state: EngineState, record: RawRecord) -> tuple[EngineState, Outcome]:
    """Take one record in.

    Parameters
    ----------
    record :
        Not one that was taken before. A record that ends before the last one changes nothing;
        its estimate is empty and flagged LATE.
    """
    limits, site = engine.limits, engine.site
    sieved, doubts = quality.sieve(limits, record)
    correction = pipeline.correct(site, state.pipeline, sieved)
    judged, flags = quality.step(limits, site, state.quality, sieved, correction.corrected)
    piped, corrected, windows = pipeline.take(
        site, state.pipeline, sieved, correction, doubts | flags
    )
    told = Quality(int(corrected.quality[0]))
    if any(math.isnan(float(getattr(record, name))) for name in engine.expects):
        told |= Quality.WEATHER_MISSING
    if told & Quality.LATE:
        return state, Outcome(record, corrected, replace(NOTHING, quality=told | NOTHING.quality))
    network, past, newest = state.network, state.water, state.newest
    for window in windows:
        network, y = estimator.step(engine.step, engine.bundle, network, window)
        phase = phase_of(window.hour, engine.bundle.phases)
        newest = _estimate(engine, window, y, int(network.age[phase]))
        past = water.remember(past, phase, newest, _rain_mm(window))
    estimate = replace(_with_water(engine, past, newest), quality=newest.quality | told)
    new = EngineState(piped, judged, network, past, newest)
    return new, Outcome(record, corrected, estimate)


def newest(engine: Engine, state: EngineState) -> Estimate:
    """What is known by now, as the next record would be told it; its quality is the window's."""
    return _with_water(engine, state.water, state.newest)


def rebuild(engine: Engine, records: Iterable[RawRecord]) -> EngineState:
    """The state after records that were taken before, in the order of their taking."""
    state = start(engine)
    for record in records:
        state, _ = advance(engine, state, record)
    return state


def _rain_mm(window: Window) -> float:
    """Rain of the 24 h; NaN where it is not known."""
    rain, known = (float(window.features[0, _COLUMN[k]]) for k in ("rain_mm", "rain_known"))
    return rain if known else NAN


def _with_water(engine: Engine, past: WaterState, newest: Estimate) -> Estimate:
    """The newest estimate with what it means for plants, where the soil is described."""
    if engine.soil_water is None or math.isnan(newest.window_end_s):
        return newest
    phase = phase_of(round(newest.window_end_s / HOUR_S), engine.bundle.phases)
    return water.told(engine.soil_water, past, phase, newest)


def _estimate(engine: Engine, window: Window, y: NDArray[np.float64], age: int) -> Estimate:
    """What the network and the inversion say of a window."""
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
    """Within what a soil can hold; NaN stays NaN."""
    return theta if math.isnan(theta) else min(max(theta, 0.0), THETA_MAX)
