"""Print the journal line by line for `tail`, and write it as CSV for `export`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import IO

from epithermal_edge.cli import replay
from epithermal_edge.journal import history
from epithermal_edge.journal.history import JournalEntry, StoredRow
from epithermal_edge.journal.rows import RESULTS
from epithermal_edge.loggers.records_csv import CHECKSUM, seal
from epithermal_edge.messages.observation import qartod, quality_flags
from epithermal_edge.times import utc

POLL_S = 0.5  # between two reads of the journal
COLUMNS = ("seq", *replay.COLUMNS, "model")
_CORRECTED, _ESTIMATE = (
    itemgetter(*map(RESULTS.index, names)) for names in (replay.CORRECTED, replay.ESTIMATE)
)
_WINDOW_END, _AGE = RESULTS.index("window_end_s"), RESULTS.index("state_age_steps")


def write(rows: Iterable[StoredRow], out: IO[str], extra: Sequence[str] = ()) -> int:
    """Write records and their estimates as CSV, one line per record; return their number.

    Parameters
    ----------
    extra :
        Columns from `history.optional_columns`, after the others. The last column is the CRC-32 of
        the line before it, which the dialect `records` verifies.
    """
    print(*COLUMNS, *extra, CHECKSUM, sep=",", file=out)
    count = 0
    for row in rows:
        age = row.results[_AGE]
        cells = replay.format_cells(
            row.record,
            _CORRECTED(row.results),
            _ESTIMATE(row.results),
            row.results[_WINDOW_END],
            0 if age != age else int(age),
            row.quality,
        )
        text = f"{row.seq},{cells},{row.model}{replay.extra_cells(row.record, extra)}"
        out.write(f"{seal(text)}\n")
        count += 1
    return count


def format_line(entry: JournalEntry) -> str:
    """Format a record and its estimate as one line of text."""
    record, estimate = entry.outcome.record, entry.outcome.estimate
    theta = "-" if math.isnan(estimate.theta) else f"{estimate.theta:.3f}"
    sigma = "-" if math.isnan(estimate.theta_sigma) else f"{estimate.theta_sigma:.3f}"
    flags = " ".join(quality_flags(estimate.quality)) or "-"
    return (
        f"{utc(record.end_s)}  n {float(entry.outcome.corrected.n_corr_cph[0]):8.1f} /h"
        f"  theta {theta:>5} +- {sigma:<5}  q {qartod(estimate.quality, estimate.theta)}  {flags}"
    )


def follow(
    path: Path, last: int, forever: bool, sleep: Callable[[float], object] = time.sleep
) -> Iterator[JournalEntry]:
    """Yield the newest records, then each new one as it is committed.

    Parameters
    ----------
    path :
        The journal. If the station replaces it, the new one is followed.
    last :
        Number of stored records to yield first.
    forever :
        Wait for new records after these.

    Raises
    ------
    EpithermalError
        The journal does not exist or cannot be read.
    """
    db, inode = history.open_readonly(path), path.stat().st_ino
    after = history.seq_before_last(db, last)
    try:
        while True:
            for entry in history.read_entries(db, after):
                after = entry.seq
                yield entry
            if not forever:
                return
            sleep(POLL_S)
            now = path.stat().st_ino if path.exists() else inode
            if now != inode:
                db.close()
                db, inode, after = history.open_readonly(path), now, 0
    finally:
        db.close()
