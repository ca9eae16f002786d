"""Choose a neutron monitor for a site, and fetch its counts from NMDB."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from epithermal_edge.errors import ConfigError, SourceError
from epithermal_edge.loggers.monitor_text import Pairs, read_monitor
from epithermal_edge.loggers.nmdb import NMDB_URL, fetch, nmdb_query, read_nmdb
from epithermal_edge.physics.cutoff import cutoff_rigidity
from epithermal_edge.physics.neutron_monitors import (
    NeutronMonitor,
    distance_km,
    incoming_scale,
    list_monitors,
)
from epithermal_edge.times import DAY_S, HOUR_S, instant, utc
from epithermal_host.compute.files import write_atomic
from epithermal_host.tables.rows import read_text

log = logging.getLogger(__name__)

QUERY_S = 366.0 * DAY_S  # of one query: 250 kB


@dataclass(frozen=True, slots=True)
class Candidate:
    """A monitor beside a site."""

    monitor: NeutronMonitor
    distance_km: float
    hawdon: float  # scale of f_i
    mcjannet: float

    @property
    def closed(self) -> bool:
        """Return whether the monitor no longer counts."""
        return bool(self.monitor.years) and not self.monitor.years.endswith("-")


def compare_monitors(
    latitude_deg: float, longitude_deg: float, altitude_m: float, cutoff_gv: float | None = None
) -> tuple[float, list[Candidate]]:
    """Compare a site with all monitors; those that respond to the sun as the site come first.

    Parameters
    ----------
    latitude_deg, longitude_deg : [degree]
    altitude_m : [m]
    cutoff_gv : [GV]
        None: estimated from the position.

    Returns
    -------
    float, list of Candidate
        Cutoff rigidity of the site [GV], and the monitors by |scale - 1|, closed ones last.
    """
    if cutoff_gv is None:
        cutoff_gv = float(cutoff_rigidity(latitude_deg, longitude_deg))
    place = latitude_deg, altitude_m, cutoff_gv
    out = [
        Candidate(
            monitor,
            float(distance_km(latitude_deg, longitude_deg, monitor)),
            float(incoming_scale("hawdon2014", *place, monitor)),
            float(incoming_scale("mcjannet2023", *place, monitor)),
        )
        for monitor in list_monitors()
    ]
    return cutoff_gv, sorted(out, key=lambda c: (c.closed, abs(c.mcjannet - 1.0)))


def fetch_counts(
    name: str, begin_s: float, end_s: float, url: str = NMDB_URL, ca_file: Path | None = None
) -> Pairs:
    """Fetch a monitor's hourly counts from NMDB, a year in each query.

    Parameters
    ----------
    begin_s, end_s : [s]
        Unix time.

    Returns
    -------
    list of (float, float)
        Unix time of the start of each hour [s] and its count [s-1], in time order.

    Raises
    ------
    SourceError
        No answer, or no counts in any year.
    """
    rows: dict[float, float] = {}
    fault: SourceError | None = None
    while begin_s < end_s:
        until = min(begin_s + QUERY_S, end_s)
        text = fetch(nmdb_query(url, name, begin_s, until), ca_file)
        try:
            rows |= read_nmdb(text, name)
        except SourceError as error:  # a year before the monitor began has no counts
            fault = error
            log.warning("note: %s to %s: %s", utc(begin_s), utc(until), error)
        begin_s = until
    if not rows:
        raise fault or SourceError(f"{name}: the period has no hour")
    return sorted(rows.items())


def write_counts(path: Path, name: str, rows: Pairs) -> None:
    """Write counts in the layout of NEST, which [incoming] of a site.toml and a station read."""
    lines = [f"#  STATION: {name}", f" {name}"]
    for time_s, count in rows:
        moment = instant(time_s)
        assert moment is not None  # it was read from text
        lines.append(f"{moment:%Y-%m-%d %H:%M:%S};{count:.3f}")
    write_atomic(path, ("\n".join(lines) + "\n").encode())


def read_counts(path: Path, name: str = "") -> Pairs:
    """Read counts from a file of NEST or of time and count, in time order.

    Raises
    ------
    ConfigError
        The file has no counts of this monitor.
    """
    try:
        rows = read_monitor(read_text(path), name).rows
    except SourceError as fault:
        raise ConfigError(f"{path}: {fault}") from fault
    if not rows:
        raise ConfigError(f"{path}: no line has a time and a count")
    return sorted(rows)


def describe_counts(rows: Pairs) -> str:
    """Describe a series in a line: period, hours and median."""
    first, last = (instant(rows[i][0]) for i in (0, -1))
    middle = statistics.median(count for _, count in rows)
    span_h = (rows[-1][0] - rows[0][0]) / HOUR_S + 1.0
    return (
        f"{first:%Y-%m-%d} to {last:%Y-%m-%d}: {len(rows)} counts in {span_h:.0f} hours, "
        f"median {middle:.1f}"
    )


def describe_candidates(candidates: Sequence[Candidate]) -> str:
    """Format monitors as a table of text."""
    lines = [
        f"{'name':5} {'place':31} {'GV':>5} {'m':>5} {'km':>6} {'hawdon2014':>10} "
        f"{'mcjannet2023':>12} {'count':>6} years"
    ]
    for c in candidates:
        m = c.monitor
        count = f"{m.count:6.1f}" if m.count == m.count else f"{'-':>6}"
        hawdon = f"{c.hawdon:10.2f}" if c.hawdon > 0.0 else f"{'-':>10}"
        lines.append(
            f"{m.name:5} {m.place:31} {m.cutoff_gv:5.2f} {m.altitude_m:5.0f} {c.distance_km:6.0f} "
            f"{hawdon} {c.mcjannet:12.2f} {count} {m.years or '-'}"
        )
    return "\n".join(lines)
