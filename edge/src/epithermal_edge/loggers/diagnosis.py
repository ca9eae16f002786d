"""Find the remedy for a port whose bytes give no records, from the bytes themselves."""

from __future__ import annotations

from dataclasses import replace

from epithermal_edge.errors import ConfigError, FrameError
from epithermal_edge.loggers import parser
from epithermal_edge.loggers.columns import Options
from epithermal_edge.loggers.dialects import DIALECTS
from epithermal_edge.loggers.framing import split
from epithermal_edge.loggers.records_csv import RECORDS_HEADER

SAMPLE_BYTES = 2048  # of the first and of the last bytes since a port was opened
GARBAGE_SHARE = 0.15  # of bytes that no text has; a wrong baud rate gives most of the bytes

_TEXT = frozenset({*range(0x20, 0x7F), *b"\t\r\n\x02\x03\x04\x1a"})
_RECORDS_COLUMNS = tuple(RECORDS_HEADER.decode("ascii").strip().split(","))

Sample = tuple[bytes, bytes]
"""The first bytes since a port was opened, and the last ones after these."""


def extend_sample(sample: Sample, chunk: bytes) -> Sample:
    """Return the sample with the next bytes of the port; start with (b"", b"")."""
    first, last = sample
    missing = SAMPLE_BYTES - len(first)
    rest = chunk[missing:] if missing > 0 else chunk
    if missing > 0:
        first += chunk[:missing]
    return first, (last + rest)[-SAMPLE_BYTES:] if rest else last


def find_remedy(
    dialect: str, options: Options, baud: int, sample: Sample, header: tuple[str, ...] = ()
) -> str:
    """Return the remedy for a port that gives no records or many damaged lines.

    Parameters
    ----------
    dialect, options, baud :
        Those in use.
    sample :
        From `extend_sample`.
    header :
        The names that the logger sent before the sample.
    """
    first, last = sample
    known = replace(options, columns=options.columns or header or None)
    own, has_columns, has_lines = _count_records(dialect, known, sample)
    recent = (first + last)[-SAMPLE_BYTES:]
    garbage = sum(byte not in _TEXT for byte in recent)
    if not own and garbage > GARBAGE_SHARE * len(recent):
        return (
            "set source.baud to the logger's rate: many bytes are no text at"
            f" {baud}; else check the wiring (ground, RS-232 or TTL levels)"
        )
    other = _find_other(dialect, options, sample)
    if other is not None and other[0] > own:
        return other[1]
    if own:
        return "check the cable, its plugs, its ground and its length, then source.baud"
    if not has_lines:
        return "set source.baud to the logger's rate, and make the logger end its lines"
    if not has_columns:
        return (
            "set source.columns to the names in order, or restart the logger so that it sends its"
            " header; or set source.dialect to that of the logger"
        )
    if options.columns:
        return "compare source.columns with a line of the logger, then check the cable"
    return "check the cable, its plugs and its ground, then source.dialect and source.columns"


def _find_other(dialect: str, options: Options, sample: Sample) -> tuple[int, str] | None:
    """Return the number of records of the dialect that reads the most, and how to set it."""
    bare = replace(options, columns=None, count_columns=None)
    found = []
    for name in DIALECTS:
        if name != dialect or options.count_columns:
            count, _, _ = _count_records(name, bare, sample)
            lacks = ", without source.columns" if options.columns else ""
            remedy = f'set source.dialect = "{name}"{lacks}'
            if name == dialect:
                remedy = "set source.count_columns to names of the logger's header, or remove it"
            found.append((count, remedy))
    own_lines = replace(bare, columns=_RECORDS_COLUMNS)
    if dialect != "records" or options.columns is None:
        count, _, _ = _count_records("records", own_lines, sample)
        names = ", ".join(f'"{column}"' for column in _RECORDS_COLUMNS)
        change = "" if dialect == "records" else 'source.dialect = "records" and '
        found.append((count, f"set {change}source.columns = [{names}]"))
    best = max(found, key=lambda pair: pair[0])
    return best if best[0] else None


def _count_records(dialect: str, options: Options, sample: Sample) -> tuple[int, bool, bool]:
    """Return the number of records, whether a header was read, and whether any line has ended."""
    try:
        context = parser.start(dialect, options)
    except ConfigError:
        return 0, False, False
    count = lines = 0
    for text in sample:  # the two are parted within a line
        for line in split(b"", text, context.dialect.line_bytes)[1]:
            lines += 1
            try:
                context, record = parser.parse(context, line)
            except FrameError:
                continue
            count += record is not None
    return count, context.plan is not None, lines > 0
