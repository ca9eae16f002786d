"""A column can be converted by a factor and an offset where it is named."""

from __future__ import annotations

import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host.tables.description import parse_column

HEADER = ("day", "t", "t2m-min", "a*2", "twice", "twice")


@pytest.mark.parametrize(
    ("text", "index", "value_of_50"),
    [
        ("t", 1, 50.0),
        ("t * 1000", 1, 50000.0),
        ("t*0.1", 1, 5.0),
        ("t / 100", 1, 0.5),
        ("t - 273.15", 1, -223.15),
        ("t+1e1", 1, 60.0),
        ("t * 5/9 - 160/9", 1, 10.0),  # degF
        ("t * -1", 1, -50.0),
        ("t2m-min", 2, 50.0),
        ("t2m-min-273.15", 2, -223.15),
        ("a*2", 3, 50.0),
        ("a*2 * 3", 3, 150.0),
    ],
)
def test_a_column_may_have_a_factor_and_an_offset(text, index, value_of_50):
    column = parse_column(text, HEADER)
    assert column.index == index
    assert 50.0 * column.factor + column.offset == pytest.approx(value_of_50, rel=1e-14, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tt", "did you mean t"),
        ("rain * 10", "known: day, t"),
        ("t * 0", "factor is 0"),
        ("t * 1/0", "factor is 0"),
        ("t ** 2", "unknown"),
        ("twice", "two columns have this name"),
        ("twice * 2", "two columns have this name"),
    ],
)
def test_a_column_that_the_file_lacks_or_has_twice_is_refused(text, fault):
    with pytest.raises(ConfigError, match=fault):
        parse_column(text, HEADER)
