"""Read a model bundle: its networks, the features they want, and golden vectors to verify them.

A folder of `FILES` and the model files that bundle.toml names; MANIFEST holds the sha256 of every
other file, so that no byte can change unseen. docs/bundle.md describes the format. A bundle names
its features and its state tensors: the station computes all of `FEATURES`, picks the named ones,
and carries whatever state the networks have.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import BundleError
from epithermal_edge.inference.features import FEATURES
from epithermal_edge.records import LAYERS_CM
from epithermal_edge.signatures import minisign

SCHEMA = 2  # that is written
SCHEMAS = (1, 2)  # that are read
MANIFEST = "MANIFEST"
SIGNATURE = f"{MANIFEST}{minisign.SUFFIX}"  # over MANIFEST; may be missing
BUNDLE_TOML, MODEL, GOLDEN, CARD = "bundle.toml", "model.tflite", "golden.csv", "CARD.md"
FILES = (CARD, BUNDLE_TOML, GOLDEN)  # of every bundle, beside its models
SHORTFALLS = (
    "shortfalls"  # key: why a model that was released anyway is not better than the inversion
)
GOLDEN_STEPS = 400  # fewer do not prove the memory
OUTPUTS = (
    ("theta_0_30", "m3 m-3"),
    ("theta_0_30_sigma", "m3 m-3"),
    *((f"theta_{top}_{bottom}", "m3 m-3") for top, bottom in LAYERS_CM),
)
REMEDY = "install the bundle again"

RESERVED = ("x", "y", "age", "storage_mm", "rain_mm", "theta_30_60", "et0_mm")
"""Names that no state tensor may have: those of the model's other tensors, and what the journal
stores beside the state of a phase."""

Vector = NDArray[np.float32]
State = tuple[Vector, ...]
"""One array for each state tensor, in their order."""
StepFn = Callable[[Vector, State], tuple[Vector, State]]
"""`step(x (F,), state) -> y (K,), new state`, as `runtime.load` gives."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_VERSION = re.compile(  # semver.org, without build metadata
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)
_TENSOR = re.compile(r"[a-z][a-z0-9_]*")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LINE = re.compile(rf"([0-9a-f]{{64}})  ({FILE_NAME.pattern})")
_DEEP_KEY = re.compile(rb"(?:[\w\"'-]+[ \t]*\.[ \t]*){16}")
_NOT_UNDERSTOOD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
LARGEST_BYTES = {MANIFEST: 1 << 16, BUNDLE_TOML: 1 << 18, GOLDEN: 1 << 22}
LARGEST_FILE_BYTES = 1 << 26  # of any other
LONGEST_NAME = 64  # of bundle and version: they become the name of a folder
LARGEST_STATE = 1 << 20  # values of one state tensor


@dataclass(frozen=True, slots=True)
class BundleFeature:
    """Describe one input of the networks and its range in the training set."""

    name: str
    unit: str
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class StateTensor:
    """Describe one float32 array that a network carries from step to step, zeros at first."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """Describe one model file of a bundle and its state."""

    file: str
    states: tuple[StateTensor, ...]
    kind: str = ""  # "lstm", ...: for people
    head_input: str = ""  # the state tensor that a linear head multiplies; empty: there is none


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Hold a verified bundle."""

    path: Path
    name: str
    version: str
    sha256: str  # of MANIFEST: the identity of the whole
    features: tuple[BundleFeature, ...]
    columns: NDArray[np.intp]  # (F,) index of each of them in FEATURES
    outputs: tuple[str, ...]
    networks: tuple[Network, ...]  # several: an ensemble
    step_s: int  # the network's step [s]
    phases: int  # states a day, one for each window end
    spin_up_steps: int  # younger states give estimates flagged WARM_UP
    golden_inputs: NDArray[np.float32]  # (steps, F) a stream from a cold state
    golden_outputs: NDArray[np.float64]  # (steps, K)
    golden_tolerance: float  # largest error allowed on any runtime, in the outputs' unit
    shortfalls: tuple[str, ...] = ()  # where it is not better than the inversion on unseen soils

    @property
    def states(self) -> tuple[StateTensor, ...]:
        """List the state tensors of all networks; in an ensemble they are `<member>.<name>`."""
        if len(self.networks) == 1:
            return self.networks[0].states
        return tuple(
            StateTensor(f"{member}.{state.name}", state.shape)
            for member, network in enumerate(self.networks)
            for state in network.states
        )

    def cold_state(self) -> State:
        """Return the zero state before the first step."""
        return zeros(self.states)


def zeros(states: Iterable[StateTensor]) -> State:
    """Return the zero state before the first step."""
    return tuple(np.zeros(state.shape, dtype=np.float32) for state in states)


def check_name(name: str, version: str) -> None:
    """Refuse a name or a version that no station accepts.

    Raises
    ------
    BundleError
        The name is not lower case letters, digits and dashes, or the version is not semantic.
    """
    if len(name) > LONGEST_NAME or len(version) > LONGEST_NAME:
        raise BundleError(f"bundle name or version of over {LONGEST_NAME} characters: shorten it")
    if not _NAME.fullmatch(name):
        raise BundleError(f"bundle name {name!r}: use lower case letters, digits and dashes")
    if not _VERSION.fullmatch(version):
        raise BundleError(f"bundle version {version!r}: use a semantic version such as 1.2.0")


def manifest_text(contents: Mapping[str, bytes]) -> str:
    """Write MANIFEST for files given by name and content: `<sha256>  <file>`, sorted by name."""
    lines = (f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in sorted(contents))
    return "".join(lines)


def open_bundle(path: Path) -> Bundle:
    """Read a bundle, verifying every byte of it.

    Parameters
    ----------
    path :
        The bundle's folder.

    Raises
    ------
    BundleError
        A file is missing, changed or not understood, or the bundle names features that this
        software does not compute. One line that names the file and the remedy.
    """
    contents, sha256 = verify_hashes(path)
    table = _table(path, contents[BUNDLE_TOML])
    where = path / BUNDLE_TOML
    try:
        bundle = _described(path, sha256, table, contents[GOLDEN])
    except _NOT_UNDERSTOOD as fault:
        text = f"{fault!r}"[:200]
        raise BundleError(f"{where}: not understood: {text}: {REMEDY}") from fault
    check_name(bundle.name, bundle.version)
    for network in bundle.networks:
        if network.file not in contents:
            raise BundleError(f"{where}: {network.file} is not listed in {MANIFEST}: {REMEDY}")
    return bundle


def _read(path: Path) -> bytes:
    largest = LARGEST_BYTES.get(path.name, LARGEST_FILE_BYTES)
    try:
        with path.open("rb") as file:
            # no more than needed: the allocator would keep the room of the largest file
            content = file.read(min(os.fstat(file.fileno()).st_size, largest) + 1)
    except OSError as fault:
        reason = fault.strerror or type(fault).__name__
        raise BundleError(f"{path}: cannot be read ({reason}): {REMEDY}") from fault
    if len(content) > largest:
        raise BundleError(f"{path}: larger than {largest} bytes: {REMEDY}")
    return content


def read_manifest(path: Path) -> dict[str, str]:
    """Read which files MANIFEST lists, with the sha256 of each; read no other file.

    Raises
    ------
    BundleError
        MANIFEST is missing, or not the list of a bundle.
    """
    where = path / MANIFEST
    lines = _read(where).decode("ascii", errors="replace").split("\n")
    matches = [_LINE.fullmatch(line) for line in lines[:-1]]
    listed = {m[2]: m[1] for m in matches if m}
    if not all(matches) or lines[-1] != "" or list(listed) != sorted(set(listed) | set(FILES)):
        raise BundleError(f"{where}: damaged or not the list of a bundle: {REMEDY}")
    return listed


def hash_manifest(path: Path) -> str:
    """Return the sha256 of MANIFEST, the identity of a bundle; verify nothing.

    Raises
    ------
    BundleError
        MANIFEST is missing or too large.
    """
    return hashlib.sha256(_read(path / MANIFEST)).hexdigest()


def verify_hashes(path: Path) -> tuple[dict[str, bytes], str]:
    """Read every listed file, and interpret none; return the contents and the sha256 of the list.

    Raises
    ------
    BundleError
        A file is missing, too large, or its hash is not that in MANIFEST.
    """
    if not path.is_dir():
        raise BundleError(f"{path}: no such folder: give the folder that holds {MANIFEST}")
    contents: dict[str, bytes] = {}
    where = path / MANIFEST
    manifest = _read(where)
    for name, expected in read_manifest(path).items():
        contents[name] = _read(path / name)
        if hashlib.sha256(contents[name]).hexdigest() != expected:
            raise BundleError(f"{path / name}: changed, its sha256 is not in {MANIFEST}: {REMEDY}")
    if manifest_text(contents).encode("ascii") != manifest:
        raise BundleError(f"{where}: damaged or not the list of a bundle: {REMEDY}")
    return contents, hashlib.sha256(manifest).hexdigest()


def _table(path: Path, content: bytes) -> dict[str, Any]:
    where = path / BUNDLE_TOML
    try:
        if _DEEP_KEY.search(content):  # the time and memory to read them grow with the square
            raise ValueError("a key of more than 16 parts")
        table = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as fault:
        raise BundleError(f"{where}: not TOML ({fault}): {REMEDY}") from fault
    schema = table.get("schema")
    if schema not in SCHEMAS:
        known = " and ".join(map(str, SCHEMAS))
        raise BundleError(
            f"{where}: schema {schema!r}, this software reads {known}: update epithermal-edge"
        )
    return table


def _described(path: Path, sha256: str, table: dict[str, Any], golden: bytes) -> Bundle:
    """Build the bundle that bundle.toml describes; raise one of _NOT_UNDERSTOOD."""
    features = tuple(
        BundleFeature(
            str(f["name"]),
            str(f["unit"]),
            float(f["training_minimum"]),
            float(f["training_maximum"]),
        )
        for f in table["features"]
    )
    columns = _columns(path / BUNDLE_TOML, features)
    outputs = tuple(str(o["name"]) for o in table["outputs"])
    if tuple((o["name"], o["unit"]) for o in table["outputs"]) != OUTPUTS:
        raise ValueError(f"outputs must be {OUTPUTS}")
    inputs, expected = _golden(path, golden, tuple(f.name for f in features), outputs)
    numbers = {k: int(table[k]) for k in ("step_s", "phases", "spin_up_steps")}
    if numbers["step_s"] != 86400 or numbers["phases"] not in (1, 2, 3, 4, 6, 8, 12, 24):
        raise ValueError("step_s must be 86400 and phases divide 24")
    if numbers["spin_up_steps"] < 0:
        raise ValueError("spin_up_steps must not be negative")
    tolerance = float(table["golden"]["tolerance"])
    if not 0.0 < tolerance < 0.01:
        raise ValueError(f"golden tolerance {tolerance} is not between 0 and 0.01")
    return Bundle(
        path=path,
        name=str(table["name"]),
        version=str(table["version"]),
        sha256=sha256,
        features=features,
        columns=columns,
        outputs=outputs,
        networks=_networks(table),
        golden_inputs=inputs,
        golden_outputs=expected,
        golden_tolerance=tolerance,
        shortfalls=tuple(str(text)[:200] for text in table.get(SHORTFALLS, ())),
        **numbers,
    )


def _golden(
    path: Path, content: bytes, features: tuple[str, ...], outputs: tuple[str, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Parse the golden stream: inputs (steps, F) and outputs (steps, K)."""
    where = path / GOLDEN
    try:
        header, *rows = list(csv.reader(content.decode("utf-8").splitlines())) or [[]]
    except csv.Error as fault:
        raise BundleError(f"{where}: not CSV ({fault}): {REMEDY}") from fault
    if tuple(header) != ("step", *features, *outputs):
        raise BundleError(f"{where}: columns are not those of {BUNDLE_TOML}: {REMEDY}")
    if len(rows) < GOLDEN_STEPS:
        raise BundleError(f"{where}: {len(rows)} steps, at least {GOLDEN_STEPS} needed: {REMEDY}")
    if any(len(row) != len(header) for row in rows):
        raise BundleError(f"{where}: a row with too few or too many values: {REMEDY}")
    numbers = np.array(rows, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise BundleError(f"{where}: a value that is not a number: {REMEDY}")
    split = 1 + len(features)
    return numbers[:, 1:split].astype(np.float32), numbers[:, split:]


def _columns(where: Path, features: tuple[BundleFeature, ...]) -> NDArray[np.intp]:
    """Find the position of each feature in FEATURES.

    Raises
    ------
    BundleError
        This software does not compute a feature, or not in that unit.
    ValueError
        There is none, or one appears twice.
    """
    computed = [(feature.name, feature.unit) for feature in FEATURES]
    wanted = [(feature.name, feature.unit) for feature in features]
    foreign = [f"{name} [{unit}]" for name, unit in wanted if (name, unit) not in computed]
    if foreign:
        raise BundleError(
            f"{where}: features {', '.join(foreign)} are not known to this software:"
            " update epithermal-edge, or take a bundle made for this version"
        )
    if not wanted or len(set(wanted)) < len(wanted):
        raise ValueError("features must be at least one, each once")
    return np.array([computed.index(feature) for feature in wanted], dtype=np.intp)


def _networks(table: dict[str, Any]) -> tuple[Network, ...]:
    """Read the networks; schema 1 has one, an LSTM whose h and c have `hidden` units."""
    if table["schema"] == 1:
        shape = (int(table["hidden"]),)
        states = (StateTensor("h", shape), StateTensor("c", shape))
        networks = [Network(MODEL, states, kind="lstm", head_input="h")]
    else:
        networks = [
            Network(
                file=str(n["file"]),
                states=tuple(
                    StateTensor(str(state["name"]), tuple(map(int, state["shape"])))
                    for state in n["state"]
                ),
                kind=str(n.get("kind", "")),
                head_input=str(n.get("head_input", "")),
            )
            for n in table["network"]
        ]
    if not networks or len({network.file for network in networks}) < len(networks):
        raise ValueError("networks must be at least one, each with a file of its own")
    for network in networks:
        _check_states(network)
    return tuple(networks)


def _check_states(network: Network) -> None:
    """Raise ValueError if the state tensors of a network are impossible."""
    names = [state.name for state in network.states]
    wrong = [name for name in names if not _TENSOR.fullmatch(name) or name in RESERVED]
    if wrong or len(set(names)) < len(names):
        raise ValueError(f"{network.file}: state {', '.join(wrong or names)}: use other names")
    for state in network.states:
        if any(width < 1 for width in state.shape) or math.prod(state.shape) > LARGEST_STATE:
            raise ValueError(f"{network.file}: state {state.name} has shape {list(state.shape)}")
    vectors = [state.name for state in network.states if len(state.shape) == 1]
    if network.head_input and network.head_input not in vectors:
        raise ValueError(f"{network.file}: head_input {network.head_input!r} is no vector of state")
