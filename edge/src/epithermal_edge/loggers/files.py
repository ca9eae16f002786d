"""Read records from recorded files: plain or compressed, single or in folders."""

from __future__ import annotations

import gzip
import logging
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from epithermal_edge.errors import FrameError, SourceError
from epithermal_edge.loggers.columns import unread_air
from epithermal_edge.loggers.dialects import LINE_BYTES
from epithermal_edge.loggers.parser import (
    DIALECTS,
    Context,
    Options,
    describe_flagged,
    parse,
    split,
    start,
)
from epithermal_edge.records import NUMBERS, RawRecord

MAX_REASONS = 20
BINARY_TABLES = (b'"TOB1"', b'"TOB2"', b'"TOB3"')  # first bytes of Campbell's binary files
CHUNK_BYTES = 1 << 16
PROBE_LINES = 200  # lines of a file without a record to test against the other dialects

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Records of recorded files, and what could not be read."""

    records: tuple[RawRecord, ...]  # by end time, each end once
    lines: int
    damaged: int
    flagged: int  # records whose counts are not used, because of the quality column
    reasons: tuple[str, ...]  # "file:line: reason" of the first damaged lines
    duplicates: int  # the same record again
    conflicts: int  # another record with the same end; the first one is used
    without_record: tuple[str, ...]  # names of files without a record
    unread: tuple[str, ...] = ()  # columns that look like values of the air but are not read


@dataclass(slots=True)
class _Tally:
    """Counters and samples collected while files are read."""

    lines: int = 0
    damaged: int = 0
    flagged: int = 0
    reasons: list[str] = field(default_factory=list)
    without_record: list[str] = field(default_factory=list)
    sample: list[bytes] = field(default_factory=list)  # the first lines
    binary: list[str] = field(default_factory=list)  # "file: reason" of each binary table
    headers: int = 0  # files with a header of the dialect
    header_only: list[str] = field(default_factory=list)  # names of files with only a header
    unread: dict[str, None] = field(default_factory=dict)  # warnings, each once


def read_records(paths: Iterable[Path], dialect: str, options: Options | None = None) -> ReadResult:
    """Read all records of recorded files and sort them by end time.

    Parameters
    ----------
    paths :
        Files, plain or .gz or .zip, and folders of such files.
    dialect, options :
        As for `parser.start`; each file has its own header.

    Raises
    ------
    SourceError
        A file is missing, empty or cannot be unpacked, or no file has a record of this dialect.
    ConfigError
        As for `parser.start`.
    """
    context = start(dialect, options)
    tally = _Tally()
    records: list[RawRecord] = []
    names: list[str] = []
    for path in paths:
        for name, chunks in file_chunks(path):
            names.append(name)
            before = len(records)
            records.extend(_records(name, chunks, context, tally))
            if len(records) == before:
                tally.without_record.append(name)
    if not records:
        raise SourceError(_describe_failure(names, context, tally))
    unique, duplicates, conflicts = _sort(records)
    return ReadResult(
        records=unique,
        lines=tally.lines,
        damaged=tally.damaged,
        flagged=tally.flagged,
        reasons=tuple(tally.reasons),
        duplicates=duplicates,
        conflicts=conflicts,
        without_record=tuple(tally.without_record),
        unread=tuple(tally.unread),
    )


def _records(
    name: str, chunks: Iterable[bytes], context: Context, tally: _Tally
) -> Iterator[RawRecord]:
    damaged_before, without_header, count = tally.damaged, context.plan, 0
    for number, line in enumerate(split_stream(chunks, context.dialect.line_bytes), start=1):
        tally.lines += 1
        if number == 1 and line.startswith(BINARY_TABLES):
            _reject_binary(name, line, tally)
            return
        if len(tally.sample) < PROBE_LINES:
            tally.sample.append(line)
        try:
            context, record = parse(context, line)
        except FrameError as fault:
            tally.damaged += 1
            if len(tally.reasons) < MAX_REASONS:
                tally.reasons.append(f"{name}:{number}: {fault}")
            continue
        if record is not None:
            count += 1
            yield record
    if context.flagged:
        tally.flagged += context.flagged
        log.warning("%s: %s", name, describe_flagged(context))
    if context.plan is not None:
        tally.unread.update(dict.fromkeys(unread_air(context.plan)))
    if context.plan is without_header:
        return
    tally.headers += 1
    if not count and tally.damaged == damaged_before:
        tally.header_only.append(name)


def _reject_binary(name: str, line: bytes, tally: _Tally) -> None:
    """Count a binary table as one damaged line, because its bytes are not lines."""
    kind = line[1:5].decode("ascii")
    reason = f"{kind} is binary; convert it to TOA5 with CardConvert"
    tally.damaged += 1
    tally.binary.append(f"{name}: {reason}")
    if len(tally.reasons) < MAX_REASONS:
        tally.reasons.append(f"{name}:1: {reason}")


def split_stream(chunks: Iterable[bytes], limit: int = LINE_BYTES) -> Iterator[bytes]:
    """Split a whole stream into lines; the last line may lack its end."""
    buffer = b""
    for chunk in chunks:
        buffer, ended = split(buffer, chunk, limit)
        yield from ended
    if buffer.strip(b"\r"):
        _, ended = split(buffer, b"\n", limit)
        yield from ended


def _sort(records: Sequence[RawRecord]) -> tuple[tuple[RawRecord, ...], int, int]:
    """Sort records by end time; return the first of each, the numbers of duplicates and conflicts.

    A duplicate has the same values as the first record with this end time, a conflict has others.
    """
    first: dict[float, RawRecord] = {}
    duplicates = conflicts = 0
    for record in records:
        known = first.setdefault(record.end_s, record)
        if known is record:
            continue
        if _key(known) == _key(record):
            duplicates += 1
        else:
            conflicts += 1
    return tuple(first[end_s] for end_s in sorted(first)), duplicates, conflicts


def _key(record: RawRecord) -> tuple[object, ...]:
    """Return the values with None for NaN, so that two missing values are equal."""
    values = [getattr(record, name) for name in NUMBERS]
    return (
        *(None if math.isnan(value) else value for value in values),
        tuple(sorted(record.channels.items())),
    )


def _describe_failure(names: list[str], context: Context, tally: _Tally) -> str:
    """Describe files without a record, with a remedy; usually the dialect is wrong."""
    if not names:
        return "no file given"
    if tally.binary:
        return _first_of(tally.binary)
    where = _first_of(names)
    sample = [line for line in tally.sample if line.strip()]
    if not sample:
        return f"{where}: only blank lines; give a file that the logger wrote"
    if len(tally.header_only) == len(names):
        return f"{where}: a header, no record yet; read it again when the logger has added one"
    dialect = context.dialect.name
    text = f"{where}: no {dialect} record in {tally.lines} lines; the first is {sample[0][:80]!r}"
    fits = {name: _count_records(name, sample) for name in DIALECTS if name != dialect}
    best = max(fits, key=lambda name: fits[name])
    if fits[best]:
        return f"{text}; dialect {best!r} can read it"
    reason = f"; {tally.reasons[0]}" if tally.reasons else ""
    if tally.headers:  # the dialect is right
        return f"{text}{reason}"
    return f"{text}{reason}; try another dialect ({', '.join(DIALECTS)}) or set `columns`"


def _first_of(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} and {len(texts) - 1} more"


def _count_records(dialect: str, sample: list[bytes]) -> int:
    context = start(dialect)
    count = 0
    for line in sample:
        try:
            context, record = parse(context, line)
        except FrameError:
            continue
        count += record is not None
    return count


def file_chunks(path: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the files below a path with their bytes, unpacked.

    Parameters
    ----------
    path :
        A file, plain or compressed (recognised by its first bytes, not its name), or a folder,
        searched recursively in the order of names, without hidden files.

    Yields
    ------
    name, chunks
        The name for messages; read the chunks before you request the next file.

    Raises
    ------
    SourceError
        The path does not exist, is empty or cannot be read.
    """
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.is_file() and p.name[0] != "."]
        if not files:
            raise SourceError(f"{path}: the folder contains no file; give the logger's files")
        for file in files:
            yield from _one_file(file)
        return
    with _explain_errors(path):
        empty = path.stat().st_size == 0 and path.is_file()
    if empty:
        raise SourceError(f"{path}: is empty; give a file that the logger wrote")
    yield from _one_file(path)


def _one_file(path: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    with _explain_errors(path), path.open("rb") as file:
        head = file.peek(4)
        if head.startswith(b"PK\3\4"):
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    if not member.is_dir():
                        with archive.open(member) as stream:
                            yield f"{path}:{member.filename}", _chunks(path, stream)
        elif head.startswith(b"\x1f\x8b"):
            with gzip.open(file) as stream:
                yield str(path), _chunks(path, stream)
        else:
            yield str(path), _chunks(path, file)


def _chunks(path: Path, stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while True:
        with _explain_errors(path):
            chunk = stream.read(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    """Convert the errors of reading a file to SourceError with a remedy."""
    try:
        yield
    except FileNotFoundError as fault:
        raise SourceError(f"{path}: no such file; check the name") from fault
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as fault:
        raise SourceError(f"{path}: damaged archive ({fault}); get a new copy") from fault
    except RuntimeError as fault:
        raise SourceError(f"{path}: cannot unpack ({fault}); unpack it manually") from fault
    except OSError as fault:
        raise SourceError(f"{path}: {fault.strerror or fault}; check its permissions") from fault
