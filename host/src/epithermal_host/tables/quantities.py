"""Limit the quantities of tables, and name the likely remedy of a value outside."""

from __future__ import annotations

import math
from dataclasses import dataclass

from epithermal_edge.inference.qc_limits import DEFAULT
from epithermal_edge.loggers.values import LIMITS

CODES = (-99.0, -999.0, -9999.0, -7999.0)  # of archives and loggers: no value
_CODES = (*CODES, 99.99)  # where 99.99 is not a value


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity of a table; a value outside of its limits is refused with the remedy."""

    unit: str
    low: float = -math.inf
    high: float = math.inf
    if_low: str = ""  # likely remedy
    if_high: str = ""
    codes: tuple[float, ...] = CODES  # that stand for no value
    ranges: bool = False  # a cell like 0-5 is read as its middle


ANY = Quantity("")
THETA = Quantity("m3/m3", 0.0, 1.0, "negative water", "in percent?", _CODES)
WATER_G_G = Quantity("g/g", 0.0, math.inf, "negative water", "in percent?")
DENSITY = Quantity("g/cm3", 0.05, 2.2, "in another unit? g/cm3 is wanted", "in kg/m3?")
MOST_WATER_G_G = 3.0  # without the sample's own density; peat with its own may hold more
DEPTH = Quantity("cm", 0.0, 300.0, "a depth is positive downwards", "in mm?", ranges=True)
# 500 m: twice the distance that 86 % of the neutrons come from, in dry air over dry soil
DISTANCE = Quantity("m", 0.0, 500.0, "a distance is positive", "in cm?")
MONITOR_COUNTS = Quantity("", 0.0, LIMITS["incoming"][1], "no count", "no count")
BIOMASS = Quantity(
    "kg/m2", *LIMITS["biomass_kg_m2"], "negative biomass", "in t/ha or g/m2?", _CODES
)
SOIL_TEMPERATURE = Quantity("degC", -60.0, 80.0, "in another unit?", "in K or degF?", _CODES)

AIR_TEMPERATURE = Quantity(
    "degC", -90.0, 60.0, "in another unit?", "in K or degF?", (*CODES, 999.9, 9999.9)
)
WEATHER: dict[str, Quantity] = {  # daily values of a station
    # 1825 mm: Foc-Foc, La Reunion, January 1966
    "rain_mm": Quantity("mm", 0.0, 1825.0, "negative rain", "in another unit?", _CODES),
    "t_min_c": AIR_TEMPERATURE,
    "t_max_c": AIR_TEMPERATURE,
    "t_mean_c": AIR_TEMPERATURE,
    "et0_mm": Quantity("mm", 0.0, 25.0, "negative evaporation", "in another unit?", _CODES),
    "pressure_hpa": Quantity("hPa", 450.0, 1090.0, "in kPa?", "in Pa?"),  # at the station
    "pressure_msl_hpa": Quantity("hPa", 850.0, 1090.0, "not at sea level?", "in Pa?"),
    "relative_humidity_pct": Quantity("%", 1.0, 100.0, "a fraction?", "not in percent?"),
    "rh_min_pct": Quantity("%", 0.0, 100.0, "a fraction?", "not in percent?"),
    "rh_max_pct": Quantity("%", 1.0, 100.0, "a fraction?", "not in percent?"),
    # daily sum of global radiation
    "radiation_mj_m2": Quantity("MJ/m2", 0.0, 50.0, "negative radiation", "in W/m2 or J/cm2?"),
    "wind_2m_m_s": Quantity("m/s", 0.0, 60.0, "negative wind", "in km/h?", (*CODES, 999.9)),
    "wind_10m_m_s": Quantity("m/s", 0.0, 75.0, "negative wind", "in km/h?", (*CODES, 999.9)),
}

DRIEST_YEAR_MM, ENOUGH_D = 30.0, 180.0  # rain of a year, judged from so many days on


def is_too_dry(total_mm: float, days: float) -> bool:
    """Return whether rain amounts to a driest desert's, which is usually in another unit."""
    return days >= ENOUGH_D and 0.0 < total_mm < DRIEST_YEAR_MM * days / 365.0


def rain_amount(interval_h: float) -> Quantity:
    """Return the limits of an amount of rain [mm]: the station's rate and the wettest day known."""
    high = min(DEFAULT.rain_max_mm_h * max(interval_h, 0.25), WEATHER["rain_mm"].high)
    return Quantity("mm", 0.0, high, "negative rain", "in mm?", _CODES)
