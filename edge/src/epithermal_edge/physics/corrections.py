"""Compute the factors that correct a neutron count for air, incoming neutrons and biomass.

Every factor multiplies: N_corr = N_raw f_p f_h f_i f_v. All are elementwise, for any shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from epithermal_edge.physics.atmosphere import mean_pressure
from epithermal_edge.site import IncomingForm, Muons, Site
from epithermal_edge.times import DAY_S

JUNG_CUTOFF_GV = 4.49  # Jungfraujoch, the default neutron monitor of f_i
JUNG_DEPTH_G_CM2 = 665.18

BetaForm = Literal["desilets_zreda2003", "desilets2021", "tirado_bueno2021"]
BiomassForm = Literal["baatz2015", "baatz2015_bwe", "morris2024"]


@dataclass(frozen=True, slots=True)
class BiomassSlope:
    """A published loss of counts by biomass, linear in the biomass."""

    per_mm: float  # relative loss of counts for each kg m-2, which is 1 mm of water
    is_water: bool  # the biomass is its water equivalent; otherwise dry above-ground matter
    source: str


BIOMASS_SLOPES: dict[str, BiomassSlope] = {
    "baatz2015": BiomassSlope(0.009, False, "Baatz et al. (2015)"),
    "baatz2015_bwe": BiomassSlope(0.0045, True, "Baatz et al. (2015)"),
    "morris2024": BiomassSlope(0.010, True, "Morris et al. (2024)"),
}
"""By name. Baatz et al., ten sites: 0.9 % for 1 kg m-2 of dry matter, or for 2 kg m-2 of biomass
water equivalent (abstract). Morris et al., maize and soybean: 1 % for each mm."""


def pressure_factor(
    pressure_hpa: ArrayLike, beta_per_hpa: ArrayLike, pressure_ref_hpa: ArrayLike
) -> NDArray[np.float64]:
    """Compute factor f_p, which corrects a count for air pressure.

    More air above the sensor absorbs more neutrons.

    Parameters
    ----------
    pressure_hpa : (...) [hPa]
        Air pressure in the counting interval.
    beta_per_hpa : (...) [hPa-1]
        Barometric coefficient, the inverse of the attenuation length.
    pressure_ref_hpa : (...) [hPa]
        Pressure at which the factor is 1.

    Returns
    -------
    (...) [-]

    References
    ----------
    Zreda et al. (2012), eq. 5.
    """
    p = np.asarray(pressure_hpa, dtype=np.float64)
    p_ref = np.asarray(pressure_ref_hpa, dtype=np.float64)
    beta = np.asarray(beta_per_hpa, dtype=np.float64)
    return np.asarray(np.exp(beta * (p - p_ref)))


def pressure_coefficient(
    latitude_deg: ArrayLike,
    altitude_m: ArrayLike,
    cutoff_rigidity_gv: ArrayLike,
    form: BetaForm = "desilets_zreda2003",
) -> NDArray[np.float64]:
    """Estimate the barometric coefficient beta of a site from its location.

    Use a coefficient that was fitted to the site's own counts where there is one.

    Parameters
    ----------
    latitude_deg : (...) [degree]
    altitude_m : (...) [m]
        Above sea level.
    cutoff_rigidity_gv : (...) [GV]
        Vertical cutoff rigidity.
    form :
        Name of the published fit; "tirado_bueno2021" uses the cutoff rigidity alone.

    Returns
    -------
    (...) [hPa-1]
        The first two were fitted per g cm-2; as is common, one g cm-2 counts as one hPa (an error
        of 2 % in beta). NaN where "tirado_bueno2021" has no cutoff rigidity.

    Raises
    ------
    ValueError
        Unknown form.

    References
    ----------
    Desilets & Zreda (2003), doi:10.1016/S0012-821X(02)01088-9; Desilets (2021),
    doi:10.5281/zenodo.4569062; Tirado-Bueno et al. (2021), doi:10.1016/j.asr.2021.04.034.
    """
    r_c = np.asarray(cutoff_rigidity_gv, dtype=np.float64)
    if form == "tirado_bueno2021":
        return np.asarray((0.74 - 0.01 * np.log(np.where(r_c > 0.0, r_c, np.nan))) / 100.0)
    p = mean_pressure(altitude_m)
    x = _depth_desilets(latitude_deg, p)
    if form == "desilets_zreda2003":
        return np.asarray(
            9.9741e-3 / (1.0 + np.exp(-0.45318 * r_c**0.081613))
            + (6.3813e-6 - 6.2639e-7 * r_c - 5.1187e-9 * r_c**2) * x
            + (-7.1914e-9 + 1.1291e-9 * r_c + 1.74e-11 * r_c**2) * x**2
            + (2.5816e-12 - 5.8588e-13 * r_c - 1.2168e-14 * r_c**2) * x**3
        )
    if form != "desilets2021":
        raise ValueError(f"pressure_coefficient: unknown form {form!r}")
    # Mean of the same polynomial over [p, x]: its integral divided by x - p, term by term.
    # 0.3333 is the value in the paper.
    return np.asarray(
        0.01231386 / (1.0 + np.exp(-0.0554611 * r_c**0.6012159))
        + (4.74235e-6 - 9.66624e-7 * r_c + 1.42783e-9 * r_c**2) * 0.5 * (x + p)
        + (-3.70478e-9 + 1.27739e-9 * r_c + 3.58814e-11 * r_c**2) * (0.3333 * (x**2 + x * p + p**2))
        + (-3.146e-15 - 3.5528e-13 * r_c - 4.29191e-14 * r_c**2) * (0.25 * (x + p) * (x**2 + p**2))
    )


def _depth_desilets(
    latitude_deg: ArrayLike, pressure_hpa: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the atmospheric depth (...) [g cm-2] that both fits of Desilets use."""
    p = pressure_hpa
    phi = np.radians(np.asarray(latitude_deg, dtype=np.float64))
    z = -4.48211e-6 * p**3 + 0.0160234 * p**2 - 27.0977 * p + 15666.1  # altitude [m]
    g_0 = 978032.7 * (1.0 + 0.0053024 * np.sin(phi) ** 2 - 0.0000058 * np.sin(2.0 * phi) ** 2)
    g = g_0 - 0.3087691 * z + 2670.0 * 0.00004193 * z  # [mGal]
    return np.asarray(p / (g * 1e-6))


def humidity_factor(
    abs_humidity_g_m3: ArrayLike,
    humidity_ref_g_m3: ArrayLike = 0.0,
    slope_m3_g: float = 0.0054,
) -> NDArray[np.float64]:
    """Compute factor f_h, which corrects a count for air humidity.

    Hydrogen of water vapour slows neutrons down before they reach the detector.

    Parameters
    ----------
    abs_humidity_g_m3 : (...) [g m-3]
        Absolute humidity of the air near the ground.
    humidity_ref_g_m3 : (...) [g m-3]
        Humidity at which the factor is 1.
    slope_m3_g : [m3 g-1]
        0.0054 for a moderated tube; 0.0021 for a bare one.

    Returns
    -------
    (...) [-]

    References
    ----------
    Rosolem et al. (2013), as in Andreasen et al. (2017), eq. 3; bare tube: Rasche et al. (2023).
    """
    rho_v = np.asarray(abs_humidity_g_m3, dtype=np.float64)
    rho_ref = np.asarray(humidity_ref_g_m3, dtype=np.float64)
    return np.asarray(1.0 + slope_m3_g * (rho_v - rho_ref))


def incoming_factor(
    incoming: ArrayLike,
    incoming_ref: ArrayLike,
    form: IncomingForm,
    scale: ArrayLike = 1.0,
) -> NDArray[np.float64]:
    """Compute factor f_i, which corrects a count for the varying flux of cosmic rays.

    Parameters
    ----------
    incoming : (...) [count rate of the monitor, any unit]
        Count rate of a neutron monitor, corrected for its own air pressure.
    incoming_ref : (...) [the same unit]
        Count rate at which the factor is 1.
    form :
        "none" (1 everywhere), "plain" (ratio), "hawdon2014" or "mcjannet2023".
    scale : (...) [-]
        Response of the site relative to the monitor: `hawdon_scale` or `mcjannet_scale`
        (`hertle_scale` goes with the form "mcjannet2023").

    Returns
    -------
    (...) [-]
        NaN where a count rate is NaN or not positive, or where no positive factor exists.

    Raises
    ------
    ValueError
        Unknown form.

    References
    ----------
    plain: Zreda et al. (2012). hawdon2014: Hawdon et al. (2014). mcjannet2023: McJannet &
    Desilets (2023), eq. 10, as published: the site's intensity is tau I / I_ref + 1 - tau, the
    factor is the inverse of it.
    """
    i = np.asarray(incoming, dtype=np.float64)
    i_ref = np.asarray(incoming_ref, dtype=np.float64)
    tau = np.asarray(scale, dtype=np.float64)
    if form == "none":
        return np.ones_like(i * i_ref)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if form == "plain":
            factor = i_ref / i
        elif form == "hawdon2014":
            factor = 1.0 + tau * (i_ref / i - 1.0)
        elif form == "mcjannet2023":
            factor = 1.0 / (tau * (i / i_ref) + 1.0 - tau)
        else:
            raise ValueError(f"incoming_factor: unknown form {form!r}")
        known = (i > 0.0) & (i_ref > 0.0) & (factor > 0.0) & np.isfinite(factor)
    return np.asarray(np.where(known, factor, np.nan))


def muon_rate(
    counts: ArrayLike,
    duration_s: ArrayLike,
    pressure_hpa: ArrayLike,
    temperature_c: ArrayLike,
    pressure_ref_hpa: ArrayLike,
    muons: Muons,
) -> NDArray[np.float64]:
    """Compute the rate of muons without the effects of air pressure and temperature.

    It stands in for a neutron monitor in `incoming_factor`: few muons come from the soil. In warm
    air they are produced higher up, so that more of them decay on their way.

    Parameters
    ----------
    counts, duration_s : (...) [-], [s]
        Muons, and the time in which they were counted.
    pressure_hpa, temperature_c : (...) [hPa], [degree Celsius]
        Of the air near the ground.
    pressure_ref_hpa : (...) [hPa]
        Pressure at which the rate is not corrected.
    muons :
        Coefficients and reference temperature.

    Returns
    -------
    (...) [h-1]
        NaN where a value is NaN, or no muons were counted.

    References
    ----------
    Stevanato et al. (2022), doi:10.1029/2021GL095383; Gianessi et al. (2024),
    doi:10.5194/gi-13-9-2024; coefficients: `epithermal_edge.site.Muons`.
    """
    n = np.asarray(counts, dtype=np.float64)
    hours = np.asarray(duration_s, dtype=np.float64) / 3600.0
    warmer_k = np.asarray(temperature_c, dtype=np.float64) - muons.temperature_ref_c
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = n / hours * pressure_factor(pressure_hpa, muons.beta_per_hpa, pressure_ref_hpa)
        rate = rate * (1.0 + muons.alpha_per_k * warmer_k)
        return np.asarray(np.where((n > 0.0) & (hours > 0.0), rate, np.nan))


def thermal_ratio(
    thermal_counts: ArrayLike,
    thermal_s: ArrayLike,
    counts: ArrayLike,
    duration_s: ArrayLike,
    abs_humidity_g_m3: ArrayLike = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the ratio of a bare tube's rate to a moderated tube's, and its standard error.

    Air pressure and incoming intensity change both rates alike and leave the ratio. Hydrogen of
    soil, plants and snow takes epithermal neutrons away and hardly changes the thermal ones, so
    the ratio rises: under snow beyond that of the wettest soil of the same place. Relations to
    biomass (Tian et al. 2016, Jakobi et al. 2018, 2022) were fitted for each detector and crop;
    none is used here.

    Parameters
    ----------
    thermal_counts, thermal_s : (...) [-], [s]
        Counts of the bare tube and their counting time.
    counts, duration_s : (...) [-], [s]
        The same of the moderated tube.
    abs_humidity_g_m3 : (...) [g m-3]
        Absolute humidity of the air; 0 leaves its effect in the ratio.

    Returns
    -------
    (...), (...) [-]
        NaN where one of the tubes has no counts.

    References
    ----------
    Jakobi et al. (2022), doi:10.1029/2022WR031972; humidity: `humidity_factor`.
    """
    bare = np.asarray(thermal_counts, dtype=np.float64)
    moderated = np.asarray(counts, dtype=np.float64)
    humid = humidity_factor(abs_humidity_g_m3, slope_m3_g=0.0021) / humidity_factor(
        abs_humidity_g_m3
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = bare / np.asarray(thermal_s) / (moderated / np.asarray(duration_s))
        counted = (bare > 0.0) & (moderated > 0.0) & np.isfinite(rates) & (rates > 0.0)
        ratio = np.where(counted, rates * humid, np.nan)
        return ratio, np.asarray(ratio * np.sqrt(1.0 / bare + 1.0 / moderated))


def biomass_factor(
    biomass_kg_m2: ArrayLike, slope_per_mm: ArrayLike = 0.009
) -> NDArray[np.float64]:
    """Compute factor f_v, which corrects a count for the hydrogen of plants.

    Parameters
    ----------
    biomass_kg_m2 : (...) [kg m-2 = mm]
        Biomass, as defined for the slope: above-ground dry matter for Baatz' 0.009, water
        equivalent for Morris' 0.010.
    slope_per_mm : (...) [mm-1]
        Relative loss of counts for each mm.

    Returns
    -------
    (...) [-]
        NaN where the slope leaves no count.

    References
    ----------
    Baatz et al. (2015), doi:10.1002/2014WR016443; Morris et al. (2024).
    """
    biomass = np.asarray(biomass_kg_m2, dtype=np.float64)
    left = 1.0 - np.asarray(slope_per_mm, dtype=np.float64) * biomass
    return np.asarray(1.0 / np.where(left > 0.0, left, np.nan))


def form_of_slope(per_mm: float) -> str | None:
    """Return the published form that has this slope [mm-1]; None: a slope of its own."""
    found = (name for name, slope in BIOMASS_SLOPES.items() if slope.per_mm == per_mm)
    return next(found, None)


def biomass_at(
    site: Site, end_s: NDArray[np.float64], measured: ArrayLike = np.nan
) -> NDArray[np.float64]:
    """Look up the biomass at the ends of T records of n sites.

    Parameters
    ----------
    site :
        Its `biomass_kg_m2` is one number, one for each site (n,), or one for each day of the year:
        a tuple (366,), or an array (n, 366).
    end_s : (T,) [s, UTC]
        Ends of the records; one that ends at midnight belongs to the day before.
    measured : (T, n) [kg m-2 = mm]
        Biomass that the records have; NaN where they have none: then that of the site.

    Returns
    -------
    Broadcasts to (T, n) [kg m-2 = mm]
    """
    value = np.asarray(site.biomass_kg_m2, dtype=np.float64)
    if value.ndim == 2 or isinstance(site.biomass_kg_m2, tuple):
        value = value[..., _day_of_year(end_s)].reshape(-1, len(end_s)).T
    given = np.asarray(measured, dtype=np.float64)
    return value if not given.ndim else np.where(np.isfinite(given), given, value)


def _day_of_year(end_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the day of the year in which each record ends, from 0."""
    day = (np.ceil(end_s / DAY_S).astype(np.int64) - 1).astype("datetime64[D]")
    since_new_year: NDArray[np.timedelta64] = day - day.astype("datetime64[Y]")
    return since_new_year.astype(np.int64)


def hawdon_scale(
    cutoff_rigidity_gv: ArrayLike, cutoff_ref_gv: ArrayLike = JUNG_CUTOFF_GV
) -> NDArray[np.float64]:
    """Compute the scale of f_i by Hawdon.

    A site at low cutoff rigidity follows the sun's activity more closely.

    Parameters
    ----------
    cutoff_rigidity_gv, cutoff_ref_gv : (...) [GV]
        Vertical cutoff rigidity at the site and at the monitor.

    Returns
    -------
    (...) [-]

    References
    ----------
    Hawdon, McJannet & Wallace (2014), doi:10.1002/2013WR015138.
    """
    r_c = np.asarray(cutoff_rigidity_gv, dtype=np.float64)
    r_ref = np.asarray(cutoff_ref_gv, dtype=np.float64)
    return np.asarray(1.0 - 0.075 * (r_c - r_ref))


def mcjannet_scale(
    cutoff_rigidity_gv: ArrayLike,
    atmospheric_depth_g_cm2: ArrayLike,
    cutoff_ref_gv: ArrayLike = JUNG_CUTOFF_GV,
    depth_ref_g_cm2: ArrayLike = JUNG_DEPTH_G_CM2,
) -> NDArray[np.float64]:
    """Compute the scale tau of f_i by McJannet and Desilets.

    Parameters
    ----------
    cutoff_rigidity_gv, cutoff_ref_gv : (...) [GV]
        Vertical cutoff rigidity at the site and at the monitor; 0 is allowed.
    atmospheric_depth_g_cm2, depth_ref_g_cm2 : (...) [g cm-2]
        Mass of the air above the site (`atmospheric_depth`) and the monitor.

    Returns
    -------
    (...) [-]

    References
    ----------
    McJannet & Desilets (2023), doi:10.1029/2022WR033889, their fit of tau, with epsilon = 1.
    """

    def response(r_c: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
        x = np.asarray(depth, dtype=np.float64)
        with np.errstate(divide="ignore"):  # cutoff 0 at the poles: the limit is correct
            power = np.asarray(r_c, dtype=np.float64) ** (0.000013 * x - 1.2237)
        return np.asarray((-0.0009 * x + 1.7699) * (1.0 - np.exp(-(0.0064 * x + 1.8855) * power)))

    return np.asarray(
        response(cutoff_rigidity_gv, atmospheric_depth_g_cm2)
        / response(cutoff_ref_gv, depth_ref_g_cm2)
    )


def hertle_scale(
    cutoff_rigidity_gv: ArrayLike,
    atmospheric_depth_g_cm2: ArrayLike,
    cutoff_ref_gv: ArrayLike = JUNG_CUTOFF_GV,
    depth_ref_g_cm2: ArrayLike = JUNG_DEPTH_G_CM2,
) -> NDArray[np.float64]:
    """Compute the scale tau of f_i by Hertle, for the form "mcjannet2023".

    Parameters
    ----------
    cutoff_rigidity_gv, cutoff_ref_gv : (...) [GV]
        Vertical cutoff rigidity at the site and at the monitor; 0 is allowed.
    atmospheric_depth_g_cm2, depth_ref_g_cm2 : (...) [g cm-2]
        Mass of the air above the site and the monitor, under 1144 g cm-2.

    Returns
    -------
    (...) [-]

    References
    ----------
    Hertle et al. (2025), doi:10.1029/2025WR040527, eq. 15 (tau) and eq. 1 (factor).
    """

    def response(r_c: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
        x = np.asarray(depth, dtype=np.float64)
        with np.errstate(divide="ignore"):  # cutoff 0 at the poles: the limit is correct
            power = np.asarray(r_c, dtype=np.float64) ** (1.831e-3 * x - 2.884)
        return np.asarray((1.0 - 3.052e-4 * x) * -np.expm1((4.194e-2 * x - 48.0) * power))

    return np.asarray(
        response(cutoff_rigidity_gv, atmospheric_depth_g_cm2)
        / response(cutoff_ref_gv, depth_ref_g_cm2)
    )
