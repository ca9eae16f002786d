"""Hold records in time order as columns, so that one numpy operation serves all of them.

Pipeline and quality control work on blocks: a live record is a block of one, a replay has thousands
of records in each, training has thousands of sites beside each other. Operations are elementwise,
or run along the time in its order, so that a record's values have the same bits in any block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.records import NAN, NUMBERS, RawRecord

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FIELDS = NUMBERS[1:]
USED = ("biomass_kg_m2", "muon_counts", "thermal_counts", "tube_2_counts")
"""Extra channels of a record that corrections and quality control may use."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """T records of n sites that count in the same intervals."""

    end_s: Array  # (T,) Unix time of the intervals' ends [s, UTC]
    fields: dict[str, Array]  # the numbers of RawRecord by name, each (T, n), contiguous;
    # also the channels of `USED` that a record has, NaN in others

    def take(self, rows: NDArray[np.intp]) -> Block:
        """Select records by ascending row numbers."""
        if len(rows) == len(self.end_s):
            return self
        fields = {name: column[rows] for name, column in self.fields.items()}
        return Block(self.end_s[rows], fields)


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """A block with the atmosphere taken out."""

    values: dict[str, Array]  # the numbers of CorrectedRecord by name, each (T, n)
    quality: NDArray[np.int64]  # (T, n) Quality

    def take(self, rows: NDArray[np.intp]) -> Corrected:
        """Select records by ascending row numbers."""
        if len(rows) == len(self.quality):
            return self
        values = {name: column[rows] for name, column in self.values.items()}
        return Corrected(values, self.quality[rows])


def block_of(records: Sequence[RawRecord], n: int = 1) -> Block:
    """Arrange records as columns.

    Parameters
    ----------
    records :
        Their numbers are floats, or arrays (n,).
    n :
        Sites.
    """
    size = len(records)
    fields = {}
    for name in FIELDS:
        column = np.array([getattr(r, name) for r in records], dtype=np.float64)
        fields[name] = each_site(column.reshape(size, -1), n)
    for name in USED:
        if any(name in r.channels for r in records):
            each = [np.broadcast_to(r.channels.get(name, NAN), n) for r in records]
            fields[name] = np.array(each, dtype=np.float64)
    return Block(np.array([r.end_s for r in records], dtype=np.float64), fields)


def each_site(values: Array, n: int) -> Array:
    """Repeat values (T, 1) for each of n sites, contiguous; return values (T, n) as they are.

    Numpy's exp and log may round otherwise in memory with gaps.
    """
    if values.shape[-1] == n and values.flags.c_contiguous:
        return values
    out = np.empty((*values.shape[:-1], n))
    out[...] = values
    return out


def carry(first: Array, known: Mask, values: Array) -> Array:
    """Return the last known value before each row and after the last one.

    Parameters
    ----------
    first : (...)
        Before the first row.
    known, values : (T, ...)

    Returns
    -------
    (T + 1, ...)
        Row t is the value before row t of `values`; row t + 1 the one after it.
    """
    out: Array = np.concatenate((first[np.newaxis], values))
    if len(values) == 1:
        out[1] = np.where(known[0], values[0], first)
        return out
    gaps = ~known.all(axis=0)
    if not gaps.any():
        return out
    some = out[:, gaps]
    newest = np.zeros(some.shape, dtype=np.intp)
    rows = np.arange(1, len(some))[:, np.newaxis]
    np.maximum.accumulate(np.where(known[:, gaps], rows, 0), axis=0, out=newest[1:])
    out[:, gaps] = np.take_along_axis(some, newest, axis=0)
    return out
