"""Describe quality flags and QARTOD codes in sentences for the page."""

from __future__ import annotations

from epithermal_edge.records import Quality

SENTENCES = {
    Quality.MISSING: "The logger sent no counts.",
    Quality.SHORT: "The counting time was short; the count has less weight.",
    Quality.LATE: "The record arrived after a later one: stored and published, not used.",
    Quality.ZERO_COUNTS: "No neutron was counted where this is improbable: not used.",
    Quality.PRESSURE_MISSING: "Air pressure is missing: the count cannot be corrected.",
    Quality.HUMIDITY_HELD: "Air humidity is the last known value.",
    Quality.HUMIDITY_MISSING: "Air humidity has been unknown for a day.",
    Quality.INCOMING_HELD: "The cosmic-ray intensity is the last known value.",
    Quality.INCOMING_MISSING: "The cosmic-ray intensity is unknown: not corrected.",
    Quality.GAP: "Fewer than 12 of the last 24 hours were counted.",
    Quality.CLIPPED: "The count is outside of the range of soil, for example under snow.",
    Quality.WARM_UP: "The model has not processed enough days yet.",
    Quality.NO_MODEL: "There is no estimate for this record.",
    Quality.SNOW: "Snow: the water content is the last value before it; irrigation is unknown.",
    Quality.WEATHER_MISSING: "A value of a weather sensor is late or missing.",
    Quality.PRESSURE_RANGE: "Air pressure is impossible at this altitude: not used.",
    Quality.AIR_RANGE: "Air temperature or humidity is impossible: not used.",
    Quality.RAIN_RANGE: "The amount of rain is impossible: not used.",
    Quality.COUNT_RANGE: "More neutrons than over bare dry soil: not used.",
    Quality.PRESSURE_JUMP: "Air pressure changes faster than weather can.",
    Quality.AIR_JUMP: "Air temperature or humidity changes faster than weather can.",
    Quality.PRESSURE_STUCK: "The pressure sensor repeats the same value.",
    Quality.AIR_STUCK: "The air temperature or humidity sensor repeats the same value.",
    Quality.INCOMING_STUCK: "The neutron monitor repeats the same value.",
    Quality.COUNT_STUCK: "The detector repeats the same count: not used.",
    Quality.COUNT_SPIKE: "The count is far from the recent ones.",
    Quality.TUBE_RATIO: "The ratio between the counter tubes has changed.",
    Quality.LOW_BATTERY: "The battery is low.",
    Quality.HOUSING_HUMID: "The air inside the housing is humid: replace the desiccant.",
    Quality.DOUBTFUL: "A count of the last 24 hours is doubtful.",
    Quality.BARE_SILENT: "The bare tube for thermal neutrons is silent.",
    Quality.INCOMING_JUMP: "The muon rate jumps or is far from its reference: not used.",
}
"""One sentence for each flag, for readers without the manual."""

VERDICT = {
    1: "good",
    2: "not checked",
    3: "doubtful",
    4: "not usable",
    9: "no value",
}
"""QARTOD code in words."""


def describe(quality: Quality) -> list[str]:
    """Return the sentences of the flags that are set."""
    return [text for flag, text in SENTENCES.items() if flag & quality]
