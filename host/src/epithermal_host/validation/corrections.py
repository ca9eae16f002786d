"""Compare the station's corrections and inversions with columns of published packages."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epithermal_edge.errors import ConfigError
from epithermal_edge.physics import atmosphere, corrections, desilets, footprint
from epithermal_edge.physics.uts import UTS_PARAMETERS, uts_rate, uts_theta
from epithermal_host.arrays import Array

Table = dict[str, Array]
Check = tuple[str, Array, float]  # column, computed values, tolerance relative to the column

DIGITS = 1e-12  # 16 printed digits, minus rounding
BOUGUER = 1e-7  # the value of 2 pi G in neptoon is inexact


@dataclass(frozen=True, slots=True)
class Row:
    """Largest relative difference from one column of a table."""

    file: str
    column: str
    count: int
    difference: float
    limit: float

    @property
    def passed(self) -> bool:
        """True within the limit; False where a NaN is on one side only."""
        return bool(self.difference <= self.limit)


def validate_corrections(folder: Path) -> list[Row]:
    """Compare every column that the station computes, in every table of a folder.

    Raises
    ------
    ConfigError
        The folder has no table, or a table cannot be read.
    """
    rows = []
    for name, checks in CHECKS.items():
        path = folder / name
        if not path.is_file():
            continue
        table, words = _read(path)
        try:
            for column, computed, limit in list(checks(table, words)):
                difference = _difference(computed, table[column])
                rows.append(Row(name, column, computed.size, difference, limit))
        except KeyError as error:
            raise ConfigError(f"{path}: no column {error}") from error
    if not rows:
        raise ConfigError(f"{folder}: contains none of {', '.join(CHECKS)}")
    return rows


def _difference(computed: Array, printed: Array) -> float:
    if not np.array_equal(np.isnan(computed), np.isnan(printed)):
        return float("inf")
    known = np.isfinite(printed)
    scale = np.maximum(np.abs(printed[known]), 1e-3)
    return float(np.max(np.abs(computed[known] - printed[known]) / scale, initial=0.0))


def _read(path: Path) -> tuple[Table, dict[str, list[str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            header, *rows = csv.reader(lines)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error or 'the file is empty'}") from error
    table: Table = {}
    words: dict[str, list[str]] = {}
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ConfigError(f"{path}:{number}: {len(row)} values under {len(header)} columns")
    for i, name in enumerate(header):
        cells = [row[i] for row in rows]
        try:
            table[name] = np.array([float(cell or "nan") for cell in cells])
        except ValueError:
            words[name] = cells
    return table, words


def _pressure(t: Table, _: dict[str, list[str]]) -> Iterator[Check]:
    beta = 1.0 / t["attenuation_length_hpa(=g_cm2_used_as_hpa)"]
    f_p = corrections.pressure_factor(t["pressure_hpa"], beta, t["ref_pressure_hpa"])
    yield "beta_per_hpa", beta, DIGITS
    yield "fp_multiplier_neptoon", f_p, DIGITS
    yield "fp_divisor_crnpy", 1.0 / f_p, DIGITS


def _coefficient(t: Table, _: dict[str, list[str]]) -> Iterator[Check]:
    place = t["latitude_deg"], t["elevation_m"], t["cutoff_rigidity_gv"]
    yield "mean_pressure_hpa_neptoon", atmosphere.mean_pressure(t["elevation_m"]), DIGITS
    yield "beta_desilets_zreda_2003_per_hpa", corrections.pressure_coefficient(*place), DIGITS
    beta = corrections.pressure_coefficient(*place, "desilets2021")
    yield "beta_desilets_2021_per_hpa", beta, DIGITS
    beta = corrections.pressure_coefficient(*place, "tirado_bueno2021")
    yield "beta_tirado_bueno_2021_per_hpa", beta, DIGITS
    depth = atmosphere.atmospheric_depth(t["latitude_deg"], t["elevation_m"])
    yield "atmospheric_depth_g_cm2_crnpy", depth, DIGITS
    yield "atmospheric_depth_g_cm2_neptoon_md2023", depth, BOUGUER


def _humidity(t: Table, _: dict[str, list[str]]) -> Iterator[Check]:
    t_c, rh = t["air_temperature_c"], t["relative_humidity_pct"]
    neptoon, crnpy = t["absolute_humidity_g_m3_neptoon"], t["absolute_humidity_g_m3_crnpy"]
    e_sat = atmosphere.saturation_vapour_pressure(t_c, atmosphere.BOLTON_1980)
    humidity = atmosphere.absolute_humidity(t_c, rh, atmosphere.BOLTON_1980)
    yield "saturation_vapour_pressure_hpa_neptoon", e_sat, DIGITS
    yield "vapour_pressure_hpa_neptoon", e_sat * rh / 100.0, DIGITS
    yield "absolute_humidity_g_m3_neptoon", humidity, DIGITS
    other = atmosphere.absolute_humidity(t_c, rh, atmosphere.CAMPBELL_NORMAN_1998)
    yield "absolute_humidity_g_m3_crnpy", other, 3e-5  # its gas constant
    yield "fw_rosolem2013_ref0_neptoon", corrections.humidity_factor(neptoon), DIGITS
    yield "fw_rosolem2013_ref7.5_neptoon", corrections.humidity_factor(neptoon, 7.5), DIGITS
    yield "fw_rosolem2013_ref0_crnpy", corrections.humidity_factor(crnpy), DIGITS
    thermal = corrections.humidity_factor(neptoon, slope_m3_g=0.0021)
    yield "fw_thermal_rasche2023_ref0_neptoon", thermal, DIGITS


def _incoming(t: Table, _: dict[str, list[str]]) -> Iterator[Check]:
    i, ref, cutoff = t["nm_count"], t["nm_reference"], t["cutoff_rigidity_gv"]
    depth = t["atmospheric_depth_g_cm2"]
    hawdon, tau = corrections.hawdon_scale(cutoff), corrections.mcjannet_scale(cutoff, depth)
    hertle = corrections.hertle_scale(cutoff, depth)
    yield (
        "atmospheric_depth_g_cm2",
        atmosphere.atmospheric_depth(t["latitude_deg"], t["elevation_m"]),
        (BOUGUER),
    )
    yield "fi_multiplier_unscaled", corrections.incoming_factor(i, ref, "plain"), DIGITS
    yield "hawdon2014_rc_factor", hawdon, DIGITS
    published = corrections.incoming_factor(i, ref, "hawdon2014", hawdon)
    yield "fi_multiplier_hawdon2014_neptoon", published, DIGITS
    yield "tau_mcjannet_desilets2023_neptoon", tau, DIGITS
    yield "tau_mcjannet_desilets2023_crnpy", tau, DIGITS
    published = corrections.incoming_factor(i, ref, "mcjannet2023", tau)
    yield "fi_multiplier_md2023_as_published", published, DIGITS
    yield "fi_divisor_md2023_crnpy", 1.0 / published, DIGITS
    yield "tau_hertle2025_neptoon", hertle, DIGITS
    published = corrections.incoming_factor(i, ref, "mcjannet2023", hertle)
    yield "fi_multiplier_hertle2025_neptoon", published, DIGITS


def _biomass(t: Table, _: dict[str, list[str]]) -> Iterator[Check]:
    biomass = t["bwe_or_agb_kg_m2(mm)"]
    yield "fb_multiplier_baatz2015_neptoon", corrections.biomass_factor(biomass), DIGITS
    yield "fb_multiplier_morris2024_neptoon", corrections.biomass_factor(biomass, 0.010), DIGITS
    for slope in (0.0053, 0.009):
        counts = 1000.0 * corrections.biomass_factor(biomass, slope)
        yield f"counts_from_1000cph_crnpy_r2N0_{slope}", counts, DIGITS


def _desilets(t: Table, _: dict[str, list[str]]) -> Iterator[Check]:
    n, n0, density = t["N_cph"], t["N0_cph"], t["bulk_density_g_cm3"]
    bound = t["lattice_water_g_g"], t["soc_water_g_g"]
    theta = desilets.desilets_theta(n, n0, density, *bound)
    by_mass = desilets.desilets_theta(n, n0, 1.0, *bound)
    yield "theta_grav_neptoon", by_mass, DIGITS
    yield "theta_grav_reformulated_koehli2021_neptoon", by_mass, DIGITS
    yield "theta_vol_neptoon", theta, DIGITS
    yield "theta_vol_crnpy", theta, DIGITS
    yield "N_back_neptoon", desilets.desilets_rate(theta, n0, density, *bound), DIGITS
    sigma = desilets.desilets_sigma(n, t["sigma_N_crnpy_cph"], n0, density)
    yield "sigma_theta_vol_crnpy_jakobi2020", sigma, DIGITS


def _uts(t: Table, words: dict[str, list[str]]) -> Iterator[Check]:
    sets = np.array(words["parameter_set"])
    theta = 1.43 * t["theta_grav"]
    rate, back = np.full(theta.size, np.nan), np.full(theta.size, np.nan)
    for name in UTS_PARAMETERS:
        at = sets == name
        h, n_d = t["abs_humidity_g_m3"][at], t["N_D_cph"][at]
        extra = t["additional_water_g_g"][at]
        rate[at] = uts_rate(theta[at], h, n_d, extra, 1.43, name)
        back[at] = uts_theta(t["N_cph_neptoon"][at], h, n_d, extra, 1.43, name) / 1.43
    yield "N_cph_neptoon", rate, DIGITS
    yield "theta_grav", back, 1e-10


def _depth(t: Table, _: dict[str, list[str]]) -> Iterator[Check]:
    theta, density, r = t["theta_vol"], t["bulk_density_g_cm3"], t["distance_m"]
    d86 = footprint.d86_cm(theta, density, r)
    yield "D86_cm_neptoon(r_as_given,no_lattice)", d86, DIGITS
    scaled = footprint.rescaled_distance_m(r, 985.0)
    yield "D86_cm_crnpy(P=985,Wlat=0.05)", footprint.d86_cm(theta, density, scaled, 0.05), DIGITS
    yield "Wd_2.5cm_neptoon", footprint.depth_weight(2.5, d86), DIGITS
    for z_cm in (7.5, 12.5, 17.5, 22.5, 27.5):
        yield f"Wd_{z_cm}cm", footprint.depth_weight(z_cm, d86), DIGITS


def _horizontal(t: Table, _: dict[str, list[str]]) -> Iterator[Check]:
    r, theta, h = t["distance_m"], t["theta_vol"], t["abs_humidity_g_m3"]
    scaled = footprint.rescaled_distance_m(r, t["pressure_hpa"])
    yield "rescaled_distance_m_neptoon", scaled, DIGITS
    yield "W_r_neptoon", footprint.distance_weight(r, theta, h), DIGITS
    yield "W_rescaled_r_neptoon", footprint.distance_weight(scaled, theta, h), DIGITS
    yield "W_r_approx_neptoon", footprint.distance_weight_simple(r), DIGITS


CHECKS: dict[str, Callable[[Table, dict[str, list[str]]], Iterator[Check]]] = {
    "pressure_factor.csv": _pressure,
    "pressure_coefficient.csv": _coefficient,
    "humidity.csv": _humidity,
    "incoming_intensity.csv": _incoming,
    "biomass.csv": _biomass,
    "desilets.csv": _desilets,
    "koehli2021_uts.csv": _uts,
    "schroen2017_depth.csv": _depth,
    "schroen2017_horizontal.csv": _horizontal,
}


def line(row: Row) -> str:
    """Format a row of the table."""
    verdict = "ok" if row.passed else "MISSED"
    return f"{row.file:<26} {row.column:<46} {row.count:5d} {row.difference:9.1e} {verdict}"


HEADER = f"{'file':<26} {'column':<46}  rows   largest relative difference"
