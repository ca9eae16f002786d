"""Times of tables: several columns, day first, time zones with summer time."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path

import pytest

from epithermal_edge.errors import ConfigError
from epithermal_host.tables.clock import read_dates, read_times
from epithermal_host.tables.description import TableFile

PATH = Path("a.csv")
HOUR_S = 3600.0


def seconds(file: TableFile, *rows: str | tuple[str, ...]) -> list[float]:
    """Parse the cells of rows; a text is the only cell."""
    cells = [(row,) if isinstance(row, str) else row for row in rows]
    return read_times(file, cells, range(2, 2 + len(cells))).tolist()


def unix(text: str) -> float:
    return datetime.datetime.fromisoformat(f"{text}+00:00").timestamp()


@pytest.mark.parametrize(
    ("cells", "time"),
    [
        ("2024-06-10 07:30", "2024-06-10 07:30"),
        ("2024-06-10T07:30:05Z", "2024-06-10 07:30:05"),
        ("2024-06-10 07:30+02:00", "2024-06-10 05:30"),
        ("2024/06/10 07:30", "2024-06-10 07:30"),
        ("2024/6/1", "2024-06-01"),
        ("2024-06-10 24:00", "2024-06-11"),
        ("20240610", "2024-06-10"),
        (("2024-06-10", "07:30"), "2024-06-10 07:30"),
        (("2024/06/10", "07:30:00"), "2024-06-10 07:30"),
        (("2024", "6", "9"), "2024-06-09"),
        (("2024", "6", "9", "7"), "2024-06-09 07:00"),
        (("2024", "12", "31", "24"), "2025-01-01"),
        (("2024", "06", "09", "7", "5"), "2024-06-09 07:05"),
        (("2024", "06", "09", "7", "5", "9"), "2024-06-09 07:05:09"),
    ],
)
def test_dates_and_times_in_one_or_several_columns_are_read(cells, time):
    assert seconds(TableFile(PATH, ("t",)), cells) == [unix(time)]


def test_a_format_applies_to_the_joined_columns():
    file = TableFile(PATH, ("d", "t"), time_format="%d.%m.%Y %H:%M", utc_offset_h=1.0)
    assert seconds(file, ("10.06.2024", "07:30")) == [unix("2024-06-10 06:30")]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("31.12.2001", 'time_format = "%d.%m.%Y"?'),
        ("31.12.2001 12:00", 'time_format = "%d.%m.%Y %H:%M"?'),
        ("12/31/2001 1:00:00", 'time_format = "%m/%d/%Y %H:%M:%S"?'),
        ("10/06/24", 'time_format = "%d/%m/%y" or "%m/%d/%y"?'),
        ("yesterday", "set time_format"),
        ("2024-02-30", "set time_format"),
    ],
)
def test_another_form_is_refused_with_the_format_that_reads_it(text, remedy):
    with pytest.raises(ConfigError) as caught:
        seconds(TableFile(PATH, ("t",)), "2001-01-01", text)
    assert f"a.csv:3: t: '{text}' is not a time" in str(caught.value)
    assert str(caught.value).endswith(remedy)


def test_a_time_zone_has_summer_time():
    file = TableFile(PATH, ("t",), time_zone="Europe/Berlin")
    assert seconds(file, "2024-01-15 12:00", "2024-07-15 12:00", "2024-07-15 12:00Z") == [
        unix("2024-01-15 11:00"),
        unix("2024-07-15 10:00"),
        unix("2024-07-15 12:00"),
    ]


@pytest.mark.parametrize("backwards", [False, True])
def test_the_hour_that_is_repeated_is_read_in_the_order_of_the_rows(backwards, caplog):
    file = TableFile(PATH, ("t",), time_zone="Europe/Berlin")
    clock = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    rows = [f"2024-10-27 {text}" for text in clock]
    first = unix("2024-10-26 23:30")
    expected = [first + i * HOUR_S / 2 for i in range(6)]
    if backwards:
        rows, expected = rows[::-1], expected[::-1]
    with caplog.at_level(logging.WARNING):
        assert seconds(file, *rows) == expected
    assert "4 times are in an hour that the end of summer time repeats" in caplog.text


def test_an_hour_that_the_clock_skips_is_refused():
    file = TableFile(PATH, ("t",), time_zone="Europe/Berlin")
    with pytest.raises(ConfigError, match=r"a\.csv:3: t: .*02:30.* utc_offset_h in place of"):
        seconds(file, "2024-03-31 01:30", "2024-03-31 02:30")


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        ("2024-06-09", ""),
        ("20240609", ""),
        ("2024-06-09T00:00:00+02:00", ""),
        ("2024-06-09 24:00", ""),
        (("2024", "6", "9"), ""),
        ("9.6.2024", "%d.%m.%Y"),
        ("06/09/24", "%m/%d/%y"),
    ],
)
def test_a_date_is_that_which_is_written_whatever_the_hour_and_the_offset(cells, form):
    row = (cells,) if isinstance(cells, str) else cells
    assert read_dates(TableFile(PATH, ("d",), form), [row], [2]) == [datetime.date(2024, 6, 9)]


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("20240631", "'20240631' is not a date: day is out of range for month; correct it"),
        ("09.06.2024", 'date_format = "%d.%m.%Y" or "%m.%d.%Y"?'),
    ],
)
def test_what_is_no_date_is_refused_with_line_and_remedy(cell, fault):
    with pytest.raises(ConfigError) as caught:
        read_dates(TableFile(PATH, ("d",)), [("2024-06-09",), (cell,)], [2, 3])
    assert str(caught.value).startswith("a.csv:3: d: ") and str(caught.value).endswith(fault)
