"""The engine's state as named groups of bytes, each with its shape and checksum, and back."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import EpithermalError
from epithermal_edge.inference import snow
from epithermal_edge.inference.engine import EngineState
from epithermal_edge.inference.estimator import EstimatorState
from epithermal_edge.inference.irrigation import WaterState
from epithermal_edge.inference.pipeline import PipelineState
from epithermal_edge.inference.qc import QualityState
from epithermal_edge.inference.root_zone import FIELDS as ROOT_ZONE
from epithermal_edge.inference.snow import SnowState
from epithermal_edge.records import SNOW_FIELDS, Estimate, Quality

Arrays = dict[str, NDArray[Any]]
SNOW = "snow"  # the group that only a state with a window of this version has
BELOW = ("theta_30_60", "et0_mm")
"""Series of WaterState in parts of their own: a state stored by version 0.1.0 has none of them."""


class StateLostError(EpithermalError):
    """No state is stored, or it does not fit; the message has the reason. Recompute it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One group of arrays as it is stored."""

    layout: str  # JSON: name, dtype and shape of each array
    made_for: str  # fingerprint of the engine
    crc32: int
    data: bytes


def to_parts(
    state: EngineState, made_for: str, written: EngineState | None = None
) -> dict[str, Part]:
    """Serialize the parts of a state that must be stored.

    Parameters
    ----------
    made_for :
        Fingerprint of the engine.
    written :
        What is stored already: phases that are the same are left out.
    """
    parts, groups = {}, _groups(state, _changed(state, written))
    if SNOW not in groups and written is not None and written.snow.is_started:
        groups[SNOW] = _snow(state)
    for name, arrays in groups.items():
        if name.startswith("below") and _is_empty(arrays, name, written):
            continue
        data = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays.values())
        parts[name] = Part(_layout(arrays), made_for, zlib.crc32(data), data)
    return parts


def _changed(state: EngineState, written: EngineState | None) -> Iterable[int]:
    """List the phases that differ from the stored ones."""
    if written is None:
        return range(len(state.network.age))
    if state.network is written.network and state.water is written.water:
        return ()
    differs = np.zeros(len(state.network.age), dtype=bool)
    for rows, old in zip(_phases(state).values(), _phases(written).values(), strict=True):
        differs |= np.any(_bytes_of(rows) != _bytes_of(old), axis=1)
    return [int(phase) for phase in np.flatnonzero(differs)]


def _bytes_of(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the bytes of each row, (phases, bytes): NaN equals NaN, and 0.0 is not -0.0."""
    return np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)


def _phases(state: EngineState) -> Arrays:
    """Return the arrays stored per phase, (phases, ...); state tensors by their own names."""
    network, water = state.network, state.water
    tensors: Arrays = dict(zip(network.names, network.tensors, strict=True))
    rest = {f.name: getattr(water, f.name) for f in fields(water)}
    return {**tensors, "age": network.age, **rest}


def _split(row: Arrays) -> tuple[Arrays, Arrays]:
    """Divide the arrays of a phase into those of its part and BELOW."""
    return {k: v for k, v in row.items() if k not in BELOW}, {k: row[k] for k in BELOW}


def from_parts(parts: dict[str, Part], made_for: str, like: EngineState) -> EngineState:
    """Restore a state from its stored parts.

    Parameters
    ----------
    made_for :
        Fingerprint of the engine that will use it.
    like :
        A state of the right shapes.

    Raises
    ------
    StateLostError
        A part is missing or does not fit.
    """
    groups = _groups(like, range(len(like.network.age)))
    if SNOW in parts:
        groups[SNOW] = _snow(like)
    unpacked = {
        k: v if k.startswith("below") and k not in parts else _unpack(k, parts.get(k), made_for, v)
        for k, v in groups.items()
    }
    return _state(unpacked, like.network.names)


def binding(seq: int, sums: Mapping[str, int]) -> tuple[str, int]:
    """Compute the key and checksum that tie stored parts to each other and to their record.

    Parameters
    ----------
    seq :
        Number of that record.
    sums :
        Checksum of each part by name.
    """
    return str(seq), zlib.crc32(json.dumps([seq, sorted(sums.items())]).encode())


def _groups(state: EngineState, phases: Iterable[int]) -> dict[str, Arrays]:
    groups: dict[str, Arrays] = {}
    values: dict[str, PipelineState | QualityState | Estimate] = {
        "pipeline": state.pipeline,
        "quality": state.quality,
        "newest": state.newest,
    }
    for name, value in values.items():
        later = (*SNOW_FIELDS, *ROOT_ZONE)
        names = (f.name for f in fields(value) if f.name not in later)
        groups[name] = {k: np.asarray(getattr(value, k)) for k in names}
    if state.snow.is_started:
        groups[SNOW] = _snow(state)
    rows = _phases(state)
    for phase in phases:
        row = {name: np.asarray(values[phase]) for name, values in rows.items()}
        groups[f"phase {phase:02d}"], groups[f"below {phase:02d}"] = _split(row)
    return groups


def _snow(state: EngineState) -> Arrays:
    """Return what is remembered of snow; versions before 0.2.0 stored none of it."""
    own = {f.name: np.asarray(getattr(state.snow, f.name)) for f in fields(SnowState)}
    return own | {name: np.asarray(getattr(state.newest, name)) for name in SNOW_FIELDS}


def _is_empty(arrays: Arrays, name: str, written: EngineState | None) -> bool:
    """Return whether a part BELOW has no value, and had none when it was stored."""
    if any(np.isfinite(a).any() for a in arrays.values()):
        return False
    phase = int(name.split()[1])
    before = [] if written is None else [getattr(written.water, k)[phase] for k in BELOW]
    return not any(np.isfinite(a).any() for a in before)


def _state(parts: dict[str, Arrays], names: tuple[str, ...]) -> EngineState:
    stacked: Arrays = {}
    for kind in ("phase", "below"):
        rows = [parts[name] for name in sorted(parts) if name.startswith(kind)]
        stacked |= {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    network = EstimatorState(names, tuple(stacked[name] for name in names), stacked["age"])
    water = WaterState(**{f.name: stacked[f.name] for f in fields(WaterState)})
    newest = {name: value.item() for name, value in parts["newest"].items()}
    newest["quality"] = Quality(newest["quality"])
    cover = _fields(parts[SNOW]) if SNOW in parts else {}
    newest |= {name: cover.pop(name) for name in SNOW_FIELDS if name in cover}
    return EngineState(
        PipelineState(**_fields(parts["pipeline"])),
        QualityState(**_fields(parts["quality"])),
        network,
        water,
        SnowState(**cover) if cover else snow.start(),
        Estimate(**newest),
    )


def _fields(arrays: Arrays) -> dict[str, Any]:
    """Convert arrays without a dimension to numbers; return the others unchanged."""
    return {name: value.item() if value.ndim == 0 else value for name, value in arrays.items()}


def _layout(arrays: Arrays) -> str:
    return _layout_text(tuple((k, a.dtype, a.shape) for k, a in arrays.items()))


@functools.cache  # the layouts of an engine never change, and a record writes four
def _layout_text(arrays: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]) -> str:
    return json.dumps([[name, dtype.str, list(shape)] for name, dtype, shape in arrays])


def _unpack(name: str, part: Part | None, made_for: str, like: Arrays) -> Arrays:
    """Unpack the arrays of one part; raise StateLostError if it is damaged or does not fit."""
    if part is None:
        raise StateLostError(f"state: no {name}")
    if part.made_for != made_for:
        raise StateLostError("state: made with another model or site")
    if part.layout != _layout(like):
        raise StateLostError(f"state: {name} has another shape")
    # SQLite does not hold a column to its type: a damaged cell may come back as text
    whole = isinstance(part.data, bytes) and zlib.crc32(part.data) == part.crc32
    if not whole or len(part.data) != sum(a.nbytes for a in like.values()):
        raise StateLostError(f"state: {name} is damaged")
    arrays, at = {}, 0
    for key, a in like.items():
        arrays[key] = np.frombuffer(part.data, a.dtype, a.size, at).reshape(a.shape).copy()
        at += a.nbytes
    return arrays
