"""Read counts of a neutron monitor from text or NMDB's answers, and look them up by time."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterable
from urllib.parse import urlencode

from epithermal_edge.errors import FrameError, SourceError
from epithermal_edge.loggers.values import LIMITS, parse_number, parse_time
from epithermal_edge.records import NAN
from epithermal_edge.times import instant

MAX_COUNTS = 2048  # 12 weeks of hours
PLAUSIBLE = (
    0.5,
    1.5,
)  # times the site's reference; solar cycle, Forbush and all, JUNG: 0.75 to 1.15

_ROW = re.compile(
    r"\s*([0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?Z?)"
    r"\s*[;,\t]\s*([^;,\t<]*)\s*"
)
_STATION = re.compile(r"^#\s*STATION:\s*(\S+)", re.MULTILINE)


class CountSeries:
    """Counts of a neutron monitor, ordered by time.

    Parameters
    ----------
    reference :
        Reference count of the site, in the monitor's unit; NaN: counts are not checked against it.
    """

    def __init__(self, reference: float = NAN) -> None:
        self._times: list[float] = []
        self._counts: list[float] = []
        self._reference = reference
        self.rejected = 0  # implausible counts

    def add(self, pairs: Iterable[tuple[float, float]]) -> int:
        """Add counts with their Unix times [s], in any order; replace a count of the same time.

        Returns
        -------
        int
            Number of new times.
        """
        new = 0
        for time_s, count in pairs:
            if not self._is_plausible(count):
                self.rejected += 1
                continue
            i = bisect.bisect_left(self._times, time_s)
            if i < len(self._times) and self._times[i] == time_s:
                self._counts[i] = count
                continue
            self._times.insert(i, time_s)
            self._counts.insert(i, count)
            new += 1
        del self._times[:-MAX_COUNTS], self._counts[:-MAX_COUNTS]
        return new

    def _is_plausible(self, count: float) -> bool:
        low, high = LIMITS["incoming"]
        if math.isfinite(self._reference):
            low, high = (factor * self._reference for factor in PLAUSIBLE)
        return low <= count <= high

    def at(self, time_s: float, max_age_s: float) -> float:
        """Return the newest count up to a time [s]; NaN if it is older than `max_age_s`."""
        i = bisect.bisect_right(self._times, time_s)
        if i == 0 or time_s - self._times[i - 1] > max_age_s:
            return NAN
        return self._counts[i - 1]

    def newest_s(self) -> float:
        """Return the Unix time of the newest count [s]; -inf before the first."""
        return self._times[-1] if self._times else -math.inf


def read_rows(text: str) -> list[tuple[float, float]]:
    """Return Unix time [s] and count of every line that has both.

    Parameters
    ----------
    text :
        `2026-11-26 12:00:00; 154.548`, or with a comma or tab; UTC. Other lines are ignored (`#`
        comments of NEST, HTML), and so are counts that are `null`.

    Raises
    ------
    SourceError
        A line has two counts: the text is of several monitors.
    """
    rows = []
    for line in text.splitlines():
        match = _ROW.match(line)
        if match is None:
            continue
        if line[match.end() : match.end() + 1] in (";", ",", "\t"):
            raise SourceError(f"more than one count in a line: {line[:80]!r}")
        try:
            time_s = parse_time(match[1].strip(), "time", "iso", 0.0)
            count = parse_number(match[2].strip(), "count", "incoming")
        except FrameError:
            continue  # a word for "no value", or zero
        if math.isfinite(count):
            rows.append((time_s, count))
    return rows


def nmdb_query(url: str, monitor: str, start_s: float, end_s: float) -> str:
    """Return the URL of a monitor's hourly counts, efficiency and pressure corrected, as text.

    Parameters
    ----------
    url :
        URL of NEST's draw_graph.php.
    start_s, end_s : [s]
        Unix time; NEST uses whole minutes.

    Raises
    ------
    SourceError
        The station's clock is so wrong that a time has no date.

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
        moment = instant(time_s)
        if moment is None:
            raise SourceError(f"the station's clock is wrong: {time_s:g} s has no date")
        keys |= {
            f"{name}_day": moment.day,
            f"{name}_month": moment.month,
            f"{name}_year": moment.year,
            f"{name}_hour": moment.hour,
            f"{name}_min": moment.minute,
        }
    return f"{url}?{urlencode({**keys, 'output': 'ascii'}, safe='[]')}"


def read_nmdb(text: str, monitor: str) -> list[tuple[float, float]]:
    """Return Unix time [s] of each hour's start and its count [s-1] from NEST's answer.

    Raises
    ------
    SourceError
        The answer has no counts, or those of another monitor.
    """
    stations = set(_STATION.findall(text))
    if stations - {monitor}:
        raise SourceError(f"NMDB answered for {', '.join(sorted(stations))}, not {monitor}")
    rows = read_rows(text)
    if not rows:
        sorry = "no data for this time" if "orry" in text[:2000] else "not the text that NEST gives"
        raise SourceError(f"NMDB has no counts of {monitor}: {sorry}")
    return rows
