"""Run records through the station's engine and write a table of estimates."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import IO

from epithermal_edge.config.station_toml import Config
from epithermal_edge.inference import root_zone
from epithermal_edge.inference.engine import Outcome
from epithermal_edge.journal import history
from epithermal_edge.loggers.channels import extra_value
from epithermal_edge.loggers.files import ReadResult, read_records
from epithermal_edge.messages.observation import qartod, quality_flags
from epithermal_edge.records import FACTORS, RawRecord
from epithermal_edge.station.reader import source_options
from epithermal_edge.station.status import JOURNAL_FILE
from epithermal_edge.times import utc

WATER = (
    *("available_mm", "depletion", "rate_mm_d", "days_to_threshold", "days_p05", "days_p95"),
    *root_zone.FIELDS,
)
SNOW = ("swe_mm", "swe_p05_mm", "swe_p95_mm", "swe_desilets_mm")
RATES = ("n_raw_cph", "n_corr_cph", "n_corr_sigma_cph", *(factor.name for factor in FACTORS))
COLUMNS = (
    *("time_utc", "duration_s", "counts", "pressure_hpa", "temperature_c"),
    *("relative_humidity_pct", "rain_mm", "et0_mm", "incoming", "abs_humidity_g_m3"),
    *RATES,
    *("window_end_utc", "theta", "theta_sigma", "theta_0_10", "theta_10_30", "theta_30_60"),
    *("theta_classical", "theta_classical_sigma", "d86_cm", "storage_mm"),
    *WATER,
    *SNOW,
    *("state_age_steps", "q", "flags"),
)
"""Columns of the table; names give the units, theta and factors are ratios."""

_BEFORE, _WINDOW = COLUMNS.index("abs_humidity_g_m3"), COLUMNS.index("window_end_utc")
_RECORD = attrgetter(*COLUMNS[1:_BEFORE])
CORRECTED = COLUMNS[_BEFORE:_WINDOW]
ESTIMATE = COLUMNS[_WINDOW + 1 : COLUMNS.index("state_age_steps")]
_CORRECTED, _ESTIMATE = attrgetter(*CORRECTED), attrgetter(*ESTIMATE)
_BEFORE_TEXT = ",".join(["%.8g"] * (_WINDOW - 1))  # eight significant digits
_AFTER_TEXT = ",".join(["%.8g"] * len(ESTIMATE))


def read(config: Config, files: Iterable[Path], dialect: str | None) -> ReadResult:
    """Read recorded files in the order of measurement.

    Parameters
    ----------
    dialect :
        None: the dialect of the configuration.

    Raises
    ------
    SourceError
        A file is missing or empty, or contains no record in this dialect.
    ConfigError
        The dialect is unknown.
    """
    return read_records(
        list(files), dialect or config.source.dialect, source_options(config.source)
    )


def from_journal(config: Config) -> tuple[Iterator[RawRecord], tuple[str, ...]]:
    """Read the records in the station's journal, in the order in which they arrived.

    Returns
    -------
    records, names
        The names of the optional columns that any of them has.

    Raises
    ------
    EpithermalError
        The journal does not exist or cannot be read.
    """
    db = history.open_readonly(config.state_dir / JOURNAL_FILE)
    records = (entry.outcome.record for entry in history.read_entries(db))
    return records, history.optional_columns(db)


def select(outcomes: Iterable[Outcome], from_s: float, to_s: float) -> Iterator[Outcome]:
    """Select the records that end after from_s and not after to_s [s, Unix time].

    The engine has processed the earlier records too: its state is that of the whole stream.
    """
    return (o for o in outcomes if from_s < o.record.end_s <= to_s)


def write(outcomes: Iterable[Outcome], out: IO[str], extra: Sequence[str] = ()) -> int:
    """Write outcomes as CSV, one line per record; return their number.

    Parameters
    ----------
    extra :
        Columns from `channels.extra_columns`, after the others.
    """
    print(*COLUMNS, *extra, sep=",", file=out)
    count = 0
    for outcome in outcomes:
        out.write(f"{line(outcome)}{extra_cells(outcome.record, extra)}\n")
        count += 1
    return count


def line(outcome: Outcome) -> str:
    """Return the cells of one record, in the order of `COLUMNS`."""
    estimate = outcome.estimate
    return format_cells(
        outcome.record,
        [array[0] for array in _CORRECTED(outcome.corrected)],
        _ESTIMATE(estimate),
        estimate.window_end_s,
        estimate.state_age_steps,
        int(estimate.quality),
    )


def format_cells(
    record: RawRecord,
    corrected: Sequence[float],
    estimate: Sequence[float],
    window_end_s: float,
    state_age_steps: int,
    quality: int,
) -> str:
    """Format the cells of one record; no cell needs quotes.

    Parameters
    ----------
    corrected, estimate :
        In the order of `CORRECTED` and `ESTIMATE`; the first one of `estimate` is theta.
    """
    end = utc(record.end_s)
    window_end = end if window_end_s == record.end_s else utc(window_end_s) or ""
    before, after = _BEFORE_TEXT % (*_RECORD(record), *corrected), _AFTER_TEXT % (*estimate,)
    numbers = f"{end},{before},{window_end},{after}".replace("nan", "")
    return f"{numbers},{state_age_steps},{qartod(quality, estimate[0])},{_flags(quality)}"


@functools.cache  # few combinations occur
def _flags(quality: int) -> str:
    return " ".join(quality_flags(quality))


def extra_cells(record: RawRecord, extra: Sequence[str]) -> str:
    """Format the optional columns of one record, each with its comma before it."""
    values = (float(extra_value(record, name)) for name in extra)
    return "".join("," if value != value else f",{value:.8g}" for value in values)
