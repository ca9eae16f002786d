"""Build the sender that a configuration describes, and the commands that restart the station."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from epithermal_edge.config.station_toml import Config, read_config
from epithermal_edge.errors import EpithermalError
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.journal.journal import Journal
from epithermal_edge.messages import homeassistant, station
from epithermal_edge.messages.message import Identity
from epithermal_edge.mqtt.commands import FILE, Commands, Nonces, Verb
from epithermal_edge.mqtt.inbox import LinkEvent
from epithermal_edge.mqtt.sender import Sender
from epithermal_edge.signatures import ed25519


def build_sender(
    config: Config,
    identity: Identity,
    bundle: Bundle,
    journal: Journal,
    put: Callable[[LinkEvent], None],
    wall: Callable[[], float] = time.time,
    verbs: Mapping[str, Verb] | None = None,
) -> Sender | None:
    """Build the sender of a configuration; return None if it has no [mqtt].

    Raises
    ------
    ConfigError
        The public key of commands cannot be read.
    """
    settings = config.mqtt
    if settings is None:
        return None
    discovery = commands = None
    if settings.homeassistant:
        discovery = homeassistant.discovery(
            *(identity, settings.discovery_prefix, config.place.name, settings.moisture_pct),
            water=config.soil_water is not None,
            snow=config.snow is not None,
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


def restart_commands(config: Config, restart: Callable[[], object]) -> dict[str, Verb]:
    """Return the commands `restart` and `model_rollback`.

    Parameters
    ----------
    restart :
        Request a clean stop and a new start; the answer is published before.
    """

    def restart_if_possible(args: dict[str, Any]) -> dict[str, Any]:

        from epithermal_edge.rollout import installed

        _reject_arguments(args)
        installed.verify_bundle(read_config(config.path).bundle.resolve())
        restart()
        return {}

    def roll_back(args: dict[str, Any]) -> dict[str, Any]:
        from epithermal_edge.rollout import installed

        _reject_arguments(args)
        folder = installed.models_folder(read_config(config.path))
        try:
            bundle = installed.roll_back(folder)
        except OSError as error:
            text = f"{folder}: {error.strerror}; give the station's user write access"
            raise EpithermalError(text) from error
        restart()
        return {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256}

    return {"restart": restart_if_possible, "model_rollback": roll_back}


def _reject_arguments(args: dict[str, Any]) -> None:
    if args:
        raise EpithermalError(f"args: {min(args)}: this command takes no arguments")
