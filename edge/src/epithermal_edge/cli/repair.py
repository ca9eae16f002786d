"""Set records of a stopped station aside that end in the future, or restore them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from epithermal_edge.config.station_toml import Config
from epithermal_edge.errors import EpithermalError
from epithermal_edge.journal.journal import Journal
from epithermal_edge.journal.sqlite import lock_folder
from epithermal_edge.station.clock import read_synchronised
from epithermal_edge.station.timekeeper import PREFIX, state_after
from epithermal_edge.times import utc


def set_aside(config: Config, after_s: float | None) -> str:
    """Set aside all records that end after a time, and return a report of one line.

    Parameters
    ----------
    after_s : [s, Unix time]
        None: the present time by the synchronised clock, plus the tolerance of the configuration.

    Raises
    ------
    EpithermalError
        The station runs, the clock is not synchronised, or the journal cannot be written.
    """
    if after_s is None:
        if not read_synchronised():
            raise EpithermalError("the clock is not synchronised: give the time with --after")
        after_s = time.time() + config.source.clock_tolerance_s
    with _stopped(config) as journal:
        seqs = [stored.seq for stored in journal.stored_after(after_s)]
        if not seqs:
            return f"no record ends after {utc(after_s)}"
        journal.set_aside(seqs, after_s)
        values = state_after(journal.get_values(PREFIX), journal.newest_end_s())
        journal.put_values(dict(values))
        text = f"{len(seqs)} records that end after {utc(after_s)} were set aside by hand"
        journal.add_note("clock_step", text)
    return f"{text}; the next start computes the state again"


def restore(config: Config) -> str:
    """Restore all records that were set aside, and return a report of one line.

    Raises
    ------
    EpithermalError
        The station runs, or the journal cannot be written.
    """
    with _stopped(config) as journal:
        count = journal.restore_set_aside()
    return f"{count} records were restored; the next start computes the state again"


@contextmanager
def _stopped(config: Config) -> Iterator[Journal]:
    """Open the journal of a station that does not run."""
    lock = lock_folder(config.state_dir)
    try:
        with closing(Journal(config.state_dir, config.journal_max_mb)) as journal:
            yield journal
    finally:
        if lock is not None:
            os.close(lock)
