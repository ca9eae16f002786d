"""Noise on the line never raises anything but FrameError, and how much of it goes unseen."""

from __future__ import annotations

import dataclasses
import math
import random
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from epithermal_edge.errors import FrameError
from epithermal_edge.loggers.parser import (
    DIALECTS,
    RECORDS_HEADER,
    Context,
    format_record,
    parse,
    split,
    start,
)
from epithermal_edge.loggers.values import LIMITS, YEARS
from epithermal_edge.records import HOUSEKEEPING, NAN, RawRecord

# one valid line of each dialect under its header
LOGGERS = {
    "hydroinnova": (
        b"//RecordNum,Date Time(UTC),P1_mb,P4_mb,T1_C,T4_C,T_CS215,RH1,RH_CS215,Vbat,N1Cts,N2Cts,"
        b"N1ET_sec,N2ET_sec,N1T_C,N1RH,D1,",
        b"18380, 2017/01/01 00:03:02, 1008.4,1007.77,    0.0, 254.6,  -1.5, 83.9, 80.3, 13.074,"
        b"      105,      160,     902,     902,   2.1, 68.7,        0",
    ),
    "quaesta_json": (
        b"",
        b'{"RecordNum":1,"DateTimeUTC":"2026/03/25 13:20:52","P1_mb":984.58,"P2_mb":983.65,'
        b'"T1_degC":15.6,"RH1":40.2,"Vbat":14.05,"P3_mb":983.90,"N1Cts":54,"N1ET_sec":44}',
    ),
    "portal": (
        b"Site ID,CrnsID,Message Date,FI,Jung,DOM,Hour,Min,BV,P1 (mb),P4 (mb),T7 C,H7 %,Rain Tips,"
        b"E1,N1/Samp,N2/Samp,N3/Samp",
        b"273,10280725,2024-10-01 00:00:00 UTC,1.124,146.761,1,0,0,13.1,788.3,789.7,25.0,14.0,0,"
        b"1804,6052,1974,0",
    ),
    "toa5": (
        b'"TIMESTAMP","RECORD","station","counts_1_Tot","counts_2_Tot","precipitation_Tot",'
        b'"air_temperature_Avg","barometric_pressure_Avg","relative_humidity_Avg","NDVI_Avg"',
        b'"2021-09-22 13:00:00",1,"KS003",755,870,0,22.9,972,32.63,0.308',
    ),
    "finapp": (
        b"Datetime,neutrons,muons,gamma,integration_time(s),V_in(Volt),temperature_in(C),"
        b"temperature_ext(C),ur(%),pressure(hPa)",
        b"2023-12-10 15:00:00,1726,7805,,3609,11.4,10.7,8.6,78.2,991.3",
    ),
    "records": (
        RECORDS_HEADER.removesuffix(b",crc32\n"),  # as written by hand
        b"2026-03-25T13:00:00Z,3600,1234,984.5,15.6,40.2,0,,150.2,,,",
    ),
}


def ready(dialect: str) -> Context:
    return parse(start(dialect), LOGGERS[dialect][0])[0]


def same(a: RawRecord, b: RawRecord) -> bool:
    pairs = zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True)
    return all(x == y or (math.isnan(x) and math.isnan(y)) for x, y in pairs)


def bare(record: RawRecord) -> RawRecord:
    """What estimates hang on, without battery, housing and extra channels."""
    return dataclasses.replace(record, **dict.fromkeys(HOUSEKEEPING, NAN), channels={})


def hold(record: RawRecord | None) -> None:
    """What every record promises, whatever the line was."""
    if record is None:
        return
    assert (YEARS[0] - 1970) * 365 * 86400 < record.end_s < (YEARS[1] - 1969) * 366 * 86400
    for field, (low, high) in LIMITS.items():
        value = getattr(record, field, NAN)
        assert math.isnan(value) or low <= value <= high
    assert math.isnan(record.counts) or record.counts == int(record.counts)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(line=st.binary(max_size=600))
@example(line=b"")
@example(line=b"\0")
@example(line=b"//,")
@example(line=b'"')
@example(line=b"[" * 600)
def test_arbitrary_bytes_are_damage_or_nothing(dialect, line):
    contexts = [start(dialect)] + ([ready(dialect)] if dialect in LOGGERS else [])
    for context in contexts:
        try:
            hold(parse(context, line)[1])
        except FrameError:
            continue


@pytest.mark.parametrize("dialect", LOGGERS)
@given(data=st.data())
def test_pieces_of_lines_in_any_order_are_damage_or_a_possible_record(dialect, data):
    header, row = LOGGERS[dialect]
    parts = [part + b"," for part in (header + b"," + row).split(b",")]
    parts += [b"\xff", b'"', b"//", b"NAN", b"-", b"1e999", b"65535,", b"\t", b"{", b"}", b" "]
    line = b"".join(data.draw(st.lists(st.sampled_from(parts), max_size=24)))
    try:
        hold(parse(ready(dialect), line)[1])
    except FrameError:
        return


def one_byte(line: bytes, i: int, rng: random.Random) -> bytes:
    return line[:i] + bytes([(line[i] + rng.randrange(1, 256)) % 256]) + line[i + 1 :]


def one_bit(line: bytes, i: int, rng: random.Random) -> bytes:
    return line[:i] + bytes([line[i] ^ (1 << rng.randrange(8))]) + line[i + 1 :]


def no_byte(line: bytes, i: int, _: random.Random) -> bytes:
    return line[:i] + line[i + 1 :]


# The share of damaged lines that give another record. No logger writes a checksum: a digit that
# becomes another digit cannot be seen, and of the 8 bits of a digit about 3 make another digit.
@pytest.mark.parametrize(
    ("damage", "most"),
    [pytest.param(one_byte, 0.04), pytest.param(one_bit, 0.30), pytest.param(no_byte, 0.45)],
)
@pytest.mark.parametrize("dialect", LOGGERS)
def test_damage_of_one_byte_is_seen_but_where_digits_stay_digits(dialect, damage, most):
    context, row = ready(dialect), LOGGERS[dialect][1]
    whole = parse(context, row)[1]
    rng = random.Random(2)
    unseen = 0
    for k in range(2000):
        bad = damage(row, k % len(row), rng)
        for line in split(b"", bad + b"\n", context.dialect.line_bytes)[1]:
            record = read_or_none(context, line)
            if record is not None and not same(bare(record), bare(whole)):
                hold(record)
                unseen += 1
    assert unseen / 2000 < most


def read_or_none(context: Context, line: bytes) -> RawRecord | None:
    try:
        return parse(context, line)[1]
    except FrameError:
        return None


def measured(field: str, **more: bool) -> st.SearchStrategy[float]:
    low, high = LIMITS[field]
    return st.floats(low, high, **more) | st.just(NAN)


@given(
    record=st.builds(
        RawRecord,
        end_s=st.floats(946684800.0, 4.1e9) | st.integers(946684800, 4100000000).map(float),
        duration_s=measured("duration_s"),
        counts=st.integers(0, 10**7).map(float) | st.just(NAN),
        pressure_hpa=measured("pressure_hpa"),
        temperature_c=measured("temperature_c"),
        relative_humidity_pct=measured("relative_humidity_pct"),
        rain_mm=measured("rain_mm"),
        et0_mm=measured("et0_mm"),
        incoming=measured("incoming"),
        battery_v=measured("battery_v"),
        housing_humidity_pct=measured("housing_humidity_pct"),
        first_tube_counts=measured("counts"),
    )
)
@example(record=RawRecord(1.7e9 + 2**-20, 3600.0, 65535.0, rain_mm=5e-324, et0_mm=-0.0))
def test_our_own_line_gives_the_same_record_to_the_last_bit(record):
    _, lines = split(b"", format_record(record))
    assert len(lines) == 1
    assert same(parse(parse(start("records"), RECORDS_HEADER)[0], lines[0])[1], record)


def test_our_own_line_reads_well():
    record = RawRecord(1774443600.0, 3600.0, 1234.0, 984.5, NAN, 40.0, 0.0)
    body = b"2026-03-25T13:00:00Z,3600,1234,984.5,,40,0,,,,,"
    assert format_record(record) == body + b",%08x\n" % zlib.crc32(body)


def test_counts_that_are_not_whole_are_not_written():
    with pytest.raises(ValueError, match="whole"):
        format_record(RawRecord(1774443600.0, 3600.0, 1234.5))
