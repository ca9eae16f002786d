"""The command `epithermal-edge`. Everything heavy is imported by the subcommand that needs it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from epithermal_edge import __version__
from epithermal_edge.errors import EpithermalError, SourceError

EPILOG = """\
exit codes:
  0  done
  1  error: the text on stderr says which
  2  the configuration or the command line is wrong
  3  the model bundle is damaged, or fails its golden vectors here
  4  the port or a file cannot be read
"""

log = logging.getLogger(__name__)

PIPE_CLOSED = 141  # as a shell tells SIGPIPE
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; its exit code."""
    arguments = _parser().parse_args(argv)
    _log_to_stderr(arguments.verbose)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except EpithermalError as error:
        print(
            "\n".join(f"epithermal-edge: {line}" for line in str(error).splitlines()),
            file=sys.stderr,
        )
        return error.exit_code
    except BrokenPipeError:
        # whoever read the output has enough; nothing may be flushed to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        print(f"epithermal-edge: {named}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="epithermal-edge",
        description="Cosmic-ray neutron counts to root-zone soil water, at the detector.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _station_commands(commands)
    _bench_commands(commands)
    return parser


def _add(commands: Any, name: str, run: Any, what: str, example: str) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"example:\n  epithermal-edge {example}\n\n{EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("-v", "--verbose", action="store_true", help="log every record")
    sub.set_defaults(command=run)
    return sub


def _station_commands(commands: Any) -> None:
    """Those that read a station.toml."""
    what = "look at config, bundle, port and broker, and say what to do"
    check = _add(commands, "check", _check, what, "check station.toml")
    what = "read the port, estimate, journal and publish"
    run = _add(commands, "run", _run, what, "run station.toml")
    what = "run recorded files through the same engine"
    example = "replay station.toml logger/*.txt --format hydroinnova --out est.csv"
    replay = _add(commands, "replay", _replay, what, example)
    for sub in (check, run, replay):
        sub.add_argument("station", type=Path, metavar="STATION.toml", help="see docs/station.md")
    run.add_argument(
        "--until-idle",
        type=_positive,
        metavar="S",
        help="stop when for S seconds nothing was read and nothing delivered",
    )
    replay.add_argument("files", type=Path, nargs="+", metavar="FILE", help="text, gz, zip, folder")
    replay.add_argument("--format", metavar="F", help="dialect of the files (source.dialect)")
    replay.add_argument("--out", type=Path, metavar="CSV", help="table of estimates (stdout)")


def _bench_commands(commands: Any) -> None:
    """Those that need no station."""
    what = "send the lines of a detector that is not there"
    example = "simulate --days 30 --to /dev/pts/3 --rate 50"
    sub = _add(commands, "simulate", _simulate, what, example)
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
    sub = _add(commands, "selftest", _selftest, what, "selftest models/demo-0.1.0")
    sub.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a model bundle")


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def _time(text: str) -> float:
    from datetime import UTC, datetime

    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class _Logfmt(logging.Formatter):
    """time=... level=... from=... text="...": one line an event, a traceback escaped into it."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        level = record.levelname.lower()
        return f"time={stamp} level={level} from={record.name} text={json.dumps(text)}"


def _log_to_stderr(verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Logfmt())
    root = logging.getLogger("epithermal_edge")
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)


def _check(arguments: argparse.Namespace) -> int:
    from epithermal_edge.config import read_config
    from epithermal_edge.doctor import examine

    logging.getLogger("epithermal_edge").setLevel(logging.WARNING)
    config = read_config(arguments.station)
    print(f"ok    config: {arguments.station} describes station {config.id}")
    code = 0
    for finding in examine(config):
        print(f"{'ok   ' if finding.well else 'FAULT'} {finding.what}: {finding.why}")
        code = code or finding.exit_code
    return code


def _run(arguments: argparse.Namespace) -> int:
    from epithermal_edge.config import read_config
    from epithermal_edge.station import Station

    station = Station(read_config(arguments.station), arguments.until_idle)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: station.stop())
    station.run()
    print(station.summary(), file=sys.stderr)
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    from epithermal_edge import replay
    from epithermal_edge.config import read_config
    from epithermal_edge.station import load_engine

    config = read_config(arguments.station)
    engine = load_engine(config)
    begin = time.perf_counter()
    found = replay.read(config, arguments.files, arguments.format)
    for reason in found.reasons:
        log.warning("damaged line: %s", reason)
    for name in found.without_record:
        log.warning("no record in %s", name)
    outcomes = replay.play(engine, found.records)
    if arguments.out:
        with arguments.out.open("w", encoding="utf-8", newline="") as out:
            count = replay.write(outcomes, out)
    else:
        count = replay.write(outcomes, sys.stdout)
    seconds = time.perf_counter() - begin
    print(
        f"records={count} damaged={found.damaged} duplicates={found.duplicates}"
        f" conflicts={found.conflicts}"
        f" seconds={seconds:.2f} records_per_s={count / seconds:.0f}",
        file=sys.stderr,
    )
    return 0


def _simulate(arguments: argparse.Namespace) -> int:
    from epithermal_edge import simulator

    if arguments.lines is not None:
        try:
            file = arguments.lines.open("rb")
        except OSError as error:
            raise SourceError(f"{arguments.lines}: {error.strerror}; check the name") from error
        with file:
            simulator.send(file, arguments.to, arguments.rate)
        return 0
    records = simulator.records(arguments.days, arguments.seed, arguments.start, arguments.interval)
    simulator.send(simulator.lines(arguments.dialect, records), arguments.to, arguments.rate)
    return 0


def _selftest(arguments: argparse.Namespace) -> int:
    from epithermal_edge.selftest import report

    for line in report(arguments.bundle):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
