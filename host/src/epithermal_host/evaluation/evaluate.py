"""The shipped model on unseen soils, beside the inversions that it must beat.

Every method is judged on the same days: with a label, with counts, and after the spin-up. The
model is the quantized file, streamed over years from one cold start as a station would.
"""

from __future__ import annotations

import dataclasses
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
from epithermal_edge.inference.ensemble import joined
from epithermal_host.arrays import Array, Array32, Mask
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
KNOWN_ENOUGH = 0.9  # part of the days with known rain and ET0 that makes a soil one with weather


@dataclass(frozen=True, slots=True)
class Score:
    """One method over all judged days of a group of soils."""

    method: str
    inputs: str  # COUNTS, WITH_WEATHER or WITH_SOIL
    stats: Stats


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """What RUN/evaluate.json holds."""

    scores: tuple[Score, ...]
    best_t_d: float  # of the filter, chosen on these very soils, in its favour
    spin_up_steps: int  # days after the cold start that no method is judged on
    runtime: str
    rmse_by_condition: dict[str, float]  # network with all that is known [m3 m-3]
    rmse_of_soils: dict[str, float]  # the same: quantiles over soils [m3 m-3]
    rmse_of_layers: dict[str, float]  # the same: each layer, "inversion" beside it [m3 m-3]
    picture_path: Path
    report_path: Path


def run(run_folder: Path, *, progress: bool = True) -> EvaluateResult:
    """Judge RUN/model.tflite on the test soils; write RUN/evaluate.json and RUN/evaluate.png.

    Raises
    ------
    ConfigError
        The data set, the training's report or the model is missing.
    BundleError
        No TFLite runtime runs the model.
    """
    result, picture = judge([run_folder], progress=progress)
    write_atomic(result.picture_path, picture)
    write_json(result.report_path, report(result))
    return result


def judge(run_folders: Sequence[Path], *, progress: bool = True) -> tuple[EvaluateResult, bytes]:
    """Judge the model of a run, or the joined models of several as an ensemble; write nothing.

    Parameters
    ----------
    run_folders :
        The first one's test soils are streamed.

    Returns
    -------
    EvaluateResult, bytes
        Of the picture, PNG.

    Raises
    ------
    ConfigError, BundleError
        As `run`.
    """
    run_folder = run_folders[0]
    test = read_series(run_folder).part(TEST)
    spin_up = read_spin_up(run_folder)
    models = [_load_model(folder) for folder in run_folders]
    judged = judged_days(test, spin_up)
    if not judged.any():
        raise ConfigError(f"{run_folder}: no test day left after {spin_up} days of spin-up")
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
    each = _rmse_of_each(test, judged, test.theta_classical)
    soil = int(np.argsort(each)[len(each) // 2])  # the median by the inversion's error
    name = usual_filtered("inversion")
    drawn = evaluate_plot.picture(test, soil, (name, estimates[name][soil]), all_known[soil])
    result = EvaluateResult(
        scores=tuple(scores),
        best_t_d=t_d,
        spin_up_steps=spin_up,
        runtime=models[0].step.runtime,
        rmse_by_condition=_conditions(test, all_known[..., 0], spin_up),
        rmse_of_soils=_quantiles(test, judged, all_known[..., 0]),
        rmse_of_layers=_layers(test, judged, all_known),
        picture_path=run_folder / PICTURE,
        report_path=run_folder / REPORT,
    )
    return result, drawn


def report(result: EvaluateResult) -> dict[str, Any]:
    """List the result for JSON; null for a figure that is not a number."""
    rows = [
        {"method": s.method, "inputs": s.inputs, **dataclasses.asdict(s.stats)}
        for s in result.scores
    ]
    value: dict[str, Any] = plain({**dataclasses.asdict(result), "scores": rows})
    del value["picture_path"], value["report_path"]
    return value


def read_spin_up(run_folder: Path) -> int:
    """Days that training called spin-up.

    Raises
    ------
    ConfigError
        The network was not trained yet.
    """
    path = run_folder / "train.json"
    try:
        return int(json.loads(path.read_text("utf-8"))["config"]["spin_up_steps"])
    except FileNotFoundError as fault:
        text = f"{path}: no training: run `epithermal-host train {run_folder}` first"
        raise ConfigError(text) from fault
    except (ValueError, KeyError, TypeError) as fault:
        raise ConfigError(f"{path}: not a training's report ({fault}): train again") from fault


def judged_days(series: Series, spin_up: int) -> Mask:
    """(S, T) days that count: with label and counts, without snow, after the spin-up."""
    judged = np.isfinite(series.theta) & np.isfinite(series.theta_classical) & ~series.snow
    judged[:, :spin_up] = False
    return np.asarray(judged, dtype=bool)


def without_snow(series: Series) -> Array:
    """The inversion (S, T) [m3 m-3] as a filter is shown it: days with snow are left out."""
    return np.where(series.snow, np.nan, series.theta_classical)


def with_weather(series: Series) -> Mask:
    """(S,) soils whose rain and ET0 are both known on nearly all days."""
    columns = [NAMES.index("rain_known"), NAMES.index("et0_known")]
    known: Mask = (series.features[..., columns].mean(axis=1) >= KNOWN_ENOUGH).all(axis=-1)
    return known


def with_soil(series: Series) -> Mask:
    """(S,) soils that are described."""
    known: Mask = (series.features[..., DESCRIPTION] != 0.0).any(axis=(1, 2))
    return known


@dataclass(frozen=True, slots=True)
class Model:
    """Hold the quantized model of a run."""

    step: runtime.Step
    columns: list[int]  # of its inputs among all features


def _load_model(run_folder: Path) -> Model:
    path = run_folder / "model.tflite"
    if not path.is_file():
        raise ConfigError(f"{path}: no model: run `epithermal-host quantize {run_folder}` first")
    weights = read_weights(run_folder)
    return Model(runtime.load_model(path, state_tensors(weights)), weights.columns)


def stream(
    models: Sequence[Model], features: Array32, title: str = "", progress: bool = False
) -> Array:
    """Return the joined answers to whole series, each from a cold state, (S, T, K) [m3 m-3]."""
    bar = tqdm(features, desc=f"evaluate {title}".strip(), unit="soil", disable=not progress)
    answers = []
    for x in bar:
        each = [estimator.stream(m.step, zeros(m.step.states), x[:, m.columns]) for m in models]
        answers.append(each[0] if len(each) == 1 else joined(np.stack(each)))
    return np.stack(answers).astype(np.float64)


def best_filter(series: Series, judged: Mask) -> float:
    """The T of `BEST_T_D` with the least RMSE on these soils [d]."""
    return best_t(without_snow(series), lambda f: float(np.mean((f - series.theta)[judged] ** 2)))


def _table(
    test: Series, judged: Mask, estimates: dict[str, Array], network: Array, inputs: str, rows: Mask
) -> list[Score]:
    """All methods on the same soils."""
    truth, days = test.theta[rows], judged[rows]
    scores = [Score(name, inputs, stats(truth, e[rows], days)) for name, e in estimates.items()]
    theta, sigma = network[rows, :, 0], network[rows, :, 1]
    return [*scores, Score(NETWORK, inputs, stats(truth, theta, days, sigma))]


def _conditions(test: Series, theta: Array, spin_up: int) -> dict[str, float]:
    """RMSE where something is special: a cold start, no counts, each year of the stream."""
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
    """RMSE of each layer by the network, and by the inversion, which knows no depth."""
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
    """(S,) [m3 m-3]; 0 for a soil without a judged day."""
    square = np.where(judged, theta - test.theta, 0.0) ** 2
    each: Array = np.sqrt(square.sum(axis=1) / np.maximum(judged.sum(axis=1), 1))
    return each


def table(result: EvaluateResult) -> str:
    """The scores as lines of text."""
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
