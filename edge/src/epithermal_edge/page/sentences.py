"""Flags and q for people: one sentence each, as the page shows them."""

from __future__ import annotations

from epithermal_edge.records import Quality

WORDS = {
    Quality.MISSING: "The logger gave no counts.",
    Quality.SHORT: "The counting time was short; it is weighted by it.",
    Quality.LATE: "The record came after a later one: kept and sent, not used for the estimate.",
    Quality.ZERO_COUNTS: "No neutron was counted where there must be some: not used.",
    Quality.PRESSURE_MISSING: "Air pressure is missing: the count cannot be corrected.",
    Quality.HUMIDITY_HELD: "Humidity of the air is the last known one.",
    Quality.HUMIDITY_MISSING: "Humidity of the air has been unknown for a day.",
    Quality.INCOMING_HELD: "The cosmic rays' intensity is the last known one.",
    Quality.INCOMING_MISSING: "The cosmic rays' intensity is unknown: not corrected.",
    Quality.GAP: "Less than 12 of the last 24 hours were counted.",
    Quality.CLIPPED: "The counts are outside of what soil can give, as under snow.",
    Quality.WARM_UP: "The model has not seen enough days yet.",
    Quality.NO_MODEL: "There is no estimate for this record.",
    Quality.WEATHER_MISSING: "A weather sensor that the station listens to is silent.",
    Quality.PRESSURE_RANGE: "Air pressure is outside of what this altitude can have: not used.",
    Quality.AIR_RANGE: "Air temperature or humidity cannot be: not used.",
    Quality.RAIN_RANGE: "More rain than falls: not used.",
    Quality.COUNT_RANGE: "More neutrons than over bare dry soil: not used.",
    Quality.PRESSURE_JUMP: "Air pressure changes faster than weather.",
    Quality.AIR_JUMP: "Air temperature or humidity changes faster than weather.",
    Quality.PRESSURE_STUCK: "The pressure sensor stands still.",
    Quality.AIR_STUCK: "The sensor of air temperature or humidity stands still.",
    Quality.INCOMING_STUCK: "The neutron monitor's counts stand still.",
    Quality.COUNT_STUCK: "The same count again and again: not used.",
    Quality.COUNT_SPIKE: "The count is far from the recent ones.",
    Quality.TUBE_RATIO: "One counter tube counts otherwise than it used to.",
    Quality.LOW_BATTERY: "The battery is low.",
    Quality.HOUSING_HUMID: "It is humid inside the housing: change the desiccant.",
    Quality.DOUBTFUL: "A count of the last 24 hours is in doubt.",
}
"""What is known to be doubtful, to somebody who has not read the manual."""

VERDICT = {
    1: "good",
    2: "not checked",
    3: "doubtful",
    4: "not usable",
    9: "no value",
}
"""QARTOD's flag in words."""


def sentences(quality: Quality) -> list[str]:
    """What is doubtful, one sentence a flag."""
    return [text for flag, text in WORDS.items() if flag & quality]
