"""Estimate N0 of a detector without soil samples, by the general calibration of many places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epithermal_edge.physics.atmosphere import mean_pressure
from epithermal_edge.physics.cutoff import cutoff_rigidity

GENERAL_N0_CPH = 2306.0
"""N0 of the calibrator at Marquardt, Germany [counts h-1]."""
BIOMASS_PER_KG_M2 = 0.009  # relative loss of counts for each kg m-2 of dry above-ground biomass
PLACES_SIGMA = 0.06
"""Root mean square of the relative deviations of N0 at the 75 places from the general one: what a
place without samples has to expect. (The general value itself has 18 of 2306, by bootstrap.)"""
INTENSITY = (0.0930, 0.00909, 0.00026, 0.0496)
"""Fitted to the intensities by PARMA of the 75 places: error 0.6 %, at most 4 %."""
ALTITUDES_M, CUTOFFS_GV = (0.0, 1500.0), (1.5, 9.0)
"""Of the 75 places; beyond them the intensity is extrapolated."""
JUNG_REF = 161.3  # counts s-1 of JUNG at which f_i is 1 in the published counts, form plain


@dataclass(frozen=True, slots=True)
class GeneralScale:
    """An N0 of Desilets for a place and a detector, and what it rests on."""

    n0_cph: float
    sigma: float  # relative standard error
    intensity: float  # of incoming neutrons, relative to Marquardt
    cutoff_rigidity_gv: float
    extrapolated: bool  # outside of the altitudes and cutoff rigidities of the 75 places


def relative_intensity(altitude_m: float, cutoff_gv: float) -> float:
    """Compute the intensity of incoming neutrons relative to Marquardt, Germany.

    Parameters
    ----------
    altitude_m : [m]
    cutoff_gv : [GV]
        Geomagnetic cutoff rigidity.

    Returns
    -------
    float [-]
        At the mean pressure of the altitude.

    References
    ----------
    Own fit to the intensities by PARMA (Sato 2015) of the 75 places in the data of Heistermann et
    al. (2024): with P = 1013.25 hPa - mean pressure, a constant attenuation for each cutoff
    rigidity.
    """
    constant, per_hpa, per_hpa_gv, per_gv = INTENSITY
    p = 1013.25 - float(mean_pressure(altitude_m))
    return float(np.exp(constant + (per_hpa - per_hpa_gv * cutoff_gv) * p - per_gv * cutoff_gv))


def general_n0(
    sensitivity: float,
    latitude_deg: float,
    longitude_deg: float,
    altitude_m: float,
    biomass_kg_m2: float = 0.0,
) -> GeneralScale:
    """Estimate N0 of a detector at a place by the general calibration.

    Parameters
    ----------
    sensitivity : [-]
        Of the detector relative to the calibrator of the Forschungszentrum Juelich, from counts
        side by side or from the maker; CRS-1000 0.45, CRS-1000/B 0.67, CRS-2000 0.87, CRS-2000/B
        1.15.
    latitude_deg, longitude_deg, altitude_m : [degrees], [degrees], [m]
    biomass_kg_m2 : [kg m-2]
        Dry above-ground biomass; crops and grass about 1.

    Returns
    -------
    GeneralScale
        For counts that are corrected to the mean pressure and the mean absolute humidity of the
        place, and with f_i = `JUNG_REF` / JUNG.

    References
    ----------
    Heistermann et al. (2024), doi:10.5194/hess-28-989-2024, and the authors' program and data
    (github.com/cosmic-sense/local-or-global): N0 = 2306 f_v / (f_s f_in) with f_s and f_in the
    reciprocals of sensitivity and relative intensity, and f_v = 1 - 0.009 biomass (Baatz et al.
    2015).
    """
    cutoff = float(cutoff_rigidity(latitude_deg, longitude_deg))
    intensity = relative_intensity(altitude_m, cutoff)
    plants = 1.0 - BIOMASS_PER_KG_M2 * biomass_kg_m2
    inside = ALTITUDES_M[0] <= altitude_m <= ALTITUDES_M[1]
    inside = inside and CUTOFFS_GV[0] <= cutoff <= CUTOFFS_GV[1]
    return GeneralScale(
        n0_cph=GENERAL_N0_CPH * sensitivity * intensity * plants,
        sigma=PLACES_SIGMA,
        intensity=intensity,
        cutoff_rigidity_gv=cutoff,
        extrapolated=not inside,
    )
