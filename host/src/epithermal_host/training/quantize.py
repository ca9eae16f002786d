"""Quantize the step graph: choose the smallest scheme that reproduces the float network.

The schemes are the rungs of a ladder, smallest file first. Each rung is converted, then streamed
over years of test soils on every installed TFLite runtime. It passes when its largest error against
the float sequence graph is within the gate on all runtimes, and when the runtimes agree: they may
round an 8-bit state differently, and the state carries the difference for years. The first rung
that passes is released. Loading proves nothing: some combinations load and return wrong values.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from epithermal_edge.errors import BundleError, EpithermalError
from epithermal_edge.inference import runtime
from epithermal_edge.inference.bundle import StateTensor
from epithermal_host.arrays import Array32
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.compute.isolated_runtime import answer
from epithermal_host.config.learning import QuantizeConfig as QuantizeConfig
from epithermal_host.training import frameworks, kinds
from epithermal_host.training.network import WEIGHTS, Weights, read_weights
from epithermal_host.training.series import TEST, TRAIN, Series, counts_alone, read_series

MODEL = "model.tflite"
REPORT = "quantize.json"
DAYS_A_YEAR = 365.25
CALIBRATION_STEPS = 400  # of each of a few training soils, for activations in 16 bits


@dataclass(frozen=True, slots=True)
class Trial:
    """Errors of one rung on one runtime."""

    runtime: str
    max_error_m3_m3: float | None  # of all outputs; None if it does not run
    rmse_m3_m3: float | None  # of theta 0-30 cm
    fault: str | None  # reason why it does not run


@dataclass(frozen=True, slots=True)
class Rung:
    """One quantization scheme and its results."""

    scheme: str
    size_bytes: int | None  # None if the converter fails
    trials: tuple[Trial, ...]
    between_runtimes_m3_m3: float | None  # largest difference; None if fewer than two run
    fault: str | None  # of the converter
    passed: bool


@dataclass(frozen=True, slots=True)
class QuantizeResult:
    """All rungs, and the released one."""

    scheme: str  # of the released rung
    size_bytes: int
    sha256: str  # of the model file
    network_sha256: str  # of the network.npz that it was converted from
    gate_m3_m3: float
    agree_m3_m3: float
    days: int  # of all streams on each runtime
    stream_days: int  # of one stream, through which the state is carried
    rungs: tuple[Rung, ...]
    model_path: Path


def run(run_folder: Path, config: QuantizeConfig, *, progress: bool = True) -> QuantizeResult:
    """Quantize RUN/network.npz; write RUN/model.tflite and RUN/quantize.json.

    Every rung is tested, so that the report shows all.

    Raises
    ------
    ConfigError
        No data set or no network.
    EpithermalError
        No rung passes; the message contains the errors of the float32 rung.
    """
    series, weights = read_series(run_folder), read_weights(run_folder)
    network_sha256 = hashlib.sha256((run_folder / WEIGHTS).read_bytes()).hexdigest()
    stream = gate_stream(series.part(TEST), config.soils, config.years)
    expected = kinds.sequence(weights)(stream)
    stream = stream[..., weights.columns]
    rungs, models = [], {}
    for scheme in tqdm(SCHEMES, desc="quantize", unit="rung", disable=not progress):
        path = run_folder / "quantize" / f"{scheme}.tflite"
        rung = _test_scheme(scheme, weights, series, path, (stream, expected), config)
        rungs.append(rung)
        if rung.passed:
            models[scheme] = path.read_bytes()
    if not models:
        worst = rungs[-1]
        raise EpithermalError(f"no quantization passes the gate of {config.gate_m3_m3}: {worst}")
    scheme, content = next(iter(models.items()))
    write_atomic(run_folder / MODEL, content)
    result = QuantizeResult(
        scheme=scheme,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        network_sha256=network_sha256,
        gate_m3_m3=config.gate_m3_m3,
        agree_m3_m3=config.agree_m3_m3,
        days=int(stream.shape[0] * stream.shape[1]),
        stream_days=int(stream.shape[1]),
        rungs=tuple(rungs),
        model_path=run_folder / MODEL,
    )
    write_json(run_folder / REPORT, report(result))
    return result


def report(result: QuantizeResult) -> dict[str, Any]:
    """Convert a result to JSON, for quantize.json and bundle.toml."""
    value = dataclasses.asdict(result)
    del value["model_path"]
    return value


def gate_stream(series: Series, soils: int, years: float = 0.0) -> Array32:
    """Return features (2 R, T, F) of R streams: with all known inputs, then with counts alone.

    Where the series are shorter than `years`, a stream joins several soils; the first soils are
    used twice where the last stream would be too short.
    """
    known = series.features[:soils]
    soils, days = known.shape[:2]
    joined = max(1, math.ceil(years * DAYS_A_YEAR / days))
    streams = math.ceil(soils / joined)
    rows = np.arange(streams * joined) % soils
    known = known[rows].reshape(streams, joined * days, -1)
    return np.concatenate([known, counts_alone(known)])


def convert(scheme: str, weights: Weights, series: Series) -> bytes:
    """Convert the one-step graph to a TFLite file.

    Parameters
    ----------
    scheme :
        A key of `SCHEMES`.
    series :
        Its training soils calibrate activations where the scheme quantizes them.

    Raises
    ------
    RuntimeError, ValueError
        The converter fails.
    """
    _, tf = frameworks.load()
    module, function = kinds.kind(weights.kind).step_module(weights)
    with frameworks.quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        SCHEMES[scheme](converter, weights, series)
        content: bytes = converter.convert()
    return content


def _dynamic_int8(converter: Any, weights: Weights, series: Series) -> None:
    _, tf = frameworks.load()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # per channel: FULLY_CONNECTED version 12, which tflite-runtime 2.14 does not support
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True


def _int16x8(converter: Any, weights: Weights, series: Series) -> None:
    _, tf = frameworks.load()
    ops = tf.lite.OpsSet
    int16 = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    converter.target_spec.supported_ops = [int16, ops.TFLITE_BUILTINS]
    converter.representative_dataset = lambda: _calibration(weights, series)


def _float16(converter: Any, weights: Weights, series: Series) -> None:
    _, tf = frameworks.load()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _float32(converter: Any, weights: Weights, series: Series) -> None:
    pass


SCHEMES: dict[str, Callable[[Any, Weights, Series], None]] = {
    "dynamic_int8": _dynamic_int8,
    "int16x8": _int16x8,
    "float16": _float16,
    "float32": _float32,
}


def _calibration(weights: Weights, series: Series) -> Iterator[dict[str, Array32]]:
    """Yield inputs and preceding states of single steps of training soils."""
    train = series.part(TRAIN)
    names = [state.name for state in kinds.state_tensors(weights)]
    for features in gate_stream(train, 4)[:, :CALIBRATION_STEPS, weights.columns]:
        before = kinds.kind(weights.kind).states(weights, features)
        for x, *state in zip(features, *before, strict=True):
            tensors = zip(names, state, strict=True)
            yield {"x": x[None], **{name: value[None] for name, value in tensors}}


def _test_scheme(
    scheme: str,
    weights: Weights,
    series: Series,
    path: Path,
    gate: tuple[Array32, Array32],
    config: QuantizeConfig,
) -> Rung:
    try:
        content = convert(scheme, weights, series)
    except (RuntimeError, ValueError) as fault:
        return Rung(scheme, None, (), None, _first_line(fault), False)
    write_atomic(path, content)
    states = kinds.state_tensors(weights)
    tested = [_trial(name, path, states, *gate) for name in runtime.available()]
    trials = tuple(trial for trial, _ in tested)
    pairs = itertools.combinations([errors for _, errors in tested if errors is not None], 2)
    apart = max((float(np.max(np.abs(a - b))) for a, b in pairs), default=None)
    errors = [t.max_error_m3_m3 for t in trials]
    passed = bool(errors) and all(e is not None and e <= config.gate_m3_m3 for e in errors)
    agree = apart is None or apart <= config.agree_m3_m3
    return Rung(scheme, len(content), trials, apart, None, passed and agree)


def _trial(
    name: str, path: Path, states: tuple[StateTensor, ...], stream: Array32, expected: Array32
) -> tuple[Trial, NDArray[np.float64] | None]:
    """Stream one rung on one runtime; return also its error (R, T, K), or None."""
    try:
        outputs = answer(path, name, stream, states)
    except BundleError as fault:
        return Trial(name, None, None, _first_line(fault)), None
    error: NDArray[np.float64] = outputs.astype(np.float64) - expected
    if not np.isfinite(error).all():
        return Trial(name, None, None, "outputs that are not finite"), None
    rmse = float(np.sqrt(np.mean(error[..., 0] ** 2)))
    return Trial(name, float(np.max(np.abs(error))), rmse, None), error


def _first_line(fault: Exception) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]
