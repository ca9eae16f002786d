"""Define the parameters of a site that corrections, inversions and network use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from epithermal_edge.records import NAN, Floats

IncomingForm = Literal["none", "plain", "hawdon2014", "mcjannet2023"]
IncomingSource = Literal["monitor", "muons"]
USUAL_MONITOR = "JUNG"  # at NMDB: Jungfraujoch, of those who name no neutron monitor


@dataclass(frozen=True, slots=True)
class Muons:
    """How the detector's own muon counts give the incoming intensity; floats, or arrays (n,).

    Barometric coefficient: Bernero et al. (2013), arXiv:1304.4945, all charged particles.
    Temperature: Riadigos et al. (2020), doi:10.1029/2020EA001131. Both depend on the detector.
    """

    beta_per_hpa: Floats = 0.0019
    alpha_per_k: Floats = 0.0028  # relative loss of counts per kelvin
    temperature_ref_c: Floats = 15.0  # air temperature at which the rate is not corrected
    smoothing_h: Floats = 24.0  # counting time over which the rate is averaged


@dataclass(frozen=True, slots=True)
class Site:
    """One site, or n sites as arrays (n,); it fixes the reference atmosphere of the corrections."""

    cosmic_n_cph: Floats  # scale of the response for this detector [counts h-1]: COSMIC's N, or
    # N_D of UTS, N0 of Desilets, where `response` names them
    bulk_density_g_cm3: Floats  # dry soil
    lattice_water_g_g: Floats = 0.0
    organic_water_g_g: Floats = 0.0  # hydrogen of soil organic matter, as water
    latitude_deg: Floats = NAN  # NaN: no ET0 from temperature
    alpha: Floats = NAN  # COSMIC's alpha; NaN: from bulk density
    l3_g_cm2: Floats = NAN  # COSMIC's L3; NaN: from bulk density
    beta_per_hpa: Floats = 0.0077  # barometric coefficient
    pressure_ref_hpa: Floats = 1013.25
    humidity_ref_g_m3: Floats = 0.0
    incoming_form: IncomingForm = "none"
    incoming_ref: Floats = NAN  # monitor's count at which f_i = 1; of muons [counts h-1]
    incoming_scale: Floats = 1.0  # Hawdon's Rc_corr or McJannet and Desilets' tau
    biomass_kg_m2: Floats | tuple[float, ...] = (
        0.0  # of the vegetation [kg m-2 = mm]; by day of the
    )
    # year a tuple (366,), or an array (n, 366)
    biomass_slope_per_mm: Floats = 0.0  # relative loss of counts per kg m-2 of biomass
    cosmic_n_sigma: Floats = 0.03  # relative standard error of cosmic_n_cph
    soil_known: Floats = 0.0  # source of soil_*: 1 measured, 0.5 from texture, 0 unknown
    soil_theta_r: Floats = NAN  # van Genuchten-Mualem parameters of the top material;
    soil_theta_s: Floats = NAN  # unknown as soon as one of them is NaN
    soil_alpha_per_cm: Floats = NAN
    soil_n: Floats = NAN
    soil_ks_cm_d: Floats = NAN
    cover_known: Floats = 0.0  # vegetation, the three fields below: 1 known, 0 unknown
    canopy_cover: Floats | tuple[float, ...] = NAN  # (366,) or (n, 366): fraction of the ground
    # that leaves shade on each day of the year
    root_depth_cm: Floats = NAN  # of full-grown plants; 0 without plants
    evaporation_share: Floats = NAN  # soil evaporation relative to its potential; lower under mulch
    response: str | tuple[str, ...] = "cosmic"  # relation of counts to theta, of all or of each
    # site; names in physics.response
    muons: Muons | None = None  # the incoming intensity is that of the muon channel, no monitor's
