"""Rows of the journal, each with a checksum: SQLite finds a broken page, not a changed number."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from epithermal_edge.inference.engine import Outcome
from epithermal_edge.messages.message import Message
from epithermal_edge.messages.topics import stored_topic
from epithermal_edge.records import FACTORS, Estimate, RawRecord

SCHEMA = 2  # in user_version, and in table about
RAW = tuple(f.name for f in fields(RawRecord))
CORRECTED = (
    *("n_raw_cph", "n_corr_cph", "n_corr_sigma_cph"),
    *(factor.name for factor in FACTORS),
    "abs_humidity_g_m3",
)
ESTIMATE = tuple(f.name for f in fields(Estimate) if f.name != "quality")
SAID = (*CORRECTED, *ESTIMATE)  # numbers of what was told of a record
OUTBOX = ("kind", "topic", "payload", "retain", "expires_s")

TOLD = (  # what obs/theta said of a record, to be said again; files of before have no such table
    "CREATE TABLE IF NOT EXISTS told"
    " (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, crc32 INTEGER NOT NULL)"
)
CREATE = f"""
CREATE TABLE about (
  key TEXT PRIMARY KEY, value TEXT NOT NULL, crc32 INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE record (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  {", ".join(f"{name} REAL" for name in RAW)},
  crc32 INTEGER NOT NULL
);
CREATE UNIQUE INDEX record_end_s ON record (end_s);
CREATE TABLE state (
  part TEXT PRIMARY KEY, layout TEXT NOT NULL, made_for TEXT NOT NULL,
  crc32 INTEGER NOT NULL, data BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, topic TEXT NOT NULL,
  payload BLOB NOT NULL, retain INTEGER NOT NULL, expires_s REAL, crc32 INTEGER NOT NULL
);
CREATE INDEX outbox_kind ON outbox (kind);
CREATE TABLE note (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE estimate (
  seq INTEGER PRIMARY KEY, model TEXT NOT NULL, quality INTEGER NOT NULL,
  {", ".join(f"{name} REAL" for name in SAID)},
  crc32 INTEGER NOT NULL
);
{TOLD};
"""


def checksum(*values: object) -> int:
    """CRC-32 of what a row says; it finds every change of up to four bytes side by side."""
    return zlib.crc32(repr(values).encode(errors="backslashreplace"))


def record_columns() -> str:
    """Columns of a record as `record_row` gives and `record_of` takes them."""
    return ", ".join(("seq", *RAW, "crc32"))


def record_row(seq: int, record: RawRecord) -> tuple[float | int | None, ...]:
    """A record as it is stored; NaN is NULL."""
    values = [float(getattr(record, name)) + 0.0 for name in RAW]  # SQLite has no -0.0
    stored = [None if math.isnan(value) else value for value in values]
    return (seq, *stored, _record_sum(stored))


def record_of(row: Sequence[Any]) -> RawRecord | None:
    """The record of a row, None where the row is not what was stored."""
    _, *stored, crc32 = row
    if crc32 != _record_sum(stored):
        return None
    return RawRecord(*(math.nan if value is None else value for value in stored))


def _record_sum(stored: Sequence[object]) -> int:
    """What is missing does not count, so that a later software may add a column."""
    return checksum(*((k, v) for k, v in zip(RAW, stored, strict=True) if v is not None))


def estimate_columns() -> str:
    """Columns of what was told, as `estimate_row` gives them."""
    return ", ".join(("seq", "model", "quality", *SAID, "crc32"))


def estimate_row(seq: int, outcome: Outcome, model: str) -> tuple[object, ...]:
    """What was told of a record, as it is stored beside it; NaN is NULL.

    Parameters
    ----------
    model :
        Name and version of the bundle.
    """
    corrected, estimate = outcome.corrected, outcome.estimate
    numbers = [float(getattr(corrected, name)[0]) + 0.0 for name in CORRECTED]
    numbers += [float(getattr(estimate, name)) + 0.0 for name in ESTIMATE]
    stored = [None if math.isnan(number) else number for number in numbers]
    quality = int(estimate.quality)
    return (seq, model, quality, *stored, _estimate_sum(model, quality, stored))


def is_estimate_whole(row: Sequence[Any]) -> bool:
    """Whether a row in the order of `estimate_columns` is what was stored."""
    _, model, quality, *stored, crc32 = row
    return bool(crc32 == _estimate_sum(model, quality, stored))


def _estimate_sum(model: object, quality: object, stored: Sequence[object]) -> int:
    pairs = ((k, v) for k, v in zip(SAID, stored, strict=True) if v is not None)
    return checksum(model, quality, *pairs)


def told_row(seq: int, payload: bytes) -> tuple[object, ...]:
    """A payload as it is stored: seq, payload, crc32."""
    packed = zlib.compress(payload)
    return (seq, packed, checksum(seq, packed))


def told_of(row: Sequence[Any]) -> bytes | None:
    """The payload of a row, None where the row is not what was stored."""
    seq, packed, crc32 = row
    return zlib.decompress(packed) if crc32 == checksum(seq, packed) else None


def message_row(message: Message) -> tuple[Any, ...]:
    """A message as it is stored, in the order of OUTBOX and its checksum."""
    expires_s = None if message.expires_s is None else float(message.expires_s)
    kind = message.kind
    stored = (kind.word, message.topic, message.payload, int(kind.retain), expires_s)
    return (*stored, checksum(*stored))


def message_of(row: Sequence[Any]) -> Message | None:
    """The message of a row, None where the row is not what was stored."""
    *stored, crc32 = row
    if crc32 != checksum(*stored):
        return None
    word, topic, payload, retain, expires_s = stored
    return Message(topic, payload, stored_topic(word, bool(retain)), expires_s)
