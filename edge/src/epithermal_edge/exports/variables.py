"""Describe the variables of a record and its estimate for NetCDF, and fill them in blocks.

Names are those of the table of `export`; standard names and units follow the CF conventions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.inference.engine import Outcome
from epithermal_edge.loggers.channels import extra_value
from epithermal_edge.records import FACTORS, LAYERS_CM, Quality

Block = Mapping[str, NDArray[np.generic]]
"""Values of consecutive records by variable; arrays (K,), time_bnds (K, 2)."""

BLOCK = 4096  # records that are held in memory at once
WATER_CONTENT = "volume_fraction_of_condensed_water_in_soil"
SINCE_1970 = {
    "units": "seconds since 1970-01-01T00:00:00Z",
    "calendar": "standard",
    "units_metadata": "leap_seconds: none",
}
QARTOD = {1: "pass", 3: "suspect", 4: "fail", 9: "missing"}
ROOT_CM = (0, 30)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable over time."""

    name: str
    long_name: str
    units: str = ""
    standard_name: str = ""
    depth_cm: tuple[int, int] | None = None  # of the layer that a value is the mean of
    dtype: str = "f8"
    content: str = "physicalMeasurement"  # ISO 19115-1, MD_CoverageContentTypeCode
    more: Mapping[str, object] = field(default_factory=dict)

    def attributes(self) -> dict[str, object]:
        """Return its CF attributes; an empty one is left out."""
        named = {
            "long_name": self.long_name,
            "standard_name": self.standard_name,
            "units": self.units,
            "coverage_content_type": self.content,
        }
        return {name: value for name, value in named.items() if value} | dict(self.more)


def _sum(name: str, what: str, units: str, standard_name: str = "") -> Variable:
    return Variable(name, what, units, standard_name, more={"cell_methods": "time: sum"})


def _temperature(name: str, what: str, standard_name: str = "") -> Variable:
    more = {"units_metadata": "temperature: on_scale"}
    return Variable(name, what, "degree_Celsius", standard_name, more=more)


def _theta(
    name: str, what: str, depth_cm: tuple[int, int] | None = None, error: bool = False
) -> Variable:
    """Describe a water content, or its standard error."""
    standard = f"{WATER_CONTENT} standard_error" if error else WATER_CONTENT
    ancillary = "" if error else "quality q"
    if name in ("theta", "theta_classical"):
        ancillary = f"{name}_sigma {ancillary}"
    more = {"ancillary_variables": ancillary} if ancillary else {}
    content = "qualityInformation" if error else "modelResult"
    return Variable(name, what, "m3 m-3", standard, depth_cm, content=content, more=more)


RECORD = (
    Variable("duration_s", "counting time", "s"),
    _sum("counts", "neutrons counted by the moderated tubes", "1"),
    Variable("pressure_hpa", "air pressure", "hPa", "surface_air_pressure"),
    _temperature("temperature_c", "air temperature", "air_temperature"),
    Variable("relative_humidity_pct", "relative humidity of the air", "%", "relative_humidity"),
    _sum("rain_mm", "rain", "mm", "lwe_thickness_of_precipitation_amount"),
    _sum("et0_mm", "reference evapotranspiration", "mm"),
    Variable("incoming", "count rate of the neutron monitor, in the unit of its reference", "1"),
)
CORRECTED = (
    Variable(
        "abs_humidity_g_m3",
        "absolute humidity of the air",
        "g m-3",
        "mass_concentration_of_water_vapor_in_air",
    ),
    Variable("n_raw_cph", "neutron count rate", "h-1"),
    Variable(
        "n_corr_cph",
        "corrected neutron count rate",
        "h-1",
        more={"ancillary_variables": "n_corr_sigma_cph quality"},
    ),
    Variable("n_corr_sigma_cph", "standard error of the corrected neutron count rate", "h-1"),
    *(Variable(f.name, f"correction factor of the counts, {f.of}", "1") for f in FACTORS),
)
_ESTIMATE = (
    Variable("window_end_s", "end of the 24 h of the estimate", more=SINCE_1970),
    _theta("theta", "soil water content by the network, mean of 0-30 cm and 24 h", ROOT_CM),
    _theta("theta_sigma", "standard error of theta", ROOT_CM, error=True),
    *(
        _theta(
            f"theta_{top}_{bottom}",
            f"soil water content by the network, mean of {top}-{bottom} cm and 24 h",
            (top, bottom),
        )
        for top, bottom in LAYERS_CM
    ),
    _theta("theta_classical", "soil water content by inversion over a uniform profile, 24 h"),
    _theta("theta_classical_sigma", "counting error of theta_classical", error=True),
    Variable("d86_cm", "depth above which 86 % of the counted neutrons come from", "cm"),
    Variable(
        "storage_mm",
        "soil water of 0-30 cm; 1 kg m-2 is 1 mm",
        "kg m-2",
        "mass_content_of_water_in_soil_layer",
        ROOT_CM,
    ),
    Variable("available_mm", "plant-available water of 0-30 cm", "mm"),
    Variable("depletion", "depleted fraction of the total available water of 0-30 cm", "1"),
    Variable("rate_mm_d", "recent loss of water of 0-30 cm", "mm day-1"),
    Variable("days_to_threshold", "time until irrigation is due", "day"),
    Variable("days_p05", "5 % quantile of the time until irrigation is due", "day"),
    Variable("days_p95", "95 % quantile of the time until irrigation is due", "day"),
    Variable(
        "swe_mm",
        "snow water equivalent by COSMIC",
        "kg m-2",
        "surface_snow_amount",
        more={"ancillary_variables": "swe_p05_mm swe_p95_mm"},
    ),
    Variable("swe_p05_mm", "5 % quantile of the snow water equivalent", "kg m-2"),
    Variable("swe_p95_mm", "95 % quantile of the snow water equivalent", "kg m-2"),
    Variable(
        "swe_desilets_mm",
        "snow water equivalent by Desilets (2017)",
        "kg m-2",
        "surface_snow_amount",
    ),
    Variable("snow_since_s", "end of the first window with snow", more=SINCE_1970),
    Variable("snow_count_ratio", "counts relative to those of a soil with full pores", "1"),
    _temperature("snow_air_c", "mean air temperature of the 24 h under snow"),
    Variable("root_depth_cm", "depth of the crop's root zone", "cm"),
    Variable("root_depletion", "depleted fraction of the available water of the root zone", "1"),
    Variable("root_threshold", "depletion of the root zone at which to irrigate", "1"),
    Variable("etc_mm_d", "mean crop evapotranspiration of the last 7 days", "mm day-1"),
    Variable("root_rate_mm_d", "recent loss of water of the root zone", "mm day-1"),
    Variable("root_days_to_threshold", "time until irrigation of the root zone is due", "day"),
    Variable("root_days_p05", "5 % quantile of root_days_to_threshold", "day"),
    Variable("root_days_p95", "95 % quantile of root_days_to_threshold", "day"),
    Variable("irrigate", "advice over the root zone; 1: irrigate, 0: do not irrigate", "1"),
    Variable("state_age_steps", "steps of the network since its state was zero", "1", dtype="i4"),
)
ESTIMATE = tuple(
    v if v.content == "qualityInformation" else replace(v, content="modelResult") for v in _ESTIMATE
)
FLAGS = (
    Variable(
        "quality",
        "known defects of the record, its window or its estimate",
        standard_name="quality_flag",
        dtype="i8",
        content="qualityInformation",
        more={
            "flag_masks": np.array([int(flag) for flag in Quality], dtype="i8"),
            "flag_meanings": " ".join(str(flag.name).lower() for flag in Quality),
        },
    ),
    Variable(
        "q",
        "QARTOD flag of theta",
        standard_name="aggregate_quality_flag",
        dtype="i1",
        content="qualityInformation",
        more={
            "flag_values": np.array(list(QARTOD), dtype="i1"),
            "flag_meanings": " ".join(QARTOD.values()),
        },
    ),
)
AUXILIARY = "auxiliaryInformation"
SEQ = Variable(
    "seq", "number of the record in the station's journal", "1", dtype="i8", content=AUXILIARY
)


def meaning(name: str) -> str:
    """Return a name as one word of flag_meanings: letters, digits and _ - . + @ (CF, 3.5)."""
    return re.sub(r"[^A-Za-z0-9_.+@-]", "_", name)


def model_variable(models: Sequence[str]) -> Variable:
    """Describe the variable that names the bundle of each estimate; 0 is no estimate."""
    more = {
        "flag_values": np.arange(len(models) + 1, dtype="i2"),
        "flag_meanings": " ".join(["none", *map(meaning, models)]),
    }
    what = "model bundle that estimated theta"
    return Variable("model", what, dtype="i2", content=AUXILIARY, more=more)


def extra_variable(name: str) -> Variable:
    """Describe a housekeeping field or an extra channel; the unit is in its name."""
    units = {"s": "s", "pct": "%", "hpa": "hPa", "v": "V", "counts": "1", "m2": "kg m-2"}
    ending = name.rpartition("_")[2]
    what = f"{name.replace('_', ' ')}, as the logger measured it"
    if ending == "c":
        return _temperature(name, what)
    return Variable(name, what, units.get(ending, "1"))


def record_variables(models: Sequence[str], extra: Sequence[str] = ()) -> tuple[Variable, ...]:
    """List the variables of a station's file.

    Parameters
    ----------
    models :
        Name and version of each bundle whose estimates are stored.
    extra :
        Columns from `channels.extra_columns`.
    """
    more = (extra_variable(name) for name in extra)
    return (SEQ, *RECORD, *CORRECTED, *ESTIMATE, *FLAGS, model_variable(models), *more)


def record_blocks(
    entries: Iterable[tuple[int, Outcome, str]],
    models: Sequence[str],
    extra: Sequence[str],
    qartod: Callable[[Quality, float], int],
) -> Iterator[Block]:
    """Yield the values of records in blocks of at most BLOCK, for `record_variables`.

    Parameters
    ----------
    entries :
        Number, outcome and bundle of each record, in the order of time.
    qartod :
        Computes the QARTOD flag from quality and theta.
    """
    number = {"": 0} | {model: i for i, model in enumerate(models, 1)}
    remaining = iter(entries)
    while batch := list(islice(remaining, BLOCK)):
        outcomes = [outcome for _, outcome, _ in batch]
        records = [outcome.record for outcome in outcomes]
        estimates = [outcome.estimate for outcome in outcomes]
        end_s = np.array([record.end_s for record in records])
        duration_s = np.array([float(record.duration_s) for record in records])
        begin_s = end_s - np.where(duration_s > 0.0, duration_s, 0.0)
        block: dict[str, NDArray[np.generic]] = {
            "time": end_s,
            "time_bnds": np.stack([begin_s, end_s], axis=1),
            "seq": np.array([seq for seq, _, _ in batch], dtype="i8"),
            "model": np.array([number[model] for _, _, model in batch], dtype="i2"),
            "quality": np.array([int(e.quality) for e in estimates], dtype="i8"),
            "q": np.array([qartod(e.quality, e.theta) for e in estimates], dtype="i1"),
        }
        for v in RECORD:
            block[v.name] = np.array([float(getattr(r, v.name)) for r in records])
        for v in CORRECTED:
            block[v.name] = np.array([float(getattr(o.corrected, v.name)[0]) for o in outcomes])
        for v in ESTIMATE:
            block[v.name] = np.array([getattr(e, v.name) for e in estimates], dtype=v.dtype)
        for name in extra:
            block[name] = np.array([float(extra_value(r, name)) for r in records])
        yield block
