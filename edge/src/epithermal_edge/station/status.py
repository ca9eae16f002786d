"""Report the state of a station from its files; numpy is not loaded, so that it answers at once.

Reads `health.json`, which the running station writes, and the journal, read-only. Of station.toml
only the few keys below are read, so that a fault elsewhere in it does not hide the state.
"""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epithermal_edge.errors import ConfigError
from epithermal_edge.journal.checksum import checked_columns, newest_intact_end_s
from epithermal_edge.journal.sqlite import FAULTS
from epithermal_edge.station.troubles import (
    DOWN,
    EXIT_CODES,
    WELL,
    StatusKeys,
    Trouble,
    find_troubles,
    part,
)
from epithermal_edge.times import utc

HEALTH_FILE = "health.json"
JOURNAL_FILE = "journal.sqlite3"
INTERVAL_S = 3600.0  # default of source.interval_s, as in config.schema.TABLES


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
        troubles += find_troubles(health, journal, keys, now_s)
    worst = max((t.state for t in troubles), key=EXIT_CODES.__getitem__, default=WELL)
    state = worst if EXIT_CODES[worst] else WELL  # also with warnings
    return Status(keys.station, state, tuple(troubles), health, journal)


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
        # checksums detect damaged text later
        db.text_factory = lambda data: data.decode(errors="replace")

        def rows(sql: str, values: Sequence[Any]) -> list[Any]:
            return db.execute(sql, values).fetchall()

        try:
            (last_seq,) = db.execute("SELECT max(seq) FROM record").fetchone()
            newest_s, damaged = newest_intact_end_s(rows, checked_columns(rows))
            (waiting,) = db.execute("SELECT count(*) FROM outbox").fetchone()
        finally:
            db.close()
    except FAULTS as error:
        remedy = (
            "read it as root or as the station's user; the station repairs a damaged journal itself"
        )
        troubles.append(Trouble("journal", f"{path}: {error}", remedy))
        return None
    if damaged:
        why = f"{path}: {damaged} of the newest records are damaged and left out"
        troubles.append(Trouble("journal", why, "check the disk"))
    return {"last_seq": last_seq or 0, "last_end": utc(newest_s), "waiting": waiting}


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
        aside = part(status.health or {}, "journal").get("set_aside")
        yield (
            f"journal   {status.journal['last_seq']} records, newest ends"
            f" {status.journal['last_end']}, {status.journal['waiting']} messages wait"
            + (f", {aside} set aside" if aside else "")
        )
    water, advice = (part(part(status.health or {}, "engine"), k) for k in ("water", "advice"))
    if water:
        yield f"water     {' '.join(_water(water))}"
        if advice.get("text"):
            yield f"advice    {advice['text']}"
    for name in ("reader", "sender", "clock", "engine"):
        figures = part(status.health or {}, name)
        parts = [
            f"{k}={v}" for k, v in figures.items() if v is not None and not isinstance(v, dict)
        ]
        if parts:
            yield f"{name:<8}  {' '.join(parts)}"


def _water(water: Mapping[str, Any]) -> Iterator[str]:
    """Yield the plant-available water and related values with their 5-95 % intervals."""
    for name in ("available_mm", "depletion", "days_to_threshold"):
        estimate = part(water, name)
        if estimate.get("value") is not None:
            yield f"{name}={estimate['value']:g} ({estimate['p05']:g} to {estimate['p95']:g})"
    yield from (f"{name}={water[name]}" for name in ("threshold", "rate_mm_d") if water.get(name))
