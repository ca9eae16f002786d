"""The command line of `epithermal-edge`: what can be asked, and with which exit codes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from epithermal_edge import __version__

EPILOG = """\
exit codes:
  0  done
  1  error: the text on stderr says which
  2  the configuration or the command line is wrong
  3  the model bundle is damaged, or fails its golden vectors here
  4  the port or a file cannot be read
"""
STATUS_EPILOG = """\
exit codes:
  0  well
  1  degraded: it measures, and something is not as it should be
  2  down, or STATION.toml cannot be read
"""


def parser() -> argparse.ArgumentParser:
    """The parser; `command` of what it returns is the name of the subcommand."""
    root = argparse.ArgumentParser(
        prog="epithermal-edge",
        description="Cosmic-ray neutron counts to root-zone soil water, at the detector.",
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
    """One subcommand; of a name of two words the last one is added."""
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
    """Those that run a station or look at it."""
    what = "look at config, bundle, disk, journal, port and broker, and say what to do"
    check = _add(commands, "check", what, "check station.toml")
    what = "read the port, estimate, journal and publish"
    run = _add(commands, "run", what, "run station.toml")
    what = "say how the station is and what is wrong with it"
    status = _add(commands, "status", what, "status station.toml", STATUS_EPILOG)
    what = "show the newest estimates, and each new one as it comes"
    tail = _add(commands, "tail", what, "tail station.toml --last 24")
    for sub in (check, run, status, tail):
        _takes_station(sub)
    run.add_argument(
        "--until-idle",
        type=_positive,
        metavar="S",
        help="stop when for S seconds nothing was read and nothing delivered",
    )
    status.add_argument("--json", action="store_true", help="for programs")
    tail.add_argument("--last", type=_count, default=10, metavar="N", help="begin with N (10)")
    tail.add_argument("--no-follow", action="store_true", help="end when they are shown")


def _record_commands(commands: Any) -> None:
    """Those that make tables of records."""
    what = "run recorded files, or the journal's records, through the same engine"
    example = "replay station.toml logger/*.txt --format hydroinnova --out est.csv"
    replay = _add(commands, "replay", what, example)
    what = "write the journal's records, and what was told of them, as a table"
    example = "export station.toml --csv est.csv --from 2026-05-01 --to 2026-06-01"
    export = _add(commands, "export", what, example)
    for sub in (replay, export):
        _takes_station(sub)
        sub.add_argument("--from", dest="begin", type=_time, metavar="T", help="UTC, not included")
        sub.add_argument("--to", dest="end", type=_time, metavar="T", help="UTC, included")
    files = "text, gz, zip, folder; none: the station's journal"
    replay.add_argument("files", type=Path, nargs="*", metavar="FILE", help=files)
    replay.add_argument("--format", metavar="F", help="dialect of the files (source.dialect)")
    replay.add_argument("--out", type=Path, metavar="CSV", help="table of estimates (stdout)")
    export.add_argument("--csv", type=Path, metavar="CSV", help="the table (stdout)")


def _model_commands(commands: Any) -> None:
    """Those that change the model of a station."""
    model = commands.add_parser("model", help="list, install or roll back model bundles")
    verbs = model.add_subparsers(required=True, metavar="VERB")
    what = "list the bundles that are here, and which one is used"
    listing = _add(verbs, "model list", what, "model list station.toml")
    what = "take a bundle in: verify it here, and let the station try it beside the one in use"
    example = "model install station.toml rootzone-1.1.0.tar.gz"
    install = _add(verbs, "model install", what, example)
    what = "use the bundle that was used before"
    rollback = _add(verbs, "model rollback", what, "model rollback station.toml")
    for sub in (listing, install, rollback):
        _takes_station(sub)
    install.add_argument(
        "bundle", metavar="SRC", help="a bundle's folder, a tar of it, or its https:// address"
    )
    install.add_argument("--now", action="store_true", help="use it without a trial")
    install.add_argument(
        "--allow-downgrade", action="store_true", help="though a later version was used here"
    )
    install.add_argument(
        "--ca", type=Path, metavar="FILE", help="the server's authority, where the system has not"
    )
    install.add_argument("--sha256", metavar="HEX", help="of the tar, where its maker tells it")


def _takes_station(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("station", type=Path, metavar="STATION.toml", help="see docs/station.md")


def _bench_commands(commands: Any) -> None:
    """Those that need no station."""
    what = "send the lines of a detector that is not there"
    example = "simulate --days 30 --to /dev/pts/3 --rate 50"
    sub = _add(commands, "simulate", what, example)
    sub.add_argument("--to", default="-", metavar="URL", help="port, or - for stdout (-)")
    sub.add_argument("--dialect", default="records", help="records or hydroinnova (records)")
    sub.add_argument("--days", type=_positive, default=30.0, help="length of the stream (30)")
    seed = "the same seed gives the same lines (1)"
    sub.add_argument("--seed", type=int, default=1, help=seed)
    sub.add_argument("--rate", type=_positive, metavar="R", help="lines a second (no limit)")
    start, text = "2026-01-01T00:00:00Z", "start of the stream, UTC"
    sub.add_argument("--start", type=_time, default=start, metavar="T", help=f"{text} ({start})")
    interval = "seconds between records (3600)"
    sub.add_argument("--interval", type=_positive, default=3600.0, metavar="S", help=interval)
    lines = "send the lines of this file instead"
    sub.add_argument("--from", dest="lines", type=Path, metavar="FILE", help=lines)

    what = "prove a bundle on every TFLite runtime here"
    sub = _add(commands, "selftest", what, "selftest models/demo-0.1.0")
    sub.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a model bundle")


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
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
