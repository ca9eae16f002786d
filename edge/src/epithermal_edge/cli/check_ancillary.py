"""Check the neutron monitor's counts and the weather topics of a station that is not running."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from epithermal_edge.ancillary.merge import AncillaryData
from epithermal_edge.config.station_toml import Config
from epithermal_edge.station.troubles import (
    WARNING,
    Health,
    Trouble,
    check_incoming,
    check_weather,
    part,
    refusal,
)

CONNECT_S = 10.0  # longest wait for the broker's answer
LISTEN_S = 3.0  # longest wait for a message of each topic
POLL_S = 0.05


def examine_incoming(config: Config) -> str | Trouble:
    """Read the file of [incoming] or query NMDB once; return what it has, or its problem."""
    incoming = config.incoming
    assert incoming is not None
    if incoming.source == "mqtt":
        return f"{incoming.topic} at the broker for weather"
    ancillary = AncillaryData(config)
    ancillary.poll_counts()
    surroundings = ancillary.health()
    for trouble in check_incoming(surroundings, time.time()):
        return trouble
    state = part(surroundings, "incoming")
    where = incoming.file if incoming.source == "file" else f"NMDB, {incoming.monitor}"
    text = f"{where}: {state['counts']} counts, the newest {state['count']:g} of {state['newest']}"
    if state["ref"] is None:
        return text
    return f"{text}, {state['count'] / state['ref']:.2f} times site.incoming.ref"


def examine_weather(config: Config) -> str | Trouble:
    """Subscribe to the topics of [weather.*] and [incoming]; return what arrives, or a problem.

    The client id differs from that of a running station, because a broker disconnects the older of
    two clients with the same id.
    """
    ancillary = AncillaryData(replace(config, id=f"{config.id}-check"))
    ancillary.start_listening()
    try:
        _wait(lambda: _has_answer(ancillary.health()), CONNECT_S)
        is_connected = part(ancillary.health(), "link").get("connected")
        if is_connected:
            _wait(lambda: not _silent(ancillary.health()), LISTEN_S)
        surroundings = ancillary.health()
    finally:
        ancillary.stop()
    for trouble in check_weather(surroundings, time.time()):
        return trouble
    link, topics = part(surroundings, "link"), _topics(surroundings)
    where = f"{link['host']}:{link['port']}"
    if not is_connected:
        why = f"{where}: no answer within {CONNECT_S:g} s"
        return Trouble("weather", why, "check weather.host, weather.port and the network")
    for topic in topics:
        if topic["refused"]:
            return Trouble("weather", *refusal(topic), WARNING)
    silent = ", ".join(_silent(surroundings))
    text = f"{where} accepts {len(topics)} subscriptions"
    return f"{text}; no message within {LISTEN_S:g} s of {silent}" if silent else text


def _topics(surroundings: Health) -> list[Health]:
    topics = surroundings["topics"]
    assert isinstance(topics, list)
    return topics


def _has_answer(surroundings: Health) -> bool:
    link = part(surroundings, "link")
    return bool(link.get("connected") or link.get("last_error"))


def _silent(surroundings: Health) -> list[str]:
    """Return the topics of which no message has arrived."""
    silent = (t for t in _topics(surroundings) if t["newest"] is None and not t["refused"])
    return list(dict.fromkeys(t["topic"] for t in silent))


def _wait(holds: Callable[[], bool], longest_s: float) -> None:
    until = time.monotonic() + longest_s
    while not holds() and time.monotonic() < until:
        time.sleep(POLL_S)
