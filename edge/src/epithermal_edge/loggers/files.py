"""Where a logger's records come from: recorded files here, serial ports in `ports`."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import IO

from epithermal_edge.errors import FrameError, SourceError
from epithermal_edge.loggers.dialects import LINE_BYTES
from epithermal_edge.loggers.parser import DIALECTS, Context, Options, parse, split, start
from epithermal_edge.loggers.ports import CUT, reconnecting, serial_chunks
from epithermal_edge.records import RawRecord

__all__ = [
    "CUT",
    "ReadResult",
    "file_chunks",
    "lines",
    "read_records",
    "reconnecting",
    "serial_chunks",
]

REASONS_KEPT = 20
CHUNK_BYTES = 1 << 16
PROBE_LINES = 200  # of a file that gave no record, to find the dialect that fits


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What recorded files hold."""

    records: tuple[RawRecord, ...]  # by end time, each end once
    lines: int
    damaged: int
    reasons: tuple[str, ...]  # "file:line: reason" of the first damaged lines
    duplicates: int  # the same record again
    conflicts: int  # another record with the same end; the first one is kept
    without_record: tuple[str, ...]  # files that held none


@dataclass(slots=True)
class _Tally:
    """Counted while files are read."""

    lines: int = 0
    damaged: int = 0
    reasons: list[str] = field(default_factory=list)
    without_record: list[str] = field(default_factory=list)
    sample: list[bytes] = field(default_factory=list)  # the first lines


def read_records(paths: Iterable[Path], dialect: str, options: Options | None = None) -> ReadResult:
    """Everything that recorded files hold, in the order in which it was measured.

    Parameters
    ----------
    paths :
        Files, plain or .gz or .zip, and folders of such.
    dialect, options :
        As for `parser.start`; each file starts anew, with its own header.

    Raises
    ------
    SourceError
        A file is missing, empty or cannot be unpacked, or no file holds a record of this dialect.
    ConfigError
        As `parser.start`.
    """
    context = start(dialect, options)
    tally = _Tally()
    records: list[RawRecord] = []
    names: list[str] = []
    for path in paths:
        for name, chunks in file_chunks(path):
            names.append(name)
            found = len(records)
            records.extend(_records(name, chunks, context, tally))
            if len(records) == found:
                tally.without_record.append(name)
    if not records:
        raise SourceError(_nothing_found(names, context, tally))
    kept, duplicates, conflicts = _in_order(records)
    return ReadResult(
        records=kept,
        lines=tally.lines,
        damaged=tally.damaged,
        reasons=tuple(tally.reasons),
        duplicates=duplicates,
        conflicts=conflicts,
        without_record=tuple(tally.without_record),
    )


def _records(
    name: str, chunks: Iterable[bytes], context: Context, tally: _Tally
) -> Iterator[RawRecord]:
    for number, line in enumerate(lines(chunks, context.dialect.line_bytes), start=1):
        tally.lines += 1
        if len(tally.sample) < PROBE_LINES:
            tally.sample.append(line)
        try:
            context, record = parse(context, line)
        except FrameError as fault:
            tally.damaged += 1
            if len(tally.reasons) < REASONS_KEPT:
                tally.reasons.append(f"{name}:{number}: {fault}")
            continue
        if record is not None:
            yield record


def lines(chunks: Iterable[bytes], limit: int = LINE_BYTES) -> Iterator[bytes]:
    """The lines of a whole stream, the last one also where its end is missing."""
    buffer = b""
    for chunk in chunks:
        buffer, ended = split(buffer, chunk, limit)
        yield from ended
    if buffer.strip(b"\r"):
        _, ended = split(buffer, b"\n", limit)
        yield from ended


def _in_order(records: Sequence[RawRecord]) -> tuple[tuple[RawRecord, ...], int, int]:
    """By end time, without those that repeat one; how many were the same, how many were not."""
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


def _key(record: RawRecord) -> tuple[float | None, ...]:
    """The values, NaN as None: two missing values are the same."""
    return tuple(None if math.isnan(value) else value for value in astuple(record))


def _nothing_found(names: list[str], context: Context, tally: _Tally) -> str:
    """What to do about files without a record: most often the dialect is wrong."""
    if not names:
        return "no file given"
    where = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    seen = [line for line in tally.sample if line.strip()]
    if not seen:
        return f"{where}: nothing but blank lines; give a file that the logger wrote"
    dialect = context.dialect.name
    text = f"{where}: no {dialect} record in {tally.lines} lines; the first is {seen[0][:80]!r}"
    fits = {name: _count_records(name, seen) for name in DIALECTS if name != dialect}
    best = max(fits, key=lambda name: fits[name])
    if fits[best]:
        return f"{text}; this reads as dialect {best!r}"
    reason = f"; {tally.reasons[0]}" if tally.reasons else ""
    return f"{text}{reason}; it may be another dialect ({', '.join(DIALECTS)}) or need `columns`"


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
    """The files under a path and their bytes, unpacked.

    Parameters
    ----------
    path :
        A file, plain or packed (told by its first bytes, not its name), or a folder, searched
        through in the order of names without hidden files.

    Yields
    ------
    name, chunks
        The name for messages; read the chunks before asking for the next file.

    Raises
    ------
    SourceError
        Nothing is there, or it cannot be read.
    """
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.is_file() and p.name[0] != "."]
        if not files:
            raise SourceError(f"{path}: the folder holds no file; give the logger's files")
        for file in files:
            yield from _one_file(file)
        return
    with _explained(path):
        empty = path.stat().st_size == 0 and path.is_file()
    if empty:
        raise SourceError(f"{path}: is empty; give a file that the logger wrote")
    yield from _one_file(path)


def _one_file(path: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    with _explained(path), path.open("rb") as file:
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
        with _explained(path):
            chunk = stream.read(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What can go wrong with a file, as a SourceError that says what to do."""
    try:
        yield
    except FileNotFoundError as fault:
        raise SourceError(f"{path}: no such file; check the name") from fault
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as fault:
        raise SourceError(f"{path}: damaged archive ({fault}); get a new copy") from fault
    except RuntimeError as fault:
        raise SourceError(f"{path}: cannot unpack ({fault}); unpack it by hand") from fault
    except OSError as fault:
        raise SourceError(f"{path}: {fault.strerror or fault}; check its permissions") from fault
