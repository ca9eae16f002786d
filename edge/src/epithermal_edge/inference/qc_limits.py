"""Hold the thresholds of quality control; config/quality_table.py describes each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds; a field's meaning and default are in config/quality_table.py."""

    pressure_min_hpa: float = 300.0
    pressure_max_hpa: float = 1100.0
    temperature_min_c: float = -50.0
    temperature_max_c: float = 55.0
    rain_max_mm_h: float = 200.0
    count_max_ratio: float = 1.5
    pressure_jump_hpa: float = 8.0
    temperature_jump_c: float = 15.0
    humidity_jump_pct: float = 70.0
    pressure_stuck_h: float = 24.0
    air_stuck_h: float = 24.0
    incoming_stuck_h: float = 30.0
    spike_sigma: float = 6.0
    spike_rise: float = 0.2
    spike_fall: float = 0.35
    tube_sigma: float = 6.0
    tube_change: float = 0.1
    short_share: float = 0.5
    battery_min_v: float = 11.5
    housing_humidity_max_pct: float = 80.0
    bare_tube: str = ""  # channel of thermal neutrons; empty: it is not checked


DEFAULT = Limits()
