"""Evaluate a run's quantized model on unseen soils and compare it with the inversions.

Every method is evaluated on the same days: with a label, with counts, and after the spin-up. The
model runs as on a station, over years from one cold start.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from epithermal_edge.errors import ConfigError
from epithermal_edge.inference import estimator, runtime
from epithermal_edge.inference.bundle import OUTPUTS, zeros
from epithermal_edge.inference.runtime import joined
from epithermal_host.arrays import Array, Array32, Mask
from epithermal_host.compute.damage import DAMAGE
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.evaluation import evaluate_plot
from epithermal_host.evaluation.exponential_filter import FILTER_T_D, best_t, exponential_filter
from epithermal_host.evaluation.layers import columns, layer_lines
from epithermal_host.evaluation.methods import (
    COUNTS,
    NETWORK,
    WITH_SOIL,
    WITH_WEATHER,
    best_filtered,
    usual_filtered,
)
from epithermal_host.evaluation.metrics import Stats, rms, stats
from epithermal_host.rendering.text import plain
from epithermal_host.training.kinds import state_tensors
from epithermal_host.training.network import read_weights
from epithermal_host.training.series import (
    DESCRIPTION,
    LAYERS,
    NAMES,
    TEST,
    Series,
    counts_alone,
    mask,
    read_series,
)

OUTPUT_NAMES = tuple(name for name, _ in OUTPUTS)
REPORT = "evaluate.json"
PICTURE = "evaluate.png"
KNOWN_ENOUGH = 0.9  # least share of days with known rain and ET0 of a soil "with weather"


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of one method over all evaluated days of a group of soils."""

    method: str
    inputs: str  # COUNTS, WITH_WEATHER or WITH_SOIL
    stats: Stats


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """Content of RUN/evaluate.json."""

    scores: tuple[Score, ...]
    best_t_d: float  # of the filter, chosen on these soils, which favours the filter
    spin_up_steps: int  # days after the cold start that are not evaluated for any method
    runtime: str
    rmse_by_condition: dict[str, float]  # network with all known inputs [m3 m-3]
    rmse_of_soils: dict[str, float]  # with the same inputs: quantiles over soils [m3 m-3]
    rmse_of_layers: dict[str, float]  # with the same inputs: each layer, and inversion [m3 m-3]
    shortfalls: tuple[str, ...]  # why `release` refuses the model; empty if it is better
    model_sha256: tuple[str, ...]  # of the evaluated model files; several: an ensemble
    data_hash: str  # of the data set with the test soils
    picture_path: Path
    report_path: Path


def run(run_folder: Path, *, progress: bool = True) -> EvaluateResult:
    """Evaluate RUN/model.tflite on the test soils; write RUN/evaluate.json and RUN/evaluate.png.

    Raises
    ------
    ConfigError
        The data set, the training's report or the model is missing.
    BundleError
        No TFLite runtime can run the model.
    """
    result, png = judge([run_folder], progress=progress)
    write_atomic(result.picture_path, png)
    write_json(result.report_path, report(result))
    return result


def judge(run_folders: Sequence[Path], *, progress: bool = True) -> tuple[EvaluateResult, bytes]:
    """Evaluate the model of a run, or the models of several runs as an ensemble; write no file.

    Parameters
    ----------
    run_folders :
        The test soils of the first one are used.

    Returns
    -------
    EvaluateResult, picture as PNG

    Raises
    ------
    ConfigError, BundleError
        As `run`.
    """
    run_folder = run_folders[0]
    series = read_series(run_folder)
    test = series.part(TEST)
    spin_up = read_spin_up(run_folder)
    models = [_load_model(folder) for folder in run_folders]
    judged = judged_days(test, spin_up)
    if not judged.any():
        raise ConfigError(f"{run_folder}: no test day remains after {spin_up} days of spin-up")
    counts = stream(models, counts_alone(test.features), COUNTS, progress)
    weather = stream(models, mask(test.features, soil=True), WITH_WEATHER, progress)
    all_known = stream(models, test.features, "all inputs", progress)
    t_d = best_filter(test, judged)
    estimates = {
        "inversion": test.theta_classical,
        usual_filtered("inversion"): exponential_filter(without_snow(test), FILTER_T_D),
        best_filtered("inversion"): exponential_filter(without_snow(test), t_d),
    }
    known = with_weather(test)
    scores = _table(test, judged, estimates, counts, COUNTS, np.ones_like(known))
    if known.any():
        scores += _table(test, judged, estimates, weather, WITH_WEATHER, known)
    described = known & with_soil(test)
    if described.any():
        scores += _table(test, judged, estimates, all_known, WITH_SOIL, described)
    png = _picture(test, judged, estimates, all_known)
    result = EvaluateResult(
        scores=tuple(scores),
        best_t_d=t_d,
        spin_up_steps=spin_up,
        runtime=models[0].step.runtime,
        rmse_by_condition=_conditions(test, all_known[..., 0], spin_up),
        rmse_of_soils=_quantiles(test, judged, all_known[..., 0]),
        rmse_of_layers=_layers(test, judged, all_known),
        shortfalls=list_shortfalls(scores),
        model_sha256=tuple(model.sha256 for model in models),
        data_hash=series.data_hash,
        picture_path=run_folder / PICTURE,
        report_path=run_folder / REPORT,
    )
    return result, png


def _picture(test: Series, judged: Mask, estimates: dict[str, Array], network: Array) -> bytes:
    """Draw the soil with the median of the inversion's error, as PNG."""
    each = _rmse_of_each(test, judged, test.theta_classical)
    soil = int(np.argsort(each)[len(each) // 2])
    name = usual_filtered("inversion")
    return evaluate_plot.picture(test, soil, (name, estimates[name][soil]), network[soil])


def list_shortfalls(scores: Sequence[Score]) -> tuple[str, ...]:
    """List where the network is not better than the inversion, with a filter or without.

    It must have the smaller RMSE and, since a bias that happens to be small is no skill, the
    smaller ubRMSE, with every set of inputs.
    """
    network = {s.inputs: s.stats for s in scores if s.method == NETWORK}
    return tuple(
        f"{NETWORK}, {s.inputs}: {name} {getattr(network[s.inputs], field):.4f} m3/m3,"
        f" {s.method} {getattr(s.stats, field):.4f}"
        for s in scores
        for name, field in (("RMSE", "rmse"), ("ubRMSE", "ubrmse"))
        if s.method != NETWORK and not getattr(network[s.inputs], field) < getattr(s.stats, field)
    )


def report(result: EvaluateResult) -> dict[str, Any]:
    """Convert the result for JSON; NaN becomes null."""
    rows = [
        {"method": s.method, "inputs": s.inputs, **dataclasses.asdict(s.stats)}
        for s in result.scores
    ]
    value: dict[str, Any] = plain({**dataclasses.asdict(result), "scores": rows})
    del value["picture_path"], value["report_path"]
    return value


def read_spin_up(run_folder: Path) -> int:
    """Read the number of days that training used as spin-up.

    Raises
    ------
    ConfigError
        The network has not been trained.
    """
    path = run_folder / "train.json"
    try:
        return int(json.loads(path.read_text("utf-8"))["config"]["spin_up_steps"])
    except FileNotFoundError as fault:
        text = f"{path}: missing: run `epithermal-host train {run_folder}` first"
        raise ConfigError(text) from fault
    except DAMAGE as fault:
        raise ConfigError(f"{path}: not a report of train ({fault}): train again") from fault


def judged_days(series: Series, spin_up: int) -> Mask:
    """Select the days to evaluate (S, T): with label and counts, no snow, after the spin-up."""
    judged = np.isfinite(series.theta) & np.isfinite(series.theta_classical) & ~series.snow
    judged[:, :spin_up] = False
    return np.asarray(judged, dtype=bool)


def without_snow(series: Series) -> Array:
    """Omit days with snow from the inversion (S, T) [m3 m-3], for a filter."""
    return np.where(series.snow, np.nan, series.theta_classical)


def with_weather(series: Series) -> Mask:
    """Select the soils (S,) whose rain and ET0 are both known on nearly all days."""
    columns = [NAMES.index("rain_known"), NAMES.index("et0_known")]
    known: Mask = (series.features[..., columns].mean(axis=1) >= KNOWN_ENOUGH).all(axis=-1)
    return known


def with_soil(series: Series) -> Mask:
    """Select the soils (S,) whose hydraulic parameters are described."""
    known: Mask = (series.features[..., DESCRIPTION] != 0.0).any(axis=(1, 2))
    return known


@dataclass(frozen=True, slots=True)
class Model:
    """Hold the quantized model of a run."""

    step: runtime.Step
    columns: list[int]  # of its inputs among all features
    sha256: str  # of its file


def _load_model(run_folder: Path) -> Model:
    path = run_folder / "model.tflite"
    if not path.is_file():
        raise ConfigError(f"{path}: missing: run `epithermal-host quantize {run_folder}` first")
    weights = read_weights(run_folder)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Model(runtime.load_model(path, state_tensors(weights)), weights.columns, sha256)


def stream(
    models: Sequence[Model], features: Array32, title: str = "", progress: bool = False
) -> Array:
    """Run the joined models over whole series from a cold state: (S, T, K) [m3 m-3]."""
    bar = tqdm(features, desc=f"evaluate {title}".strip(), unit="soil", disable=not progress)
    answers = []
    for x in bar:
        each = [estimator.stream(m.step, zeros(m.step.states), x[:, m.columns]) for m in models]
        answers.append(each[0] if len(each) == 1 else joined(np.stack(each)))
    return np.stack(answers).astype(np.float64)


def best_filter(series: Series, judged: Mask) -> float:
    """Find the T of `BEST_T_D` with the smallest RMSE on these soils [d]."""
    return best_t(without_snow(series), lambda f: float(np.mean((f - series.theta)[judged] ** 2)))


def _table(
    test: Series, judged: Mask, estimates: dict[str, Array], network: Array, inputs: str, rows: Mask
) -> list[Score]:
    """Score all methods on the same soils."""
    truth, days = test.theta[rows], judged[rows]
    scores = [Score(name, inputs, stats(truth, e[rows], days)) for name, e in estimates.items()]
    theta, sigma = network[rows, :, 0], network[rows, :, 1]
    return [*scores, Score(NETWORK, inputs, stats(truth, theta, days, sigma))]


def _conditions(test: Series, theta: Array, spin_up: int) -> dict[str, float]:
    """Compute RMSE by condition: after the cold start, without counts, by year of the stream."""
    labelled = np.isfinite(test.theta) & ~test.snow
    day = np.broadcast_to(np.arange(test.theta.shape[1]), test.theta.shape)
    gap = test.features[..., NAMES.index("gap")] > 0.5
    groups = {"spin-up": day < spin_up, "gap": gap & (day >= spin_up)}
    for year in range(day.shape[1] // 365):
        groups[f"year {year + 1}"] = (day // 365 == year) & (day >= spin_up)
    error = theta - test.theta
    days = {name: rows & labelled for name, rows in groups.items()}
    return {name: rms(error[rows]) for name, rows in days.items() if rows.any()}


def _layers(test: Series, judged: Mask, network: Array) -> dict[str, float]:
    """Compute RMSE of each layer by the network, and by the inversion, which has no depth."""
    answers = {name: network[..., column] for name, column in columns(OUTPUT_NAMES).items()}
    labels = {name: test.layers[..., i] for i, name in enumerate(LAYERS)}
    out = {}
    for x in layer_lines("", answers, labels, network[..., 0], test.theta_classical, judged):
        out[x.layer] = x.stats.rmse
        out[f"{x.layer}, inversion"] = x.rmse_inversion
    return out


def _quantiles(test: Series, judged: Mask, theta: Array) -> dict[str, float]:
    each = _rmse_of_each(test, judged, theta)[judged.any(axis=1)]
    return {f"{q} %": float(np.percentile(each, q)) for q in (5, 25, 50, 75, 95)}


def _rmse_of_each(test: Series, judged: Mask, theta: Array) -> Array:
    """Compute the RMSE of each soil (S,) [m3 m-3]; 0 without days to evaluate."""
    square = np.where(judged, theta - test.theta, 0.0) ** 2
    each: Array = np.sqrt(square.sum(axis=1) / np.maximum(judged.sum(axis=1), 1))
    return each


def table(result: EvaluateResult) -> str:
    """Format the scores as lines of text."""
    head = f"{'method':26} {'inputs':16} {'RMSE':>7} {'ubRMSE':>7} {'bias':>8} {'r':>6}  in 90 %"
    lines = [head]
    for row in result.scores:
        s = row.stats
        inside = f"{s.coverage_90:8.1%}" if math.isfinite(s.coverage_90) else ""
        lines.append(
            f"{row.method:26} {row.inputs:16} {s.rmse:7.4f} {s.ubrmse:7.4f} {s.bias:+8.4f} "
            f"{s.r:6.3f} {inside}".rstrip()
        )
    return "\n".join(lines)
