"""Compute the checksums of journal rows, and find the newest record that passes its checksum.

SQLite detects a broken page, but not a changed number within a sound page. Numpy is not loaded, so
that `status` answers at once.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

BATCH = 64  # rows that are read at once
CHANNELS = {"channels": "TEXT", "channels_crc32": "INTEGER"}
"""Columns for the extra channels of a record, as JSON; NULL if it has none.

Their checksum is their own: older versions, which do not know them, read the record, and damage of
a channel does not cost the record.
"""

Rows = Callable[[str, Sequence[object]], Sequence[Sequence[Any]]]
"""Executes a query with its values and returns its rows."""


def checksum(*values: object) -> int:
    """Return the CRC-32 of values; it detects every change of up to 32 adjacent bits."""
    return zlib.crc32(repr(values).encode(errors="backslashreplace"))


def record_checksum(names: Iterable[str], stored: Sequence[object]) -> int:
    """Return the checksum of a record without NULLs: a later version may add columns."""
    return checksum(*((k, v) for k, v in zip(names, stored, strict=True) if v is not None))


def checked_columns(rows: Rows) -> tuple[str, ...]:
    """Return the columns of table record that its checksum covers; a newer file may have more."""
    uncovered = ("seq", "crc32", *CHANNELS)
    names = (row[1] for row in rows("PRAGMA table_info(record)", ()))
    return tuple(name for name in names if name not in uncovered)


def newest_intact_end_s(
    rows: Rows, columns: Sequence[str], before_s: float = math.inf
) -> tuple[float, int]:
    """Return the latest end of an intact record [s, Unix time], and how many damaged ones follow.

    A changed bit in `end_s` may move a record into the far future, so the maximum alone is no
    evidence.

    Parameters
    ----------
    columns :
        Those that the checksum covers: `rows.RAW`, or `checked_columns` of a file that may be of
        another version.
    before_s :
        Only records that end earlier are read [s, Unix time].

    Returns
    -------
    float, int
        -inf if there is no intact record.
    """
    sql = (
        f"SELECT crc32, {', '.join(columns)} FROM record WHERE end_s < ?"
        " ORDER BY end_s DESC, seq DESC LIMIT ? OFFSET ?"
    )
    damaged, at = 0, columns.index("end_s")
    while batch := rows(sql, (before_s, 1 if damaged == 0 else BATCH, damaged)):
        for crc32, *stored in batch:
            if crc32 == record_checksum(columns, stored):
                return float(stored[at]), damaged
            damaged += 1
    return -math.inf, damaged
