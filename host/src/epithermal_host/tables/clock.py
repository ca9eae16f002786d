"""Parse the times of a table: one or several columns, any form, a fixed offset or a time zone."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.times import HOUR_S
from epithermal_host.arrays import Array
from epithermal_host.tables.description import TableFile, is_spreadsheet

log = logging.getLogger(__name__)

_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})([T ].*|Z)?")
_SLASHED = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(?!\d)")
_MIDNIGHT = re.compile(r"(.*\D)24(:00(?::00(?:\.0+)?)?)")
_OTHER = re.compile(r"(\d{1,2})([./-])(\d{1,2})[./-](\d{4}|\d{2})( \d{1,2}:\d{2}(:\d{2})?)?")
_LEAST_PARTS = 3  # year, month and day, each in its column
_DAY = datetime.timedelta(days=1)
_SKIPPED = (
    "the clock of {zone} skips this time, when summer time begins; is it on standard time all "
    "year? then set utc_offset_h in place of time_zone"
)


def read_times(file: TableFile, cells: Sequence[Sequence[str]], lines: Sequence[int]) -> Array:
    """Parse the times of all rows, (n,) [s, Unix time].

    Parameters
    ----------
    file :
        Description of the file.
    cells, lines :
        The texts of the time columns, and the line, of each row in the file's order.

    Raises
    ------
    ConfigError
        A text is not a time in the declared form, or the time zone's clock skips it.

    Notes
    -----
    The hour that the end of summer time repeats is read in the order of the rows: a stamp that is
    not later than the row before it is of the second pass. How many there are is logged.
    """
    stamps = []
    for line, row in zip(lines, cells, strict=True):
        try:
            stamps.append(_stamp(row, file))
        except (ValueError, OverflowError) as fault:
            raise ConfigError(f"{file.path}:{line}: {' '.join(file.time)}: {fault}") from fault
    if file.time_zone:
        return _in_zone(file, stamps, lines)
    offset_s = file.utc_offset_h * HOUR_S
    return np.array([_utc(stamp) - (0.0 if stamp.tzinfo else offset_s) for stamp in stamps])


def read_dates(
    file: TableFile, cells: Sequence[Sequence[str]], lines: Sequence[int]
) -> list[datetime.date]:
    """Parse the dates of all rows as written; a time of day and its zone are ignored.

    Parameters
    ----------
    file, cells, lines :
        As in `read_times`; the columns of `file.time` are those of the date.

    Raises
    ------
    ConfigError
        A text is not a date in the declared form.
    """
    dates = []
    for line, row in zip(lines, cells, strict=True):
        try:
            dates.append(_date(row, file))
        except (ValueError, OverflowError) as fault:
            reason = str(fault).replace("time_format", "date_format")
            raise ConfigError(f"{file.path}:{line}: {' '.join(file.time)}: {reason}") from fault
    return dates


def _date(cells: Sequence[str], file: TableFile) -> datetime.date:
    match = _DATE.fullmatch(" ".join(cells))
    if match is None or (file.time_format and not is_spreadsheet(file.path)):
        return _stamp(cells, file).date()
    try:
        return datetime.date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError as fault:
        raise ValueError(f"{' '.join(cells)!r} is not a date: {fault}; correct it") from fault


def _utc(stamp: datetime.datetime) -> float:
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=datetime.UTC)).timestamp()


def _stamp(cells: Sequence[str], file: TableFile) -> datetime.datetime:
    """Parse one time; without a zone if the text names none."""
    text = " ".join(cells)
    if file.time_format and not is_spreadsheet(file.path):
        return datetime.datetime.strptime(text, file.time_format)
    try:
        return _iso(cells)
    except ValueError:
        if file.time_format:  # a spreadsheet may have times as text too
            return datetime.datetime.strptime(text, file.time_format)
    raise ValueError(f"{text!r} is not a time like 2001-12-31 12:00; {_remedy(text)}")


def _iso(cells: Sequence[str]) -> datetime.datetime:
    if len(cells) >= _LEAST_PARTS and all(re.fullmatch(r"\d+(\.0)?", cell) for cell in cells):
        parts = [int(float(cell)) for cell in cells]
        day, rest = datetime.datetime(parts[0], parts[1], parts[2]), parts[3:]
        if len(rest) > 1:
            return day.replace(hour=rest[0], minute=rest[1], second=sum(rest[2:3]))
        return day + datetime.timedelta(hours=_hour(sum(rest)))
    text = _SLASHED.sub(lambda m: f"{m[1]}-{int(m[2]):02}-{int(m[3]):02}", " ".join(cells))
    if midnight := _MIDNIGHT.fullmatch(text):  # 24:00 ends the day
        return datetime.datetime.fromisoformat(f"{midnight[1]}00{midnight[2]}") + _DAY
    return datetime.datetime.fromisoformat(text)


def _hour(hour: int) -> int:
    if hour > 24:
        raise ValueError(f"hour {hour} is above 24")
    return hour


def _remedy(text: str) -> str:
    """Suggest the time_format of a text that is no ISO time."""
    match = _OTHER.fullmatch(text)
    if match is None:
        return "set time_format"
    year = "%Y" if len(match[4]) == 4 else "%y"
    clock = "" if not match[5] else " %H:%M:%S" if match[6] else " %H:%M"
    orders = {"%d{0}%m{0}": int(match[1]) <= 31 and int(match[3]) <= 12,
              "%m{0}%d{0}": int(match[1]) <= 12 and int(match[3]) <= 31}  # fmt: skip
    forms = [f'"{o.format(match[2])}{year}{clock}"' for o, fits in orders.items() if fits]
    return f"time_format = {' or '.join(forms)}?" if forms else "set time_format"


def _in_zone(file: TableFile, stamps: list[datetime.datetime], lines: Sequence[int]) -> Array:
    """Convert local times of a zone with summer time, (n,) [s, Unix time]."""
    zone = ZoneInfo(file.time_zone)
    naive = [stamp for stamp in stamps if stamp.tzinfo is None]
    backwards = len(naive) > 1 and naive[0] > naive[-1]
    order = range(len(stamps) - 1, -1, -1) if backwards else range(len(stamps))
    out = np.empty(len(stamps))
    before, repeated = -np.inf, 0
    for i in order:
        if stamps[i].tzinfo:
            out[i] = _utc(stamps[i])
        else:
            first = stamps[i].replace(tzinfo=zone)
            if first.astimezone(datetime.UTC).astimezone(zone).replace(tzinfo=None) != stamps[i]:
                reason = f"{stamps[i]}: {_SKIPPED.format(zone=file.time_zone)}"
                raise ConfigError(f"{file.path}:{lines[i]}: {' '.join(file.time)}: {reason}")
            second = first.replace(fold=1)
            out[i] = first.timestamp()
            if second.utcoffset() != first.utcoffset():
                repeated += 1
                out[i] = out[i] if out[i] > before else second.timestamp()
        before = out[i]
    if repeated:
        log.warning(
            "note: %s: %d times are in an hour that the end of summer time repeats; the order of "
            "the rows decides which pass they are of",
            file.path,
            repeated,
        )
    return out
