"""Collect the page's data: the newest record, the last 30 days and the station's state.

Everything is read from the journal and health.json, read-only, so that a failure here does not
disturb the station.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import asdict
from typing import Any

from epithermal_edge import __version__
from epithermal_edge.config.station_toml import Config
from epithermal_edge.errors import EpithermalError
from epithermal_edge.inference import root_zone
from epithermal_edge.inference.irrigation import Z_95
from epithermal_edge.journal import history
from epithermal_edge.journal.history import JournalEntry
from epithermal_edge.messages import observation
from epithermal_edge.messages.topics import LIVE_INTERVALS
from epithermal_edge.page import sentences
from epithermal_edge.records import FACTORS
from epithermal_edge.station import status
from epithermal_edge.times import DAY_S, utc

DAYS = 30.0
AIR = ("pressure_hpa", "temperature_c", "relative_humidity_pct", "rain_mm", "incoming")


def files_key(config: Config) -> tuple[object, ...]:
    """Return a key that differs when the station's files have changed; cheap to compute."""
    key: list[object] = []
    for name in (status.HEALTH_FILE, status.JOURNAL_FILE, status.JOURNAL_FILE + "-wal"):
        try:
            file = (config.state_dir / name).stat()
            key.append((file.st_mtime_ns, file.st_size, file.st_ino))
        except OSError:
            key.append(None)
    return tuple(key)


def newest_window(config: Config) -> float | None:
    """Return the end of the newest record's window [s, Unix time]; None if there is none."""
    path = config.state_dir / status.JOURNAL_FILE
    try:
        with closing(history.open_readonly(path)) as db:
            return history.newest_window_end_s(db)
    except EpithermalError:
        return None


def current(config: Config, now_s: float) -> dict[str, Any]:
    """Return the station's state and its newest record; the record is null if it is unreadable.

    Parameters
    ----------
    now_s : [s, Unix time]
    """
    state = status.read_status(config.path, now_s)
    latest = None
    try:
        path = config.state_dir / status.JOURNAL_FILE
        with closing(history.open_readonly(path)) as db:
            latest = next(history.read_entries(db, history.seq_before_last(db, 1)), None)
    except EpithermalError:  # `state` reports it
        pass
    water = config.soil_water
    return {
        "v": 1,
        "time": utc(now_s),
        "name": config.place.name or config.id,
        "software": __version__,
        "interval_s": config.source.interval_s,
        "stale_after_s": LIVE_INTERVALS * config.source.interval_s,
        "water": water and {**asdict(water), "capacity_mm": round(water.capacity_mm, 2)},
        "factors": {factor.name: factor.of for factor in FACTORS},
        "status": status.as_json(state),
        "latest": None if latest is None else record(config, latest),
    }


def record(config: Config, entry: JournalEntry) -> dict[str, Any]:
    """Return a record with its estimate; unknown values are null."""
    raw, corrected, estimate = entry.outcome.record, entry.outcome.corrected, entry.outcome.estimate
    theta, half_width = estimate.theta, Z_95 * estimate.theta_sigma
    q = observation.qartod(estimate.quality, theta)
    soil, root = config.soil_water, config.root_zone
    advice = root_zone.advise(root, estimate)
    return {
        "seq": entry.seq,
        "end": utc(raw.end_s),
        "window_end": utc(estimate.window_end_s),
        "theta": {
            "value": _number(theta),
            "p05": _number(max(theta - half_width, 0.0)),
            "p95": _number(min(theta + half_width, 1.0)),
        },
        "theta_classical": {
            "value": _number(estimate.theta_classical),
            "sigma": _number(estimate.theta_classical_sigma),
        },
        "storage_mm": _number(estimate.storage_mm),
        "d86_cm": _number(estimate.d86_cm),
        "water": None if soil is None else observation.water_payload(soil, estimate),
        "snow": observation.snow_payload(estimate),
        "root_zone": None if root is None else observation.root_zone_payload(root, estimate),
        "irrigate": advice.irrigate,
        "advice": advice.text,
        "n": {
            "counts": _number(raw.counts),
            "live_s": _number(raw.duration_s),
            "raw_cph": _number(corrected.n_raw_cph[0]),
            "corr_cph": _number(corrected.n_corr_cph[0]),
            "corr_sigma_cph": _number(corrected.n_corr_sigma_cph[0]),
        },
        "factors": {f.name: _number(getattr(corrected, f.name)[0]) for f in FACTORS},
        "air": {name: _number(getattr(raw, name)) for name in AIR},
        "q": q,
        "verdict": sentences.VERDICT[q],
        "doubts": sentences.describe(estimate.quality),
        "model": entry.model or None,
    }


def past(config: Config, now_s: float) -> dict[str, Any]:
    """Return the last 30 days in columns, one value per window.

    Raises
    ------
    EpithermalError
        The journal does not exist or cannot be read.
    """
    columns: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, "end", "q")}
    with closing(history.open_readonly(config.state_dir / status.JOURNAL_FILE)) as db:
        for entry, rain_mm in history.read_windows(db, now_s - DAYS * DAY_S):
            estimate = entry.outcome.estimate
            theta, half_width = estimate.theta, Z_95 * estimate.theta_sigma
            row = (
                *(theta, max(theta - half_width, 0.0), min(theta + half_width, 1.0)),
                *(estimate.theta_classical, estimate.depletion, rain_mm),
            )
            for name, value in zip(COLUMNS, row, strict=True):
                columns[name].append(_number(value))
            columns["end"].append(round(estimate.window_end_s))
            columns["q"].append(observation.qartod(estimate.quality, theta))
    return {"v": 1, "from": round(now_s - DAYS * DAY_S), "to": round(now_s), **columns}


COLUMNS = ("theta", "p05", "p95", "theta_classical", "depletion", "rain_mm")


def _number(value: Any, digits: int = 6) -> float | None:
    """Round a number as in the messages; None if it is not finite."""
    number = float(value)
    return round(number, digits) if math.isfinite(number) else None
