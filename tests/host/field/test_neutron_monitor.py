"""Counts of a neutron monitor at a site: from a table or a download of NEST, near the reference."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.sites import made_up_site

from epithermal_edge.errors import ConfigError
from epithermal_host.arrays import Array
from epithermal_host.field.neutron_monitor import counts_at, monitor_faults, read_counts
from epithermal_host.field.site_toml import Monitor, read_site

NOON_S = datetime.datetime(2024, 6, 10, 12, tzinfo=datetime.UTC).timestamp()
HEAD = """<html><pre><code>#        STATION: JUNG, JUNG1
# Timestamps always correspond to the beginning of the time interval
"""
NAMES = " JUNG    JUNG1\n"
ROWS = """2024-06-10 12:00:00;157.100;395.200
2024-06-10 13:00:00;   null;395.400
2024-06-10 14:00:00;157.300;394.900
"""
ONE = "#   STATION: JUNG\n  start_date_time   RCORR_E\n2024-06-10 12:00:00;157.1\n"
KEYS = """
[incoming]
file = "monitor.txt"
column = "JUNG"
form = "hawdon2014"
ref = 159.0
"""
Reader = Callable[..., Monitor]


@pytest.fixture
def monitor(tmp_path: Path) -> Reader:
    """A function that describes a site's monitor with a text; lines of [incoming] replaced."""

    def describe(text: str, *changes: tuple[str, str]) -> Monitor:
        keys = KEYS
        for old, new in changes:
            assert old in keys, old
            keys = keys.replace(old, new)
        (tmp_path / "monitor.txt").write_text(text, "utf-8")
        (tmp_path / "site.toml").write_text(made_up_site(keys), "utf-8")
        found = read_site(tmp_path / "site.toml").incoming
        assert found is not None
        return found

    return describe


AS_TABLE = ('"JUNG"\n', '"JUNG"\ntime = "datetime"\ndelimiter = ";"\n')
JUNG1 = ('"JUNG"', '"JUNG1"')
REF = ("159.0", "395.0")
TABLE = "datetime;JUNG;JUNG1\n" + ROWS


@pytest.mark.parametrize("text", [HEAD + NAMES + ROWS, f"{HEAD}{NAMES}{ROWS}</code></pre></html>"])
def test_a_download_of_nest_is_read_by_the_name_of_the_monitor(monitor, text):
    time_s, value = read_counts(monitor(text))
    assert (time_s - NOON_S).tolist() == [0.0, 7200.0] and value.tolist() == [157.1, 157.3]
    assert read_counts(monitor(text, JUNG1, REF))[1].tolist() == [395.2, 395.4, 394.9]


@pytest.mark.parametrize(
    "change",
    [
        AS_TABLE,
        ('"JUNG"\n', '"JUNG"\ntime = "t"\nheader = ["t", "JUNG"]\ndelimiter = ";"\n'),
        ('"JUNG"', '"RCORR_E"'),
    ],
)
def test_a_download_of_one_monitor_needs_no_change_of_the_site_file(monitor, change):
    assert read_counts(monitor(ONE, change))[1].tolist() == [157.1]


def test_a_table_with_the_same_counts_gives_the_same(monitor):
    expected = read_counts(monitor(HEAD + NAMES + ROWS))
    np.testing.assert_array_equal(read_counts(monitor(TABLE, AS_TABLE)), expected)


@pytest.mark.parametrize("text", [TABLE, "#   STATION: JUNG, JUNG1\n" + TABLE])
def test_another_monitor_than_that_of_the_reference_is_refused(monitor, text):
    fault = r"monitor\.txt: column JUNG1: 395\.2 is not near ref 159: another monitor\?"
    with pytest.raises(ConfigError, match=fault):
        read_counts(monitor(text, AS_TABLE, JUNG1))
    with pytest.raises(ConfigError, match=fault):
        read_counts(monitor(HEAD + NAMES + ROWS, JUNG1))


def test_counts_that_are_not_used_need_no_reference(monitor):
    found = monitor(TABLE, AS_TABLE, JUNG1, ('"hawdon2014"', '"none"'))
    assert read_counts(found)[1].tolist() == [395.2, 395.4, 394.9]


def test_single_counts_far_from_the_reference_are_left_out_and_counted(monitor, caplog):
    rows = [f"2024-06-10 {hour}:00:00;157.{hour}" for hour in range(12, 22)]
    rows[3] = "2024-06-10 15:00:00;300"
    with caplog.at_level(logging.WARNING):
        last, _ = counts_at(monitor("\n".join([*ONE.splitlines()[:2], *rows])), at(2.5, 3.5))
    assert last.tolist() == [157.14, 157.14]
    assert "1 of 10 counts are outside 0.5 to 1.5 times ref and are left out" in caplog.text


def at(*hours: float) -> Array:
    """Return times after noon [s, UTC]."""
    return NOON_S + 3600.0 * np.array(hours)


@pytest.mark.parametrize(
    ("text", "changes", "fault"),
    [
        (HEAD + NAMES + ROWS, [('"JUNG"', '"KIEL"')], "of JUNG, JUNG1, not KIEL; correct incoming"),
        (ONE, [JUNG1], "the counts are of JUNG, not JUNG1"),
        (ONE, [AS_TABLE, ("ref", "utc_offset_h = 1\nref")], "times of NEST are UTC"),
        (ONE.replace("157.1", "null"), [], "no counts in column JUNG"),
        (TABLE, [], "not a download of NEST; name the column of the time in incoming.time"),
        (TABLE, [AS_TABLE, ('"JUNG"', '"JUNGG"')], "column 'JUNGG': unknown; did you mean JUNG"),
        (TABLE.replace("157.100", "-157"), [AS_TABLE], "'-157' is below 0"),
        (TABLE.replace("157.100", "157,1"), [AS_TABLE], "'157,1' is not a number"),
    ],
)
def test_what_cannot_be_the_monitor_is_refused(monitor, text, changes, fault):
    with pytest.raises(ConfigError, match=fault):
        read_counts(monitor(text, *changes))


def test_stuck_values_and_drops_of_a_monitor_are_faults():
    hours = np.arange(24.0 * 60)
    value = 150.0 + np.sin(hours / 40.0)
    value[200:260] = value[200]
    value[800:810] = 120.0
    value[1000:1100] *= 0.94  # a Forbush decrease
    faults = monitor_faults(3600.0 * hours, value, 24.0) / 3600.0
    assert [200.0, 260.0] in faults.tolist()
    assert any(begin <= 800.0 < end for begin, end in faults)
    assert not any(begin <= h < end for begin, end in faults for h in (100.0, 700.0, 1050.0))
