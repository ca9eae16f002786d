"""The remedy for a port without records, from the bytes alone."""

import itertools
import random
import time

import pytest
from tests.support.rig import START_S, lines

from epithermal_edge.cli import simulator
from epithermal_edge.loggers.columns import Options
from epithermal_edge.loggers.diagnosis import SAMPLE_BYTES, extend_sample, find_remedy
from epithermal_edge.loggers.parser import RECORDS_HEADER

OWN = lines(1.0)
HYDRO = b"".join(lines(0.5, dialect="hydroinnova"))
NO_HEADER = b"".join(OWN[1:4])
COLUMNS = tuple(RECORDS_HEADER.decode().strip().split(","))
TOA5 = (
    b'"TOA5","Site","CR1000","1","CR1000.Std","CPU:x.CR1","1","Hourly"\r\n'
    b'"TIMESTAMP","RECORD","Counts1_Tot","P_Avg"\r\n"TS","RN","",""\r\n"","","Tot","Avg"\r\n'
    b'"2026-01-01 01:00:00",1,1034,985.2\r\n"2026-01-01 02:00:00",2,1010,985.0\r\n'
)


def remedy(data, dialect="records", options=Options(), header=()):  # noqa: B008
    return find_remedy(dialect, options, 9600, extend_sample((b"", b""), data), header)


@pytest.mark.parametrize(
    ("sent", "dialect", "expected"),
    [
        (HYDRO, "records", 'set source.dialect = "hydroinnova"'),
        (HYDRO, "finapp", 'set source.dialect = "hydroinnova"'),
        (b"".join(OWN[:3]), "rdt", 'set source.dialect = "records"'),
        (TOA5, "hydroinnova", 'set source.dialect = "toa5"'),
        (b"4/10/2020 9:47,985.1,60.2,12.1,0,0,1034,1,1\r\n" * 2, "records",
         'set source.dialect = "rdt"'),
    ],
)  # fmt: skip
def test_the_dialect_that_reads_the_lines_is_named(sent, dialect, expected):
    assert remedy(sent, dialect) == expected


def test_lines_of_records_without_their_header_name_the_columns_to_set():
    expected = ", ".join(f'"{name}"' for name in COLUMNS)
    assert remedy(NO_HEADER) == f"set source.columns = [{expected}]"
    start = f'set source.dialect = "records" and source.columns = [{expected}]'
    assert remedy(NO_HEADER, "hydroinnova") == start


def test_lines_of_another_logger_without_header_ask_for_the_columns():
    rows = HYDRO[HYDRO.index(b"    1,") :]
    assert "set source.columns to the names in order" in remedy(rows, "hydroinnova")
    assert "source.columns" in remedy(b"17 counts, 985 hPa\r\n" * 5)


@pytest.mark.parametrize("seed", range(5))
def test_bytes_that_are_no_text_are_a_wrong_baud_rate(seed):
    rng = random.Random(seed)
    assert remedy(rng.randbytes(40)).startswith("set source.baud to the logger's rate")
    assert "at 9600" in remedy(rng.randbytes(4000), "toa5")
    assert remedy(b"\0" * 30).startswith("set source.baud")  # framing errors
    assert "baud" in remedy(b"U" * 100)


def test_some_records_among_damaged_lines_are_a_bad_cable():
    damaged = b"".join(line[:20] + line[33:] for line in OWN[2:8])
    assert remedy(OWN[0] + OWN[1] + damaged).startswith("check the cable")
    noise = b"".join(line[:5] + b"\xff\xfe\x80" + line[9:] for line in OWN[2:8])
    assert remedy(OWN[0] + OWN[1] + noise).startswith("check the cable")


def test_a_header_from_before_the_sample_is_not_missed():
    damaged = b"".join(line[:20] + line[33:] for line in OWN[2:8])
    assert "sends its header" in remedy(damaged)
    assert remedy(damaged, header=COLUMNS).startswith("check the cable")
    assert remedy(NO_HEADER + damaged, header=COLUMNS).startswith("check the cable, its plugs")


def test_columns_that_do_not_fit_the_lines_are_named_as_the_fault():
    wrong = Options(count_columns=("counts_1",))
    assert remedy(b"".join(OWN[:4]), options=wrong).startswith("set source.count_columns to names")
    wrong = Options(columns=("time", "counts"))
    assert remedy(b"2026-01-01T01:00:00Z,7,8\n" * 3, options=wrong).startswith("compare source.col")


def test_a_sample_keeps_the_first_and_the_last_bytes_whatever_the_chunks():
    data = bytes(random.Random(1).randbytes(9000))
    for size in (1, 7, 2048, 9000):
        sample = (b"", b"")
        for at in range(0, len(data), size):
            sample = extend_sample(sample, data[at : at + size])
        assert sample == (data[:SAMPLE_BYTES], data[-SAMPLE_BYTES:])


def test_a_remedy_is_found_within_a_twentieth_of_a_second():
    stream = simulator.records(9.0, 1, START_S)
    data = b"".join(
        itertools.chain([b"x"], itertools.islice(simulator.lines("records", stream), 99))
    )
    begin = time.process_time()
    for _ in range(10):
        remedy(data, "toa5")
    assert time.process_time() - begin < 10 * 0.05
