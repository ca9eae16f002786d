"""Check who can read a station's passwords and private keys, on the disk and on the network."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator
from pathlib import Path

from epithermal_edge.config.station_toml import Config, Mqtt
from epithermal_edge.errors import ConfigError
from epithermal_edge.station.troubles import WARNING, Trouble

OTHERS = stat.S_IRWXO | stat.S_IWGRP  # a group may read, as with systemd's credentials


def has_secrets(config: Config) -> bool:
    """Check whether a broker has a password or a private key."""
    return any(_files(broker) for _, broker in _brokers(config))


def examine(config: Config) -> str | Trouble:
    """Return which secrets are safe, or those that others can read or change.

    Raises
    ------
    ConfigError
        A file cannot be read.
    """
    faults, names = [], []
    for table, broker in _brokers(config):
        for key, path in _files(broker):
            names.append(f"{table}.{key}")
            if (mode := _mode(path)) & OTHERS:
                why = f"{path} ({names[-1]}) has mode {mode:04o}, so that others can use it"
                faults.append((why, f"chmod 600 {path}"))
        if broker.password_file and not broker.ca_file and not _is_local(broker.host):
            why = f"the password for {broker.host} is sent without TLS, so that others can read it"
            faults.append((why, f"set {table}.ca_file, and {table}.port to the broker's TLS port"))
    if faults:
        why, remedy = ("; ".join(texts) for texts in zip(*faults, strict=True))
        return Trouble("secrets", why, remedy, WARNING)
    return f"others cannot read {', '.join(names)}"


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o777
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _brokers(config: Config) -> Iterator[tuple[str, Mqtt]]:
    """Yield the brokers with the names of their tables."""
    if config.mqtt is not None:
        yield "mqtt", config.mqtt
    if config.weather_mqtt is not None and config.weather_mqtt is not config.mqtt:
        yield "weather", config.weather_mqtt


def _files(broker: Mqtt) -> list[tuple[str, Path]]:
    named = (("password_file", broker.password_file), ("key_file", broker.key_file))
    return [(key, path) for key, path in named if path is not None]


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
