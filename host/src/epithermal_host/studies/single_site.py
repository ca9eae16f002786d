"""Train a network on the first years of one place and evaluate it on the last years.

The study shows what a network learns at a single site and how accurate it is on other soils.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from epithermal_host.arrays import Array, Array32, Mask
from epithermal_host.compute.files import write_atomic, write_json
from epithermal_host.config.learning import TrainConfig
from epithermal_host.evaluation.exponential_filter import FILTER_T_D, best_t, exponential_filter
from epithermal_host.evaluation.methods import inversion_by
from epithermal_host.evaluation.metrics import Stats, rms, stats
from epithermal_host.rendering.text import plain
from epithermal_host.studies import single_site_place
from epithermal_host.studies.single_site_place import Record, seasons, wet_season
from epithermal_host.studies.single_site_result import (
    BEST,
    COUNTS,
    USUAL,
    WEATHER,
    Study,
)
from epithermal_host.studies.single_site_toml import Place, StudyConfig, read_study
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

if TYPE_CHECKING:
    from epithermal_host.training.train import TrainResult

Network = Callable[[Array32], Array32]
PICTURE, PARAMETERS, SOILS = "study.png", "parameters.png", "soils.png"
SCATTER, DATA = "scatter.png", "study.json"


def run(path: Path, out: Path, *, progress: bool = True) -> Study:
    """Simulate, train and evaluate; write two or four pictures and study.json.

    Parameters
    ----------
    path :
        site.toml, see docs/evaluation.md.
    out :
        Folder of the study; an interrupted training there is resumed.

    Raises
    ------
    ConfigError
        site.toml has errors, or the engine is not installed.
    SolverError
        The column cannot be solved.
    """
    place, train_config = read_study(path)
    all_records = single_site_place.records(place)
    unseen = all_records.unseen
    parts = split(place.config, len(unseen.truth))
    networks, trained = _train(out, place.config, all_records.train, parts, train_config, progress)
    t_d = _best_t(unseen, parts["train"], train_config.spin_up_steps)
    name = inversion_by(place.config.response)
    estimates, each = _estimates(unseen, networks, t_d, name)
    spin_up = train_config.spin_up_steps
    study = Study(
        place=place,
        record=unseen,
        irrigation_mm=all_records.irrigation_mm,
        estimates=estimates,
        networks=each,
        parts=parts,
        best_t_d=t_d,
        table=_score(unseen, estimates, _days(unseen, parts, spin_up)),
        elsewhere=_evaluate_elsewhere(all_records.elsewhere, networks, parts["test"], t_d, name),
        seasons=_score(unseen, estimates, _test_seasons(place, unseen, parts, spin_up)),
        best_epoch=trained[0].best_epoch + 1,
        epochs=len(trained[0].history),
        wall_s=sum(result.wall_s for result in trained),
    )
    _write(out, study)
    return study


def _write(out: Path, study: Study) -> None:
    from epithermal_host.studies import single_site_plots

    soil = study.place.soil_name
    write_atomic(out / PICTURE, single_site_plots.record(study))
    write_atomic(out / SCATTER, single_site_plots.scatter(study))
    if study.elsewhere:
        top = study.place.soils[0]
        write_atomic(out / PARAMETERS, single_site_plots.parameters(soil, study.elsewhere, top))
        write_atomic(out / SOILS, single_site_plots.soils(soil, study.elsewhere))
    write_json(out / DATA, _as_json(study))


def _train(
    out: Path,
    config: StudyConfig,
    records: list[Record],
    parts: dict[str, slice],
    train_config: TrainConfig,
    progress: bool,
) -> tuple[list[Network], list[TrainResult]]:
    """Train the networks, each in a folder of its own but the first."""
    from epithermal_host.training import kinds, train

    networks, results = [], []
    for number in range(config.networks):
        folder = out / f"network-{number + 1}" if number else out
        _write_dataset(folder, records, parts)
        own = dataclasses.replace(train_config, seed=train_config.seed + number)
        results.append(train.run(folder, own, progress=progress))
        networks.append(kinds.sequence(read_weights(folder)))
    return networks, results


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


def _estimates(
    record: Record, networks: Sequence[Network], t_d: float, inversion: str
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Run all methods over the whole record; (T,) each, and (K, T) of each network."""
    inverted, features = record.inverted[None], record.features[None]
    both = np.concatenate([counts_alone(features), mask(features, soil=True)])
    y = np.stack([network(both)[..., 0].astype(np.float64) for network in networks])
    each = {COUNTS: y[:, 0], WEATHER: y[:, 1]}
    return {
        inversion: record.inverted,
        USUAL: exponential_filter(inverted, FILTER_T_D)[0],
        BEST: exponential_filter(inverted, t_d)[0],
        **{method: theta.mean(axis=0) for method, theta in each.items()},
    }, each


def _usable(record: Record, days: slice, spin_up: int) -> Mask:
    """Select days of a part that can be judged, (T,)."""
    usable = np.zeros(record.truth.size, dtype=bool)
    usable[days] = True
    usable[:spin_up] = False
    return np.asarray(
        usable & ~record.snow & np.isfinite(record.inverted) & np.isfinite(record.truth)
    )


def _days(record: Record, parts: dict[str, slice], spin_up: int) -> dict[str, Mask]:
    """Select training, validation and test days, and wet and dry test days."""
    rows = {name: _usable(record, days, spin_up) for name, days in parts.items()}
    wet = wet_season(record)
    rows["test, wet season"] = rows["test"] & wet
    rows["test, dry season"] = rows["test"] & ~wet
    return rows


def _test_seasons(
    place: Place, record: Record, parts: dict[str, slice], spin_up: int
) -> dict[str, Mask]:
    """Select the test days of each season of the year."""
    test = _usable(record, parts["test"], spin_up)
    return {name: test & days for name, days in seasons(record, place).items()}


def _score(
    record: Record, estimates: dict[str, Array], rows: dict[str, Mask]
) -> dict[str, dict[str, Stats]]:
    """Evaluate each method on each choice of days that has any."""
    return {
        name: {m: stats(record.truth[None], e[None], use[None]) for m, e in estimates.items()}
        for name, use in rows.items()
        if use.any()
    }


def _evaluate_elsewhere(
    records: dict[str, Record], networks: Sequence[Network], test: slice, t_d: float, name: str
) -> dict[str, dict[str, float]]:
    """Evaluate the methods on other soils under the same weather, on the test days."""
    out = {}
    for name, record in records.items():
        use = ~record.snow[test]
        out[name] = {
            method: rms((theta[test] - record.truth[test])[use])
            for method, theta in _estimates(record, networks, t_d, name)[0].items()
        }
    return out


def _as_json(study: Study) -> dict[str, Any]:
    place = study.place
    value: dict[str, Any] = plain(
        {
            "study": place.config,
            "soils": place.soils,
            "layer_bottoms_cm": place.bottoms_cm,
            "cover": place.cover,
            "irrigation_rule": place.irrigation,
            "irrigation_mm": float(study.irrigation_mm.sum()),
            "irrigation_days": int(np.count_nonzero(study.irrigation_mm)),
            "weather": place.weather_name,
            "best_t_d": study.best_t_d,
            "best_epoch": study.best_epoch,
            "epochs": study.epochs,
            "wall_s": study.wall_s,
            "table": study.table,
            "seasons": study.seasons,
            "rmse_of_networks": rmse_of_networks(study),
            "elsewhere_rmse": study.elsewhere,
        }
    )
    return value


def rmse_of_networks(study: Study) -> dict[str, list[float]]:
    """Return the RMSE of each network on the test days, by method [m3 m-3]."""
    test = study.parts["test"]
    use = _usable(study.record, test, 0)
    return {
        method: [rms((theta - study.record.truth)[use]) for theta in each]
        for method, each in study.networks.items()
    }


def text(study: Study) -> str:
    """Format the table of RMSE by method as lines of text."""
    lines = [f"{'RMSE [m3/m3]':26}" + "".join(f"{name:>18}" for name in study.table)]
    for method in study.estimates:
        values = "".join(f"{rows[method].rmse:18.4f}" for rows in study.table.values())
        lines.append(f"{method:26}{values}")
    if study.place.config.networks > 1:
        for method, each in rmse_of_networks(study).items():
            lines.append(
                f"{method}: single networks {min(each):.4f} to {max(each):.4f} on the test days"
            )
    return "\n".join(lines)
