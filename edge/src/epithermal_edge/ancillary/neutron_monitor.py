"""Ask NMDB for the counts of a neutron monitor, and look counts up by time."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from urllib.parse import urlencode

from epithermal_edge.errors import SourceError
from epithermal_edge.loggers.monitor_text import is_plausible, read_monitor
from epithermal_edge.loggers.values import LIMITS
from epithermal_edge.records import NAN
from epithermal_edge.times import instant

MAX_COUNTS = 2048  # 12 weeks of hours


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
        if math.isfinite(self._reference):
            return is_plausible(count, self._reference)
        low, high = LIMITS["incoming"]
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
    rows = read_monitor(text, monitor).rows
    if not rows:
        sorry = "no data for this time" if "orry" in text[:2000] else "not the text that NEST gives"
        raise SourceError(f"NMDB has no counts of {monitor}: {sorry}")
    return rows
