"""Define the result of a calibration: N of every method at a site, and the daily series."""

from __future__ import annotations

from dataclasses import dataclass

from epithermal_edge.inference.bundle import Bundle
from epithermal_edge.site import Site
from epithermal_host.arrays import Array
from epithermal_host.field.calibration_fit import (
    Day,
    Extra,
    Fit,
)
from epithermal_host.field.network_n import (
    NetworkFit,
)
from epithermal_host.field.site_toml import SiteFile

HISTORY_D = 400.0  # before the first sampling day; older records have no effect on the network
USUAL_HUMIDITY_G_M3 = 5.0  # in the weights, if unknown; they hardly depend on it


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """All figures and series of a calibration."""

    site_file: SiteFile
    site: Site  # calibrated
    days: tuple[Day, ...]
    fits: tuple[Fit, ...]  # Desilets, UTS, COSMIC
    extra: Extra
    extra_used: bool
    bundle: Bundle | None
    cosmic_n_cph: float  # N of COSMIC alone, with the extra hydrogen if it is used
    network: NetworkFit | None
    notes: tuple[str, ...]
    day_end_s: Array  # (T,) days of the picture, by their end
    n_cph: Array  # (T,) corrected counts
    theta: dict[str, Array]  # by method, (T,) [m3 m-3]
