"""Store what is computed at each real site, so that a second run continues where one ended.

A file belongs to the hash of everything that it depends on: the bundle, site.toml and every file
that it names, the runtime and the program. With another hash the site is computed again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import epithermal_edge
import epithermal_host
from epithermal_edge.errors import ConfigError, SourceError
from epithermal_edge.inference.bundle import Bundle
from epithermal_host.compute.files import write_atomic
from epithermal_host.evaluation.methods import NETWORK, InputSet
from epithermal_host.evaluation.metrics import Stats
from epithermal_host.field.remarks import Shares
from epithermal_host.field.series import FieldSeries, SnowDays
from epithermal_host.field.site_toml import SiteFile
from epithermal_host.reports.field_calibrated import NetworkInputs
from epithermal_host.reports.field_result import (
    Calibrated,
    Estimate,
    Estimated,
    Fitted,
    LaterLine,
    OwnRetraining,
)
from epithermal_host.training.series import DATASET

log = logging.getLogger(__name__)

FOLDER = "sites"  # of the report
SNOW = "snow"  # field of FieldSeries with arrays of its own
DAMAGED = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


def path_of(out: Path, name: str, ending: str = ".npz") -> Path:
    """Return the file of a site below the folder of a report."""
    return out / FOLDER / f"{name}{ending}"


def hash_inputs(site_file: SiteFile, bundle: Bundle, runtime: str | None) -> str:
    """Hash everything that the estimates at a site depend on.

    Raises
    ------
    SourceError
        A file that the site file names cannot be read.
    """
    total = hashlib.sha256(f"{_program()} {bundle.sha256} {runtime}\n".encode())
    for path in (site_file.path, *_data_files(site_file)):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}") from error
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


def save(path: Path, key: str, done: Estimated) -> None:
    """Store the estimates at a site under the hash of its inputs."""
    series = done.site.series
    values = {f.name: getattr(series, f.name) for f in dataclasses.fields(FieldSeries)}
    arrays = {k: v for k, v in values.items() if isinstance(v, np.ndarray)}
    about = {k: v for k, v in values.items() if k not in arrays and k != SNOW}
    arrays |= {
        f"{SNOW}_{f.name}": getattr(series.snow, f.name) for f in dataclasses.fields(SnowDays)
    }
    about["shares"] = dataclasses.asdict(series.shares)
    about |= {"key": key, "runtime": done.runtime, "profiles": done.profiles}
    about["inputs"] = [(x.inputs.label, x.n_cph) for x in done.site.network_inputs]
    for i, (x, e) in enumerate(zip(done.site.network_inputs, done.networks, strict=True)):
        arrays |= {f"features_{i}": x.inputs.features, f"soils_{i}": x.inputs.soils}
        arrays |= {f"theta_{i}": e.theta, f"sigma_{i}": _known(e)}
    arrays["about"] = np.frombuffer(json.dumps(about).encode("utf-8"), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomic(path, buffer.getvalue())


def restore(path: Path, key: str, site_file: SiteFile) -> Estimated | None:
    """Read the estimates at a site; None if there are none of the same inputs.

    A damaged file is reported and read as none.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop("about").tobytes().decode("utf-8"))
        return _estimated(about, arrays, site_file) if about["key"] == key else None
    except DAMAGED as error:
        log.warning("note: %s: damaged (%s): the site is computed again", path, error)
        return None


def hash_fit(
    site_files: Sequence[SiteFile], bundle: Bundle, runtime: str | None, run_folder: Path
) -> str:
    """Hash what retraining depends on: the inputs of all sites and the campaign's data set.

    Raises
    ------
    ConfigError
        The campaign has no data set.
    SourceError
        A file that a site file names cannot be read.
    """
    total = hashlib.sha256()
    for site_file in site_files:
        total.update(hash_inputs(site_file, bundle, runtime).encode())
    path = run_folder / DATASET
    try:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; run epithermal-host dataset") from error
    return total.hexdigest()


def save_fitted(path: Path, key: str, fitted: Fitted) -> None:
    """Store the results of retraining at a site under the hash of their inputs."""
    estimates = [
        {"method": e.method, "inputs": e.inputs, "theta": e.theta.tolist(),
         "sigma": _known(e).tolist()}
        for e in fitted.estimates
    ]  # fmt: skip
    own = [dataclasses.asdict(x) for x in fitted.own]
    text = json.dumps({"key": key, "estimates": estimates, "own": own})  # NaN among the values
    write_atomic(path, text.encode("utf-8"))


def restore_fitted(path: Path, key: str) -> Fitted | None:
    """Read the results of retraining at a site; None if there are none of the same inputs.

    A damaged file is reported and read as none.
    """
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text("utf-8"))
        if stored["key"] != key:
            return None
        estimates = [
            Estimate(x["method"], x["inputs"], np.array(x["theta"]), np.array(x["sigma"]))
            for x in stored["estimates"]
        ]
        return Fitted(tuple(estimates), tuple(_own(x) for x in stored["own"]))
    except DAMAGED as error:
        log.warning("note: %s: damaged (%s): the site is retrained again", path, error)
        return None


def _own(stored: Mapping[str, Any]) -> OwnRetraining:
    lines = [LaterLine(x["method"], x["inputs"], Stats(**x["stats"])) for x in stored["lines"]]
    changed = {"reasons": tuple(stored["reasons"]), "lines": tuple(lines)}
    return OwnRetraining(**{**stored, **changed})


def _estimated(
    about: Mapping[str, Any], arrays: Mapping[str, Any], site_file: SiteFile
) -> Estimated:
    names = [f.name for f in dataclasses.fields(FieldSeries) if f.name != SNOW]
    snow = SnowDays(**{f.name: arrays[f"{SNOW}_{f.name}"] for f in dataclasses.fields(SnowDays)})
    values: dict[str, Any] = {
        name: arrays[name] if name in arrays else about[name] for name in names
    }
    values |= {"shares": Shares(**about["shares"]), "notes": tuple(about["notes"]), SNOW: snow}
    inputs, networks = [], []
    for i, (label, n_cph) in enumerate(about["inputs"]):
        known = InputSet(label, arrays[f"features_{i}"], arrays[f"soils_{i}"])
        inputs.append(NetworkInputs(known, n_cph))
        networks.append(Estimate(NETWORK, label, arrays[f"theta_{i}"], arrays[f"sigma_{i}"]))
    site = Calibrated(site_file, FieldSeries(**values), tuple(inputs))
    return Estimated(site, tuple(networks), about["runtime"], about["profiles"])


def _known(e: Estimate) -> Any:
    """Return sigma, which every network estimates."""
    assert e.sigma is not None
    return e.sigma


def _data_files(site_file: SiteFile) -> Iterator[Path]:
    """Yield every data file of a site once, in the order of site.toml's tables."""
    sampling = site_file.sampling
    if sampling is not None and sampling.kind == "probes":
        sampling = None  # it names no file
    tables = (
        *(site_file.incoming, site_file.rain, site_file.soil_temperature, site_file.biomass),
        sampling,
    )
    named = [table.file.path for table in (*tables, *site_file.probes) if table is not None]
    yield from dict.fromkeys([*site_file.records.paths, *named])


@functools.cache
def _program() -> str:
    """Hash the source of both packages: another program may compute other numbers."""
    total = hashlib.sha256()
    for package in (epithermal_edge, epithermal_host):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            total.update(path.relative_to(folder).as_posix().encode())
            total.update(path.read_bytes())
    return total.hexdigest()
