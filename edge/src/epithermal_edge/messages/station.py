"""Build the messages about a station itself: status, events and constants (meta)."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from epithermal_edge import __version__
from epithermal_edge.config.schema import SOIL_WORD
from epithermal_edge.config.station_toml import Config
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.inference.features import FEATURES
from epithermal_edge.messages.message import Identity, Message, V, encode, rounded
from epithermal_edge.messages.observation import BOTTOM_CM, TOP_CM
from epithermal_edge.messages.topics import EVENT
from epithermal_edge.times import utc


def event(identity: Identity, kind: str, time_s: float, text: str) -> Message:
    """Build an event: an occurrence of interest to the operator, published once."""
    payload = {"v": V, "station": identity.station, "kind": kind, "time": utc(time_s), "text": text}
    return identity.message(EVENT, encode(payload), kind)


def status(identity: Identity, state: str, session: str, trouble: str | None = None) -> bytes:
    """Build the status of one connection: "online", "stopped" (clean end) or "lost" (last will).

    Parameters
    ----------
    trouble :
        Why messages cannot be delivered; None: they can.
    """
    return encode(
        {
            "v": V,
            "station": identity.station,
            "state": state,
            "session": session,
            "epoch": identity.epoch,
            "trouble": trouble,
        }
    )


def read_session(payload: bytes) -> str | None:
    """Return the session in a status; None if the payload is not a status."""
    try:
        session = json.loads(payload)["session"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return session if isinstance(session, str) else None


def meta(config: Config, identity: Identity, bundle: Bundle) -> bytes:
    """Build the constants of a station: place, detector, soil and model."""
    keys = {k: v for k, v in {**asdict(config.place), **asdict(config.site)}.items() if v != ""}

    def round_value(value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        return [rounded(v, 4) for v in value] if isinstance(value, tuple) else rounded(value, 8)

    site = {name: round_value(value) for name, value in keys.items()}
    site["soil_known"] = SOIL_WORD[float(config.site.soil_known)]
    return encode(
        {
            "v": V,
            "station": identity.station,
            "epoch": identity.epoch,
            "software": {"name": "epithermal-edge", "version": __version__},
            "site": site,
            "water": config.soil_water
            and {k: rounded(v, 4) for k, v in asdict(config.soil_water).items()}
            | {"source": config.root_zone and config.root_zone.source},
            "source": {"dialect": config.source.dialect, "interval_s": config.source.interval_s},
            "theta": {"unit": "m3/m3", "top_cm": TOP_CM, "bottom_cm": BOTTOM_CM},
            "model": {
                "name": bundle.name,
                "version": bundle.version,
                "sha256": bundle.sha256,
                "step_s": bundle.step_s,
                "phases": bundle.phases,
                "spin_up_steps": bundle.spin_up_steps,
                "features": {f.name: f.unit for f in FEATURES},
            },
        }
    )
