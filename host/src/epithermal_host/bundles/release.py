"""Release the models of runs as a bundle, after verifying it on every installed runtime.

A model must be the one that was evaluated, and better than the classical inversion on unseen soils.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import platform
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from epithermal_edge.errors import BundleError, ConfigError, EpithermalError
from epithermal_edge.inference import bundle as bundles
from epithermal_edge.inference import runtime
from epithermal_edge.inference.features import FEATURES
from epithermal_edge.inference.runtime import joined
from epithermal_host.bundles import signing
from epithermal_host.bundles.card import card
from epithermal_host.compute.damage import DAMAGE, read_json
from epithermal_host.compute.files import write_atomic
from epithermal_host.compute.isolated_runtime import answer
from epithermal_host.training import kinds
from epithermal_host.training.network import WEIGHTS, Weights, read_weights
from epithermal_host.training.series import NAMES, TEST, TRAIN, Series, read_series

STEP_S, PHASES = 86400, 24
REPORT_KEYS: dict[str, dict[str, type]] = {  # that a release needs of the report of each command
    "train": {"config": dict, "sigma_scale": list, "data_hash": str},
    "quantize": {"scheme": str, "sha256": str, "network_sha256": str},
    "evaluate": {"scores": list, "shortfalls": list, "model_sha256": list, "data_hash": str},
}
SOFTWARE = ("epithermal-edge", "epithermal-host", "tensorflow", "keras", "numpy")
# Largest error allowed on another processor or runtime; a misread model errs by 0.01 to 0.2.
# 8-bit schemes round the state in each step, so that a differing last bit may change the rounding.
TOLERANCE = {"dynamic_int8": 5e-4, "int16x8": 5e-4, "float16": 1e-4, "float32": 1e-4}


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """Quantized network of a run, with its reports."""

    folder: Path
    weights: Weights
    model: bytes
    train: Mapping[str, Any]  # train.json
    quantize: Mapping[str, Any]  # quantize.json


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    """A released bundle."""

    path: Path
    sha256: str  # of MANIFEST
    golden_errors: dict[str, float]  # by runtime [m3 m-3]
    fresh: bool  # False: the same bundle existed already


def run(
    run_folder: Path,
    to: Path,
    name: str,
    version: str,
    *,
    others: Sequence[Path] = (),
    scores: Mapping[str, Any] | None = None,
    created: str | None = None,
    notes: str = "",
    key: signing.SecretKey | None = None,
    force: bool = False,
) -> ReleaseResult:
    """Write TO/<name>-<version>/ from a run that was trained, quantized and evaluated.

    The same runs give the same bytes: the clock is not read.

    Parameters
    ----------
    run_folder :
        Contains dataset.npz, network.npz, model.tflite and the report of each command.
    to :
        Folder in which the bundle is created.
    others :
        Runs of the same data set and inputs whose networks form an ensemble with this one.
    scores :
        Result of `evaluate` for the card; None: RUN/evaluate.json, the scores of this run's network
        alone.
    created :
        Date for bundle.toml; None: no date.
    notes :
        Markdown for the card: results of further evaluations and known failures.
    key :
        Key that signs the bundle; None: not signed.
    force :
        Release a model that is not better than the inversion; card and bundle.toml say so.

    Raises
    ------
    ConfigError
        A file of a run is missing or damaged, the name or version is not allowed, the runs are not
        of one data set and list of inputs, or another bundle of that name and version exists.
    BundleError
        A model is not the one that was quantized and evaluated, or the bundle fails its own golden
        vectors on an installed runtime.
    EpithermalError
        The model is not better than the inversion on unseen soils, and `force` is False.
    """
    try:
        bundles.check_name(name, version)
    except BundleError as fault:
        raise ConfigError(str(fault)) from fault
    if others and scores is None:
        raise ConfigError(
            "an ensemble needs the scores of its combined estimate, not of one member"
        )
    series = read_series(run_folder)
    members = [_member(folder) for folder in (run_folder, *others)]
    _check_compatible(series, members)
    scores = _report(run_folder, "evaluate") if scores is None else scores
    _check_evaluated(series, members, scores)
    if scores["shortfalls"] and not force:
        first, *more = map(str, scores["shortfalls"])
        raise EpithermalError(
            f"{run_folder}: not better than the inversion on unseen soils ({first}; and"
            f" {len(more)} more in evaluate.json): train with more soils, or add --force, which the"
            " card and the station's model list report"
        )
    head = {"schema": bundles.SCHEMA, "name": name, "version": version}
    if scores["shortfalls"]:
        head[bundles.SHORTFALLS] = scores["shortfalls"]
    table, text = _describe(series, members, head, scores, notes)
    if created is not None:
        table["created"] = created
    return write_bundle(_contents(series, members, table, text), to / f"{name}-{version}", key)


def write_bundle(
    contents: Mapping[str, bytes], target: Path, key: signing.SecretKey | None = None
) -> ReleaseResult:
    """Write these files as a bundle, after verifying it on every installed runtime.

    Parameters
    ----------
    contents :
        Every file by name, MANIFEST included.
    key :
        Key that signs the bundle; None: not signed.

    Raises
    ------
    ConfigError
        Another bundle exists at `target`.
    BundleError
        The bundle fails its own golden vectors on an installed runtime.
    """
    if target.exists():
        _refuse_other(target, contents)
    part = target.parent / f".{target.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    for file, content in contents.items():
        write_atomic(part / file, content)
    try:
        bundle = bundles.open_bundle(part)
        errors = {runtime_: _golden_error(bundle, runtime_) for runtime_ in runtime.available()}
        fresh = not target.exists()
        if key is not None:
            signing.sign_bundle(part if fresh else target, key)
        if fresh:
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return ReleaseResult(path=target, sha256=bundle.sha256, golden_errors=errors, fresh=fresh)


def _member(run_folder: Path) -> Member:
    """Read the network of a run and its reports."""
    train, quantize = (_report(run_folder, command) for command in ("train", "quantize"))
    model = _bytes(run_folder, "model.tflite", "quantize")
    return Member(run_folder, read_weights(run_folder), model, train, quantize)


def _check_compatible(series: Series, members: Sequence[Member]) -> None:
    """Raise ConfigError if the networks differ in data set or inputs."""
    first = members[0]
    for member in members:
        if member.train["data_hash"] != series.data_hash:
            raise ConfigError(
                f"{member.folder}: trained on another data set than that of {first.folder}:"
                " the networks of an ensemble share one data set; train again"
            )
        if member.weights.inputs != first.weights.inputs:
            raise ConfigError(
                f"{member.folder}: its network has other inputs than that of {first.folder}:"
                " the networks of an ensemble share their inputs"
            )


def _check_evaluated(series: Series, members: Sequence[Member], scores: Mapping[str, Any]) -> None:
    """Raise BundleError unless the files to release are those of quantize and of evaluate."""
    evaluated = scores["model_sha256"]
    if len(evaluated) != len(members) or scores["data_hash"] != series.data_hash:
        raise BundleError(
            f"{members[0].folder}: evaluated with other networks or another data set: run evaluate"
            " again"
        )
    for member, judged in zip(members, evaluated, strict=True):
        model = hashlib.sha256(member.model).hexdigest()
        network = hashlib.sha256((member.folder / WEIGHTS).read_bytes()).hexdigest()
        for file, sha256, wanted, command in (
            (WEIGHTS, network, member.quantize["network_sha256"], "quantize"),
            ("model.tflite", model, member.quantize["sha256"], "quantize"),
            ("model.tflite", model, judged, "evaluate"),
        ):
            if sha256 != wanted:
                raise BundleError(
                    f"{member.folder / file}: changed since {command}, its sha256 is not in"
                    f" {command}.json: run quantize and evaluate again"
                )


def _describe(
    series: Series,
    members: Sequence[Member],
    head: Mapping[str, Any],
    scores: Mapping[str, Any],
    notes: str,
) -> tuple[dict[str, Any], str]:
    """Return the contents of bundle.toml and CARD.md.

    Raises
    ------
    ConfigError
        A report lacks a figure, or has one of another kind.
    """
    try:
        table = {**head, **_table(series, members)}
        return table, card(table, [kinds.title(m.weights) for m in members], scores, notes)
    except DAMAGE as fault:
        folders = ", ".join(str(member.folder) for member in members)
        raise ConfigError(
            f"{folders}: a report of train, quantize or evaluate is damaged ({fault!r}):"
            " run these commands again"
        ) from fault


def _contents(
    series: Series, members: Sequence[Member], table: Mapping[str, Any], text: str
) -> dict[str, bytes]:
    """Return every file of the bundle, MANIFEST included; `text` is that of the card."""
    weights = members[0].weights
    inputs = golden_inputs(series.part(TEST))[:, weights.columns]
    names = runtime.available()
    if not names:
        raise ConfigError("no TFLite runtime: install tflite-runtime or ai-edge-litert")
    answers = []
    for member in members:
        path, states = member.folder / "model.tflite", kinds.state_tensors(member.weights)
        answers.append(answer(path, names[0], inputs[None], states)[0])
    outputs = answers[0] if len(answers) == 1 else joined(np.stack(answers))
    files = [network["file"] for network in table["network"]]
    contents = {
        bundles.BUNDLE_TOML: tomli_w.dumps(_without_none(table)).encode("utf-8"),
        **{file: member.model for file, member in zip(files, members, strict=True)},
        bundles.GOLDEN: golden_csv(weights.inputs, inputs, outputs),
        bundles.CARD: text.encode(),
    }
    return {**contents, bundles.MANIFEST: bundles.manifest_text(contents).encode("ascii")}


def _table(series: Series, members: Sequence[Member]) -> dict[str, Any]:
    """Return bundle.toml without schema, name and version."""
    features = series.part(TRAIN).features
    weights = members[0].weights
    tolerance = max(TOLERANCE[str(member.quantize["scheme"])] for member in members)
    return {
        "step_s": STEP_S,
        "phases": PHASES,
        "spin_up_steps": max(int(m.train["config"]["spin_up_steps"]) for m in members),
        "outputs": [{"name": name, "unit": unit} for name, unit in bundles.OUTPUTS],
        "features": [
            {
                "name": FEATURES[i].name,
                "unit": FEATURES[i].unit,
                "training_minimum": float(features[..., i].min()),
                "training_maximum": float(features[..., i].max()),
            }
            for i in weights.columns
        ],
        "network": [_network(m, i, len(members)) for i, m in enumerate(members)],
        "golden": {"tolerance": tolerance, "steps": bundles.GOLDEN_STEPS},
        "provenance": {
            "data_hash": series.data_hash,
            "soils": len(series.split),
            "days": int(series.theta.shape[1]),
            "git_commit": _git_commit(),
            "software": _software(),
            "run": _run_toml(members[0].folder),
        },
    }


def _network(member: Member, number: int, of: int) -> dict[str, Any]:
    """Return one [[network]] of bundle.toml."""
    weights = member.weights
    return {
        "file": bundles.MODEL if of == 1 else bundles.MODEL.replace(".", f"-{number}."),
        "kind": weights.kind,
        "state": [{"name": s.name, "shape": [*s.shape]} for s in kinds.state_tensors(weights)],
        "head_input": kinds.kind(weights.kind).HEAD_INPUT,
        "offset": weights.scaling.offset.tolist(),
        "scale": weights.scaling.scale.tolist(),
        "sigma_scale": member.train["sigma_scale"],
        "train": member.train["config"],
        "quantization": member.quantize,
    }


def golden_inputs(test: Series) -> NDArray[np.float32]:
    """Return all features (GOLDEN_STEPS, F) of test soils from a cold start, with a gap.

    The soil with most gaps is used; shorter series are joined, and where no soil has a gap, one
    of three days is inserted.
    """
    days = min(bundles.GOLDEN_STEPS, test.theta.shape[1])
    *held, gap = (NAMES.index(name) for name in ("theta_inv", "theta_inv_sigma", "gap"))
    order = np.argsort(-test.features[:, :days, gap].sum(axis=1), kind="stable")
    joined = np.concatenate(test.features[order][: -(-bundles.GOLDEN_STEPS // days)])
    while len(joined) < bundles.GOLDEN_STEPS:
        joined = np.concatenate([joined, joined])
    inputs: NDArray[np.float32] = joined[: bundles.GOLDEN_STEPS].copy()
    if not inputs[:, gap].any():
        inputs[200:203, held] = inputs[199, held]  # the inversion is held in a gap
        inputs[200:203, gap] = 1.0
    return inputs


def golden_csv(
    names: Sequence[str], inputs: NDArray[np.float32], outputs: NDArray[np.float32]
) -> bytes:
    """Write golden.csv with nine digits, which restore a float32 exactly."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("step", *names, *(name for name, _ in bundles.OUTPUTS)))
    for i, (x, y) in enumerate(zip(inputs, outputs, strict=True)):
        writer.writerow((i, *(f"{v:.9g}" for v in (*x, *y))))
    return text.getvalue().encode("ascii")


def _golden_error(bundle: bundles.Bundle, name: str) -> float:
    outputs = answer(bundle.path, name, bundle.golden_inputs[None])[0]
    error = float(np.max(np.abs(outputs - bundle.golden_outputs)))
    if not error <= bundle.golden_tolerance:
        raise BundleError(
            f"golden vectors fail on runtime {name}: error {error:.2g} m3/m3, allowed"
            f" {bundle.golden_tolerance:.2g}: quantize again with that runtime installed"
        )
    return error


def _refuse_other(target: Path, contents: Mapping[str, bytes]) -> None:
    try:
        same = bundles.open_bundle(target) and all(
            (target / file).read_bytes() == content for file, content in contents.items()
        )
    except (BundleError, OSError):
        same = False
    if not same:
        raise ConfigError(f"{target}: another bundle exists there: raise the version, or remove it")


def _bytes(run_folder: Path, file: str, command: str) -> bytes:
    path = run_folder / file
    if not path.is_file():
        raise ConfigError(f"{path}: missing: run `epithermal-host {command} {run_folder}` first")
    return path.read_bytes()


def _report(run_folder: Path, command: str) -> dict[str, Any]:
    """Read the report of a command, with the keys that a release needs."""
    path = run_folder / f"{command}.json"
    _bytes(run_folder, path.name, command)
    value = read_json(path, f"run {command} again")
    keys = REPORT_KEYS[command].items()
    if missing := [key for key, kind in keys if not isinstance(value.get(key), kind)]:
        raise ConfigError(f"{path}: no {', '.join(missing)}: run {command} again")
    return value


def _run_toml(run_folder: Path) -> dict[str, Any]:
    """Read the run's configuration, seeds included; empty without run.toml."""
    path = run_folder / "run.toml"
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as fault:
        raise ConfigError(f"{path}: not TOML ({fault})") from fault


def _software() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in SOFTWARE:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """Return the commit of this source; None outside of a clone."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def _without_none(value: Any) -> Any:
    """Remove keys and items whose value is None, since TOML has no null."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_none(v) for v in value if v is not None]
    return value
