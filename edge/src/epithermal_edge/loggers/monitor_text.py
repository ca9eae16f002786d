"""Read counts of neutron monitors from text: NEST's downloads, or lines of time and count."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from epithermal_edge.errors import FrameError, SourceError
from epithermal_edge.loggers.values import parse_number, parse_time

PLAUSIBLE = (0.5, 1.5)
"""Range of a count, times the site's reference.

Solar cycle, Forbush decreases and all, JUNG: 0.75 to 1.15. Another monitor is mostly outside.
"""

HEAD_CHARACTERS = 1 << 16  # above the first row there are fewer

_ROW = re.compile(
    r"\s*([0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?Z?)"
    r"\s*([;,\t])(.*)"
)
_TAG = re.compile(r"<[^<>]*>")
_STATIONS = re.compile(r"#\s*STATIONS?:\s*(\S.*)")
_SHORT_NAME = re.compile(r"[A-Z][A-Z0-9]{1,7}")  # of a monitor
_TIME_NAMES = ("start_date_time", "datetime", "date_time", "timestamp", "time", "date")

Pairs = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class MonitorText:
    """Counts of one monitor."""

    rows: Pairs  # Unix time [s] and count
    damaged: int  # rows whose time or count cannot be read, `null` not counted


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands above the first row."""

    stations: tuple[str, ...]  # of NEST's comment
    names: tuple[str, ...]  # of the last line that is no comment


def is_plausible(count: float, reference: float) -> bool:
    """Return whether a count may be of the monitor whose reference count is given."""
    low, high = (factor * reference for factor in PLAUSIBLE)
    return low <= count <= high


def read_monitor(text: str, monitor: str = "") -> MonitorText:
    """Read the counts of one monitor.

    Parameters
    ----------
    text :
        Lines of time (UTC) and counts: `2026-11-26 12:00:00; 154.548`, or with a comma or tab;
        counts of several monitors if a line above the first row, or NEST's comment `# STATION:`,
        names them. Comments, HTML and other lines are ignored, and so are counts that are `null`.
    monitor :
        Short name of the monitor, or name of its column; empty: the only one.

    Raises
    ------
    SourceError
        The text is of several monitors and none is chosen, or it is of other monitors.
    """
    lines = [_TAG.sub(" ", line) for line in text.splitlines()]
    head = _read_head(lines)
    column = -1
    rows: Pairs = []
    damaged, size = 0, 0
    for time, cells in _data(lines):
        if column < 0:
            if len(cells) > 1 and not cells[-1] and len(cells) not in _widths(head):
                cells.pop()
            size = len(cells)
            column = _choose(head, size, monitor)
        if any(cells[size:]):
            raise SourceError(f"more than one count in a line: {'; '.join([time, *cells])[:80]!r}")
        try:
            if len(cells) < size:
                raise FrameError("incomplete")
            time_s = parse_time(time, "time", "iso", 0.0)
            count = parse_number(cells[column], "count", "incoming")
        except FrameError:  # a word for "no value", or zero
            damaged += 1
            continue
        if math.isfinite(count):
            rows.append((time_s, count))
    return MonitorText(rows, damaged)


def is_nest(text: str) -> bool:
    """Return whether a text is a download of NEST: names between blanks above cells between ;."""
    lines = [_TAG.sub(" ", line) for line in text[:HEAD_CHARACTERS].splitlines()]
    head, first = _above(lines), next(_data(lines), None)
    names = [line for line in head if line.strip() and not line.lstrip().startswith("#")]
    if first is None or not names or re.search(r"[;,\t]", names[-1].strip()):
        return False
    found = names[-1].split()
    return found[0] == _TIME_NAMES[0] or all(_SHORT_NAME.fullmatch(name) for name in found)


def head_of(text: str) -> str:
    """Return the lines above the first row, which name the monitors; empty without a row."""
    lines = text.splitlines()
    above = _above(lines)
    return "\n".join([*above, ""]) if len(above) < len(lines) else ""


def _data(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield time and cells of each row."""
    for line in lines:
        match = _ROW.match(line)
        if match is not None:
            yield match[1].strip(), [cell.strip() for cell in match[3].split(match[2])]


def _above(lines: list[str]) -> list[str]:
    first = next((i for i, line in enumerate(lines) if _ROW.match(line)), len(lines))
    return lines[:first]


def _read_head(lines: list[str]) -> _Head:
    stations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    for line in _above(lines):
        match = _STATIONS.match(line.strip())
        if match is not None:
            stations = tuple(re.split(r"[\s,;]+", match[1].strip()))
        elif line.strip() and not line.lstrip().startswith("#"):
            parts = re.split(r"[;,\t]" if re.search(r"[;,\t]", line.strip()) else r"\s+", line)
            names = tuple(part.strip() for part in parts if part.strip())
    return _Head(stations, names)


def _widths(head: _Head) -> set[int]:
    """Return the numbers of counts in a row that the head can mean."""
    return {len(head.stations), len(head.names), len(head.names) - 1}


def _choose(head: _Head, size: int, monitor: str) -> int:
    """Return the position of the monitor's counts among those of a row."""
    names = list(head.names)
    if len(names) == size + 1 or (names and names[0].lower() in _TIME_NAMES):
        names = names[1:]
    stations = list(head.stations)
    known = [*stations, *(names if size > 1 else ())]  # of one count, the name may be any
    listed = ", ".join(dict.fromkeys(known)) or "no names"
    if size > 1 and not monitor:
        raise SourceError(
            f"more than one count in a line, of {size} monitors ({listed}); "
            "set incoming.monitor to one of them"
        )
    for candidates in (names, stations):
        if len(candidates) == size and monitor in candidates:
            return candidates.index(monitor)
    if monitor and (known or size > 1):
        raise SourceError(f"the counts are of {listed}, not {monitor}")
    return 0
