"""Define the command line of `epithermal-edge`: subcommands, options and exit codes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from epithermal_edge import __version__

EPILOG = """\
exit codes:
  0  success
  1  error: see the message on stderr
  2  the configuration or the command line is invalid
  3  the model bundle is damaged or fails its golden vectors on this machine
  4  the port or a file cannot be read
"""
STATUS_EPILOG = """\
exit codes:
  0  well, perhaps with a warning
  1  degraded: the station measures, but has a problem
  2  down, or STATION.toml cannot be read
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser; the result of parsing has the subcommand's full name in `command`."""
    root = argparse.ArgumentParser(
        prog="epithermal-edge",
        description="Estimate root-zone soil water at a cosmic-ray neutron detector.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    _station_commands(commands)
    _record_commands(commands)
    _model_commands(commands)
    _bench_commands(commands)
    return root


def _add(
    commands: Any, name: str, what: str, example: str, codes: str = EPILOG
) -> argparse.ArgumentParser:
    """Add one subcommand; `model list` is added as `list` to the subcommands of `model`."""
    sub: argparse.ArgumentParser = commands.add_parser(
        name.split()[-1],
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"example:\n  epithermal-edge {example}\n\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("-v", "--verbose", action="store_true", help="log every record")
    sub.set_defaults(command=name)
    return sub


def _station_commands(commands: Any) -> None:
    """Add the commands that run or inspect a station."""
    what = "check configuration, model, disk, journal, port, broker, weather, page and clock"
    check = _add(commands, "check", what, "check station.toml")
    what = "run the station: read the logger, estimate soil water, store and publish"
    run = _add(commands, "run", what, "run station.toml")
    what = "report the station's state and its problems"
    status = _add(commands, "status", what, "status station.toml", STATUS_EPILOG)
    what = "print the newest estimates, then each new one as it is stored"
    tail = _add(commands, "tail", what, "tail station.toml --last 24")
    for sub in (check, run, status, tail):
        _takes_station(sub)
    run.add_argument(
        "--until-idle",
        type=_positive,
        metavar="S",
        help="stop after S seconds without any data read or message delivered",
    )
    status.add_argument("--json", action="store_true", help="print JSON, for programs")
    last = "number of stored estimates to print first (default: 10)"
    tail.add_argument("--last", type=_count, default=10, metavar="N", help=last)
    tail.add_argument("--no-follow", action="store_true", help="exit after the stored estimates")


def _record_commands(commands: Any) -> None:
    """Add the commands that write tables of records."""
    what = "estimate again from recorded files, or from the records in the journal"
    example = "replay station.toml logger/*.txt --format hydroinnova --out est.csv"
    replay = _add(commands, "replay", what, example)
    what = "write the records and estimates in the journal as CSV, NetCDF or Parquet"
    example = "export station.toml --csv est.csv --from 2026-05-01 --to 2026-06-01"
    export = _add(commands, "export", what, example)
    for sub in (replay, export):
        _takes_station(sub)
        begin, end = "only records that end after T, UTC", "only records that end by T, UTC"
        sub.add_argument("--from", dest="begin", type=_time, metavar="T", help=begin)
        sub.add_argument("--to", dest="end", type=_time, metavar="T", help=end)
    files = "text, gz or zip file, or folder (default: the station's journal)"
    replay.add_argument("files", type=Path, nargs="*", metavar="FILE", help=files)
    dialect, out = "dialect of the files (default: source.dialect)", "output file (default: stdout)"
    replay.add_argument("--format", metavar="F", help=dialect)
    replay.add_argument("--out", type=Path, metavar="CSV", help=out)
    _export_formats(export, out)
    aside = "write the records that were set aside, with the estimates that were published"
    export.add_argument("--set-aside", action="store_true", help=aside)
    what = "set records of a stopped station aside that end in the future, or restore them"
    repair = _add(commands, "repair", what, "repair station.toml --after 2026-06-01")
    _takes_station(repair)
    which = repair.add_mutually_exclusive_group()
    after = "set aside what ends after T, UTC (default: the present time)"
    which.add_argument("--after", type=_time, metavar="T", help=after)
    which.add_argument("--restore", action="store_true", help="restore what was set aside")


def _export_formats(export: argparse.ArgumentParser, out: str) -> None:
    """Add the options that choose the format; without one it is CSV on stdout."""
    formats = export.add_mutually_exclusive_group()
    formats.add_argument("--csv", type=Path, metavar="CSV", help=out)
    netcdf = "NetCDF by CF-1.11 and ACDD-1.3; needs epithermal-edge[export]"
    formats.add_argument("--netcdf", type=Path, metavar="NC", help=netcdf)
    parquet = "Parquet; needs epithermal-edge[parquet]"
    formats.add_argument("--parquet", type=Path, metavar="PARQUET", help=parquet)
    europe = "CSV in the columns of the data set COSMOS-Europe (docs/export.md)"
    formats.add_argument("--cosmos-europe", type=Path, metavar="CSV", help=europe)
    methods = "the methods in use with their references and BibTeX, as Markdown"
    formats.add_argument("--methods", type=Path, metavar="MD", help=methods)
    given = "TOML file with global attributes, such as creator_name and license, for --netcdf"
    export.add_argument("--attributes", type=Path, metavar="TOML", help=given)


def _model_commands(commands: Any) -> None:
    """Add the commands that list or change the model of a station."""
    model = commands.add_parser("model", help="list, install or roll back model bundles")
    verbs = model.add_subparsers(required=True, metavar="VERB")
    what = "list the installed bundles and show which one is in use"
    listing = _add(verbs, "model list", what, "model list station.toml")
    what = "verify a bundle on this machine and start its trial beside the bundle in use"
    example = "model install station.toml rootzone-1.1.0.tar.gz"
    install = _add(verbs, "model install", what, example)
    what = "return to the bundle that was in use before"
    rollback = _add(verbs, "model rollback", what, "model rollback station.toml")
    for sub in (listing, install, rollback):
        _takes_station(sub)
    install.add_argument(
        "bundle", metavar="SRC", help="folder or tar archive of the bundle, or its https:// address"
    )
    install.add_argument("--now", action="store_true", help="use the bundle without a trial")
    replace = "reject the model that is on trial; without it a second one is refused"
    install.add_argument("--replace-trial", action="store_true", help=replace)
    downgrade = "accept a version older than one that this station has used"
    install.add_argument("--allow-downgrade", action="store_true", help=downgrade)
    authority = "certificate of the server's authority, if the system does not have it"
    install.add_argument("--ca", type=Path, metavar="FILE", help=authority)
    install.add_argument("--sha256", metavar="HEX", help="published checksum of the tar archive")


def _takes_station(sub: argparse.ArgumentParser) -> None:
    what = "configuration of the station, see docs/station.md"
    sub.add_argument("station", type=Path, metavar="STATION.toml", help=what)


def _bench_commands(commands: Any) -> None:
    """Add the commands that need no station."""
    what = "send the lines of a simulated detector"
    example = "simulate --days 30 --to /dev/pts/3 --rate 50"
    sub = _add(commands, "simulate", what, example)
    to = "serial port or URL, or - for stdout (default: -)"
    sub.add_argument("--to", default="-", metavar="URL", help=to)
    dialect = "records or hydroinnova (default: records)"
    sub.add_argument("--dialect", default="records", help=dialect)
    days = "length of the stream in days (default: 30)"
    sub.add_argument("--days", type=_positive, default=30.0, help=days)
    seed = "random seed; the same seed gives the same lines (default: 1)"
    sub.add_argument("--seed", type=int, default=1, help=seed)
    rate = "lines per second (default: no limit)"
    sub.add_argument("--rate", type=_positive, metavar="R", help=rate)
    start = "2026-01-01T00:00:00Z"
    text = f"start of the stream, UTC (default: {start})"
    sub.add_argument("--start", type=_time, default=start, metavar="T", help=text)
    interval = "seconds between records (default: 3600)"
    sub.add_argument("--interval", type=_positive, default=3600.0, metavar="S", help=interval)
    lines = "send the lines of this file instead"
    sub.add_argument("--from", dest="lines", type=Path, metavar="FILE", help=lines)

    what = "verify a bundle on every installed TFLite runtime"
    sub = _add(commands, "selftest", what, "selftest models/demo-0.1.0")
    sub.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a model bundle")


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 10**9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of records")
    return value


def _time(text: str) -> float:
    from datetime import UTC, datetime

    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
