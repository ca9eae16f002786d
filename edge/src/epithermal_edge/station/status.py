"""Report the state of a station from its files; numpy is not loaded, so that it answers at once.

Reads `health.json`, which the running station writes, and the journal, read-only. Of station.toml
only the few keys below are read, so that a fault elsewhere in it does not hide the state.
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
INTERVAL_S = 3600.0  # default of source.interval_s, as in config.schema.TABLES
STALE_S = 120.0  # a running station writes its health every 60 s at least
LATE_INTERVALS = 2.5  # longest accepted time without a record
LATE_RECORDS = 3  # late records in a row that are a problem
WAITING_INTERVALS = 3.0  # longest accepted wait of the oldest message

Health = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StatusKeys:
    """The keys of station.toml that `status` needs."""

    station: str
    state_dir: Path
    interval_s: float
    has_broker: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """A problem: the part, the reason, the remedy and the resulting state."""

    what: str
    why: str
    remedy: str
    state: str = DEGRADED


@dataclass(frozen=True, slots=True)
class Status:
    """State of the station with its problems."""

    station: str
    state: str
    troubles: tuple[Trouble, ...]
    health: dict[str, Any] | None  # content of health.json
    journal: dict[str, Any] | None  # read from the journal


def read_status_keys(path: Path) -> StatusKeys:
    """Read the keys that `status` needs from station.toml.

    Raises
    ------
    ConfigError
        The file or one of these keys is unreadable.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the path of a station.toml") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    station, source = data.get("station"), data.get("source", {})
    if not isinstance(station, dict) or not isinstance(source, dict):
        raise ConfigError(f"{path}: [station] is missing; `epithermal-edge check` lists all faults")
    name, folder = station.get("id"), station.get("state_dir")
    interval_s = source.get("interval_s", INTERVAL_S)
    if not (isinstance(name, str) and isinstance(folder, str)):
        raise ConfigError(f"{path}: station.id or station.state_dir is missing or not a string")
    if isinstance(interval_s, bool) or not isinstance(interval_s, int | float):
        raise ConfigError(f"{path}: source.interval_s is not a number")
    return StatusKeys(name, path.parent / folder, float(interval_s), "mqtt" in data)


def read_status(path: Path, now_s: float) -> Status:
    """Return the state of the station that a station.toml describes.

    Parameters
    ----------
    now_s : [s, Unix time]

    Raises
    ------
    ConfigError
        As for `read_status_keys`.
    """
    keys = read_status_keys(path)
    troubles: list[Trouble] = []
    health = _read_health(keys.state_dir / HEALTH_FILE, troubles)
    journal = _read_journal(keys.state_dir / JOURNAL_FILE, troubles)
    if health is not None:
        troubles += _check_process(health, now_s)
        troubles += _check_reader(_part(health, "reader"), journal, keys, now_s)
        if keys.has_broker:
            troubles += _check_sender(_part(health, "sender"))
        troubles += _check_journal(_part(health, "journal"), keys, now_s)
        troubles += _check_clock(_part(health, "clock"))
        troubles += _check_engine(_part(health, "engine"))
    worst = max((t.state for t in troubles), key=EXIT_CODES.__getitem__, default=WELL)
    return Status(keys.station, worst, tuple(troubles), health, journal)


def _part(health: Health, name: str) -> dict[str, Any]:
    part = health.get(name)
    return part if isinstance(part, dict) else {}


def _read_health(path: Path, troubles: list[Trouble]) -> dict[str, Any] | None:
    try:
        health = json.loads(path.read_bytes())
    except FileNotFoundError:
        troubles.append(
            Trouble("station", f"{path} does not exist", "it has never run: start it", DOWN)
        )
        return None
    except OSError as error:
        remedy = "read it as root or as the station's user"
        troubles.append(Trouble("station", f"{path}: {error.strerror}", remedy, DOWN))
        return None
    except ValueError:
        troubles.append(Trouble("station", f"{path} is not JSON", "restart the station", DOWN))
        return None
    return health if isinstance(health, dict) else {}


def _read_journal(path: Path, troubles: list[Trouble]) -> dict[str, Any] | None:
    """Read the newest record and the number of waiting messages from the journal."""
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
        remedy = (
            "read it as root or as the station's user; the station repairs a damaged journal itself"
        )
        troubles.append(Trouble("journal", f"{path}: {error}", remedy))
        return None
    end = None if newest[1] is None else _utc(newest[1])
    return {"last_seq": newest[0] or 0, "last_end": end, "waiting": waiting[0]}


def _check_process(health: Health, now_s: float) -> Iterator[Trouble]:
    pid, silent_s = health.get("pid"), _age_s(health.get("updated"), now_s)
    if not (isinstance(pid, int) and _is_running(pid)):
        since = health.get("updated")
        yield Trouble(
            "station", f"not running since {since}", "start it; its log gives the reason", DOWN
        )
    elif silent_s is None or silent_s > STALE_S:
        why = f"process {pid} has not updated health.json since {health.get('updated')}"
        yield Trouble("station", why, "restart it; systemd's watchdog does so by itself", DOWN)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs as another user
        return True
    return True


def _check_reader(
    reader: Health, journal: Health | None, keys: StatusKeys, now_s: float
) -> Iterator[Trouble]:
    if reader.get("open") is False:
        why = f"the port is not open: {reader.get('last_error') or 'reason unknown'}"
        yield Trouble("source", why, "check the cable, the logger's power and source.url")
        return
    read_s = _age_s(reader.get("last_read"), now_s)
    if read_s is not None and read_s > LATE_INTERVALS * keys.interval_s:
        why = f"nothing has been read since {reader.get('last_read')}"
        yield Trouble("source", why, "check the logger's power, its clock and source.interval_s")
        return
    record_s = _age_s(journal.get("last_end") if journal else None, now_s)
    if record_s is not None and journal and record_s > LATE_INTERVALS * keys.interval_s:
        why = f"the newest record ends {journal['last_end']}, {record_s / 3600.0:.1f} h ago"
        yield Trouble("source", why, "check source.dialect, source.utc_offset_h and the log")


def _check_sender(sender: Health) -> Iterator[Trouble]:
    where = f"{sender.get('host')}:{sender.get('port')}"
    if sender.get("connected") is False:
        why = f"{where}: not connected: {sender.get('last_error') or 'reason unknown'}"
        yield Trouble("broker", why, "check mqtt.host, mqtt.port, password and certificates")
    if sender.get("duplicate_client"):
        why = f"{where}: another client connects with this station's id"
        yield Trouble("broker", why, "give each station an id and a certificate of its own")
    elif sender.get("trouble"):
        why = f"{where} rejects messages: {sender['trouble']}"
        yield Trouble(
            "broker", why, "check the broker's access list and quota; no message is deleted"
        )


def _check_journal(journal: Health, keys: StatusKeys, now_s: float) -> Iterator[Trouble]:
    if journal.get("writable") is False:
        why = f"cannot be written: {journal.get('last_error') or 'reason unknown'}"
        yield Trouble("journal", why, "check the free space and the health of the disk")
    dropped = journal.get("dropped")
    if isinstance(dropped, Mapping) and any(dropped.values()):
        parts = ", ".join(f"{count} {name}" for name, count in dropped.items() if count)
        yield Trouble("journal", f"full: dropped {parts}", "increase station.journal_max_mb")
    if journal.get("salvaged"):
        why = (
            f"was damaged and has been replaced; readable rows were copied ({journal['salvaged']})"
        )
        yield Trouble("journal", why, "check the disk; the damaged file is beside the journal")
    waits_s = _age_s(journal.get("oldest_waiting"), now_s)
    limit_s = max(WAITING_INTERVALS * keys.interval_s, STALE_S)
    if keys.has_broker and waits_s is not None and waits_s > limit_s:
        why = (
            f"{journal.get('waiting')} messages wait, the oldest since {journal['oldest_waiting']}"
        )
        yield Trouble("outbox", why, "nothing is lost; check the broker and the network")


def _check_clock(clock: Health) -> Iterator[Trouble]:
    if clock.get("synchronised") is False:
        held = clock.get("held") or 0
        why = f"not synchronised since boot; {held} records wait for the time"
        yield Trouble("clock", why, "check the network, systemd-timesyncd or chrony")

    ahead_s = clock.get("ahead_s")
    if isinstance(ahead_s, int | float):
        why = f"the newest record ends {ahead_s / 3600.0:.1f} h after the present time"
        remedy = "check the clocks; `epithermal-edge repair` sets such records aside"
        yield Trouble("clock", why, remedy)


def _check_engine(engine: Health) -> Iterator[Trouble]:
    rebuilding = _part(engine, "rebuilding")
    if rebuilding:
        why = f"rebuilding the state: {rebuilding.get('done')} of {rebuilding.get('of')} records"
        yield Trouble("engine", why, "wait: records are stored, and their estimates follow")
    late = engine.get("late_in_row")
    if isinstance(late, int) and late >= LATE_RECORDS:
        why = f"the last {late} records end before an earlier one and have no estimate"
        remedy = "check the logger's clock and the end of the newest record"
        yield Trouble("engine", why, remedy)


def _age_s(stamp: object, now_s: float) -> float | None:
    """Return the seconds since a UTC time stamp; None if there is no valid stamp."""
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
    """Return the JSON object that `status --json` prints."""
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
    """Yield the lines that `status` prints: the state, problems with remedies, then figures."""
    yield f"{status.station}: {status.state}"
    for trouble in status.troubles:
        yield f"{trouble.state:<8}  {trouble.what}: {trouble.why}"
        yield f"{'':<8}  do: {trouble.remedy}"
    if status.journal:
        aside = _part(status.health or {}, "journal").get("set_aside")
        yield (
            f"journal   {status.journal['last_seq']} records, newest ends"
            f" {status.journal['last_end']}, {status.journal['waiting']} messages wait"
            + (f", {aside} set aside" if aside else "")
        )
    water = _part(_part(status.health or {}, "engine"), "water")
    if water:
        yield f"water     {' '.join(_water(water))}"
    for name in ("reader", "sender", "clock", "engine"):
        figures = _part(status.health or {}, name)
        parts = [
            f"{k}={v}" for k, v in figures.items() if v is not None and not isinstance(v, dict)
        ]
        if parts:
            yield f"{name:<8}  {' '.join(parts)}"


def _water(water: Health) -> Iterator[str]:
    """Yield the plant-available water and related values with their 5-95 % intervals."""
    for name in ("available_mm", "depletion", "days_to_threshold"):
        estimate = _part(water, name)
        if estimate.get("value") is not None:
            yield f"{name}={estimate['value']:g} ({estimate['p05']:g} to {estimate['p95']:g})"
    yield from (f"{name}={water[name]}" for name in ("threshold", "rate_mm_d") if water.get(name))
