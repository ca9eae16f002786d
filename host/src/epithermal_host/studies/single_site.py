"""Train a network on the first years of one place and evaluate it on the last years.

The study shows what a network learns at a single site and how accurate it is on other soils.
"""

from __future__ import annotations

import hashlib
import io
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from epithermal_edge.config.toml_keys import describe_unknown
from epithermal_edge.errors import ConfigError
from epithermal_host.arrays import Array, Mask
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.config.learning import TrainConfig
from epithermal_host.config.run_toml import from_table
from epithermal_host.evaluation.exponential_filter import FILTER_T_D, best_t, exponential_filter
from epithermal_host.evaluation.methods import COSMIC
from epithermal_host.evaluation.metrics import Stats, rms, stats
from epithermal_host.rendering.text import plain
from epithermal_host.studies import single_site_place
from epithermal_host.studies.single_site_place import Record, StudyConfig, wet_season
from epithermal_host.studies.single_site_result import (
    BEST,
    COUNTS,
    USUAL,
    WEATHER,
    Study,
)
from epithermal_host.training.network import read_weights
from epithermal_host.training.series import (
    DATASET,
    LAYERS,
    NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    counts_alone,
    mask,
)

PICTURE, PARAMETERS, SOILS, DATA = "study.png", "parameters.png", "soils.png", "study.json"


TRAIN_DEFAULTS = {"epochs": 300, "patience": 60, "batch": 8}  # for the few days of one place


def read_study(path: Path) -> tuple[StudyConfig, TrainConfig]:
    """Read the configuration of a study.

    Raises
    ------
    ConfigError
        The file cannot be read or has errors; lists all of them.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    known = {"study": StudyConfig, "train": TrainConfig}
    faults = [describe_unknown(f"[{name}]", name, known) for name in data if name not in known]
    study = from_table(StudyConfig, data.get("study", {}), "study", faults)
    train = from_table(TrainConfig, {**TRAIN_DEFAULTS, **data.get("train", {})}, "train", faults)
    if faults:
        raise ConfigError(*(f"{path}: {fault}" for fault in faults))
    return study, train


def run(path: Path, out: Path, *, progress: bool = True) -> Study:
    """Simulate, train and evaluate; write three pictures and study.json.

    Parameters
    ----------
    path :
        site.toml, see docs/evaluation.md.
    out :
        Folder of the study; an interrupted training there is resumed.

    Raises
    ------
    ConfigError
        site.toml has errors.
    SolverError
        The column cannot be solved.
    """
    config, train_config = read_study(path)
    all_records = single_site_place.records(config)
    unseen = all_records.unseen
    parts = split(config, len(unseen.truth))
    _write_dataset(out, all_records.train, parts)

    from epithermal_host.studies import single_site_plots
    from epithermal_host.training import kinds, train

    trained = train.run(out, train_config, progress=progress)
    network = kinds.sequence(read_weights(out))
    t_d = _best_t(unseen, parts["train"], train_config.spin_up_steps)
    estimates = _estimates(unseen, network, t_d)
    study = Study(
        config=config,
        record=unseen,
        estimates=estimates,
        parts=parts,
        best_t_d=t_d,
        table=_table(unseen, estimates, parts, train_config.spin_up_steps),
        elsewhere=_evaluate_elsewhere(all_records.elsewhere, network, parts["test"], t_d),
        best_epoch=trained.best_epoch + 1,
        epochs=len(trained.history),
        wall_s=trained.wall_s,
    )
    write_atomic(out / PICTURE, single_site_plots.record(study))
    write_atomic(out / PARAMETERS, single_site_plots.parameters(config.soil, study.elsewhere))
    write_atomic(out / SOILS, single_site_plots.soils(config.soil, study.elsewhere))
    write_json(out / DATA, _as_json(study))
    return study


def split(config: StudyConfig, days: int) -> dict[str, slice]:
    """Split the days into training, validation and test, in this order."""
    test = round(days * (1.0 - config.test_share))
    validation = round(days * (1.0 - config.test_share - config.validation_share))
    return {
        "train": slice(0, validation),
        "validation": slice(validation, test),
        "test": slice(test, days),
    }


def _write_dataset(out: Path, records: list[Record], parts: dict[str, slice]) -> None:
    """Write the data set for `train`; it ends before the test days.

    Each record appears as a training soil with labels on training days only and as a validation
    soil with labels on validation days only. (The reader also requires a test soil.)
    """
    days = parts["test"].start
    features = np.stack([r.features[:days] for r in records])
    inverted = np.stack([r.inverted[:days] for r in records])
    snow = np.stack([r.snow[:days] for r in records])
    truth = np.stack([[r.truth[:days], *r.layers[:, :days]] for r in records], axis=1)
    labels = []  # (1 + len(LAYERS), S, T) each
    for name in ("train", "validation", "validation"):
        label = np.full_like(truth, np.nan)
        label[..., parts[name]] = truth[..., parts[name]]
        labels.append(label)
    n = len(records)
    arrays: dict[str, Any] = {
        "features": np.concatenate([features] * 3),
        **dict(zip(("theta", *LAYERS), np.concatenate(labels, axis=1), strict=True)),
        "theta_classical": np.concatenate([inverted] * 3),
        "snow_mm": np.concatenate([snow] * 3).astype(np.float64),  # the reader adds the next day
        "split": np.repeat(np.array([TRAIN, VALIDATION, TEST], dtype=np.int8), n),
        "scenario": np.tile(np.arange(n), 3),
        "day_end_s": records[0].day_end_s[:days],
    }
    total = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays.values()))
    buffer = io.BytesIO()
    np.savez(buffer, feature_names=np.array(NAMES), data_hash=np.array(total.hexdigest()), **arrays)
    write_atomic(out / DATASET, buffer.getvalue())


def _best_t(record: Record, days: slice, spin_up: int) -> float:
    """Fit the filter's time constant [d] on the training days, as the network is trained on."""
    use = ~record.snow[days]
    use[:spin_up] = False

    def cost(filtered: Array) -> float:
        return float(np.mean((filtered[0, days] - record.truth[days])[use] ** 2))

    return best_t(record.inverted[None], cost)


def _estimates(record: Record, network: Any, t_d: float) -> dict[str, Array]:
    """Run all methods over the whole record, (T,) each."""
    inverted, features = record.inverted[None], record.features[None]
    both = np.concatenate([counts_alone(features), mask(features, soil=True)])
    y = network(both)[..., 0].astype(np.float64)
    return {
        COSMIC: record.inverted,
        USUAL: exponential_filter(inverted, FILTER_T_D)[0],
        BEST: exponential_filter(inverted, t_d)[0],
        COUNTS: y[0],
        WEATHER: y[1],
    }


def _table(
    record: Record, estimates: dict[str, Array], parts: dict[str, slice], spin_up: int
) -> dict[str, dict[str, Stats]]:
    """Evaluate each method on training, validation and test days, and on wet and dry test days."""
    usable = ~record.snow & np.isfinite(record.inverted) & np.isfinite(record.truth)
    usable[:spin_up] = False
    wet = wet_season(record)
    rows: dict[str, Mask] = {}
    for name in ("train", "validation", "test"):
        rows[name] = np.zeros_like(usable)
        rows[name][parts[name]] = usable[parts[name]]
    rows["test, wet season"] = rows["test"] & wet
    rows["test, dry season"] = rows["test"] & ~wet
    return {
        name: {m: stats(record.truth[None], e[None], use[None]) for m, e in estimates.items()}
        for name, use in rows.items()
        if use.any()
    }


def _evaluate_elsewhere(
    records: dict[str, Record], network: Any, test: slice, t_d: float
) -> dict[str, dict[str, float]]:
    """Evaluate the methods on other soils under the same weather, on the test days."""
    out = {}
    for name, record in records.items():
        use = ~record.snow[test]
        out[name] = {
            method: rms((theta[test] - record.truth[test])[use])
            for method, theta in _estimates(record, network, t_d).items()
        }
    return out


def _as_json(study: Study) -> dict[str, Any]:
    value: dict[str, Any] = plain(
        {
            "study": study.config,
            "best_t_d": study.best_t_d,
            "best_epoch": study.best_epoch,
            "epochs": study.epochs,
            "wall_s": study.wall_s,
            "table": study.table,
            "elsewhere_rmse": study.elsewhere,
        }
    )
    return value


def text(study: Study) -> str:
    """Format the table of RMSE by method as lines of text."""
    lines = [f"{'RMSE [m3/m3]':26}" + "".join(f"{name:>18}" for name in study.table)]
    for method in study.estimates:
        values = "".join(f"{rows[method].rmse:18.4f}" for rows in study.table.values())
        lines.append(f"{method:26}{values}")
    return "\n".join(lines)
