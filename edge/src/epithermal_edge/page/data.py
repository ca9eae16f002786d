"""What the page shows: the newest record, the last 30 days and the station's state, from the disk.

The journal is read as `tail` reads it and health.json as `status` does: whatever happens here, the
station goes on.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import asdict
from typing import Any

from epithermal_edge import __version__
from epithermal_edge.config.station_toml import Config
from epithermal_edge.errors import EpithermalError
from epithermal_edge.inference.irrigation import Z_95
from epithermal_edge.journal import history as archive
from epithermal_edge.journal.history import Told
from epithermal_edge.messages import observation as messages
from epithermal_edge.page import sentences as words
from epithermal_edge.records import FACTORS
from epithermal_edge.station import status
from epithermal_edge.times import DAY_S, utc

DAYS = 30.0
AIR = ("pressure_hpa", "temperature_c", "relative_humidity_pct", "rain_mm", "incoming")


def key(config: Config) -> tuple[object, ...]:
    """Changes when there is something new to show; cheap."""
    found: list[object] = []
    for name in (status.HEALTH_FILE, status.JOURNAL_FILE, status.JOURNAL_FILE + "-wal"):
        try:
            about = (config.state_dir / name).stat()
            found.append((about.st_mtime_ns, about.st_size, about.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)


def newest_window(config: Config) -> float | None:
    """End of the window that the newest record tells [s, Unix time]; None: no such."""
    path = config.state_dir / status.JOURNAL_FILE
    try:
        with closing(archive.open_readonly(path)) as db:
            return archive.newest_window(db)
    except EpithermalError:
        return None


def now(config: Config, now_s: float) -> dict[str, Any]:
    """The station now and its newest record; what cannot be read is null, and a trouble says why.

    Parameters
    ----------
    now_s : [s, Unix time]
    """
    found = status.look(config.path, now_s)
    latest = None
    try:
        path = config.state_dir / status.JOURNAL_FILE
        with closing(archive.open_readonly(path)) as db:
            latest = next(archive.told(db, archive.before_last(db, 1)), None)
    except EpithermalError:  # `found` tells it
        pass
    water = config.soil_water
    return {
        "v": 1,
        "time": utc(now_s),
        "name": config.place.name or config.id,
        "software": __version__,
        "interval_s": config.source.interval_s,
        "water": water and {**asdict(water), "capacity_mm": round(water.capacity_mm, 2)},
        "factors": {factor.name: factor.of for factor in FACTORS},
        "status": status.as_json(found),
        "latest": None if latest is None else record(config, latest),
    }


def record(config: Config, told: Told) -> dict[str, Any]:
    """One record with what was told of it; null where nothing is known."""
    raw, corrected, estimate = told.outcome.record, told.outcome.corrected, told.outcome.estimate
    theta, reach = estimate.theta, Z_95 * estimate.theta_sigma
    q = messages.qartod(estimate.quality, theta)
    soil = config.soil_water
    return {
        "seq": told.seq,
        "end": utc(raw.end_s),
        "window_end": utc(estimate.window_end_s),
        "theta": {
            "value": _number(theta),
            "p05": _number(max(theta - reach, 0.0)),
            "p95": _number(min(theta + reach, 1.0)),
        },
        "theta_classical": {
            "value": _number(estimate.theta_classical),
            "sigma": _number(estimate.theta_classical_sigma),
        },
        "storage_mm": _number(estimate.storage_mm),
        "d86_cm": _number(estimate.d86_cm),
        "water": None if soil is None else messages.water_told(soil, estimate),
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
        "verdict": words.VERDICT[q],
        "doubts": words.sentences(estimate.quality),
        "model": told.model or None,
    }


def history(config: Config, now_s: float) -> dict[str, Any]:
    """The last 30 days, one value a window, in columns.

    Raises
    ------
    EpithermalError
        The journal is not there or cannot be read.
    """
    columns: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, "end", "q")}
    with closing(archive.open_readonly(config.state_dir / status.JOURNAL_FILE)) as db:
        for told, rain_mm in archive.windows(db, now_s - DAYS * DAY_S):
            estimate = told.outcome.estimate
            theta, reach = estimate.theta, Z_95 * estimate.theta_sigma
            row = (
                *(theta, max(theta - reach, 0.0), min(theta + reach, 1.0)),
                *(estimate.theta_classical, estimate.depletion, rain_mm),
            )
            for name, value in zip(COLUMNS, row, strict=True):
                columns[name].append(_number(value))
            columns["end"].append(round(estimate.window_end_s))
            columns["q"].append(messages.qartod(estimate.quality, theta))
    return {"v": 1, "from": round(now_s - DAYS * DAY_S), "to": round(now_s), **columns}


COLUMNS = ("theta", "p05", "p95", "theta_classical", "depletion", "rain_mm")


def _number(value: Any, digits: int = 6) -> float | None:
    """Rounded as in the messages; None where it is not finite."""
    number = float(value)
    return round(number, digits) if math.isfinite(number) else None
