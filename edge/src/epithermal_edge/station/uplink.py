"""The sender that a configuration asks for, with what it says of the station."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from epithermal_edge.config.station_toml import Config
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.journal.journal import Journal
from epithermal_edge.messages import homeassistant, station
from epithermal_edge.messages.message import Identity
from epithermal_edge.mqtt.commands import FILE, Commands, Nonces, Verb
from epithermal_edge.mqtt.inbox import LinkEvent
from epithermal_edge.mqtt.sender import Sender
from epithermal_edge.signatures import ed25519


def make_sender(
    config: Config,
    identity: Identity,
    bundle: Bundle,
    journal: Journal,
    put: Callable[[LinkEvent], None],
    wall: Callable[[], float] = time.time,
    verbs: Mapping[str, Verb] | None = None,
) -> Sender | None:
    """The sender that a configuration asks for; None where there is no broker.

    Raises
    ------
    ConfigError
        The key of those who may command cannot be read.
    """
    settings = config.mqtt
    if settings is None:
        return None
    discovery = commands = None
    if settings.homeassistant:
        discovery = homeassistant.discovery(
            *(identity, settings.discovery_prefix, config.place.name, settings.moisture_pct),
            water=config.soil_water is not None,
        )
    if settings.command_key_file is not None:
        key = ed25519.read_public_key(settings.command_key_file)
        commands = Commands(key, identity, Nonces(config.state_dir / FILE, wall()), wall)
    meta = station.meta(config, identity, bundle)
    return Sender(
        *(settings, identity, meta, journal, put),
        discovery=discovery,
        commands=commands,
        wall=wall,
        verbs=verbs,
    )
