"""Write the series of a station as Parquet, in row groups, with the variables of NetCDF."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import EpithermalError
from epithermal_edge.exports.files import complete_file, optional
from epithermal_edge.exports.variables import Block, Variable

TIMES = ("time", "window_end_s")


def write(
    path: Path,
    variables: Sequence[Variable],
    blocks: Iterable[Block],
    attributes: Mapping[str, str],
) -> int:
    """Write a file; return the number of rows.

    A missing number is null, a time is UTC in microseconds, and `quality` is the number whose bits
    docs/mqtt.md names. Unit and description of a column are in the metadata of its field.

    Raises
    ------
    EpithermalError
        pyarrow is not installed, or there are no records.
    """
    arrow, parquet = optional("pyarrow", "parquet"), optional("pyarrow.parquet", "parquet")
    kinds = {"f8": arrow.float64(), "i8": arrow.int64(), "i4": arrow.int32()}
    kinds |= {"i2": arrow.int16(), "i1": arrow.int8()}
    moment = arrow.timestamp("us", tz="UTC")
    fields = [arrow.field("time", moment, nullable=False)]
    for v in variables:
        texts = {k: str(x) for k, x in v.attributes().items() if isinstance(x, str)}
        kind = moment if v.name in TIMES else kinds[v.dtype]
        fields.append(arrow.field(v.name, kind, metadata=texts))
    schema = arrow.schema(fields, metadata=dict(attributes))
    count = 0
    with (
        complete_file(path) as partial,
        parquet.ParquetWriter(partial, schema, compression="zstd") as out,
    ):
        for block in blocks:
            columns = []
            for field in schema:
                values = np.asarray(block[field.name])
                if field.type == moment:
                    values = _microseconds(values.astype(float))
                columns.append(arrow.array(values, type=field.type, from_pandas=True))
            out.write_table(arrow.table(columns, schema=schema))
            count += len(block["time"])
        if not count:
            raise EpithermalError(f"{path}: no records in these bounds; nothing was written")
    return count


def _microseconds(seconds: NDArray[np.float64]) -> NDArray[np.datetime64]:
    """Convert Unix times [s] to datetime64; NaN becomes NaT."""
    known = np.isfinite(seconds)
    whole = np.where(known, np.round(np.where(known, seconds, 0.0) * 1e6), 0.0).astype("i8")
    moments = whole.astype("datetime64[us]")
    moments[~known] = np.datetime64("NaT")
    return moments
