"""Parse the lines of a logger into raw records; the context between lines is a value.

context = start("hydroinnova")
buffer, lines = split(buffer, chunk, context.dialect.line_bytes)
for line in lines:
    context, record = parse(context, line)  # FrameError: damaged line, count it and continue
"""

from __future__ import annotations

import csv
import difflib
import json
import math
import zlib
from dataclasses import dataclass, replace

from epithermal_edge.errors import ConfigError, FrameError
from epithermal_edge.loggers.columns import (
    NONE,
    ChannelColumns,
    Options,
    Plan,
    Tube,
    find_clash,
    is_header,
    plan_columns,
)
from epithermal_edge.loggers.dialects import DIALECTS, Dialect
from epithermal_edge.loggers.framing import OVERLONG, split
from epithermal_edge.loggers.records_csv import RECORDS_HEADER, format_record
from epithermal_edge.loggers.units import apply_units
from epithermal_edge.loggers.values import parse_number, parse_time
from epithermal_edge.records import NAN, RawRecord

__all__ = [
    "DIALECTS",
    "OVERLONG",
    "RECORDS_HEADER",
    "Context",
    "Dialect",
    "Options",
    "describe_flagged",
    "format_record",
    "parse",
    "split",
    "start",
]

TUBES_AGREE = 0.05  # relative difference allowed between the counting times of summed tubes
GAP_INTERVALS = 1.5  # between lines with consecutive numbers: longer means the logger was off

_FRAMING = " \x02\x03\x04\x1a"  # some loggers send STX, ETX, EOT and SUB between files


@dataclass(frozen=True, slots=True)
class LastRecord:
    """The previous record, for loggers that do not send the counting time."""

    end_s: float
    number: float  # running number of its line; NaN: none
    duration_s: float


@dataclass(frozen=True, slots=True)
class Context:
    """State between lines, which the parser of the next line needs; from `start` at first."""

    dialect: Dialect
    options: Options
    plan: Plan | None = None  # None: no header yet
    header: tuple[str, ...] = ()  # names of a header that the next comment line may continue
    extra: bool = False  # lines since the header end with a delimiter
    last: LastRecord | None = None
    flagged: int = 0  # records whose counts are not used, because of the quality column
    clash: str = ""  # how the last header contradicts `columns`; no line is read until one agrees


@dataclass(frozen=True, slots=True)
class _Row:
    """The cells of a line of data, with context and plan."""

    context: Context
    plan: Plan
    cells: list[str]

    def value(self, column: int, field: str, scale: float = 1.0, limits: str = "") -> float:
        """Parse the value in a column; see `values.parse_number`."""
        plan, cell = self.plan, self.cells[column]
        name = plan.names[column]
        if column in plan.unknown_units:
            raise FrameError(f"{name}: {plan.unknown_units[column]}")
        if not cell:  # half of all cells
            return NAN
        sentinels = self.context.dialect.sentinels.get(field, ())
        factor, offset = plan.conversions.get(column, (1.0, 0.0))
        return parse_number(cell, name, limits or field, sentinels, scale * factor, offset)

    def first(self, columns: tuple[int, ...], field: str, scale: float = 1.0) -> float:
        """Parse the columns in order and return the first value that is not missing."""
        for column in columns:
            value = self.value(column, field, scale)
            if not math.isnan(value):
                return value
        return NAN

    def optional(self, columns: tuple[int, ...], field: str) -> float:
        """Return `first` of a value that no estimate depends on; NaN if it is damaged."""
        try:
            return self.first(columns, field)
        except FrameError:
            return NAN


def start(dialect: str, options: Options | None = None) -> Context:
    """Return the context before the first line.

    Parameters
    ----------
    dialect :
        A name of `DIALECTS`.
    options :
        Settings from the station's configuration; None: the defaults.

    Raises
    ------
    ConfigError
        The dialect is unknown, or `options.columns` lacks a column that a record needs.
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
        return replace(context, plan=plan_columns(context.dialect, context.options, names))
    except FrameError as fault:
        raise ConfigError(f"source: {fault}") from fault


def describe_flagged(context: Context) -> str:
    """Describe the records whose counts are not used, for the log."""
    return f"{context.dialect.flag.upper()} is not 0 in {context.flagged} records: no counts"


def parse(context: Context, line: bytes) -> tuple[Context, RawRecord | None]:
    """Parse one line of a logger.

    Parameters
    ----------
    context :
        From `start` or the previous call; after a FrameError, the same as for the damaged line.
    line :
        A line from `split`.

    Returns
    -------
    Context, RawRecord or None
        None for a header, a comment or a blank line. Fields that the logger did not measure are
        NaN.

    Raises
    ------
    FrameError
        The line is damaged, or no header came before it; the text names column and reason.
    """
    dialect = context.dialect
    if line == OVERLONG:
        raise FrameError(f"longer than {dialect.line_bytes} bytes")
    if b"\0" in line:  # a serial driver puts NUL in the place of a byte that it could not read
        raise FrameError("a byte was lost on the wire")
    text = line.decode("latin-1").lstrip(_FRAMING)
    if not text.strip():
        return _end_header(context), None
    if text.startswith(dialect.comments):
        return _comment(context, text), None
    if text.startswith(dialect.units):
        return _with_units(context, text), None
    if dialect.delimiter == "json":
        context, cells = _json_cells(context, text)
    else:
        cells = _cells(dialect, text)
        if not text.lstrip('"')[:1].isdigit() and is_header(dialect, cells):
            return _with_header(context, cells), None
    plan = context.plan
    if plan is None:
        missing = f"no {dialect.name} header so far; set columns to the names in order"
        raise FrameError(context.clash or missing)
    extra = _has_extra(context, plan, cells)
    if plan.checksum != NONE:
        _verify(text.rstrip(" ")[:-1] if extra else text, plan.names[plan.checksum])
    if extra is not context.extra or context.header:
        context = replace(context, extra=extra, header=())
    return _record(_Row(context, plan, cells))


def _end_header(context: Context) -> Context:
    return replace(context, header=()) if context.header else context


def _comment(context: Context, text: str) -> Context:
    """Parse a comment, which may be a header or its continuation (GPS columns of rovers)."""
    cells = _cells(context.dialect, text.lstrip("/# "))
    if is_header(context.dialect, cells):
        return _with_header(context, cells)
    if context.header and len(cells) > 2:
        return _with_header(context, [*context.header, *cells])
    return _end_header(context)


def _with_header(context: Context, cells: list[str]) -> Context:
    names = tuple(cell.strip() for cell in cells)
    if context.options.columns is not None and context.dialect.delimiter != "json":
        return _with_declared(context, context.options.columns, names)
    if context.plan is None or names != context.plan.header:
        context = replace(
            context, plan=plan_columns(context.dialect, context.options, names), last=None
        )
    return replace(context, header=names[:-1] if not names[-1] else (), extra=False)


def _with_declared(context: Context, columns: tuple[str, ...], names: tuple[str, ...]) -> Context:
    """Compare a header with the configured columns, which are used unless the two contradict.

    Raises
    ------
    FrameError
        The header has another number of names; the configured columns stay in use.
    """
    named = names if names[-1] else names[:-1]
    if len(named) != len(columns):
        raise FrameError(f"a header of {len(named)} names, columns has {len(columns)}: not used")
    clash = find_clash(context.dialect, context.options, columns, named)
    plan = (
        None if clash else context.plan or plan_columns(context.dialect, context.options, columns)
    )
    return replace(context, plan=plan, header=(), extra=False, clash=clash)


def _with_units(context: Context, text: str) -> Context:
    if context.plan is None:  # the header was damaged
        return _end_header(context)
    plan = apply_units(context.plan, _cells(context.dialect, text))
    return replace(context, plan=plan, header=())


def _cells(dialect: Dialect, text: str) -> list[str]:
    """Split a line into its fields, with their padding."""
    delimiter: str = dialect.delimiter
    if delimiter == "comma or tab":
        delimiter = "\t" if "\t" in text else ","
    elif delimiter == "comma or blanks":
        delimiter = "," if "," in text else " "
    if '"' in text:
        try:
            return next(csv.reader([text], delimiter=delimiter, strict=True), [])
        except csv.Error as fault:
            raise FrameError(f"damaged quotes: {fault}") from fault
    if delimiter == " ":
        return [cell for cell in text.split(" ") if cell]
    return text.split(delimiter)


def _json_cells(context: Context, text: str) -> tuple[Context, list[str]]:
    """Return the values of a JSON object as text, for `parse_number`; the keys are the header."""
    try:
        values = json.loads(
            text,
            parse_float=str,
            parse_int=str,
            parse_constant=str,
            object_pairs_hook=_reject_duplicates,
        )
    except (ValueError, RecursionError) as fault:
        raise FrameError(f"not JSON: {fault}") from fault
    if not isinstance(values, dict) or not values:
        raise FrameError("not a JSON object")
    cells = ["" if value is None else str(value) for value in values.values()]
    if context.plan is None or context.plan.header != tuple(values):
        if not all(key.isascii() and key.isprintable() for key in values):
            raise FrameError("a key is not printable ASCII")
        context = _with_header(context, list(values))
    return context, cells


def _reject_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key occurs twice")
    return values


def _record(row: _Row) -> tuple[Context, RawRecord]:
    context, plan = row.context, row.plan
    stamp = " ".join([row.cells[column].lstrip(" ") for column in plan.time])
    name = plan.names[plan.time[0]]
    end_s = parse_time(stamp, name, plan.clock, context.options.utc_offset_h)
    duration_s, last = _counting_time(row, end_s)
    flagged = any(row.value(column, "number") != 0.0 for column in plan.flag)
    record = RawRecord(
        end_s,
        duration_s,
        NAN if flagged else _counts(row, duration_s),
        row.first(plan.pressure, "pressure_hpa"),
        row.first(plan.temperature, "temperature_c"),
        row.first(plan.humidity, "relative_humidity_pct"),
        row.first(plan.rain, "rain_mm", plan.rain_scale),
        row.first(plan.et0, "et0_mm"),
        row.first(plan.incoming, "incoming"),
        row.optional(plan.battery, "battery_v"),
        row.optional(plan.housing, "housing_humidity_pct"),
        NAN if flagged else _first_tube(row, duration_s),
        _channels(row, duration_s) if plan.channels else {},
    )
    if flagged:
        context = replace(context, flagged=context.flagged + 1)
    return (context if last is None else replace(context, last=last)), record


def _has_extra(context: Context, plan: Plan, cells: list[str]) -> bool:
    """Check whether the line has one field after the named ones, as from a closing comma.

    No other difference from the header is allowed: a delimiter that noise deletes or adds between
    two unused columns would shift all later columns without a trace.

    Raises
    ------
    FrameError
        The number of fields is another one.
    """
    n = len(cells)
    if n == plan.width and not context.extra:
        return False
    fills = plan.unnamed and context.dialect.fills_unnamed
    if n == plan.width + 1 and (fills or not cells[-1].strip(" ")):
        return True
    raise FrameError(f"{n} fields where the header has {plan.width + context.extra}")


def _verify(text: str, name: str) -> None:
    """Raise FrameError unless a line ends with the CRC-32 of what stands before its last comma."""
    body, _, found = text.rpartition(",")
    if found.strip(" ") != f"{zlib.crc32(body.encode('latin-1')):08x}":
        raise FrameError(
            f"{name}: {found[:24]!r} is not that of the line;"
            f" delete the column {name} from a table that was edited"
        )


def _channels(row: _Row, duration_s: float) -> dict[str, float]:
    """Return the extra channels that were measured; a damaged one is missing."""
    values = {}
    for found in row.plan.channels:
        value = _channel(row, found, duration_s)
        if not math.isnan(value):
            values[found.channel.name] = value
    return values


def _channel(row: _Row, found: ChannelColumns, duration_s: float) -> float:
    channel, value = found.channel, NAN
    for column in found.columns:
        try:
            value = row.value(column, channel.field, 1.0, channel.limits)
        except FrameError:
            continue
        if not math.isnan(value):
            break
    if channel.field != "counts" or math.isnan(value):
        return value
    if not _is_live(row, duration_s):
        return NAN
    if found.period_s:
        value *= duration_s / found.period_s
        return NAN if math.isnan(value) else float(round(value))
    return value if value.is_integer() else NAN


def _counting_time(row: _Row, end_s: float) -> tuple[float, LastRecord | None]:
    """Return the live time [s], the mean of the summed tubes; NaN if unknown."""
    columns = [tube.duration for tube in row.plan.tubes if tube.duration != NONE]
    if not columns:
        return _nominal_time(row, end_s)
    times = [row.value(column, "duration_s") for column in columns]
    mean = math.fsum(times) / len(times)
    if max(times) - min(times) > TUBES_AGREE * mean:
        raise FrameError(f"counting times of the tubes differ: {min(times):g} to {max(times):g} s")
    return mean, None


def _nominal_time(row: _Row, end_s: float) -> tuple[float, LastRecord | None]:
    """Return the counting time [s] if no column has it, from the configuration and the stamps.

    It is at most the time since the previous record. If the logger numbers its lines, consecutive
    numbers after a long time mean that the logger was off for an unknown part of it: NaN.
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
        elif n == last.number + 1 and since_s > GAP_INTERVALS * interval_s:
            duration_s = NAN
        elif 0 < since_s < interval_s:
            duration_s = since_s
    return duration_s, LastRecord(end_s, n, duration_s)


def _counts(row: _Row, duration_s: float) -> float:
    total = math.fsum(_tube_counts(row, tube, duration_s) for tube in row.plan.tubes)
    return total if _is_live(row, duration_s) else NAN


def _is_live(row: _Row, duration_s: float) -> bool:
    """Check whether counts belong to the counting time of their line."""
    least_s = row.context.dialect.least_live_share * row.context.options.interval_s
    return not duration_s < least_s


def _first_tube(row: _Row, duration_s: float) -> float:
    """Return the counts of the first of several tubes."""
    if len(row.plan.tubes) > 1:
        return _tube_counts(row, row.plan.tubes[0], duration_s)
    return row.optional(row.plan.first_tube, "counts")


def _tube_counts(row: _Row, tube: Tube, duration_s: float) -> float:
    value = row.value(tube.column, "counts")
    if tube.period_s:
        value *= duration_s / tube.period_s
        return (
            NAN if math.isnan(value) else float(round(value))
        )  # the rate converted back to counts
    if not math.isnan(value) and not value.is_integer():
        raise FrameError(f"{row.plan.names[tube.column]}: {value:g} counts are not whole")
    return value
