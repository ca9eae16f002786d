"""Run `epithermal-host monitor`: list neutron monitors for a site, fetch or read their counts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from epithermal_edge.errors import ConfigError

EXAMPLES = (
    "monitor --near 51.4 5.5 --altitude 50\n"
    "  epithermal-host monitor --fetch OULU --first 2023-01-01 --last 2024-12-31 --out oulu.txt\n"
    "  epithermal-host monitor --read oulu.txt"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `monitor`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--near", type=float, nargs=2, metavar=("LAT", "LON"),
                      help="list monitors that respond like this place, best first")  # fmt: skip
    what.add_argument("--fetch", metavar="NAME", help="fetch hourly counts from NMDB")
    what.add_argument("--read", type=Path, metavar="FILE", help="describe a series: for `ref`")
    parser.add_argument("--altitude", type=float, default=0.0, metavar="M",
                        help="near: of the place; default: 0")  # fmt: skip
    parser.add_argument("--cutoff", type=float, metavar="GV",
                        help="near: cutoff rigidity; default: from the position")  # fmt: skip
    parser.add_argument("--count", type=int, default=12, metavar="N",
                        help="near: monitors to list; default: %(default)s")  # fmt: skip
    parser.add_argument("--first", type=_day, metavar="DATE", help="fetch: first day, UTC")
    parser.add_argument("--last", type=_day, metavar="DATE", help="fetch: last day, UTC")
    parser.add_argument("--out", type=Path, metavar="FILE", help="fetch: file to write")
    parser.add_argument("--url", help="fetch: address of NEST; default: that of NMDB")
    parser.add_argument("--ca-file", type=Path, metavar="PEM",
                        help="fetch: CA certificate, if not one of the system's")  # fmt: skip
    parser.add_argument("--name", default="", help="read: the monitor of a file of several")


def run(arguments: argparse.Namespace, write: Callable[[str], None]) -> int:
    """Run the command and return the exit status.

    Raises
    ------
    ConfigError
        An option is missing or impossible, or a file has no counts.
    SourceError
        NMDB does not answer, or has no counts.
    """
    from epithermal_host.neutrons import monitors

    if arguments.near:
        _near(arguments, write)
        return 0
    if arguments.read:
        write(monitors.describe_counts(monitors.read_counts(arguments.read, arguments.name)))
        return 0
    name, days = arguments.fetch, (arguments.first, arguments.last)
    if None in days or arguments.out is None:
        raise ConfigError("monitor --fetch: give --first, --last and --out")
    begin_s, end_s = days[0].timestamp(), days[1].timestamp() + 86400.0
    if end_s <= begin_s:
        raise ConfigError("monitor --fetch: --last is before --first")
    url = {"url": arguments.url} if arguments.url else {}
    rows = monitors.fetch_counts(name, begin_s, end_s, ca_file=arguments.ca_file, **url)
    monitors.write_counts(arguments.out, name, rows)
    write(f"{arguments.out}: {name}, {monitors.describe_counts(rows)}")
    write(f'next: [incoming] of site.toml: file = "{arguments.out.name}", column = "{name}"')
    return 0


def _near(arguments: argparse.Namespace, write: Callable[[str], None]) -> None:
    from epithermal_edge.physics.cutoff import CUTOFF_ERROR_GV
    from epithermal_host.neutrons import monitors

    latitude, longitude = arguments.near
    if not (abs(latitude) <= 90.0 and abs(longitude) <= 180.0):
        raise ConfigError("monitor --near: LAT is -90 to 90, LON is -180 to 180")
    place = latitude, longitude, arguments.altitude, arguments.cutoff
    cutoff, candidates = monitors.compare_monitors(*place)
    error = f" (estimated, +-{CUTOFF_ERROR_GV:g})" if arguments.cutoff is None else ""
    write(f"cutoff rigidity {cutoff:.2f} GV{error}, altitude {arguments.altitude:g} m")
    write(monitors.describe_candidates(candidates[: max(arguments.count, 1)]))


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2024-06-01") from error
