"""Check each part of a station for `check`: report its state, the reason and the remedy."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from epithermal_edge.config import biomass
from epithermal_edge.config.station_toml import Config
from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.journal.sqlite import FAULTS
from epithermal_edge.station import status
from epithermal_edge.station.troubles import DOWN, EXIT_CODES, Trouble

Check = Callable[[Config], str | Trouble]
"""Return the good state of a part as text, or its problem; or raise EpithermalError."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    `exit_code` is 0 if the part is well or if the problem does not stop the station.
    """

    what: str  # the part
    well: bool
    why: str
    remedy: str = ""
    exit_code: int = 0


def examine(config: Config) -> Iterator[Finding]:
    """Check each part on its own; port and broker of a running station are left undisturbed."""
    checks: tuple[tuple[str, Check, str], ...] = (
        ("bundle", _bundle, "install one: epithermal-edge model install STATION.toml BUNDLE"),
        ("state_dir", _state_dir, "set station.state_dir to a folder of the station's user"),
        ("disk", _disk, "free disk space, or lower station.journal_max_mb"),
        ("journal", _journal, "start the station: it recovers the readable records"),
        ("source", _source, "check source.url, the cable, and the user's group (dialout)"),
        ("broker", _broker, "check mqtt.host, mqtt.port, the network and the broker"),
        *_secret_checks(config),
        *_ancillary_checks(config),
        ("page", _page, "set page.listen to an address of this machine, page.port to a free port"),
    )
    for what, check, remedy in checks:
        try:
            found = check(config)
        except EpithermalError as error:
            yield Finding(what, False, str(error), remedy, error.exit_code)
            continue
        if isinstance(found, Trouble):
            yield Finding(what, False, found.why, found.remedy, EXIT_CODES[found.state])
        else:
            yield Finding(what, True, found)
    yield from _biomass(config)
    yield _clock()


def _ancillary_checks(config: Config) -> Iterator[tuple[str, Check, str]]:
    """Yield the checks of [incoming] and [weather.*], if they are given."""
    if config.incoming is not None:
        yield "incoming", _incoming, "check [incoming]"
    if config.weather or (config.incoming is not None and config.incoming.source == "mqtt"):
        yield "weather", _weather, "check weather.host, weather.port, password and certificates"


def _secret_checks(config: Config) -> Iterator[tuple[str, Check, str]]:
    """Yield the check of passwords and keys, if there are any."""
    from epithermal_edge.cli import check_secrets

    if check_secrets.has_secrets(config):
        yield "secrets", check_secrets.examine, "check the files of keys that end in _file"


def _biomass(config: Config) -> Iterator[Finding]:
    """Warn of a biomass that corrects no count, since it has neither form nor slope."""
    if biomass.is_without_effect(config.site):
        yield Finding("biomass", False, "site.biomass_kg_m2 has no effect", biomass.REMEDY)


def _clock() -> Finding:
    """Check the clock; a wrong one is only a WARN: records are ordered by the time since boot."""
    from epithermal_edge.cli import check_clock

    why, remedy = check_clock.examine()
    return Finding("clock", not remedy, why, remedy)


def _bundle(config: Config) -> str:
    from epithermal_edge.rollout.loading import load_engine

    engine = load_engine(config)
    name = getattr(engine.step, "runtime", "?")
    return f"{engine.bundle.name} {engine.bundle.version}, golden vectors pass on {name}"


def _state_dir(config: Config) -> str:
    from epithermal_edge.rollout.privileges import act_as_owner

    folder = config.state_dir
    probe = folder / ".check"
    try:
        with act_as_owner(folder):  # root follows no link that the station's user has put there
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from error
    return f"{folder} is writable"


def _disk(config: Config) -> str:
    """Check that the journal can grow to its cap."""
    folder = config.state_dir
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    here_mb = sum(p.stat().st_size for p in folder.glob(f"{status.JOURNAL_FILE}*")) / 1e6
    free_mb = shutil.disk_usage(folder).free / 1e6
    if here_mb + free_mb < config.journal_max_mb:
        raise EpithermalError(
            f"{free_mb:.0f} MB free: the journal cannot grow from {here_mb:.0f} MB to its"
            f" cap of {config.journal_max_mb:.0f} MB"
        )
    return f"{free_mb:.0f} MB free, the journal may grow to {config.journal_max_mb:.0f} MB"


def _journal(config: Config) -> str:
    from epithermal_edge.journal.history import open_readonly

    path = config.state_dir / status.JOURNAL_FILE
    if not path.exists():
        return "no journal yet"
    db = open_readonly(path)
    try:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        (count,) = db.execute("SELECT count(*) FROM record").fetchone()
    except FAULTS as error:
        raise EpithermalError(f"{path}: {error}") from error
    finally:
        db.close()
    if verdict != "ok":
        raise EpithermalError(f"{path}: {verdict}")
    return f"{count} records, not damaged"


def _running(config: Config) -> status.Status | None:
    """Return the status of the station if it is running."""
    current = status.read_status(config.path, time.time())
    return None if current.state == DOWN else current


def _reported(running: status.Status, what: str) -> str | Trouble:
    """Return the good state of a part of the running station, or the problem that it reports."""
    troubles = (trouble for trouble in running.troubles if trouble.what == what)
    return next(troubles, "the running station reports no problem")


def _source(config: Config) -> str | Trouble:
    from epithermal_edge.loggers import ports

    url = config.source.url
    if url is None:
        return "no source.url: only replay is possible"
    running = _running(config)
    if running is not None:
        return _reported(running, "source")
    stop = threading.Event()
    stop.set()
    for _ in ports.serial_chunks(url, config.source.baud, stop):
        break
    return f"{url} opens"


def _incoming(config: Config) -> str | Trouble:
    from epithermal_edge.cli import check_ancillary

    running = _running(config)
    if running is not None:
        return _reported(running, "incoming")
    return check_ancillary.examine_incoming(config)


def _weather(config: Config) -> str | Trouble:
    from epithermal_edge.cli import check_ancillary

    running = _running(config)
    if running is not None:
        return _reported(running, "weather")
    return check_ancillary.examine_weather(config)


def _broker(config: Config) -> str | Trouble:
    from epithermal_edge.cli import check_broker

    if config.mqtt is None:
        return "no [mqtt]: estimates are stored in the journal only"
    running = _running(config)
    if running is not None:
        return _reported(running, "broker")
    return check_broker.publish_test(config.id, config.mqtt)


def _page(config: Config) -> str:
    """Check that the page's port is free, or that the running station serves its page there."""
    if config.page is None:
        return "no [page]: the station serves no page"
    listen, port = config.page.listen, config.page.port
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listen, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _serves(config.id, listen, port):
            return f"the running station serves it on {listen} port {port}"
        raise EpithermalError(f"{listen} port {port}: {error.strerror}") from error
    return f"{listen} port {port} is free"


def _serves(station: str, listen: str, port: int) -> bool:
    """Check whether the page that answers there is that of this station."""
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection(
        {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen), port, timeout=5
    )
    try:
        connection.request("GET", "/now.json")
        return bool(json.loads(connection.getresponse().read())["status"]["station"] == station)
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return False
    finally:
        connection.close()
