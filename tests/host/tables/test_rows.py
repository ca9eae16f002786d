"""Files as people export them: titles, byte order marks, spreadsheets, shifted rows."""

from __future__ import annotations

import codecs
import datetime
import gzip
import logging
from pathlib import Path

import numpy as np
import pytest

from epithermal_edge.errors import ConfigError, SourceError
from epithermal_host.tables.description import TableFile
from epithermal_host.tables.quantities import ANY, THETA
from epithermal_host.tables.rows import read_rows
from epithermal_host.tables.table import read_table

openpyxl = pytest.importorskip("openpyxl")
TEXT = "day,x\n2024-06-10,0.25\n"


def written(folder: Path, data: bytes | str, name: str = "a.csv") -> Path:
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder / name


def test_lines_above_the_header_are_skipped_and_counted(tmp_path):
    path = written(tmp_path, f'"Station 7, soil"\n\n{TEXT}2024-06-11,wet\n')
    assert read_rows(TableFile(path, skip=2))[1][0] == (4, ["2024-06-10", "0.25"])
    with pytest.raises(ConfigError, match=r"a\.csv:5: x: 'wet' is not a number"):
        read_table(TableFile(path, ("day",), skip=2), ("x",))


def test_a_file_without_a_header_is_read_by_given_names(tmp_path):
    path = written(tmp_path, "2024-06-10,0.25\n2024-06-11,0.3\n")
    values = read_table(TableFile(path, ("day",), header=("day", "x")), ("x",))[1]
    assert values[:, 0].tolist() == [0.25, 0.3]


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("x", "x [\u00b0]").encode("cp1252"),
        TEXT.replace("x", "x [\u00b0]").encode(),
    ],
)
def test_encodings_and_their_marks_are_no_part_of_the_names(tmp_path, data):
    header, rows = read_rows(TableFile(written(tmp_path, data)))
    assert header in (["day", "x"], ["day", "x [\u00b0]"])
    assert rows == [(2, ["2024-06-10", "0.25"])]


def test_a_compressed_file_is_read(tmp_path):
    path = written(tmp_path, gzip.compress(TEXT.encode()), "A.CSV.GZ")
    assert read_rows(TableFile(path))[0] == ["day", "x"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("2024-06-11,0,3", "3 cells, but 2 names of columns; another delimiter, or a decimal"),
        (
            "2024-06-11\n2024-06-12,0.2",
            "1 cells, but 2 names of columns; another delimiter, or a cell left out",
        ),
    ],
)
def test_a_row_that_may_be_shifted_is_refused(tmp_path, row, fault):
    path = written(tmp_path, f"{TEXT}{row}\n")
    with pytest.raises(ConfigError, match=rf"a\.csv:3: {fault}"):
        read_rows(TableFile(path))


def test_a_last_row_that_was_cut_off_is_left_out_and_reported(tmp_path, caplog):
    path = written(tmp_path, "day,x,y\n2024-06-10,0.25,1\n2024-06-11,0.2")
    with caplog.at_level(logging.WARNING):
        assert len(read_rows(TableFile(path))[1]) == 1
    assert "the last row is incomplete and is left out" in caplog.text


def test_closing_delimiters_and_empty_lines_shift_nothing(tmp_path):
    path = written(tmp_path, "day,x,\n2024-06-10,0.25,,\n,,\n\n2024-06-11,0.3\n")
    assert [row[1][1] for row in read_rows(TableFile(path))[1]] == ["0.25", "0.3"]


def test_rows_without_a_time_are_left_out_and_counted(tmp_path, caplog):
    path = written(tmp_path, f"{TEXT},0.9\n2024-06-11,-9999\n")
    with caplog.at_level(logging.WARNING):
        values = read_table(TableFile(path, ("day",)), ("x",), THETA)[1][:, 0]
    np.testing.assert_array_equal(values, [0.25, np.nan])
    assert "1 of 3 rows have no time and are left out" in caplog.text
    assert "x: 1 of 2 cells are codes for no value" in caplog.text


def test_what_is_not_text_is_refused_by_its_kind(tmp_path):
    with pytest.raises(ConfigError, match=r"\.xls is not read; save the table as CSV or \.xlsx"):
        read_rows(TableFile(written(tmp_path, b"\xd0\xcf", "a.xls")))
    with pytest.raises(SourceError, match="it is not text"):
        read_rows(TableFile(written(tmp_path, b"a,b\0")))
    with pytest.raises(ConfigError, match="no line with the names"):
        read_rows(TableFile(written(tmp_path, "# nothing\n")))


def test_a_row_of_units_below_the_names_is_left_out_and_noted(tmp_path, caplog):
    path = written(tmp_path, TEXT.replace("x\n", "x\n(yyyymmdd),[m3/m3]\n"))
    with caplog.at_level(logging.WARNING):
        values = read_table(TableFile(path, ("day",)), ("x",))[1]
    assert values[:, 0].tolist() == [0.25]
    assert "a.csv:2: a row of units is left out" in caplog.text


def test_a_title_above_the_names_is_refused_with_the_remedy(tmp_path):
    path = written(tmp_path, f"Station 7\n{TEXT}")
    with pytest.raises(ConfigError, match=r"a\.csv:2: 2 cells.*'Station 7' a title .* skip"):
        read_rows(TableFile(path))


def test_lines_below_the_end_of_the_table_are_not_read(tmp_path):
    path = written(tmp_path, f"{TEXT}\nhour,y,z\n1,2,3\n")
    assert len(read_rows(TableFile(path, end=2))[1]) == 1


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A workbook with an empty sheet and one of times, numbers, an empty cell and an error."""
    book = openpyxl.Workbook()
    sheet = book.create_sheet("soil")
    sheet.append(["Soil of June"])
    sheet.append(["when", "clock", "x"])
    sheet.append([datetime.datetime(2024, 6, 10), datetime.time(7, 30), 0.25])
    sheet.append([datetime.datetime(2024, 6, 11), datetime.time(8), None])
    sheet.append([datetime.date(2024, 6, 12), datetime.time(9, 0, 5), "#N/A"])
    sheet.append(["13.06.2024", "10:00:00", 1])
    book.save(tmp_path / "a.xlsx")
    return tmp_path / "a.xlsx"


def test_a_spreadsheet_is_read_by_its_sheet(book):
    form = "%d.%m.%Y %H:%M:%S"
    file = TableFile(book, ("when", "clock"), time_format=form, skip=1, sheet="soil")
    time_s, values = read_table(file, ("x",), ANY)
    days = [datetime.datetime(2024, 6, 10 + i, tzinfo=datetime.UTC).timestamp() for i in range(4)]
    assert (time_s - days).tolist() == [27000.0, 28800.0, 32405.0, 36000.0]
    np.testing.assert_array_equal(values[:, 0], [0.25, np.nan, np.nan, 1.0])


def test_an_unknown_sheet_and_a_damaged_spreadsheet_are_refused(book):
    with pytest.raises(ConfigError, match="sheet 'sol': unknown; did you mean soil"):
        read_rows(TableFile(book, sheet="sol"))
    book.write_bytes(b"no zip")
    with pytest.raises(SourceError, match="cannot be read as a spreadsheet"):
        read_rows(TableFile(book))
