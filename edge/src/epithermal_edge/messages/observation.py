"""What the station says: payloads as JSON, every value rounded, every missing one null.

The contract is docs/mqtt.md and the schemas beside it; a field's unit is in its name.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from epithermal_edge import __version__
from epithermal_edge.config.station_toml import Config
from epithermal_edge.inference import irrigation as water
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.inference.features import FEATURES
from epithermal_edge.inference.irrigation import Z_95, Range
from epithermal_edge.physics.plant_water import SoilWater
from epithermal_edge.records import LAYERS_CM, CorrectedRecord, Estimate, Quality, RawRecord

V = 1  # version of every payload; a field may be added without a new one
LIVE_PERIODS = 2.5  # how long a dashboard shows a value
TOP_CM, BOTTOM_CM = 0, 30  # what theta and storage are the mean and the sum of
MISSING, FAIL, SUSPECT, PASS = 9, 4, 3, 1  # QARTOD (2020); 2, not evaluated, is not used yet

FAILED = Quality.CLIPPED
SUSPECTED = (
    Quality.WARM_UP
    | Quality.GAP
    | Quality.MISSING
    | Quality.ZERO_COUNTS
    | Quality.PRESSURE_MISSING
    | Quality.HUMIDITY_MISSING
    | Quality.INCOMING_MISSING
    | Quality.PRESSURE_RANGE
    | Quality.COUNT_RANGE
    | Quality.PRESSURE_JUMP
    | Quality.PRESSURE_STUCK
    | Quality.AIR_STUCK
    | Quality.INCOMING_STUCK
    | Quality.COUNT_STUCK
    | Quality.COUNT_SPIKE
    | Quality.TUBE_RATIO
    | Quality.DOUBTFUL
)


@dataclass(frozen=True, slots=True)
class Message:
    """A payload on its way to the broker."""

    topic: str
    payload: bytes
    kind: str  # "obs", "raw", "event": every one, in order; "state": only the newest
    retain: bool = False
    expires_s: float | None = None  # Unix time after which nobody wants it


@dataclass(frozen=True, slots=True)
class Identity:
    """What every message of a station repeats."""

    station: str
    epoch: str  # random, one for each journal
    prefix: str
    interval_s: float

    def topic(self, name: str) -> str:
        """Full topic of this station."""
        return f"{self.prefix}/{self.station}/{name}"


def utc(time_s: float) -> str | None:
    """ISO 8601 with Z, to the millisecond where it is needed; None for NaN."""
    if not math.isfinite(time_s):
        return None
    moment = datetime.fromtimestamp(round(time_s, 3), UTC)
    spec = "seconds" if moment.microsecond == 0 else "milliseconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def quality_flags(quality: Quality) -> list[str]:
    """Names of the flags that are set, in lower case."""
    return [str(flag.name).lower() for flag in Quality if flag & quality]


def qartod(quality: Quality, theta: float) -> int:
    """How far the theta of a message can be trusted, as QARTOD's flag.

    References
    ----------
    IOOS QARTOD (2020), Manual for Real-Time Oceanographic Data Quality Control Flags, table 2.
    """
    if not math.isfinite(theta):
        return MISSING
    if quality & FAILED:
        return FAIL
    return SUSPECT if quality & SUSPECTED else PASS


def encode(payload: dict[str, Any]) -> bytes:
    """JSON without blanks.

    Raises
    ------
    ValueError
        A number is not finite.
    """
    return json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()


def obs_theta(
    identity: Identity,
    seq: int,
    record: RawRecord,
    corrected: CorrectedRecord,
    estimate: Estimate,
    bundle: Bundle,
    time_q: str = "logger",
    not_before_s: float = -math.inf,
    soil_water: SoilWater | None = None,
) -> dict[str, Any]:
    """Payload of obs/theta and state/theta: one record and the estimate that goes with it.

    Parameters
    ----------
    seq :
        Number of the record in its journal, from 1.
    corrected :
        Of one site.
    time_q :
        Where the stamps come from; `stamps` has the values.
    not_before_s : [s]
        End of the interval before, where this one does not begin earlier: counting times are
        never exact.
    soil_water :
        None: not described, and nothing is told of what plants can take.
    """
    live_s = float(corrected.duration_s[0])
    counted = math.isfinite(live_s) and live_s > 0.0
    theta, sigma = estimate.theta, estimate.theta_sigma
    return {
        "v": V,
        "id": f"{identity.station}:{identity.epoch}:{seq}",
        "start": utc(
            max(record.end_s - (live_s if counted else identity.interval_s), not_before_s)
        ),
        "end": utc(record.end_s),
        "window_end": utc(estimate.window_end_s),
        "theta": {
            "value": _number(theta, 6),
            "sigma": _number(sigma, 6),
            "p05": _number(max(theta - Z_95 * sigma, 0.0), 6),
            "p95": _number(min(theta + Z_95 * sigma, 1.0), 6),
            "unit": "m3/m3",
        },
        "layers": [
            {
                "top_cm": top,
                "bottom_cm": bottom,
                "value": _number(getattr(estimate, f"theta_{top}_{bottom}"), 6),
            }
            for top, bottom in LAYERS_CM
        ],
        "theta_classical": {
            "value": _number(estimate.theta_classical, 6),
            "sigma": _number(estimate.theta_classical_sigma, 6),
        },
        "depth": {
            "top_cm": TOP_CM,
            "bottom_cm": BOTTOM_CM,
            "d86_cm": _number(estimate.d86_cm, 1),
        },
        "storage_mm": _number(estimate.storage_mm, 2),
        "water": None if soil_water is None else water_told(soil_water, estimate),
        "n": {
            "raw_cph": _number(corrected.n_raw_cph[0], 3),
            "corr_cph": _number(corrected.n_corr_cph[0], 3),
            "corr_sigma_cph": _number(corrected.n_corr_sigma_cph[0], 3),
            "counts": _number(corrected.counts[0], 3),
            "live_s": _number(live_s if counted else math.nan, 3),
        },
        "met": _met(record, corrected),
        "q": qartod(estimate.quality, theta),
        "flags": quality_flags(estimate.quality),
        "model": {
            "name": bundle.name,
            "version": bundle.version,
            "sha256": bundle.sha256,
            "state_age_d": estimate.state_age_steps * bundle.step_s / 86400.0,
        },
        "time_q": time_q,
        "rev": 0,
    }


def water_told(soil: SoilWater, estimate: Estimate) -> dict[str, Any]:
    """What an estimate means for plants; docs/water.md."""
    days = Range(estimate.days_to_threshold, estimate.days_p05, estimate.days_p95)
    return {
        "available_mm": _range(water.available_mm(soil, estimate), 2),
        "depletion": _range(water.depletion(soil, estimate), 4),
        "capacity_mm": round(soil.capacity_mm, 2),
        "threshold": round(soil.threshold, 4),
        "rate_mm_d": _number(estimate.rate_mm_d, 4),
        "days_to_threshold": None if math.isnan(days.value) else _range(days, 2),
    }


def _range(told: Range, digits: int) -> dict[str, float | None]:
    return {name: _number(getattr(told, name), digits) for name in ("value", "p05", "p95")}


def _met(record: RawRecord, corrected: CorrectedRecord) -> dict[str, float | None]:
    return {
        "pressure_hpa": _number(record.pressure_hpa, 2),
        "temperature_c": _number(record.temperature_c, 2),
        "relative_humidity_pct": _number(record.relative_humidity_pct, 2),
        "abs_humidity_g_m3": _number(corrected.abs_humidity_g_m3[0], 3),
        "rain_mm": _number(record.rain_mm, 3),
        "et0_mm": _number(record.et0_mm, 3),
        "incoming": _number(record.incoming, 4),
    }


def _number(value: Any, digits: int) -> float | None:
    """Rounded; None where it is not finite."""
    number = float(value)
    return round(number, digits) if math.isfinite(number) else None


def obs_messages(
    identity: Identity, payload: dict[str, Any], end_s: float, now_s: float
) -> tuple[Message, ...]:
    """The messages of one record: one for databases, and when it is live one for dashboards.

    Parameters
    ----------
    end_s, now_s :
        The record's end and the station's clock [s, Unix time]. Live is younger than 2.5 periods
        and not from the future.
    """
    body = encode(payload)
    every = Message(identity.topic("obs/theta"), body, "obs")
    expires_s = end_s + LIVE_PERIODS * identity.interval_s
    if not end_s - identity.interval_s < now_s < expires_s or "late" in payload["flags"]:
        return (every,)
    topic = identity.topic("state/theta")
    return every, Message(topic, body, "state", retain=True, expires_s=expires_s)


def raw_message(identity: Identity, seq: int, record: RawRecord, time_q: str = "logger") -> Message:
    """The record as the logger gave it, for training a network anew.

    Parameters
    ----------
    time_q :
        That of the obs/theta of the same record.
    """
    values = {f.name: _number(getattr(record, f.name), 6) for f in fields(record)}
    del values["end_s"]
    payload = {
        "v": V,
        "id": f"{identity.station}:{identity.epoch}:{seq}",
        "end": utc(record.end_s),
        **values,
        "time_q": time_q,
        "rev": 0,
    }
    return Message(identity.topic("obs/raw"), encode(payload), "raw")


def event(identity: Identity, kind: str, time_s: float, text: str) -> Message:
    """Something that an operator should know, once."""
    payload = {"v": V, "station": identity.station, "kind": kind, "time": utc(time_s), "text": text}
    return Message(identity.topic(f"event/{kind}"), encode(payload), "event")


def status(identity: Identity, state: str, session: str, trouble: str | None = None) -> bytes:
    """Birth ("online"), clean end ("stopped") or last will ("lost") of one connection.

    Parameters
    ----------
    trouble :
        What keeps messages from being delivered.
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


def session_of(payload: bytes) -> str | None:
    """The session that a status speaks of; None where it is no status."""
    try:
        session = json.loads(payload)["session"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return session if isinstance(session, str) else None


def meta(config: Config, identity: Identity, bundle: Bundle) -> bytes:
    """What is constant: the place, the detector, the soil and the model."""
    known = {k: v for k, v in {**asdict(config.place), **asdict(config.site)}.items() if v != ""}

    def told(value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        return [_number(v, 4) for v in value] if isinstance(value, tuple) else _number(value, 8)

    site = {name: told(value) for name, value in known.items()}
    return encode(
        {
            "v": V,
            "station": identity.station,
            "epoch": identity.epoch,
            "software": {"name": "epithermal-edge", "version": __version__},
            "site": site,
            "water": config.soil_water
            and {k: _number(v, 4) for k, v in asdict(config.soil_water).items()},
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
