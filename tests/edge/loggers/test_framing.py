"""Splitting of bytes into lines, for any division into chunks."""

from __future__ import annotations

import itertools
import re

from hypothesis import example, given
from hypothesis import strategies as st

from epithermal_edge.loggers.files import split_stream
from epithermal_edge.loggers.parser import DIALECTS, OVERLONG, split

NOISE = st.lists(
    st.sampled_from([b"a", b"bc", b"\r", b"\n", b"\r\n", b"\0", b"\xff", b"x" * 7, b"y" * 40])
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def cut_all(chunks: list[bytes], limit: int) -> tuple[bytes, list[bytes]]:
    buffer, found = b"", []
    for chunk in chunks:
        buffer, ended = split(buffer, chunk, limit)
        assert len(buffer) <= limit
        found += ended
    return buffer, found


@given(noise=NOISE, cuts=st.lists(st.integers(0, 300)))
@example(noise=[b"a", b"\r", b"\n", b"bc"], cuts=[2])
@example(noise=[b"y" * 40, b"\r", b"\n", b"a", b"\n"], cuts=[20, 41])
def test_lines_do_not_depend_on_how_the_bytes_were_cut(noise, cuts):
    data = b"".join(noise)
    *expected, rest = (line.lstrip(b"\0") for line in re.split(b"\r\n|\r|\n", data))
    expected = [line if len(line) <= 12 else OVERLONG for line in expected]
    if len(rest) > 12:
        expected.append(OVERLONG)
    buffer, found = cut_all(pieces(data, cuts), 12)
    assert found == expected
    if len(rest) <= 12:
        assert split(buffer, b"\n", 12)[1] in ([rest], [])  # [] where a CR ended the last one


def test_a_flood_without_line_ends_is_one_overlong_line_and_uses_no_memory():
    flood = [b"U" * 4096] * 1000
    buffer, found = cut_all([*flood, b"tail\r", b"\n", b"12,34\r\n", b"5"], 512)
    assert found == [OVERLONG, b"12,34"]
    assert buffer == b"5"


def test_a_line_that_ends_with_a_lone_cr_is_given_at_once():
    buffer, found = split(b"", b"12,34\r")
    assert found == [b"12,34"]
    assert split(buffer, b"\n56\r\n") == (b"", [b"56"])


def test_silence_changes_nothing():
    for buffer in (b"", b"12", split(b"", b"12\r")[0], split(b"", b"x" * 600)[0]):
        assert split(buffer, b"") == (buffer, [])
        assert split(buffer, b"\0\0")[1] == []


def test_nuls_before_a_line_are_noise_and_one_inside_stays_to_be_seen():
    assert split(b"", b"\0\0\0" * 1000) == (b"", [])
    assert split(b"", b"\0\0" + b"1,2\n\0" + b"3\0,4\n")[1] == [b"1,2", b"3\0,4"]
    assert split(b"12", b"\0\n")[1] == [b"12\0"]


def test_the_last_line_counts_also_without_its_end():
    assert list(split_stream([b"1\n2"])) == [b"1", b"2"]
    assert list(split_stream([b"1\r"])) == [b"1"]
    assert list(split_stream([b"1\n", b"x" * 600])) == [b"1", OVERLONG]


def test_only_dialects_with_long_headers_take_long_lines():
    long = {name for name, dialect in DIALECTS.items() if dialect.line_bytes > 512}
    assert long == {"toa5", "quaesta_json", "records"}
