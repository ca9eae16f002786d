"""Convert between values and journal rows, each with a checksum of `checksum`."""

from __future__ import annotations

import json
import logging
import math
import zlib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from epithermal_edge.inference.engine import Outcome
from epithermal_edge.journal.checksum import CHANNELS, checksum, record_checksum
from epithermal_edge.messages.message import Message
from epithermal_edge.messages.topics import stored_topic
from epithermal_edge.records import FACTORS, NUMBERS, Estimate, RawRecord

SCHEMA = 2  # in user_version, and in table about
RAW = NUMBERS
RECORD_WIDTH = len(RAW) + 2 + len(CHANNELS)
CORRECTED = (
    *("n_raw_cph", "n_corr_cph", "n_corr_sigma_cph"),
    *(factor.name for factor in FACTORS),
    "abs_humidity_g_m3",
)
ESTIMATE = tuple(f.name for f in fields(Estimate) if f.name != "quality")
RESULTS = (*CORRECTED, *ESTIMATE)  # numbers computed for each record
OUTBOX = ("kind", "topic", "payload", "retain", "expires_s")

PAYLOADS = "told"  # table of published obs/theta payloads, for `republish`
CREATE_PAYLOADS = (  # apart, because files of older versions lack this table
    f"CREATE TABLE IF NOT EXISTS {PAYLOADS}"
    " (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, crc32 INTEGER NOT NULL)"
)
SET_ASIDE = "set_aside"  # records whose stamps a synchronised clock has contradicted
CREATE_SET_ASIDE = (  # apart, for the same reason
    f"CREATE TABLE IF NOT EXISTS {SET_ASIDE} (seq INTEGER PRIMARY KEY,"
    f" {', '.join(f'{name} REAL' for name in RAW)}, crc32 INTEGER NOT NULL,"
    f" {', '.join(f'{name} {kind}' for name, kind in CHANNELS.items())})"
)
log = logging.getLogger(__name__)

CREATE = f"""
CREATE TABLE about (
  key TEXT PRIMARY KEY, value TEXT NOT NULL, crc32 INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE record (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  {", ".join(f"{name} REAL" for name in RAW)},
  crc32 INTEGER NOT NULL,
  {", ".join(f"{name} {kind}" for name, kind in CHANNELS.items())}
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
  {", ".join(f"{name} REAL" for name in RESULTS)},
  crc32 INTEGER NOT NULL
);
{CREATE_PAYLOADS};
{CREATE_SET_ASIDE};
"""


def record_columns() -> str:
    """Return the columns of table record, in the order of `record_row` and `record_of`."""
    return ", ".join(("seq", *RAW, "crc32", *CHANNELS))


def record_row(seq: int, record: RawRecord) -> tuple[float | int | str | None, ...]:
    """Convert a record to its row; NaN becomes NULL."""
    values = [float(getattr(record, name)) + 0.0 for name in RAW]  # SQLite has no -0.0
    stored = [None if math.isnan(value) else value for value in values]
    crc32 = record_checksum(RAW, stored)
    if not record.channels:
        return (seq, *stored, crc32, None, None)
    text = json.dumps({name: float(value) for name, value in record.channels.items()})
    return (seq, *stored, crc32, text, checksum(seq, text))


def record_of(row: Sequence[Any]) -> RawRecord | None:
    """Convert a row to its record; return None if the row fails its checksum."""
    seq, *stored, crc32, text, text_crc32 = row
    if crc32 != record_checksum(RAW, stored):
        return None
    numbers = {k: math.nan if v is None else v for k, v in zip(RAW, stored, strict=True)}
    return RawRecord(**numbers, channels=_channels_of(seq, text, text_crc32))


def _channels_of(seq: int, text: Any, crc32: object) -> dict[str, float]:
    """Convert the columns CHANNELS to the extra channels; return none if they are damaged."""
    if text is None and crc32 is None:
        return {}
    if crc32 != checksum(seq, text):
        log.warning("the extra channels of record %s are damaged on the disk", seq)
        return {}
    channels: dict[str, float] = json.loads(text)
    return channels


def estimate_columns() -> str:
    """Return the columns of table estimate, in the order of `estimate_row`."""
    return ", ".join(("seq", "model", "quality", *RESULTS, "crc32"))


def estimate_row(seq: int, outcome: Outcome, model: str) -> tuple[object, ...]:
    """Convert the results of a record to their row; NaN becomes NULL.

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
    return (seq, model, quality, *stored, _estimate_checksum(model, quality, stored))


def is_estimate_whole(row: Sequence[Any]) -> bool:
    """Return whether a row in the order of `estimate_columns` passes its checksum."""
    _, model, quality, *stored, crc32 = row
    return bool(crc32 == _estimate_checksum(model, quality, stored))


def _estimate_checksum(model: object, quality: object, stored: Sequence[object]) -> int:
    pairs = ((k, v) for k, v in zip(RESULTS, stored, strict=True) if v is not None)
    return checksum(model, quality, *pairs)


def payload_row(seq: int, payload: bytes) -> tuple[object, ...]:
    """Convert a payload to its row: seq, compressed payload, crc32."""
    packed = zlib.compress(payload)
    return (seq, packed, checksum(seq, packed))


def payload_of(row: Sequence[Any]) -> bytes | None:
    """Convert a row to its payload; return None if the row fails its checksum."""
    seq, packed, crc32 = row
    return zlib.decompress(packed) if crc32 == checksum(seq, packed) else None


def message_row(message: Message) -> tuple[Any, ...]:
    """Convert a message to its row, in the order of OUTBOX, with its checksum."""
    expires_s = None if message.expires_s is None else float(message.expires_s)
    kind = message.kind
    stored = (kind.word, message.topic, message.payload, int(kind.retain), expires_s)
    return (*stored, checksum(*stored))


def message_of(row: Sequence[Any]) -> Message | None:
    """Convert a row to its message; return None if the row fails its checksum."""
    *stored, crc32 = row
    if crc32 != checksum(*stored):
        return None
    word, topic, payload, retain, expires_s = stored
    return Message(topic, payload, stored_topic(word, bool(retain)), expires_s)
