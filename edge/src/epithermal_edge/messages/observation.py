"""Build the payloads of records and estimates: values rounded, missing values null.

The contract is docs/mqtt.md and the schemas beside it; units are in the names of fields.
"""

from __future__ import annotations

import math
from typing import Any

from epithermal_edge.inference import irrigation, root_zone
from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.inference.irrigation import Z_95, Range
from epithermal_edge.messages.message import Identity, Message, V, encode, rounded
from epithermal_edge.messages.topics import LIVE_INTERVALS, OBS_RAW, OBS_THETA, STATE_THETA
from epithermal_edge.physics.plant_water import RootZone, SoilWater
from epithermal_edge.records import (
    LAYERS_CM,
    NUMBERS,
    CorrectedRecord,
    Estimate,
    Quality,
    RawRecord,
)
from epithermal_edge.times import utc

TOP_CM, BOTTOM_CM = 0, 30  # layer of theta and storage
MISSING, FAIL, SUSPECT, PASS = 9, 4, 3, 1  # QARTOD (2020); 2, not evaluated, is not used

FAIL_FLAGS = Quality.CLIPPED
SUSPECT_FLAGS = (
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
    | Quality.INCOMING_JUMP
    | Quality.COUNT_STUCK
    | Quality.COUNT_SPIKE
    | Quality.TUBE_RATIO
    | Quality.DOUBTFUL
    | Quality.SNOW
)


_FLAG_NAMES = tuple((int(flag), str(flag.name).lower()) for flag in Quality)
_FAIL, _SUSPECT = int(FAIL_FLAGS), int(SUSPECT_FLAGS)


def quality_flags(quality: int) -> list[str]:
    """Return the names of the flags that are set, in lower case."""
    bits = int(quality)  # arithmetic of flags is slow
    return [name for bit, name in _FLAG_NAMES if bit & bits]


def qartod(quality: int, theta: float) -> int:
    """Return the QARTOD flag of a message's theta.

    References
    ----------
    IOOS QARTOD (2020), Manual for Real-Time Oceanographic Data Quality Control Flags, table 2.
    """
    if not math.isfinite(theta):
        return MISSING
    bits = int(quality)
    if bits & _FAIL:
        return FAIL
    return SUSPECT if bits & _SUSPECT else PASS


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
    root: RootZone | None = None,
) -> dict[str, Any]:
    """Build the payload of obs/theta and state/theta: one record and its estimate.

    Parameters
    ----------
    seq :
        Number of the record in its journal, from 1.
    corrected :
        Corrected record of one site.
    time_q :
        Source of the time stamp; `station.stamps` has the values.
    not_before_s : [s]
        End of the previous interval; this one is cut to begin no earlier, since counting times
        are not exact.
    soil_water :
        None: not described; `water` is null.
    root :
        None: not described; `root_zone` and `irrigate` are null, `advice` gives the reason.
    """
    advice = root_zone.advise(root, estimate)
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
            "value": rounded(theta, 6),
            "sigma": rounded(sigma, 6),
            "p05": rounded(max(theta - Z_95 * sigma, 0.0), 6),
            "p95": rounded(min(theta + Z_95 * sigma, 1.0), 6),
            "unit": "m3/m3",
        },
        "layers": [
            {
                "top_cm": top,
                "bottom_cm": bottom,
                "value": rounded(getattr(estimate, f"theta_{top}_{bottom}"), 6),
            }
            for top, bottom in LAYERS_CM
        ],
        "theta_classical": {
            "value": rounded(estimate.theta_classical, 6),
            "sigma": rounded(estimate.theta_classical_sigma, 6),
        },
        "depth": {
            "top_cm": TOP_CM,
            "bottom_cm": BOTTOM_CM,
            "d86_cm": rounded(estimate.d86_cm, 1),
        },
        "storage_mm": rounded(estimate.storage_mm, 2),
        "water": None if soil_water is None else water_payload(soil_water, estimate),
        "snow": snow_payload(estimate),
        "root_zone": None if root is None else root_zone_payload(root, estimate),
        "irrigate": advice.irrigate,
        "advice": advice.text,
        "n": {
            "raw_cph": rounded(corrected.n_raw_cph[0], 3),
            "corr_cph": rounded(corrected.n_corr_cph[0], 3),
            "corr_sigma_cph": rounded(corrected.n_corr_sigma_cph[0], 3),
            "counts": rounded(corrected.counts[0], 3),
            "live_s": rounded(live_s if counted else math.nan, 3),
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


def water_payload(soil: SoilWater, estimate: Estimate) -> dict[str, Any]:
    """Build the object `water` of an estimate; docs/water.md describes it."""
    days = Range(estimate.days_to_threshold, estimate.days_p05, estimate.days_p95)
    return {
        "available_mm": _range_payload(irrigation.available_mm(soil, estimate), 2),
        "depletion": _range_payload(irrigation.depletion(soil, estimate), 4),
        "capacity_mm": round(soil.capacity_mm, 2),
        "threshold": round(soil.threshold, 4),
        "rate_mm_d": rounded(estimate.rate_mm_d, 4),
        "days_to_threshold": None if math.isnan(days.value) else _range_payload(days, 2),
    }


def snow_payload(estimate: Estimate) -> dict[str, Any] | None:
    """Build the object `snow` of an estimate; None without the flag. docs/snow.md describes it."""
    if not estimate.quality & Quality.SNOW:
        return None
    swe_mm = Range(estimate.swe_mm, estimate.swe_p05_mm, estimate.swe_p95_mm)
    return {
        "since": utc(estimate.snow_since_s),
        "swe_mm": _range_payload(swe_mm, 1),
        "swe_desilets_mm": rounded(estimate.swe_desilets_mm, 1),
        "count_ratio": rounded(estimate.snow_count_ratio, 4),
        "air_c": rounded(estimate.snow_air_c, 2),
    }


def root_zone_payload(root: RootZone, estimate: Estimate) -> dict[str, Any]:
    """Build the object `root_zone` of an estimate; docs/water.md describes it."""
    e = estimate
    days = Range(e.root_days_to_threshold, e.root_days_p05, e.root_days_p95)
    return {
        "depth_cm": rounded(e.root_depth_cm, 1),
        "available_mm": _range_payload(root_zone.available_mm(root, e), 2),
        "depletion": _range_payload(root_zone.depletion(root, e), 4),
        "capacity_mm": rounded(root_zone.capacity_mm(root, e), 2),
        "threshold": rounded(e.root_threshold, 4),
        "etc_mm_d": rounded(e.etc_mm_d, 2),
        "rate_mm_d": rounded(e.root_rate_mm_d, 4),
        "days_to_threshold": None if math.isnan(days.value) else _range_payload(days, 2),
        "source": root.source,
    }


def _range_payload(estimated: Range, digits: int) -> dict[str, float | None]:
    return {name: rounded(getattr(estimated, name), digits) for name in ("value", "p05", "p95")}


def _met(record: RawRecord, corrected: CorrectedRecord) -> dict[str, float | None]:
    return {
        "pressure_hpa": rounded(record.pressure_hpa, 2),
        "temperature_c": rounded(record.temperature_c, 2),
        "relative_humidity_pct": rounded(record.relative_humidity_pct, 2),
        "abs_humidity_g_m3": rounded(corrected.abs_humidity_g_m3[0], 3),
        "rain_mm": rounded(record.rain_mm, 3),
        "et0_mm": rounded(record.et0_mm, 3),
        "incoming": rounded(record.incoming, 4),
    }


def obs_messages(
    identity: Identity, payload: dict[str, Any], end_s: float, now_s: float
) -> tuple[Message, ...]:
    """Build the messages of one record: obs/theta, and state/theta if the record is live.

    Parameters
    ----------
    end_s, now_s :
        The record's end and the station's clock [s, Unix time]. A live record is younger than 2.5
        intervals and not from the future.
    """
    body = encode(payload)
    observation = identity.message(OBS_THETA, body)
    live_until_s = end_s + LIVE_INTERVALS * identity.interval_s
    if not end_s - identity.interval_s < now_s < live_until_s or "late" in payload["flags"]:
        return (observation,)
    return observation, identity.message(STATE_THETA, body, instant_s=end_s)


def raw_message(identity: Identity, seq: int, record: RawRecord, time_q: str = "logger") -> Message:
    """Build obs/raw: the record as the logger sent it, for retraining.

    Parameters
    ----------
    time_q :
        As in obs/theta of the same record.
    """
    values: dict[str, Any] = {name: rounded(getattr(record, name), 6) for name in NUMBERS[1:]}
    if record.channels:
        values["channels"] = {k: rounded(v, 6) for k, v in record.channels.items()}
    payload = {
        "v": V,
        "id": f"{identity.station}:{identity.epoch}:{seq}",
        "end": utc(record.end_s),
        **values,
        "time_q": time_q,
        "rev": 0,
    }
    return identity.message(OBS_RAW, encode(payload))
