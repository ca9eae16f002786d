"""What the station told of each record, kept in the journal beside it: for `tail` and `export`.

The estimate as it was told, by the model of that day; `replay` computes it again with the model of
today. Readers open the journal read-only and do not disturb the station that writes it.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from epithermal_edge.bundle import Bundle
from epithermal_edge.engine import Outcome
from epithermal_edge.errors import EpithermalError
from epithermal_edge.records import NAN, CorrectedRecord, Estimate, Quality, RawRecord

CORRECTED = (
    *("n_raw_cph", "n_corr_cph", "n_corr_sigma_cph", "f_p", "f_h", "f_i", "f_v"),
    "abs_humidity_g_m3",
)
ESTIMATE = tuple(f.name for f in fields(Estimate) if f.name != "quality")
CREATE = f"""
CREATE TABLE IF NOT EXISTS estimate (
  seq INTEGER PRIMARY KEY, model TEXT NOT NULL, quality INTEGER NOT NULL,
  {", ".join(f"{name} REAL" for name in (*CORRECTED, *ESTIMATE))}
)
"""
_MARKS = ", ".join("?" * (3 + len(CORRECTED) + len(ESTIMATE)))
INSERT = f"INSERT OR REPLACE INTO estimate VALUES ({_MARKS})"
PRUNE = "DELETE FROM estimate WHERE seq < ?"


@dataclass(frozen=True, slots=True)
class Told:
    """One record of the journal and what was told of it."""

    seq: int
    outcome: Outcome
    model: str  # name and version; empty where the estimate is not kept


def row(seq: int, outcome: Outcome, bundle: Bundle) -> tuple[object, ...]:
    """What `INSERT` takes of a record's outcome."""
    corrected, estimate = outcome.corrected, outcome.estimate
    numbers = [float(getattr(corrected, name)[0]) for name in CORRECTED]
    numbers += [float(getattr(estimate, name)) for name in ESTIMATE]
    cells = (None if math.isnan(number) else number for number in numbers)
    return (seq, f"{bundle.name} {bundle.version}", int(estimate.quality), *cells)


def open_readonly(path: Path) -> sqlite3.Connection:
    """The journal, for reading while a station may write.

    Raises
    ------
    EpithermalError
        There is none, or it cannot be read.
    """
    if not path.is_file():
        raise EpithermalError(
            f"{path}: no journal; see [station] state_dir, or run the station first"
        )
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)
        db.execute("SELECT 1 FROM record LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise EpithermalError(
            f"{path}: {error}; read it as root or as the station's user"
        ) from error
    return db


def told(
    db: sqlite3.Connection, after: int = 0, from_s: float = -math.inf, to_s: float = math.inf
) -> Iterator[Told]:
    """Records in the order of their taking, each with what was told of it.

    Parameters
    ----------
    after :
        Number of a record: only later ones.
    from_s, to_s : [s, Unix time]
        Bounds of the records' ends; from_s is outside, to_s inside.

    Raises
    ------
    EpithermalError
        The journal cannot be read.
    """
    names = [f"record.{f.name}" for f in fields(RawRecord)]
    names += ["seq", "model", "quality", *CORRECTED, *ESTIMATE]
    query = (
        f"SELECT {', '.join(names)} FROM record LEFT JOIN estimate USING (seq)"
        " WHERE seq > ? AND end_s > ? AND end_s <= ? ORDER BY seq"
    )
    try:
        for values in db.execute(query, (after, from_s, to_s)):
            yield _told(values)
    except sqlite3.Error as error:
        raise EpithermalError(f"the journal cannot be read: {error}") from error


def _told(values: tuple[Any, ...]) -> Told:
    width = len(fields(RawRecord))
    raw, (seq, model, quality), rest = (
        values[:width],
        values[width : width + 3],
        values[width + 3 :],
    )
    numbers = [NAN if value is None else float(value) for value in rest]
    record = RawRecord(*(NAN if value is None else float(value) for value in raw))
    factors = {name: np.array([number]) for name, number in zip(CORRECTED, numbers, strict=False)}
    estimate: dict[str, Any] = dict(zip(ESTIMATE, numbers[len(CORRECTED) :], strict=True))
    age = estimate["state_age_steps"]
    estimate["state_age_steps"] = 0 if math.isnan(age) else int(age)
    flags = Quality(quality) if quality is not None else Quality.NO_MODEL
    corrected = CorrectedRecord(
        end_s=record.end_s,
        duration_s=np.array([record.duration_s]),
        counts=np.array([record.counts]),
        quality=np.array([int(flags)]),
        **factors,
    )
    return Told(seq, Outcome(record, corrected, Estimate(**estimate, quality=flags)), model or "")


def before_last(db: sqlite3.Connection, count: int) -> int:
    """Number of the record before the last `count` ones."""
    (newest,) = db.execute("SELECT max(seq) FROM record").fetchone()
    return max((newest or 0) - count, 0)
