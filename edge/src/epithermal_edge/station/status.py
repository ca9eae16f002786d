"""How the station is, from what it left on disk; numpy is not loaded, so that it answers at once.

Reads `health.json`, which the running station writes, and the journal, read-only. Of station.toml
only the few keys below are read: a fault elsewhere in it does not hide how the station is.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from epithermal_edge.errors import ConfigError
from epithermal_edge.journal.sqlite import FAULTS

WELL, DEGRADED, DOWN = "well", "degraded", "down"
EXIT_CODES = {WELL: 0, DEGRADED: 1, DOWN: 2}
HEALTH_FILE = "health.json"
JOURNAL_FILE = "journal.sqlite3"
INTERVAL_S = 3600.0  # default of source.interval_s, as in station_keys.TABLES
SILENT_S = 120.0  # a running station writes its health every 60 s at least
LATE_PERIODS = 2.5  # without a record
WAITING_PERIODS = 3.0  # that the oldest message may wait while the broker is there

Health = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Glance:
    """The keys of station.toml that say where to look and what to expect."""

    station: str
    state_dir: Path
    interval_s: float
    has_broker: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is not well: what, why, what to do, and how bad it is."""

    what: str
    why: str
    remedy: str
    state: str = DEGRADED


@dataclass(frozen=True, slots=True)
class Status:
    """The station as it was found."""

    station: str
    state: str
    troubles: tuple[Trouble, ...]
    health: dict[str, Any] | None  # as the station wrote it
    journal: dict[str, Any] | None  # as the file says now


def glance(path: Path) -> Glance:
    """What `status` needs of a station.toml.

    Raises
    ------
    ConfigError
        The file or one of these keys cannot be read.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a station.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    station, source = data.get("station"), data.get("source", {})
    if not isinstance(station, dict) or not isinstance(source, dict):
        raise ConfigError(f"{path}: [station] is missing; `epithermal-edge check` tells more")
    name, folder = station.get("id"), station.get("state_dir")
    interval_s = source.get("interval_s", INTERVAL_S)
    if not (isinstance(name, str) and isinstance(folder, str)):
        raise ConfigError(f"{path}: station.id or station.state_dir is missing or not a text")
    if isinstance(interval_s, bool) or not isinstance(interval_s, int | float):
        raise ConfigError(f"{path}: source.interval_s is not a number")
    return Glance(name, path.parent / folder, float(interval_s), "mqtt" in data)


def look(path: Path, now_s: float) -> Status:
    """The station of a station.toml.

    Parameters
    ----------
    now_s : [s, Unix time]

    Raises
    ------
    ConfigError
        As `glance`.
    """
    seen = glance(path)
    troubles: list[Trouble] = []
    health = _health(seen.state_dir / HEALTH_FILE, troubles)
    journal = _journal(seen.state_dir / JOURNAL_FILE, troubles)
    if health is not None:
        troubles += _process(health, now_s)
        troubles += _reader(_part(health, "reader"), journal, seen, now_s)
        if seen.has_broker:
            troubles += _sender(_part(health, "sender"))
        troubles += _store(_part(health, "journal"), seen, now_s)
        troubles += _clock(_part(health, "clock"))
    worst = max((t.state for t in troubles), key=EXIT_CODES.__getitem__, default=WELL)
    return Status(seen.station, worst, tuple(troubles), health, journal)


def _part(health: Health, name: str) -> dict[str, Any]:
    part = health.get(name)
    return part if isinstance(part, dict) else {}


def _health(path: Path, troubles: list[Trouble]) -> dict[str, Any] | None:
    try:
        health = json.loads(path.read_bytes())
    except FileNotFoundError:
        troubles.append(Trouble("station", f"no {path}", "it never ran: start it", DOWN))
        return None
    except OSError as error:
        remedy = "read it as root or as the station's user"
        troubles.append(Trouble("station", f"{path}: {error.strerror}", remedy, DOWN))
        return None
    except ValueError:
        troubles.append(Trouble("station", f"{path} is not JSON", "start the station again", DOWN))
        return None
    return health if isinstance(health, dict) else {}


def _journal(path: Path, troubles: list[Trouble]) -> dict[str, Any] | None:
    """Newest record and depth of the outbox, read from the file."""
    if not path.is_file():
        return None
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=0.1)
        try:
            newest = db.execute("SELECT max(seq), max(end_s) FROM record").fetchone()
            waiting = db.execute("SELECT count(*) FROM outbox").fetchone()
        finally:
            db.close()
    except FAULTS as error:
        remedy = "read it as root or as the station's user; the station mends a damaged one itself"
        troubles.append(Trouble("journal", f"{path}: {error}", remedy))
        return None
    end = None if newest[1] is None else _utc(newest[1])
    return {"last_seq": newest[0] or 0, "last_end": end, "waiting": waiting[0]}


def _process(health: Health, now_s: float) -> Iterator[Trouble]:
    pid, silent_s = health.get("pid"), _age_s(health.get("updated"), now_s)
    if not (isinstance(pid, int) and _lives(pid)):
        since = health.get("updated")
        yield Trouble("station", f"not running since {since}", "start it; its log says why", DOWN)
    elif silent_s is None or silent_s > SILENT_S:
        why = f"process {pid} has not said anything since {health.get('updated')}"
        yield Trouble("station", why, "restart it; the watchdog of its unit does", DOWN)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _reader(
    reader: Health, journal: Health | None, seen: Glance, now_s: float
) -> Iterator[Trouble]:
    if reader.get("open") is False:
        why = f"the port is not open: {reader.get('last_error') or 'no reason known'}"
        yield Trouble("source", why, "see the cable, the logger's power and source.url")
        return
    heard_s = _age_s(reader.get("last_read"), now_s)
    if heard_s is not None and heard_s > LATE_PERIODS * seen.interval_s:
        why = f"nothing was read since {reader.get('last_read')}"
        yield Trouble("source", why, "see the logger's power, its clock and source.interval_s")
        return
    record_s = _age_s(journal.get("last_end") if journal else None, now_s)
    if record_s is not None and journal and record_s > LATE_PERIODS * seen.interval_s:
        why = f"the newest record ends {journal['last_end']}, {record_s / 3600.0:.1f} h ago"
        yield Trouble("source", why, "see source.dialect, source.utc_offset_h and the log")


def _sender(sender: Health) -> Iterator[Trouble]:
    where = f"{sender.get('host')}:{sender.get('port')}"
    if sender.get("connected") is False:
        why = f"{where}: not connected: {sender.get('last_error') or 'no reason known'}"
        yield Trouble("broker", why, "see mqtt.host, mqtt.port, password and certificates")
    if sender.get("duplicate_client"):
        why = f"{where}: another client takes the connection under this station's id"
        yield Trouble("broker", why, "give each station an id and a certificate of its own")
    elif sender.get("trouble"):
        why = f"{where} does not take messages: {sender['trouble']}"
        yield Trouble("broker", why, "see the broker's access list and quota; nothing is deleted")


def _store(store: Health, seen: Glance, now_s: float) -> Iterator[Trouble]:
    if store.get("writable") is False:
        why = f"cannot be written: {store.get('last_error') or 'no reason known'}"
        yield Trouble("journal", why, "see the space and the health of the disk")
    dropped = store.get("dropped")
    if isinstance(dropped, Mapping) and any(dropped.values()):
        told = ", ".join(f"{count} {name}" for name, count in dropped.items() if count)
        yield Trouble("journal", f"full: dropped {told}", "raise station.journal_max_mb")
    if store.get("salvaged"):
        why = f"was damaged and is new; what could be read was taken over ({store['salvaged']})"
        yield Trouble("journal", why, "see the disk; the damaged file lies beside the journal")
    waits_s = _age_s(store.get("oldest_waiting"), now_s)
    limit_s = max(WAITING_PERIODS * seen.interval_s, SILENT_S)
    if seen.has_broker and waits_s is not None and waits_s > limit_s:
        why = f"{store.get('waiting')} messages wait, the oldest since {store['oldest_waiting']}"
        yield Trouble("outbox", why, "nothing is lost; see the broker and the link")


def _clock(clock: Health) -> Iterator[Trouble]:
    if clock.get("synchronised") is False:
        held = clock.get("held") or 0
        why = f"not synchronised since this boot; {held} records wait for a time"
        yield Trouble("clock", why, "see the network, systemd-timesyncd or chrony")


def _age_s(stamp: object, now_s: float) -> float | None:
    """Seconds since a UTC stamp; None where there is none."""
    if not isinstance(stamp, str):
        return None
    try:
        age_s = now_s - datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None
    return age_s if math.isfinite(age_s) else None


def _utc(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def as_json(status: Status) -> dict[str, Any]:
    """The status as `status --json` prints it."""
    return {
        "v": 1,
        "station": status.station,
        "state": status.state,
        "troubles": [
            {"what": t.what, "why": t.why, "remedy": t.remedy, "state": t.state}
            for t in status.troubles
        ],
        "health": status.health,
        "journal": status.journal,
    }


def as_text(status: Status) -> Iterator[str]:
    """The status for people: the verdict, what is not well and what to do, then the figures."""
    yield f"{status.station}: {status.state}"
    for trouble in status.troubles:
        yield f"{trouble.state:<8}  {trouble.what}: {trouble.why}"
        yield f"{'':<8}  do: {trouble.remedy}"
    if status.journal:
        yield (
            f"journal   {status.journal['last_seq']} records, newest ends"
            f" {status.journal['last_end']}, {status.journal['waiting']} messages wait"
        )
    water = _part(_part(status.health or {}, "engine"), "water")
    if water:
        yield f"water     {' '.join(_water(water))}"
    for name in ("reader", "sender", "clock", "engine"):
        figures = _part(status.health or {}, name)
        told = [f"{k}={v}" for k, v in figures.items() if v is not None and not isinstance(v, dict)]
        if told:
            yield f"{name:<8}  {' '.join(told)}"


def _water(water: Health) -> Iterator[str]:
    """What plants can take, each with its 5-95 % interval."""
    for name in ("available_mm", "depletion", "days_to_threshold"):
        told = _part(water, name)
        if told.get("value") is not None:
            yield f"{name}={told['value']:g} ({told['p05']:g} to {told['p95']:g})"
    yield from (f"{name}={water[name]}" for name in ("threshold", "rate_mm_d") if water.get(name))
