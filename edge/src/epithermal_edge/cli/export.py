"""The journal for people and for tables: `tail` and `export`."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from epithermal_edge.cli import replay
from epithermal_edge.journal import history as archive
from epithermal_edge.journal.history import Told
from epithermal_edge.messages.observation import qartod, quality_flags
from epithermal_edge.times import utc

POLL_S = 0.5  # how often a follower looks
COLUMNS = ("seq", *replay.COLUMNS, "model")


def write(entries: Iterable[Told], out: IO[str]) -> int:
    """Records and what was told of them as CSV, one line a record; the number of them."""
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    count = 0
    for entry in entries:
        table.writerow([entry.seq, *replay.row(entry.outcome), entry.model])
        count += 1
    return count


def line(entry: Told) -> str:
    """One record for the eye."""
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
) -> Iterator[Told]:
    """The newest records, then each new one as it is committed.

    Parameters
    ----------
    path :
        The journal. When the station puts a new one in its place, that is followed.
    last :
        How many to begin with.
    forever :
        Go on when these are told.

    Raises
    ------
    EpithermalError
        The journal is not there or cannot be read.
    """
    db, inode = archive.open_readonly(path), path.stat().st_ino
    after = archive.before_last(db, last)
    try:
        while True:
            for entry in archive.told(db, after):
                after = entry.seq
                yield entry
            if not forever:
                return
            sleep(POLL_S)
            now = path.stat().st_ino if path.exists() else inode
            if now != inode:
                db.close()
                db, inode, after = archive.open_readonly(path), now, 0
    finally:
        db.close()
