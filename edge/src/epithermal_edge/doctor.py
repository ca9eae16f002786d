"""What `check` finds: of each part whether it is well, and if not why and what to do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from epithermal_edge.config import Config
from epithermal_edge.errors import ConfigError, EpithermalError, SourceError

BROKER_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One part: what was looked at, whether it is well, and the reason with its remedy."""

    what: str
    well: bool
    why: str
    exit_code: int = 0


def examine(config: Config) -> Iterator[Finding]:
    """Look at bundle, journal, port and broker, each on its own."""
    checks: tuple[tuple[str, Callable[[Config], str]], ...] = (
        ("bundle", _bundle),
        ("state_dir", _state_dir),
        ("source", _source),
        ("broker", _broker),
    )
    for what, look in checks:
        try:
            yield Finding(what, True, look(config))
        except EpithermalError as error:
            yield Finding(what, False, str(error), error.exit_code)


def _bundle(config: Config) -> str:
    from epithermal_edge.station import load_engine

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
        raise ConfigError(
            f"{folder}: {error.strerror}; set station.state_dir to a folder that can be written"
        ) from error
    return f"{folder} can be written"


def _source(config: Config) -> str:
    from epithermal_edge import ports

    url = config.source.url
    if url is None:
        return "no url: good for replay only"
    stop = threading.Event()
    stop.set()
    try:
        for _ in ports.serial_chunks(url, config.source.baud, stop):
            break
    except SourceError as error:
        raise SourceError(f"{error}; see source.url, the cable and the group dialout") from error
    return f"{url} opens"


def _broker(config: Config) -> str:
    if config.mqtt is None:
        return "none: estimates stay in the journal"
    host, port = config.mqtt.host, config.mqtt.port
    try:
        socket.create_connection((host, port), timeout=BROKER_WAIT_S).close()
    except OSError as error:
        reason = error.strerror or error
        raise EpithermalError(
            f"{host}:{port}: {reason}; see mqtt.host, mqtt.port, the network and the broker"
        ) from error
    return f"{host}:{port} answers"
