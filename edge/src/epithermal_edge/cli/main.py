"""Run the command `epithermal-edge`; each subcommand imports the heavy modules that it needs."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from epithermal_edge.cli import logs
from epithermal_edge.cli.arguments import parser
from epithermal_edge.errors import ConfigError, EpithermalError, SourceError

if TYPE_CHECKING:
    from epithermal_edge.config.station_toml import Config
    from epithermal_edge.records import RawRecord

log = logging.getLogger(__name__)

PIPE_CLOSED = 141  # a shell's exit code for SIGPIPE
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    arguments = parser().parse_args(argv)
    logs.to_stderr(sys.stderr, arguments.verbose)
    try:
        code = COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
        return code
    except EpithermalError as error:
        for line in str(error).splitlines():
            _print_error(line)
        return error.exit_code
    except BrokenPipeError:
        # the reader has closed the pipe; Python must not flush to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        _print_error(f"{named}{error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _print_error(line: str) -> None:
    """Print an error message; with the priority of an error if journald reads stderr."""
    before = "<3>" if logs.goes_to_journald(sys.stderr, os.environ) else ""
    print(f"{before}epithermal-edge: {line}", file=sys.stderr)


def _check(arguments: argparse.Namespace) -> int:
    from epithermal_edge.cli.check import examine
    from epithermal_edge.config.station_toml import read_config

    logging.getLogger("epithermal_edge").setLevel(logging.WARNING)
    logging.getLogger("epithermal_edge.ancillary").setLevel(logging.ERROR)  # findings say the same
    config = read_config(arguments.station)
    print(f"ok    config: {arguments.station} describes station {config.id}")
    code = 0
    for finding in examine(config):
        word = "ok   " if finding.well else "FAULT" if finding.exit_code else "WARN "
        print(f"{word} {finding.what}: {finding.why}")
        if finding.remedy:
            print(f"      do: {finding.remedy}")
        code = code or finding.exit_code
    return code


def _run(arguments: argparse.Namespace) -> int:
    from epithermal_edge.config.station_toml import read_config
    from epithermal_edge.station.daemon import Station

    config = read_config(arguments.station)
    station = Station(config, arguments.until_idle)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: station.stop())
    with _page(config) as page:
        if page is not None:
            station.watch(page)
        station.run()
    print(station.summary(), file=sys.stderr)
    if station.restart_requested and "NOTIFY_SOCKET" not in os.environ:  # else systemd restarts it
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return 0


def _page(config: Config) -> contextlib.AbstractContextManager[threading.Thread | None]:
    """Serve the station's page if it is configured."""
    if config.page is None:
        return contextlib.nullcontext()
    from epithermal_edge.page import server

    return server.serve(config, config.page)


def _status(arguments: argparse.Namespace) -> int:
    from epithermal_edge.station import status, troubles

    current = status.read_status(arguments.station, time.time())
    if arguments.json:
        print(json.dumps(status.as_json(current)))
    else:
        for line in status.as_text(current):
            print(line)
    return troubles.EXIT_CODES[current.state]


def _tail(arguments: argparse.Namespace) -> int:
    from epithermal_edge.cli import export
    from epithermal_edge.station.status import JOURNAL_FILE, read_status_keys

    path = read_status_keys(arguments.station).state_dir / JOURNAL_FILE
    for entry in export.follow(path, arguments.last, not arguments.no_follow):
        print(export.format_line(entry), flush=True)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from epithermal_edge.cli import export
    from epithermal_edge.journal import history, rows
    from epithermal_edge.station.status import JOURNAL_FILE, read_status_keys

    formats = ("netcdf", "parquet", "cosmos_europe", "methods")
    chosen = [name for name in formats if getattr(arguments, name) is not None]
    if arguments.set_aside and chosen:
        raise ConfigError("--set-aside writes CSV; give --csv or no format")
    if arguments.attributes and chosen != ["netcdf"]:
        raise ConfigError("--attributes needs --netcdf")
    if chosen:
        print(export.write_file(arguments, chosen[0], *_bounds(arguments)), file=sys.stderr)
        return 0
    db = history.open_readonly(read_status_keys(arguments.station).state_dir / JOURNAL_FILE)
    table = rows.SET_ASIDE if arguments.set_aside else history.RECORD
    stored = history.read_rows(db, 0, *_bounds(arguments), table=table)
    with _output(arguments.csv) as out:
        count = export.write(stored, out, history.optional_columns(db, *_bounds(arguments)))
    print(f"records={count}", file=sys.stderr)
    return 0


def _repair(arguments: argparse.Namespace) -> int:
    from epithermal_edge.cli import repair
    from epithermal_edge.config.station_toml import read_config

    config = read_config(arguments.station)
    print(
        repair.restore(config) if arguments.restore else repair.set_aside(config, arguments.after)
    )
    return 0


def _bounds(arguments: argparse.Namespace) -> tuple[float, float]:
    begin, end = arguments.begin, arguments.end
    return -math.inf if begin is None else begin, math.inf if end is None else end


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[IO[str]]:
    """Open the file for writing, or use stdout."""
    if path is None:
        yield sys.stdout
        return
    with path.open("w", encoding="utf-8", newline="") as out:
        yield out


def _model(arguments: argparse.Namespace) -> int:
    from epithermal_edge.cli import model
    from epithermal_edge.config.station_toml import read_config

    if not arguments.verbose:  # the printed lines are enough
        logging.getLogger("epithermal_edge").setLevel(logging.WARNING)
    verb = model.VERBS[arguments.command]
    return verb(read_config(arguments.station), arguments, print)


def _replay(arguments: argparse.Namespace) -> int:
    from epithermal_edge.cli import replay
    from epithermal_edge.config.station_toml import read_config
    from epithermal_edge.inference import engine as engines
    from epithermal_edge.loggers.channels import extra_columns
    from epithermal_edge.rollout.loading import load_engine

    config = read_config(arguments.station)
    engine = load_engine(config)
    begin = time.perf_counter()
    if arguments.files:
        files = replay.read(config, arguments.files, arguments.format)
        records: Iterable[RawRecord] = files.records
        extra = extra_columns(files.records)
        tally = f"damaged={files.damaged} duplicates={files.duplicates} conflicts={files.conflicts}"
        tally += f" flagged={files.flagged}"
        for reason in files.reasons:
            log.warning("damaged line: %s", reason)
        for name in files.without_record:
            log.warning("no record in %s", name)
        for text in files.unread:
            log.warning("%s", text)
    else:
        records, extra = replay.from_journal(config)
        tally = "from=journal"
    outcomes = replay.select(engines.play(engine, records), *_bounds(arguments))
    with _output(arguments.out) as out:
        count = replay.write(outcomes, out, extra)
    seconds = time.perf_counter() - begin
    print(
        f"records={count} {tally} seconds={seconds:.2f} records_per_s={count / seconds:.0f}",
        file=sys.stderr,
    )
    return 0


def _simulate(arguments: argparse.Namespace) -> int:
    from epithermal_edge.cli import simulator

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
    from epithermal_edge.cli.selftest import report

    for line in report(arguments.bundle):
        print(line)
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "check": _check,
    "run": _run,
    "status": _status,
    "tail": _tail,
    "replay": _replay,
    "export": _export,
    "repair": _repair,
    "model list": _model,
    "model install": _model,
    "model rollback": _model,
    "simulate": _simulate,
    "selftest": _selftest,
}
