"""Read records with their stored estimates from the journal, for `tail`, `export` and the page.

Each estimate is the one that was published, by the model in use at that time; `replay` computes it
again with the present model. The journal is opened read-only, so the running station can write.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from epithermal_edge.errors import EpithermalError
from epithermal_edge.inference.engine import Outcome
from epithermal_edge.journal.rows import (
    CORRECTED,
    ESTIMATE,
    RECORD_WIDTH,
    RESULTS,
    estimate_columns,
    is_estimate_whole,
    record_columns,
    record_of,
)
from epithermal_edge.journal.sqlite import FAULTS
from epithermal_edge.loggers.channels import extra_columns
from epithermal_edge.records import (
    HOUSEKEEPING,
    NAN,
    CorrectedRecord,
    Estimate,
    Quality,
    RawRecord,
)

RECORD = "record"  # table of the records

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One record of the journal with its stored estimate."""

    seq: int
    outcome: Outcome
    model: str  # name and version; empty where no estimate is stored


class StoredRow(NamedTuple):
    """One record of the journal with what was computed for it, as numbers."""

    seq: int
    record: RawRecord
    model: str  # name and version; empty where no estimate is stored
    quality: int
    results: list[float]  # in the order of rows.RESULTS; NaN: unknown


def open_readonly(path: Path) -> sqlite3.Connection:
    """Open a journal read-only; a running station can go on writing it.

    Raises
    ------
    EpithermalError
        The file does not exist or cannot be read.
    """
    if not path.is_file():
        raise EpithermalError(
            f"{path}: no journal; check [station] state_dir, or run the station first"
        )
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)
        # checksums detect damaged text later
        db.text_factory = lambda data: data.decode(errors="replace")
        db.execute("SELECT 1 FROM record LIMIT 1").fetchone()
    except FAULTS as error:
        raise EpithermalError(
            f"{path}: {error}; read it as root or as the station's user"
        ) from error
    return db


def read_rows(
    db: sqlite3.Connection,
    after: int = 0,
    from_s: float = -math.inf,
    to_s: float = math.inf,
    limit: int = -1,
    table: str = RECORD,
    by_time: bool = False,
) -> Iterator[StoredRow]:
    """Yield the records in the order in which they were stored, each with its stored results.

    Parameters
    ----------
    after :
        Record number; only records with higher numbers are read.
    from_s, to_s : [s, Unix time]
        Bounds of the records' ends: from_s < end <= to_s.
    limit :
        Largest number of records; negative: no limit.
    table :
        RECORD or rows.SET_ASIDE.
    by_time :
        Order by the records' ends instead.

    Raises
    ------
    EpithermalError
        The journal cannot be read.
    """
    where = "record.seq > ? AND end_s > ? AND end_s <= ?"
    query = f"SELECT {_selected(db)} FROM {table} AS {_JOINED} WHERE {where}"
    order = "end_s" if by_time else "record.seq"
    for row, _ in _read(db, query, (after, from_s, to_s), limit, order):
        yield row


def read_entries(
    db: sqlite3.Connection,
    after: int = 0,
    limit: int = -1,
    from_s: float = -math.inf,
    to_s: float = math.inf,
    by_time: bool = False,
) -> Iterator[JournalEntry]:
    """Yield the records in the order in which they were stored, each with its stored estimate.

    Parameters and errors as for `read_rows`.
    """
    return map(_entry, read_rows(db, after, from_s, to_s, limit, by_time=by_time))


def models(db: sqlite3.Connection) -> list[str]:
    """List name and version of every bundle whose estimates are stored.

    Raises
    ------
    EpithermalError
        The journal cannot be read.
    """
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'estimate'").fetchone():
        return []
    try:
        rows = db.execute("SELECT model FROM estimate GROUP BY model ORDER BY min(seq)")
        return [str(model) for (model,) in rows if model]
    except FAULTS as error:
        raise EpithermalError(f"the journal cannot be read: {error}") from error


def read_windows(db: sqlite3.Connection, from_s: float) -> Iterator[tuple[JournalEntry, float]]:
    """Yield the last intact record of each 24 h window with the total rain of the window [mm].

    Parameters
    ----------
    from_s : [s, Unix time]
        Only records that end later are read.

    Raises
    ------
    EpithermalError
        The journal cannot be read.
    """
    db.create_function("is_record", -1, lambda *row: record_of(row) is not None)
    db.create_function("is_estimate", -1, lambda *row: is_estimate_whole(row))
    record, estimate = _present(db, "record"), _present(db, "estimate")
    newest = (
        "SELECT max(record.seq) AS seq, sum(rain_mm) AS fell"
        " FROM record JOIN estimate ON estimate.seq = record.seq"
        " WHERE end_s > ? AND window_end_s IS NOT NULL"
        f" AND is_record({record}) AND is_estimate({estimate}) GROUP BY window_end_s"
    )
    query = f"SELECT {_selected(db)}, fell FROM ({newest}) AS newest JOIN {_JOINED}"
    query = query.replace("LEFT JOIN", "ON record.seq = newest.seq LEFT JOIN")
    for row, (fell,) in _read(db, query, (from_s,)):
        yield _entry(row), NAN if fell is None else float(fell)


def optional_columns(
    db: sqlite3.Connection, from_s: float = -math.inf, to_s: float = math.inf
) -> tuple[str, ...]:
    """Return the housekeeping fields and extra channels that any record has, for a table.

    Parameters
    ----------
    from_s, to_s : [s, Unix time]
        Bounds of the records' ends: from_s < end <= to_s.

    Raises
    ------
    EpithermalError
        The journal cannot be read.
    """
    expressions = _expressions(db, "record")
    where = " OR ".join(f"{expressions[name]} IS NOT NULL" for name in (*HOUSEKEEPING, "channels"))
    columns = ", ".join(expressions.values())
    query = f"SELECT {columns} FROM record WHERE end_s > ? AND end_s <= ? AND ({where})"
    try:
        rows = map(record_of, db.execute(query, (from_s, to_s)))
        return extra_columns(record for record in rows if record is not None)
    except FAULTS as error:
        raise EpithermalError(f"the journal cannot be read: {error}") from error


def _expressions(db: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return the columns of a table; NULL for those that a file of an older version lacks."""
    columns = record_columns() if table == "record" else estimate_columns()
    stored = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    return {name: f"{table}.{name}" if name in stored else "NULL" for name in columns.split(", ")}


def _present(db: sqlite3.Connection, table: str) -> str:
    return ", ".join(_expressions(db, table).values())


def _selected(db: sqlite3.Connection) -> str:
    return f"{_present(db, 'record')}, {_present(db, 'estimate')}"


_JOINED = "record LEFT JOIN estimate ON estimate.seq = record.seq"


def _read(
    db: sqlite3.Connection,
    query: str,
    values: Sequence[object],
    limit: int = -1,
    order: str = "record.seq",
) -> Iterator[tuple[StoredRow, Sequence[Any]]]:
    """Yield the intact records of a query in order, and its columns after those of `_selected`."""
    width, end = RECORD_WIDTH, RECORD_WIDTH + len(RESULTS) + 4
    try:
        for row in db.execute(f"{query} ORDER BY {order} LIMIT ?", (*values, limit)):
            record = record_of(row[:width])
            if record is None:
                log.warning("record %s is damaged on the disk", row[0])
                continue
            yield _stored(row[0], record, row[width:end]), row[end:]
    except FAULTS as error:
        raise EpithermalError(f"the journal cannot be read: {error}") from error


def _stored(seq: int, record: RawRecord, row: Sequence[Any]) -> StoredRow:
    """Return a record with its results; NaN where they are missing or damaged."""
    if row[0] is None or not is_estimate_whole(row):
        return StoredRow(seq, record, "", int(Quality.NO_MODEL), [NAN] * len(RESULTS))
    _, model, quality, *stored, _ = row
    return StoredRow(seq, record, model, quality, [NAN if v is None else float(v) for v in stored])


def _entry(row: StoredRow) -> JournalEntry:
    numbers = dict(zip(RESULTS, row.results, strict=True))
    age = numbers["state_age_steps"]
    values: dict[str, Any] = {name: numbers[name] for name in ESTIMATE}
    values["state_age_steps"] = 0 if math.isnan(age) else int(age)
    estimate = Estimate(**values, quality=Quality(row.quality))
    corrected = CorrectedRecord(
        end_s=row.record.end_s,
        duration_s=np.array([row.record.duration_s]),
        counts=np.array([row.record.counts]),
        quality=np.array([row.quality]),
        **{name: np.array([numbers[name]]) for name in CORRECTED},
    )
    return JournalEntry(row.seq, Outcome(row.record, corrected, estimate), row.model)


def newest_window_end_s(db: sqlite3.Connection) -> float | None:
    """Return the end of the newest record's window [s, Unix time]; None without records."""
    query = (
        "SELECT window_end_s FROM estimate JOIN record USING (seq) ORDER BY record.seq DESC LIMIT 1"
    )
    row = db.execute(query).fetchone()
    return None if row is None else row[0]


def seq_before_last(db: sqlite3.Connection, count: int) -> int:
    """Return the number of the record before the last `count` records; at least 0."""
    (newest,) = db.execute("SELECT max(seq) FROM record").fetchone()
    return max((newest or 0) - count, 0)
