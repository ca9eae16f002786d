"""Store the results of a campaign: shards of 64 scenarios, each one array of records.

A shard is a numpy file (.npy) of a structured array, one record for each simulated scenario, in
order of their index. Each record has the campaign's key and a hash of its content, so that a
shard may hold some of its scenarios and be completed later, and damage is noticed when a record is
read.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import ConfigError
from epithermal_host.compute.damage import DAMAGE
from epithermal_host.compute.files import open_atomic
from epithermal_host.simulation.scenario import Scenario
from epithermal_host.simulation.simulate import WEATHER, Result
from epithermal_host.weather.generator import Weather

Records = NDArray[np.void]
"""Structured array with the fields of `record`."""

FOLDER = "campaign"
SHARD = 64  # scenarios in a file: 20 MB of 3 years; one write to disk takes as long as 2 of them
HOLD_S = 5.0  # that a result waits for its shard to be completed: lost when the process is killed
OLD = "scenario-*.npz"  # one file for each scenario, until 0.1.0
SERIES = ("z_cm", "theta", "means", "rate_cph", "fluxes_cm")
CONTENT = (*SERIES, "balance_error_cm", *WEATHER)


def shard_path(run_folder: Path, index: int) -> Path:
    """Return the path of the shard that holds a scenario."""
    return run_folder / FOLDER / f"shard-{index // SHARD:05d}.npy"


def record(scenario: Scenario, result: Result, key: str) -> Records:
    """Convert a result to a record, (1,); equal results have equal bytes.

    Fields: `index`, `key` of the campaign, `hash` of the content, `scenario` (JSON), those of
    `Result`, and those of its weather.
    """
    place = json.dumps(scenario.to_dict(), sort_keys=True, allow_nan=False).encode()
    values: dict[str, Any] = {name: np.asarray(getattr(result, name)) for name in SERIES}
    values["balance_error_cm"] = np.asarray(result.balance_error_cm)
    values |= {name: getattr(result.weather, name) for name in WEATHER}
    fields: list[Any] = [
        ("index", np.int64),
        ("key", f"S{len(key)}"),
        ("hash", "S64"),
        ("scenario", f"S{len(place)}"),
        *((name, values[name].dtype, values[name].shape) for name in CONTENT),
    ]
    out = np.zeros(1, dtype=fields)
    out["index"], out["key"], out["scenario"] = scenario.index, key.encode(), place
    for name in CONTENT:
        out[name][0] = values[name]
    out["hash"] = _hash(out[0]).encode()
    return out


def read_result(run_folder: Path, index: int) -> Result:
    """Read the result of a scenario.

    Raises
    ------
    ConfigError
        It is missing or damaged.
    """
    row = _read(run_folder, index)
    try:
        values = {name: row[name] for name in SERIES}
        weather = Weather(*(row[name] for name in WEATHER))
        return Result(weather=weather, balance_error_cm=float(row["balance_error_cm"]), **values)
    except DAMAGE as fault:
        raise _damaged(shard_path(run_folder, index), fault) from fault


def read_place(run_folder: Path, index: int) -> dict[str, Any]:
    """Read the properties of a scenario as `Scenario.to_dict` writes them.

    Raises
    ------
    ConfigError
        It is missing or damaged.
    """
    row = _read(run_folder, index)
    try:
        value: dict[str, Any] = json.loads(bytes(row["scenario"]))
    except DAMAGE as fault:
        raise _damaged(shard_path(run_folder, index), fault) from fault
    return value


def stored(run_folder: Path) -> dict[int, str]:
    """List the scenarios of all readable shards with their campaign's key, by index."""
    found: dict[int, str] = {}
    for path in sorted((run_folder / FOLDER).glob("shard-*.npy")):
        rows = _open(path)
        if rows is not None:
            keys = (key.decode("ascii", "replace") for key in rows["key"].tolist())
            found.update(zip(rows["index"].tolist(), keys, strict=True))
    return dict(sorted(found.items()))


def campaign_hash(run_folder: Path, soils: int) -> str:
    """Hash the results of the first `soils` scenarios; equal hashes mean identical campaigns."""
    total = hashlib.sha256()
    for first in range(0, soils, SHARD):
        rows = _open(shard_path(run_folder, first))
        for index, content in () if rows is None else rows[["index", "hash"]].tolist():
            if index < soils:
                total.update(b"%d %s\n" % (index, content))
    return total.hexdigest()


def reject_old_files(run_folder: Path) -> None:
    """Raise ConfigError if the folder has results of 0.1.0, one file for each scenario."""
    old = next((run_folder / FOLDER).glob(OLD), None)
    if old is not None:
        raise ConfigError(
            f"{old}: a result of version 0.1, which this version cannot read: delete "
            f"{run_folder / FOLDER} and simulate again, or name another folder"
        )


class ShardWriter:
    """Collect records, and write a shard when it is complete or has been waiting for `HOLD_S`.

    Parameters
    ----------
    run_folder :
        The shards are in its folder `campaign`.
    key :
        Key of the campaign; records with another one in an existing shard are dropped.
    missing :
        Indices of the scenarios to come.
    """

    def __init__(self, run_folder: Path, key: str, missing: Iterable[int]) -> None:
        self._run_folder, self._key = run_folder, key.encode()
        self._left = Counter(index // SHARD for index in missing)
        self._waiting: dict[int, list[Records]] = {}
        self._since: dict[int, float] = {}

    def add(self, index: int, rows: Records | None) -> None:
        """Add the record of a scenario, or note that it failed (None)."""
        number = index // SHARD
        self._left[number] -= 1
        if rows is not None:
            self._waiting.setdefault(number, []).append(rows)
            self._since.setdefault(number, time.monotonic())
        waits_s = time.monotonic() - self._since.get(number, time.monotonic())
        if self._left[number] == 0 or waits_s > HOLD_S:
            self._write(number)

    def flush(self) -> None:
        """Write all records that wait."""
        for number in list(self._waiting):
            self._write(number)

    def _write(self, number: int) -> None:
        waiting = self._waiting.pop(number, [])
        self._since.pop(number, None)
        if not waiting:
            return
        path = shard_path(self._run_folder, number * SHARD)
        before = _open(path)
        if before is not None:
            waiting.append(before[before["key"] == self._key])
        with open_atomic(path) as file:
            np.save(file, _join(waiting), allow_pickle=False)


def _join(parts: list[Records]) -> Records:
    """Join records in order of their index, with room for the longest description of a place."""
    rows = [part[i : i + 1] for part in parts for i in range(part.size)]
    rows.sort(key=lambda row: int(row["index"][0]))
    room = max(len(bytes(row["scenario"][0])) for row in rows)
    like = rows[0].dtype
    fields: Any = [
        (name, f"S{room}" if name == "scenario" else like[name]) for name in like.names or ()
    ]
    out: Records = np.zeros(len(rows), dtype=fields)
    for i, row in enumerate(rows):
        for name in out.dtype.names or ():
            out[name][i] = row[name][0]
    return out


def _open(path: Path) -> Records | None:
    """Map a shard into memory; None where it is missing or damaged."""
    try:
        rows = _map(path)
        if rows.ndim == 1 and {"index", "key", "hash", "scenario"} <= set(rows.dtype.names or ()):
            return rows
    except DAMAGE:
        pass
    return None


def _map(path: Path) -> Records:
    rows: Records = np.lib.format.open_memmap(path, mode="r")  # type: ignore[no-untyped-call]
    return rows


def _read(run_folder: Path, index: int) -> Any:
    """Copy one record from its shard after checking its hash."""
    path = shard_path(run_folder, index)
    if not path.is_file():
        reject_old_files(run_folder)
        raise ConfigError(f"{path}: missing, and with it scenario {index}: simulate again")
    try:
        rows = _map(path)
        places = np.flatnonzero(rows["index"] == index)
        if places.size == 0:
            raise ConfigError(
                f"{path}: has no scenario {index}; it failed or is beyond campaign.soils"
            )
        row = np.array(rows[places[0] : places[0] + 1])[0]
        if _hash(row) != row["hash"].decode():
            raise ValueError("its hash differs")
    except DAMAGE as fault:
        raise _damaged(path, fault) from fault
    return row


def _hash(row: Any) -> str:
    """Hash index, key, place and content of a record."""
    total = hashlib.sha256(b"%d %s " % (row["index"], row["key"]))
    total.update(row["scenario"])
    for name in CONTENT:
        total.update(np.ascontiguousarray(row[name]).data)
    return total.hexdigest()


def _damaged(path: Path, fault: BaseException) -> ConfigError:
    return ConfigError(f"{path}: damaged ({fault}): delete it and simulate again")
