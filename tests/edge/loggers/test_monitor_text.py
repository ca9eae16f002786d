"""Counts of a neutron monitor are read from NEST's downloads, of one monitor out of several."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from epithermal_edge.errors import SourceError
from epithermal_edge.loggers.monitor_text import head_of, is_nest, is_plausible, read_monitor

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0

# In the layout of NEST's text: comments, a header that is no comment, stamps of an hour's start.
ONE = """
#_____________ QUERY RESULTS SUMMARY ___________________________________
#        STATION: JUNG
#     START TIME: 2026-11-26 08:00:00 UTC
#      AVERAGING: 60 min
#_______________________________________________________________________
#
# Timestamps always correspond to the beginning of the time interval
   start_date_time   RCORR_E
2026-11-26 10:00:00;158.204
2026-11-26 11:00:00;   null
2026-11-26 12:00:00;158.120
"""
SEVERAL = """#      STATION: JUNG, JUNG1, OULU
 JUNG    JUNG1    OULU
2026-11-26 10:00:00;158.204;395.200; 96.777
2026-11-26 11:00:00;   null;395.100;   null
2026-11-26 12:00:00;158.120;   null; 96.142
"""
JUNG = [(NOON - 2 * HOUR, 158.204), (NOON, 158.120)]
JUNG1 = [(NOON - 2 * HOUR, 395.2), (NOON - HOUR, 395.1)]
OULU = [(NOON - 2 * HOUR, 96.777), (NOON, 96.142)]


def html(text: str) -> str:
    """Wrap a text as NEST's page does."""
    return f"<html><body><pre><code>{text}</code></pre><br>Total time 0.1 s</body></html>"


def csv(text: str) -> str:
    """Return the same table with names between semicolons."""
    names = "datetime;JUNG;JUNG1;OULU"
    return text.replace(" JUNG    JUNG1    OULU", names).partition("\n")[2]


@pytest.mark.parametrize("monitor", ["", "JUNG", "RCORR_E"])
@pytest.mark.parametrize("wrap", [str, html])
def test_the_download_of_one_monitor_is_read(wrap, monitor):
    assert read_monitor(wrap(ONE), monitor).rows == JUNG


@pytest.mark.parametrize(("monitor", "rows"), [("JUNG", JUNG), ("JUNG1", JUNG1), ("OULU", OULU)])
@pytest.mark.parametrize("wrap", [str, html, csv])
def test_one_monitor_is_read_out_of_several(wrap, monitor, rows):
    assert read_monitor(wrap(SEVERAL), monitor).rows == rows


def test_nests_comment_names_the_columns_if_no_line_does():
    text = SEVERAL.replace(" JUNG    JUNG1    OULU\n", "")
    assert read_monitor(text, "OULU").rows == OULU


def test_several_monitors_without_a_choice_are_refused_with_their_names():
    with pytest.raises(SourceError, match=r"3 monitors \(JUNG, JUNG1, OULU\); set .*monitor"):
        read_monitor(SEVERAL)
    with pytest.raises(SourceError, match=r"of 2 monitors \(no names\)"):
        read_monitor("2026-11-26 12:00:00;158.1; 102.2\n")
    with pytest.raises(SourceError, match="more than one count in a line: '2026-11-26 13:00"):
        read_monitor("2026-11-26 12:00:00;158.1\n2026-11-26 13:00:00;158.1; 102.2\n")


@pytest.mark.parametrize("text", [ONE, SEVERAL, html(SEVERAL), csv(SEVERAL)])
def test_counts_of_other_monitors_are_refused(text):
    with pytest.raises(SourceError, match=r"the counts are of JUNG.*, not KIEL"):
        read_monitor(text, "KIEL")
    with pytest.raises(SourceError, match="of no names, not KIEL"):
        read_monitor("2026-11-26 12:00:00;158.1; 102.2\n", "KIEL")


def test_lines_of_time_and_count_have_one_of_three_delimiters():
    assert read_monitor("TIME,COUNTS\n2026-11-26T12:00:00Z, 150.5\r\n", "JUNG").rows == [
        (NOON, 150.5)
    ]
    assert read_monitor("2026/11/26 12:00\t150.5\n").rows == [(NOON, 150.5)]
    assert read_monitor("2026-11-26 12:00;150.5;\n").rows == [(NOON, 150.5)]


def test_what_is_no_count_is_left_out_and_counted():
    text = "2026-11-26 12:00:00;0\n2026-13-26 12:00:00;150\n2026-11-26 12:00:00;1e5x\n\n;;\n"
    assert (read_monitor(text).rows, read_monitor(text).damaged) == ([], 3)
    cut = read_monitor(f"{SEVERAL}2026-11-26 13:00:00;158.2", "JUNG")
    assert (cut.rows, cut.damaged) == (JUNG, 1)


def test_a_download_of_nest_is_recognized_by_its_names_between_blanks():
    assert is_nest(ONE) and is_nest(html(ONE)) and is_nest(SEVERAL) and is_nest(html(SEVERAL))
    assert not is_nest(csv(SEVERAL)) and not is_nest("time\n2026-11-26 12:00;150.5\n")
    assert not is_nest("2026-11-26 12:00;150.5\n") and not is_nest("")


def test_the_head_of_a_file_chooses_the_column_of_its_end():
    tail = "".join(SEVERAL.splitlines(keepends=True)[-1:])
    assert read_monitor(head_of(SEVERAL) + tail, "OULU").rows == OULU[1:]
    assert head_of(" JUNG  OULU\n") == ""


def test_a_count_is_plausible_within_half_and_one_and_a_half_of_the_reference():
    assert [is_plausible(count, 159.0) for count in (79.0, 80.0, 238.0, 239.0, 395.0)] == [
        *(False, True, True, False, False)
    ]
