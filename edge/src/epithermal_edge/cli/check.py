"""What `check` finds: of each part what was looked at, whether it is well, why, and the remedy."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from epithermal_edge.config.station_toml import Config
from epithermal_edge.errors import ConfigError, EpithermalError
from epithermal_edge.journal.sqlite import FAULTS
from epithermal_edge.station import status

Look = Callable[[Config], str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One part; remedy and exit code of those that are not well; 0: the station can do with it."""

    what: str
    well: bool
    why: str
    remedy: str = ""
    exit_code: int = 0


def examine(config: Config) -> Iterator[Finding]:
    """Look at each part on its own; a running station is asked instead of disturbed."""
    checks: tuple[tuple[str, Look, str], ...] = (
        ("bundle", _bundle, "install one: epithermal-edge model install STATION.toml BUNDLE"),
        ("state_dir", _state_dir, "set station.state_dir to a folder of the station's user"),
        ("disk", _disk, "make room, or lower station.journal_max_mb"),
        ("journal", _journal, "run the station: it salvages what can be read"),
        ("source", _source, "see source.url, the cable, and the user's group (dialout)"),
        ("broker", _broker, "see mqtt.host, mqtt.port, the network and the broker"),
        ("page", _page, "set page.listen to an address of this machine, page.port to a free port"),
    )
    for what, look, remedy in checks:
        try:
            yield Finding(what, True, look(config))
        except EpithermalError as error:
            yield Finding(what, False, str(error), remedy, error.exit_code)
    yield _clock()


def _clock() -> Finding:
    """A clock that is not true is no fault: records are ordered by boot time, and told as such."""
    from epithermal_edge.cli import check_clock

    why, remedy = check_clock.examine()
    return Finding("clock", not remedy, why, remedy)


def _bundle(config: Config) -> str:
    from epithermal_edge.rollout.loading import load_engine

    engine = load_engine(config)
    name = getattr(engine.step, "runtime", "?")
    return f"{engine.bundle.name} {engine.bundle.version}, golden vectors pass on {name}"


def _state_dir(config: Config) -> str:
    folder = config.state_dir
    probe = folder / ".check"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from error
    return f"{folder} can be written"


def _disk(config: Config) -> str:
    """Whether the journal can grow to its cap."""
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
        return "none yet"
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
    return f"{count} records, whole"


def _running(config: Config) -> status.Status | None:
    """What the station says of itself, if it runs."""
    found = status.look(config.path, time.time())
    return None if found.state == status.DOWN else found


def _as_told(found: status.Status, what: str) -> str:
    """A part in the running station's own words."""
    troubles = [f"{t.why}; {t.remedy}" for t in found.troubles if t.what == what]
    if troubles:
        raise EpithermalError(troubles[0])
    return "the running station says it is well"


def _source(config: Config) -> str:
    from epithermal_edge.loggers import ports

    url = config.source.url
    if url is None:
        return "no url: good for replay only"
    running = _running(config)
    if running is not None:
        return _as_told(running, "source")
    stop = threading.Event()
    stop.set()
    for _ in ports.serial_chunks(url, config.source.baud, stop):
        break
    return f"{url} opens"


def _broker(config: Config) -> str:
    from epithermal_edge.cli import check_broker

    if config.mqtt is None:
        return "none: estimates stay in the journal"
    running = _running(config)
    if running is not None:
        return _as_told(running, "broker")
    return check_broker.broker(config.id, config.mqtt)


def _page(config: Config) -> str:
    """Whether it can be served, or is by the running station."""
    if config.page is None:
        return "none: no [page] in the file"
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
    return f"{listen} port {port} is free for it"


def _serves(station: str, listen: str, port: int) -> bool:
    """Whether it is this station's page that answers there."""
    from http.client import HTTPConnection, HTTPException

    link = HTTPConnection(
        {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen), port, timeout=5
    )
    try:
        link.request("GET", "/now.json")
        return bool(json.loads(link.getresponse().read())["status"]["station"] == station)
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return False
    finally:
        link.close()
