"""Lines of a logger to raw records, one after the other; pure.

context = start("hydroinnova")
buffer, lines = split(buffer, chunk, context.dialect.line_bytes)
for line in lines:
    context, record = parse(context, line)  # FrameError: damaged, count it and read on
"""

from __future__ import annotations

import csv
import difflib
import json
import math
from dataclasses import dataclass, replace

from epithermal_edge.errors import ConfigError, FrameError
from epithermal_edge.loggers.columns import NONE, Options, Plan, Tube, is_header, plan
from epithermal_edge.loggers.dialects import DIALECTS, Dialect
from epithermal_edge.loggers.framing import OVERLONG, split
from epithermal_edge.loggers.records_csv import RECORDS_HEADER, format_record
from epithermal_edge.loggers.values import number, unix_time
from epithermal_edge.records import NAN, RawRecord

__all__ = [
    "DIALECTS",
    "OVERLONG",
    "RECORDS_HEADER",
    "Context",
    "Dialect",
    "Options",
    "format_record",
    "parse",
    "split",
    "start",
]

TUBES_AGREE = 0.05  # relative difference allowed between the counting times of summed tubes
AFTER_A_HOLE = 1.5  # intervals between two lines that follow on: the logger was off in between

_FRAMING = " \x02\x03\x04\x1a"  # STX, ETX, EOT and SUB stand between the files of some loggers


@dataclass(frozen=True, slots=True)
class Last:
    """The record before, for loggers that do not tell their counting time."""

    end_s: float
    number: float  # running number of its line; NaN: none
    duration_s: float


@dataclass(frozen=True, slots=True)
class Context:
    """What the lines before tell about the next one; `start` makes the first."""

    dialect: Dialect
    options: Options
    plan: Plan | None = None  # None: no header yet
    header: tuple[str, ...] = ()  # of a header that the next comment line may continue
    extra: bool = False  # lines since the header end with a delimiter
    last: Last | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of data, cut, with what is needed to read it."""

    context: Context
    plan: Plan
    cells: list[str]

    def value(self, column: int, field: str, scale: float = 1.0) -> float:
        """As `fields.number`."""
        sentinels = self.context.dialect.sentinels.get(field, ())
        return number(self.cells[column], self.plan.names[column], field, sentinels, scale)

    def first(self, columns: tuple[int, ...], field: str, scale: float = 1.0) -> float:
        """The first value among the columns; those after it are not looked at."""
        for column in columns:
            value = self.value(column, field, scale)
            if not math.isnan(value):
                return value
        return NAN

    def aside(self, columns: tuple[int, ...], field: str) -> float:
        """As `first`, of a value that no estimate hangs on: damage leaves it unknown."""
        try:
            return self.first(columns, field)
        except FrameError:
            return NAN


def start(dialect: str, options: Options | None = None) -> Context:
    """The context before the first line.

    Parameters
    ----------
    dialect :
        A name of `DIALECTS`.
    options :
        From the station's configuration; None: the defaults.

    Raises
    ------
    ConfigError
        The dialect is unknown, or `options.columns` lacks what a record needs.
    """
    if dialect not in DIALECTS:
        near = difflib.get_close_matches(dialect, DIALECTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(DIALECTS)}"
        raise ConfigError(f"source.dialect: {dialect!r} is unknown; {hint}")
    context = Context(DIALECTS[dialect], options or Options())
    names = context.options.columns or context.dialect.columns
    if not names:
        return context
    try:
        return replace(context, plan=plan(context.dialect, context.options, names))
    except FrameError as fault:
        raise ConfigError(f"source: {fault}") from fault


def parse(context: Context, line: bytes) -> tuple[Context, RawRecord | None]:
    """One line of a logger.

    Parameters
    ----------
    context :
        From `start` or the call before; after a FrameError the same as for the damaged line.
    line :
        As `split` gives it.

    Returns
    -------
    Context, RawRecord or None
        None for a header, a comment, a blank line. NaN in the fields for which the logger says
        that it measured nothing.

    Raises
    ------
    FrameError
        The line is damaged, or no header came before it; the text says which column and why.
    """
    dialect = context.dialect
    if line == OVERLONG:
        raise FrameError(f"longer than {dialect.line_bytes} bytes")
    if b"\0" in line:  # which a serial driver gives for a byte that it could not read
        raise FrameError("a byte was lost on the wire")
    text = line.decode("latin-1").lstrip(_FRAMING)
    if not text.strip():
        return _closed(context), None
    if text.startswith(dialect.comments):
        return _comment(context, text), None
    if dialect.delimiter == "json":
        context, cells = _members(context, text)
    else:
        cells = _cells(dialect, text)
        if not text.lstrip('"')[:1].isdigit() and is_header(dialect, cells):
            return _with_header(context, cells), None
    made = context.plan
    if made is None:
        raise FrameError(f"no {dialect.name} header so far; set columns to the names in order")
    extra = _has_extra(context, made, cells)
    if extra is not context.extra or context.header:
        context = replace(context, extra=extra, header=())
    return _record(_Row(context, made, cells))


def _closed(context: Context) -> Context:
    return replace(context, header=()) if context.header else context


def _comment(context: Context, text: str) -> Context:
    """A comment may be the header, or go on with it: rovers list the GPS columns in a second."""
    cells = _cells(context.dialect, text.lstrip("/# "))
    if is_header(context.dialect, cells):
        return _with_header(context, cells)
    if context.header and len(cells) > 2:
        return _with_header(context, [*context.header, *cells])
    return _closed(context)


def _with_header(context: Context, cells: list[str]) -> Context:
    names = tuple(cell.strip() for cell in cells)
    if context.plan is None or names != context.plan.header:
        context = replace(context, plan=plan(context.dialect, context.options, names), last=None)
    return replace(context, header=names[:-1] if not names[-1] else (), extra=False)


def _cells(dialect: Dialect, text: str) -> list[str]:
    """The fields of a line, with their padding."""
    delimiter: str = dialect.delimiter
    if delimiter == "comma or tab":
        delimiter = "\t" if "\t" in text else ","
    if '"' in text:
        try:
            return next(csv.reader([text], delimiter=delimiter, strict=True), [])
        except csv.Error as fault:
            raise FrameError(f"damaged quotes: {fault}") from fault
    if delimiter == " ":
        return [cell for cell in text.split(" ") if cell]
    return text.split(delimiter)


def _members(context: Context, text: str) -> tuple[Context, list[str]]:
    """The values of a JSON object as text, so that one rule says what a number is.

    The keys are the header.
    """
    try:
        values = json.loads(
            text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_once
        )
    except (ValueError, RecursionError) as fault:
        raise FrameError(f"not JSON: {fault}") from fault
    if not isinstance(values, dict) or not values:
        raise FrameError("not a JSON object")
    cells = ["" if value is None else str(value) for value in values.values()]
    if context.plan is None or context.plan.header != tuple(values):
        if not all(key.isascii() and key.isprintable() for key in values):
            raise FrameError("a key is noise")
        context = _with_header(context, list(values))
    return context, cells


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values


def _record(row: _Row) -> tuple[Context, RawRecord]:
    context, made = row.context, row.plan
    stamp = " ".join([row.cells[column].lstrip(" ") for column in made.time])
    name, clock = made.names[made.time[0]], context.dialect.clock
    end_s = unix_time(stamp, name, clock, context.options.utc_offset_h)
    duration_s, last = _counting_time(row, end_s)
    record = RawRecord(
        end_s,
        duration_s,
        _counts(row, duration_s),
        row.first(made.pressure, "pressure_hpa"),
        row.first(made.temperature, "temperature_c"),
        row.first(made.humidity, "relative_humidity_pct"),
        row.first(made.rain, "rain_mm", made.rain_scale),
        row.first(made.et0, "et0_mm"),
        row.first(made.incoming, "incoming"),
        row.aside(made.battery, "battery_v"),
        row.aside(made.housing, "housing_humidity_pct"),
        _first_tube(row, duration_s),
    )
    return (context if last is None else replace(context, last=last)), record


def _has_extra(context: Context, made: Plan, cells: list[str]) -> bool:
    """Whether the line has a field after the named ones: the empty one that a closing comma makes.

    Nothing else may differ from the header: a delimiter lost or made by noise between two columns
    of no use would shift all columns behind, unseen.
    """
    n = len(cells)
    if n == made.width and not context.extra:
        return False
    fills = made.unnamed and context.dialect.fills_unnamed
    if n == made.width + 1 and (fills or not cells[-1].strip(" ")):
        return True
    raise FrameError(f"{n} fields where the header has {made.width + context.extra}")


def _counting_time(row: _Row, end_s: float) -> tuple[float, Last | None]:
    """Live time [s], the mean of the tubes that are summed; NaN where unknown."""
    columns = [tube.duration for tube in row.plan.tubes if tube.duration != NONE]
    if not columns:
        return _nominal_time(row, end_s)
    times = [row.value(column, "duration_s") for column in columns]
    mean = math.fsum(times) / len(times)
    if max(times) - min(times) > TUBES_AGREE * mean:
        raise FrameError(f"counting times of the tubes differ: {min(times):g} to {max(times):g} s")
    return mean, None


def _nominal_time(row: _Row, end_s: float) -> tuple[float, Last | None]:
    """Counting time [s] where no column tells it: from the configuration and the stamps.

    It is no longer than the time since the last record. Where the logger numbers its lines, the
    next number after a long time means that it was off, and nobody knows how much of that time.
    """
    if row.plan.interval_s:
        return row.plan.interval_s, None
    interval_s, last = row.context.options.interval_s, row.context.last
    n = row.value(row.plan.number, "number") if row.plan.number != NONE else NAN
    duration_s = interval_s
    if last is not None:
        since_s = end_s - last.end_s
        if since_s == 0 or n > last.number + 1:  # the same line again, or lines were lost
            duration_s = interval_s if math.isnan(last.duration_s) else last.duration_s
        elif n == last.number + 1 and since_s > AFTER_A_HOLE * interval_s:
            duration_s = NAN
        elif 0 < since_s < interval_s:
            duration_s = since_s
    return duration_s, Last(end_s, n, duration_s)


def _counts(row: _Row, duration_s: float) -> float:
    total = math.fsum(_tube_counts(row, tube, duration_s) for tube in row.plan.tubes)
    least_s = row.context.dialect.least_live_share * row.context.options.interval_s
    return NAN if duration_s < least_s else total


def _first_tube(row: _Row, duration_s: float) -> float:
    """Counts of the first of several tubes."""
    if len(row.plan.tubes) > 1:
        return _tube_counts(row, row.plan.tubes[0], duration_s)
    return row.aside(row.plan.first_tube, "counts")


def _tube_counts(row: _Row, tube: Tube, duration_s: float) -> float:
    value = row.value(tube.column, "counts")
    if tube.period_s:
        value *= duration_s / tube.period_s
        return NAN if math.isnan(value) else float(round(value))  # back to what was counted
    if not math.isnan(value) and not value.is_integer():
        raise FrameError(f"{row.plan.names[tube.column]}: {value:g} counts are not whole")
    return value
