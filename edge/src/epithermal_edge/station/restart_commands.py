"""Commands that end the process: it begins again, with the model of before or the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from epithermal_edge.config.station_toml import Config, read_config
from epithermal_edge.errors import EpithermalError
from epithermal_edge.mqtt.commands import Verb


def of_station(config: Config, restart: Callable[[], object]) -> dict[str, Verb]:
    """The verbs `restart` and `model_rollback`.

    Parameters
    ----------
    restart :
        Ends the station in order, to be started again; the answer goes out before.
    """

    def restart_if_it_can_start(args: dict[str, Any]) -> dict[str, Any]:
        from epithermal_edge.rollout import installed as models

        _without(args)
        models.prove(read_config(config.path).bundle.resolve())
        restart()
        return {}

    def roll_back(args: dict[str, Any]) -> dict[str, Any]:
        from epithermal_edge.rollout import installed as models

        _without(args)
        folder = models.models_folder(read_config(config.path))
        try:
            bundle = models.roll_back(folder)
        except OSError as error:
            text = f"{folder}: {error.strerror}; the station's user must be able to write there"
            raise EpithermalError(text) from error
        restart()
        return {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256}

    return {"restart": restart_if_it_can_start, "model_rollback": roll_back}


def _without(args: dict[str, Any]) -> None:
    if args:
        raise EpithermalError(f"args: {min(args)}: this verb takes none")
