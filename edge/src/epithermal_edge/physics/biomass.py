"""Describe how biomass reduces the counts: published slopes, and a site's biomass over the year."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from epithermal_edge.site import Site
from epithermal_edge.times import DAY_S

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
