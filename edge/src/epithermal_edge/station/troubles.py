"""Find a station's problems in its health; `status`, `check`, page and MQTT report the same ones.

A problem names the part, the reason and the remedy. numpy is not loaded: see `status`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from epithermal_edge.messages.topics import LIVE_INTERVALS

WELL, DEGRADED, DOWN = "well", "degraded", "down"
WARNING = "warning"  # of a problem with which the station is still well
EXIT_CODES = {WELL: 0, WARNING: 0, DEGRADED: 1, DOWN: 2}
STALE_S = 120.0  # a running station writes its health every 60 s at least
LATE_RECORDS = 3  # late records in a row that are a problem
WAITING_INTERVALS = 3.0  # longest accepted wait of the oldest message
FEWEST_LINES = 3  # lines by which a port is judged
FEWEST_REFUSED = 2  # messages of a topic, one after the other, by which it is judged
ANCILLARY = ("source", "incoming", "weather")  # parts of which MQTT's `trouble` reports problems

_WITH_REMEDY = re.compile(r"(.*); ((?:check|set) .*)", re.DOTALL)  # an error that names its remedy

Health = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StatusKeys:
    """The keys of station.toml by which a station is judged."""

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

    def __str__(self) -> str:
        return f"{self.what}: {self.why}; {self.remedy}"


def find_troubles(
    health: Health, journal: Health | None, keys: StatusKeys, now_s: float
) -> Iterator[Trouble]:
    """Yield the problems of a station, in the order of its parts.

    Parameters
    ----------
    health :
        Content of health.json; unknown parts are missing.
    journal :
        `last_end` is the end of the newest record in the journal; None: no journal.
    now_s : [s, Unix time]
    """
    clock = part(health, "clock")
    yield from _check_process(health, now_s)
    yield from _check_reader(part(health, "reader"), journal, clock, keys, now_s)
    if keys.has_broker:
        yield from _check_sender(part(health, "sender"))
    yield from _check_journal(part(health, "journal"), keys, now_s)
    yield from check_incoming(part(health, "surroundings"), now_s)
    yield from check_weather(part(health, "surroundings"), now_s)
    yield from _check_clock(clock)
    yield from _check_engine(part(health, "engine"))


def part(health: Health, name: str) -> dict[str, Any]:
    """Return a part of the health; empty if it is missing or damaged."""
    content = health.get(name)
    return content if isinstance(content, dict) else {}


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
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it runs as another user
        return True
    return True


def _check_reader(
    reader: Health, journal: Health | None, clock: Health, keys: StatusKeys, now_s: float
) -> Iterator[Trouble]:
    """Yield the first problem on the way from the port to the newest record."""
    limit_s = LIVE_INTERVALS * keys.interval_s
    started_s, read_s = (_age_s(reader.get(name), now_s) for name in ("started", "last_read"))
    if reader.get("open") is False:
        why = f"the port is not open: {reader.get('last_error') or 'reason unknown'}"
        yield Trouble("source", why, "check the cable, the logger's power and source.url")
    elif read_s is None and started_s is not None and started_s > limit_s:
        why = f"nothing has been read since the start, {reader['started']}"
        yield Trouble("source", why, "check the cable, the logger's power and source.url")
    elif read_s is not None and read_s > limit_s:
        why = f"nothing has been read since {reader.get('last_read')}"
        yield Trouble("source", why, "check the logger's power, its clock and source.interval_s")
    elif why := _describe_damage(reader, limit_s, now_s):
        yield Trouble("source", why, reader.get("remedy") or "check source.dialect and source.baud")
    elif not clock.get("held"):
        record_s = _age_s(journal.get("last_end") if journal else None, now_s)
        if record_s is not None and journal and record_s > limit_s:
            why = f"the newest record ends {journal['last_end']}, {record_s / 3600.0:.1f} h ago"
            yield Trouble("source", why, "check source.dialect, source.utc_offset_h and the log")


def _describe_damage(reader: Health, limit_s: float, now_s: float) -> str:
    """Return why the bytes of an open port give no records, or few; empty if they do."""
    lines, damaged = reader.get("recent") or 0, reader.get("recent_damaged") or 0
    fault = reader.get("last_fault") or "no line has ended"
    if lines >= FEWEST_LINES and damaged * 2 > lines:
        return f"{damaged} of the last {lines} lines are damaged: {fault}"
    last = reader.get("last_record") or reader.get("started")
    without_s = _age_s(last, now_s)
    if reader.get("last_read") is None or without_s is None or without_s <= limit_s:
        return ""
    if reader.get("last_record") is None:
        return f"bytes arrive, but there has been no record since the start, {last}: {fault}"
    return f"bytes arrive, but there has been no record since {last}: {fault}"


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


def check_incoming(surroundings: Health, now_s: float) -> Iterator[Trouble]:
    """Yield the problem of the neutron monitor's counts; `surroundings` is that of the health."""
    incoming = part(surroundings, "incoming")
    source, error, unlike = (incoming.get(name) for name in ("source", "last_error", "unlike"))
    age_s, max_age_s = _age_s(incoming.get("newest"), now_s), incoming.get("max_age_s")
    is_old = age_s is None or (max_age_s is not None and age_s > max_age_s)
    if error and (source == "file" or is_old):
        usual = "check the network, incoming.url and incoming.monitor"
        if source == "file":
            usual = "set incoming.file to lines of time and count of one monitor"
        with_remedy = _WITH_REMEDY.fullmatch(error)
        yield Trouble("incoming", *(with_remedy.groups() if with_remedy else (error, usual)))
    elif unlike is not None:
        ref = incoming.get("ref")
        why = f"{unlike:g} is not near site.incoming.ref = {ref:g}: the counts of another monitor?"
        yield Trouble("incoming", why, "use the counts and the reference of the same monitor")
    elif source == "file" and age_s is None:
        yield Trouble("incoming", "the file has no count", "write lines of time and count to it")
    elif source != "mqtt" and age_s is not None and is_old:
        why = f"the newest count is of {incoming['newest']}, older than incoming.max_age_s"
        yield Trouble("incoming", why, "check what supplies the counts; the last one is held")


def check_weather(surroundings: Health, now_s: float) -> Iterator[Trouble]:
    """Yield the problems of the broker and the topics of [weather.*] and [incoming]."""
    link = part(surroundings, "link")
    where = f"{link.get('host')}:{link.get('port')}"
    rejected, suspended = (link.get(name) or [] for name in ("rejected", "suspended"))
    if suspended:
        why = f"{where}: not subscribed to {', '.join(suspended)}: its messages are too long"
        yield Trouble("weather", why, "check what publishes to this topic")
    elif link.get("connected") is False and link.get("last_error"):
        why = f"{where}: not connected: {link['last_error']}"
        yield Trouble("weather", why, "check weather.host, weather.port, password and certificates")
        return
    denied = [topic for topic in rejected if topic not in suspended]
    if denied:
        why = f"{where}: the broker rejects the subscription to {', '.join(denied)}"
        yield Trouble("weather", why, "check the broker's access list")
    topics = surroundings.get("topics")
    since_s = _age_s(link.get("since"), now_s)
    for topic in topics if isinstance(topics, list) else []:
        if since_s is not None and isinstance(topic, dict) and topic.get("topic") not in rejected:
            yield from _check_topic(topic, since_s, now_s)


def _check_topic(topic: Health, since_s: float, now_s: float) -> Iterator[Trouble]:
    table, name, refused = topic["table"], topic["topic"], topic.get("refused") or 0
    newest_s, max_age_s = _age_s(topic.get("newest"), now_s), topic["max_age_s"]
    is_silent = since_s > max_age_s and (newest_s is None or newest_s > max_age_s)
    what = table.partition(".")[0]
    if refused >= FEWEST_REFUSED or (refused and is_silent):
        yield Trouble(what, *refusal(topic))
    elif is_silent:
        newest = topic.get("newest")
        since = f"since {newest}" if newest else "yet"
        why = f"{name}: no message {since}, for longer than {table}.max_age_s = {max_age_s:g}"
        yield Trouble(what, why, f"check the sensor, its gateway and {table}.topic")


def refusal(topic: Health) -> tuple[str, str]:
    """Return reason and remedy of a topic whose messages are refused."""
    table, number = topic["table"], topic["refused"]
    count = "the last message is" if number == 1 else f"the last {number} messages are"
    why = f"{topic['topic']}: {count} refused: {topic.get('last_refusal')}"
    return why, f"compare {table}.field, time_field and unit with a message"


def _check_clock(clock: Health) -> Iterator[Trouble]:
    """Yield a warning if the clock is not synchronised, a fault once records wait or lie ahead."""
    if clock.get("synchronised") is False:
        held = clock.get("held") or 0
        why = f"not synchronised; {held} records wait for the time" if held else "not synchronised"
        remedy = "check the network, systemd-timesyncd or chrony"
        yield Trouble("clock", why, remedy, DEGRADED if held else WARNING)
    ahead_s = clock.get("ahead_s")
    if isinstance(ahead_s, int | float):
        why = f"the newest record ends {ahead_s / 3600.0:.1f} h after the present time"
        remedy = "check the clocks; `epithermal-edge repair` sets such records aside"
        yield Trouble("clock", why, remedy)


def _check_engine(engine: Health) -> Iterator[Trouble]:
    """Yield why records have no estimate: a rebuild, or ends before an earlier one."""
    rebuilding = part(engine, "rebuilding")
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
    except (ValueError, OverflowError):
        return None
    return age_s if math.isfinite(age_s) else None
