"""The checksum of records.csv: what our own tools wrote is read as it was, or not at all."""

from __future__ import annotations

import random

import pytest
from tests.edge.loggers.test_parser import RECORDS_PLAIN, RECORDS_ROW, after, same
from tests.edge.loggers.test_parser_noise import no_byte, one_bit, one_byte, read_or_none

from epithermal_edge.errors import FrameError
from epithermal_edge.loggers.framing import split
from epithermal_edge.loggers.parser import RECORDS_HEADER, format_record, parse
from epithermal_edge.records import RawRecord

RECORD = RawRecord(1774443600.0, 3600.0, 1234.0, 984.5, 15.6, 40.2, 0.0, incoming=150.2)
ROW = format_record(RECORD)[:-1]


@pytest.mark.parametrize("damage", [one_byte, one_bit, no_byte])
def test_a_damaged_line_of_our_own_never_gives_another_record(damage):
    context = after("records", RECORDS_HEADER[:-1])
    rng = random.Random(2)
    for k in range(10_000):
        bad = damage(ROW, k % len(ROW), rng)
        for line in split(b"", bad + b"\n", context.dialect.line_bytes)[1]:
            record = read_or_none(context, line)
            assert record is None or same(record, RECORD), bad


def test_two_lines_merged_by_noise_are_damage():
    context = after("records", RECORDS_HEADER[:-1])
    other = format_record(RawRecord(1774447200.0, 3600.0, 1300.0, 985.5, 15.1, 41.2, 0.0))[:-1]
    pairs = [ROW[:k] + other[k:] for k in range(1, len(ROW)) if ROW[:k] + other[k:] != other]
    whole = [line for line in pairs if line not in (ROW, other)]
    assert len(whole) > 40
    assert all(read_or_none(context, line) is None for line in whole)


def test_an_edited_line_is_rejected_with_the_remedy():
    context = after("records", RECORDS_HEADER[:-1])
    with pytest.raises(FrameError, match="delete the column crc32 from a table that was edited"):
        parse(context, ROW.replace(b",1234,", b",1235,"))
    with pytest.raises(FrameError, match="crc32: '' is not that of the line"):
        parse(context, ROW[:-8])


@pytest.mark.parametrize("ending", [b"", b","])
def test_a_table_without_the_checksum_is_read_as_before(ending):
    record = parse(after("records", RECORDS_PLAIN), RECORDS_ROW + b",0,,150.2,,," + ending)[1]
    assert same(record, RECORD)


def test_a_closing_comma_and_framing_bytes_are_not_part_of_the_checksum():
    context = after("records", RECORDS_HEADER[:-1])
    assert same(parse(context, b"\x03" + ROW + b",")[1], RECORD)


def test_a_checksum_that_does_not_cover_the_line_is_refused():
    with pytest.raises(FrameError, match="crc32 is not the last column"):
        after("records", b"time_utc,crc32,duration_s,counts")
