"""Counts of a neutron monitor: lines of time and count, NMDB's answers, and their series."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import urlencode

from epithermal_edge.errors import FrameError, SourceError
from epithermal_edge.loggers.values import LIMITS, number, unix_time
from epithermal_edge.records import NAN

KEPT = 2048  # values: 12 weeks of hours
PLAUSIBLE = (
    0.5,
    1.5,
)  # times the site's reference; solar cycle, Forbush and all, JUNG: 0.75 to 1.15

_ROW = re.compile(
    r"\s*([0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?Z?)"
    r"\s*[;,\t]\s*([^;,\t<]*)\s*"
)
_STATION = re.compile(r"^#\s*STATION:\s*(\S+)", re.MULTILINE)


class Series:
    """Counts by time.

    Parameters
    ----------
    reference :
        Of the site, in the monitor's unit; NaN: counts are not held to it.
    """

    def __init__(self, reference: float = NAN) -> None:
        self._times: list[float] = []
        self._counts: list[float] = []
        self._reference = reference
        self.refused = 0  # counts that cannot be

    def take(self, pairs: Iterable[tuple[float, float]]) -> int:
        """Counts with their Unix times [s], in any order; a later one replaces one of its time.

        Returns how many were new.
        """
        new = 0
        for time_s, count in pairs:
            if not self._is_plausible(count):
                self.refused += 1
                continue
            i = bisect.bisect_left(self._times, time_s)
            if i < len(self._times) and self._times[i] == time_s:
                self._counts[i] = count
                continue
            self._times.insert(i, time_s)
            self._counts.insert(i, count)
            new += 1
        del self._times[:-KEPT], self._counts[:-KEPT]
        return new

    def _is_plausible(self, count: float) -> bool:
        low, high = LIMITS["incoming"]
        if math.isfinite(self._reference):
            low, high = (factor * self._reference for factor in PLAUSIBLE)
        return low <= count <= high

    def at(self, time_s: float, max_age_s: float) -> float:
        """The newest count up to a time; NaN where it is older than that."""
        i = bisect.bisect_right(self._times, time_s)
        if i == 0 or time_s - self._times[i - 1] > max_age_s:
            return NAN
        return self._counts[i - 1]

    def newest_s(self) -> float:
        """Unix time of the newest count [s]; -inf before the first."""
        return self._times[-1] if self._times else -math.inf


def read_rows(text: str) -> list[tuple[float, float]]:
    """Unix time [s] and count of every line that has both.

    Parameters
    ----------
    text :
        `2026-11-26 12:00:00; 154.548` or with a comma or tab; UTC. Other lines are passed over, as
        NEST's `#` comments and the HTML it may wrap them in; so are counts that are `null`.

    Raises
    ------
    SourceError
        A line has two counts: the answer is of several monitors.
    """
    rows = []
    for line in text.splitlines():
        match = _ROW.match(line)
        if match is None:
            continue
        if line[match.end() : match.end() + 1] in (";", ",", "\t"):
            raise SourceError(f"more than one count in a line: {line[:80]!r}")
        try:
            time_s = unix_time(match[1].strip(), "time", "iso", 0.0)
            count = number(match[2].strip(), "count", "incoming")
        except FrameError:
            continue  # a word for "none", or zero
        if math.isfinite(count):
            rows.append((time_s, count))
    return rows


def nmdb_query(url: str, monitor: str, start_s: float, end_s: float) -> str:
    """Address of the hourly counts of a monitor, efficiency and pressure corrected, as text.

    Parameters
    ----------
    url :
        Of NEST's draw_graph.php.
    start_s, end_s : [s]
        Unix time; NEST takes minutes.

    References
    ----------
    NMDB, NEST help (www.nmdb.eu/nest/help.php#howto): `wget=1` asks for text, `revori` for revised
    data where there are any, `force=1` for means where the resolution is coarser than the data's.
    """
    keys: dict[str, str | int] = {
        "wget": 1,
        "stations[]": monitor,
        "tabchoice": "revori",
        "dtype": "corr_for_efficiency",
        "tresolution": 60,
        "force": 1,
        "yunits": 0,
        "date_choice": "bydate",
    }
    for name, time_s in (("start", start_s), ("end", end_s)):
        moment = datetime.fromtimestamp(time_s, UTC)
        keys |= {
            f"{name}_day": moment.day,
            f"{name}_month": moment.month,
            f"{name}_year": moment.year,
            f"{name}_hour": moment.hour,
            f"{name}_min": moment.minute,
        }
    return f"{url}?{urlencode({**keys, 'output': 'ascii'}, safe='[]')}"


def read_nmdb(text: str, monitor: str) -> list[tuple[float, float]]:
    """Unix time [s] of an hour's start and its count [s-1] from NEST's answer.

    Raises
    ------
    SourceError
        It has no counts, or those of another monitor.
    """
    stations = set(_STATION.findall(text))
    if stations - {monitor}:
        raise SourceError(f"NMDB answered for {', '.join(sorted(stations))}, not {monitor}")
    rows = read_rows(text)
    if not rows:
        sorry = "no data for this time" if "orry" in text[:2000] else "not the text that NEST gives"
        raise SourceError(f"NMDB has no counts of {monitor}: {sorry}")
    return rows
