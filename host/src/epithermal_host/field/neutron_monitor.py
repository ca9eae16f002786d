"""Read a neutron monitor's counts for a site's records, and find its faults."""

from __future__ import annotations

import logging
import math

import numpy as np

from epithermal_edge.errors import ConfigError, SourceError
from epithermal_edge.loggers.monitor_text import PLAUSIBLE, is_nest, read_monitor
from epithermal_edge.times import DAY_S, HOUR_S
from epithermal_host.arrays import Array
from epithermal_host.field.site_toml import Monitor
from epithermal_host.tables.description import is_spreadsheet
from epithermal_host.tables.quantities import MONITOR_COUNTS
from epithermal_host.tables.rows import read_text
from epithermal_host.tables.table import read_table

DROP_MAX = 0.10  # below the median of `DROP_WINDOW_D`, relative; larger drops are faults
DROP_WINDOW_D = 15.0

log = logging.getLogger(__name__)


def read_counts(monitor: Monitor) -> tuple[Array, Array]:
    """Read the counts of a monitor in time order: (n,) [s, UTC] and (n,), without gaps.

    The file is a table, or a download of NEST whose column is chosen by the monitor's name.

    Raises
    ------
    ConfigError
        The file has no such column or monitor, or its counts are those of another monitor.
    SourceError
        The file cannot be read.
    """
    where = monitor.file.path
    if not is_spreadsheet(where) and is_nest(text := read_text(where)):
        time_s, value = _read_nest(monitor, text)
    elif not monitor.file.time:
        raise ConfigError(
            f"{where}: not a download of NEST; name the column of the time in incoming.time"
        )
    else:
        time_s, values = read_table(monitor.file, (monitor.column,), MONITOR_COUNTS)
        time_s, value = time_s[np.isfinite(values[:, 0])], values[np.isfinite(values[:, 0]), 0]
    if not value.size:
        raise ConfigError(f"{where}: no counts in column {monitor.column}; name another column")
    _check_reference(monitor, value)
    return time_s, value


def counts_at(monitor: Monitor, end_s: Array) -> tuple[Array, Array]:
    """Return the last count at each time [s, UTC], NaN during faults, and the faults."""
    time_s, value = read_counts(monitor)
    faulty_s = monitor_faults(time_s, value, monitor.hold_h)
    if math.isfinite(monitor.reference):
        low, high = (factor * monitor.reference for factor in PLAUSIBLE)
        near = (value >= low) & (value <= high)
        time_s, value = time_s[near], value[near]
    i = np.searchsorted(time_s, end_s, side="right") - 1
    last = np.where(i >= 0, value[np.maximum(i, 0)], np.nan)
    last[end_s - time_s[np.maximum(i, 0)] > monitor.hold_h * HOUR_S] = np.nan
    for begin, end in faulty_s:
        last[(end_s >= begin) & (end_s < end)] = np.nan
    return last, faulty_s


def monitor_faults(time_s: Array, value: Array, hold_h: float) -> Array:
    """Find the periods in which a neutron monitor's values are faulty.

    Parameters
    ----------
    time_s, value : (n,)
        In time order.
    hold_h : [h]
        Longest time for which a value may remain unchanged.

    Returns
    -------
    (k, 2) [s, UTC]
        Start and end. Days with a drop of more than `DROP_MAX` below the median around them are
        included; the largest Forbush decreases of a solar cycle at high-latitude monitors have
        this size.
    """
    if not time_s.size:
        return np.empty((0, 2))
    begins = np.flatnonzero(np.concatenate(([True], np.diff(value) != 0.0)))
    until = np.append(time_s[begins[1:]], time_s[-1])
    stuck = until - time_s[begins] > hold_h * HOUR_S
    faults = [np.stack([time_s[begins], until], axis=1)[stuck]]
    day = np.floor(time_s / DAY_S)
    each, where = np.unique(day, return_inverse=True)
    middle = np.array([np.median(value[where == i]) for i in range(each.size)])
    half = 0.5 * DROP_WINDOW_D
    around = np.array([np.median(middle[np.abs(each - d) <= half]) for d in each])
    low = value < (1.0 - DROP_MAX) * around[where]
    bad = np.unique(day[low])
    faults.append(np.stack([bad * DAY_S, (bad + 1.0) * DAY_S], axis=1))
    return np.concatenate(faults)


def _read_nest(monitor: Monitor, text: str) -> tuple[Array, Array]:
    """Read the column of a monitor from a download of NEST."""
    where = monitor.file.path
    if monitor.file.utc_offset_h or monitor.file.time_zone:
        raise ConfigError(
            f"{where}: the times of NEST are UTC; delete utc_offset_h and time_zone of [incoming]"
        )
    try:
        found = read_monitor(text, monitor.column)
    except SourceError as fault:
        raise ConfigError(f"{where}: {fault}; correct incoming.column") from fault
    if found.damaged:
        log.warning("note: %s: %d rows without a time or a count above 0 are left out",
                    where, found.damaged)  # fmt: skip
    rows = np.array(sorted(found.rows), dtype=np.float64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _check_reference(monitor: Monitor, value: Array) -> None:
    """Refuse the counts of another monitor; log how many single counts are not used."""
    if not math.isfinite(monitor.reference):
        return
    where, reference = f"{monitor.file.path}: column {monitor.column}", monitor.reference
    usual = float(np.median(value))
    low, high = (factor * reference for factor in PLAUSIBLE)
    if not low <= usual <= high:
        raise ConfigError(
            f"{where}: {usual:.4g} is not near ref {reference:g}: another monitor? correct "
            "incoming.column or incoming.ref"
        )
    if number := int(np.sum((value < low) | (value > high))):
        log.warning("note: %s: %d of %d counts are outside %g to %g times ref and are left out",
                    where, number, value.size, *PLAUSIBLE)  # fmt: skip
